//! What the processes tell each other: who delivers, how their lanes stand, what each source address has sent today.

use std::collections::HashMap;
use std::time::Duration;

use time::Date;
use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::store::{Store, StoreError, on_pool};

/// A process that was seen within `live` seconds delivers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// In order of their ids.
    pub live: Vec<Uuid>,
}

/// A lane as a process told of it.
#[derive(Debug, Clone)]
pub struct StoredLane {
    pub process: Uuid,
    pub lane: String,
    pub state: serde_json::Value,
    pub updated_at: Timestamp,
}

impl Store {
    /// Says that this process delivers; gives who else does, itself included. Forgets those that have long been silent.
    pub async fn beat(&self, process: Uuid, live: Duration) -> Result<Members, StoreError> {
        self.within(async {
            let mut conn = self.conn().await?;
            sqlx::query!(
                "INSERT INTO processes (id, seen_at) VALUES ($1, now()) ON CONFLICT (id) DO UPDATE SET seen_at = now()",
                process,
            )
            .execute(conn.get()?)
            .await?;
            let live = sqlx::query_scalar!(
                "SELECT id FROM processes WHERE seen_at > now() - make_interval(secs => $1) ORDER BY id",
                live.as_secs_f64(),
            )
            .fetch_all(conn.get()?)
            .await?;
            conn.keep();
            Ok(Members { live })
        })
        .await
    }

    /// Whether every other live process was seen since this one's first beat: from then on all reckon with it.
    pub async fn is_known_to_others(&self, process: Uuid, live: Duration) -> Result<bool, StoreError> {
        let waiting = on_pool!(
            self,
            conn,
            sqlx::query_scalar!(
                "SELECT count(*) AS \"waiting!\" FROM processes p, processes me \
                 WHERE me.id = $1 AND p.id <> $1 AND p.seen_at > now() - make_interval(secs => $2) AND p.seen_at <= me.seen_at",
                process,
                live.as_secs_f64(),
            )
            .fetch_one(conn)
        )?;
        Ok(waiting == 0)
    }

    /// Takes a process off the list, and what it told of its lanes; and those that have been silent for long.
    pub async fn leave_fleet(&self, process: Uuid) -> Result<(), StoreError> {
        self.within(async {
            let mut conn = self.conn().await?;
            sqlx::query!("DELETE FROM processes WHERE id = $1 OR seen_at < now() - interval '1 hour'", process)
                .execute(conn.get()?)
                .await?;
            sqlx::query!(
                "DELETE FROM lane_states WHERE process_id = $1 OR updated_at < now() - interval '1 hour'",
                process,
            )
            .execute(conn.get()?)
            .await?;
            conn.keep();
            Ok(())
        })
        .await
    }

    /// Writes how this process's lanes stand; those that it no longer names are open.
    pub async fn put_lane_states(
        &self,
        process: Uuid,
        states: &[(String, serde_json::Value)],
    ) -> Result<(), StoreError> {
        let lanes: Vec<String> = states.iter().map(|(lane, _)| lane.clone()).collect();
        let values: Vec<_> = states.iter().map(|(_, state)| state.clone()).collect();
        self.within(async {
            let mut conn = self.conn().await?;
            sqlx::query!("DELETE FROM lane_states WHERE process_id = $1 AND NOT lane = ANY ($2)", process, &lanes)
                .execute(conn.get()?)
                .await?;
            sqlx::query!(
                "INSERT INTO lane_states (process_id, lane, state, updated_at) \
                 SELECT $1, s.lane, s.state, now() FROM unnest($2::text[], $3::jsonb[]) AS s (lane, state) \
                 ON CONFLICT (process_id, lane) DO UPDATE SET state = EXCLUDED.state, updated_at = now()",
                process,
                &lanes,
                &values,
            )
            .execute(conn.get()?)
            .await?;
            conn.keep();
            Ok(())
        })
        .await
    }

    /// How lanes of that MX group stand in the processes that were heard of a moment ago.
    pub async fn list_lane_states(&self, group: &str) -> Result<Vec<StoredLane>, StoreError> {
        on_pool!(
            self,
            conn,
            sqlx::query_as!(
                StoredLane,
                "SELECT process_id AS process, lane, state, updated_at FROM lane_states \
                 WHERE state ->> 'group' = $1 AND updated_at > now() - interval '30 seconds' ORDER BY process_id, lane LIMIT 100",
                group,
            )
            .fetch_all(conn)
        )
    }

    /// Adds what sources sent to providers; gives the day's totals of all of them.
    pub async fn add_source_usage(
        &self,
        day: Date,
        sent: &[((String, String), i64)],
    ) -> Result<HashMap<(String, String), u64>, StoreError> {
        let sources: Vec<String> = sent.iter().map(|((source, _), _)| source.clone()).collect();
        let providers: Vec<String> = sent.iter().map(|((_, provider), _)| provider.clone()).collect();
        let counts: Vec<i64> = sent.iter().map(|(_, count)| *count).collect();
        self.within(async {
            let mut conn = self.conn().await?;
            if !counts.is_empty() {
                sqlx::query!(
                    "INSERT INTO source_usage AS u (day, source, provider, messages) \
                     SELECT $1, s.source, s.provider, s.messages FROM unnest($2::text[], $3::text[], $4::bigint[]) \
                         AS s (source, provider, messages) \
                     ON CONFLICT (day, source, provider) DO UPDATE SET messages = u.messages + EXCLUDED.messages",
                    day,
                    &sources,
                    &providers,
                    &counts,
                )
                .execute(conn.get()?)
                .await?;
            }
            let rows = sqlx::query!("SELECT source, provider, messages FROM source_usage WHERE day = $1", day)
                .fetch_all(conn.get()?)
                .await?;
            conn.keep();
            let total = |messages: i64| u64::try_from(messages).unwrap_or(0);
            Ok(rows.into_iter().map(|row| ((row.source, row.provider), total(row.messages))).collect())
        })
        .await
    }
}
