//! One request to a running service, for the commands that are its clients.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use serde_json::Value;

use crate::net::connect::connect_to_named;
use crate::net::http::ask;
use crate::net::tls::TlsConfigs;
use crate::terminal::CommandError;

const DEADLINE: Duration = Duration::from_secs(20);
/// Of a list that is sent or fetched whole.
const LONG_DEADLINE: Duration = Duration::from_mins(10);

/// What a service answered.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// What a service answered, as it came.
pub struct RawAnswer {
    pub status: u16,
    pub bytes: Bytes,
}

impl RawAnswer {
    pub fn parsed(&self) -> Answer {
        Answer { status: self.status, body: serde_json::from_slice(&self.bytes).unwrap_or(Value::Null) }
    }
}

/// The body of a request.
pub struct Sent {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

/// A service, and how it is spoken to.
pub struct Service {
    /// Without a slash at its end.
    pub url: String,
    pub key: Option<String>,
    /// Certificates of roots instead of the usual ones; empty: those.
    pub ca_file: PathBuf,
}

/// Sends a request; `body` makes it a POST.
pub async fn call(service: &Service, path: &str, body: Option<&Value>) -> Result<Answer, CommandError> {
    call_with(service, path, body, &[]).await
}

/// Sends a change.
pub async fn patch(service: &Service, path: &str, body: &Value) -> Result<Answer, CommandError> {
    let body = Sent { content_type: "application/json", bytes: body.to_string().into_bytes() };
    within(DEADLINE, service, path, Method::PATCH, Some(body), &[]).await.map(|answer| answer.parsed())
}

/// The same as [`call`], with further headers.
pub async fn call_with(
    service: &Service,
    path: &str,
    body: Option<&Value>,
    headers: &[(&str, &str)],
) -> Result<Answer, CommandError> {
    let body = body.map(|body| Sent { content_type: "application/json", bytes: body.to_string().into_bytes() });
    within(DEADLINE, service, path, method_of(body.as_ref()), body, headers).await.map(|answer| answer.parsed())
}

/// Sends or fetches what may be long; a body makes it a POST.
pub async fn transfer(service: &Service, path: &str, body: Option<Sent>) -> Result<RawAnswer, CommandError> {
    within(LONG_DEADLINE, service, path, method_of(body.as_ref()), body, &[]).await
}

/// Posts to the service's URL as it is.
pub async fn post(service: &Service, body: Sent, headers: &[(&str, &str)]) -> Result<RawAnswer, CommandError> {
    within(DEADLINE, service, "", Method::POST, Some(body), headers).await
}

const fn method_of(body: Option<&Sent>) -> Method {
    if body.is_some() { Method::POST } else { Method::GET }
}

async fn within(
    deadline: Duration,
    service: &Service,
    path: &str,
    method: Method,
    body: Option<Sent>,
    headers: &[(&str, &str)],
) -> Result<RawAnswer, CommandError> {
    let url = format!("{}{path}", service.url);
    match tokio::time::timeout(deadline, exchange(service, &url, method, body, headers)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(CommandError(format!("{url}: {why}"))),
        Err(_) => Err(CommandError(format!("{url}: no answer within {} s", deadline.as_secs()))),
    }
}

async fn exchange(
    service: &Service,
    url: &str,
    method: Method,
    body: Option<Sent>,
    headers: &[(&str, &str)],
) -> Result<RawAnswer, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let uri: Uri = url.parse().map_err(|_| "is not a URL such as https://mail.example.com".to_owned())?;
    let (is_secured, port) = match uri.scheme_str() {
        Some("https") => (true, 443),
        Some("http") => (false, 80),
        _ => return Err("must be an http:// or https:// URL".to_owned()),
    };
    let authority = uri.authority().ok_or("names no host")?;
    let host = authority.host().trim_matches(['[', ']']);
    let tls = TlsConfigs::new(&service.ca_file)?;
    let stream = connect_to_named(&tls, host, authority.port_u16().unwrap_or(port), is_secured).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(method).uri(path).header(HOST, authority.as_str());
    if let Some(key) = &service.key {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = &body {
        request = request.header(CONTENT_TYPE, body.content_type);
    }
    let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.bytes));
    let request = request.body(Full::new(bytes)).map_err(|error| text(&error))?;
    let (status, bytes) = ask(stream, request, |_| Some(usize::MAX)).await?;
    Ok(RawAnswer { status: status.as_u16(), bytes })
}
