//! `GET /v1/suppressions/export`

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use futures_util::stream;

use super::REASONS;
use crate::api::auth::Authed;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::turns::Turn;
use crate::api::{Api, Shared};
use crate::domain::access::{Caller, Scope};
use crate::domain::id::SuppressionId;
use crate::domain::shard::Shard;
use crate::domain::suppression::{ListFormat, Suppression, SuppressionReason};
use crate::store::StoreError;
use crate::store::mail::suppressions::next_shard;
use crate::suppress::dialects::Export;

/// Entries that are read at once.
const STEP: i64 = 1000;

/// The whole list, read and written step by step.
pub async fn export(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Suppressions)?;
    let formats: Vec<_> = ListFormat::ALL.iter().map(|format| format.name()).collect();
    let format = params.parsed("format", &format!("one of {}", formats.join(", ")), ListFormat::parse);
    let reason = params.parsed("reason", REASONS, SuppressionReason::parse);
    let after: Option<SuppressionId> = params.cursor();
    params.finish()?;
    let export = Export::new(format.unwrap_or(ListFormat::Csv));
    let content_type = export.content_type();
    let shard = after.map_or(Shard::of_low_bits(0), SuppressionId::shard);
    let turn = api.turn(caller.project).await?;
    let mut writing = Writing { api, caller, reason, export, place: Some((shard, after)), _turn: turn };
    // What is wrong with the store is told while it still can be.
    let first = writing.next().await?;
    let head = writing.export.head() + &first.unwrap_or_default();
    let parts = stream::try_unfold(Some(writing), |writing| async move {
        let Some(mut writing) = writing else { return Ok::<_, StoreError>(None) };
        Ok(Some(match writing.next().await? {
            Some(part) => (part, Some(writing)),
            None => (writing.export.tail().to_owned(), None),
        }))
    });
    let whole = stream::StreamExt::chain(stream::iter([Ok(head)]), parts);
    let mut response = Response::new(Body::from_stream(whole));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// A list that is being written.
struct Writing {
    api: Arc<Api>,
    caller: Caller,
    reason: Option<SuppressionReason>,
    export: Export,
    /// The shard that is read, and the last entry of it that was; `None` at the end.
    place: Option<(Shard, Option<SuppressionId>)>,
    _turn: Turn,
}

impl Writing {
    /// The next entries, as they are written; `None` at the end.
    async fn next(&mut self) -> Result<Option<String>, StoreError> {
        while let Some(place) = self.place {
            let found = self.step(place).await?;
            if !found.is_empty() {
                return Ok(Some(self.export.part(&found)));
            }
        }
        Ok(None)
    }

    async fn step(&mut self, place: (Shard, Option<SuppressionId>)) -> Result<Vec<Suppression>, StoreError> {
        let (project, mode) = (self.caller.project, self.caller.mode);
        let found = self.api.lists.walk_suppressions(project, mode, place, self.reason, STEP).await?;
        let (shard, _) = place;
        self.place = match found.last() {
            Some(last) if found.len() as u64 == STEP.unsigned_abs() => Some((shard, Some(last.id))),
            _ => next_shard(shard).map(|next| (next, None)),
        };
        Ok(found)
    }
}
