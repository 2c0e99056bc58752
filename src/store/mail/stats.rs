//! Numbers of what became of a project's mail in a time: counted when they are asked for, over the messages of that time and
//! no others.

use std::collections::BTreeMap;

use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::id::ProjectId;
use crate::domain::report::GroupBy;
use crate::store::schema::partitions::first_id_at;
use crate::store::{Store, StoreError, on_pool};

/// Groups that are told.
const GROUPS_MAX: i64 = 1000;

/// Which mail is counted.
#[derive(Debug, Clone, Copy)]
pub struct StatsFilter {
    pub mode: Option<Mode>,
    pub since: Timestamp,
    pub until: Timestamp,
    pub group_by: Option<GroupBy>,
}

/// The numbers of one group.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// `None`: of everything.
    pub group: Option<String>,
    pub messages: i64,
    pub recipients: i64,
    /// By the recipients' states.
    pub by_status: BTreeMap<String, i64>,
    /// Of those that bounced, by the class of their last reply.
    pub bounces: BTreeMap<String, i64>,
    /// Seconds from when a message was accepted, or due, to when it was delivered: of half of those delivered, of 95 and of
    /// 99 in a hundred, at most so many.
    pub latency: Option<[f64; 3]>,
}

impl Store {
    /// The numbers of a project's mail, group by group in order of the groups' names; at most a thousand groups.
    pub async fn count_mail(&self, project: ProjectId, filter: &StatsFilter) -> Result<Vec<Stats>, StoreError> {
        let rows = on_pool!(
            self,
            "stats.count",
            conn,
            sqlx::query!(
                r#"
                WITH mail AS MATERIALIZED (
                    SELECT m.id, coalesce(m.send_at, m.created_at) AS at, r.status, r.settled_at,
                        CASE WHEN r.status = 'bounced' THEN coalesce(r.reply_class, '') END AS bounce,
                        CASE $5::text
                            WHEN 'day' THEN to_char(coalesce(m.send_at, m.created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                            WHEN 'hour' THEN
                                to_char(coalesce(m.send_at, m.created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:00:00"Z"')
                            WHEN 'domain' THEN split_part(r.address, '@', -1)
                            WHEN 'template' THEN coalesce(m.template, '')
                            WHEN 'provider' THEN coalesce(p.provider, '')
                            WHEN 'tag' THEN coalesce(t.tag, '')
                            ELSE '' END AS name
                    FROM messages m
                    JOIN recipients r ON r.shard = m.shard AND r.message_id = m.id AND r.message_id >= $2 AND r.message_id < $3
                    LEFT JOIN LATERAL (
                        SELECT a.provider FROM attempts a
                        WHERE a.shard = r.shard AND a.message_id = r.message_id AND a.recipient_id = r.id
                          AND a.number = r.attempts LIMIT 1) AS p ON $5 = 'provider'
                    LEFT JOIN LATERAL jsonb_array_elements_text(m.tags) AS t (tag) ON $5 = 'tag'
                    WHERE m.project_id = $1 AND m.id >= $2 AND m.id < $3 AND ($4::text IS NULL OR m.mode = $4)),
                groups AS (
                    SELECT name, count(DISTINCT id) AS messages, count(*) AS recipients,
                        percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM settled_at - at)::float8)
                            FILTER (WHERE status = 'delivered') AS latency
                    FROM mail GROUP BY name ORDER BY name LIMIT $6)
                SELECT g.name AS "name!", g.messages AS "messages!", g.recipients AS "recipients!", g.latency,
                    (SELECT jsonb_object_agg(s.status, s.number) FROM (
                        SELECT status, count(*) AS number FROM mail WHERE name = g.name GROUP BY status) AS s) AS "by_status!",
                    (SELECT jsonb_object_agg(b.bounce, b.number) FROM (
                        SELECT bounce, count(*) AS number FROM mail
                        WHERE name = g.name AND bounce IS NOT NULL GROUP BY bounce) AS b) AS bounces
                FROM groups g ORDER BY g.name
                "#,
                project.uuid(),
                first_id_at(filter.since),
                first_id_at(filter.until),
                filter.mode.map(Mode::name),
                filter.group_by.map(GroupBy::name),
                GROUPS_MAX,
            )
            .fetch_all(conn)
        )?;
        let numbers = |value: serde_json::Value| serde_json::from_value(value).unwrap_or_default();
        Ok(rows
            .into_iter()
            .map(|row| Stats {
                group: filter.group_by.map(|_| row.name),
                messages: row.messages,
                recipients: row.recipients,
                by_status: numbers(row.by_status),
                bounces: row.bounces.map(numbers).unwrap_or_default(),
                latency: row.latency.and_then(|latency| <[f64; 3]>::try_from(latency).ok()),
            })
            .collect())
    }
}
