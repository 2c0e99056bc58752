//! Warm-up: how much a receiver gets from an address, or from a domain, that it does not know yet. The next step is taken after a
//! day on which nearly as much was sent as the step allows, and was taken well; one back when it was not. Who sends little stays
//! where they are, who stops for long begins anew: receivers forget.

use std::collections::HashMap;

use time::{Date, Duration};

use super::words::words;

/// Messages to one receiver in a day, at each step, from a domain. After the last, any number.
pub const DOMAIN_STEPS: [u64; 12] = [50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400];
/// After so long without mail, receivers do not know it any more.
pub const FORGOTTEN: Duration = Duration::days(30);

/// Percent of what a step allows that must have been sent for the next.
const FULL_PERCENT: u64 = 70;
/// Tries of a day from which on shares of them say something.
const ENOUGH: u64 = 20;
/// Above these shares a receiver does not like what it gets.
const REFUSED_PERCENT: u64 = 5;
const DEFERRED_PERCENT: u64 = 30;
const COMPLAINTS_PER_MILLE: u64 = 3;

words! {
    /// What is warmed up.
    pub enum WarmupKind {
        /// Subjects are names of source addresses.
        Address = "address",
        /// Subjects are ids of sending domains.
        Domain = "domain",
    }
}

/// What is warmed up, and who it is warmed up for.
pub type Pair = (String, String);

/// What is warmed up, by which steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warming {
    pub subject: String,
    /// The first day that counts.
    pub since: Option<Date>,
    /// Messages to one receiver in a day, at each step.
    pub steps: Vec<u64>,
}

/// What a receiver was sent on one day, and made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    pub date: Date,
    /// Those that were taken.
    pub messages: u64,
    /// Tries that were put off because of who sends, how much, or what.
    pub deferred: u64,
    /// Refused because of that.
    pub refused: u64,
    pub complaints: u64,
}

impl Day {
    /// Whether the receiver did not like it.
    const fn went_badly(&self) -> bool {
        if self.complaints >= 2 && self.complaints * 1000 >= self.messages * COMPLAINTS_PER_MILLE {
            return true;
        }
        let tries = self.messages + self.deferred + self.refused;
        tries >= ENOUGH
            && (self.refused * 100 >= tries * REFUSED_PERCENT || self.deferred * 100 >= tries * DEFERRED_PERCENT)
    }
}

/// How far a warm-up has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Steps taken.
    pub step: u16,
    /// The last day with mail that was judged.
    pub judged: Option<Date>,
}

impl Progress {
    /// What may be sent to the receiver in a day; `None`: any number.
    pub fn allowance(self, steps: &[u64], today: Date) -> Option<u64> {
        let is_forgotten = self.judged.is_some_and(|judged| today - judged > FORGOTTEN);
        let step = if is_forgotten { 0 } else { self.step };
        steps.get(usize::from(step)).copied()
    }

    /// What it is after these days, of which each has mail; in their order. Those that were judged before change nothing.
    #[must_use]
    pub fn after(self, days: &[Day], steps: &[u64]) -> Self {
        let most = u16::try_from(steps.len()).unwrap_or(u16::MAX);
        let mut progress = self;
        for day in days {
            if progress.judged.is_some_and(|judged| day.date <= judged) {
                continue;
            }
            if progress.judged.is_some_and(|judged| day.date - judged > FORGOTTEN) {
                progress.step = 0;
            }
            progress.step = progress.step.min(most);
            let allowed = steps.get(usize::from(progress.step));
            if day.went_badly() {
                progress.step = progress.step.saturating_sub(1);
            } else if allowed
                .is_some_and(|allowed| day.messages.saturating_mul(100) >= allowed.saturating_mul(FULL_PERCENT))
            {
                progress.step += 1;
            }
            progress.judged = Some(day.date);
        }
        progress
    }
}

/// What was sent in a while, and how it was taken at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Less those that were counted and did not leave.
    pub messages: i64,
    pub accepted: i64,
    /// Because of who sends, how much, or what.
    pub deferred: i64,
    /// The same.
    pub refused: i64,
}

impl Usage {
    /// One message.
    pub const ONE: Self = Self { messages: 1, accepted: 0, deferred: 0, refused: 0 };

    /// So many messages.
    pub fn of(count: u64) -> Self {
        Self { messages: i64::try_from(count).unwrap_or(i64::MAX), ..Self::default() }
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.accepted += other.accepted;
        self.deferred += other.deferred;
        self.refused += other.refused;
    }
}

/// What one process sent on a day, to be added to what all have sent.
pub type Batch = (Date, Vec<(Pair, Usage)>);

/// A day's mail of everything that is warmed up, as far as one process knows: what all had sent when it asked last, and what it
/// sent since. What belongs to another day changes nothing of this one.
#[derive(Debug, Default)]
pub struct Ledger {
    day: Option<Date>,
    known: HashMap<Pair, u64>,
    fresh: HashMap<Pair, Usage>,
    /// Of the day before, what was not told yet.
    left: Option<Batch>,
    progress: HashMap<Pair, Progress>,
    /// The day before which all days were judged.
    judged: Option<Date>,
    /// Processes that share what is left.
    processes: u64,
}

impl Ledger {
    /// Begins a day, unless it is the one that was begun, or just over: whoever asked the time before midnight may come after it.
    pub fn begin(&mut self, today: Date) {
        let Some(day) = self.day else {
            self.day = Some(today);
            return;
        };
        if day == today || day.previous_day() == Some(today) {
            return;
        }
        let fresh = std::mem::take(&mut self.fresh);
        self.left = Some((day, fresh.into_iter().collect::<Vec<_>>())).filter(|(_, fresh)| !fresh.is_empty());
        (self.day, self.known) = (Some(today), HashMap::new());
    }

    /// Whether it may send so many more today, at these steps. Each process assumes that the others send as much as it does.
    pub fn has_room(&self, pair: &Pair, count: u64, steps: &[u64], today: Date) -> bool {
        self.room(pair, steps, today).is_none_or(|room| count <= room)
    }

    /// How many more it may send today, at these steps; `None`: any number.
    pub fn room(&self, pair: &Pair, steps: &[u64], today: Date) -> Option<u64> {
        let allowed = self.progress.get(pair).copied().unwrap_or_default().allowance(steps, today)?;
        Some(allowed.saturating_sub(self.sent(pair)))
    }

    /// Messages sent on the day, as far as is known.
    pub fn sent(&self, pair: &Pair) -> u64 {
        let fresh = self.fresh.get(pair).map_or(0, |usage| usage.messages);
        let processes = i64::try_from(self.processes.max(1)).unwrap_or(1);
        self.known.get(pair).copied().unwrap_or(0).saturating_add_signed(fresh.saturating_mul(processes))
    }

    /// Counts what was sent, or came of what was sent, on a day; of another than this one, nothing.
    pub fn add(&mut self, pair: Pair, usage: Usage, day: Date) {
        if self.day == Some(day) {
            *self.fresh.entry(pair).or_default() += usage;
        }
    }

    /// Takes back messages of a day, which did not leave.
    pub fn give_back(&mut self, pair: Pair, count: u64, day: Date) {
        self.add(pair, Usage { messages: -Usage::of(count).messages, ..Usage::default() }, day);
    }

    /// What was sent since the last call, by day.
    pub fn take_fresh(&mut self, today: Date) -> Vec<Batch> {
        self.begin(today);
        let mut batches: Vec<_> = self.left.take().into_iter().collect();
        let taken: Vec<_> = self.fresh.drain().collect();
        for (pair, usage) in &taken {
            let known = self.known.entry(pair.clone()).or_default();
            *known = known.saturating_add_signed(usage.messages);
        }
        batches.extend(self.day.filter(|_| !taken.is_empty()).map(|day| (day, taken)));
        batches
    }

    /// Has what was taken added again next time, since it could not be; of days but this one and the one before it is forgotten.
    pub fn put_back(&mut self, batches: Vec<Batch>) {
        for (day, taken) in batches {
            if self.day != Some(day) {
                if self.day.and_then(Date::previous_day) == Some(day) {
                    let since = self.left.take().filter(|(of, _)| *of == day).map_or_else(Vec::new, |(_, since)| since);
                    let mut all: HashMap<Pair, Usage> = HashMap::new();
                    for (pair, usage) in taken.into_iter().chain(since) {
                        *all.entry(pair).or_default() += usage;
                    }
                    self.left = Some((day, all.into_iter().collect()));
                }
                continue;
            }
            for (pair, usage) in taken {
                if let Some(known) = self.known.get_mut(&pair) {
                    *known = known.saturating_add_signed(usage.messages.saturating_neg());
                }
                self.add(pair, usage, day);
            }
        }
    }

    /// Takes over what all processes have sent on a day.
    pub fn learn(&mut self, day: Date, totals: HashMap<Pair, u64>, processes: u64) {
        self.processes = processes;
        if self.day == Some(day) {
            self.known.extend(totals);
        }
    }

    /// Whether the days before today are still to be judged.
    pub fn is_behind(&self, today: Date) -> bool {
        self.judged != Some(today)
    }

    /// Takes over how far something has come.
    pub fn learn_progress(&mut self, progress: HashMap<Pair, Progress>) {
        self.progress.extend(progress);
    }

    /// Takes over how far everything has come by the days before today, and nothing else is known.
    pub fn judge(&mut self, progress: HashMap<Pair, Progress>, today: Date) {
        self.progress = progress;
        self.judged = Some(today);
    }

    /// Notes whether the days before today are judged.
    pub fn note_judged(&mut self, judged: Option<Date>) {
        self.judged = judged;
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    const STEPS: [u64; 3] = [50, 100, 200];

    fn day(number: i64, messages: u64) -> Day {
        let date = date!(2026 - 11 - 01) + Duration::days(number);
        Day { date, messages, deferred: 0, refused: 0, complaints: 0 }
    }

    fn step(days: &[Day]) -> u16 {
        Progress::default().after(days, &STEPS).step
    }

    #[test]
    fn a_step_is_taken_by_volume_and_by_result() {
        assert_eq!(step(&[day(0, 34)]), 0, "too little");
        assert_eq!(step(&[day(0, 35)]), 1);
        assert_eq!(step(&[day(0, 500)]), 1, "one a day");
        assert_eq!(step(&[day(0, 50), day(1, 50), day(2, 100), day(3, 200)]), 3, "a day with less waits");
        let warm = Progress { step: 3, judged: None };
        assert_eq!(warm.allowance(&STEPS, date!(2026 - 11 - 01)), None);
        let bad = |day: Day| warm.after(&[day], &STEPS).step;
        assert_eq!(bad(Day { refused: 5, ..day(0, 90) }), 2);
        assert_eq!(bad(Day { refused: 5, ..day(0, 10) }), 3, "too few to say");
        assert_eq!(bad(Day { deferred: 45, ..day(0, 90) }), 2);
        assert_eq!(bad(Day { complaints: 1, ..day(0, 90) }), 3, "one is nobody's pattern");
        assert_eq!(bad(Day { complaints: 3, ..day(0, 1000) }), 2);
        assert_eq!(bad(Day { complaints: 2, ..day(0, 1000) }), 3);
        assert_eq!(step(&[Day { refused: 50, ..day(0, 50) }]), 0, "never below the first");
    }

    #[test]
    fn a_day_is_judged_once_and_what_rested_for_long_begins_anew() {
        let two = [day(0, 50), day(1, 100)];
        let once = Progress::default().after(&two, &STEPS);
        assert_eq!((once, once.after(&two, &STEPS)), (Progress { step: 2, judged: Some(two[1].date) }, once));
        assert_eq!(once.after(&[day(31, 10)], &STEPS).step, 2);
        assert_eq!(once.after(&[day(32, 10)], &STEPS).step, 0);
        assert_eq!(once.allowance(&STEPS, day(31, 0).date), Some(200));
        assert_eq!(once.allowance(&STEPS, day(32, 0).date), Some(50));
        assert_eq!(once.after(&[day(2, 1)], &[50]).step, 1, "a curve that was made shorter");
    }

    #[test]
    fn what_a_process_does_not_know_of_others_it_takes_to_be_as_much_as_its_own() {
        let today = date!(2026 - 11 - 28);
        let pair = || ("a".to_owned(), "google".to_owned());
        let mut ledger = Ledger::default();
        ledger.begin(today);
        ledger.learn(today, HashMap::from([(pair(), 40)]), 3);
        for _ in 0..3 {
            ledger.add(pair(), Usage::ONE, today);
        }
        assert_eq!(ledger.sent(&pair()), 49);
        assert!(ledger.has_room(&pair(), 1, &STEPS, today));
        ledger.add(pair(), Usage::ONE, today);
        assert!(!ledger.has_room(&pair(), 1, &STEPS, today));
        let taken = ledger.take_fresh(today);
        assert_eq!((taken[0].0, taken[0].1.len(), ledger.sent(&pair())), (today, 1, 44));
        ledger.put_back(taken);
        assert_eq!(ledger.sent(&pair()), 52);
        ledger.judge(HashMap::from([(pair(), Progress { step: 1, judged: Some(today - Duration::days(1)) })]), today);
        assert!(ledger.has_room(&pair(), 1, &STEPS, today));
    }

    #[test]
    fn what_is_of_yesterday_is_told_as_yesterdays_and_takes_no_room_today() {
        let (yesterday, today) = (date!(2026 - 11 - 27), date!(2026 - 11 - 28));
        let pair = || ("a".to_owned(), "google".to_owned());
        let mut ledger = Ledger::default();
        ledger.begin(yesterday);
        ledger.add(pair(), Usage::ONE, yesterday);
        ledger.begin(today);
        ledger.add(pair(), Usage::ONE, today);
        // What began before midnight ends after it, and was asked for before.
        ledger.begin(yesterday);
        ledger.give_back(pair(), 1, yesterday);
        ledger.learn(yesterday, HashMap::from([(pair(), 50)]), 1);
        assert_eq!(ledger.sent(&pair()), 1, "today's alone");
        let batches = ledger.take_fresh(today);
        let one = |day| (day, vec![(pair(), Usage::ONE)]);
        assert_eq!(batches, [one(yesterday), one(today)]);
        ledger.put_back(batches);
        // What more came of yesterday lies with it.
        ledger.put_back(vec![one(yesterday)]);
        let two = Usage { messages: 2, ..Usage::default() };
        assert_eq!(ledger.take_fresh(today), [(yesterday, vec![(pair(), two)]), one(today)]);
        // A clock that is put right by more than that begins anew.
        ledger.begin(date!(2026 - 11 - 01));
        assert_eq!(ledger.sent(&pair()), 0);
    }
}
