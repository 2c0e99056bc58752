//! What comes back after deliveries to the sandbox: noted with the delivery, and made events when its time comes.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::delivery::LeasedDelivery;
use crate::domain::event::EventType;
use crate::domain::id::{MessageId, ProjectId, RecipientId};
use crate::domain::script::{Afterwards, CameBack};
use crate::domain::shard::Shard;
use crate::store::mail::later_events::{About, insert_later_event};
use crate::store::{Moment, Store, StoreError, decoded, on_pool};

/// Something that came back.
#[derive(Debug, Clone)]
pub struct ComingBack {
    pub shard: Shard,
    pub message: MessageId,
    pub recipient: RecipientId,
    pub position: i16,
    pub project: ProjectId,
    pub mode: Mode,
    pub address: String,
    pub what: CameBack,
}

impl Store {
    /// Notes what comes back after a delivery. Twice is once.
    pub async fn note_afterwards(
        &self,
        delivery: &LeasedDelivery,
        afterwards: &[Afterwards],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        on_pool!(
            self,
            "sandbox_afterwards.insert",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO sandbox_afterwards (shard, message_id, recipient_id, position, project_id, what, due_at)
                SELECT $1, $2, $3, (a.n - 1)::smallint, $4, a.what, a.due_at
                FROM unnest($5::text[], $6::timestamptz[]) WITH ORDINALITY AS a (what, due_at, n)
                ON CONFLICT DO NOTHING
                "#,
                delivery.lease.shard.value(),
                delivery.message.uuid(),
                delivery.recipient.uuid(),
                delivery.project.uuid(),
                &afterwards.iter().map(|one| one.what.text()).collect::<Vec<_>>(),
                &afterwards.iter().map(|one| at + one.after).collect::<Vec<_>>(),
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// What is due to come back, the first first. What is not delivered yet waits for that.
    pub async fn due_afterwards(&self, limit: i64) -> Result<Vec<ComingBack>, StoreError> {
        let now = self.now();
        let rows = on_pool!(
            self,
            "sandbox_afterwards.find_due",
            conn,
            sqlx::query!(
                r#"
                SELECT a.shard, a.message_id, a.recipient_id, a.position, a.project_id, a.what, m.mode, r.address
                FROM sandbox_afterwards a
                JOIN messages m ON m.shard = a.shard AND m.id = a.message_id
                JOIN recipients r ON r.shard = a.shard AND r.message_id = a.message_id AND r.id = a.recipient_id
                WHERE a.due_at <= $1 AND r.settled_at IS NOT NULL ORDER BY a.due_at LIMIT $2
                "#,
                now,
                limit,
            )
            .fetch_all(conn)
        )?;
        let coming = rows.into_iter().map(|row| {
            let place = |column| ("sandbox_afterwards", column);
            Ok(ComingBack {
                shard: decoded(Shard::of_value(row.shard), place("shard"), row.message_id, row.shard.to_string())?,
                message: MessageId::from_uuid(row.message_id),
                recipient: RecipientId::from_uuid(row.recipient_id),
                position: row.position,
                project: ProjectId::from_uuid(row.project_id),
                mode: decoded(Mode::parse(&row.mode), ("messages", "mode"), row.message_id, &row.mode)?,
                address: row.address,
                what: decoded(CameBack::parse(&row.what), place("what"), row.message_id, &row.what)?,
            })
        });
        coming.collect()
    }

    /// Makes an event of what came back, once. `false`: another process has.
    pub async fn settle_afterwards(
        &self,
        coming: &ComingBack,
        data: &serde_json::Value,
        rng: &dyn Rng,
    ) -> Result<bool, StoreError> {
        let at = self.moment(rng);
        on_pool!(self, "sandbox_afterwards.settle", conn, settle(conn, coming, data, at))
    }

    /// Forgets what is due to come back of messages that are gone.
    pub async fn forget_afterwards(&self) -> Result<(), StoreError> {
        let now = self.now();
        on_pool!(
            self,
            "sandbox_afterwards.forget",
            conn,
            sqlx::query!(
                r#"
                DELETE FROM sandbox_afterwards a WHERE a.due_at <= $1::timestamptz - interval '1 hour' AND NOT EXISTS (
                    SELECT 1 FROM recipients r
                    WHERE r.shard = a.shard AND r.message_id = a.message_id AND r.id = a.recipient_id)
                "#,
                now,
            )
            .execute(conn)
        )?;
        Ok(())
    }
}

async fn settle(
    conn: &mut PgConnection,
    coming: &ComingBack,
    data: &serde_json::Value,
    at: Moment<'_>,
) -> Result<bool, StoreError> {
    let mut tx = conn.begin().await?;
    let taken: Option<Uuid> = sqlx::query_scalar!(
        r#"
        DELETE FROM sandbox_afterwards WHERE shard = $1 AND message_id = $2 AND recipient_id = $3 AND position = $4
        RETURNING project_id
        "#,
        coming.shard.value(),
        coming.message.uuid(),
        coming.recipient.uuid(),
        coming.position,
    )
    .fetch_optional(&mut *tx)
    .await?;
    if taken.is_none() {
        return Ok(false);
    }
    let event_type = match coming.what {
        CameBack::Report(_) => EventType::BouncedLater,
        CameBack::Complaint => EventType::Complained,
    };
    let ComingBack { shard, project, mode, message, recipient, .. } = *coming;
    insert_later_event(&mut tx, About { shard, project, mode, message, recipient }, event_type, data, at).await?;
    tx.commit().await?;
    Ok(true)
}
