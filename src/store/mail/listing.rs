//! The statements that scatter over all shards: listings. Keyset by id, newest first, under the same
//! deadline as everything else; the only module that may leave the shard out.

use super::messages::{MessageRow, StoredMessage};
use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::id::{MessageId, ProjectId};
use crate::domain::recipient::{Counts, RecipientStatus};
use crate::store::{Store, StoreError, on_pool};

/// What a listing is narrowed to. `None` narrows nothing.
#[derive(Debug, Default, Clone)]
pub struct MessageFilter {
    pub mode: Option<Mode>,
    pub status: Option<String>,
    pub to: Option<String>,
    pub from: Option<String>,
    pub tag: Option<String>,
    pub domain: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Part of the subject, letters of either case.
    pub q: Option<String>,
    /// Messages older than this one.
    pub before: Option<MessageId>,
    pub limit: i64,
}

impl Store {
    /// The project's messages with the numbers of their recipients by state.
    pub async fn list_messages(
        &self,
        project: ProjectId,
        filter: &MessageFilter,
    ) -> Result<Vec<(StoredMessage, Counts)>, StoreError> {
        let rows = on_pool!(
            self,
            "messages.list",
            conn,
            sqlx::query_as!(
                MessageRow,
                r#"
            SELECT m.id, m.mode, m.sender, m.author, m.message_id, m.subject, m.tags, m.metadata, m.priority, m.size,
                m.created_at, m.expires_at,
                c.counts AS "counts!"
            FROM messages m
            -- How many recipients are in each state, and the message's state by the rule of `MessageStatus::of`.
            CROSS JOIN LATERAL (
                SELECT array_agg(n.number ORDER BY n.status) AS counts,
                    CASE WHEN bool_and(n.number = 0 OR n.status = 'delivered') THEN 'delivered'
                         WHEN bool_or(n.number > 0 AND n.status = 'delivered') THEN 'partially_delivered'
                         WHEN bool_or(n.number > 0 AND n.status = 'sending') THEN 'sending'
                         WHEN bool_or(n.number > 0 AND n.status IN ('queued', 'deferred')) THEN 'queued'
                         WHEN bool_and(n.number = 0 OR n.status = 'cancelled') THEN 'cancelled'
                         ELSE 'failed' END AS message_status
                FROM (
                    SELECT s.status, count(r.id)::int AS number
                    FROM unnest(ARRAY['bounced', 'cancelled', 'deferred', 'delivered', 'expired', 'queued', 'scheduled', 'sending',
                        'suppressed']) AS s (status)
                    LEFT JOIN (
                        -- A delivery under a lease is `sending`.
                        SELECT r.id, CASE WHEN r.settled_at IS NULL AND d.lease_token IS NOT NULL THEN 'sending'
                                          ELSE r.status END AS status
                        FROM recipients r LEFT JOIN deliveries d ON d.shard = r.shard AND d.id = r.id
                        WHERE r.shard = m.shard AND r.message_id = m.id
                    ) AS r ON r.status = s.status
                    GROUP BY s.status
                ) AS n
            ) AS c
            WHERE m.project_id = $1
              AND ($12::text IS NULL OR m.mode = $12)
              AND ($2::uuid IS NULL OR m.id < $2)
              AND ($3::timestamptz IS NULL OR m.created_at >= $3)
              AND ($4::timestamptz IS NULL OR m.created_at < $4)
              AND ($5::text IS NULL OR lower(m.sender) = lower($5))
              AND ($6::text IS NULL OR m.tags ? $6)
              AND ($7::text IS NULL OR position(lower($7) IN lower(m.subject)) > 0)
              -- An address is sought within its domain: one index serves both.
              AND ($8::text IS NULL OR m.id IN (
                  SELECT r.message_id FROM recipients r
                  WHERE split_part(r.address, '@', -1) = split_part($8, '@', -1) AND lower(r.address) = lower($8)))
              AND ($9::text IS NULL OR m.id IN (
                  SELECT r.message_id FROM recipients r WHERE split_part(r.address, '@', -1) = $9))
              AND ($10::text IS NULL OR c.message_status = $10)
            ORDER BY m.id DESC LIMIT $11
            "#,
                project.uuid(),
                filter.before.map(MessageId::uuid),
                filter.since,
                filter.until,
                filter.from,
                filter.tag,
                filter.q,
                filter.to,
                filter.domain,
                filter.status,
                filter.limit,
                filter.mode.map(Mode::name),
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let counts = counts_of(&row.counts);
                Ok((row.decode()?, counts))
            })
            .collect()
    }
}

/// Numbers in alphabetical order of the states' names, as the statement gives them.
fn counts_of(numbers: &[i32]) -> Counts {
    let mut names: Vec<_> = RecipientStatus::ALL.to_vec();
    names.sort_by_key(|status| status.name());
    let mut counts = Counts::default();
    for (status, number) in names.into_iter().zip(numbers) {
        counts.count(status, u32::try_from(*number).unwrap_or(0));
    }
    counts
}
