//! `POST /v1/send`

use axum::extract::State;
use axum::http::header::{HeaderName, HeaderValue, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::sending::{AcceptedView, RehearsedView, dry_run, filled_for, found_for, own_key, request_key, with_others};
use crate::api::auth::Authed;
use crate::api::body::{JsonObject, UnreadBody};
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::fault::{FaultCode, Flaw};
use crate::request::send::{Context, read};
use crate::submit::{Item, Submission, SubmitError, Wanted};

/// Answers 202 once the message is on disk.
pub async fn send(
    State(api): Shared,
    authed: Authed,
    mut params: Params,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Send)?;
    let is_rehearsal = dry_run(&mut params);
    params.finish()?;
    let JsonObject { mut map, asked, grant: _grant } = body.object(&api).await?;
    let own = own_key(&mut map, "").map_err(|fault| Problem::validation(vec![fault]))?;
    let key = match (request_key(&headers, &map, asked)?, own) {
        (Some(_), Some(_)) => {
            let flaw = Flaw::new(FaultCode::Conflict, "the header Idempotency-Key is given too; give one of them");
            return Err(Problem::validation(vec![flaw.at("/idempotency_key")]));
        }
        (key, own) => key.or(own),
    };
    let found = found_for(&api, &caller, std::iter::once(&map)).await?;
    let context = Context { limits: &api.limits, now: api.clock.now(), found: &found };
    let sending = match filled_for(&api, &caller, &mut map, "").await? {
        Ok(filled) => read(map, "", filled.as_ref(), &context),
        Err(faults) => Err(with_others(faults, map, &context)),
    };
    let wanted = sending.map(|sending| Wanted { contents: sending.contents, send_at: sending.send_at });
    let submission = Submission::of(Item { wanted, key: None }, key);
    if is_rehearsal {
        let mut rehearsed = api.door.rehearse(&caller, submission).await?;
        let first = rehearsed.pop().ok_or_else(Problem::internal)?;
        let (item, messages) = first.map_err(|refusal| Problem::of_refusal(refusal, ""))?;
        return Ok(ok_json(&RehearsedView::of(item, messages)?));
    }
    let accepted = api.door.accept(&caller, submission).await?;
    let replayed = accepted.replayed;
    let item = accepted.items.into_iter().next().ok_or_else(Problem::internal)?;
    let view = AcceptedView::of(item.map_err(|refusal| Problem::from(SubmitError::Refused(0, refusal)))?)?;
    let mut response = ok_json(&view);
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/messages/{}", view.id)) {
        headers.insert(LOCATION, location);
    }
    if replayed {
        headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    }
    Ok(response)
}
