//! What one request was charged, item by item. It is given back as far as nothing was stored, and kept when nobody can know.

use std::sync::Arc;

use super::{Denied, Limit, Of, Quotas};
use crate::domain::quota::{Period, Quota};
use crate::store::mail::accept::{ItemStored, Stored};
use crate::submit::quota::slice::Slice;
use crate::submit::writer::WriteError;

/// The charge of a request. Dropped before [`begin`](Self::begin) it is given back.
pub struct Charge {
    quotas: Arc<Quotas>,
    limits: Vec<Limit>,
    tokens: Vec<(Of, u32)>,
    taken: Vec<Taken>,
    items: Vec<Part>,
    has_begun: bool,
}

/// What one item of a request counts for.
#[derive(Debug, Clone, Copy)]
struct Part {
    recipients: u64,
    bytes: u64,
}

struct Taken {
    quota: Quota,
    slice: Arc<Slice>,
    period: Period,
    count: u64,
}

impl Charge {
    pub(super) const fn new(quotas: Arc<Quotas>, limits: Vec<Limit>) -> Self {
        Self { quotas, limits, tokens: Vec::new(), taken: Vec::new(), items: Vec::new(), has_begun: false }
    }

    /// Whether nothing is limited.
    pub(super) const fn is_free(&self) -> bool {
        self.limits.is_empty()
    }

    /// Takes messages from what is limited by the second.
    pub(super) fn pace(&mut self, messages: u32) -> Result<(), Denied> {
        for limit in self.limits.iter().filter(|limit| limit.of.quota == Quota::MessagesPerSecond) {
            self.quotas.take_tokens(limit, messages)?;
            self.tokens.push((limit.of, messages));
        }
        Ok(())
    }

    /// Takes the recipients of each item from days and months.
    pub(super) async fn count(&mut self, recipients: impl Iterator<Item = u64>) -> Result<(), Denied> {
        self.items = recipients.map(|recipients| Part { recipients, bytes: 0 }).collect();
        let all = self.items.iter().map(|part| part.recipients).sum();
        self.take(all, |quota| quota != Quota::BytesPerMonth).await
    }

    async fn take(&mut self, count: u64, is_meant: impl Fn(Quota) -> bool) -> Result<(), Denied> {
        for limit in self.limits.iter().filter(|limit| is_meant(limit.of.quota)) {
            if let Some((slice, period)) = self.quotas.take(limit, count).await? {
                self.taken.push(Taken { quota: limit.of.quota, slice, period, count });
            }
        }
        Ok(())
    }

    /// What is to be stored in the end: the bytes of each item, or nothing.
    pub async fn fit(&mut self, to_store: &[Option<u64>]) -> Result<(), Denied> {
        if self.is_free() {
            return Ok(());
        }
        let mut all = 0;
        for (index, bytes) in to_store.iter().enumerate() {
            match (bytes, self.items.get_mut(index)) {
                (Some(bytes), Some(part)) => {
                    part.bytes = *bytes;
                    all += bytes;
                }
                _ => self.spare(index),
            }
        }
        self.take(all, |quota| quota == Quota::BytesPerMonth).await
    }

    /// From here on it may be stored, whoever waits for the answer.
    pub const fn begin(&mut self) {
        self.has_begun = true;
    }

    /// Gives back what was not stored. What may have been stored counts.
    pub fn settle(mut self, stored: &Result<Stored, WriteError>) {
        match stored {
            Err(WriteError::Away(_)) => {}
            Ok(Stored::Accepted(items)) => {
                for (index, item) in items.iter().enumerate() {
                    if !matches!(item, ItemStored::Accepted) {
                        self.spare(index);
                    }
                }
            }
            _ => self.has_begun = false,
        }
    }

    /// Gives back what one item counts for.
    fn spare(&mut self, index: usize) {
        let Some(part) = self.items.get_mut(index) else { return };
        let Part { recipients, bytes } = std::mem::replace(part, Part { recipients: 0, bytes: 0 });
        for taken in &mut self.taken {
            let spare = if taken.quota == Quota::BytesPerMonth { bytes } else { recipients };
            taken.slice.put_back(taken.period.first_day, spare);
            taken.count -= spare;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.has_begun {
            return;
        }
        for taken in self.taken.drain(..) {
            taken.slice.put_back(taken.period.first_day, taken.count);
        }
        let mut buckets = self.quotas.buckets();
        for (of, messages) in self.tokens.drain(..) {
            if let Some(bucket) = buckets.get_mut(&of) {
                bucket.put_back(messages);
            }
        }
    }
}
