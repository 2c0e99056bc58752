//! The client: one request, its tries, and what its answer says.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Email;
use crate::error::Error;
use crate::message::{Accepted, Event, Limits, Message, Page, Rehearsal};
use crate::retry::{Retry, fresh_key};

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("mailwright-client/", env!("CARGO_PKG_VERSION"), " (Rust)"));

/// A service and a credential for it. Cheap to clone: clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Without a slash at its end.
    url: String,
    authorization: HeaderValue,
    pub(crate) retry: Retry,
}

/// Which messages are listed; what is not given does not narrow.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Statuses of the message or of one of its recipients, as `openapi.yaml` writes them; any of them will do.
    pub status: Vec<String>,
    pub to: Option<String>,
    pub from: Option<String>,
    pub tag: Option<String>,
    /// Of a recipient.
    pub domain: Option<String>,
    /// Accepted, or to be sent, at or after this instant (RFC 3339).
    pub since: Option<String>,
    /// Accepted, or to be sent, before this instant.
    pub until: Option<String>,
    /// Part of the subject.
    pub q: Option<String>,
    pub idempotency_key: Option<String>,
    /// What stands in the field `Message-ID`.
    pub message_id: Option<String>,
    pub batch_id: Option<String>,
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl Client {
    /// Of the service at `url`, such as `https://mail.example.com`, with an API key or a token.
    pub fn new(url: &str, key: &str) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self::with_roots(url, key, roots)
    }

    /// The same, of a service whose certificate chains to an authority of your own and to no other; `pem` holds its certificate.
    pub fn trusting(url: &str, key: &str, pem: &[u8]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| Error::Request(error.to_string()))?;
            roots.add(certificate).map_err(|error| Error::Request(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(Error::Request("there is no certificate of an authority".to_owned()));
        }
        Self::with_roots(url, key, roots)
    }

    fn with_roots(url: &str, key: &str, roots: RootCertStore) -> Result<Self, Error> {
        let url = url.trim_end_matches('/').to_owned();
        match url.parse::<Uri>().map(|uri| uri.scheme_str().map(str::to_owned)) {
            Ok(Some(scheme)) if ["http", "https"].contains(&scheme.as_str()) => {}
            _ => return Err(Error::Request(format!("'{url}' is no http:// or https:// URL"))),
        }
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.trim()))
            .map_err(|_| Error::Request("the key holds characters that no key has".to_owned()))?;
        authorization.set_sensitive(true);
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Request(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        // Shorter than the service keeps them.
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_mins(1));
        Ok(Self { http: builder.build(connector), url, authorization, retry: Retry::default() })
    }

    /// With other rules of trying again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sends a message once, however often it must be tried. Each call is a message of its own: see [`Client::send_once`].
    pub async fn send(&self, email: &Email) -> Result<Accepted, Error> {
        self.send_once(&fresh_key(), email).await
    }

    /// Sends a message under a key of yours, 1 to 255 visible ASCII characters: within 24 hours the same key and message are
    /// sent once, also by another process.
    pub async fn send_once(&self, key: &str, email: &Email) -> Result<Accepted, Error> {
        let answer = self.exchange(&Method::POST, "/v1/send", Some(Content::json(email)?), Repeat::Under(key)).await?;
        let mut accepted: Accepted = answer.read()?;
        accepted.replayed = answer.is_replayed();
        Ok(accepted)
    }

    /// Checks, composes and routes a message, and sends nothing: what would have been done.
    pub async fn dry_run(&self, email: &Email) -> Result<Rehearsal, Error> {
        let path = "/v1/send?dry_run=true";
        self.exchange(&Method::POST, path, Some(Content::json(email)?), Repeat::Freely).await?.read()
    }

    /// A message with the state of every recipient.
    pub async fn message(&self, id: &str) -> Result<Message, Error> {
        self.call(Method::GET, &format!("/v1/messages/{}", escaped(id)), None).await
    }

    /// Messages, newest first, each with its first recipients.
    pub async fn messages(&self, filter: &Filter) -> Result<Page<Message>, Error> {
        self.call(Method::GET, &format!("/v1/messages{}", filter.query()), None).await
    }

    /// What was sent under a key of yours, by any process, in the time for which keys are kept: nothing, a message, or several
    /// where each recipient has one of its own.
    pub async fn find_by_idempotency_key(&self, key: &str) -> Result<Vec<Message>, Error> {
        let mut filter = Filter { idempotency_key: Some(key.to_owned()), limit: Some(500), ..Filter::default() };
        let mut found = Vec::new();
        loop {
            let page = self.messages(&filter).await?;
            found.extend(page.data);
            filter.cursor = page.next_cursor;
            if filter.cursor.is_none() {
                return Ok(found);
            }
        }
    }

    /// The first page of what happened to a message's recipients, oldest first.
    pub async fn events(&self, id: &str) -> Result<Page<Event>, Error> {
        self.call(Method::GET, &format!("/v1/messages/{}/events", escaped(id)), None).await
    }

    /// The bytes of a message, as they go on the wire.
    pub async fn raw_message(&self, id: &str) -> Result<Vec<u8>, Error> {
        let path = format!("/v1/messages/{}/raw", escaped(id));
        Ok(self.exchange(&Method::GET, &path, None, Repeat::Freely).await?.bytes.into())
    }

    /// How large a request may be, and what is used of the limits over time.
    pub async fn limits(&self) -> Result<Limits, Error> {
        self.call(Method::GET, "/v1/limits", None).await
    }

    /// Any operation of `openapi.yaml`: its method, path with query, and JSON body. `()` reads an answer without a body.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let content = body.map(Content::json).transpose()?;
        let repeat = if method.is_idempotent() { Repeat::Freely } else { Repeat::Never };
        self.exchange(&method, path, content, repeat).await?.read()
    }

    /// One request in as many tries as it needs and may have. Gives an answer that is no error.
    pub(crate) async fn exchange(
        &self,
        method: &Method,
        path: &str,
        content: Option<Content<'_>>,
        repeat: Repeat<'_>,
    ) -> Result<Answer, Error> {
        let is_repeatable = !matches!(repeat, Repeat::Never);
        let mut tried = 0;
        loop {
            let outcome = self.try_once(method, path, content.clone(), repeat).await;
            tried += 1;
            let asked = match &outcome {
                Ok(answer) if is_repeatable && answer.is_busy() => answer.retry_after(),
                // Nothing was done.
                Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => answer.retry_after(),
                Err(Error::Connection(_)) if is_repeatable => None,
                _ => return outcome?.or_problem(),
            };
            match self.retry.wait(tried, asked) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return outcome?.or_problem(),
            }
        }
    }

    async fn try_once(
        &self,
        method: &Method,
        path: &str,
        content: Option<Content<'_>>,
        repeat: Repeat<'_>,
    ) -> Result<Answer, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(AUTHORIZATION, &self.authorization)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT);
        if let Some(content) = &content {
            request = request.header(CONTENT_TYPE, content.media_type);
        }
        if let Repeat::Under(key) = repeat {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(content.map(|content| content.bytes).unwrap_or_default()));
        let request = request.map_err(|error| Error::Request(error.to_string()))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| connection(&error))?;
            let (head, body) = response.into_parts();
            let bytes = body.collect().await.map_err(|error| connection(&error))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, bytes })
        };
        let late = || Error::Connection(format!("not within {} s", self.retry.timeout.as_secs()));
        tokio::time::timeout(self.retry.timeout, exchange).await.unwrap_or_else(|_| Err(late()))
    }
}

/// A request's body.
#[derive(Clone)]
pub(crate) struct Content<'c> {
    pub media_type: &'c str,
    pub bytes: Bytes,
}

impl Content<'static> {
    pub fn json(value: &impl serde::Serialize) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(value).map_err(|error| Error::Request(error.to_string()))?;
        Ok(Self { media_type: "application/json", bytes: bytes.into() })
    }
}

/// Whether a request may be made again when nobody knows whether it was done.
#[derive(Clone, Copy)]
pub(crate) enum Repeat<'k> {
    Never,
    /// Doing it twice is doing it once.
    Freely,
    /// The service does it once under this idempotency key.
    Under(&'k str),
}

/// What the service answered.
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
}

impl Answer {
    fn is_busy(&self) -> bool {
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&self.status)
    }

    /// It is the answer to an earlier request with the same idempotency key.
    pub fn is_replayed(&self) -> bool {
        self.headers.contains_key("idempotent-replayed")
    }

    fn retry_after(&self) -> Option<Duration> {
        self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
    }

    fn or_problem(self) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        match serde_json::from_slice(&self.bytes) {
            Ok(problem) => Err(Error::Problem(Box::new(problem))),
            Err(_) => Err(self.unreadable()),
        }
    }

    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let bytes: &[u8] = if self.bytes.is_empty() { b"null" } else { &self.bytes };
        serde_json::from_slice(bytes).map_err(|_| self.unreadable())
    }

    fn unreadable(&self) -> Error {
        let text = String::from_utf8_lossy(&self.bytes).chars().take(500).collect();
        Error::Unreadable { status: self.status.as_u16(), text }
    }
}

impl Filter {
    /// With the question mark; empty without any.
    fn query(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        let all = [
            ("to", &self.to),
            ("from", &self.from),
            ("tag", &self.tag),
            ("domain", &self.domain),
            ("since", &self.since),
            ("until", &self.until),
            ("q", &self.q),
            ("idempotency_key", &self.idempotency_key),
            ("message_id", &self.message_id),
            ("batch_id", &self.batch_id),
            ("limit", &limit),
            ("cursor", &self.cursor),
        ];
        let given = all.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let statuses = self.status.iter().map(|status| ("status", &**status));
        let query = statuses.chain(given).map(|(name, value)| format!("{name}={}", escaped(value)));
        let query = query.collect::<Vec<_>>().join("&");
        if query.is_empty() { query } else { format!("?{query}") }
    }
}

/// The whole chain of causes in one line.
fn connection(error: &dyn std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    Error::Connection(text)
}

/// Percent-encoded but for what RFC 3986 calls unreserved.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_writes_what_was_given_and_escapes_it() {
        assert_eq!(Filter::default().query(), "");
        let filter = Filter { to: Some("a+b@example.net".to_owned()), limit: Some(2), ..Filter::default() };
        assert_eq!(filter.query(), "?to=a%2Bb%40example.net&limit=2");
        let filter = Filter { status: vec!["bounced".to_owned(), "expired".to_owned()], ..Filter::default() };
        assert_eq!(filter.query(), "?status=bounced&status=expired");
    }

    #[test]
    fn an_address_that_is_none_is_refused_at_once() {
        for url in ["mail.example.com", "ftp://mail.example.com", ""] {
            assert!(matches!(Client::new(url, "mw_test_x"), Err(Error::Request(_))), "{url}");
        }
    }
}
