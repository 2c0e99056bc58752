//! What each service has of its own at every call: where its key stands, and how its errors look.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::inner::{Caller, Inner, Refusal, Stranger};
use super::places::Places;
use crate::api::auth::known;
use crate::domain::fault::{Fault, FaultCode};
pub use crate::webhook::forms::text;

/// A service whose dialect is spoken.
pub trait Service: Sized + Send + Sync + 'static {
    /// The key of ours that stands where the service has its own.
    fn token(headers: &HeaderMap) -> Option<String>;

    /// Why something was not done, in the service's form; `places` has its names of the fields.
    fn refused(refusal: &Refusal, places: &Places) -> Response;
}

/// Who calls by the dialect of a service.
pub struct By<S>(pub Caller, pub PhantomData<S>);

impl<S: Service> FromRequestParts<Arc<Inner>> for By<S> {
    type Rejection = Refused<S>;

    async fn from_request_parts(head: &mut Parts, inner: &Arc<Inner>) -> Result<Self, Refused<S>> {
        let token = S::token(&head.headers).filter(|token| !token.is_empty()).ok_or_else(Refusal::no_key)?;
        // Before a body is read: who has no key sends none.
        known(&inner.api, &token, head).await.map_err(Refusal::from)?;
        Ok(Self(Stranger::of(head).with(token), PhantomData))
    }
}

/// Why something was not done, on its way into the form of a service.
pub struct Refused<S> {
    refusal: Box<Refusal>,
    places: Places,
    service: PhantomData<S>,
}

impl<S> Refused<S> {
    /// What the API refused, and where in the service's request stood what it speaks of.
    pub fn of(refusal: Refusal, places: Places) -> Self {
        Self { refusal: Box::new(refusal), places, service: PhantomData }
    }
}

impl<S> From<Refusal> for Refused<S> {
    fn from(refusal: Refusal) -> Self {
        Self::of(refusal, Places::default())
    }
}

impl<S> From<(Refusal, Places)> for Refused<S> {
    fn from((refusal, places): (Refusal, Places)) -> Self {
        Self::of(refusal, places)
    }
}

/// The faults that reading found, by the names of the service.
impl<S> From<Vec<Fault>> for Refused<S> {
    fn from(faults: Vec<Fault>) -> Self {
        Refusal::faulty(faults).into()
    }
}

impl<S: Service> IntoResponse for Refused<S> {
    fn into_response(self) -> Response {
        let mut response = S::refused(&self.refusal, &self.places);
        self.refusal.pass_on(&mut response);
        response
    }
}

/// JSON with that status.
pub fn answer(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A 200 with JSON.
pub fn ok(body: &Value) -> Response {
    answer(StatusCode::OK, body)
}

/// The credentials of `Authorization`, if they are of that scheme (RFC 9110 §11.6.2).
pub fn credentials<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let (named, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    named.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

/// The password of `Basic` (RFC 7617): the user name says nothing here.
pub fn password(headers: &HeaderMap) -> Option<String> {
    let decoded = STANDARD.decode(credentials(headers, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// A fault of one field, found by a dialect.
pub fn fault(name: &str, code: FaultCode, detail: impl Into<String>) -> Vec<Fault> {
    vec![Fault::new(format!("/{name}"), code, detail)]
}

/// The list in a field of an object; empty if there is none.
pub fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}
