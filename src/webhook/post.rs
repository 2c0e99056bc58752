//! One HTTP call to a stranger's address: resolved once, judged, connected to what was judged; no redirect,
//! no proxy, a deadline over all of it, and little of the answer read.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::kept::Kept;
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::webhook::{ANSWER_KEPT, WebhookTry, kept_answer};
use crate::net::connect::connect;
use crate::net::dns::Resolver;
use crate::net::dns_error::DnsError;
use crate::net::tls::TlsConfigs;

/// Bytes of an answer that are read at most.
const ANSWER_MAX: usize = 64 << 10;
/// The status is the answer; its body is not waited for any longer.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// Characters of why there was no answer.
const DETAIL_MAX: usize = 500;

/// A URL that webhooks may be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub uri: Uri,
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

/// Why a text is not such a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("is not an absolute http or https URL")]
    Form,
    #[error("must not hold a user name or password")]
    UserInfo,
    #[error("is longer than 2048 characters")]
    Length,
}

impl Target {
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        if url.len() > 2048 {
            return Err(TargetError::Length);
        }
        let uri: Uri = url.parse().map_err(|_| TargetError::Form)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(TargetError::Form),
        };
        let authority = uri.authority().ok_or(TargetError::Form)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::UserInfo);
        }
        let host = authority.host().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() || url.contains('#') {
            return Err(TargetError::Form);
        }
        // Dotted names whose last label is a number are address literals in disguise (0x7f.1, 127.1).
        let last = host.rsplit('.').next().unwrap_or_default();
        let numeric = last.starts_with("0x") || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()));
        if numeric && host.parse::<IpAddr>().is_err() {
            return Err(TargetError::Form);
        }
        // What follows the host is a port, or nothing is (RFC 3986 §3.2.3).
        let behind = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        let port = match behind.strip_prefix(':') {
            None => Some(if tls { 443 } else { 80 }),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().filter(|port| *port > 0),
            Some(_) => None,
        };
        let port = port.ok_or(TargetError::Form)?;
        Ok(Self { uri, host, port, tls })
    }
}

/// When an endpoint wants to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    Span(Duration),
    At(Timestamp),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    Answered {
        status: u16,
        retry_after: Option<RetryAfter>,
        /// The beginning of its body, as far as it came.
        body: Vec<u8>,
    },
    /// No answer: in words.
    Failed(String),
}

impl Posted {
    /// What is kept of a call that began then.
    pub fn as_try(&self, (at, began): (Timestamp, Instant)) -> WebhookTry {
        let (response_code, detail, answer) = match self {
            Self::Answered { status, body, .. } if (200..300).contains(status) => {
                (Some(*status), String::new(), &body[..])
            }
            Self::Answered { status: 410, body, .. } => (Some(410), "410 Gone".to_owned(), &body[..]),
            Self::Answered { status, body, .. } => (Some(*status), format!("answered {status}"), &body[..]),
            Self::Failed(why) => (None, why.replace('\0', " ").chars().take(DETAIL_MAX).collect(), &[][..]),
        };
        WebhookTry {
            at: rfc3339(at),
            response_code,
            duration_ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
            detail,
            answer: kept_answer(answer),
        }
    }
}

/// What posts.
#[derive(Clone)]
pub struct Client {
    pub resolver: Resolver,
    pub tls: TlsConfigs,
    pub timeout: Duration,
    pub kept: Arc<Kept>,
}

impl Client {
    /// Whether the URL's host may be connected to, as far as its name resolves now.
    pub async fn permits(&self, target: &Target) -> Result<(), DnsError> {
        match self.resolver.foreign_at(&target.host, target.port).await {
            Err(error @ (DnsError::Forbidden(..) | DnsError::ForbiddenPort(_))) => Err(error),
            _ => Ok(()),
        }
    }

    /// Posts `body` with `headers`; never follows a redirect.
    pub async fn post(&self, target: &Target, headers: &[(&'static str, String)], body: Bytes) -> Posted {
        match tokio::time::timeout(self.timeout, self.exchange(target, headers, body)).await {
            Ok(Ok(posted)) => posted,
            Ok(Err(why)) => Posted::Failed(why),
            Err(_) => Posted::Failed("no answer within the deadline".to_owned()),
        }
    }

    async fn exchange(
        &self,
        target: &Target,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<Posted, String> {
        let request = request(target, headers, body)?;
        if let Some(sender) = self.kept.take(target) {
            match self.ask(target, sender, request.clone()).await {
                // It was closed while nothing was under way: that says nothing of the endpoint.
                Err(error) if error.is_canceled() || error.is_closed() || error.is_incomplete_message() => {}
                asked => return asked.map_err(text),
            }
        }
        let stream = connect(&self.resolver, &self.tls, &target.host, target.port, target.tls).await?;
        let (sender, connection) =
            http1::Builder::new().max_buf_size(ANSWER_MAX).handshake(TokioIo::new(stream)).await.map_err(text)?;
        // It ends with its sender, or when the endpoint closes it.
        tokio::spawn(connection);
        self.ask(target, sender, request).await.map_err(text)
    }

    /// One call on a connection, which is kept if the answer was read to its end.
    async fn ask(
        &self,
        target: &Target,
        mut sender: SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Posted, hyper::Error> {
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(self::retry_after);
        // Read a little, so that the endpoint sees its answer taken; its beginning is kept for whoever looks for a fault.
        let mut body = Vec::new();
        if let Ok(true) = tokio::time::timeout(ANSWER_WAIT, read(answer.into_body(), &mut body)).await {
            self.kept.put(target, sender);
        }
        Ok(Posted::Answered { status, retry_after, body })
    }
}

/// Reads an answer's body, and keeps its beginning; whether that was all, and not too long.
async fn read(mut body: Incoming, beginning: &mut Vec<u8>) -> bool {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let Some(data) = frame.data_ref() else { continue };
        let room = ANSWER_KEPT.saturating_sub(beginning.len());
        beginning.extend_from_slice(&data[..data.len().min(room)]);
        length += data.len();
        if length > ANSWER_MAX {
            return false;
        }
    }
    true
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// RFC 9110 §10.2.3: seconds, or a date in one of its three forms.
fn retry_after(value: &HeaderValue) -> Option<RetryAfter> {
    let text = value.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(RetryAfter::Span(Duration::from_secs(seconds))),
        Err(_) => httpdate::parse_http_date(text).ok().map(|at| RetryAfter::At(at.into())),
    }
}

fn request(target: &Target, headers: &[(&'static str, String)], body: Bytes) -> Result<Request<Full<Bytes>>, String> {
    let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = target.uri.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::builder().method(Method::POST).uri(path).header(HOST, authority);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(Full::new(body)).map_err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let at = time::macros::datetime!(1994-11-06 08:49:37 UTC);
        for (text, wanted) in [
            ("120", Some(RetryAfter::Span(Duration::from_mins(2)))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(RetryAfter::At(at))),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(RetryAfter::At(at))),
            ("Sun Nov  6 08:49:37 1994", Some(RetryAfter::At(at))),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(&HeaderValue::from_static(text)), wanted, "{text}");
        }
    }

    #[test]
    fn urls_are_told_from_what_only_looks_like_one() {
        let target = Target::parse("https://Hooks.Example.org./in?x=1").unwrap();
        assert_eq!((&*target.host, target.port, target.tls), ("hooks.example.org", 443, true));
        assert_eq!(Target::parse("http://[::1]:8080/").unwrap().host, "::1");
        for (url, error) in [
            ("ftp://a.example/", TargetError::Form),
            ("/path", TargetError::Form),
            ("https://", TargetError::Form),
            ("https://u:p@a.example/", TargetError::UserInfo),
            ("http://0x7f.0.0.1/", TargetError::Form),
            ("http://2130706433/", TargetError::Form),
            ("http://127.1/", TargetError::Form),
            ("http://017700000001/", TargetError::Form),
        ] {
            assert_eq!(Target::parse(url), Err(error), "{url}");
        }
    }
}
