//! What was seen of a record, from where, and what follows: right, wrong, or unknown.

use serde::{Deserialize, Serialize};

use super::record::Expected;

/// From where it was looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vantage {
    /// A name server of the zone itself.
    Authoritative,
    /// The resolver of this installation.
    Own,
    /// A public resolver.
    Public,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Values(Vec<String>),
    /// The name, or that type of it, does not exist: an answer, too.
    Absent,
    /// No answer, or none that says anything: SERVFAIL, REFUSED, a time-out.
    Unknown(String),
}

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub vantage: Vantage,
    /// The server's name or address.
    pub server: String,
    pub told: Told,
}

/// What all looks at one record say together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "finding", content = "reason")]
pub enum Finding {
    /// Whoever answered sees it.
    Right,
    /// The zone's own servers have it, and a resolver does not yet.
    Published,
    /// Some see it, and some do not.
    Spreading,
    /// Nobody sees it, and at least two places answered.
    Wrong(String),
    /// One place alone answered, and does not see it.
    Doubtful(String),
    /// Nobody answered.
    Unknown,
}

impl Finding {
    /// The word that clients see.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Published => "published",
            Self::Spreading => "spreading",
            Self::Wrong(_) => "wrong",
            Self::Doubtful(_) => "doubtful",
            Self::Unknown => "unknown",
        }
    }

    /// Whether receivers can find it: those that never asked for it do at once.
    pub const fn is_there(&self) -> bool {
        matches!(self, Self::Right | Self::Published)
    }

    /// Whether anybody sees it.
    pub const fn is_seen(&self) -> bool {
        matches!(self, Self::Right | Self::Published | Self::Spreading)
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Wrong(reason) | Self::Doubtful(reason) => Some(reason),
            _ => None,
        }
    }

    /// What follows from looks at a record that should be `expected`.
    pub fn of(expected: &Expected, sightings: &[Sighting]) -> Self {
        let (mut right, mut wrong, mut reason) = (0, 0, None);
        let (mut zone_has_it, mut zone_lacks_it) = (false, false);
        for sighting in sightings {
            let fault = match &sighting.told {
                Told::Unknown(_) => continue,
                Told::Absent => Some("it is not there".to_owned()),
                Told::Values(values) => expected.fault(values),
            };
            let is_zone = sighting.vantage == Vantage::Authoritative;
            zone_has_it |= is_zone && fault.is_none();
            zone_lacks_it |= is_zone && fault.is_some();
            match fault {
                None => right += 1,
                Some(fault) => {
                    wrong += 1;
                    // What is there tells more than that something is missing elsewhere.
                    let tells_more = matches!(sighting.told, Told::Values(_));
                    if reason.is_none() || tells_more {
                        reason = Some(fault);
                    }
                }
            }
        }
        match (right, wrong, reason) {
            (0, 0, _) => Self::Unknown,
            (_, 0, _) => Self::Right,
            (0, 1, Some(reason)) => Self::Doubtful(reason),
            (0, _, Some(reason)) => Self::Wrong(reason),
            _ if zone_has_it && !zone_lacks_it => Self::Published,
            _ => Self::Spreading,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(told: Told) -> Sighting {
        Sighting { vantage: Vantage::Public, server: "x".to_owned(), told }
    }

    #[test]
    fn nobody_who_does_not_answer_says_anything() {
        let expected = Expected::Host("in.example.net".to_owned());
        let right = || seen(Told::Values(vec!["in.example.net".to_owned()]));
        let other = || seen(Told::Values(vec!["other.example".to_owned()]));
        let absent = || seen(Told::Absent);
        let failed = || seen(Told::Unknown("SERVFAIL".to_owned()));
        for (sightings, wanted) in [
            (vec![], "unknown"),
            (vec![failed(), failed(), failed()], "unknown"),
            (vec![right(), failed()], "right"),
            (vec![right(), absent()], "spreading"),
            (vec![other(), right()], "spreading"),
            (vec![absent(), failed(), failed()], "doubtful"),
            (vec![other()], "doubtful"),
            (vec![absent(), other()], "wrong"),
            (vec![absent(), absent(), failed()], "wrong"),
        ] {
            assert_eq!(Finding::of(&expected, &sightings).name(), wanted, "{sightings:?}");
        }
        let zone = |sighting: Sighting| Sighting { vantage: Vantage::Authoritative, ..sighting };
        for (sightings, wanted) in [
            (vec![zone(right()), zone(right()), absent()], "published"),
            (vec![zone(right()), zone(absent()), right()], "spreading"),
            (vec![zone(absent()), right()], "spreading"),
            (vec![zone(right()), right()], "right"),
        ] {
            assert_eq!(Finding::of(&expected, &sightings).name(), wanted, "{sightings:?}");
        }
        let finding = Finding::of(&expected, &[absent(), other()]);
        assert_eq!(finding.reason(), Some("it does not lead to in.example.net"));
    }
}
