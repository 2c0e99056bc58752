//! `/v3/mail/batch`, `/v3/user/scheduled_sends`: a batch is a tag.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, json};
use uuid::Uuid;

use super::{Error, SendGrid};
use crate::api::body::UnreadBody;
use crate::compat::inner::{Call, Inner};
use crate::compat::service::{By, answer, ok};
use crate::domain::fault::FaultCode;
use crate::domain::named_tag::BATCH;
use crate::request::fields::Fields;

/// A name for what is scheduled together.
pub async fn make(State(inner): State<Arc<Inner>>, _: By<SendGrid>) -> Result<Response, Error> {
    let mut bytes = [0; 16];
    inner.api.rng.fill(&mut bytes);
    let id = Uuid::from_bytes(bytes).simple().to_string();
    Ok(answer(StatusCode::CREATED, &json!({"batch_id": id})))
}

/// Any name is one.
pub async fn get(_: By<SendGrid>, Path(id): Path<String>) -> Result<Response, Error> {
    Ok(ok(&json!({"batch_id": id})))
}

/// Cancels what is scheduled under that name.
pub async fn cancel(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<SendGrid>,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, _) = inner.read(body).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::of(value, "", &mut faults);
    let (batch, status) = (fields.required("batch_id"), fields.required("status"));
    if status.is_some_and(|status| status != "cancel") {
        fields.fault("status", FaultCode::Conflict, "must be cancel: what is scheduled cannot be paused");
    }
    fields.finish();
    let Some(batch) = batch.filter(|_| faults.is_empty()) else { return Err(faults.into()) };
    let mut cursor = None;
    loop {
        let mut map = Map::from_iter([("tag".to_owned(), format!("{BATCH}{batch}").into())]);
        map.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
        let call = Call::new(Method::POST, "/v1/messages/cancel".to_owned()).body(map, inner.unsent());
        let page = inner.call(&caller, call).await?.json();
        match &page["next_cursor"] {
            next if next.is_string() => cursor = Some(next.clone()),
            _ => break,
        }
    }
    Ok(answer(StatusCode::CREATED, &json!({"batch_id": batch, "status": "cancel"})))
}
