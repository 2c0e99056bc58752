//! Stopping in two steps: a soft token (take nothing new, finish what is in hand), then a hard one
//! (drop it). Passed as a value, so that several services may run in one process.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The two tokens and the tasks that heed them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take nothing new.
    pub soft: CancellationToken,
    /// Stop at once.
    pub hard: CancellationToken,
    pub tasks: TaskTracker,
}

impl Shutdown {
    /// Runs `task` until it ends or the hard token falls.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let hard = self.hard.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = hard.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Waits for `delay` of time or the soft token, whichever is first; `false` when stopping.
    pub async fn pause(&self, delay: std::time::Duration) -> bool {
        tokio::select! {
            () = self.soft.cancelled() => false,
            () = tokio::time::sleep(delay) => true,
        }
    }
}
