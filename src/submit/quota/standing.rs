//! How a caller stands: what it may still use, for headers and for whoever asks.

use std::time::Duration;

use tokio::time::Instant;

use super::{Limit, Quotas, limits_of};
use crate::domain::access::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::quota::{Quota, Subject};
use crate::store::StoreError;

/// A limit, and what is left of it as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub whose: Subject,
    pub quota: Quota,
    pub limit: u64,
    /// How long the span is that it is counted over.
    pub window: Duration,
    /// `None`: not known here.
    pub remaining: Option<u64>,
    /// Until it is whole again.
    pub resets_in: Duration,
}

/// A limit, and what was used of it by all processes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub whose: Subject,
    pub quota: Quota,
    pub limit: u64,
    /// `None`: it is paced and not counted.
    pub used: Option<u64>,
    pub resets_at: Option<Timestamp>,
}

impl Quotas {
    /// Every limit that the caller is under. Asks nobody.
    pub fn standing(&self, caller: &Caller) -> Vec<Standing> {
        limits_of(caller).iter().map(|limit| self.standing_of(limit)).collect()
    }

    fn standing_of(&self, limit: &Limit) -> Standing {
        let Limit { of, whose, most } = *limit;
        let (window, remaining, resets_in) = match self.period(of.quota) {
            None => {
                let (second, rate) = (Duration::from_secs(1), self.share(most));
                let left = self.buckets().get_mut(&of).map(|bucket| bucket.available(rate, Instant::now()));
                (second, left, second)
            }
            Some(period) => {
                let span = |from: Timestamp| Duration::try_from(period.ends_at - from).unwrap_or_default();
                let began = period.first_day.midnight().assume_utc();
                let slice = self.slices().get(&of).map(std::sync::Arc::clone);
                let left = slice.and_then(|slice| slice.remaining(period.first_day, most));
                (span(began), left, span(self.clock.now()))
            }
        };
        Standing { whose, quota: of.quota, limit: most, window, remaining, resets_in }
    }

    /// Every limit that the caller is under, with what was used. What other processes hold of a quota and have not used yet
    /// counts as used.
    pub async fn usage(&self, caller: &Caller) -> Result<Vec<Usage>, StoreError> {
        let limits = limits_of(caller);
        let mut subjects: Vec<_> = limits.iter().map(|limit| limit.of.subject).collect();
        subjects.dedup();
        let months = self.period(Quota::RecipientsPerMonth);
        let used = match months.filter(|_| !subjects.is_empty()) {
            Some(month) => self.store.list_quota_usage(&subjects, caller.mode, month.first_day).await?,
            None => Vec::new(),
        };
        let of_limit = |limit: &Limit| {
            let Limit { of, whose, most } = *limit;
            let period = self.period(of.quota);
            let counted = period.map(|period| {
                let is_it = |counter: &crate::store::accounts::quotas::Counter| {
                    (counter.subject, counter.quota, counter.period) == (of.subject, of.quota, period.first_day)
                };
                let handed_out = used.iter().find(|(counter, _)| is_it(counter)).map_or(0, |(_, used)| *used);
                let held = self.slices().get(&of).map_or(0, |slice| slice.rest(period.first_day));
                handed_out.saturating_sub(held)
            });
            Usage { whose, quota: of.quota, limit: most, used: counted, resets_at: period.map(|period| period.ends_at) }
        };
        Ok(limits.iter().map(of_limit).collect())
    }
}
