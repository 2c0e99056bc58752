//! How ready a domain is for each receiver, from 0 to 100: by its records, by what the receiver answered, and by what was reported.
//! A number to watch, and reasons to act on; no receiver tells its own.

use serde::Serialize;

use super::aggregate::Evidence;

/// Tries to a receiver from which on shares of them say something.
const ENOUGH: i64 = 50;

/// What is known of a domain's records.
#[derive(Debug, Clone, Default)]
pub struct Records {
    pub is_verified: bool,
    /// `warning` or `failed`.
    pub is_wrong: bool,
    pub has_return_path: bool,
    /// `None`: not known yet.
    pub has_dmarc: Option<bool>,
    pub warnings: Vec<String>,
    /// Lists that name it.
    pub listed: Vec<String>,
}

/// What receivers made of tries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OutcomeCount {
    pub accepted: i64,
    /// Because of who sends, how much, or what.
    pub deferred: i64,
    pub rejected: i64,
    /// Of those rejected.
    pub bad_addresses: i64,
    /// Of those rejected: because of who sends, how much, or what.
    pub refused: i64,
    pub complaints: i64,
}

impl std::ops::AddAssign for OutcomeCount {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.deferred += other.deferred;
        self.rejected += other.rejected;
        self.bad_addresses += other.bad_addresses;
        self.refused += other.refused;
        self.complaints += other.complaints;
    }
}

/// A score with what took from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Score {
    pub score: u8,
    pub reasons: Vec<Reason>,
}

/// What takes from a score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// A stable word.
    pub code: &'static str,
    /// By how much.
    pub takes: u8,
    /// For people.
    pub detail: String,
}

/// What the records and the reports alone come to, for every receiver.
pub fn of_records(records: &Records, evidence: &Evidence) -> Score {
    let mut reasons = Vec::new();
    let mut take = |holds: bool, code: &'static str, takes: u8, detail: String| {
        if holds {
            reasons.push(Reason { code, takes, detail });
        }
    };
    take(!records.is_verified, "unverified", 50, "its keys were not seen: receivers cannot tell who sends".to_owned());
    take(records.is_wrong, "records_wrong", 25, "a required record is wrong now".to_owned());
    take(
        records.has_dmarc == Some(false),
        "no_dmarc",
        20,
        "it has no DMARC policy: Gmail, Yahoo and Outlook ask for one".to_owned(),
    );
    take(
        !records.has_return_path,
        "no_return_path",
        10,
        "its return path is not in use: SPF is not aligned".to_owned(),
    );
    for warning in &records.warnings {
        take(true, "dmarc_warning", 5, warning.clone());
    }
    for list in &records.listed {
        take(true, "listed", 40, format!("{list} lists it"));
    }
    let share = per_mille(evidence.passed.try_into().unwrap_or(0), evidence.messages.try_into().unwrap_or(0));
    let detail = format!("{}.{} % of the mail that receivers reported of passed DMARC", share / 10, share % 10);
    take(evidence.messages >= 100 && share < 980, "dmarc_fails", 10, detail);
    scored(reasons)
}

/// The same, with what one receiver answered.
pub fn of_receiver(records: &Score, answers: &OutcomeCount) -> Score {
    let mut reasons = records.reasons.clone();
    let OutcomeCount { accepted, deferred, rejected, bad_addresses, refused, complaints } = *answers;
    let tried = accepted + deferred + rejected;
    let mut take = |holds: bool, code: &'static str, takes: u8, detail: String| {
        if holds && tried >= ENOUGH {
            reasons.push(Reason { code, takes, detail });
        }
    };
    let complained = per_mille(complaints, accepted);
    let says = |what: &str, share: i64| format!("{}.{} % {what}", share / 10, share % 10);
    take(complained >= 3, "complaints", 40, says("called it spam; from 0.3 % on mail is turned away", complained));
    take((1..3).contains(&complained), "complaints", 15, says("called it spam; below 0.1 % is good", complained));
    let bad = per_mille(bad_addresses, accepted + rejected);
    take(bad >= 50, "bad_addresses", 25, says("of the addresses do not exist", bad));
    take((20..50).contains(&bad), "bad_addresses", 10, says("of the addresses do not exist", bad));
    let refused = per_mille(refused, accepted + rejected);
    take(refused >= 50, "refused", 30, says("was refused because of who sends, how much, or what", refused));
    take(
        (10..50).contains(&refused),
        "refused",
        10,
        says("was refused because of who sends, how much, or what", refused),
    );
    let put_off = per_mille(deferred, tried);
    take(put_off >= 300, "deferred", 15, says("of the tries were put off", put_off));
    scored(reasons)
}

fn per_mille(part: i64, of: i64) -> i64 {
    part.max(0).saturating_mul(1000).checked_div(of).unwrap_or(0)
}

fn scored(reasons: Vec<Reason>) -> Score {
    let taken = reasons.iter().map(|reason| u32::from(reason.takes)).sum::<u32>();
    Score { score: u8::try_from(100_u32.saturating_sub(taken)).unwrap_or(0), reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_takes_from_the_score_and_says_so() {
        let good = Records { is_verified: true, has_return_path: true, has_dmarc: Some(true), ..Records::default() };
        let none = Evidence::default();
        assert_eq!(of_records(&good, &none), Score { score: 100, reasons: Vec::new() });
        let bare = Records { has_dmarc: Some(false), listed: vec!["dbl.example".to_owned()], ..Records::default() };
        assert_eq!(of_records(&bare, &none).score, 0, "never below nothing");
        let poor = Evidence { reports: 9, reporters: 2, messages: 1000, passed: 900, days: 9 };
        assert_eq!(of_records(&good, &poor).reasons[0].code, "dmarc_fails");
        let records = of_records(&good, &none);
        let codes = |answers: OutcomeCount| {
            let score = of_receiver(&records, &answers);
            (score.score, score.reasons.iter().map(|reason| reason.code).collect::<Vec<_>>())
        };
        let mail = OutcomeCount { accepted: 1000, ..OutcomeCount::default() };
        assert_eq!(codes(mail), (100, vec![]));
        assert_eq!(codes(OutcomeCount { complaints: 3, ..mail }), (60, vec!["complaints"]));
        assert_eq!(codes(OutcomeCount { rejected: 60, bad_addresses: 60, ..mail }), (75, vec!["bad_addresses"]));
        assert_eq!(
            codes(OutcomeCount { rejected: 60, refused: 60, deferred: 900, ..mail }),
            (55, vec!["refused", "deferred"])
        );
        assert_eq!(
            codes(OutcomeCount { accepted: 10, rejected: 10, ..OutcomeCount::default() }),
            (100, vec![]),
            "too few to say"
        );
    }
}
