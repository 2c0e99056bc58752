//! Leaving the schedule without having been sent: cancelled, or refused when the time had come. The message then is one
//! without a body, all of whose recipients are settled; row and events are one commit.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::blocks;
use super::scheduled::StoredScheduled;
use crate::domain::class::OwnClass;
use crate::domain::clock::Rng;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId};
use crate::domain::message::ScheduledRecipient;
use crate::domain::recipient::RecipientStatus;
use crate::domain::shard::Shard;
use crate::store::{Moment, Store, StoreError, on_pool};

/// Why a message is not sent.
#[derive(Debug, Clone)]
pub enum Unsent {
    /// It was wished so.
    Cancelled,
    /// It cannot be sent as it was asked for; why, in words.
    NotSendable(String),
}

/// What a commit wrote.
#[derive(Debug, Clone, Default)]
pub struct EndedScheduled {
    /// Those that were in the schedule still.
    pub messages: Vec<MessageId>,
    /// The recipients of those.
    pub recipients: u64,
}

impl Unsent {
    pub const fn status(&self) -> RecipientStatus {
        match self {
            Self::Cancelled => RecipientStatus::Cancelled,
            Self::NotSendable(_) => RecipientStatus::Bounced,
        }
    }

    const fn event(&self) -> EventType {
        match self {
            Self::Cancelled => EventType::Cancelled,
            Self::NotSendable(_) => EventType::Bounced,
        }
    }

    fn reply(&self) -> Option<(&str, &'static str)> {
        match self {
            Self::Cancelled => None,
            Self::NotSendable(why) => Some((why, OwnClass::NotSendable.name())),
        }
    }

    fn data(&self) -> serde_json::Value {
        self.reply().map_or_else(
            || serde_json::json!({}),
            |(text, class)| serde_json::json!({"reply": {"code": null, "enhanced": null, "text": text, "host": null, "class": class}}),
        )
    }
}

impl Store {
    /// Takes messages of one shard out of the schedule for good.
    pub async fn end_scheduled(
        &self,
        messages: &[&StoredScheduled],
        unsent: &Unsent,
        rng: &dyn Rng,
    ) -> Result<EndedScheduled, StoreError> {
        let Some(shard) = messages.first().map(|message| message.id.shard()) else {
            return Ok(EndedScheduled::default());
        };
        for message in messages {
            self.ensure_day(message.id.made_at().date()).await?;
        }
        let at = self.moment(rng);
        on_pool!(self, "scheduled_messages.end", conn, end(conn, (shard, messages), unsent, at))
    }
}

async fn end(
    conn: &mut PgConnection,
    (shard, messages): (Shard, &[&StoredScheduled]),
    unsent: &Unsent,
    at: Moment<'_>,
) -> Result<EndedScheduled, StoreError> {
    let all = || messages.iter().flat_map(|m| (0..).zip(&m.summary.recipients).map(|(at, r)| (m.id, at, r)));
    let each = |of: fn(&ScheduledRecipient) -> &str| all().map(|(.., r)| of(r)).collect::<Vec<_>>();
    let reply = unsent.reply();
    let mut tx = conn.begin().await?;
    let rows = sqlx::query!(
        r#"
        WITH ended AS (
            DELETE FROM scheduled_messages s USING unnest($2::uuid[], $3::text[]) AS e (id, sender)
            WHERE s.shard = $1::int AND s.id = e.id
            RETURNING s.*, e.sender),
        unsent_ AS (
            INSERT INTO messages (shard, id, project_id, mode, sender, author, subject, tags, metadata, priority, size,
                created_at, expires_at, message_id, batch_id, idempotency_key, template, send_at, credential)
            SELECT $1, s.id, s.project_id, s.mode, s.sender, COALESCE(s.summary ->> 'author', ''),
                COALESCE(s.summary ->> 'subject', ''), s.tags, COALESCE(NULLIF(s.summary -> 'metadata', 'null'), '{}'),
                COALESCE((s.summary ->> 'priority')::smallint, 1), GREATEST((s.summary ->> 'size')::int, 1),
                s.created_at, s.expires_at, s.summary ->> 'message_id', s.batch_id, s.idempotency_key, s.template,
                s.send_at, s.summary ->> 'credential'
            FROM ended s),
        r AS MATERIALIZED (
            SELECT u.*, s.project_id, s.mode
            FROM unnest($4::uuid[], $5::uuid[], $6::smallint[], $7::text[], $8::text[], $9::text[], $10::uuid[])
                AS u (message_id, id, position, kind, address, places, event_id)
            JOIN ended s ON s.id = u.message_id),
        recipients_ AS (
            INSERT INTO recipients (shard, project_id, message_id, id, position, kind, address, places, status, settled_at,
                reply_text, reply_class)
            SELECT $1, r.project_id, r.message_id, r.id, r.position, r.kind, r.address, r.places, $11, $12, $13, $14 FROM r),
        events_ AS (
            INSERT INTO events (shard, id, project_id, message_id, recipient_id, mode, sequence, type, occurred_at, data,
                era, xid)
            SELECT $1, r.event_id, r.project_id, r.message_id, r.id, r.mode, 1, $15, $12, $16::jsonb, $17,
                pg_current_xact_id()
            FROM r)
        SELECT s.id, (SELECT count(*) FROM r) AS "recipients!" FROM ended s
        "#,
        shard.value(),
        &messages.iter().map(|message| message.id.uuid()).collect::<Vec<_>>(),
        &messages.iter().map(|message| sender_of(&message.summary.author)).collect::<Vec<_>>() as &[&str],
        &all().map(|(id, ..)| id.uuid()).collect::<Vec<_>>(),
        &all().map(|(.., r)| r.id.uuid()).collect::<Vec<_>>(),
        &all().map(|(_, at, _)| at).collect::<Vec<i16>>(),
        &each(|r| &r.kind) as &[&str],
        &each(|r| &r.email) as &[&str],
        &all().map(|(.., r)| r.places.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &all().map(|_| EventId::new_in(shard, at.now, at.rng).uuid()).collect::<Vec<Uuid>>(),
        unsent.status().name(),
        at.now,
        reply.map(|(text, _)| text),
        reply.map(|(_, class)| class),
        unsent.event().name(),
        unsent.data(),
        at.era,
    )
    .fetch_all(&mut *tx)
    .await?;
    blocks::forget(&mut tx, messages.iter().map(|message| (message.project, message.id)), at.now).await?;
    tx.commit().await?;
    let count = |number: Option<i64>| number.map_or(0, i64::unsigned_abs);
    Ok(EndedScheduled {
        recipients: count(rows.first().map(|row| row.recipients)),
        messages: rows.into_iter().map(|row| MessageId::from_uuid(row.id)).collect(),
    })
}

/// The address in a mailbox as it is shown.
fn sender_of(author: &str) -> &str {
    author.rsplit_once('<').map_or(author, |(_, address)| address.trim_end_matches('>'))
}
