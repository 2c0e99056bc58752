//! `data/emailStatus`: what became of mail, by recipients.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::parameters::{Asked, days, part, written};
use super::{Error, told};
use crate::compat::ids::id_of;
use crate::compat::inner::{Call, Inner};
use crate::compat::query::Ours;
use crate::compat::service::{list as list_in, text};
use crate::domain::clock::{parse_rfc3339, rfc3339};
use crate::domain::fault::FaultCode;
use crate::domain::named_tag::LABEL;

/// Ids that may be asked for at once, and how far a part may lie behind the newest.
const IDS_MAX: usize = 100;
const FARTHEST: usize = 500;

/// Recipients: of messages by their ids, or of the newest of some days.
pub async fn list(State(inner): State<Arc<Inner>>, asked: Asked) -> Result<Response, Error> {
    let Asked { caller, mut form, user } = asked;
    let (since, until) = days(&mut form, inner.api.clock.now());
    let (start, limit) = part(&mut form);
    let ids = form.text("emailIds").unwrap_or_default();
    // An address stands behind the id of its message.
    let mut wanted: Vec<_> =
        ids.split(';').filter(|id| !id.is_empty()).map(|id| id.split_once('$').unwrap_or((id, ""))).collect();
    if wanted.len() > IDS_MAX {
        form.fault("emailIds", FaultCode::TooMany, format!("has {} ids; the limit is {IDS_MAX}", wanted.len()));
    }
    if start + limit > FARTHEST {
        form.fault("start", FaultCode::TooFar, format!("must not be above {FARTHEST} with limit: go on with endDate"));
    }
    let email = form.text("email");
    let mut query = Ours::new("/v1/messages");
    query.put("limit", &(start + limit).max(1).to_string());
    for (name, at) in [("since", since), ("until", until)] {
        if let Some(at) = at {
            query.put(name, &rfc3339(at));
        }
    }
    if let Some(email) = &email {
        query.put_of("to", email, "email");
    }
    if let Some(label) = form.text("labelId") {
        query.put_of("tag", &format!("{LABEL}{label}"), "labelId");
    }
    form.finish()?;
    let mut rows = Vec::new();
    if wanted.is_empty() {
        let listed = query.ask(&inner, &caller).await?;
        for message in list_in(&listed, "data").iter().skip(start) {
            let message = inner.call(&caller, Call::get(format!("/v1/messages/{}", text(message, "id")))).await?.json();
            let is_wanted =
                |to: &&Value| email.as_ref().is_none_or(|email| text(to, "email").eq_ignore_ascii_case(email));
            rows.extend(list_in(&message, "recipients").iter().filter(is_wanted).map(|to| row(&message, to, &user)));
        }
    } else {
        wanted.sort_unstable();
        wanted.dedup();
        for (id, address) in wanted {
            let Ok(id) = id_of("msg", id) else { continue };
            let found = match inner.call(&caller, Call::get(format!("/v1/messages/{id}"))).await {
                Err(refusal) if refusal.kind == "not-found" => continue,
                found => found?.json(),
            };
            let is_wanted = |to: &&Value| address.is_empty() || text(to, "email").eq_ignore_ascii_case(address);
            rows.extend(list_in(&found, "recipients").iter().filter(is_wanted).map(|to| row(&found, to, &user)));
        }
    }
    Ok(told(&json!({"total": rows.len().to_string(), "voListSize": rows.len(), "voList": rows})))
}

fn row(message: &Value, recipient: &Value, user: &str) -> Value {
    let status = match text(recipient, "status") {
        "delivered" => "投递成功",
        "bounced" | "expired" | "suppressed" | "cancelled" => "投递失败",
        _ => "请求中",
    };
    let time = |text: &str| parse_rfc3339(text).map(written);
    let requested = time(text(message, "created_at"));
    let modified = recipient["settled_at"].as_str().map_or_else(|| requested.clone(), time);
    json!({"status": status, "apiUser": user, "recipients": recipient["email"], "requestTime": requested,
        "modifiedTime": modified, "sendLog": text(&recipient["last_reply"], "text")})
}
