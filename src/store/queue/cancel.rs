//! Cancelling: deliveries that nobody has in hand end, whoever wishes it. State and event are one commit.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::clock::Rng;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId, RecipientId};
use crate::domain::recipient::RecipientStatus;
use crate::domain::shard::Shard;
use crate::store::{Moment, OwnedConnection, Store, StoreError, bounds, on_connection, on_pool};

/// A delivery that nobody has in hand.
#[derive(Debug, Clone, Copy)]
pub struct Unclaimed {
    pub recipient: RecipientId,
    pub message: MessageId,
}

impl Unclaimed {
    pub(super) const fn of(id: Uuid, message: Uuid) -> Self {
        Self { recipient: RecipientId::from_uuid(id), message: MessageId::from_uuid(message) }
    }
}

impl OwnedConnection {
    /// Cancels those of some deliveries of one shard that nobody has in hand; gives whose they were.
    pub async fn cancel_unclaimed(
        &mut self,
        shard: Shard,
        deliveries: &[Unclaimed],
        rng: &dyn Rng,
    ) -> Result<Vec<RecipientId>, StoreError> {
        let at = self.store.moment(rng);
        on_connection!(self, "deliveries.cancel", conn, cancel(conn, shard, deliveries, at))
    }
}

impl Store {
    /// Cancels those of some deliveries of one shard that nobody has in hand; gives whose they were.
    pub async fn cancel_unclaimed(
        &self,
        shard: Shard,
        deliveries: &[Unclaimed],
        rng: &dyn Rng,
    ) -> Result<Vec<RecipientId>, StoreError> {
        let at = self.moment(rng);
        on_pool!(self, "deliveries.cancel", conn, cancel(conn, shard, deliveries, at))
    }
}

async fn cancel(
    conn: &mut PgConnection,
    shard: Shard,
    deliveries: &[Unclaimed],
    at: Moment<'_>,
) -> Result<Vec<RecipientId>, StoreError> {
    let Moment { now, era, rng } = at;
    let events: Vec<_> = deliveries.iter().map(|_| EventId::new_in(shard, now, rng).uuid()).collect();
    let messages: Vec<_> = deliveries.iter().map(|delivery| delivery.message.uuid()).collect();
    let (first, last) = bounds(messages.iter().copied());
    let rows = sqlx::query_scalar!(
        r#"
        WITH c AS MATERIALIZED (
            SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS c (id, message_id, event_id)),
        -- Found by key, as in settling; what somebody took in hand meanwhile is left to them.
        ended AS (
            DELETE FROM deliveries d USING c
            WHERE d.shard = $1 AND d.id = c.id AND d.lease_token IS NOT DISTINCT FROM NULL
            RETURNING d.project_id, d.mode, c.*),
        recipients_ AS (
            UPDATE recipients r SET status = $8, settled_at = $5, events = r.events + 1 FROM ended g
            WHERE r.shard = $1 AND r.message_id = g.message_id AND r.id = g.id AND r.settled_at IS NULL
              AND r.message_id BETWEEN $6 AND $7
            RETURNING r.message_id, r.id, r.events, g.project_id, g.mode, g.event_id),
        events_ AS (
            INSERT INTO events (shard, id, project_id, message_id, recipient_id, mode, sequence, type, occurred_at, data,
                era, xid)
            SELECT $1, r.event_id, r.project_id, r.message_id, r.id, r.mode, r.events, $9, $5, '{}', $10, pg_current_xact_id()
            FROM recipients_ r)
        SELECT g.id AS "id!" FROM ended g
        "#,
        shard.value(),
        &deliveries.iter().map(|delivery| delivery.recipient.uuid()).collect::<Vec<_>>(),
        &messages,
        &events,
        now,
        first,
        last,
        RecipientStatus::Cancelled.name(),
        EventType::Cancelled.name(),
        era,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(RecipientId::from_uuid).collect())
}
