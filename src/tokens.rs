//! The keys of tokens, read from the store, and believed for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::compose::token::Ring;
use crate::domain::clock::{Clock, Timestamp};
use crate::store::{Store, StoreError};

/// How long keys that were read are used.
const BELIEVED: Duration = Duration::from_mins(1);
/// How soon they are read again for a token whose key is not known.
const MOMENT: Duration = Duration::from_secs(2);

/// The way to the keys.
pub struct Tokens {
    store: Store,
    known: RwLock<Option<(Arc<Ring>, Timestamp)>>,
    /// Held by whoever reads; when and why the last one failed.
    reading: Mutex<Option<(Timestamp, String)>>,
    /// How often they were read.
    reads: AtomicU64,
}

impl Tokens {
    pub fn new(store: Store) -> Self {
        Self { store, known: RwLock::default(), reading: Mutex::default(), reads: AtomicU64::default() }
    }

    /// The keys that were read last, however long ago.
    pub fn known(&self) -> Option<Arc<Ring>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|(ring, _)| Arc::clone(ring))
    }

    /// The keys, read anew unless that was a moment ago.
    pub async fn ring_anew(&self) -> Result<Arc<Ring>, StoreError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some((ring, since)) if self.is_within(since, MOMENT) => Ok(ring),
            _ => self.read_anew().await,
        }
    }

    /// Whether an instant is no longer ago; one that lies ahead of a clock that was set back is.
    fn is_within(&self, since: Timestamp, span: Duration) -> bool {
        (self.store.clock().now() - since).abs() < span
    }

    /// One reads for all who ask meanwhile, and a failure is everybody's for a moment.
    async fn read_anew(&self) -> Result<Arc<Ring>, StoreError> {
        let before = self.reads.load(Ordering::Acquire);
        let mut failed = self.reading.lock().await;
        if self.reads.load(Ordering::Acquire) != before
            && let Some(ring) = self.known()
        {
            return Ok(ring);
        }
        if let Some((at, why)) = &*failed
            && self.is_within(*at, MOMENT)
        {
            return Err(StoreError::Away(why.clone()));
        }
        let read = self.read().await;
        *failed = read.as_ref().err().map(|error| (self.store.clock().now(), error.to_string()));
        read
    }

    async fn read(&self) -> Result<Arc<Ring>, StoreError> {
        let ring = Arc::new(Ring::of(self.store.list_token_keys().await?));
        *self.known.write().unwrap_or_else(PoisonError::into_inner) =
            Some((Arc::clone(&ring), self.store.clock().now()));
        Ok(ring)
    }

    /// The keys. Those that are known serve on while the store is away.
    pub async fn ring(&self) -> Result<Arc<Ring>, StoreError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((ring, since)) = &known
            && self.is_within(*since, BELIEVED)
        {
            return Ok(Arc::clone(ring));
        }
        match (self.read_anew().await, known) {
            (Ok(ring), _) | (Err(_), Some((ring, _))) => Ok(ring),
            (Err(error), None) => Err(error),
        }
    }
}
