//! A delivery: the duty to get one message to one recipient, and the one law by which it moves.
//!
//! `due → leased → settled(delivered | bounced | expired | suppressed | cancelled)`; deferral and lease
//! expiry both lead back to `due`.

use std::time::Duration;

use super::clock::{Rng, Timestamp};
use super::draft::Demand;
use super::event::EventType;
use super::hold::HoldReason;
use super::id::{AttemptId, MessageId, ProjectId, RecipientId};
use super::lease::Lease;
use super::outcome::{AttemptReport, Outcome};
use super::recipient::RecipientStatus;
use super::retry::Schedule;
use super::route::{SANDBOX_LANE, SMARTHOST_LANE};
use super::shard::Shard;
use super::suppression::NewSuppression;

/// A delivery under our lease.
#[derive(Debug, Clone)]
pub struct LeasedDelivery {
    pub lease: Lease,
    pub message: MessageId,
    pub recipient: RecipientId,
    pub project: ProjectId,
    /// Lower is served first.
    pub priority: i16,
    pub next_hop: String,
    pub demand: Demand,
    /// Bytes of the message.
    pub size: usize,
    pub due_at: Timestamp,
    /// Its last instant.
    pub expires_at: Timestamp,
    /// Claims whose process never said how they ended: they take no step of the schedule.
    pub rescued: i32,
    /// Tries after which the message may have been taken.
    pub uncertain: i32,
    /// The last try met trouble of the server: this one draws on the budget of retries of its lane.
    pub charged: bool,
    /// Its project moved the time of its test mail: this try is made as of that instant, and not of now.
    pub as_of: Option<Timestamp>,
}

/// Deliveries that are alike to a claim: of one shard, one priority, one project, for one next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub shard: Shard,
    /// Lower is served first.
    pub priority: i16,
    pub project: ProjectId,
    pub next_hop: String,
}

/// A delivery that is put off without a try, or let go of: its claim does not count as an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    pub lease: Lease,
    pub until: Timestamp,
    pub why: Option<HoldReason>,
}

/// Tries after which a server that says when to come back is believed; later its word only makes the schedule longer, or
/// a stranger would set the interval of tries for days.
const HINTS_BELIEVED: i32 = 2;

/// When a try is repeated.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// The schedule of the outcome's class.
    pub schedule: Schedule,
    /// The least wait after an uncertain try, for the receiver to finish what it may have begun.
    pub uncertain: Duration,
    /// Uncertain tries of a delivery: after the last one it is given up, since each may be a copy.
    pub uncertain_max: i32,
}

/// Where a delivery goes after a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Back to `due` at that instant.
    Due(Timestamp),
    /// Final: it leaves the queue.
    Settled,
}

/// What one try changes: the recipient's state, the queue row, and the event that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub status: RecipientStatus,
    pub next: Next,
    pub event: EventType,
}

impl LeasedDelivery {
    /// Whether it is of that group.
    pub fn is_of(&self, group: &Group) -> bool {
        let same = (self.lease.shard, self.priority, self.project) == (group.shard, group.priority, group.project);
        same && self.next_hop == group.next_hop
    }

    /// The recipient's domain, where its next hop tells.
    pub fn domain(&self) -> Option<&str> {
        Some(self.next_hop.as_str()).filter(|hop| ![SMARTHOST_LANE, SANDBOX_LANE].contains(hop))
    }

    /// The instant of a try that is made now.
    pub fn instant(&self, now: Timestamp) -> Timestamp {
        self.as_of.unwrap_or(now)
    }

    /// Whether its last instant has passed.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// The transition that `outcome` causes. A retry never lies beyond the last instant: it falls on
    /// it, where the delivery expires.
    pub fn conclude(
        &self,
        outcome: &Outcome,
        policy: impl FnOnce() -> RetryPolicy,
        now: Timestamp,
        rng: &dyn Rng,
    ) -> Transition {
        let hint = outcome.trouble().and_then(|trouble| trouble.action.retry_after);
        let tries = (self.lease.attempt - self.rescued).max(1);
        let delay = |policy: &RetryPolicy| {
            let scheduled = policy.schedule.delay_after(tries, rng);
            // A little later than all at once.
            let hinted = hint.map(|hint| rng.jitter(hint.mul_f64(1.05), 0.05 / 1.05));
            match hinted {
                None => scheduled,
                Some(hinted) if tries <= HINTS_BELIEVED => hinted,
                Some(hinted) => hinted.max(scheduled),
            }
        };
        let settled = |status, event| Transition { status, next: Next::Settled, event };
        let deferred = |delay: Duration| Transition {
            status: RecipientStatus::Deferred,
            next: Next::Due((now + delay).min(self.expires_at)),
            event: EventType::Deferred,
        };
        match outcome {
            Outcome::Accepted(_) => settled(RecipientStatus::Delivered, EventType::Delivered),
            Outcome::Rejected(_) => settled(RecipientStatus::Bounced, EventType::Bounced),
            Outcome::Expired => settled(RecipientStatus::Expired, EventType::Expired),
            Outcome::Suppressed(_) => settled(RecipientStatus::Suppressed, EventType::Suppressed),
            Outcome::Deferred(_) | Outcome::Uncertain(_) if self.is_expired(now) => {
                settled(RecipientStatus::Expired, EventType::Expired)
            }
            Outcome::Deferred(_) => deferred(delay(&policy())),
            Outcome::Uncertain(_) => {
                let policy = policy();
                if self.uncertain + 1 >= policy.uncertain_max {
                    return settled(RecipientStatus::Bounced, EventType::Bounced);
                }
                deferred(delay(&policy).max(policy.uncertain))
            }
        }
    }
}

/// A try and what follows from it, to be written in one commit.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Made once, so that a commit whose answer was lost can be repeated.
    pub attempt: AttemptId,
    pub delivery: LeasedDelivery,
    pub transition: Transition,
    pub report: AttemptReport,
    /// What it says of the address; written before the settlement, so that no crash loses it.
    pub suppression: Option<Box<NewSuppression>>,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::class::OwnClass;
    use crate::domain::clock::SeededRng;
    use crate::domain::outcome::Trouble;
    use crate::domain::reply::Reply;
    use crate::domain::retry::Jitter;
    use uuid::Uuid;

    const NOW: Timestamp = datetime!(2026-11-22 10:00 UTC);

    fn delivery(expires_in: i64) -> LeasedDelivery {
        LeasedDelivery {
            lease: Lease { shard: Shard::of_low_bits(0), id: Uuid::nil(), token: Uuid::nil(), attempt: 1 },
            message: MessageId::from_uuid(Uuid::nil()),
            recipient: RecipientId::from_uuid(Uuid::nil()),
            project: ProjectId::from_uuid(Uuid::nil()),
            priority: 1,
            next_hop: "example.org".into(),
            demand: Demand::default(),
            size: 1,
            due_at: NOW,
            expires_at: NOW + time::Duration::seconds(expires_in),
            rescued: 0,
            uncertain: 0,
            charged: false,
            as_of: None,
        }
    }

    fn conclude(outcome: &Outcome, expires_in: i64) -> Transition {
        conclude_of(&delivery(expires_in), outcome)
    }

    fn conclude_of(delivery: &LeasedDelivery, outcome: &Outcome) -> Transition {
        let policy = || RetryPolicy {
            schedule: Schedule::new(vec![Duration::from_secs(10)], Jitter::DEFAULT).unwrap(),
            uncertain: Duration::from_mins(1),
            uncertain_max: 3,
        };
        delivery.conclude(outcome, policy, NOW, &SeededRng::new(5))
    }

    fn wait(delivery: &LeasedDelivery, outcome: &Outcome) -> Option<i64> {
        match conclude_of(delivery, outcome).next {
            Next::Due(at) => Some((at - NOW).whole_seconds()),
            Next::Settled => None,
        }
    }

    fn trouble() -> Trouble {
        Trouble::new(OwnClass::Connection, "refused")
    }

    #[test]
    fn acceptance_refusal_and_expiry_settle() {
        let reply = Reply { code: 250, enhanced: None, text: "ok".into() };
        for (outcome, status) in [
            (Outcome::Accepted(reply), RecipientStatus::Delivered),
            (Outcome::Rejected(trouble()), RecipientStatus::Bounced),
            (Outcome::Expired, RecipientStatus::Expired),
        ] {
            let transition = conclude(&outcome, 100);
            assert_eq!((transition.status, transition.next), (status, Next::Settled));
        }
    }

    #[test]
    fn a_deferral_is_due_again_by_the_schedule_but_never_after_its_last_instant() {
        let Next::Due(at) = conclude(&Outcome::Deferred(trouble()), 100).next else { panic!() };
        assert!((9..=11).contains(&(at - NOW).whole_seconds()));
        let short = conclude(&Outcome::Deferred(trouble()), 3);
        assert_eq!(short.next, Next::Due(NOW + time::Duration::seconds(3)));
        assert_eq!(conclude(&Outcome::Deferred(trouble()), 0).status, RecipientStatus::Expired);
    }

    #[test]
    fn a_hint_is_believed_twice_and_then_only_makes_the_schedule_longer() {
        let hinted = |seconds, attempt, rescued| {
            let mut trouble = trouble();
            trouble.action.retry_after = Some(Duration::from_secs(seconds));
            let mut delivery = delivery(10_000);
            (delivery.lease.attempt, delivery.rescued) = (attempt, rescued);
            wait(&delivery, &Outcome::Deferred(trouble)).unwrap()
        };
        assert!(hinted(2, 1, 0) <= 2 && hinted(2, 2, 0) <= 2);
        assert!(hinted(2, 3, 0) >= 9, "the schedule says ten seconds");
        assert!(hinted(2, 3, 1) <= 2, "a claim that nobody knows the end of was no try");
        assert!(hinted(100, 9, 0) >= 100);
    }

    #[test]
    fn copies_that_nobody_answers_for_are_bounded() {
        let mut delivery = delivery(10_000);
        assert_eq!(wait(&delivery, &Outcome::Uncertain(trouble())), Some(60));
        delivery.uncertain = 2;
        let given_up = conclude_of(&delivery, &Outcome::Uncertain(trouble()));
        assert_eq!((given_up.status, given_up.next), (RecipientStatus::Bounced, Next::Settled));
        assert!(wait(&delivery, &Outcome::Deferred(trouble())).is_some(), "what was not sent made no copy");
    }

    #[test]
    fn an_uncertain_try_waits_at_least_its_own_delay() {
        let Next::Due(at) = conclude(&Outcome::Uncertain(trouble()), 1000).next else { panic!() };
        assert_eq!(at, NOW + time::Duration::seconds(60));
    }
}
