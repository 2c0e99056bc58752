//! The store's clock, measured anew and anew, in every process whatever its roles; and a word about a machine whose own
//! clock is wrong.

use std::time::Duration;

use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::clock::OFFSET_TOLERATED;
use crate::telemetry::metrics::Metrics;

/// How often the store is asked what time it is.
const EVERY: Duration = Duration::from_secs(2);
/// Measurements between two words about the same wrong clock.
const SAY_EVERY: u32 = 150;

/// Measures the store's clock.
pub struct Timekeeper {
    pub store: Store,
    pub metrics: std::sync::Arc<Metrics>,
}

impl Timekeeper {
    pub async fn run(self, shutdown: Shutdown) {
        let mut said = 0_u32;
        loop {
            let offset = self.store.clock().offset();
            self.metrics.clock_offset_seconds.set(offset.as_seconds_f64());
            if offset.unsigned_abs() > OFFSET_TOLERATED {
                if said.is_multiple_of(SAY_EVERY) {
                    let seconds = offset.as_seconds_f64();
                    tracing::warn!(
                        clock.offset_seconds = seconds,
                        "this machine's clock is wrong; mail goes by the store's, certificates and tokens do not"
                    );
                }
                said = said.wrapping_add(1);
            } else {
                said = 0;
            }
            if !shutdown.pause(EVERY).await {
                return;
            }
            // A store that is away has its own warnings; time goes on from the last measurement meanwhile.
            if let Err(error) = self.store.measure_clock().await {
                tracing::debug!(%error, "the store's clock could not be read");
            }
        }
    }
}
