//! `GET /v2/email/insights/{id}`, `GET /v2/email/account`

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::Error;
use super::signature::Signed;
use crate::compat::ids::{id_of, uuid_of};
use crate::compat::inner::{Call, Inner};
use crate::compat::mail::events_of;
use crate::compat::service::{list, ok, text};
use crate::domain::clock::parse_rfc3339;

/// What happened to an email, by its recipients.
pub async fn get(State(inner): State<Arc<Inner>>, Path(id): Path<String>, signed: Signed) -> Result<Response, Error> {
    let id = id_of("msg", &id)?;
    let message = inner.call(&signed.caller, Call::get(format!("/v1/messages/{id}"))).await?.json();
    let events = events_of(&inner, &signed.caller, &id).await?;
    let insights = list(&message, "recipients").iter().map(|recipient| {
        let of_one = events.iter().filter(|event| event["recipient_id"] == recipient["id"]);
        json!({"Destination": recipient["email"], "Events": of_one.filter_map(event_of).collect::<Vec<_>>()})
    });
    let tags = message["metadata"].as_object().into_iter().flatten();
    let tags: Vec<_> = tags.map(|(name, value)| json!({"Name": name, "Value": value})).collect();
    Ok(ok(&json!({"MessageId": uuid_of(&id), "FromEmailAddress": message["from"], "Subject": message["subject"],
        "EmailTags": tags, "Insights": insights.collect::<Vec<_>>()})))
}

/// An event in the words of SES; `None`: it has none for it.
fn event_of(event: &Value) -> Option<Value> {
    let kind = match text(event, "type") {
        "message.queued" => "SEND",
        "message.delivered" => "DELIVERY",
        "message.deferred" => "DELIVERY_DELAY",
        "message.bounced" | "message.bounced_later" | "message.suppressed" | "message.expired" => "BOUNCE",
        "message.complained" => "COMPLAINT",
        "message.opened" => "OPEN",
        "message.clicked" => "CLICK",
        "message.unsubscribed" => "SUBSCRIPTION",
        _ => return None,
    };
    let at = parse_rfc3339(text(event, "occurred_at")).map(time::OffsetDateTime::unix_timestamp);
    let mut told = json!({"Timestamp": at, "Type": kind});
    if kind == "BOUNCE" {
        let (of, sub) = match text(event, "type") {
            "message.suppressed" => ("PERMANENT", "OnAccountSuppressionList"),
            "message.expired" => ("TRANSIENT", "General"),
            _ => ("PERMANENT", "General"),
        };
        let diagnostic = text(&event["reply"], "text");
        told["Details"] = json!({"Bounce": {"BounceType": of, "BounceSubType": sub, "DiagnosticCode": diagnostic}});
    }
    Some(told)
}

/// What there is to say of whoever sends; -1 is no limit.
pub async fn account(_: Signed) -> Response {
    let quota = json!({"Max24HourSend": -1, "MaxSendRate": -1});
    ok(&json!({"SendingEnabled": true, "ProductionAccessEnabled": true, "EnforcementStatus": "HEALTHY",
        "DedicatedIpAutoWarmupEnabled": false, "SendQuota": quota}))
}
