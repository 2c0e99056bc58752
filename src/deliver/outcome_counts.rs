//! Tries counted by what reputation is made of: whose mail, from which domain, to whom, and how it ended. Approximate: what a process
//! had counted when it died is lost.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::clock::Timestamp;
use crate::domain::id::ProjectId;
use crate::domain::outcome::{AttemptReport, OutcomeKind};
use crate::domain::readiness::OutcomeCount;
use crate::domain::reverse_path::ReversePath;
use crate::store::fleet::outcomes::OutcomeKey;

/// Counters held at once; beyond it nothing new is counted until they are written.
const MOST: usize = 20_000;

/// Counters that were not written yet.
#[derive(Default)]
pub struct OutcomeCounts {
    counts: Mutex<HashMap<OutcomeKey, OutcomeCount>>,
}

impl OutcomeCounts {
    /// Counts a try that says something of its sender.
    pub fn count(&self, project: ProjectId, sender: &ReversePath, report: &AttemptReport, now: Timestamp) {
        let ReversePath::Address(sender) = sender else { return };
        let counted = match report.outcome.kind() {
            OutcomeKind::Accepted => OutcomeCount { accepted: 1, ..OutcomeCount::default() },
            // A greylist, or a server that is busy, says nothing of who sends.
            OutcomeKind::Deferred if report.outcome.speaks_of_sender() => {
                OutcomeCount { deferred: 1, ..OutcomeCount::default() }
            }
            OutcomeKind::Rejected => OutcomeCount {
                rejected: 1,
                bad_addresses: i64::from(report.condemned.is_some()),
                refused: i64::from(report.outcome.speaks_of_sender()),
                ..OutcomeCount::default()
            },
            OutcomeKind::Deferred | OutcomeKind::Uncertain | OutcomeKind::Expired | OutcomeKind::Suppressed => return,
        };
        let key = OutcomeKey {
            hour: now.unix_timestamp().div_euclid(3600),
            project,
            domain: sender.domain().to_owned(),
            receiver: report.provider.as_deref().unwrap_or(crate::classify::OTHER).to_owned(),
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MOST || counts.contains_key(&key) {
            *counts.entry(key).or_default() += counted;
        }
    }

    /// What was counted since the last call.
    pub fn take(&self) -> Vec<(OutcomeKey, OutcomeCount)> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }

    /// Counts again what was taken and could not be written.
    pub fn put_back(&self, taken: Vec<(OutcomeKey, OutcomeCount)>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, count) in taken {
            *counts.entry(key).or_default() += count;
        }
    }
}
