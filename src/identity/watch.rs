//! Domains are looked at when it is time, by whichever process gets to it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use super::{ChangeError, Domains};
use crate::shutdown::Shutdown;
use crate::store::accounts::domain_checks::CheckStored;
use crate::store::accounts::domains::StoredDomain;

/// How often it is asked which domains are due.
const EVERY: Duration = Duration::from_secs(5);
/// Domains that are looked at at once.
const AT_ONCE: usize = 8;
/// Domains that one process takes at a time.
const TAKEN: u8 = 16;

impl Domains {
    /// Looks at domains that are due, until the service stops.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            match self.store.take_due_domains(i64::from(TAKEN)).await {
                Ok(due) => {
                    let is_full = due.len() == usize::from(TAKEN);
                    stream::iter(due).for_each_concurrent(AT_ONCE, |domain| self.look_after(domain)).await;
                    if is_full && !shutdown.soft.is_cancelled() {
                        continue;
                    }
                }
                Err(error) => tracing::debug!(%error, "sending domains are looked at later"),
            }
            if !shutdown.pause(self.rng.jitter(EVERY, 0.2)).await {
                return;
            }
        }
    }

    async fn look_after(&self, domain: StoredDomain) {
        let name = domain.name.clone();
        if let Err(error) = self.look_after_it(domain).await {
            tracing::warn!(domain = name, %error, "a sending domain is looked at again in two minutes");
        }
    }

    async fn look_after_it(&self, domain: StoredDomain) -> Result<(), ChangeError> {
        let found = self.in_full(domain).await?;
        match self.rotate_if_due(&found).await {
            Ok(false) => {}
            Ok(true) => tracing::info!(domain = found.domain.name, "new DKIM keys wait for their records"),
            // It is looked at all the same.
            Err(error) => tracing::warn!(domain = found.domain.name, %error, "new DKIM keys are made later"),
        }
        let before = found.domain.standing.state;
        let stored = self.check(&found).await?;
        if stored == CheckStored::Stored {
            for published in self.publish_missing(&found.domain).await? {
                match published.result {
                    Ok(()) => tracing::info!(host = published.host, "a record that was missing is published"),
                    Err(why) => {
                        tracing::warn!(host = published.host, why, "a record that is missing cannot be published");
                    }
                }
            }
        }
        if before.is_good() {
            self.ask_lists(&found).await?;
        }
        tracing::debug!(domain = found.domain.name, before = before.name(), "a sending domain was looked at");
        Ok(())
    }
}
