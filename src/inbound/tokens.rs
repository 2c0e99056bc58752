//! The keys of tokens, read from the store, and believed for a while.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::compose::token::Ring;
use crate::store::{Store, StoreError};

/// How long keys that were read are used.
const BELIEVED: Duration = Duration::from_mins(1);

/// The way to the keys.
pub struct Tokens {
    store: Store,
    known: RwLock<Option<(Arc<Ring>, Instant)>>,
}

impl Tokens {
    pub const fn new(store: Store) -> Self {
        Self { store, known: RwLock::new(None) }
    }

    /// The keys. Those that are known serve on while the store is away.
    pub async fn ring(&self) -> Result<Arc<Ring>, StoreError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((ring, since)) = &known
            && since.elapsed() < BELIEVED
        {
            return Ok(Arc::clone(ring));
        }
        match (self.store.list_token_keys().await, known) {
            (Ok(keys), _) => {
                let ring = Arc::new(Ring::of(keys));
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(&ring), Instant::now()));
                Ok(ring)
            }
            (Err(_), Some((ring, _))) => Ok(ring),
            (Err(error), None) => Err(error),
        }
    }
}
