//! Eras of the event log. A position in the log is (era, transaction, id). Transaction ids are those of one cluster: a
//! store that was dumped and restored into another one, or upgraded, counts anew, and what is written there must come
//! after what was written before. Each cluster that the store has lived in is an era, in order.
//!
//! On Citus each node counts its own transactions: a cursor there is one for each node, and shards do not move between
//! eras. A store set back to an earlier point of time in the same cluster keeps its era: its transaction ids go on, and
//! what was undone was never there.

use std::sync::atomic::Ordering;

use crate::store::{Store, StoreError, on_pool};

impl Store {
    /// Begins a new era if this cluster is not the one that the current era was written in; two processes may do so at
    /// once. Events that this process writes are of the current era from then on.
    pub async fn begin_era(&self) -> Result<(), StoreError> {
        let now = self.now();
        let era = on_pool!(
            self,
            "log_eras.begin",
            conn,
            sqlx::query_scalar!(
                r#"
                WITH
                newest AS (SELECT era, system_identifier FROM log_eras ORDER BY era DESC LIMIT 1),
                here AS (SELECT system_identifier FROM pg_control_system()),
                begun AS (
                    INSERT INTO log_eras (era, system_identifier, began_at)
                    SELECT COALESCE((SELECT era FROM newest), 0) + 1, here.system_identifier, $1 FROM here
                    WHERE NOT EXISTS (SELECT 1 FROM newest WHERE newest.system_identifier = here.system_identifier)
                    ON CONFLICT DO NOTHING RETURNING era)
                SELECT COALESCE((SELECT era FROM begun), (SELECT era FROM newest)) AS era
                "#,
                now,
            )
            .fetch_one(conn)
        )?;
        match era {
            Some(era) => self.era.store(era, Ordering::Release),
            // Somebody else began it in this very moment: theirs is read with the clock.
            None => self.measure_clock().await?,
        }
        Ok(())
    }
}
