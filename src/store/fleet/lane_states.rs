//! How the lanes of all processes stand, as far as they are not simply open: each process writes its own few.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::domain::lane::{LanePhase, LaneSessions, LaneState};
use crate::store::{Store, StoreError, on_pool};

/// What was told longer ago is not shown.
const SHOWN_FOR: Duration = Duration::from_secs(30);

/// A lane as a process told of it.
#[derive(Debug, Clone)]
pub struct StoredLane {
    pub process: Uuid,
    pub state: LaneState,
    pub updated_at: Timestamp,
}

impl Store {
    /// Writes how this process's lanes stand; those that it no longer names are open.
    pub async fn put_lane_states(&self, process: Uuid, states: &[LaneState]) -> Result<(), StoreError> {
        let groups: Vec<String> = states.iter().map(|state| state.group.clone()).collect();
        let sources: Vec<String> = states.iter().map(|state| state.source.clone()).collect();
        let counts = |of: fn(&LaneState) -> u32| -> Vec<i32> {
            states.iter().map(|state| i32::try_from(of(state)).unwrap_or(i32::MAX)).collect()
        };
        let pause = |state: &LaneState| state.paused_for_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        self.within("lane_states.put", async {
            let mut conn = self.conn().await?;
            sqlx::query!(
                r#"
                DELETE FROM lane_states WHERE process_id = $1 AND (lane_group, source) NOT IN (
                    SELECT s.lane_group, s.source FROM unnest($2::text[], $3::text[]) AS s (lane_group, source))
                "#,
                process,
                &groups,
                &sources,
            )
            .execute(conn.get()?)
            .await?;
            sqlx::query!(
                r#"
                INSERT INTO lane_states (process_id, lane_group, source, provider, phase, paused_for_ms, sessions_in_use,
                    sessions_idle, sessions_window, sessions_limit, waiting, message_rate, connection_rate, updated_at)
                SELECT $1, s.*, now() FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                    $7::int[], $8::int[], $9::int[], $10::int[], $11::int[], $12::float8[], $13::float8[]) AS s
                ON CONFLICT (process_id, lane_group, source) DO UPDATE SET provider = EXCLUDED.provider,
                    phase = EXCLUDED.phase, paused_for_ms = EXCLUDED.paused_for_ms,
                    sessions_in_use = EXCLUDED.sessions_in_use, sessions_idle = EXCLUDED.sessions_idle,
                    sessions_window = EXCLUDED.sessions_window, sessions_limit = EXCLUDED.sessions_limit,
                    waiting = EXCLUDED.waiting, message_rate = EXCLUDED.message_rate,
                    connection_rate = EXCLUDED.connection_rate, updated_at = now()
                "#,
                process,
                &groups,
                &sources,
                &states.iter().map(|s| s.provider.clone()).collect::<Vec<_>>() as &[Option<String>],
                &states.iter().map(|s| s.phase.name().to_owned()).collect::<Vec<_>>(),
                &states.iter().map(pause).collect::<Vec<_>>() as &[Option<i64>],
                &counts(|s| s.sessions.in_use),
                &counts(|s| s.sessions.idle),
                &counts(|s| s.sessions.window),
                &counts(|s| s.sessions.limit),
                &counts(|s| s.waiting),
                &states.iter().map(|s| s.message_rate_per_second).collect::<Vec<_>>() as &[Option<f64>],
                &states.iter().map(|s| s.connection_rate_per_second).collect::<Vec<_>>() as &[Option<f64>],
            )
            .execute(conn.get()?)
            .await?;
            conn.keep().await?;
            Ok(())
        })
        .await
    }

    /// How lanes of that MX group stand in the processes that were heard of a moment ago.
    pub async fn list_lane_states(&self, group: &str) -> Result<Vec<StoredLane>, StoreError> {
        let rows = on_pool!(
            self,
            "lane_states.list",
            conn,
            sqlx::query!(
                r#"
                SELECT process_id, lane_group, source, provider, phase, paused_for_ms, sessions_in_use, sessions_idle,
                    sessions_window, sessions_limit, waiting, message_rate, connection_rate, updated_at
                FROM lane_states WHERE lane_group = $1 AND updated_at > now() - make_interval(secs => $2)
                ORDER BY process_id, source LIMIT 100
                "#,
                group,
                SHOWN_FOR.as_secs_f64(),
            )
            .fetch_all(conn)
        )?;
        let count = |count: i32| u32::try_from(count).unwrap_or(0);
        let lanes = rows.into_iter().map(|row| {
            let phase = LanePhase::parse(&row.phase)
                .ok_or_else(|| StoreError::corrupt("lane_states", "phase", row.process_id, &row.phase))?;
            let state = LaneState {
                group: row.lane_group,
                source: row.source,
                provider: row.provider,
                phase,
                paused_for_ms: row.paused_for_ms.and_then(|ms| u64::try_from(ms).ok()),
                sessions: LaneSessions {
                    in_use: count(row.sessions_in_use),
                    idle: count(row.sessions_idle),
                    window: count(row.sessions_window),
                    limit: count(row.sessions_limit),
                },
                waiting: count(row.waiting),
                message_rate_per_second: row.message_rate,
                connection_rate_per_second: row.connection_rate,
            };
            Ok(StoredLane { process: row.process_id, state, updated_at: row.updated_at })
        });
        lanes.collect()
    }
}
