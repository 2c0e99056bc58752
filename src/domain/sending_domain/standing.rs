//! How a domain stands, and how that changes with each look at its records.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::DomainState;
use super::record::{Purpose, WantedRecord};
use super::sighting::{Finding, Sighting};
use crate::domain::clock::Timestamp;

/// How long a wrong answer has to last until a domain fails.
pub const PATIENCE: Duration = Duration::from_hours(72);
/// How long ago the look before the last one may be.
const LATELY: Duration = Duration::from_hours(6);
/// How soon a domain is looked at again for whose records its owner waits.
const SOON: Duration = Duration::from_secs(20);
/// How often one is that is as it should be.
const CALM: Duration = Duration::from_hours(3);

/// What was seen of one record last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCheck {
    pub host: String,
    #[serde(flatten)]
    pub finding: Finding,
    pub sightings: Vec<Sighting>,
    #[serde(with = "time::serde::rfc3339")]
    pub checked_at: Timestamp,
    /// When this was found first.
    #[serde(with = "time::serde::rfc3339")]
    pub since: Timestamp,
}

/// How a domain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub state: DomainState,
    /// Since when required records are wrong.
    pub wrong_since: Option<Timestamp>,
    /// Whether reports may be asked for in the domain itself: its host was seen, and nothing else since.
    pub has_return_path: bool,
    /// Whether links may lead to the domain's own host, likewise.
    pub has_link_host: bool,
    pub checks: Vec<RecordCheck>,
}

impl Standing {
    /// A domain of which nothing was seen.
    pub const fn new(state: DomainState) -> Self {
        Self { state, wrong_since: None, has_return_path: false, has_link_host: false, checks: Vec::new() }
    }

    /// How it stands after a look at all that is wanted. A required record that is there verifies; one that is positively
    /// not, warns, and fails the domain once that was so for [`PATIENCE`]; whatever else was found changes nothing.
    #[must_use]
    pub fn after(&self, wanted: &[WantedRecord], found: Vec<Vec<Sighting>>, now: Timestamp) -> Self {
        let mut next = Self { checks: Vec::with_capacity(wanted.len()), ..self.clone() };
        let wants = |purpose| wanted.iter().any(|record| record.purpose == purpose);
        next.has_return_path &= wants(Purpose::ReturnPath);
        next.has_link_host &= wants(Purpose::Tracking);
        for (record, sightings) in wanted.iter().zip(found) {
            let finding = Finding::of(&record.expected, &sightings);
            let before = self.check_of(&record.host);
            let since = before.filter(|check| check.finding.name() == finding.name()).map_or(now, |check| check.since);
            let in_use = match record.purpose {
                Purpose::ReturnPath => Some(&mut next.has_return_path),
                Purpose::Tracking => Some(&mut next.has_link_host),
                Purpose::Dkim | Purpose::Dmarc => None,
            };
            match (in_use, &finding) {
                (Some(in_use), Finding::Right | Finding::Published) => *in_use = true,
                (Some(in_use), Finding::Wrong(_)) => *in_use = false,
                _ => {}
            }
            next.checks.push(RecordCheck { host: record.host.clone(), finding, sightings, checked_at: now, since });
        }
        let required =
            || wanted.iter().zip(&next.checks).filter(|(record, _)| record.is_required).map(|(_, check)| check);
        let all_there = required().next().is_some() && required().all(|check| check.finding.is_there());
        // A domain that nothing signs for has not even a wrong record.
        let is_wrong =
            required().next().is_none() || required().any(|check| matches!(check.finding, Finding::Wrong(_)));
        let somebody_sees_it = required().next().is_some() && required().all(|check| check.finding.is_seen());
        if all_there {
            (next.state, next.wrong_since) = (DomainState::Verified, None);
        } else if somebody_sees_it && self.state.is_good() {
            // It spreads, or goes: the time begins anew.
            next.wrong_since = None;
        } else if is_wrong && self.state.is_good() {
            let since = self.wrong_since.unwrap_or(now);
            // Whoever was not looked at meanwhile is looked at twice.
            let hosts = wanted.iter().filter(|record| record.is_required).map(|record| record.host.as_str());
            let is_lasting = self.was_wrong_lately(hosts, now);
            let is_over = now - since >= PATIENCE && is_lasting;
            next.state = if is_over { DomainState::Failed } else { DomainState::Warning };
            next.wrong_since = Some(since);
        }
        next
    }

    /// Whether the look before this one found one of these wrong, and that not long ago; of none, nothing was to be seen then either.
    fn was_wrong_lately<'h>(&self, hosts: impl Iterator<Item = &'h str>, now: Timestamp) -> bool {
        let is_wrong =
            |check: &RecordCheck| matches!(check.finding, Finding::Wrong(_)) && now - check.checked_at < LATELY;
        let mut hosts = hosts.peekable();
        hosts.peek().is_none() || hosts.any(|host| self.check_of(host).is_some_and(is_wrong))
    }

    pub fn check_of(&self, host: &str) -> Option<&RecordCheck> {
        self.checks.iter().find(|check| check.host == host)
    }

    /// When to look again: soon while its owner is at work, rarely later.
    pub fn next_look(&self, created_at: Timestamp, waits_for_key: bool, now: Timestamp) -> Duration {
        let age = now - created_at;
        match self.state {
            DomainState::Verified if !waits_for_key => CALM,
            DomainState::Verified => Duration::from_mins(1),
            DomainState::Warning => Duration::from_mins(30),
            DomainState::Pending if age < Duration::from_hours(1) => SOON,
            DomainState::Pending if age < Duration::from_hours(24) => Duration::from_mins(5),
            DomainState::Pending if age < Duration::from_hours(24 * 14) => Duration::from_hours(1),
            DomainState::Pending | DomainState::Failed => Duration::from_hours(6),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::record::{Expected, RecordType};
    use super::super::sighting::{Told, Vantage};
    use super::*;

    const START: Timestamp = datetime!(2026-11-27 12:00 UTC);

    fn wanted(purpose: Purpose, is_required: bool) -> WantedRecord {
        WantedRecord {
            purpose,
            host: purpose.name().to_owned(),
            record_type: RecordType::Cname,
            value: "in.example.net".to_owned(),
            is_required,
            expected: Expected::Host("in.example.net".to_owned()),
        }
    }

    fn looks(told: &[&str]) -> Vec<Sighting> {
        let told = told.iter().map(|told| match *told {
            "servfail" => Told::Unknown("SERVFAIL".to_owned()),
            "absent" => Told::Absent,
            value => Told::Values(vec![value.to_owned()]),
        });
        told.map(|told| Sighting { vantage: Vantage::Public, server: "x".to_owned(), told }).collect()
    }

    const RIGHT: &[&str] = &["in.example.net", "in.example.net"];
    const WRONG: &[&str] = &["absent", "other.example"];
    const SILENT: &[&str] = &["servfail", "servfail"];

    #[test]
    fn a_domain_falls_on_a_wrong_answer_that_lasts_and_on_nothing_else() {
        let records = [wanted(Purpose::Dkim, true)];
        let mut standing = Standing::new(DomainState::Pending);
        let hour = |n| START + Duration::from_hours(n);
        for (at, told, state) in [
            (0, SILENT, DomainState::Pending),
            (1, WRONG, DomainState::Pending),
            (2, RIGHT, DomainState::Verified),
            (500, SILENT, DomainState::Verified),
            (501, &["absent"][..], DomainState::Verified),
            (502, WRONG, DomainState::Warning),
            (530, SILENT, DomainState::Warning),
            (573, WRONG, DomainState::Warning),
            (575, SILENT, DomainState::Warning),
            (576, WRONG, DomainState::Warning),
            (577, WRONG, DomainState::Failed),
            (577, SILENT, DomainState::Failed),
            (578, RIGHT, DomainState::Verified),
            (579, WRONG, DomainState::Warning),
            (580, &["in.example.net", "absent"], DomainState::Warning),
            (653, WRONG, DomainState::Warning),
            (654, WRONG, DomainState::Warning),
            (655, RIGHT, DomainState::Verified),
            (660, WRONG, DomainState::Warning),
        ] {
            standing = standing.after(&records, vec![looks(told)], hour(at));
            assert_eq!(standing.state, state, "after {at} hours");
        }
        assert_eq!(standing.wrong_since, Some(hour(660)), "the time begins anew");
    }

    #[test]
    fn a_return_path_is_used_while_it_is_not_wrong_and_verifies_nothing() {
        let records = [wanted(Purpose::Dkim, true), wanted(Purpose::ReturnPath, false)];
        let mut standing = Standing::new(DomainState::Verified);
        for (told, has) in [(SILENT, false), (RIGHT, true), (SILENT, true), (WRONG, false), (RIGHT, true)] {
            standing = standing.after(&records, vec![looks(RIGHT), looks(told)], START);
            assert_eq!((standing.has_return_path, standing.state), (has, DomainState::Verified), "{told:?}");
        }
    }

    #[test]
    fn what_was_found_says_since_when() {
        let records = [wanted(Purpose::Dkim, true)];
        let later = START + Duration::from_hours(1);
        let first = Standing::new(DomainState::Pending).after(&records, vec![looks(WRONG)], START);
        let second = first.after(&records, vec![looks(WRONG)], later);
        assert_eq!((second.checks[0].since, second.checks[0].checked_at), (START, later));
        assert_eq!(second.after(&records, vec![looks(RIGHT)], later).checks[0].since, later);
    }
}
