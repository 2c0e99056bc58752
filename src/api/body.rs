//! Request bodies: bounded in bytes, in time, and together in memory, which is taken as the bytes come; `gzip` undone within
//! the same bound.

use std::io::Read;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName};
use axum::http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Api;
use super::answer::no_room;
use super::auth::Payer;
use super::problem::Problem;
use crate::domain::budget::{self, Held};
use crate::request::json::{JsonError, object, value};

/// A body that somebody before has read: a dialect, which has put it into our words.
#[derive(Clone)]
pub struct Prepared(Arc<Mutex<Option<JsonObject>>>);

impl Prepared {
    /// `asked` is what the caller sent, which an idempotency key is bound to.
    pub fn new(map: Map<String, Value>, asked: [u8; 32], grant: Grant) -> Self {
        Self(Arc::new(Mutex::new(Some(JsonObject { map, asked: Some(asked), grant }))))
    }
}

/// A JSON object, and the memory that it was granted; the grant ends when this is dropped.
pub struct JsonObject {
    pub map: Map<String, Value>,
    /// The fingerprint of what was sent, where that was put into these words.
    pub asked: Option<[u8; 32]>,
    pub grant: Grant,
}

/// A body of which nothing was read yet: who may not send it is told so first.
pub struct UnreadBody {
    headers: HeaderMap,
    body: Body,
    prepared: Option<JsonObject>,
    payer: Payer,
}

impl<S: Send + Sync> FromRequest<S> for UnreadBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (mut head, body) = request.into_parts();
        let prepared = head.extensions.remove::<Prepared>();
        let prepared = prepared.and_then(|it| it.0.lock().unwrap_or_else(PoisonError::into_inner).take());
        let payer = Payer::of(&head);
        Ok(Self { headers: head.headers, body, prepared, payer })
    }
}

impl UnreadBody {
    /// Of a request that was taken apart.
    pub fn of(head: &Parts, body: Body) -> Self {
        Self { headers: head.headers.clone(), body, prepared: None, payer: Payer::of(head) }
    }

    /// A header of the request.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads it as a JSON object.
    pub async fn object(mut self, api: &Api) -> Result<JsonObject, Problem> {
        if let Some(prepared) = self.prepared.take() {
            return Ok(prepared);
        }
        let (value, grant) = self.read(api, object).await?;
        Ok(JsonObject { map: value, asked: None, grant })
    }

    /// Reads it as any JSON.
    pub async fn value(self, api: &Api) -> Result<(Value, Grant), Problem> {
        self.read(api, value).await
    }

    async fn read<T: Send + 'static>(
        self,
        api: &Api,
        parse: fn(&[u8]) -> Result<T, JsonError>,
    ) -> Result<(T, Grant), Problem> {
        check_type(&self.headers)?;
        let (bytes, grant) = self.bytes(api, api.http.body_limit.0).await?;
        let parsed = if bytes.len() > LARGE { off_thread(move || parse(&bytes)).await? } else { parse(&bytes) };
        Ok((parsed?, grant))
    }

    /// Reads it as bytes, of which there may be so many.
    pub async fn bytes(self, api: &Api, limit: usize) -> Result<(Vec<u8>, Grant), Problem> {
        let gzip = is_gzip(&self.headers)?;
        let announced = self.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(Problem::too_large(limit));
        }
        let mut grant = Grant(api.bodies.hold(self.payer.key()));
        let pace = Pace { until: Instant::now() + api.http.body_timeout.0, rate: api.http.body_rate.0.max(1) };
        let bytes = read(self.body, limit, &mut grant, pace).await?;
        if !gzip {
            return Ok((bytes, grant));
        }
        let inflated = move || inflate(&bytes, limit, &mut grant).map(|inflated| (inflated, grant));
        let (bytes, grant) = off_thread(inflated).await??;
        Ok((bytes, grant))
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Malformed(detail) => Self::malformed(detail),
            JsonError::Faults(faults) => Self::validation(faults),
        }
    }
}

/// From so many bytes on a body is read off the async threads: others wait for those.
pub const LARGE: usize = 256 << 10;

/// Runs what takes its time where nobody waits for it.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::internal())
}

/// Memory for bytes of bodies, taken as they come.
pub struct Grant(Held);

impl Grant {
    /// Of a body that is nothing to speak of.
    pub fn none(api: &Api) -> Self {
        Self(api.bodies.hold(None))
    }

    /// Grows to hold `bytes`.
    fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        self.0.grow_to(bytes).map_err(|why: budget::NoRoom| no_room(why, "too many bytes of requests are being read"))
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Problem::unsupported_media_type(format!("Content-Type is '{essence}'; it must be application/json")))
    }
}

/// Codings are a list of words without case (RFC 9110 §8.4.1); `identity` says nothing, `x-gzip` is `gzip`.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let mut gzip = 0;
    for value in headers.get_all(CONTENT_ENCODING) {
        for coding in value.to_str().unwrap_or("?").split(',').map(str::trim) {
            match &*coding.to_ascii_lowercase() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => gzip += 1,
                _ => {
                    let detail = format!("Content-Encoding is '{coding}'; only gzip is understood");
                    return Err(Problem::unsupported_media_type(detail));
                }
            }
        }
    }
    if gzip > 1 {
        return Err(Problem::unsupported_media_type("Content-Encoding names gzip twice; once is understood"));
    }
    Ok(gzip == 1)
}

/// How fast a body must come.
#[derive(Clone, Copy)]
struct Pace {
    /// Its last instant.
    until: Instant,
    /// Bytes per second, on the whole, after [`GRACE`].
    rate: usize,
}

/// The time that a body has before it must keep its pace.
const GRACE: Duration = Duration::from_secs(5);

impl Pace {
    /// When more must have come than so many bytes.
    fn due(self, began: Instant, bytes: usize) -> Instant {
        let earned = Duration::from_millis((bytes as u64).saturating_mul(1000) / self.rate as u64);
        self.until.min(began + GRACE + earned)
    }
}

async fn read(mut body: Body, limit: usize, grant: &mut Grant, pace: Pace) -> Result<Vec<u8>, Problem> {
    let (mut bytes, began) = (Vec::new(), Instant::now());
    loop {
        let frame = tokio::time::timeout_at(pace.due(began, bytes.len()), body.frame());
        let Some(frame) = frame.await.map_err(|_| Problem::timeout())? else { return Ok(bytes) };
        let frame = frame.map_err(|error| Problem::malformed(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Problem::too_large(limit));
        }
        grant.grow_to(bytes.len() + data.len())?;
        bytes.extend_from_slice(&data);
    }
}

/// A body in gzip is a series of members (RFC 1952 §2.2).
fn inflate(bytes: &[u8], limit: usize, grant: &mut Grant) -> Result<Vec<u8>, Problem> {
    const STEP: usize = 64 << 10;
    let mut inflated = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
    loop {
        let from = inflated.len();
        grant.grow_to(bytes.len() + from + STEP)?;
        let step = u64::try_from(STEP).unwrap_or(u64::MAX);
        let read = decoder.by_ref().take(step).read_to_end(&mut inflated);
        read.map_err(|error| Problem::malformed(format!("the body is not gzip: {error}")))?;
        if inflated.len() > limit {
            return Err(Problem::too_large(limit));
        }
        if inflated.len() == from {
            inflated.shrink_to_fit();
            return Ok(inflated);
        }
    }
}

/// The longest time, and the most bytes, for which the rest of a refused body is read and dropped. A client that is still
/// writing when the connection is closed learns of a broken pipe, and not what was wrong.
const LINGER: Duration = Duration::from_secs(10);
const LINGER_BYTES: usize = 512 << 20;

/// How long a client may send nothing of it: one that waits for the answer sends no more.
const LINGER_SILENT: Duration = Duration::from_millis(500);

/// A request's body that comes back when whoever had it did not read it to its end.
pub struct Lingering {
    body: Option<Body>,
    rest: Arc<Mutex<Option<Body>>>,
}

/// The rest of a request's body, if there is one.
pub struct Rest {
    rest: Arc<Mutex<Option<Body>>>,
    /// It waits for a word of ours before it sends anything (RFC 9110 §10.1.1): nothing is on the way.
    is_waiting: bool,
}

impl Lingering {
    /// Puts itself between a request and its body.
    pub fn watch(request: Request) -> (Request, Rest) {
        let rest = Arc::new(Mutex::new(None));
        let is_waiting = request.headers().contains_key(EXPECT);
        let watched = Rest { rest: Arc::clone(&rest), is_waiting };
        (request.map(|body| Body::new(Self { body: Some(body), rest })), watched)
    }
}

impl Rest {
    /// Reads what is left, and drops it.
    pub async fn drain(self) {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = rest.filter(|_| !self.is_waiting) else { return };
        let drained = async {
            let mut left = LINGER_BYTES;
            while let Ok(Some(Ok(frame))) = tokio::time::timeout(LINGER_SILENT, body.frame()).await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                left = match left.checked_sub(length) {
                    Some(left) => left,
                    None => return,
                };
            }
        };
        let _ = tokio::time::timeout(LINGER, drained).await;
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
