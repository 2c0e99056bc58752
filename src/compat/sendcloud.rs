//! SendCloud's API v2 (`sendcloud.net/doc/email_v2`) and that of its successor Aurora: a message by its words or by a template.
//!
//! A key of ours stands in `apiKey`, whoever `apiUser` is. Answers are `{result, statusCode, message, info}`, with status 200 of HTTP also
//! where they are refusals.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::HeaderValue;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::post;
use serde_json::{Map, Value, json};

use super::draft::{Budget, Draft, Item, bounded, filled, send_many};
use super::form::Form;
use super::ids::uuid_of;
use super::inner::{IDEMPOTENCY_KEY, Inner, Refusal, Stranger, pass_on};
use super::mail::mailboxes;
use super::places::Places;
use super::service::{Refused, Service, answer, list, ok, text};
use crate::api::body::UnreadBody;
use crate::domain::address::NamedAddress;
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::Fields;
use crate::webhook::forms::sendcloud::LABEL;

pub struct SendCloud;

type Error = Refused<SendCloud>;

const RECIPIENTS_MAX: usize = 100;
const WORDS_MAX: usize = 200;
const REPLY_TO_MAX: usize = 3;
const REQUEST_ID_MAX: usize = 128;
const SUCCESS: &str = "请求成功";
/// Where a body's words are replaced.
const REPLACED: [&str; 3] = ["subject", "html", "text"];

/// The routes, at the root of the service's address.
pub fn routes() -> Router<Arc<Inner>> {
    Router::new()
        .route("/apiv2/mail/send", post(plain))
        .route("/apiv2/mail/sendtemplate", post(templated))
        .route("/api/mail/send", post(plain))
        .route("/api/mail/sendtemplate", post(templated))
        .method_not_allowed_fallback(nothing)
}

async fn nothing(method: Method, uri: Uri) -> Error {
    Refusal::not_understood(&method, uri.path()).into()
}

impl Service for SendCloud {
    /// It stands in the form.
    fn token(_: &HeaderMap) -> Option<String> {
        None
    }

    fn refused(refusal: &Refusal, places: &Places) -> Response {
        let (status, code) = code_of(refusal, places);
        let told = json!({"result": false, "statusCode": code, "message": refusal.told(places), "info": {}});
        answer(status, &told)
    }
}

/// Status and number of an error: what is a refusal there is no error of HTTP.
fn code_of(refusal: &Refusal, places: &Places) -> (StatusCode, u16) {
    let field = refusal.faults.first().map(|fault| (places.name(&fault.pointer), fault.code));
    let place = field.as_ref().map_or("", |(name, _)| name.split(['[', '.']).next().unwrap_or_default());
    let code = match refusal.kind.as_str() {
        "no-key" | "unauthorized" | "missing-scope" | "address-not-allowed" | "test-only" => 40005,
        "foreign-domain" | "unverified-domain" => 40802,
        "quota-exceeded" => 40904,
        "idempotency-key-reused" => 40000,
        "validation" => number_of(place, field.as_ref().map(|(_, code)| *code)),
        "malformed" | "unsupported-media-type" | "project-suspended" => SEND_FAILED,
        _ => return (refusal.status, refusal.status.as_u16()),
    };
    (StatusCode::OK, code)
}

/// That it failed, and nothing nearer.
const SEND_FAILED: u16 = 40901;

/// Numbers of parameters (`sendcloud.net/doc/en/email_v2`): where one is missing, where it is wrong, and where it has too much.
const NUMBERS: [(&str, u16, u16, u16); 18] = [
    ("apiUser", 40005, 40005, 40005),
    ("attachments", SEND_FAILED, 40867, 40819),
    ("bcc", SEND_FAILED, 40856, 40857),
    ("cc", SEND_FAILED, 40853, 40854),
    ("from", 40801, 40802, 40802),
    ("fromName", 40804, 40804, 40804),
    ("gzipCompress", 40861, 40861, 40861),
    ("headers", 40869, 40869, 40869),
    ("html", 40870, 40871, 40871),
    ("labelId", 40103, 40103, 40103),
    ("labelName", 40105, 40105, 40105),
    ("plain", 40870, 40831, 40831),
    ("replyTo", 40811, 40811, 40879),
    ("respEmailId", 40859, 40859, 40859),
    ("subject", 40808, 40809, 40809),
    ("templateInvokeName", 40201, 40823, 40202),
    ("to", 40805, 40806, 40807),
    ("xsmtpapi", 40815, 40813, 40827),
];

fn number_of(place: &str, code: Option<FaultCode>) -> u16 {
    match (place, code) {
        ("useAddressList", Some(FaultCode::Conflict)) => return 40820,
        ("useAddressList", _) => return 40874,
        ("xsmtpapi", Some(FaultCode::InvalidAddress)) => return 40880,
        _ => {}
    }
    let Some((_, missing, wrong, much)) = NUMBERS.iter().find(|(name, ..)| *name == place) else { return SEND_FAILED };
    match code {
        Some(FaultCode::Required) => *missing,
        Some(FaultCode::TooMany | FaultCode::TooManyRecipients | FaultCode::MessageTooLarge) => *much,
        _ => *wrong,
    }
}

async fn plain(
    inner: State<Arc<Inner>>,
    stranger: Stranger,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    send(inner, (stranger, headers), body, false).await
}

async fn templated(
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
    let mut response = ok(&json!({"result": true, "statusCode": 200, "message": SUCCESS, "info": info}));
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
