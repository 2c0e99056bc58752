//! Our own API, as dialects call it: by its routes, without a network between.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tower::ServiceExt;

use super::places::Places;
use crate::api::body::{Grant, Prepared, UnreadBody};
use crate::api::peer::{FORWARDED, Peer};
use crate::api::{Api, Problem};
use crate::config::Dialect;
use crate::domain::fault::{Fault, FaultCode, TOLD_MAX};
use crate::submit::RequestKey;

/// The API, and what reading a body takes.
pub struct Inner {
    pub api: Arc<Api>,
    pub router: Router,
    /// The dialects that are spoken.
    pub spoken: Vec<Dialect>,
}

/// Who calls a dialect: what the API is to know of them.
pub struct Caller {
    token: String,
    peer: Option<Peer>,
    forwarded: Vec<HeaderValue>,
}

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Headers of the API's answers that say the same in every dialect.
const PASSED_ON: [HeaderName; 4] = [
    RETRY_AFTER,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("idempotent-replayed"),
];

/// Where a call comes from, before it is known whose it is.
#[derive(Clone)]
pub struct Stranger {
    peer: Option<Peer>,
    forwarded: Vec<HeaderValue>,
}

impl Stranger {
    pub fn of(head: &Parts) -> Self {
        let forwarded = head.headers.get_all(FORWARDED).iter().cloned().collect();
        Self { peer: head.extensions.get::<Peer>().copied(), forwarded }
    }

    /// Whoever has that token.
    pub fn with(self, token: String) -> Caller {
        Caller { token, peer: self.peer, forwarded: self.forwarded }
    }
}

impl<S: Sync> FromRequestParts<S> for Stranger {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(head))
    }
}

/// A call of our own API.
pub struct Call {
    method: Method,
    path: String,
    body: Option<(Map<String, Value>, Sent)>,
    key: Option<HeaderValue>,
}

impl Call {
    pub const fn new(method: Method, path: String) -> Self {
        Self { method, path, body: None, key: None }
    }

    pub fn get(path: String) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn body(mut self, map: Map<String, Value>, sent: Sent) -> Self {
        self.body = Some((map, sent));
        self
    }

    /// The idempotency key, wherever the service has it.
    pub fn key(mut self, key: Option<HeaderValue>) -> Self {
        self.key = key;
        self
    }
}

/// What is kept of a body as it was sent: its memory, and its SHA-256, since times that are told from now are other instants when it is
/// sent again.
pub struct Sent {
    fingerprint: [u8; 32],
    grant: Grant,
}

impl Sent {
    /// JSON that was read.
    pub fn of(value: &Value, grant: Grant) -> Self {
        Self::new(RequestKey::fingerprint_of(&serde_json::to_vec(value).unwrap_or_default()), grant)
    }

    pub const fn new(fingerprint: [u8; 32], grant: Grant) -> Self {
        Self { fingerprint, grant }
    }
}

/// What the API answered.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

/// Why the API did not do it.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    /// The last segment of the problem's type.
    pub kind: String,
    pub detail: String,
    pub faults: Vec<Fault>,
    pub headers: Box<HeaderMap>,
}

impl Inner {
    /// Reads a body.
    pub async fn read(&self, body: UnreadBody) -> Result<(Value, Sent), Refusal> {
        let (value, grant) = body.value(&self.api).await?;
        let sent = Sent::of(&value, grant);
        Ok((value, sent))
    }

    /// Reads a body as it comes.
    pub async fn bytes(&self, body: UnreadBody) -> Result<(Vec<u8>, Grant), Refusal> {
        Ok(body.bytes(&self.api, self.api.http.body_limit.0).await?)
    }

    /// What is kept of a call that is made for nobody's body.
    pub fn unsent(&self) -> Sent {
        Sent { fingerprint: [0; 32], grant: Grant::none(&self.api) }
    }

    /// The answer, if it is a success.
    pub async fn call(&self, caller: &Caller, call: Call) -> Result<Answer, Refusal> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = call.method;
        *request.uri_mut() = call.path.parse().map_err(|_| Refusal::not_found())?;
        let headers = request.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&format!("Bearer {}", caller.token)) {
            headers.insert(AUTHORIZATION, value);
        }
        for value in &caller.forwarded {
            headers.append(FORWARDED, value.clone());
        }
        if let Some(key) = call.key {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        if let Some((map, Sent { fingerprint, grant })) = call.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.extensions_mut().insert(Prepared::new(map, fingerprint, grant));
        }
        if let Some(peer) = caller.peer {
            request.extensions_mut().insert(peer);
        }
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.map(|all| all.to_bytes().to_vec()).unwrap_or_default();
        let answer = Answer { status: head.status, headers: head.headers, bytes };
        if answer.status.is_success() { Ok(answer) } else { Err(Refusal::of(&answer)) }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

impl Refusal {
    fn of(answer: &Answer) -> Self {
        Self { status: answer.status, headers: Box::new(answer.headers.clone()), ..Self::of_problem(&answer.json()) }
    }

    /// What a problem says (RFC 9457), wherever it stands.
    pub fn of_problem(problem: &Value) -> Self {
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        let faults = problem["errors"].as_array().into_iter().flatten().map(|error| {
            let text = |name: &str| error[name].as_str().unwrap_or_default();
            Fault::new(text("pointer"), FaultCode::parse(text("code")).unwrap_or(FaultCode::Conflict), text("detail"))
        });
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            kind: text("type").rsplit('/').next().unwrap_or_default().to_owned(),
            detail: text("detail"),
            faults: faults.collect(),
            headers: Box::default(),
        }
    }

    /// Faults that were found before the API was asked.
    pub fn faulty(faults: Vec<Fault>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            kind: "validation".to_owned(),
            detail: String::new(),
            faults,
            headers: Box::default(),
        }
    }

    pub fn not_found() -> Self {
        let (status, detail) = (StatusCode::NOT_FOUND, "there is no such thing, or it is not yours".to_owned());
        Self { status, kind: "not-found".to_owned(), detail, faults: Vec::new(), headers: Box::default() }
    }

    /// Whoever calls may not; `kind` is a dialect's own word.
    pub fn forbidden(kind: &str, detail: &str) -> Self {
        let (status, detail) = (StatusCode::FORBIDDEN, detail.to_owned());
        Self { status, kind: kind.to_owned(), detail, faults: Vec::new(), headers: Box::default() }
    }

    /// Nobody has said who calls.
    pub fn no_key() -> Self {
        let refusal = Self::from(Problem::unauthorized("no API key was given"));
        Self { kind: "no-key".to_owned(), ..refusal }
    }

    /// A method or an address that a service has, and its dialect here has not.
    pub fn not_understood(method: &Method, path: &str) -> Self {
        Self::from(Problem::method_not_allowed(method, path))
    }

    /// In the words of a service: each fault with its name of the field.
    pub fn told(&self, places: &Places) -> String {
        if self.faults.is_empty() {
            return self.detail.clone();
        }
        let mut told: Vec<_> = self.faults.iter().take(TOLD_MAX).map(|fault| places.told(fault)).collect();
        if self.faults.len() > TOLD_MAX {
            told.push(format!("and {} more", self.faults.len() - TOLD_MAX));
        }
        told.join("; ")
    }

    /// Writes into an answer what says the same in every dialect.
    pub fn pass_on<B>(&self, response: &mut Response<B>) {
        pass_on(&self.headers, response);
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let (kind, detail, faults, wait) = problem.into_parts();
        let mut headers = HeaderMap::new();
        headers.extend(wait.map(|wait| (RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))));
        Self { status: kind.status(), kind: kind.name().to_owned(), detail, faults, headers: Box::new(headers) }
    }
}

/// Writes headers that say the same in every dialect into an answer.
pub fn pass_on<B>(from: &HeaderMap, response: &mut Response<B>) {
    for name in PASSED_ON {
        if let Some(value) = from.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
}
