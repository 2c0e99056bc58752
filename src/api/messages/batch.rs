//! `POST /v1/send/batch`

use std::collections::HashSet;

use axum::extract::State;
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use super::sending::{AcceptedView, RehearsedView, dry_run, filled_for, found_for, own_key, request_key, wrong_object};
use crate::api::auth::Authed;
use crate::api::body::{JsonObject, UnreadBody, off_thread};
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::fault::{Fault, FaultCode, Flaw, TOLD_MAX};
use crate::domain::id::BatchId;
use crate::request::fields::Fields;
use crate::request::send::{Context, read};
use crate::request::template::Filled;
use crate::submit::{AcceptedItem, Item, Refusal, RequestKey, Strictness, Submission, SubmitError, Wanted};

/// Answers 202 once all messages are on disk, or 207 once those are that could be taken.
pub async fn batch(
    State(api): Shared,
    authed: Authed,
    mut params: Params,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Send)?;
    let is_rehearsal = dry_run(&mut params);
    params.finish()?;
    let JsonObject { map, asked: sent, grant } = body.object(&api).await?;
    let key = request_key(&headers, &map, sent)?;
    let Asked { mut messages, mode } = asked(map, api.limits.batch)?;
    // The key is bound to what was asked for, before anything is filled in.
    let fingerprints: Vec<_> = messages.iter_mut().enumerate().map(|(at, message)| own_key_of(message, at)).collect();
    let mut filled = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter_mut().enumerate() {
        filled.push(match message {
            Value::Object(map) => filled_for(&api, &caller, map, &format!("/messages/{at}")).await?,
            _ => Ok(None),
        });
    }
    let found = found_for(&api, &caller, messages.iter().filter_map(Value::as_object)).await?;
    let (limits, now) = (api.limits.clone(), api.clock.now());
    // What is read takes its time.
    let work = move || items(messages, (fingerprints, filled), &Context { limits: &limits, now, found: &found }, mode);
    let items = off_thread(work).await??;
    let submission = Submission::batch(items, key, mode);
    let submission = submission.ok_or_else(|| Problem::validation(vec![empty().at("/messages")]))?;
    let answer = if is_rehearsal {
        let rehearsed = api.door.rehearse(&caller, submission).await.map_err(of_submit)?;
        let results = rehearsed.into_iter().enumerate().map(|(at, item)| match item {
            Ok((item, messages)) => Ok(ResultView::Rehearsed(RehearsedView::of(item, messages)?)),
            Err(refusal) => Ok(refused(at, refusal)),
        });
        let results: Vec<_> = results.collect::<Result<_, Problem>>()?;
        with_status(&BatchView { batch_id: None, results }, StatusCode::OK)
    } else {
        let accepted = api.door.accept(&caller, submission).await.map_err(of_submit)?;
        let is_whole = accepted.items.iter().all(Result::is_ok);
        let results = accepted.items.into_iter().enumerate().map(|(at, item)| match item {
            Ok(item) => taken(item),
            Err(refusal) => Ok(refused(at, refusal)),
        });
        let results = results.collect::<Result<_, Problem>>()?;
        let status = if is_whole { StatusCode::ACCEPTED } else { StatusCode::MULTI_STATUS };
        let mut answer = with_status(&BatchView { batch_id: accepted.batch, results }, status);
        if accepted.replayed {
            let name = HeaderName::from_static("idempotent-replayed");
            answer.headers_mut().insert(name, HeaderValue::from_static("true"));
        }
        answer
    };
    drop(grant);
    Ok(answer)
}

/// What a batch asks for, before its messages are read.
struct Asked {
    messages: Vec<Value>,
    mode: Strictness,
}

fn empty() -> Flaw {
    Flaw::new(FaultCode::Required, "at least one message must be given")
}

fn asked(map: Map<String, Value>, most: usize) -> Result<Asked, Problem> {
    let mut faults = Vec::new();
    let mut fields = Fields::new(map, "", &mut faults);
    let is_given = fields.has("messages");
    let messages = fields.list("messages").unwrap_or_default();
    if messages.len() > most {
        fields.fault("messages", FaultCode::TooMany, format!("{}; the limit is {most}", messages.len()));
    } else if messages.is_empty() && (!is_given || fields.faults.is_empty()) {
        let missing = Err::<(), _>(empty());
        fields.sound("messages", missing);
    }
    let mode = match fields.string("mode").as_deref() {
        None | Some("strict") => Strictness::Strict,
        Some("permissive") => Strictness::Permissive,
        Some(_) => {
            fields.fault("mode", FaultCode::InvalidMode, "must be strict or permissive");
            Strictness::Strict
        }
    };
    fields.finish();
    if faults.is_empty() { Ok(Asked { messages, mode }) } else { Err(Problem::validation(faults)) }
}

/// The items of a batch. Of a strict one that has faults, all of them are told at once, unless an item's own key may have an
/// answer to it.
fn items(
    messages: Vec<Value>,
    (keys, filled): (Vec<OwnKey>, Vec<FilledOrNot>),
    context: &Context<'_>,
    mode: Strictness,
) -> Result<Vec<Item>, Problem> {
    let mut known = HashSet::new();
    let parts = messages.into_iter().zip(keys).zip(filled).enumerate();
    let items: Vec<_> = parts
        .map(|(at, ((message, key), filled))| {
            let at = format!("/messages/{at}");
            let key = key.and_then(|key| match key {
                Some(own) if !known.insert(own.key.clone()) => {
                    let detail = "another message of this batch has the same key";
                    Err(Flaw::new(FaultCode::Conflict, detail).at(format!("{at}/idempotency_key")))
                }
                key => Ok(key),
            });
            item(message, &at, key, filled, context)
        })
        .collect();
    if mode == Strictness::Permissive || items.iter().any(|item| item.wanted.is_err() && item.key.is_some()) {
        return Ok(items);
    }
    let faults = items.iter().filter_map(|item| item.wanted.as_ref().err()).flatten().take(TOLD_MAX + 1).cloned();
    let faults: Vec<_> = faults.collect();
    if faults.is_empty() { Ok(items) } else { Err(Problem::validation(faults)) }
}

/// A message's own key, or what is wrong with it.
type OwnKey = Result<Option<RequestKey>, Fault>;
/// What a message's template came to, or what is wrong with it.
type FilledOrNot = Result<Option<Filled>, Vec<Fault>>;

fn own_key_of(message: &mut Value, at: usize) -> OwnKey {
    message.as_object_mut().map_or(Ok(None), |map| own_key(map, &format!("/messages/{at}")))
}

fn item(message: Value, at: &str, key: OwnKey, filled: FilledOrNot, context: &Context<'_>) -> Item {
    let Value::Object(map) = message else { return Item { wanted: Err(wrong_object(at, &message)), key: None } };
    let read = filled.and_then(|filled| read(map, at, filled.as_ref(), context));
    let read = read.map(|sending| Wanted { contents: sending.contents, send_at: sending.send_at });
    match (key, read) {
        (Ok(key), wanted) => Item { wanted, key },
        (Err(fault), Ok(_)) => Item { wanted: Err(vec![fault]), key: None },
        (Err(fault), Err(mut faults)) => {
            faults.insert(0, fault);
            Item { wanted: Err(faults), key: None }
        }
    }
}

/// `BatchAccepted`
#[derive(Serialize)]
struct BatchView {
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<BatchId>,
    results: Vec<ResultView>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ResultView {
    Accepted {
        #[serde(flatten)]
        accepted: AcceptedView,
        replayed: bool,
    },
    Rehearsed(RehearsedView),
    Refused {
        error: Value,
    },
}

fn taken(item: AcceptedItem) -> Result<ResultView, Problem> {
    let replayed = item.replayed;
    Ok(ResultView::Accepted { accepted: AcceptedView::of(item)?, replayed })
}

fn refused(at: usize, refusal: Refusal) -> ResultView {
    ResultView::Refused { error: Problem::of_refusal(refusal, &format!("/messages/{at}")).as_value() }
}

fn with_status(view: &BatchView, status: StatusCode) -> Response {
    let mut response = ok_json(view);
    *response.status_mut() = status;
    response
}

/// An error that names one item says where it stands.
fn of_submit(error: SubmitError) -> Problem {
    match error {
        SubmitError::Refused(at, refusal) => Problem::of_refusal(refusal, &format!("/messages/{at}")),
        other => other.into(),
    }
}
