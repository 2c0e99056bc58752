//! Stopping in two steps: a soft token (take nothing new, finish what is in hand), then a hard one (drop it). Passed as a
//! value, so that several services may run in one process. And the other way round: a part of the service that dies ends
//! the service, loudly, since one that goes on without it would accept and never deliver, or say that all is well.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How long what must not be dropped half way may go on after the hard token.
const LAST: Duration = Duration::from_secs(5);

/// The tokens and the tasks that heed them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take nothing new.
    pub soft: CancellationToken,
    /// Stop at once.
    pub hard: CancellationToken,
    pub tasks: TaskTracker,
    /// Falls when a part of the service has died; which one.
    died: (CancellationToken, Arc<OnceLock<&'static str>>),
}

impl Shutdown {
    /// What lets both tokens fall, the soft one first, when it is dropped.
    pub fn end_on_drop(&self) -> [DropGuard; 2] {
        [self.soft.clone().drop_guard(), self.hard.clone().drop_guard()]
    }

    /// Runs a job until it ends or the hard token falls. What becomes of it is its own affair.
    pub fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let hard = self.hard.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = hard.cancelled() => {}
                () = job => {}
            }
        });
    }

    /// Runs a part of the service, which ends only when the service stops.
    pub fn keep(&self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.keep_until(name, part, self.hard.clone().cancelled_owned());
    }

    /// Runs a part that may finish what it has in hand a little after the hard token.
    pub fn keep_last(&self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        let hard = self.hard.clone();
        self.keep_until(name, part, async move {
            hard.cancelled().await;
            tokio::time::sleep(LAST).await;
        });
    }

    fn keep_until(
        &self,
        name: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
        end: impl Future<Output = ()> + Send + 'static,
    ) {
        let this = self.clone();
        self.tasks.spawn(async move {
            let ended = tokio::select! {
                () = end => return,
                ended = AssertUnwindSafe(part).catch_unwind() => ended,
            };
            if ended.is_err() || !this.soft.is_cancelled() {
                let how = if ended.is_err() { "panicked" } else { "ended" };
                tracing::error!(part = name, how, "a part of the service died: the service stops");
                let (token, which) = &this.died;
                let _ = which.set(name);
                token.cancel();
            }
        });
    }

    /// Waits until a part of the service has died; gives its name.
    pub async fn died(&self) -> &'static str {
        let (token, which) = &self.died;
        token.cancelled().await;
        which.get().copied().unwrap_or("a part")
    }

    /// Waits for `delay` of time or the soft token, whichever is first; `false` when stopping.
    pub async fn pause(&self, delay: Duration) -> bool {
        tokio::select! {
            () = self.soft.cancelled() => false,
            () = tokio::time::sleep(delay) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_dies_is_told_and_a_job_that_does_is_not() {
        let shutdown = Shutdown::default();
        shutdown.spawn(async { panic!("a job") });
        shutdown.keep("a part that lives", std::future::pending());
        shutdown.tasks.close();
        assert!(shutdown.died().now_or_never().is_none());
        shutdown.keep("the settler", async { panic!("a defect") });
        assert_eq!(shutdown.died().await, "the settler");
        let shutdown = Shutdown::default();
        shutdown.keep("upkeep", async {});
        assert_eq!(shutdown.died().await, "upkeep", "it must not end by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn what_must_not_be_dropped_half_way_has_a_little_time() {
        let shutdown = Shutdown::default();
        let (done, is_done) = tokio::sync::oneshot::channel();
        shutdown.keep_last("the settler", async move {
            tokio::time::sleep(LAST / 2).await;
            let _ = done.send(());
        });
        shutdown.keep("upkeep", std::future::pending());
        shutdown.soft.cancel();
        shutdown.hard.cancel();
        shutdown.tasks.close();
        shutdown.tasks.wait().await;
        assert!(is_done.await.is_ok());
        assert!(shutdown.died().now_or_never().is_none(), "stopping is no death");
    }
}
