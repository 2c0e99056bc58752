//! `mail/send`, `mail/sendtemplate`

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::HeaderValue;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{Error, told};
use crate::api::body::UnreadBody;
use crate::compat::draft::{Budget, Draft, Item, bounded, filled, send_many};
use crate::compat::form::Form;
use crate::compat::ids::uuid_of;
use crate::compat::inner::{IDEMPOTENCY_KEY, Inner, Refusal, Stranger, pass_on};
use crate::compat::mail::mailboxes;
use crate::compat::service::{list, text};
use crate::domain::address::NamedAddress;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::named_tag::LABEL;
use crate::request::fields::Fields;

const RECIPIENTS_MAX: usize = 100;
const WORDS_MAX: usize = 200;
const REPLY_TO_MAX: usize = 3;
const REQUEST_ID_MAX: usize = 128;
/// Where a body's words are replaced.
const REPLACED: [&str; 3] = ["subject", "html", "text"];

/// Sends by the words that are given.
pub async fn plain(
    inner: State<Arc<Inner>>,
    stranger: Stranger,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    send(inner, (stranger, headers), body, false).await
}

/// Sends by a template.
pub async fn templated(
    inner: State<Arc<Inner>>,
    stranger: Stranger,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    send(inner, (stranger, headers), body, true).await
}

/// Sends a message to each recipient, or one to all, where some are told of others: all or none.
async fn send(
    State(inner): State<Arc<Inner>>,
    (stranger, headers): (Stranger, HeaderMap),
    body: UnreadBody,
    is_templated: bool,
) -> Result<Response, Error> {
    let (mut form, sent) = inner.form(body).await?;
    let token = form.text("apiKey").ok_or_else(Refusal::no_key)?;
    let caller = stranger.with(token);
    if form.text("apiUser").is_none() {
        form.fault("apiUser", FaultCode::Required, "must be given");
    }
    let all = message(&mut form, is_templated);
    let key = request_id(&mut form, &headers);
    let has_ids = form.switch("respEmailId").unwrap_or(true);
    let own = form.object("xsmtpapi");
    let messages = match own {
        Some(own) => Extended::read(own, &mut form).map(|own| own.messages(&inner, &all, is_templated)),
        None => Some(Ok(vec![addressed(&mut form, &all)])),
    };
    form.finish()?;
    let messages = messages.unwrap_or_else(|| Ok(Vec::new()))?;
    let items = messages.into_iter().map(|draft| Item { name: String::new(), read: Ok(draft) }).collect();
    let outcomes = send_many((&inner, &caller), items, true, sent, key).await?;
    let ids = outcomes.each.iter().flatten().flat_map(|taken| {
        let id = uuid_of(text(taken, "id"));
        list(taken, "recipients").iter().map(move |recipient| format!("{id}${}", text(recipient, "email")))
    });
    let info = if has_ids { json!({"emailIdList": ids.collect::<Vec<_>>()}) } else { json!({}) };
    let mut response = told(&info);
    pass_on(&outcomes.headers, &mut response);
    Ok(response)
}

/// By what a repeat is known: their parameter, or a header of ours.
fn request_id(form: &mut Form, headers: &HeaderMap) -> Option<HeaderValue> {
    let Some(id) = form.text("sendRequestId") else { return headers.get(&IDEMPOTENCY_KEY).cloned() };
    let is_key = id.len() <= REQUEST_ID_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_key {
        let detail = format!("must have 1 to {REQUEST_ID_MAX} visible ASCII characters");
        form.fault("sendRequestId", FaultCode::InvalidIdempotencyKey, detail);
    }
    HeaderValue::from_str(&id).ok()
}

/// A message in the words of a send request, but for its recipients.
fn message(form: &mut Form, is_templated: bool) -> Draft {
    let mut draft = Draft::default();
    let name = form.text("fromName");
    match form.text("from") {
        Some(from) => {
            let named = name.and_then(|name| Some((NamedAddress::parse(&from).ok()?.address.to_string(), name)));
            draft.places.put("/from/name", "fromName");
            match named {
                Some((address, name)) => draft.put("from", json!({"email": address, "name": name}), "from"),
                None => draft.put("from", from, "from"),
            }
        }
        None => form.fault("from", FaultCode::Required, "must be given"),
    }
    if let Some(text) = form.text("replyTo") {
        let list = mailboxes(&text, ';');
        if list.len() > REPLY_TO_MAX {
            form.fault(
                "replyTo",
                FaultCode::TooMany,
                format!("has {} addresses; the limit is {REPLY_TO_MAX}", list.len()),
            );
        }
        draft.put("reply_to", list, "replyTo");
    }
    draft.put_some("subject", form.text("subject"), "subject");
    draft.places.put("/subject", "subject");
    if is_templated {
        match form.text("templateInvokeName") {
            Some(named) => {
                draft.template(named, "templateInvokeName");
                draft.places.put("/template/variables", "xsmtpapi");
            }
            None => form.fault("templateInvokeName", FaultCode::Required, "must be given"),
        }
    } else {
        if !draft.map.contains_key("subject") {
            form.fault("subject", FaultCode::Required, "must be given");
        }
        let (html, plain) = (form.text("html"), form.text("plain"));
        if html.is_none() && plain.is_none() {
            form.fault("html", FaultCode::Required, "must be given, or plain");
        }
        draft.put_some("html", html, "html");
        draft.put_some("text", plain, "plain");
    }
    draft.places.put("/tags", "labelName");
    if let Some(label) = form.text("labelName") {
        draft.push("tags", label, "labelName");
    }
    if let Some(label) = form.text("labelId").filter(|label| label != "0") {
        draft.push("tags", format!("{LABEL}{label}"), "labelId");
    }
    for (name, value) in form.object("headers").unwrap_or_default() {
        draft.set("headers", &name, value, "headers");
    }
    for name in ["attachments", "files"] {
        for part in form.parts(name) {
            let mut file = part.attachment();
            // An SDK names a file by its path.
            let named = file["filename"].as_str().unwrap_or_default();
            let bare = named.rsplit(['/', '\\']).next().unwrap_or(named).to_owned();
            file.insert("filename".to_owned(), bare.into());
            draft.push("attachments", file, name);
        }
    }
    for (name, why) in [
        ("useNotification", "events are told by webhooks"),
        ("useAddressList", "there are no lists of addresses here: name them in to"),
        ("gzipCompress", "compress the request: Content-Encoding: gzip"),
    ] {
        if form.switch(name) == Some(true) {
            form.fault(name, FaultCode::Conflict, format!("must be false: {why}"));
        }
    }
    form.refuse("contentSummary", "write it at the beginning of html");
    form.refuse("dispositionNotificationTo", "opens are told by events");
    draft
}

/// A message to all of `to`, who see each other, and to those who are copied.
fn addressed(form: &mut Form, all: &Draft) -> Draft {
    let mut draft = all.clone();
    for name in ["to", "cc", "bcc"] {
        let list = mailboxes(&form.text(name).unwrap_or_default(), ';');
        if list.len() > RECIPIENTS_MAX {
            let detail = format!("has {} addresses; the limit is {RECIPIENTS_MAX}", list.len());
            form.fault(name, FaultCode::TooManyRecipients, detail);
        }
        if !list.is_empty() {
            draft.put(name, list, name);
        } else if name == "to" {
            form.fault("to", FaultCode::Required, "must be given");
        }
    }
    draft
}

/// `xsmtpapi`: recipients, and the words that each has for itself.
struct Extended {
    to: Vec<String>,
    words: Vec<(String, Vec<Value>)>,
}

impl Extended {
    fn read(map: Map<String, Value>, form: &mut Form) -> Option<Self> {
        // Programs give it as well, and it says nothing then, as it is documented; who is copied must not be forgotten.
        form.texts("to");
        for name in ["cc", "bcc"] {
            if form.text(name).is_some() {
                form.fault(
                    name,
                    FaultCode::Conflict,
                    "must not be given together with xsmtpapi, which has its own recipients",
                );
            }
        }
        let mut fields = Fields::new(map, "/xsmtpapi", &mut form.faults);
        let to = fields.strings("to", RECIPIENTS_MAX);
        let sub = fields.object("sub").unwrap_or_default();
        for name in ["pubsub", "filters", "settings", "section"] {
            if fields.take(name).is_some() {
                fields.fault(name, FaultCode::Conflict, "is not understood here");
            }
        }
        fields.finish();
        let to = to.filter(|to| !to.is_empty());
        if to.is_none() && form.faults.iter().all(|fault| !fault.pointer.starts_with("/xsmtpapi")) {
            form.fault("xsmtpapi", FaultCode::Required, "must have to, a list of addresses");
        }
        let count = to.as_ref().map_or(0, Vec::len);
        let mut words = Vec::with_capacity(sub.len().min(WORDS_MAX));
        for (word, values) in sub {
            // What stands in a text, and a template's variable, is the name between.
            let name =
                word.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')).filter(|name| !name.contains('%'));
            match (name, values) {
                (Some(name), Value::Array(values)) if values.len() == count && !name.is_empty() => {
                    words.push((name.to_owned(), values));
                }
                _ => {
                    let detail = format!("sub.{word} must be %name%, and a list with an entry for each of to");
                    form.fault("xsmtpapi", FaultCode::Conflict, detail);
                }
            }
        }
        if words.len() > WORDS_MAX {
            form.fault("xsmtpapi", FaultCode::TooMany, format!("has {} words; the limit is {WORDS_MAX}", words.len()));
        }
        form.faults.is_empty().then(|| Self { to: to.unwrap_or_default(), words })
    }

    /// A message for each recipient, with its words in place.
    fn messages(self, inner: &Inner, all: &Draft, is_templated: bool) -> Result<Vec<Draft>, Vec<Fault>> {
        bounded(inner, all, self.to.len(), "xsmtpapi")?;
        let (mut budget, mut messages) = (Budget::of(inner), Vec::with_capacity(self.to.len()));
        for (at, to) in self.to.iter().enumerate() {
            let own: HashMap<_, _> = self.words.iter().map(|(name, values)| (name.as_str(), &values[at])).collect();
            let value = |name: &str| {
                Ok(own.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            };
            let mut draft = all.clone();
            for name in REPLACED {
                if let Some(Value::String(text)) = draft.map.get_mut(name) {
                    *text = filled(text, "%", value, budget.left()).map_err(|_| budget.spent("xsmtpapi"))?;
                }
            }
            draft.put("to", vec![to.clone()], format!("xsmtpapi.to[{at}]"));
            if is_templated {
                let variables: Map<_, _> =
                    own.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect();
                draft.set("template", "variables", variables, "xsmtpapi");
            }
            budget.take(&draft, "xsmtpapi")?;
            messages.push(draft);
        }
        Ok(messages)
    }
}
