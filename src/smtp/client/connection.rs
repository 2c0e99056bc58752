//! A connection as it counts against its lane's limit: from before it is made until it is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;
use tokio::sync::Notify;

use crate::telemetry::metrics::GaugeGuard;

/// Connections that are open, or being made or closed; and a bell for each end.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    count: Arc<AtomicUsize>,
    pub closed: Arc<Notify>,
}

impl Connections {
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Counts one more connection. The caller checks the limit, and must not let two tasks do so at once.
    pub fn add(&self) -> Counted {
        self.count.fetch_add(1, Ordering::AcqRel);
        Counted { of: self.clone() }
    }
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Counted {
    of: Connections,
}

impl Drop for Counted {
    fn drop(&mut self) {
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
