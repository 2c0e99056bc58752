//! The statements that scatter over all shards: listings. Keyset by id, newest first; the only module that may leave the shard
//! out.
//!
//! A list reads what its project has, step by step, and stops when its page is full or its time is up: a page may be short,
//! and its cursor goes on behind the last message that was looked at. Nothing is read of other projects. What it is narrowed to is looked for in the newest
//! messages one by one, and behind them in those [blocks](super::blocks) that have it.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::candidates::{Candidates, Narrowed, bounds};
use super::messages::{MessageRow, StoredMessage};
use super::recipients::StoredRecipient;
use super::scheduled::ScheduledRow;
use super::terms::Term;
use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::id::{BatchId, MessageId, ProjectId, RecipientId};
use crate::domain::message::MessageStatus;
use crate::domain::recipient::{Counts, RecipientKind, RecipientStatus};
use crate::store::{Store, StoreError, decoded, on_pool};

/// Messages that are looked at in one statement, first and at most.
const STEP: i64 = 200;
const STEP_MAX: i64 = 4000;
/// How long a list is looked for before its page is answered as it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// Recipients that a list names of a message.
pub const NAMED: usize = 5;

/// What a listing is narrowed to. What is empty narrows nothing.
#[derive(Debug, Default, Clone)]
pub struct MessageFilter {
    pub mode: Option<Mode>,
    /// Any of these is the message's state, or a recipient's.
    pub statuses: Vec<StatusFilter>,
    pub to: Option<String>,
    pub from: Option<String>,
    pub tag: Option<String>,
    pub domain: Option<String>,
    /// Sent, or to be sent, at or after this instant.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Part of the subject, letters of either case.
    pub q: Option<String>,
    pub message_id: Option<String>,
    /// By what it was sent.
    pub credential: Option<String>,
    pub batch: Option<BatchId>,
    /// These messages and no others.
    pub ids: Option<Vec<MessageId>>,
    /// Messages older than this one.
    pub before: Option<MessageId>,
    pub limit: usize,
}

/// A state of messages or of recipients: of a message, or of one of its recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusFilter {
    message: Option<MessageStatus>,
    recipient: Option<RecipientStatus>,
}

impl StatusFilter {
    /// The state with that name, of either.
    pub fn parse(name: &str) -> Option<Self> {
        let (message, recipient) = (MessageStatus::parse(name), RecipientStatus::parse(name));
        (message.is_some() || recipient.is_some()).then_some(Self { message, recipient })
    }

    /// Of recipients alone.
    pub const fn of_recipients(status: RecipientStatus) -> Self {
        Self { message: None, recipient: Some(status) }
    }

    /// What a block has that has a settled message of that state.
    pub(super) fn term(self) -> Option<Term<'static>> {
        // A message that is in a state of that name has a recipient that is.
        let of_recipient = self.recipient.map(|status| Term::RecipientStatus(status.name()));
        of_recipient.or_else(|| self.message.map(|status| Term::Status(status.name())))
    }

    /// The states of recipients one of which a message has that is in this one, as they are stored.
    const fn stored(self) -> &'static [RecipientStatus] {
        use RecipientStatus as R;
        let waiting = &[R::Queued, R::Deferred];
        match (self.message, self.recipient) {
            (Some(MessageStatus::Sending | MessageStatus::Queued), _) | (None, Some(R::Sending)) => waiting,
            (Some(MessageStatus::Delivered | MessageStatus::PartiallyDelivered), _) | (None, Some(R::Delivered)) => {
                &[R::Delivered]
            }
            (Some(MessageStatus::Cancelled), _) | (None, Some(R::Cancelled)) => &[R::Cancelled],
            (Some(MessageStatus::Failed), _) => &[R::Bounced, R::Expired, R::Suppressed, R::Cancelled],
            (None, Some(R::Queued)) => &[R::Queued],
            (None, Some(R::Deferred)) => &[R::Deferred],
            (None, Some(R::Bounced)) => &[R::Bounced],
            (None, Some(R::Expired)) => &[R::Expired],
            (None, Some(R::Suppressed)) => &[R::Suppressed],
            (Some(MessageStatus::Scheduled), _) | (None, Some(R::Scheduled) | None) => &[],
        }
    }

    fn holds(self, counts: &Counts) -> bool {
        self.message.is_some_and(|status| MessageStatus::of(counts) == status)
            || self.recipient.is_some_and(|status| counts.of(status) > 0)
    }
}

/// A message of a list.
#[derive(Debug, Clone)]
pub struct ListedMessage {
    pub message: StoredMessage,
    pub counts: Counts,
    /// The first [`NAMED`] of its recipients.
    pub recipients: Vec<ListedRecipient>,
}

/// A recipient as a list names it.
#[derive(Debug, Clone)]
pub struct ListedRecipient {
    pub id: RecipientId,
    pub email: String,
    pub kind: RecipientKind,
    pub status: RecipientStatus,
}

/// A page of a list.
#[derive(Debug, Default)]
pub struct Listing {
    pub messages: Vec<ListedMessage>,
    /// Where to go on; `None`: there is nothing more.
    pub next: Option<MessageId>,
}

/// What a step has looked at.
struct Step {
    found: Vec<StoredMessage>,
    /// The last one that was looked at; `None`: it was the last step.
    last: Option<MessageId>,
}

impl Store {
    /// The project's messages, newest first, also those that wait for their time.
    pub async fn list_messages(&self, project: ProjectId, filter: &MessageFilter) -> Result<Listing, StoreError> {
        let end = Instant::now() + PATIENCE;
        let (mut listing, mut before, mut step) = (Listing::default(), filter.before, STEP);
        let narrowed = self.narrow(project, filter).await?;
        loop {
            let sent = self.step_sent(project, filter, narrowed.as_ref(), before, step).await?;
            let waiting = self.step_scheduled(project, filter, before, step).await?;
            // What is older than the end of either is looked at in the next step.
            let last = sent.last.max(waiting.last);
            let mut found: Vec<_> = sent.found.into_iter().chain(waiting.found).collect();
            found.retain(|message| last.is_none_or(|last| message.id >= last));
            found.sort_by_key(|message| std::cmp::Reverse(message.id));
            found.dedup_by_key(|message| message.id);
            if filter.statuses.is_empty() {
                // Nothing is counted of what is not shown.
                found.truncate(filter.limit + 1 - listing.messages.len());
            }
            for message in self.with_recipients(found).await? {
                let is_wanted =
                    filter.statuses.is_empty() || filter.statuses.iter().any(|status| status.holds(&message.counts));
                if !is_wanted {
                    continue;
                }
                if listing.messages.len() == filter.limit {
                    listing.next = listing.messages.last().map(|last| last.message.id);
                    return Ok(listing);
                }
                listing.messages.push(message);
            }
            let Some(last) = last else { return Ok(listing) };
            if Instant::now() >= end {
                listing.next = Some(last);
                return Ok(listing);
            }
            before = Some(last);
            step = (step * 2).min(STEP_MAX);
        }
    }

    async fn step_sent(
        &self,
        project: ProjectId,
        filter: &MessageFilter,
        narrowed: Option<&Narrowed>,
        before: Option<MessageId>,
        step: i64,
    ) -> Result<Step, StoreError> {
        let Candidates { ids: candidates, last } =
            self.list_candidates(project, filter, narrowed, before, step).await?;
        let statuses = filter.stored_statuses();
        let (least, most) = crate::store::bounds(candidates.iter().copied());
        let rows = on_pool!(
            self,
            "messages.list",
            conn,
            sqlx::query_as!(
                MessageRow,
                r#"
                SELECT m.id, m.mode, m.sender, m.author, m.message_id, m.subject, m.tags, m.metadata, m.priority, m.size,
                    m.created_at, m.expires_at, m.send_at, m.batch_id, m.idempotency_key, m.template, m.credential
                FROM unnest($2::int[], $3::uuid[]) AS c (shard, id)
                JOIN messages m ON m.shard = c.shard AND m.id = c.id AND m.id BETWEEN $10 AND $11
                WHERE m.project_id = $1
                  AND ($4::text IS NULL OR m.mode = $4)
                  AND ($5::text IS NULL OR lower(m.sender) = lower($5))
                  AND ($6::text IS NULL OR m.tags ? $6)
                  AND ($7::text IS NULL OR position(lower($7) IN lower(m.subject)) > 0)
                  AND ($8::uuid IS NULL OR m.batch_id = $8)
                  AND ($9::text IS NULL OR m.message_id = $9)
                  AND ($12::text IS NULL OR m.credential = $12)
                  AND ($13::text IS NULL OR EXISTS (
                      SELECT FROM recipients r WHERE r.shard = m.shard AND r.message_id = m.id AND r.message_id BETWEEN $10 AND $11
                        AND split_part(r.address, '@', -1) = $13))
                  AND ($14::text[] IS NULL OR EXISTS (
                      SELECT FROM recipients r WHERE r.shard = m.shard AND r.message_id = m.id AND r.message_id BETWEEN $10 AND $11
                        AND r.status = ANY ($14)))
                "#,
                project.uuid(),
                &candidates.iter().map(|id| MessageId::from_uuid(*id).shard().value()).collect::<Vec<_>>(),
                &candidates,
                filter.mode.map(Mode::name),
                filter.from,
                filter.tag,
                filter.q,
                filter.batch.map(BatchId::uuid),
                filter.message_id,
                least,
                most,
                filter.credential,
                filter.domain,
                statuses.as_deref() as Option<&[&str]>,
            )
            .fetch_all(conn)
        )?;
        let found = rows.into_iter().map(MessageRow::decode).collect::<Result<_, _>>()?;
        Ok(Step { found, last })
    }

    async fn step_scheduled(
        &self,
        project: ProjectId,
        filter: &MessageFilter,
        before: Option<MessageId>,
        step: i64,
    ) -> Result<Step, StoreError> {
        let (first, end) = bounds(filter, before);
        let ids: Option<Vec<Uuid>> = filter.ids.as_ref().map(|ids| ids.iter().map(|id| id.uuid()).collect());
        let rows = on_pool!(
            self,
            "scheduled_messages.list",
            conn,
            sqlx::query_as!(
                ScheduledRow,
                r#"
                SELECT id, project_id, mode, send_at, created_at, expires_at, version, summary, tags, idempotency_key,
                    batch_id, template, charged, ''::bytea AS "request!"
                FROM scheduled_messages
                WHERE project_id = $1 AND id >= $2 AND id < $3 AND ($4::uuid[] IS NULL OR id = ANY ($4))
                  AND ($6::uuid IS NULL OR batch_id = $6)
                ORDER BY id DESC LIMIT $5
                "#,
                project.uuid(),
                first,
                end,
                ids.as_deref(),
                step,
                filter.batch.map(BatchId::uuid),
            )
            .fetch_all(conn)
        )?;
        let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < step);
        let last = rows.last().map(|row| MessageId::from_uuid(row.id)).filter(|_| !is_last);
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let message = StoredMessage::from(row.decode()?.stored);
            if filter.takes(&message) {
                found.push(message);
            }
        }
        Ok(Step { found, last })
    }

    /// These messages with the numbers of their recipients by state, and the first of them.
    async fn with_recipients(&self, messages: Vec<StoredMessage>) -> Result<Vec<ListedMessage>, StoreError> {
        let sent: Vec<_> = messages.iter().filter(|message| message.scheduled.is_none()).map(|m| m.id).collect();
        let mut known = self.count_recipients(&sent).await?;
        let listed = messages.into_iter().map(|message| {
            let (counts, recipients) = match &message.scheduled {
                None => known.remove(&message.id).unwrap_or_default(),
                Some(scheduled) => {
                    let recipients = StoredRecipient::of_scheduled(scheduled);
                    let mut counts = Counts::default();
                    for recipient in &recipients {
                        counts.count(recipient.status, 1);
                    }
                    let named = recipients.into_iter().take(NAMED).map(|recipient| ListedRecipient {
                        id: recipient.id,
                        email: recipient.address,
                        kind: recipient.kind,
                        status: recipient.status,
                    });
                    (counts, named.collect())
                }
            };
            ListedMessage { message, counts, recipients }
        });
        Ok(listed.collect())
    }

    async fn count_recipients(
        &self,
        ids: &[MessageId],
    ) -> Result<HashMap<MessageId, (Counts, Vec<ListedRecipient>)>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let (least, most) = crate::store::bounds(ids.iter().map(|id| id.uuid()));
        let rows = on_pool!(
            self,
            "recipients.count",
            conn,
            sqlx::query!(
                r#"
                SELECT w.id AS "id!", c.counts AS "counts!", f.first AS "first!"
                FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
                CROSS JOIN LATERAL (
                    SELECT coalesce(jsonb_object_agg(n.status, n.number), '{}') AS counts FROM (
                        SELECT s.status, count(*) AS number FROM (
                            -- A delivery under a lease is `sending`.
                            SELECT CASE WHEN r.settled_at IS NULL AND d.lease_token IS NOT NULL THEN 'sending'
                                        ELSE r.status END AS status
                            FROM recipients r LEFT JOIN deliveries d ON d.shard = r.shard AND d.id = r.id
                            WHERE r.shard = w.shard AND r.message_id = w.id AND r.message_id BETWEEN $4 AND $5) AS s
                        GROUP BY s.status) AS n) AS c
                CROSS JOIN LATERAL (
                    SELECT coalesce(jsonb_agg(to_jsonb(p) ORDER BY p.position), '[]') AS first FROM (
                        SELECT r.id, r.position, r.address, r.kind,
                            CASE WHEN r.settled_at IS NULL AND d.lease_token IS NOT NULL THEN 'sending'
                                 ELSE r.status END AS status
                        FROM recipients r LEFT JOIN deliveries d ON d.shard = r.shard AND d.id = r.id
                        WHERE r.shard = w.shard AND r.message_id = w.id AND r.message_id BETWEEN $4 AND $5
                        ORDER BY r.position LIMIT $3) AS p) AS f
                "#,
                &ids.iter().map(|id| id.shard().value()).collect::<Vec<_>>(),
                &ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
                i64::try_from(NAMED).unwrap_or(5),
                least,
                most,
            )
            .fetch_all(conn)
        )?;
        let mut known = HashMap::with_capacity(rows.len());
        for row in rows {
            let id = MessageId::from_uuid(row.id);
            let mut counts = Counts::default();
            let corrupt = |error: serde_json::Error| StoreError::corrupt("recipients", "status", id, error.to_string());
            let by_status: HashMap<String, u32> = serde_json::from_value(row.counts).map_err(corrupt)?;
            for (name, number) in by_status {
                counts.count(decoded(RecipientStatus::parse(&name), ("recipients", "status"), id, &name)?, number);
            }
            let first: Vec<FirstRow> = serde_json::from_value(row.first).map_err(corrupt)?;
            let first = first.into_iter().map(|row| {
                Ok(ListedRecipient {
                    id: RecipientId::from_uuid(Uuid::try_parse(&row.id).unwrap_or_default()),
                    kind: decoded(RecipientKind::parse(&row.kind), ("recipients", "kind"), id, &row.kind)?,
                    status: decoded(RecipientStatus::parse(&row.status), ("recipients", "status"), id, &row.status)?,
                    email: row.address,
                })
            });
            known.insert(id, (counts, first.collect::<Result<Vec<_>, StoreError>>()?));
        }
        Ok(known)
    }
}

#[derive(Deserialize)]
struct FirstRow {
    id: String,
    address: String,
    kind: String,
    status: String,
}

impl MessageFilter {
    /// The states of recipients that messages must have; `None`: any.
    fn stored_statuses(&self) -> Option<Vec<&'static str>> {
        let names = || self.statuses.iter().flat_map(|status| status.stored()).map(|status| status.name());
        (!self.statuses.is_empty()).then(|| names().collect())
    }

    /// What the statement asks of a message that is sent, asked of one that waits.
    fn takes(&self, message: &StoredMessage) -> bool {
        let Some(scheduled) = &message.scheduled else { return true };
        let recipients = &scheduled.summary.recipients;
        let is_to = |to: &str| recipients.iter().any(|recipient| recipient.email.eq_ignore_ascii_case(to));
        let is_at = |domain: &str| {
            recipients.iter().any(|recipient| recipient.email.rsplit_once('@').is_some_and(|(_, at)| at == domain))
        };
        let sender = message.author.rsplit_once('<').map_or(&*message.author, |(_, rest)| rest.trim_end_matches('>'));
        let has_tag = |tag: &str| message.tags.as_array().is_some_and(|tags| tags.iter().any(|known| known == tag));
        self.mode.is_none_or(|mode| message.mode == mode)
            && self.from.as_deref().is_none_or(|from| sender.eq_ignore_ascii_case(from))
            && self.tag.as_deref().is_none_or(has_tag)
            && self.q.as_deref().is_none_or(|q| message.subject.to_lowercase().contains(&q.to_lowercase()))
            && self.to.as_deref().is_none_or(is_to)
            && self.domain.as_deref().is_none_or(is_at)
            && self.message_id.as_deref().is_none_or(|id| message.message_id == id)
            && (self.credential.is_none() || self.credential == message.credential)
    }
}
