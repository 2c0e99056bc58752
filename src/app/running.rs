//! A running service: what may be asked of it, and how it ends.

use tokio_util::sync::CancellationToken;

use super::Service;

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything in hand was finished.
    Drained,
    /// Work in hand was dropped; leases bring it back.
    Aborted,
}

impl Service {
    /// The database that the service uses.
    pub fn database_url(&self) -> &str {
        &self.config.database.url
    }

    /// Waits until a part of the service has died; gives its name. What is left of the service is to be stopped.
    pub async fn died(&self) -> &'static str {
        self.shutdown.died().await
    }

    /// Reads shaping and rules anew; the error says why the ones before stay in force.
    pub fn reload(&self) -> Result<bool, String> {
        self.traffic.reload()
    }

    /// Takes nothing new, waits for what is in hand, and drops it when the configured time is over or
    /// `abort` falls.
    pub async fn stop(self, abort: &CancellationToken) -> Ended {
        self.shutdown.soft.cancel();
        // The writers end when nobody can hand them anything.
        drop(self.door);
        self.shutdown.tasks.close();
        let ended = tokio::select! {
            () = self.shutdown.tasks.wait() => Ended::Drained,
            () = abort.cancelled() => Ended::Aborted,
            () = tokio::time::sleep(self.config.shutdown.drain.0) => Ended::Aborted,
        };
        self.shutdown.hard.cancel();
        self.shutdown.tasks.wait().await;
        self.store.close().await;
        ended
    }
}
