//! What happens to endpoints themselves, told in their project's event log: they stall, they are disabled.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::clock::{Rng, Timestamp, rfc3339};
use crate::domain::event::EventType;
use crate::domain::id::EndpointId;
use crate::domain::webhook::EndpointMode;
use crate::store::mail::project_events::{NewProjectEvent, insert_project_events};
use crate::store::{Moment, Store, StoreError, on_pool};

/// An endpoint that something happened to.
#[derive(Debug)]
pub struct EndpointInTrouble {
    pub id: Uuid,
    pub project_id: Uuid,
    pub mode: String,
    pub url: String,
    pub failing_since: Option<Timestamp>,
    pub reason: String,
}

impl Store {
    /// Says of enabled endpoints that fail since before that span that they are stalled, once; gives them.
    pub async fn note_stalled(&self, after: Duration, rng: &dyn Rng) -> Result<Vec<EndpointInTrouble>, StoreError> {
        let at = self.moment(rng);
        on_pool!(self, "endpoints.note_stalled", conn, note_stalled(conn, after, at))
    }

    /// How many enabled endpoints are stalled.
    pub async fn count_stalled(&self) -> Result<i64, StoreError> {
        on_pool!(
            self,
            "endpoints.count_stalled",
            conn,
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM webhook_endpoints WHERE enabled AND stalled_at IS NOT NULL"#,
            )
            .fetch_one(conn)
        )
    }
}

async fn note_stalled(
    conn: &mut PgConnection,
    after: Duration,
    at: Moment<'_>,
) -> Result<Vec<EndpointInTrouble>, StoreError> {
    let mut tx = conn.begin().await?;
    let stalled = sqlx::query_as!(
        EndpointInTrouble,
        r#"
        UPDATE webhook_endpoints SET stalled_at = $1
        WHERE enabled AND stalled_at IS NULL AND failing_since < $2
        RETURNING id, project_id, mode, url, failing_since, 'no call succeeded' AS "reason!"
        "#,
        at.now,
        at.now - after,
    )
    .fetch_all(&mut *tx)
    .await?;
    insert_endpoint_events(&mut tx, EventType::EndpointStalled, &stalled, at).await?;
    tx.commit().await?;
    Ok(stalled)
}

/// Writes the same event of several endpoints.
pub(super) async fn insert_endpoint_events(
    conn: &mut PgConnection,
    event_type: EventType,
    endpoints: &[EndpointInTrouble],
    at: Moment<'_>,
) -> Result<(), StoreError> {
    let mode = |endpoint: &EndpointInTrouble| match EndpointMode::parse(&endpoint.mode) {
        Some(EndpointMode::Test) => Mode::Test,
        _ => Mode::Live,
    };
    let events: Vec<_> = endpoints
        .iter()
        .map(|endpoint| NewProjectEvent {
            project: endpoint.project_id,
            mode: mode(endpoint),
            about: endpoint.id,
            data: data(endpoint),
        })
        .collect();
    insert_project_events(conn, event_type, &events, at).await
}

fn data(endpoint: &EndpointInTrouble) -> serde_json::Value {
    serde_json::json!({
        "webhook_id": EndpointId::from_uuid(endpoint.id),
        "url": endpoint.url,
        "reason": endpoint.reason,
        "failing_since": endpoint.failing_since.map(rfc3339),
    })
}
