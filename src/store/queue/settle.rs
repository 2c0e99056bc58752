//! Settling: what a try led to, written in one commit. Attempt, state and event, or a lease that was lost.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::clock::{Rng, Timestamp};
use crate::domain::delivery::{Next, Settlement};
use crate::domain::id::{AttemptId, EventId, RecipientId};
use crate::domain::outcome::{AttemptReport, Outcome};
use crate::store::{OwnedConnection, StoreError, bounds, on_connection};

impl OwnedConnection {
    /// Writes what tries led to: attempts, states and events, in one commit. Gives the recipients whose lease was no longer
    /// ours: of those only the attempt is recorded.
    pub async fn settle_deliveries(
        &mut self,
        settlements: &[&Settlement],
        rng: &dyn Rng,
    ) -> Result<HashSet<RecipientId>, StoreError> {
        let (now, era) = (self.store.now(), self.store.era());
        let mut columns = Columns::default();
        for settlement in settlements {
            columns.push(settlement, rng);
        }
        let ours = on_connection!(self, "deliveries.settle", conn, settle(conn, &columns, now, era))?;
        let recipients = settlements.iter().map(|settlement| settlement.delivery.recipient);
        Ok(recipients.filter(|recipient| !ours.contains(&recipient.uuid())).collect())
    }
}

impl OwnedConnection {
    /// Which of these settlements' attempts are on disk: those of a commit whose answer was lost.
    pub async fn written_attempts(&mut self, settlements: &[&Settlement]) -> Result<HashSet<AttemptId>, StoreError> {
        on_connection!(self, "attempts.find_written", conn, find_written(conn, settlements))
    }
}

async fn find_written(conn: &mut PgConnection, settlements: &[&Settlement]) -> Result<HashSet<AttemptId>, StoreError> {
    let (first, last) = bounds(settlements.iter().map(|s| s.delivery.message.uuid()));
    let rows = sqlx::query_scalar!(
        r#"
        SELECT a.id FROM unnest($1::int[], $2::uuid[], $3::uuid[]) AS s (shard, message_id, id)
        JOIN attempts a ON a.shard = s.shard AND a.message_id = s.message_id AND a.id = s.id
            AND a.message_id BETWEEN $4 AND $5
        "#,
        &settlements.iter().map(|s| s.delivery.lease.shard.value()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.delivery.message.uuid()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.attempt.uuid()).collect::<Vec<_>>(),
        first,
        last,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(AttemptId::from_uuid).collect())
}

/// One row a settlement, by column; the names are those in the statement.
#[derive(Default)]
struct Columns<'s> {
    shard: Vec<i32>,
    id: Vec<Uuid>,
    token: Vec<Uuid>,
    attempt: Vec<i32>,
    message_id: Vec<Uuid>,
    due_at: Vec<Option<Timestamp>>,
    status: Vec<&'static str>,
    settled_at: Vec<Option<Timestamp>>,
    event_id: Vec<Uuid>,
    event_type: Vec<&'static str>,
    data: Vec<serde_json::Value>,
    attempt_id: Vec<Uuid>,
    outcome: Vec<&'static str>,
    class: Vec<&'s str>,
    started_at: Vec<Timestamp>,
    finished_at: Vec<Timestamp>,
    duration_ms: Vec<i32>,
    stage: Vec<Option<&'static str>>,
    provider: Vec<Option<&'s str>>,
    host: Vec<Option<&'s str>>,
    ip: Vec<Option<&'s str>>,
    source_ip: Vec<Option<&'s str>>,
    tls: Vec<Option<String>>,
    reply_code: Vec<Option<i16>>,
    reply_status: Vec<Option<String>>,
    reply_text: Vec<Cow<'s, str>>,
    rule: Vec<Option<&'s str>>,
    confidence: Vec<Option<i16>>,
    action: Vec<Option<String>>,
    transcript: Vec<&'s str>,
    charged: Vec<bool>,
}

impl<'s> Columns<'s> {
    fn push(&mut self, settlement: &'s Settlement, rng: &dyn Rng) {
        let Settlement { delivery, transition, report, .. } = settlement;
        let (lease, outcome) = (delivery.lease, &report.outcome);
        let (reply, trouble) = (outcome.reply(), outcome.trouble());
        let rule = trouble.and_then(|trouble| trouble.rule.as_ref());
        self.shard.push(lease.shard.value());
        self.id.push(lease.id);
        self.token.push(lease.token);
        self.attempt.push(lease.attempt);
        self.message_id.push(delivery.message.uuid());
        self.due_at.push(match transition.next {
            Next::Due(at) => Some(at),
            Next::Settled => None,
        });
        self.status.push(transition.status.name());
        self.settled_at.push(transition.status.is_settled().then_some(settlement.finished_at));
        self.event_id.push(EventId::new_in(lease.shard, settlement.finished_at, rng).uuid());
        self.event_type.push(transition.event.name());
        self.data.push(event_data(report, lease.attempt));
        self.attempt_id.push(settlement.attempt.uuid());
        self.outcome.push(outcome.name());
        self.class.push(outcome.class());
        self.started_at.push(settlement.started_at);
        self.finished_at.push(settlement.finished_at);
        let spent = settlement.finished_at - settlement.started_at;
        self.duration_ms.push(i32::try_from(spent.whole_milliseconds()).unwrap_or(i32::MAX));
        self.stage.push(report.stage.map(crate::domain::stage::Stage::name));
        self.provider.push(report.provider.as_deref());
        self.host.push(report.host.as_deref());
        self.ip.push(report.ip.as_deref());
        self.source_ip.push(report.source_ip.as_deref());
        self.tls.push(report.tls.as_ref().map(ToString::to_string));
        self.reply_code.push(reply.and_then(|reply| i16::try_from(reply.code).ok()));
        self.reply_status.push(reply.and_then(|reply| reply.enhanced).map(|status| status.to_string()));
        self.reply_text.push(outcome.text());
        self.rule.push(rule.map(|(id, _)| &**id));
        self.confidence.push(rule.map(|(_, confidence)| i16::from(*confidence)));
        self.action.push(trouble.map(|trouble| trouble.action.to_string()));
        self.transcript.push(&report.transcript);
        self.charged.push(outcome.speaks_of_server());
    }
}

/// What the event says beside its type.
fn event_data(report: &AttemptReport, attempt: i32) -> serde_json::Value {
    let reply = report.outcome.reply();
    let mut data = json!({
        "attempt": attempt,
        "reply": {
            "code": reply.map(|reply| reply.code),
            "enhanced": reply.and_then(|reply| reply.enhanced).map(|status| status.to_string()),
            "text": report.outcome.text(),
            "host": report.host,
            "class": report.outcome.class(),
        },
    });
    if let Outcome::Suppressed(why) = &report.outcome {
        data["suppression"] = json!(why);
    }
    data
}

/// One statement is the whole transaction: a round trip for each table would cost more than the rows. Returns the
/// deliveries that were ours.
async fn settle(
    conn: &mut PgConnection,
    columns: &Columns<'_>,
    now: Timestamp,
    era: i16,
) -> Result<HashSet<Uuid>, StoreError> {
    let (first, last) = bounds(columns.message_id.iter().copied());
    let rows = sqlx::query_scalar!(
        r#"
        WITH
        -- One row a settlement.
        s AS MATERIALIZED (
            SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::int[], $5::uuid[], $6::timestamptz[], $7::text[],
                $8::timestamptz[], $9::uuid[], $10::text[], $11::jsonb[], $12::uuid[], $13::text[], $14::text[],
                $15::timestamptz[], $16::timestamptz[], $17::int[], $18::text[], $19::text[], $20::text[], $21::text[],
                $22::text[], $23::text[], $24::smallint[], $25::text[], $26::text[], $27::text[], $28::smallint[],
                $29::text[], $30::text[], $35::boolean[])
            AS s (shard, id, token, attempt, message_id, due_at, status, settled_at, event_id, event_type, data,
                attempt_id, outcome, class, started_at, finished_at, duration_ms, stage, provider, host, ip, source_ip,
                tls, reply_code, reply_status, reply_text, rule, confidence, action, transcript, charged)),
        -- Attempts are written for all, also for those whose lease was lost.
        attempts_ AS (
            INSERT INTO attempts (shard, message_id, id, recipient_id, number, outcome, class, started_at, duration_ms,
                stage, provider, host, ip, source_ip, tls, reply_code, reply_status, reply_text, rule, confidence,
                action, transcript)
            SELECT s.shard, s.message_id, s.attempt_id, s.id, s.attempt, s.outcome, s.class, s.started_at, s.duration_ms,
                s.stage, s.provider, s.host, s.ip, s.source_ip, s.tls, s.reply_code, s.reply_status, s.reply_text,
                s.rule, s.confidence, s.action, s.transcript
            FROM s ON CONFLICT DO NOTHING),
        -- What is settled leaves the queue; also when its lease ran out and nobody has tried since (same attempt, no token).
        gone AS (
            DELETE FROM deliveries d USING s
            WHERE s.due_at IS NULL AND d.shard = s.shard AND d.id = s.id AND d.attempt = s.attempt
              AND (d.lease_token = s.token OR d.lease_token IS NULL)
            RETURNING d.project_id, d.mode, s.*),
        -- What is deferred goes back to waiting, if its lease is still ours. Found by key: to compare tokens so keeps the
        -- planner from walking all that is leased.
        back AS (
            UPDATE deliveries d SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, begun_at = NULL,
                revoked_at = NULL, due_at = GREATEST(s.due_at, $34), ready = false,
                as_of = CASE WHEN d.as_of IS NOT NULL AND s.due_at <= $34 THEN s.due_at END, held = NULL, charged = s.charged,
                uncertain = d.uncertain + CASE WHEN s.outcome = 'uncertain' THEN 1 ELSE 0 END
            FROM s
            WHERE s.due_at IS NOT NULL AND d.shard = s.shard AND d.id = s.id
              AND d.lease_token IS NOT DISTINCT FROM s.token
            RETURNING d.project_id, d.mode, s.*),
        ours AS MATERIALIZED (SELECT * FROM gone UNION ALL SELECT * FROM back),
        -- The recipient's state, and the number of its newest event.
        recipients_ AS (
            UPDATE recipients r SET status = o.status, attempts = o.attempt, settled_at = o.settled_at,
                reply_code = o.reply_code, reply_status = o.reply_status, reply_text = o.reply_text,
                reply_host = o.host, reply_class = o.class, events = r.events + 1
            FROM ours o
            WHERE r.shard = o.shard AND r.message_id = o.message_id AND r.id = o.id AND r.settled_at IS NULL
              AND r.message_id BETWEEN $31 AND $32
            RETURNING r.shard, r.message_id, r.id, r.events, o.project_id, o.mode, o.event_id, o.event_type,
                o.finished_at, o.data),
        events_ AS (
            INSERT INTO events (shard, id, project_id, message_id, recipient_id, mode, sequence, type, occurred_at, data,
                era, xid)
            SELECT r.shard, r.event_id, r.project_id, r.message_id, r.id, r.mode, r.events, r.event_type, r.finished_at,
                r.data, $33, pg_current_xact_id()
            FROM recipients_ r)
        SELECT o.id AS "id!" FROM ours o
        "#,
        &columns.shard,
        &columns.id,
        &columns.token,
        &columns.attempt,
        &columns.message_id,
        &columns.due_at as &[Option<Timestamp>],
        &columns.status as &[&str],
        &columns.settled_at as &[Option<Timestamp>],
        &columns.event_id,
        &columns.event_type as &[&str],
        &columns.data,
        &columns.attempt_id,
        &columns.outcome as &[&str],
        &columns.class as &[&str],
        &columns.started_at,
        &columns.finished_at,
        &columns.duration_ms,
        &columns.stage as &[Option<&str>],
        &columns.provider as &[Option<&str>],
        &columns.host as &[Option<&str>],
        &columns.ip as &[Option<&str>],
        &columns.source_ip as &[Option<&str>],
        &columns.tls as &[Option<String>],
        &columns.reply_code as &[Option<i16>],
        &columns.reply_status as &[Option<String>],
        &columns.reply_text.iter().map(|text| &**text).collect::<Vec<_>>() as &[&str],
        &columns.rule as &[Option<&str>],
        &columns.confidence as &[Option<i16>],
        &columns.action as &[Option<String>],
        &columns.transcript as &[&str],
        first,
        last,
        era,
        now,
        &columns.charged,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().collect())
}
