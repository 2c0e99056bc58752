//! Alibaba Cloud's DirectMail, version 2015-11-23 (`help.aliyun.com/product/29412.html`): email, and what became of it.
//!
//! One address takes all actions, as a query or a form. Requests are signed by a key of ours that signs, in the way that SDKs have now
//! (`ACS3-HMAC-SHA256`) or in the one before it (`HMAC-SHA1`). Errors are `{Code, Message, RequestId, HostId}`.

mod send;
mod signature;
mod status;
mod suppressions;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::any;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::form::{Form, urlencoded};
use super::inner::{Caller, IDEMPOTENCY_KEY, Inner, Refusal, Sent, Stranger};
use super::places::Places;
use super::service::answer;
use super::signed::sha256;
use crate::api::auth::known;
use crate::api::body::UnreadBody;
use crate::domain::fault::FaultCode;
use crate::submit::RequestKey;

/// Says what is asked for, where parameters do not.
const ACTION: &str = "x-acs-action";
const BEARER: &str = "x-acs-bearer-token";
const RETRY: HeaderName = HeaderName::from_static("x-acs-retry-after");

/// Parameters of every request: how it is signed, and what is not looked at.
const COMMON: [&str; 13] = [
    "AccessKeyId",
    "Action",
    "BearerToken",
    "Format",
    "RegionId",
    "SecurityToken",
    "Signature",
    "SignatureMethod",
    "SignatureNonce",
    "SignatureType",
    "SignatureVersion",
    "Timestamp",
    "Version",
];

/// Why an action was not done, and where what stood.
struct Refused(Refusal, Places);

impl From<(Refusal, Places)> for Refused {
    fn from((refusal, places): (Refusal, Places)) -> Self {
        Self(refusal, places)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal, Places::default())
    }
}

/// The routes, at the root of the service's address and below.
pub fn routes() -> Router<Arc<Inner>> {
    let at_all = ["/", "/compat/alicloud", "/compat/alicloud/"];
    at_all.into_iter().fold(Router::new(), |router, path| router.route(path, any(call)))
}

/// A request that was read, and whose it is.
struct Asked {
    action: String,
    caller: Caller,
    form: Form,
    sent: Sent,
    /// What may be done once: by a header of ours, or by what its signature has for that.
    key: Option<HeaderValue>,
}

async fn call(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let is_form =
        request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form"));
    let is_asked = request.headers().contains_key(ACTION)
        || request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("Action=")))
        || (request.method() == Method::POST && is_form);
    // At the root is more than this.
    if !is_asked && request.uri().path() == "/" {
        return match inner.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
    }
    let (head, body) = request.into_parts();
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let done = match asked(&inner, &head, UnreadBody::of(&head, body)).await {
        Ok(asked) => act(&inner, asked).await,
        Err(refusal) => Err(refusal.into()),
    };
    let id = inner.api.rng.token().to_string().to_uppercase();
    match done {
        Ok(mut told) => {
            told["RequestId"] = id.into();
            answer(StatusCode::OK, &told)
        }
        Err(Refused(refusal, places)) => refused(&refusal, &places, (&id, &host)),
    }
}

async fn act(inner: &Inner, asked: Asked) -> Result<Value, Refused> {
    let instead = match asked.action.as_str() {
        "SingleSendMail" => return send::send(inner, asked).await,
        "SenderStatisticsDetailByParam" => return status::details(inner, asked).await,
        "BatchSendMail" => "SingleSendMail, or POST /v1/send/batch",
        "CreateUserSuppression" => return suppressions::create(inner, asked).await,
        "ListUserSuppression" => return suppressions::list(inner, asked).await,
        "RemoveUserSuppression" => return suppressions::remove(inner, asked).await,
        action if action.contains("Suppression") => "CreateUserSuppression, ListUserSuppression, RemoveUserSuppression",
        action if action.contains("Domain") => "/v1/domains",
        action if action.contains("Template") => "/v1/templates",
        action if action.contains("Statistics") => "SenderStatisticsDetailByParam, or /v1/stats",
        _ => "SingleSendMail and SenderStatisticsDetailByParam",
    };
    let detail = format!("{} is not understood here: use {instead}", asked.action);
    Err(Refusal { detail, kind: "elsewhere".to_owned(), ..Refusal::not_found() }.into())
}

/// Reads a request, and looks at its signature.
async fn asked(inner: &Inner, head: &Parts, body: UnreadBody) -> Result<Asked, Refusal> {
    let is_form = body.header(&CONTENT_TYPE).is_none_or(|kind| kind.starts_with("application/x-www-form"));
    let mut parts = urlencoded(head.uri.query().unwrap_or_default().as_bytes())?;
    let bearer = head.headers.get(BEARER).and_then(|token| token.to_str().ok());
    // Before a body is read, as far as it is known who calls.
    match bearer {
        Some(token) => drop(known(&inner.api, token, head).await?),
        None => signature::look(inner, head, &parts).await?,
    }
    let (bytes, grant) = inner.bytes(body).await?;
    if is_form {
        parts.extend(urlencoded(&bytes)?);
    }
    let stranger = Stranger::of(head);
    let token = match bearer {
        Some(token) => token.to_owned(),
        None => signature::verify(inner, head, &parts, &bytes).await?,
    };
    let mut form = Form::new(parts);
    let named = form.entry("Action");
    let header = |name: &str| head.headers.get(name).and_then(|text| text.to_str().ok()).map(str::to_owned);
    // Of what is signed: by the older signature no header is.
    let is_of_headers = bearer.is_some() || signature::is_of_headers(head);
    let (action, nonce) = if is_of_headers {
        (header(ACTION).or(named), header("x-acs-signature-nonce"))
    } else {
        (named, form.entry("SignatureNonce"))
    };
    let nonce = nonce.filter(|nonce| !nonce.is_empty() && bearer.is_none());
    let nonce = nonce.and_then(|nonce| HeaderValue::from_str(&format!("acs-{}", sha256(nonce.as_bytes()))).ok());
    let key = head.headers.get(&IDEMPOTENCY_KEY).cloned().or(nonce);
    for name in COMMON {
        form.parts(name);
    }
    let said = [head.uri.query().unwrap_or_default().as_bytes(), &bytes].concat();
    Ok(Asked {
        action: action.unwrap_or_default(),
        caller: stranger.with(token),
        form,
        sent: Sent::new(RequestKey::fingerprint_of(&said), grant),
        key,
    })
}

/// An error in DirectMail's form.
pub fn refused(refusal: &Refusal, places: &Places, (id, host): (&str, &str)) -> Response {
    let (status, code) = code_of(refusal);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let told = refusal.told(places);
    let message = if code == NO_SENDER { format!("`AccountName` {told}") } else { told };
    let recommend = "docs/migrating/alicloud.md says what is understood";
    let mut response = answer(
        status,
        &json!({"Code": code, "Message": message, "RequestId": id, "HostId": host, "Recommend": recommend}),
    );
    refusal.pass_on(&mut response);
    // Its SDKs wait by milliseconds.
    let wait = response.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
    if let Some(wait) = wait.filter(|_| status == StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(RETRY, HeaderValue::from(wait.saturating_mul(1000)));
    }
    response
}

const NO_SENDER: &str = "InvalidMailAddress.NotFound";

/// Status and code of an error.
fn code_of(refusal: &Refusal) -> (u16, &'static str) {
    match refusal.kind.as_str() {
        "no-key" => (400, "MissingAccessKeyId"),
        signature::UNKNOWN | "unauthorized" => (404, "InvalidAccessKeyId.NotFound"),
        signature::WRONG => (400, "SignatureDoesNotMatch"),
        signature::EXPIRED => (400, "InvalidTimeStamp.Expired"),
        "missing-scope" | "address-not-allowed" | "test-only" | "operator-only" => (403, "Forbidden.RAM"),
        "foreign-domain" | "unverified-domain" => (400, NO_SENDER),
        "project-suspended" => (403, "Forbidden"),
        "elsewhere" => (404, "InvalidAction.NotFound"),
        "validation" => match refusal.faults.first().map(|fault| fault.code) {
            Some(FaultCode::Required) => (400, "MissingParameter"),
            Some(FaultCode::UnknownTemplate) => (400, "InvalidTemplateId.NotFound"),
            _ => (400, "InvalidParameter"),
        },
        "idempotency-key-reused" => (400, "SignatureNonceUsed"),
        "malformed" | "unsupported-media-type" | "unsettled" => (400, "InvalidParameter"),
        "timeout" => (408, "InvalidParameter"),
        "too-large" => (413, "InvalidParameter"),
        "not-found" | "body-not-kept" => (404, "InvalidParameter"),
        _ if refusal.status == StatusCode::TOO_MANY_REQUESTS => (429, "Throttling.User"),
        _ if refusal.status == StatusCode::SERVICE_UNAVAILABLE => (503, "ServiceUnavailable"),
        _ => (500, "InternalError"),
    }
}
