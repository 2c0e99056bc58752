//! Reports that came back by mail: whose they are, kept once each, with the event that follows in the same commit.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::event::EventType;
use crate::domain::id::{MessageId, ProjectId, RecipientId, ReportId};
use crate::domain::report_kept::{ReportOutcome, ReportSource};
use crate::domain::shard::Shard;
use crate::sealing::Whose;
use crate::store::mail::later_events::{About, insert_later_event};
use crate::store::{Moment, Store, StoreError, decoded, on_pool};

/// Reports of one recipient that are kept.
const PER_RECIPIENT: i64 = 20;
/// Reports of one message that are shown.
const SHOWN: i64 = 100;
/// Recipients of one message that one notice is charged to.
const NAMED_MAX: i64 = 100;
/// How long what is nobody's is kept.
const NOBODYS_KEPT: std::time::Duration = std::time::Duration::from_hours(24 * 7);
/// Reports of an hour that are nobody's.
const NOBODYS: i64 = 500;

/// The recipient that a report is about.
#[derive(Debug, Clone)]
pub struct Attributed {
    pub shard: Shard,
    pub project: ProjectId,
    pub mode: Mode,
    pub message: MessageId,
    pub recipient: RecipientId,
    pub address: String,
}

/// What is kept of a report.
#[derive(Debug, Clone)]
pub struct KeptReport {
    pub received_at: Timestamp,
    pub source: ReportSource,
    pub envelope_from: String,
    pub envelope_to: String,
    pub meaning: String,
    pub outcome: ReportOutcome,
    pub detail: Value,
    /// The beginning of the letter.
    pub raw: Vec<u8>,
}

/// A report about to be stored.
#[derive(Debug)]
pub struct NewReport {
    pub id: ReportId,
    pub digest: Vec<u8>,
    pub about: Option<Attributed>,
    pub kept: KeptReport,
}

/// A report as it is shown.
#[derive(Debug)]
pub struct StoredReport {
    pub id: ReportId,
    pub recipient: Option<RecipientId>,
    pub kept: KeptReport,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportStored {
    New,
    /// It came before, or so many of this message did.
    Repeated,
    /// Too many that are nobody's.
    Full,
}

impl Store {
    /// The keys of tokens: first the one that makes them, the newest that every process knows by now, or else the oldest.
    pub async fn list_token_keys(&self) -> Result<Vec<(u8, [u8; 32])>, StoreError> {
        let now = self.now();
        let rows = on_pool!(
            self,
            "token_keys.list",
            conn,
            sqlx::query!(
                r#"
                SELECT id, secret, sealed FROM token_keys
                ORDER BY created_at <= $1::timestamptz - interval '2 minutes' DESC,
                    CASE WHEN created_at <= $1::timestamptz - interval '2 minutes' THEN created_at END DESC, created_at
                "#,
                now,
            )
            .fetch_all(conn)
        )?;
        let keys = rows.into_iter().map(|row| {
            let secret = self.open(row.secret, row.sealed, Whose::Tokens)?;
            let key = u8::try_from(row.id).ok().zip(secret.try_into().ok());
            decoded(key, ("token_keys", "secret"), row.id, "of another length")
        });
        keys.collect()
    }

    /// The recipient at a position of a message; of a whole message those of these addresses, or its only one. None: they are
    /// gone, erased, or nobody can say which.
    pub async fn attribute(
        &self,
        message: MessageId,
        position: Option<u16>,
        addresses: &[String],
    ) -> Result<Vec<Attributed>, StoreError> {
        let position = position.map(|position| i16::try_from(position).unwrap_or(i16::MAX));
        let rows = on_pool!(
            self,
            "reports.attribute",
            conn,
            sqlx::query!(
                r#"
                SELECT m.project_id, m.mode, r.id, r.address,
                    (SELECT count(*) FROM (SELECT FROM recipients o WHERE o.shard = $1 AND o.message_id = $2 LIMIT 2) two) AS "count!"
                FROM messages m JOIN recipients r ON r.shard = m.shard AND r.message_id = m.id
                WHERE m.shard = $1 AND m.id = $2 AND r.address NOT LIKE '%@erased.invalid'
                  AND ($3::smallint IS NULL OR r.position = $3)
                ORDER BY lower(r.address) = ANY($4) DESC, r.position LIMIT $5
                "#,
                message.shard().value(),
                message.uuid(),
                position,
                addresses,
                NAMED_MAX,
            )
            .fetch_all(conn)
        )?;
        let is_meant =
            |address: &str, count: i64| position.is_some() || count == 1 || addresses.contains(&address.to_lowercase());
        rows.into_iter()
            .filter(|row| is_meant(&row.address, row.count))
            .map(|row| {
                Ok(Attributed {
                    shard: message.shard(),
                    project: ProjectId::from_uuid(row.project_id),
                    mode: decoded(Mode::parse(&row.mode), ("messages", "mode"), message, &row.mode)?,
                    message,
                    recipient: RecipientId::from_uuid(row.id),
                    address: row.address,
                })
            })
            .collect()
    }

    /// The report that is known by a digest.
    pub async fn find_report(&self, digest: &[u8]) -> Result<Option<ReportId>, StoreError> {
        let found = on_pool!(
            self,
            "reports.find",
            conn,
            sqlx::query_scalar!("SELECT id FROM reports WHERE digest = $1", digest).fetch_optional(conn)
        )?;
        Ok(found.map(ReportId::from_uuid))
    }

    /// Keeps a report, once, with the event that follows from it.
    pub async fn put_report(
        &self,
        report: &NewReport,
        event: Option<&(EventType, Value)>,
        rng: &dyn Rng,
    ) -> Result<ReportStored, StoreError> {
        let at = self.moment(rng);
        on_pool!(self, "reports.put", conn, put(conn, report, event, at))
    }

    /// The reports about a message, newest first.
    pub async fn list_reports(&self, project: ProjectId, message: MessageId) -> Result<Vec<StoredReport>, StoreError> {
        let rows = on_pool!(
            self,
            "reports.list",
            conn,
            sqlx::query_as!(
                ReportRow,
                r#"
                SELECT id, received_at, source, envelope_from, envelope_to, meaning, outcome, recipient_id, detail, raw
                FROM reports WHERE message_id = $1 AND project_id = $2 ORDER BY id DESC LIMIT $3
                "#,
                message.uuid(),
                project.uuid(),
                SHOWN,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(ReportRow::decode).collect()
    }

    /// Reports that somebody has to look at, of all projects and of nobody, newest first; or the one with that id.
    pub async fn list_reports_to_look_at(
        &self,
        only: Option<ReportId>,
        limit: i64,
    ) -> Result<Vec<StoredReport>, StoreError> {
        let rows = on_pool!(
            self,
            "reports.list_to_look_at",
            conn,
            sqlx::query_as!(
                ReportRow,
                r#"
                SELECT id, received_at, source, envelope_from, envelope_to, meaning, outcome, recipient_id, detail, raw
                FROM reports WHERE CASE WHEN $1::uuid IS NULL THEN outcome IN ('review', 'unattributed') ELSE id = $1 END
                ORDER BY received_at DESC LIMIT $2
                "#,
                only.map(ReportId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(ReportRow::decode).collect()
    }

    /// Makes a key of tokens, under the next number; gives that. It makes tokens from two minutes later on.
    pub async fn add_token_key(&self, secret: &[u8; 32]) -> Result<i16, StoreError> {
        let (now, kept) = (self.now(), self.keep(secret, Whose::Tokens));
        on_pool!(
            self,
            "token_keys.add",
            conn,
            sqlx::query_scalar!(
                r#"
                INSERT INTO token_keys (id, secret, sealed, created_at)
                SELECT ((SELECT id FROM token_keys ORDER BY created_at DESC, id DESC LIMIT 1) + 1) % 256, $1, $3, $2
                ON CONFLICT (id) DO UPDATE
                SET secret = EXCLUDED.secret, sealed = EXCLUDED.sealed, created_at = EXCLUDED.created_at
                RETURNING id
                "#,
                kept.octets,
                now,
                kept.sealed,
            )
            .fetch_one(conn)
        )
    }

    /// Forgets reports that came before an instant, at most so many; how many they were.
    pub async fn forget_reports(&self, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
        let done = on_pool!(
            self,
            "reports.forget",
            conn,
            sqlx::query!(
                r#"
                DELETE FROM reports WHERE id IN (
                    SELECT id FROM reports WHERE received_at < $1 OR (message_id IS NULL AND received_at < $3)
                    ORDER BY received_at LIMIT $2)
                "#,
                before,
                limit,
                before.max(self.now() - NOBODYS_KEPT),
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected())
    }
}

struct ReportRow {
    id: Uuid,
    received_at: Timestamp,
    source: String,
    envelope_from: String,
    envelope_to: String,
    meaning: String,
    outcome: String,
    recipient_id: Option<Uuid>,
    detail: Value,
    raw: Vec<u8>,
}

impl ReportRow {
    fn decode(self) -> Result<StoredReport, StoreError> {
        let place = |column| ("reports", column);
        let mut raw = Vec::new();
        // What cannot be unzipped is shown as nothing.
        let _ = GzDecoder::new(&self.raw[..]).read_to_end(&mut raw);
        Ok(StoredReport {
            id: ReportId::from_uuid(self.id),
            recipient: self.recipient_id.map(RecipientId::from_uuid),
            kept: KeptReport {
                received_at: self.received_at,
                source: decoded(ReportSource::parse(&self.source), place("source"), self.id, &self.source)?,
                envelope_from: self.envelope_from,
                envelope_to: self.envelope_to,
                meaning: self.meaning,
                outcome: decoded(ReportOutcome::parse(&self.outcome), place("outcome"), self.id, &self.outcome)?,
                detail: self.detail,
                raw,
            },
        })
    }
}

async fn put(
    conn: &mut PgConnection,
    report: &NewReport,
    event: Option<&(EventType, Value)>,
    at: Moment<'_>,
) -> Result<ReportStored, StoreError> {
    let NewReport { about, kept, .. } = report;
    let mut tx = conn.begin().await?;
    if let Some(about) = about {
        // Whoever erases it meanwhile waits, or is waited for: then nothing is kept of it.
        let there = sqlx::query_scalar!(
            r#"
            SELECT 1 AS "one!" FROM recipients
            WHERE shard = $1 AND message_id = $2 AND id = $3 AND address = $4 FOR UPDATE
            "#,
            about.shard.value(),
            about.message.uuid(),
            about.recipient.uuid(),
            about.address,
        )
        .fetch_optional(&mut *tx)
        .await?;
        if there.is_none() {
            return Ok(ReportStored::Repeated);
        }
    }
    let done = sqlx::query!(
        r#"
        INSERT INTO reports (id, digest, received_at, source, envelope_from, envelope_to, meaning, outcome, project_id, mode,
            message_id, recipient_id, detail, raw)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
        WHERE CASE WHEN $11::uuid IS NULL
            THEN (SELECT count(*) FROM reports WHERE received_at > $3::timestamptz - interval '1 hour' AND message_id IS NULL) < $15
            ELSE $4 = 'link' OR (SELECT count(*) FROM reports WHERE message_id = $11 AND recipient_id = $12) < $16 END
        ON CONFLICT (digest) DO NOTHING
        "#,
        report.id.uuid(),
        report.digest,
        kept.received_at,
        kept.source.name(),
        kept.envelope_from,
        kept.envelope_to,
        kept.meaning,
        kept.outcome.name(),
        about.as_ref().map(|about| about.project.uuid()),
        about.as_ref().map(|about| about.mode.name()),
        about.as_ref().map(|about| about.message.uuid()),
        about.as_ref().map(|about| about.recipient.uuid()),
        kept.detail,
        zipped(&kept.raw),
        NOBODYS,
        PER_RECIPIENT,
    )
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        let known =
            sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM reports WHERE digest = $1) AS "known!""#, report.digest)
                .fetch_one(&mut *tx)
                .await?;
        return Ok(if known || about.is_some() { ReportStored::Repeated } else { ReportStored::Full });
    }
    if let (Some(about), Some((event_type, data))) = (about, event) {
        let Attributed { shard, project, mode, message, recipient, .. } = *about;
        let about = About { shard, project, mode, message, recipient };
        insert_later_event(&mut tx, about, *event_type, data, at).await?;
    }
    tx.commit().await?;
    Ok(ReportStored::New)
}

fn zipped(raw: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // A buffer takes what it is given.
    let _ = encoder.write_all(raw);
    encoder.finish().unwrap_or_default()
}
