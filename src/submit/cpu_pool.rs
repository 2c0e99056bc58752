//! Work for a processor, off the async threads: as many threads as there are cores, and none while there is nothing
//! to do. Results are given in small groups: what was signed together is stored together, and a thread is not woken
//! for every single one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Results in one group.
const GROUP: usize = 16;
/// What is done is given after this time, whatever is still to do in the group.
const HELD_MAX: Duration = Duration::from_millis(5);

/// Does its work; what it gives hands over the result.
type Work = Box<dyn FnOnce() -> HandOver + Send>;
type HandOver = Box<dyn FnOnce() + Send>;

/// Work that waits, and the threads at work.
#[derive(Default)]
pub struct CpuPool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    threads: usize,
}

impl CpuPool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of `work`; `None` when it panicked.
    pub async fn run<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, result) = oneshot::channel();
        let work: Work = Box::new(move || {
            let done = work();
            Box::new(move || {
                // The caller may have gone away.
                let _ = sender.send(done);
            })
        });
        if self.put(work) {
            let bench = Arc::clone(self);
            tokio::task::spawn_blocking(move || bench.work_off());
        }
        result.await.ok()
    }

    /// Puts work on the bench; says whether another thread is wanted for it.
    fn put(&self, work: Work) -> bool {
        let mut state = self.state();
        state.waiting.push_back(work);
        let is_wanted = state.threads < cores();
        state.threads += usize::from(is_wanted);
        is_wanted
    }

    /// The next group: this thread's part of what waits. Without work the thread ends.
    fn take(&self) -> Option<Vec<Work>> {
        let mut state = self.state();
        if state.waiting.is_empty() {
            state.threads -= 1;
            return None;
        }
        let part = state.waiting.len().div_ceil(cores()).min(GROUP);
        Some(state.waiting.drain(..part).collect())
    }

    fn work_off(&self) {
        while let Some(group) = self.take() {
            let mut done: Vec<HandOver> = Vec::with_capacity(group.len());
            let mut since = Instant::now();
            for work in group {
                // One that panics fails only itself: its caller is told by the dropped sender.
                done.extend(catch_unwind(AssertUnwindSafe(work)).ok());
                if since.elapsed() >= HELD_MAX {
                    for hand_over in done.drain(..) {
                        hand_over();
                    }
                    since = Instant::now();
                }
            }
            for hand_over in done {
                hand_over();
            }
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_result_comes_back_to_its_caller_and_a_panic_to_its_own() {
        let bench = Arc::<CpuPool>::default();
        let results = (0..100).map(|n| {
            let bench = Arc::clone(&bench);
            async move { bench.run(move || if n == 50 { panic!("on purpose") } else { n * 2 }).await }
        });
        let results = futures_util::future::join_all(results).await;
        for (n, result) in results.into_iter().enumerate() {
            assert_eq!(result, (n != 50).then_some(n * 2));
        }
        assert_eq!(bench.run(|| 1).await, Some(1), "the bench is as it was");
    }
}
