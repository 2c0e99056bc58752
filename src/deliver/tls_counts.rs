//! New sessions counted as RFC 8460 reports want them: by policy domain, kind of policy, host and result.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use time::Date;

use crate::domain::stage::Stage;
use crate::domain::target::{Target, TlsBasis};
use crate::domain::tls_result::{TlsPolicyType, TlsResult};
use crate::smtp::client::failure::{Failure, FailureKind};
use crate::store::fleet::tls_reports::TlsCount;
use crate::telemetry::metrics::Metrics;

/// Counters held at once; beyond it sessions are counted in the metrics alone.
const MOST: usize = 50_000;

/// Counters that were not written yet.
#[derive(Default)]
pub struct TlsCounts {
    counts: Mutex<HashMap<TlsCount, i64>>,
}

/// RFC 8460 §4.2.
pub const fn policy_type(basis: TlsBasis) -> TlsPolicyType {
    match basis {
        TlsBasis::Sts | TlsBasis::StsTesting => TlsPolicyType::Sts,
        TlsBasis::Dane => TlsPolicyType::Tlsa,
        TlsBasis::Route | TlsBasis::Message => TlsPolicyType::NoPolicyFound,
    }
}

/// RFC 8460 §4.3. `None`: the session failed for a reason that has nothing to do with TLS.
pub fn result_of(failure: &Failure, basis: TlsBasis) -> Option<TlsResult> {
    match &failure.kind {
        FailureKind::Tls(_) if basis == TlsBasis::Dane => Some(TlsResult::ValidationFailure),
        FailureKind::Tls(fault) => Some(fault.result),
        FailureKind::Refused(_) if failure.stage == Stage::StartTls => Some(TlsResult::StarttlsNotSupported),
        FailureKind::Refused(_) | FailureKind::Broken(_) | FailureKind::Silent(_) | FailureKind::Nonsense(_) => None,
    }
}

impl TlsCounts {
    /// Counts a new session, or one that failed over TLS.
    pub fn count(&self, metrics: &Metrics, domain: &str, target: &Target, result: TlsResult, day: Date) {
        let policy_type = policy_type(target.basis);
        metrics.tls_sessions.with_label_values(&[policy_type.name(), result.name()]).inc();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MOST {
            let host = target.host.clone();
            let count = TlsCount { day, domain: domain.to_owned(), policy_type, host, result };
            *counts.entry(count).or_default() += 1;
        }
    }

    /// What was counted since the last call.
    pub fn take(&self) -> Vec<(TlsCount, i64)> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }

    /// Counts again what was taken and could not be written.
    pub fn put_back(&self, taken: Vec<(TlsCount, i64)>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (count, number) in taken {
            *counts.entry(count).or_default() += number;
        }
    }
}
