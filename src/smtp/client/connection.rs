//! A connection as it counts against its lane's limit: from before it is made until it is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::telemetry::metrics::GaugeGuard;

/// Connections that are open, or being made or closed; and a bell for each end.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    count: Arc<AtomicUsize>,
    pub closed: Arc<Notify>,
}

/// All connections of the process, bounded in number: a bell rings when one is wanted and none is free.
#[derive(Debug)]
pub struct Sockets {
    free: Arc<Semaphore>,
    pub wanted: Notify,
}

impl Sockets {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(most)), wanted: Notify::new() })
    }

    /// Waits for one; `None`: never, since there are none.
    pub async fn one(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(one) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(one);
        }
        // Those that are kept idle are closed for it.
        self.wanted.notify_one();
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

impl Connections {
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Counts one more connection. The caller checks the limit, and must not let two tasks do so at once.
    pub fn add(&self) -> Counted {
        self.count.fetch_add(1, Ordering::AcqRel);
        Counted { of: self.clone(), socket: None }
    }
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Counted {
    of: Connections,
    socket: Option<OwnedSemaphorePermit>,
}

impl Counted {
    /// Holds one of the process's sockets as well.
    #[must_use]
    pub fn with(self, socket: Option<OwnedSemaphorePermit>) -> Self {
        // A temporary of its parts would count it twice.
        let mut counted = self;
        counted.socket = socket;
        counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        drop(self.socket.take());
        self.of.count.fetch_sub(1, Ordering::AcqRel);
        self.of.closed.notify_waiters();
    }
}

/// What a session holds for as long as it lives.
#[derive(Debug)]
pub struct Connection {
    _counted: Counted,
    _gauge: GaugeGuard,
}

impl Connection {
    pub fn new(counted: Counted, gauge: &IntGauge) -> Self {
        Self { _counted: counted, _gauge: GaugeGuard::new(gauge) }
    }
}
