//! What each source address has sent to each provider today: all processes together keep to its warm-up.

use std::collections::HashMap;

use time::Date;

use crate::store::{Store, StoreError, on_pool};

/// Days for which usage is kept.
const KEPT_DAYS: i32 = 30;

impl Store {
    /// Adds what sources sent to providers; returns the day's totals of all processes.
    pub async fn add_source_usage(
        &self,
        day: Date,
        sent: &[((String, String), i64)],
    ) -> Result<HashMap<(String, String), u64>, StoreError> {
        let sources: Vec<String> = sent.iter().map(|((source, _), _)| source.clone()).collect();
        let providers: Vec<String> = sent.iter().map(|((_, provider), _)| provider.clone()).collect();
        let counts: Vec<i64> = sent.iter().map(|(_, count)| *count).collect();
        self.within("source_usage.add", async {
            let mut conn = self.conn().await?;
            if !counts.is_empty() {
                sqlx::query!(
                    r#"
                    INSERT INTO source_usage AS u (day, source, provider, messages)
                    SELECT $1, s.source, s.provider, s.messages FROM unnest($2::text[], $3::text[], $4::bigint[])
                        AS s (source, provider, messages)
                    ON CONFLICT (day, source, provider) DO UPDATE SET messages = u.messages + EXCLUDED.messages
                    "#,
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
            conn.keep().await?;
            let total = |messages: i64| u64::try_from(messages).unwrap_or(0);
            Ok(rows.into_iter().map(|row| ((row.source, row.provider), total(row.messages))).collect())
        })
        .await
    }
    /// Removes what was sent on days that are long over.
    pub async fn prune_source_usage(&self) -> Result<u64, StoreError> {
        let done = on_pool!(
            self,
            "source_usage.prune_source_usage",
            conn,
            sqlx::query!("DELETE FROM source_usage WHERE day < CURRENT_DATE - $1::int", KEPT_DAYS).execute(conn)
        )?;
        Ok(done.rows_affected())
    }
}
