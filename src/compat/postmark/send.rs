//! `POST /email`, `/email/batch`, `/email/withTemplate`, `/email/batchWithTemplates`

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Error, Postmark, code_of};
use crate::api::body::UnreadBody;
use crate::compat::draft::{Draft, Item, send_many};
use crate::compat::ids::uuid_of;
use crate::compat::inner::{IDEMPOTENCY_KEY, Inner, pass_on};
use crate::compat::mail::mailboxes;
use crate::compat::service::{By, answer, fault, list, ok, text};
use crate::domain::clock::rfc3339;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::named_tag::STREAM;
use crate::request::fields::Fields;

const BATCH_MAX: usize = 500;
/// The stream of which nothing is said: all else than transactional mail is of another.
const DEFAULT_STREAM: &str = "outbound";
/// The number of an error: every recipient is suppressed.
const INACTIVE: u16 = 406;

/// Fields of a file, there and here.
const FILE: [(&str, &str); 5] = [
    ("Name", "filename"),
    ("Content", "content"),
    ("ContentType", "content_type"),
    ("ContentID", "content_id"),
    ("Disposition", "disposition"),
];

/// Sends one email.
pub async fn one(
    inner: State<Arc<Inner>>,
    by: By<Postmark>,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    send(inner, by, headers, body, false).await
}

/// Sends one by a template.
pub async fn with_template(
    inner: State<Arc<Inner>>,
    by: By<Postmark>,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    send(inner, by, headers, body, true).await
}

async fn send(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    headers: HeaderMap,
    body: UnreadBody,
    is_templated: bool,
) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let named = Named::of(&value);
    let draft = email(value, is_templated)?;
    let taken = draft.send(&inner, &caller, sent, headers.get(&IDEMPOTENCY_KEY).cloned()).await?;
    let told = named.told(&taken.json(), &rfc3339(inner.api.clock.now()));
    let status = if told["ErrorCode"] == 0 { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let mut response = answer(status, &told);
    pass_on(&taken.headers, &mut response);
    Ok(response)
}

/// Sends up to 500, each as far as it is sound.
pub async fn batch(
    inner: State<Arc<Inner>>,
    by: By<Postmark>,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    send_batch(inner, by, headers, body, false).await
}

/// The same by templates.
pub async fn batch_with_templates(
    inner: State<Arc<Inner>>,
    by: By<Postmark>,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    send_batch(inner, by, headers, body, true).await
}

async fn send_batch(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    headers: HeaderMap,
    body: UnreadBody,
    is_templated: bool,
) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let emails = if is_templated {
        let mut faults = Vec::new();
        let mut fields = Fields::of(value, "", &mut faults);
        let emails = fields.list("Messages").unwrap_or_default();
        fields.finish();
        if !faults.is_empty() {
            return Err(faults.into());
        }
        emails
    } else {
        let Value::Array(emails) = value else {
            return Err(fault("", FaultCode::WrongType, "the body must be a list of emails").into());
        };
        emails
    };
    if emails.len() > BATCH_MAX {
        let detail = format!("{} emails; the limit is {BATCH_MAX}", emails.len());
        return Err(vec![Fault::new("", FaultCode::TooMany, detail)].into());
    }
    let named: Vec<_> = emails.iter().map(Named::of).collect();
    let items = emails.into_iter().map(|value| Item { name: String::new(), read: email(value, is_templated) });
    let key = headers.get(&IDEMPOTENCY_KEY).cloned();
    let outcomes = send_many((&inner, &caller), items.collect(), false, sent, key).await?;
    let now = rfc3339(inner.api.clock.now());
    let told = outcomes.each.into_iter().zip(named).map(|(outcome, named)| match outcome {
        Ok(taken) => named.told(&taken, &now),
        Err((refusal, message)) => named.failed(code_of(&refusal).1, &message, &now),
    });
    let mut response = ok(&told.collect());
    pass_on(&outcomes.headers, &mut response);
    Ok(response)
}

/// Recipients as they were written: an answer says them again.
struct Named(Map<String, Value>);

impl Named {
    fn of(email: &Value) -> Self {
        let fields = ["To", "Cc", "Bcc"].into_iter();
        Self(fields.filter_map(|name| Some((name.to_owned(), email.get(name)?.as_str()?.into()))).collect())
    }

    /// Why one of a batch was not sent. An SDK reads as much of it as of one that was.
    fn failed(self, code: u16, message: &str, now: &str) -> Value {
        let to = self.0.get("To").and_then(Value::as_str).unwrap_or_default();
        json!({"To": to, "SubmittedAt": now, "MessageID": Uuid::nil().to_string(), "ErrorCode": code, "Message": message})
    }

    /// What became of it: what nobody is to get was not sent, in Postmark's words.
    fn told(self, taken: &Value, now: &str) -> Value {
        let recipients = list(taken, "recipients");
        let inactive: Vec<_> = recipients
            .iter()
            .filter(|recipient| recipient["status"] == "suppressed")
            .map(|recipient| text(recipient, "email"))
            .collect();
        let listed = inactive.join(", ");
        if !inactive.is_empty() && inactive.len() == recipients.len() {
            let message = format!(
                "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: {listed}. \
                 Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression."
            );
            return self.failed(INACTIVE, &message, now);
        }
        let message = if inactive.is_empty() {
            "OK".to_owned()
        } else {
            format!("Message OK, but will not deliver to these inactive addresses: {listed}.")
        };
        let mut told = self.0;
        told.insert("SubmittedAt".to_owned(), taken["created_at"].clone());
        told.insert("MessageID".to_owned(), uuid_of(text(taken, "id")).into());
        told.insert("ErrorCode".to_owned(), 0.into());
        told.insert("Message".to_owned(), message.into());
        told.into()
    }
}

/// An email in the words of a send request.
fn email(value: Value, is_templated: bool) -> Result<Draft, Vec<Fault>> {
    let (mut draft, mut faults) = (Draft::default(), Vec::new());
    let mut fields = Fields::of(value, "", &mut faults);
    for (theirs, ours) in [("To", "to"), ("Cc", "cc"), ("Bcc", "bcc"), ("ReplyTo", "reply_to")] {
        if let Some(text) = fields.string(theirs) {
            draft.put(ours, mailboxes(&text, ','), theirs);
        }
    }
    for (theirs, ours) in [("From", "from"), ("Metadata", "metadata")] {
        draft.put_some(ours, fields.take(theirs), theirs);
    }
    if is_templated {
        template(&mut fields, &mut draft);
    } else {
        let (html, text) = (fields.take("HtmlBody"), fields.take("TextBody"));
        if html.is_none() && text.is_none() {
            fields.fault("TextBody", FaultCode::Required, "must be given, or HtmlBody");
        }
        draft.put_some("html", html, "HtmlBody");
        draft.put_some("text", text, "TextBody");
        draft.put("subject", fields.take("Subject").unwrap_or_else(|| "".into()), "Subject");
    }
    draft.places.put("/from", "From");
    draft.places.put("/to", "To");
    if let Some(tag) = fields.string("Tag").filter(|tag| !tag.is_empty()) {
        draft.push("tags", tag, "Tag");
    }
    if let Some(stream) = fields.string("MessageStream").filter(|stream| !stream.is_empty() && stream != DEFAULT_STREAM)
    {
        draft.push("tags", format!("{STREAM}{stream}"), "MessageStream");
    }
    if let Some(opens) = fields.bool("TrackOpens") {
        draft.places.put("/tracking", "TrackOpens");
        draft.set("tracking", "opens", opens, "TrackOpens");
    }
    match fields.string("TrackLinks").as_deref() {
        None | Some("" | "None") => {}
        Some("HtmlAndText" | "HtmlOnly") => {
            draft.places.put("/tracking", "TrackLinks");
            draft.set("tracking", "clicks", true, "TrackLinks");
        }
        Some("TextOnly") => {
            fields.fault("TrackLinks", FaultCode::Conflict, "links are tracked in HTML: HtmlOnly or HtmlAndText");
        }
        Some(_) => {
            let detail = "must be None, HtmlAndText, HtmlOnly or TextOnly";
            fields.fault("TrackLinks", FaultCode::InvalidParameter, detail);
        }
    }
    draft.pairs("headers", &mut fields, ("Headers", "Headers"), ("Name", "Value"));
    draft.own_message_id();
    // The length of what comes anyway.
    draft.files(&mut fields, ("Attachments", "Attachments"), &FILE, |file, _| drop(file.take("ContentLength")));
    fields.finish();
    if faults.is_empty() { Ok(draft) } else { Err(faults) }
}

/// A template and what it is filled with.
fn template(fields: &mut Fields<'_>, draft: &mut Draft) {
    match (fields.take("TemplateId"), fields.string("TemplateAlias")) {
        (None, None) => fields.fault("TemplateAlias", FaultCode::Required, "must be given, or TemplateId"),
        (Some(_), Some(_)) => {
            fields.fault("TemplateAlias", FaultCode::Conflict, "must not be given together with TemplateId");
        }
        (None, Some(alias)) => {
            draft.template(alias, "TemplateAlias");
        }
        (Some(Value::String(id)), None) => draft.template(id, "TemplateId"),
        (Some(_), None) => {
            let detail = "templates here have no numbers: give TemplateAlias, or an id that begins with tpl_";
            fields.fault("TemplateId", FaultCode::WrongType, detail);
        }
    }
    if let Some(model) = fields.take("TemplateModel") {
        draft.set("template", "variables", model, "TemplateModel");
    }
    if fields.bool("InlineCss") == Some(true) {
        fields.fault(
            "InlineCss",
            FaultCode::Conflict,
            "styles stay where the template has them: leave it out, or false",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_comes_to_a_send_request() {
        let given = json!({"From": "Shop <shop@example.org>", "To": "\"Doe, Ann\" <a@b.c>, d@e.f", "Cc": null, "Subject": "s", "HtmlBody": "<p>",
            "Tag": "t", "MessageStream": "receipts", "Metadata": {"a": "1"}, "Headers": [{"Name": "X-A", "Value": "1"}], "TrackOpens": true, "TrackLinks": "HtmlOnly",
            "Attachments": [{"Name": "a", "Content": "aGk=", "ContentType": "text/plain", "ContentID": "cid:i"}]});
        let draft = email(given, false).unwrap();
        let wanted = json!({"from": "Shop <shop@example.org>", "to": ["\"Doe, Ann\" <a@b.c>", "d@e.f"], "subject": "s", "html": "<p>",
            "tags": ["t", "stream:receipts"], "metadata": {"a": "1"}, "headers": {"X-A": "1"}, "tracking": {"opens": true, "clicks": true},
            "attachments": [{"filename": "a", "content": "aGk=", "content_type": "text/plain", "content_id": "cid:i"}]});
        assert_eq!(Value::Object(draft.map), wanted);
        let given = json!({"Form": 1, "TrackLinks": "TextOnly", "Headers": [{"Value": "1"}, {"Name": "X", "Value": "1"}, {"Name": "X", "Value": "2"}]});
        let faults = email(given, false).unwrap_err();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/TextBody", "/TrackLinks", "/Headers/0/Name", "/Headers/2/Name", "/Form"]);
        let faults = email(json!({"TemplateId": 7, "InlineCss": true}), true).unwrap_err();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/TemplateId", "/InlineCss"]);
    }

    #[test]
    fn who_is_suppressed_is_named_as_sdks_read_it() {
        let taken = |states: [&str; 2]| {
            json!({"id": "msg_0198a7b0c1d27abc8def0123456789ab", "created_at": "now",
            "recipients": [{"email": "a@b.c", "status": states[0]}, {"email": "d@e.f", "status": states[1]}]})
        };
        let told = |states| Named::of(&json!({"To": "a@b.c, d@e.f"})).told(&taken(states), "now");
        assert_eq!(told(["queued", "queued"])["Message"], "OK");
        assert!(told(["queued", "suppressed"])["Message"].as_str().unwrap().ends_with("inactive addresses: d@e.f."));
        let all = told(["suppressed", "suppressed"]);
        assert_eq!(all["ErrorCode"], INACTIVE);
        assert!(all["Message"].as_str().unwrap().contains("Found inactive addresses: a@b.c, d@e.f."));
    }
}
