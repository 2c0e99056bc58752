//! Connections that endpoints left open behind an answer: a handshake for each call would cost more than the call.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::post::Target;

/// How long an unused connection is kept: an address is judged anew for each that is opened.
const KEPT: Duration = Duration::from_secs(20);
/// Connections kept to one origin, and to all.
const OF_ORIGIN: usize = 256;
const OF_ALL: usize = 512;
/// How often those that were closed or are old are let go of.
const SWEEP: Duration = Duration::from_secs(1);

/// Host, port, and whether by TLS.
type Origin = (String, u16, bool);

/// Connections of one origin, and since when each is idle; the last used last.
type OfOrigin = Vec<(SendRequest<Full<Bytes>>, Instant)>;

#[derive(Debug, Default)]
struct Idle {
    origins: HashMap<Origin, OfOrigin>,
    swept: Option<Instant>,
}

/// Idle connections.
#[derive(Debug, Default)]
pub struct Kept(Mutex<Idle>);

impl Kept {
    /// One to that origin, if one is open still.
    pub fn take(&self, target: &Target) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle();
        let of_origin = idle.origins.get_mut(&origin(target))?;
        while let Some((sender, since)) = of_origin.pop() {
            if since.elapsed() < KEPT && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    pub fn put(&self, target: &Target, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle();
        if idle.swept.is_none_or(|at| at.elapsed() >= SWEEP) {
            idle.swept = Some(Instant::now());
            idle.origins.retain(|_, of_origin| {
                of_origin.retain(|(sender, since)| since.elapsed() < KEPT && !sender.is_closed());
                !of_origin.is_empty()
            });
        }
        let total: usize = idle.origins.values().map(Vec::len).sum();
        let of_origin = idle.origins.entry(origin(target)).or_default();
        if total < OF_ALL && of_origin.len() < OF_ORIGIN {
            of_origin.push((sender, Instant::now()));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn origin(target: &Target) -> Origin {
    (target.host.clone(), target.port, target.tls)
}
