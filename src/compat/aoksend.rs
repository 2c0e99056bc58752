//! AokSend's API (`aoksend.com`, "邮件API"): a message by a template, to one or to many, and what is left to send.
//!
//! A key of ours stands in `app_key`. Answers are `{code, message}`: 200, or one of 40001 to 40009.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};

use super::draft::{Budget, Draft, Item, bounded, send_many};
use super::form::Form;
use super::ids::uuid_of;
use super::inner::{Call, Caller, IDEMPOTENCY_KEY, Inner, Refusal, Stranger, pass_on};
use super::places::Places;
use super::service::{Refused, Service, answer, list, ok, text};
use crate::api::Problem;
use crate::api::body::UnreadBody;
use crate::domain::fault::FaultCode;

pub struct AokSend;

type Error = Refused<AokSend>;

const MANY_MAX: usize = 1000;
const SUCCESS: &str = "请求成功";

/// The routes, at the root of the service's address.
pub fn routes() -> Router<Arc<Inner>> {
    Router::new()
        .route("/index/api/send_email", post(one))
        .route("/index/api/send_email_batch", post(many))
        .route("/index/api/check_account", post(account))
        .method_not_allowed_fallback(nothing)
}

async fn nothing(method: Method, uri: Uri) -> Error {
    Refusal::not_understood(&method, uri.path()).into()
}

impl Service for AokSend {
    /// It stands in the form.
    fn token(_: &HeaderMap) -> Option<String> {
        None
    }

    fn refused(refusal: &Refusal, places: &Places) -> Response {
        let (status, code) = code_of(refusal, places);
        answer(status, &json!({"code": code, "message": refusal.told(places)}))
    }
}

/// Status and number of an error: what the service answers by its number alone is no error of HTTP there.
fn code_of(refusal: &Refusal, places: &Places) -> (StatusCode, u16) {
    let field = refusal.faults.first().map(|fault| (places.name(&fault.pointer), fault.code));
    let place = field.as_ref().map_or("", |(name, _)| name.split(['[', '.']).next().unwrap_or_default());
    let code = match (refusal.kind.as_str(), place, field.as_ref().map(|(_, code)| *code)) {
        ("no-key", ..) => 40001,
        ("unauthorized" | "missing-scope" | "address-not-allowed" | "test-only", ..) => 40002,
        ("quota-exceeded" | "project-suspended" | "foreign-domain" | "unverified-domain", ..) => 40007,
        ("validation", "template_id", _) => 40003,
        ("validation", "to", Some(FaultCode::Required)) => 40004,
        ("validation", "to", _) => 40005,
        ("validation", "reply_to", _) => 40006,
        ("validation", "data", _) => 40008,
        ("validation", "attachment", _) => 40009,
        ("validation" | "malformed" | "unsupported-media-type" | "idempotency-key-reused", ..) => 40000,
        _ => return (refusal.status, refusal.status.as_u16()),
    };
    (StatusCode::OK, code)
}

/// Whose form it is, and the address that their mail is from where they do not say: `noreply` at the one domain of their key.
async fn caller(inner: &Inner, form: &mut Form, stranger: Stranger) -> Result<(Caller, Option<String>), Refusal> {
    let token = form.text("app_key").ok_or_else(Refusal::no_key)?;
    let known = inner.api.auth.caller(&token).await.map_err(|error| Refusal::from(Problem::from(error)))?;
    let own_sender = match known.from_domains.as_deref() {
        Some([domain]) => Some(format!("noreply@{domain}")),
        _ => None,
    };
    Ok((stranger.with(token), own_sender))
}

/// Sends one message.
async fn one(
    State(inner): State<Arc<Inner>>,
    stranger: Stranger,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (mut form, sent) = inner.form(body).await?;
    let (caller, own_sender) = caller(&inner, &mut form, stranger).await?;
    let mut draft = common(&mut form, own_sender);
    match form.text("to") {
        Some(to) => draft.put("to", vec![to], "to"),
        None => form.fault("to", FaultCode::Required, "must be given"),
    }
    if let Some(data) = form.object("data") {
        draft.set("template", "variables", data, "data");
    }
    form.finish()?;
    let taken = draft.send(&inner, &caller, sent, headers.get(&IDEMPOTENCY_KEY).cloned()).await?;
    Ok(accepted(&taken.headers, &json!({"msg_id": uuid_of(text(&taken.json(), "id"))})))
}

/// Sends a message to each of many, with the data that stand at the same place: all or none.
async fn many(
    State(inner): State<Arc<Inner>>,
    stranger: Stranger,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (mut form, sent) = inner.form(body).await?;
    let (caller, own_sender) = caller(&inner, &mut form, stranger).await?;
    let all = common(&mut form, own_sender);
    let (to, data) = (listed(&mut form, "to"), listed(&mut form, "data"));
    if to.is_empty() {
        form.fault("to", FaultCode::Required, "must be given, as to[]");
    } else if to.len() > MANY_MAX {
        form.fault("to", FaultCode::TooMany, format!("has {}; the limit is {MANY_MAX}", to.len()));
    }
    if data.len() > 1 && data.len() != to.len() {
        form.fault(
            "data",
            FaultCode::Conflict,
            format!("has {} entries, and to {}: one for each, or one for all", data.len(), to.len()),
        );
    }
    let data: Vec<_> = data.iter().map(|data| form.object_of("data", data)).collect();
    form.finish()?;
    bounded(&inner, &all, to.len(), "to")?;
    let (mut budget, mut messages) = (Budget::of(&inner), Vec::with_capacity(to.len()));
    for (at, to) in to.into_iter().enumerate() {
        let mut draft = all.clone();
        draft.put("to", vec![to], format!("to[{at}]"));
        if let Some(Some(data)) = data.get(if data.len() == 1 { 0 } else { at }) {
            draft.set("template", "variables", data.clone(), format!("data[{at}]"));
        }
        budget.take(&draft, "to")?;
        messages.push(draft);
    }
    let items = messages.into_iter().map(|draft| Item { name: String::new(), read: Ok(draft) }).collect();
    let key = headers.get(&IDEMPOTENCY_KEY).cloned();
    let outcomes = send_many((&inner, &caller), items, true, sent, key).await?;
    let ids: Vec<_> = outcomes.each.iter().flatten().map(|taken| uuid_of(text(taken, "id"))).collect();
    Ok(accepted(&outcomes.headers, &json!({"message_ids": ids})))
}

/// A list as programs write one: `to` again and again, `to[]`, or `to[0]`, `to[1]` and so on.
fn listed(form: &mut Form, name: &'static str) -> Vec<String> {
    let mut texts = form.texts(name);
    texts.extend(form.entries(&format!("{name}[]")));
    let numbered = |at: &String| at.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?.parse::<usize>().ok();
    let mut places: Vec<_> = form.names().into_iter().filter_map(|at| Some((numbered(&at)?, at))).collect();
    places.sort();
    for (_, at) in places {
        texts.extend(form.entries(&at));
    }
    texts
}

/// What of a message is the same for all.
fn common(form: &mut Form, own_sender: Option<String>) -> Draft {
    let mut draft = Draft::default();
    match form.text("template_id") {
        Some(id) => {
            // Those of AokSend begin with `E_`; aliases here have no capital letters.
            let id = if id.starts_with("E_") { id.to_ascii_lowercase() } else { id };
            draft.template(id, "template_id");
            draft.places.put("/template/variables", "data");
        }
        None => form.fault("template_id", FaultCode::Required, "must be given: the alias or id of a template"),
    }
    let alias = form.text("alias");
    draft.places.put("/from/name", "alias");
    match form.text("from").or(own_sender) {
        Some(from) => draft.put("from", json!({"email": from, "name": alias}), "from"),
        None => {
            form.fault(
                "from",
                FaultCode::Required,
                "must be given, or the key be limited to one domain (from_domains)",
            );
        }
    }
    if let Some(reply_to) = form.text("reply_to") {
        draft.put("reply_to", vec![reply_to], "reply_to");
    }
    if form.switch("is_random") == Some(true) {
        form.fault("is_random", FaultCode::Conflict, "must be 0: there is one sender");
    }
    for (at, part) in form.parts("attachment").into_iter().enumerate() {
        draft.push("attachments", part.attachment(), format!("attachment[{at}]"));
    }
    draft
}

/// How many recipients are left.
async fn account(State(inner): State<Arc<Inner>>, stranger: Stranger, body: UnreadBody) -> Result<Response, Error> {
    let (mut form, _) = inner.form(body).await?;
    let (caller, _) = caller(&inner, &mut form, stranger).await?;
    form.finish()?;
    let limits = inner.call(&caller, Call::get("/v1/limits".to_owned())).await?.json();
    let left = |usage: &Value| {
        let of_recipients = text(usage, "quota").starts_with("recipients_per_");
        let left = usage["limit"].as_u64()?.saturating_sub(usage["used"].as_u64()?);
        of_recipients.then_some(left)
    };
    let remaining = list(&limits, "usage").iter().filter_map(left).min();
    Ok(ok(&json!({"code": 200, "message": SUCCESS, "account": remaining})))
}

/// What became of it, beside the words that are always there.
fn accepted(headers: &HeaderMap, ids: &Value) -> Response {
    let mut told = ids.clone();
    told["code"] = 200.into();
    told["message"] = SUCCESS.into();
    let mut response = ok(&told);
    pass_on(headers, &mut response);
    response
}
