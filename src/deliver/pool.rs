//! Idle sessions, kept for the next message to the same host. Never two messages at once on one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::smtp::deadlines::Deadlines;
use super::smtp::session::{Failure, Peer, Session};
use crate::domain::route::TlsPolicy;
use crate::net::tls::TlsConfigs;
use crate::telemetry::metrics::Metrics;

/// What makes two sessions interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    host: String,
    address: std::net::SocketAddr,
    tls: TlsPolicy,
    username: Option<String>,
}

impl Key {
    fn of(peer: &Peer) -> Self {
        Self {
            host: peer.host.clone(),
            address: peer.address,
            tls: peer.tls,
            username: peer.credentials.as_ref().map(|c| c.username.clone()),
        }
    }
}

/// The pool of the process.
pub struct Pool {
    idle: Mutex<HashMap<Key, Vec<(Session, Instant)>>>,
    hello: String,
    deadlines: Arc<Deadlines>,
    tls: TlsConfigs,
    idle_for: Duration,
    transactions_max: usize,
    metrics: Arc<Metrics>,
}

/// How sessions are opened and kept.
pub struct PoolParts {
    pub hello: String,
    pub deadlines: Deadlines,
    pub tls: TlsConfigs,
    pub idle_for: Duration,
    pub transactions_max: usize,
    pub metrics: Arc<Metrics>,
}

impl Pool {
    pub fn new(parts: PoolParts) -> Self {
        Self {
            idle: Mutex::default(),
            hello: parts.hello,
            deadlines: Arc::new(parts.deadlines),
            tls: parts.tls,
            idle_for: parts.idle_for,
            transactions_max: parts.transactions_max,
            metrics: parts.metrics,
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Key, Vec<(Session, Instant)>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle session with that host, the one used last. What is too old is left for the sweep.
    pub fn take_idle(&self, peer: &Peer) -> Option<Session> {
        let mut idle = self.map();
        let sessions = idle.get_mut(&Key::of(peer))?;
        let is_fresh = sessions.last().is_some_and(|(_, since)| since.elapsed() < self.idle_for);
        if is_fresh { sessions.pop().map(|(session, _)| session) } else { None }
    }

    /// A new session with that host; an error comes with the transcript of the opening.
    pub async fn open(&self, peer: Peer) -> Result<Session, (Failure, String)> {
        let opened = Session::open(peer, &self.hello, &self.deadlines, &self.tls).await;
        let result = if opened.is_ok() { "opened" } else { "failed" };
        self.metrics.smtp_connects.with_label_values(&[result]).inc();
        if opened.is_ok() {
            self.metrics.smtp_sessions.inc();
        }
        opened
    }

    /// Takes a session back after a transaction: kept if it can carry another message, closed if not.
    pub async fn put_back(&self, session: Session) {
        if session.is_reusable() && session.transactions < self.transactions_max {
            let key = Key::of(&session.peer);
            self.map().entry(key).or_default().push((session, Instant::now()));
        } else {
            self.close(session).await;
        }
    }

    /// Closes a session, politely if it is in a state for that.
    pub async fn close(&self, session: Session) {
        self.metrics.smtp_sessions.dec();
        session.quit().await;
    }

    /// Closes what has been idle for too long; all, when `all`.
    pub async fn sweep(&self, all: bool) {
        let mut stale = Vec::new();
        self.map().retain(|_, sessions| {
            let (old, kept): (Vec<_>, Vec<_>) =
                sessions.drain(..).partition(|(_, since)| all || since.elapsed() >= self.idle_for);
            stale.extend(old.into_iter().map(|(session, _)| session));
            *sessions = kept;
            !sessions.is_empty()
        });
        futures_util::future::join_all(stale.into_iter().map(|session| self.close(session))).await;
    }
}
