//! Deliveries that are asked back: cancelled, edited or tried at once, as long as MAIL has not left. What nobody has in hand
//! is changed at once; whoever has one in hand is asked to put it back.

use sqlx::PgConnection;
use uuid::Uuid;

use super::cancel::Unclaimed;
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::lease::Lease;
use crate::domain::shard::Shard;
use crate::store::{Store, StoreError, on_pool};

/// What is done with deliveries that nobody has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recall {
    /// They end here.
    Cancel,
    /// They are due at another instant, or end at another.
    Edit { due_at: Option<Timestamp>, expires_at: Option<Timestamp> },
    /// They are due now.
    Retry,
}

/// A delivery that somebody has in hand.
#[derive(Debug, Clone, Copy)]
pub struct InHandElsewhere {
    pub lease: Lease,
    pub owner: Uuid,
    /// MAIL may have left.
    pub has_begun: bool,
}

impl Store {
    /// Changes those of a message's deliveries that nobody has in hand; gives which.
    pub async fn recall_unleased(
        &self,
        message: MessageId,
        recipients: &[RecipientId],
        recall: Recall,
        rng: &dyn Rng,
    ) -> Result<Vec<RecipientId>, StoreError> {
        let ids: Vec<_> = recipients.iter().map(|recipient| recipient.uuid()).collect();
        let now = self.now();
        match recall {
            Recall::Cancel => {
                let deliveries: Vec<_> = ids.iter().map(|id| Unclaimed::of(*id, message.uuid())).collect();
                self.cancel_unclaimed(message.shard(), &deliveries, rng).await
            }
            Recall::Edit { due_at, expires_at } => {
                let edited = (due_at, expires_at);
                on_pool!(self, "deliveries.edit", conn, edit(conn, message, &ids, edited, now))
            }
            Recall::Retry => {
                let edited = (Some(now), None);
                on_pool!(self, "deliveries.edit", conn, edit(conn, message, &ids, edited, now))
            }
        }
    }

    /// Asks back those of a message's deliveries that somebody has in hand and has not begun; says where they stand.
    pub async fn ask_back(
        &self,
        message: MessageId,
        recipients: &[RecipientId],
    ) -> Result<Vec<InHandElsewhere>, StoreError> {
        let ids: Vec<_> = recipients.iter().map(|recipient| recipient.uuid()).collect();
        let now = self.now();
        on_pool!(self, "deliveries.ask_back", conn, ask_back(conn, message, &ids, now))
    }

    /// Asks back no more.
    pub async fn ask_no_more(&self, message: MessageId, recipients: &[RecipientId]) -> Result<(), StoreError> {
        let ids: Vec<_> = recipients.iter().map(|recipient| recipient.uuid()).collect();
        on_pool!(self, "deliveries.ask_no_more", conn, ask_no_more(conn, message, &ids))
    }

    /// The deliveries that this process has in hand, and that are asked back.
    pub async fn list_asked_back(&self, owner: Uuid) -> Result<Vec<Lease>, StoreError> {
        on_pool!(self, "deliveries.list_asked_back", conn, list_asked_back(conn, owner))
    }

    /// Says of deliveries that they have begun: who asks them back comes too late.
    pub async fn tell_begun(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let now = self.now();
        on_pool!(self, "deliveries.tell_begun", conn, tell_begun(conn, leases, now))
    }
}

async fn edit(
    conn: &mut PgConnection,
    message: MessageId,
    ids: &[Uuid],
    (due_at, expires_at): (Option<Timestamp>, Option<Timestamp>),
    now: Timestamp,
) -> Result<Vec<RecipientId>, StoreError> {
    let rows = sqlx::query_scalar!(
        r#"
        WITH messages_ AS (
            UPDATE messages m SET expires_at = $5 WHERE m.shard = $1 AND m.id = $2 AND $5::timestamptz IS NOT NULL)
        UPDATE deliveries d SET due_at = COALESCE($4, d.due_at), expires_at = COALESCE($5, d.expires_at),
            ready = COALESCE($4, d.due_at) <= $6::timestamptz, held = NULL
        WHERE d.shard = $1 AND d.id = ANY ($3) AND d.message_id = $2 AND d.lease_token IS NOT DISTINCT FROM NULL
        RETURNING d.id
        "#,
        message.shard().value(),
        message.uuid(),
        ids,
        due_at,
        expires_at,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(RecipientId::from_uuid).collect())
}

async fn ask_back(
    conn: &mut PgConnection,
    message: MessageId,
    ids: &[Uuid],
    now: Timestamp,
) -> Result<Vec<InHandElsewhere>, StoreError> {
    let rows = sqlx::query!(
        r#"
        UPDATE deliveries d SET revoked_at = CASE WHEN d.begun_at IS NULL THEN $4::timestamptz END
        WHERE d.shard = $1 AND d.id = ANY ($3) AND d.message_id = $2 AND d.lease_token IS NOT NULL
        RETURNING d.id, d.lease_token AS "token!", d.lease_owner AS "owner!", d.attempt,
            d.begun_at IS NOT NULL AS "has_begun!"
        "#,
        message.shard().value(),
        message.uuid(),
        ids,
        now,
    )
    .fetch_all(conn)
    .await?;
    let shard = message.shard();
    let of_row = |(id, token, attempt)| Lease { shard, id, token, attempt };
    Ok(rows
        .into_iter()
        .map(|row| InHandElsewhere {
            lease: of_row((row.id, row.token, row.attempt)),
            owner: row.owner,
            has_begun: row.has_begun,
        })
        .collect())
}

async fn ask_no_more(conn: &mut PgConnection, message: MessageId, ids: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE deliveries SET revoked_at = NULL WHERE shard = $1 AND id = ANY ($3) AND message_id = $2 AND revoked_at IS NOT NULL",
        message.shard().value(),
        message.uuid(),
        ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn list_asked_back(conn: &mut PgConnection, owner: Uuid) -> Result<Vec<Lease>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query!(
        r#"
        SELECT s.shard AS "shard!", asked.id AS "id!", asked.lease_token AS "token!", asked.attempt AS "attempt!"
        FROM unnest($1::int[]) AS s (shard), LATERAL (
            SELECT d.id, d.lease_token, d.attempt FROM deliveries d
            WHERE d.shard = s.shard AND d.lease_owner = $2 AND d.revoked_at IS NOT NULL AND d.begun_at IS NULL
            LIMIT 100) AS asked
        "#,
        &shards,
        owner,
    )
    .fetch_all(conn)
    .await?;
    let lease = |row: &(i32, Uuid, Uuid, i32)| {
        let (shard, id, token, attempt) = *row;
        Some(Lease { shard: Shard::of_value(shard)?, id, token, attempt })
    };
    Ok(rows.into_iter().filter_map(|row| lease(&(row.shard, row.id, row.token, row.attempt))).collect())
}

async fn tell_begun(conn: &mut PgConnection, leases: &[Lease], now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE deliveries d SET begun_at = $4, revoked_at = NULL
        FROM unnest($1::int[], $2::uuid[], $3::uuid[]) AS l (shard, id, token)
        WHERE d.shard = l.shard AND d.id = l.id AND d.lease_token IS NOT DISTINCT FROM l.token
        "#,
        &leases.iter().map(|lease| lease.shard.value()).collect::<Vec<_>>(),
        &leases.iter().map(|lease| lease.id).collect::<Vec<_>>(),
        &leases.iter().map(|lease| lease.token).collect::<Vec<_>>(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
