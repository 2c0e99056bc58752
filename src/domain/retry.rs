//! When to try again.

use std::time::Duration;

use super::clock::Chance;

/// Delays between tries. The last one repeats until the message's last instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

/// A schedule needs at least one delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a retry schedule needs at least one delay")]
pub struct EmptySchedule;

/// Spread around each delay, so that what failed together does not return together.
const JITTER: f64 = 0.1;

impl Schedule {
    pub fn new(delays: Vec<Duration>) -> Result<Self, EmptySchedule> {
        if delays.is_empty() { Err(EmptySchedule) } else { Ok(Self(delays)) }
    }

    /// The delay after the `attempt`-th try (from 1), spread by ±10 %.
    pub fn delay_after(&self, attempt: i32, chance: &dyn Chance) -> Duration {
        let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(0);
        let delay = self.0.get(step).or(self.0.last()).copied().unwrap_or_default();
        chance.jitter(delay, JITTER)
    }

    /// How many delays there are: the tries after the first, for queues that end with the schedule.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SeededChance;

    #[test]
    fn delays_follow_the_schedule_and_the_last_one_repeats() {
        let schedule = Schedule::new([1, 10, 100].map(Duration::from_secs).to_vec()).unwrap();
        let chance = SeededChance::new(1);
        for (attempt, seconds) in [(1, 1.0), (2, 10.0), (3, 100.0), (4, 100.0), (99, 100.0)] {
            let delay = schedule.delay_after(attempt, &chance).as_secs_f64();
            assert!((seconds * 0.9..=seconds * 1.1).contains(&delay), "{attempt}: {delay}");
        }
        assert_eq!(Schedule::new(vec![]), Err(EmptySchedule));
    }
}
