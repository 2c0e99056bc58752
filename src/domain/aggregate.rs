//! Aggregate reports: what a receiver says of a day's mail, by DMARC (RFC 9990) or of its TLS sessions (RFC 8460).

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::words::words;

/// Rows of one report that are kept: those with the most messages.
pub const ROWS_MAX: usize = 100;

words! {
    /// What a report is about.
    pub enum AggregateKind {
        Dmarc = "dmarc",
        Tls = "tls",
    }
}

/// A report as it was read. Texts are printable and of bounded length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateReport {
    pub kind: AggregateKind,
    /// Who made it, in its own words.
    pub reporter: String,
    pub report_id: String,
    /// The domain whose policy it is about, in lower case.
    pub domain: String,
    pub begin: Timestamp,
    pub end: Timestamp,
    /// Messages, or sessions.
    pub total: u64,
    /// Messages that passed, or sessions that were secured.
    pub passed: u64,
    /// At most [`ROWS_MAX`], those of most messages first.
    pub rows: Vec<AggregateRow>,
}

/// What is the same for some messages, or sessions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum AggregateRow {
    Dmarc(DmarcRow),
    Tls(TlsRow),
}

/// Messages of one source that fared alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DmarcRow {
    pub source_ip: String,
    /// What was done: `none`, `quarantine`, `reject`, `pass`.
    pub disposition: String,
    /// Whether an aligned signature was good.
    pub dkim: bool,
    /// Whether an aligned envelope sender was.
    pub spf: bool,
    pub header_from: String,
    pub messages: u64,
}

/// Sessions that failed for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TlsRow {
    /// `sts`, `tlsa` or `no-policy-found`.
    pub policy_type: String,
    /// A result type of RFC 8460 §4.3.
    pub result: String,
    pub mx_host: String,
    pub sending_ip: String,
    pub sessions: u64,
}

/// What reports say of a domain's mail, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub reports: u64,
    /// Receivers that reported.
    pub reporters: u64,
    pub messages: u64,
    pub passed: u64,
    /// Whole days between the beginning of the first and the end of the last.
    pub days: u64,
}

/// The policy that the evidence bears, and why no further one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    pub policy: &'static str,
    pub because: String,
}

impl Evidence {
    /// From `none` on step by step, each as the reports bear it (RFC 9989 §7.4 warns of `reject` for mail of people).
    pub fn advice(&self) -> Advice {
        let steps: [(&'static str, u64, u64, u64); 2] = [("quarantine", 14, 100, 980), ("reject", 30, 1000, 995)];
        let share = self.passed.saturating_mul(1000).checked_div(self.messages).unwrap_or(0);
        let mut policy = "none";
        for (next, days, messages, per_mille) in steps {
            let lacks = if self.reporters < 2 {
                Some(format!("reports of at least 2 receivers; there are those of {}", self.reporters))
            } else if self.days < days {
                Some(format!("{days} days of reports; there are {}", self.days))
            } else if self.messages < messages {
                Some(format!("{messages} messages; there are {}", self.messages))
            } else if share < per_mille {
                Some(format!(
                    "{}.{} % that passed; it is {}.{} %",
                    per_mille / 10,
                    per_mille % 10,
                    share / 10,
                    share % 10
                ))
            } else {
                None
            };
            if let Some(lacks) = lacks {
                return Advice { policy, because: format!("{next} needs {lacks}") };
            }
            policy = next;
        }
        let because =
            "the reports bear it; for mail of people, who write to lists, quarantine is as far as to go".to_owned();
        Advice { policy, because }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_rises_with_the_evidence_and_never_before() {
        let evidence = |reporters, days, messages, passed| Evidence { reports: 99, reporters, messages, passed, days };
        for (evidence, policy, word) in [
            (Evidence::default(), "none", "receivers"),
            (evidence(1, 90, 10_000, 10_000), "none", "receivers"),
            (evidence(2, 13, 10_000, 10_000), "none", "14 days"),
            (evidence(2, 14, 99, 99), "none", "100 messages"),
            (evidence(2, 90, 10_000, 9_700), "none", "97.0 %"),
            (evidence(2, 14, 100, 98), "quarantine", "30 days"),
            (evidence(9, 60, 10_000, 9_940), "quarantine", "99.4 %"),
            (evidence(9, 60, 10_000, 9_999), "reject", "bear"),
        ] {
            let advice = evidence.advice();
            assert_eq!(advice.policy, policy, "{evidence:?}");
            assert!(advice.because.contains(word), "{}", advice.because);
        }
    }
}
