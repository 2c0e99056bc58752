//! When to try again.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::clock::Rng;

/// Delays between tries. The last one repeats until the message's last instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    delays: Vec<Duration>,
    jitter: Jitter,
}

/// A schedule needs at least one delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a retry schedule needs at least one delay")]
pub struct EmptySchedule;

/// How a delay is spread, so that what failed together does not return together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Jitter {
    /// By this part of itself, to both sides: at most 1.
    Part(f64),
    /// Over all of it: anywhere between a tenth and the whole.
    Full,
}

impl Jitter {
    pub const DEFAULT: Self = Self::Part(0.1);

    fn spread(self, delay: Duration, rng: &dyn Rng) -> Duration {
        match self {
            Self::Part(part) => rng.jitter(delay, part),
            // The middle of 0.1..=1 and half of its width.
            Self::Full => rng.jitter(delay.mul_f64(0.55), 0.45 / 0.55),
        }
    }
}

impl<'de> Deserialize<'de> for Jitter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Part(f64),
            Word(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Part(part) if (0.0..=1.0).contains(&part) => Ok(Self::Part(part)),
            Form::Word(word) if word == "full" => Ok(Self::Full),
            _ => Err(D::Error::custom("jitter is a part from 0 to 1, or \"full\"")),
        }
    }
}

impl Schedule {
    pub fn new(delays: Vec<Duration>, jitter: Jitter) -> Result<Self, EmptySchedule> {
        if delays.is_empty() { Err(EmptySchedule) } else { Ok(Self { delays, jitter }) }
    }

    /// For when there is nothing else: every quarter of an hour.
    pub fn fallback() -> Self {
        Self { delays: vec![Duration::from_mins(15)], jitter: Jitter::DEFAULT }
    }

    /// The delay after the `attempt`-th try (from 1), spread.
    pub fn delay_after(&self, attempt: i32, rng: &dyn Rng) -> Duration {
        let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(0);
        let delay = self.delays.get(step).or(self.delays.last()).copied().unwrap_or_default();
        self.jitter.spread(delay, rng)
    }

    /// How many delays there are: the tries after the first, for queues that end with the schedule.
    pub const fn len(&self) -> usize {
        self.delays.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.delays.is_empty()
    }

    pub fn delays(&self) -> &[Duration] {
        &self.delays
    }
}

/// What a server says of when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint(pub Duration);

/// A hint is believed within these bounds.
const HINT_MIN: Duration = Duration::from_secs(5);
const HINT_MAX: Duration = Duration::from_hours(4);

/// Words before a number of units that make it a hint.
const HINT_WORDS: [&str; 9] = [
    "again in",
    "retry in",
    "retry after",
    "again after",
    "come back in",
    "wait",
    "please retry",
    "later in",
    "delayed by",
];
const HINT_UNITS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3600)];

impl Hint {
    /// The hint in a reply's text, which is in lower case: `try again in 300 seconds`, `retry after 5 min`.
    pub fn of(text: &str) -> Option<Self> {
        let behind = HINT_WORDS.iter().filter_map(|words| Some(text.find(words)? + words.len())).min()?;
        let rest = text.get(behind..)?;
        let digits = rest.find(|c: char| c.is_ascii_digit()).filter(|at| *at <= 24)?;
        let rest = &rest[digits..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..end].parse().ok()?;
        let unit = rest[end..].trim_start_matches([' ', '-', '(', ')']);
        // `03:00` is minutes and seconds, as Postgrey says it.
        if let Some(seconds) = unit.strip_prefix(':').and_then(|two| two.get(..2)?.parse::<u64>().ok()) {
            return Some(Self::bounded(number.saturating_mul(60).saturating_add(seconds)));
        }
        let (_, each) = HINT_UNITS.iter().find(|(name, _)| unit.starts_with(name))?;
        Some(Self::bounded(number.saturating_mul(*each)))
    }

    fn bounded(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds).clamp(HINT_MIN, HINT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SeededRng;

    fn seconds(delays: &[u64]) -> Vec<Duration> {
        delays.iter().map(|s| Duration::from_secs(*s)).collect()
    }

    #[test]
    fn delays_follow_the_schedule_and_the_last_one_repeats() {
        let schedule = Schedule::new(seconds(&[1, 10, 100]), Jitter::DEFAULT).unwrap();
        let rng = SeededRng::new(1);
        for (attempt, seconds) in [(1, 1.0), (2, 10.0), (3, 100.0), (4, 100.0), (99, 100.0)] {
            let delay = schedule.delay_after(attempt, &rng).as_secs_f64();
            assert!((seconds * 0.9..=seconds * 1.1).contains(&delay), "{attempt}: {delay}");
        }
        assert_eq!(Schedule::new(vec![], Jitter::Full), Err(EmptySchedule));
    }

    #[test]
    fn full_jitter_spreads_a_herd_over_most_of_the_delay() {
        let schedule = Schedule::new(seconds(&[100]), Jitter::Full).unwrap();
        let rng = SeededRng::new(2);
        let delays: Vec<_> = (0..1000).map(|_| schedule.delay_after(1, &rng).as_secs()).collect();
        let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!(*least >= 10 && *most <= 100 && most - least > 80, "{least}..{most}");
    }

    #[test]
    fn hints_are_read_from_what_servers_say() {
        for (text, wanted) in [
            ("greylisted, please try again in 300 seconds", Some(300)),
            ("try again after 5 minutes", Some(300)),
            ("please retry after 2 hours", Some(7200)),
            ("temporarily deferred; retry in 60s", Some(60)),
            ("greylisted, see help, wait (03:30)", Some(210)),
            ("try again in 99999999999999999999 seconds", None),
            ("try again in 1 second", Some(5)),
            ("try again in 30 hours", Some(4 * 3600)),
            ("try again later", None),
            ("over quota by 300 seconds", None),
            ("wait", None),
        ] {
            assert_eq!(Hint::of(text).map(|hint| hint.0.as_secs()), wanted, "{text}");
        }
    }
}
