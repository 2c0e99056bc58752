//! Deliveries that wait, written straight into the tables: the backlog that a test meets.

use mailwright::domain::shard::{SHARDS, Shard};

use super::database::Database;

/// Messages of one recipient each, ready to be delivered.
pub struct Backlog<'a> {
    /// By name; made if it is new, with an id before those of all others: who is favoured by order is the backlog.
    pub project: &'a str,
    pub rows: usize,
    /// `None`: one after the other in all of them.
    pub shard: Option<Shard>,
    /// The lane as SQL over the row's number `n`. Its recipients are at this name `.example`.
    pub lane: &'a str,
}

impl Backlog<'_> {
    pub async fn write(&self, database: &Database) {
        let Self { project, rows, lane, .. } = self;
        let values = SHARDS.map(|value| value.to_string()).join(",");
        let index = self.shard.map_or_else(|| "n % 64".to_owned(), |shard| shard.index().to_string());
        // A UUIDv7; its lowest six bits are the shard's index.
        let sql = format!(
            "INSERT INTO projects (id, name, created_at) VALUES (('00000000' || substr(md5('{project}'), 9))::uuid, '{project}', now()) ON CONFLICT (name) DO NOTHING; \
             WITH made AS MATERIALIZED ( \
                 SELECT n, {lane} AS lane, (SELECT id FROM projects WHERE name = '{project}') AS project, (ARRAY[{values}])[{index} + 1] AS shard, \
                     (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8' || \
                      substr(md5(random()::text), 1, 13) || lpad(to_hex({index}), 2, '0'))::uuid AS id \
                 FROM generate_series(0, {rows} - 1) AS n), \
             m AS (INSERT INTO messages (shard, id, project_id, mode, sender, author, subject, tags, metadata, priority, size, created_at) \
                 SELECT shard, id, project, 'live', 'a@backlog.example', 'a@backlog.example', 'Backlog', '[]', '{{}}', 1, 64, now() FROM made), \
             b AS (INSERT INTO message_bodies (shard, message_id, raw) \
                 SELECT shard, id, convert_to(E'Subject: Backlog\\r\\n\\r\\nbacklog\\r\\n', 'UTF8') FROM made), \
             r AS (INSERT INTO recipients (shard, message_id, id, position, kind, address, status) \
                 SELECT shard, id, id, 0, 'to', project_name.name || n || '@' || lane || '.example', 'queued' \
                 FROM made, (VALUES ('{project}')) AS project_name (name)) \
             INSERT INTO deliveries (shard, id, message_id, project_id, next_hop, priority, size, due_at, expires_at) \
             SELECT shard, id, id, project, lane, 1, 64, now(), now() + interval '1 day' FROM made"
        );
        database.execute(&sql).await;
    }
}
