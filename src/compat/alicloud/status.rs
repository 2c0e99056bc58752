//! `SenderStatisticsDetailByParam`: what became of mail, by recipients.

use serde_json::{Value, json};
use time::macros::{format_description, offset};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::{Asked, Refused};
use crate::compat::form::Form;
use crate::compat::inner::{Call, Inner, Refusal};
use crate::compat::query::Ours;
use crate::compat::service::{list, text};
use crate::domain::clock::{parse_rfc3339, rfc3339};
use crate::domain::fault::FaultCode;
use crate::webhook::forms::{author, is_of_address};

const LENGTH_MAX: u16 = 100;

/// A page of recipients whose fate is known, newest message first.
pub async fn details(inner: &Inner, asked: Asked) -> Result<Value, Refused> {
    let Asked { caller, mut form, .. } = asked;
    let mut query = Ours::new("/v1/messages");
    for (theirs, ours) in [("StartTime", "since"), ("EndTime", "until")] {
        if let Some(at) = instant(&mut form, theirs) {
            query.put(ours, &rfc3339(at));
        }
    }
    for (theirs, ours) in [("AccountName", "from"), ("ToAddress", "to"), ("TagName", "tag"), ("NextStart", "cursor")] {
        if let Some(text) = form.text(theirs) {
            query.put_of(ours, &text, theirs);
        }
    }
    let status = form.text("Status");
    let states: &[&str] = match status.as_deref() {
        None => &[],
        Some("0") => &["delivered"],
        Some("2" | "3" | "4") => &["bounced", "suppressed", "expired", "cancelled"],
        Some(_) => {
            form.fault("Status", FaultCode::InvalidParameter, "must be 0, 2, 3 or 4");
            &[]
        }
    };
    for state in states {
        query.put("status", state);
    }
    let length = form.text("Length").map_or(Some(10), |text| text.parse::<u16>().ok());
    match length.filter(|length| (1..=LENGTH_MAX).contains(length)) {
        Some(length) => query.put("limit", &length.to_string()),
        None => form.fault("Length", FaultCode::InvalidParameter, format!("must be from 1 to {LENGTH_MAX}")),
    }
    form.finish().map_err(|faults| Refused::from(Refusal::faulty(faults)))?;
    let page = query.ask(inner, &caller).await?;
    let wanted = status.and_then(|status| status.parse::<u64>().ok());
    let mut rows = Vec::new();
    for found in list(&page, "data") {
        let message = inner.call(&caller, Call::get(format!("/v1/messages/{}", text(found, "id")))).await?.json();
        let of_message = list(&message, "recipients").iter().filter_map(|recipient| row(&message, recipient));
        rows.extend(of_message.filter(|row| wanted.is_none_or(|wanted| row["Status"] == wanted)));
    }
    Ok(json!({"NextStart": text(&page, "next_cursor"), "data": {"mailDetail": rows}}))
}

/// A minute of the clock of China, in which times are there.
fn instant(form: &mut Form, name: &'static str) -> Option<OffsetDateTime> {
    let Some(text) = form.text(name) else {
        form.fault(name, FaultCode::Required, "must be given");
        return None;
    };
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]");
    let at = PrimitiveDateTime::parse(&text, format).ok().map(|at| at.assume_offset(offset!(+8)));
    if at.is_none() {
        form.fault(name, FaultCode::InvalidTime, "must be a minute such as 2026-11-28 09:30, of China's clock");
    }
    at
}

/// A recipient in DirectMail's words; `None`: its fate is not known yet.
fn row(message: &Value, recipient: &Value) -> Option<Value> {
    let reply = &recipient["last_reply"];
    let (status, class) = match text(recipient, "status") {
        "delivered" => (0, ""),
        "suppressed" => (2, "suppressed"),
        "bounced" => match text(reply, "class") {
            class @ ("content" | "policy" | "ip_blocked" | "sender_blocked" | "unauthenticated") => (3, class),
            class if is_of_address(class) => (2, class),
            class => (4, class),
        },
        "expired" | "cancelled" => (4, text(recipient, "status")),
        _ => return None,
    };
    let at =
        parse_rfc3339(text(recipient, "settled_at").trim()).or_else(|| parse_rfc3339(text(message, "created_at")))?;
    let local = at.to_offset(offset!(+8));
    let local = local.format(format_description!("[year]-[month]-[day]T[hour]:[minute]Z")).unwrap_or_default();
    Some(
        json!({"LastUpdateTime": local, "UtcLastUpdateTime": at.unix_timestamp().to_string(), "AccountName": author(text(message, "from")),
        "ToAddress": recipient["email"], "Subject": message["subject"], "Status": status,
        "Message": reply["text"].as_str().unwrap_or_default(), "ErrorClassification": class}),
    )
}
