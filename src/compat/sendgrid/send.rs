//! `POST /v3/mail/send`

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::HeaderValue;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};

use super::{Error, SendGrid};
use crate::api::body::UnreadBody;
use crate::compat::draft::{Draft, Item, bounded, send_many};
use crate::compat::ids::uuid_of;
use crate::compat::inner::{IDEMPOTENCY_KEY, Inner, pass_on};
use crate::compat::service::{By, text};
use crate::domain::clock::{from_unix, rfc3339};
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::named_tag::BATCH;
use crate::request::fields::Fields;
use crate::webhook::forms::sendgrid::GROUP;

const PERSONALIZATIONS_MAX: usize = 1000;

/// Fields of a file, there and here.
const FILE: [(&str, &str); 5] = [
    ("content", "content"),
    ("filename", "filename"),
    ("type", "content_type"),
    ("disposition", "disposition"),
    ("content_id", "content_id"),
];

/// Sends a message for each personalization: all or none.
pub async fn send(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<SendGrid>,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let Mail { mut messages, is_rehearsed } = mail(&inner, value)?;
    let key = headers.get(&IDEMPOTENCY_KEY).cloned();
    let (id, passed) = if is_rehearsed {
        for draft in messages {
            let rehearsed = draft.rehearse(&inner, &caller, inner.unsent()).await;
            rehearsed?;
        }
        return Ok(accepted(StatusCode::OK, None));
    } else if messages.len() == 1 {
        let draft = messages.remove(0);
        let taken = draft.send(&inner, &caller, sent, key).await?;
        (uuid_of(text(&taken.json(), "id")), taken.headers)
    } else {
        let items = messages.into_iter().map(|draft| Item { name: String::new(), read: Ok(draft) }).collect();
        let taken = send_many((&inner, &caller), items, true, sent, key).await?;
        let first = taken.each.iter().find_map(|each| each.as_ref().ok());
        (first.map(|first| uuid_of(text(first, "id"))).unwrap_or_default(), taken.headers)
    };
    let mut response = accepted(StatusCode::ACCEPTED, Some(&id));
    pass_on(&passed, &mut response);
    Ok(response)
}

fn accepted(status: StatusCode, id: Option<&str>) -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = status;
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
        response.headers_mut().insert("x-message-id", id);
    }
    response
}

fn personalization(at: usize) -> String {
    format!("personalizations[{at}]")
}

/// A mail: a message for each personalization, and whether none is to be sent.
struct Mail {
    messages: Vec<Draft>,
    is_rehearsed: bool,
}

fn mail(inner: &Inner, value: Value) -> Result<Mail, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut fields = Fields::of(value, "", &mut faults);
    let personalizations = fields.list("personalizations").unwrap_or_default();
    if personalizations.is_empty() || personalizations.len() > PERSONALIZATIONS_MAX {
        let detail = format!("must have from 1 to {PERSONALIZATIONS_MAX} entries");
        fields.fault("personalizations", FaultCode::Required, detail);
    }
    let mut all = Draft::default();
    for name in ["from", "reply_to", "subject", "headers"] {
        all.put_some(name, fields.take(name), name);
    }
    if let Some(list) = fields.list("reply_to_list") {
        if all.map.contains_key("reply_to") {
            fields.fault("reply_to_list", FaultCode::Conflict, "must not be given together with reply_to");
        }
        all.put("reply_to", list, "reply_to_list");
    }
    let is_templated = fields.has("template_id");
    if let Some(id) = fields.string("template_id") {
        all.template(id, "template_id");
    }
    content(&mut fields, &mut all, is_templated);
    all.files(&mut fields, ("attachments", "attachments"), &FILE, |_, _| {});
    for (at, category) in fields.list("categories").unwrap_or_default().into_iter().enumerate() {
        all.push("tags", category, format!("categories[{at}]"));
    }
    if let Some(batch) = fields.string("batch_id") {
        all.push("tags", format!("{BATCH}{batch}"), "batch_id");
    }
    all.put_some("metadata", fields.take("custom_args"), "custom_args");
    send_at(&mut fields, &mut all, "send_at");
    all.put_some("ip_pool", fields.take("ip_pool_name"), "ip_pool_name");
    asm(&mut fields, &mut all);
    let is_rehearsed = mail_settings(&mut fields);
    tracking(&mut fields, &mut all);
    let sections = fields.object("sections");
    if sections.is_some_and(|sections| !sections.is_empty()) {
        fields.fault("sections", FaultCode::Conflict, "there are no sections here: templates have include");
    }
    fields.finish();
    if !faults.is_empty() {
        return Err(faults);
    }
    bounded(inner, &all, personalizations.len(), "personalizations")?;
    let mut messages = Vec::with_capacity(personalizations.len());
    for (at, value) in personalizations.into_iter().enumerate() {
        let mut of_one = Fields::of(value, format!("/personalizations/{at}"), &mut faults);
        let draft = personalized(&mut of_one, &all, &personalization(at));
        of_one.finish();
        messages.push(draft);
    }
    if faults.is_empty() { Ok(Mail { messages, is_rehearsed }) } else { Err(faults) }
}

/// What all messages have, and what one has for itself.
fn personalized(fields: &mut Fields<'_>, all: &Draft, name: &str) -> Draft {
    let mut draft = all.clone();
    for field in ["to", "cc", "bcc"] {
        draft.places.put(format!("/{field}"), format!("{name}.{field}"));
    }
    for field in ["to", "cc", "bcc", "from", "subject"] {
        draft.put_some(field, fields.take(field), &format!("{name}.{field}"));
    }
    for (theirs, ours) in [("headers", "headers"), ("custom_args", "metadata")] {
        for (entry, value) in fields.object(theirs).unwrap_or_default() {
            draft.set(ours, &entry, value, format!("{name}.{theirs}.{entry}"));
        }
    }
    draft.own_message_id();
    if let Some(data) = fields.take("dynamic_template_data") {
        let theirs = format!("{name}.dynamic_template_data");
        if draft.map.contains_key("template") {
            draft.set("template", "variables", data, theirs);
        } else {
            fields.fault("dynamic_template_data", FaultCode::Conflict, "needs a template_id");
        }
    } else if draft.map.contains_key("template") {
        draft.places.put("/template/variables", format!("{name}.dynamic_template_data"));
    }
    if fields.object("substitutions").is_some_and(|map| !map.is_empty()) {
        let detail = "there are none here: templates have variables, in dynamic_template_data";
        fields.fault("substitutions", FaultCode::Conflict, detail);
    }
    let theirs = format!("{name}.send_at");
    send_at(fields, &mut draft, &theirs);
    draft
}

/// The bodies: text and HTML, and what is beside them.
fn content(fields: &mut Fields<'_>, all: &mut Draft, is_templated: bool) {
    let parts = fields.list("content").unwrap_or_default();
    if parts.is_empty() && !is_templated {
        fields.fault("content", FaultCode::Required, "must have at least one entry, or give template_id");
    }
    for (at, part) in parts.into_iter().enumerate() {
        let name = format!("content[{at}]");
        let mut part = Fields::of(part, format!("/content/{at}"), fields.faults);
        let (kind, value) = (part.required("type"), part.required("value"));
        part.finish();
        let (Some(kind), Some(value)) = (kind, value) else { continue };
        let ours = match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "text/plain" => "text",
            "text/html" => "html",
            _ => {
                let alternative = [("content_type".to_owned(), kind.into()), ("content".to_owned(), value.into())];
                all.push("alternatives", Map::from_iter(alternative), name);
                continue;
            }
        };
        if all.map.contains_key(ours) {
            fields.fault_at(&format!("content/{at}/type"), FaultCode::DuplicateField, "is there already");
        }
        all.put(ours, value, format!("{name}.value"));
    }
}

/// Seconds of the Unix clock.
fn send_at(fields: &mut Fields<'_>, draft: &mut Draft, name: &str) {
    let Some(seconds) = fields.integer("send_at") else { return };
    match from_unix(seconds) {
        Some(at) => draft.put("send_at", rfc3339(at), name),
        None => fields.fault("send_at", FaultCode::InvalidTime, "must be an instant in seconds since 1970"),
    }
}

/// Groups of unsubscribes are streams.
fn asm(fields: &mut Fields<'_>, all: &mut Draft) {
    let Some(map) = fields.object("asm") else { return };
    let mut asm = Fields::new(map, "/asm", fields.faults);
    match asm.integer("group_id") {
        Some(group) => {
            all.set("unsubscribe", "stream", format!("{GROUP}{group}"), "asm.group_id");
            all.places.put("/unsubscribe", "asm");
        }
        None => asm.fault("group_id", FaultCode::Required, "must be given"),
    }
    if asm.list("groups_to_display").is_some_and(|groups| !groups.is_empty()) {
        let detail = "there is no page of groups here: a link leads out of one";
        asm.fault("groups_to_display", FaultCode::Conflict, detail);
    }
    asm.finish();
}

/// What of the settings can be; gives whether nothing is to be sent.
fn mail_settings(fields: &mut Fields<'_>) -> bool {
    let Some(map) = fields.object("mail_settings") else { return false };
    let mut settings = Fields::new(map, "/mail_settings", fields.faults);
    let is_rehearsed = is_enabled(&mut settings, ("/mail_settings", "sandbox_mode"), &[]);
    for (name, more, why) in [
        ("bcc", &["email"][..], "say bcc in a personalization"),
        ("bypass_bounce_management", &[], "nothing goes to a suppressed address"),
        ("bypass_list_management", &[], "nothing goes to a suppressed address"),
        ("bypass_spam_management", &[], "nothing goes to a suppressed address"),
        ("bypass_unsubscribe_management", &[], "nothing goes to a suppressed address"),
        ("footer", &["text", "html"], "templates have layouts"),
        (
            "spam_check",
            &["threshold", "post_to_url"],
            "GET /v1/sandbox/messages/{id}/spam-check says how a filter sees a message",
        ),
    ] {
        if is_enabled(&mut settings, ("/mail_settings", name), more) {
            settings.fault(name, FaultCode::Conflict, format!("cannot be enabled: {why}"));
        }
    }
    settings.finish();
    is_rehearsed
}

/// Whether a setting is enabled: what is not asks for nothing, whatever `more` says.
fn is_enabled(settings: &mut Fields<'_>, (at, name): (&str, &'static str), more: &[&'static str]) -> bool {
    let Some(map) = settings.object(name) else { return false };
    let mut setting = Fields::new(map, format!("{at}/{name}"), settings.faults);
    let is_enabled = setting.bool("enable").unwrap_or_default();
    for name in more {
        setting.take(name);
    }
    setting.finish();
    is_enabled
}

fn tracking(fields: &mut Fields<'_>, all: &mut Draft) {
    let Some(map) = fields.object("tracking_settings") else { return };
    let mut settings = Fields::new(map, "/tracking_settings", fields.faults);
    for (theirs, ours) in [("click_tracking", "clicks"), ("open_tracking", "opens")] {
        let Some(map) = settings.object(theirs) else { continue };
        let mut one = Fields::new(map, format!("/tracking_settings/{theirs}"), settings.faults);
        if let Some(enable) = one.bool("enable") {
            let place = format!("tracking_settings.{theirs}");
            if enable {
                all.places.put("/tracking", place.clone());
            }
            all.set("tracking", ours, enable, place);
        }
        if theirs == "click_tracking" {
            // Links of a text are never rewritten, whatever is asked for.
            one.bool("enable_text");
        } else if one.string("substitution_tag").is_some_and(|tag| !tag.is_empty()) {
            one.fault("substitution_tag", FaultCode::Conflict, "the picture stands at the end of the HTML");
        }
        one.finish();
    }
    for (name, more, why) in [
        ("subscription_tracking", &["text", "html", "substitution_tag"][..], "asm has links to unsubscribe"),
        (
            "ganalytics",
            &["utm_source", "utm_medium", "utm_term", "utm_content", "utm_campaign"],
            "write it into the links",
        ),
    ] {
        if is_enabled(&mut settings, ("/tracking_settings", name), more) {
            settings.fault(name, FaultCode::Conflict, format!("cannot be enabled: {why}"));
        }
    }
    settings.finish();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_one_says_for_itself_goes_before_what_all_have() {
        let mut all = Draft::default();
        all.put("subject", "all", "subject");
        all.put("headers", json!({"X-A": "1", "X-B": "2"}), "headers");
        let mut faults = Vec::new();
        let one =
            json!({"to": [{"email": "a@b.c"}], "subject": "one", "headers": {"X-B": "3"}, "send_at": 1_800_000_000});
        let mut fields = Fields::of(one, "/personalizations/0", &mut faults);
        let draft = personalized(&mut fields, &all, "personalizations[0]");
        fields.finish();
        let wanted = json!({"to": [{"email": "a@b.c"}], "subject": "one", "headers": {"X-A": "1", "X-B": "3"},
            "send_at": "2027-01-15T08:00:00.000000Z"});
        assert_eq!((Value::Object(draft.map), faults), (wanted, vec![]));
        assert_eq!(draft.places.name("/to/1/email"), "personalizations[0].to[1].email");
    }
}
