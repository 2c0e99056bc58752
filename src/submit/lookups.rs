//! What is looked up in the store for messages: asked for once by all who want it meanwhile, and believed for a while. A failure is
//! believed by those who wait for it alone.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::WriteError;

/// An answer that is known, or under way.
type Lookup<T, E> = Shared<BoxFuture<'static, Result<T, E>>>;

/// With the instants at which they were asked for.
type Known<K, T, E> = HashMap<K, (Lookup<T, E>, Instant)>;

/// Answers by their keys.
pub struct Lookups<K, T, E> {
    cache: Duration,
    /// What is said of a lookup that ended without an answer.
    broken_off: &'static str,
    known: Mutex<Known<K, T, E>>,
}

impl<K, T, E> Lookups<K, T, E>
where
    K: Eq + Hash,
    T: Clone + Send + Sync + 'static,
    E: Clone + From<WriteError> + Send + Sync + 'static,
{
    pub fn new(cache: Duration, broken_off: &'static str) -> Self {
        Self { cache, broken_off, known: Mutex::default() }
    }

    /// An answer that is still believed, or one that is under way; else what `ask` comes to. An answer that is not `believed` is for those
    /// who wait for it alone. Where so many are too many, all are forgotten first.
    pub fn get<F: Future<Output = Result<T, E>> + Send + 'static>(
        &self,
        key: K,
        believed: impl FnOnce(&T) -> bool,
        is_full: impl FnOnce(usize) -> bool,
        ask: impl FnOnce() -> F,
    ) -> Lookup<T, E> {
        let mut known = locked(&self.known);
        if let Some((lookup, since)) = known.get(&key)
            && since.elapsed() < self.cache
            && lookup.peek().is_none_or(|answer| answer.as_ref().is_ok_and(believed))
        {
            return lookup.clone();
        }
        if is_full(known.len()) {
            known.clear();
        }
        // A task of its own, so that a caller who goes away leaves no one waiting.
        let (task, broken_off) = (tokio::spawn(ask()), self.broken_off);
        let lookup = async move { task.await.unwrap_or_else(|_| Err(WriteError::Away(broken_off.to_owned()).into())) };
        let lookup = lookup.boxed().shared();
        known.insert(key, (lookup.clone(), Instant::now()));
        lookup
    }

    /// Forgets an answer that is older than that.
    pub fn forget_older(&self, key: &K, span: Duration) {
        let mut known = locked(&self.known);
        if known.get(key).is_some_and(|(_, since)| since.elapsed() > span) {
            known.remove(key);
        }
    }

    /// Forgets answers.
    pub fn forget(&self, is_meant: impl Fn(&K) -> bool) {
        locked(&self.known).retain(|key, _| !is_meant(key));
    }
}

/// What a mutex holds, whatever became of those who held it before.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
