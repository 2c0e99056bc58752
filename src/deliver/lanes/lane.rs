//! One lane: who waits for it, the sessions that it keeps, and the slots in which sessions are used. Idle sessions
//! count as connections: before a new one is made over the limit, an idle one is closed.

mod leaving;
mod turns;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

pub use turns::Standing;
use turns::Turns;

use super::control::{Admission, Control, ProcessShare, Signal};
use crate::domain::envelope::Envelope;
use crate::domain::hold::HoldReason;
use crate::domain::lane::{LanePhase, LaneSessions, LaneState};
use crate::domain::shard::Shard;
use crate::domain::target::Target;
use crate::queue::Gate;
use crate::shaping::{Limits, Rate};
use crate::smtp::client::connection::{Connections, Counted, Sockets};
use crate::smtp::client::session::Session;

/// Maximum number of waiters inspected for a follower.
const LOOK: usize = 8;

/// Interval at which one that waits for the end of another connection checks the limit again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Maximum time that a connection waits for its turn under a rate.
const RATE_PATIENCE: Duration = Duration::from_secs(10);

/// What a lane is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LaneKey {
    /// The MX group, or the smarthosts.
    pub group: String,
    /// The source address's name.
    pub source: String,
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.group, self.source)
    }
}

/// A next hop from one source address.
pub struct Lane {
    pub key: LaneKey,
    pub provider: Option<String>,
    state: Mutex<State>,
    connections: Connections,
    sockets: Arc<Sockets>,
    /// KiB of messages that were read back for it and may be held, by those who have a slot.
    pub memory: Arc<Semaphore>,
    /// The same for those who wait for one: what they hold does not stop those who have a slot.
    pub memory_ahead: Arc<Semaphore>,
}

struct State {
    control: Control,
    waiting: Turns<Waiting>,
    idle: Vec<(Session, Instant)>,
    /// A timer will look again at who waits.
    has_timer: bool,
    /// Nothing is begun any more.
    is_draining: bool,
    /// What waits in its row for the budget of retries, the first first.
    put_off: VecDeque<(Shard, Uuid)>,
    /// Which rules its limits were taken from.
    version: u64,
    used_at: Instant,
}

struct Waiting {
    offer: Option<Offer>,
    draws: bool,
    /// Its last instant.
    expires: Instant,
    grant: oneshot::Sender<Grant>,
}

/// A delivery in memory that could follow on a session of one of these targets.
#[derive(Debug)]
pub struct Offer {
    pub envelope: Envelope,
    pub targets: Vec<Arc<Target>>,
    /// Passed right before its envelope leaves.
    pub gate: Arc<Gate>,
}

/// What one that waited is given.
#[expect(clippy::large_enum_variant, reason = "moved once, from one task to another; the session is the usual case")]
pub enum Grant {
    /// A slot, perhaps with a session on which its envelope is already under way.
    Slot { slot: Slot, session: Option<Session> },
    /// Nothing for a while.
    Held { until: Instant, why: HoldReason },
    /// Its last instant passed while it waited.
    Expired,
    /// Nothing any more: the service is stopping.
    Released,
}

/// The right to use one session of a lane.
pub struct Slot {
    lane: Arc<Lane>,
    /// Its session is among the idle ones: there is nothing to return.
    is_spent: bool,
}

/// One whose envelope leaves behind the body of another: it is to be given that session.
pub struct Follower(oneshot::Sender<Grant>);

impl Lane {
    pub fn new(
        key: LaneKey,
        provider: Option<String>,
        control: Control,
        version: u64,
        (sockets, kib): (Arc<Sockets>, usize),
    ) -> Self {
        let state = State {
            control,
            waiting: Turns::default(),
            idle: Vec::new(),
            has_timer: false,
            is_draining: false,
            put_off: VecDeque::new(),
            version,
            used_at: Instant::now(),
        };
        let memory = || Arc::new(Semaphore::new(kib.max(1)));
        Self {
            key,
            provider,
            state: Mutex::new(state),
            connections: Connections::default(),
            sockets,
            memory: memory(),
            memory_ahead: memory(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its limits are those of rules of that version.
    pub fn is_of(&self, version: u64) -> bool {
        self.state().version == version
    }

    /// Takes over limits and share.
    pub fn adopt(self: &Arc<Self>, limits: Limits, share: ProcessShare, version: u64) {
        let mut state = self.state();
        state.control.adopt(limits, share, Instant::now());
        state.version = version;
        drop(state);
        self.pump();
    }

    /// Connections that this process may have open; none where others have them all.
    pub fn connections_max(&self) -> usize {
        self.state().control.connections_max()
    }

    /// Waits for a slot, for at most `left` of time. `offer` is asked for only when there is something to wait for.
    pub async fn turn(
        self: &Arc<Self>,
        standing: Standing,
        draws: bool,
        left: Duration,
        offer: impl FnOnce() -> Option<Offer>,
    ) -> Grant {
        let granted = {
            let mut state = self.state();
            let now = Instant::now();
            state.used_at = now;
            if state.is_draining {
                return Grant::Released;
            }
            let admission = if state.waiting.is_empty() { state.control.admit(draws, now) } else { Admission::Full };
            match admission {
                Admission::Go => return Grant::Slot { slot: self.slot(), session: None },
                Admission::Hold { until, why } => return Grant::Held { until, why },
                Admission::Full | Admission::At(_) => {
                    let (grant, granted) = oneshot::channel();
                    let expires = now.checked_add(left).unwrap_or(now);
                    state.waiting.push(standing, Waiting { offer: offer(), draws, expires, grant });
                    granted
                }
            }
        };
        self.pump();
        // The lane lives as long as somebody waits for it.
        granted.await.unwrap_or(Grant::Released)
    }

    fn slot(self: &Arc<Self>) -> Slot {
        Slot { lane: Arc::clone(self), is_spent: false }
    }

    /// Grants slots to those who wait, as far as the lane allows.
    fn pump(self: &Arc<Self>) {
        let mut turns = Vec::new();
        let mut state = self.state();
        let now = Instant::now();
        while let Some(first) = state.waiting.first() {
            let draws = first.draws;
            let turn = match state.control.admit(draws, now) {
                Admission::Go => Grant::Slot { slot: self.slot(), session: None },
                Admission::Hold { until, why } => Grant::Held { until, why },
                Admission::Full => break,
                Admission::At(at) => {
                    if !std::mem::replace(&mut state.has_timer, true) {
                        tokio::spawn(Arc::clone(self).look_again(at));
                    }
                    break;
                }
            };
            if let Some(first) = state.waiting.take_first() {
                turns.push((first.grant, turn));
            }
        }
        drop(state);
        for (grant, turn) in turns {
            // One that went away meanwhile leaves its slot to the next: dropping the slot looks again.
            let _ = grant.send(turn);
        }
    }

    async fn look_again(self: Arc<Self>, at: Instant) {
        sleep_until(at).await;
        self.state().has_timer = false;
        self.pump();
    }

    /// One that waits and may follow on this session, if there is one and the lane allows it. None overtakes a higher priority.
    pub fn follower(&self, session: &SessionFacts) -> Option<(Envelope, Follower)> {
        let mut state = self.state();
        if session.transactions >= state.control.limits().messages_per_connection {
            return None;
        }
        let fits = |offer: &Offer| offer.targets.iter().any(|target| target.shares_session_with(&session.target));
        // One that was revoked is passed over: it is told so when its turn comes.
        let may = |one: &Waiting| one.offer.as_ref().is_some_and(|offer| fits(offer) && !offer.gate.is_revoked());
        let draws = state.waiting.next(LOOK, may)?.draws;
        if !state.control.admit_behind(draws, Instant::now()) {
            return None;
        }
        let Waiting { offer, grant, .. } = state.waiting.take_next(LOOK, may)?;
        let offer = offer?;
        // Revoked since it was looked at: its grant is dropped, which ends its attempt.
        offer.gate.begin().then_some((offer.envelope, Follower(grant)))
    }

    /// Learns how a try ended.
    pub fn learn(self: &Arc<Self>, signal: Signal, draws: bool) {
        let mut state = self.state();
        let must_hold = state.control.learn(signal, draws, Instant::now());
        // Sessions of a next hop that does not answer are of no use either.
        let stale = if must_hold { std::mem::take(&mut state.idle) } else { Vec::new() };
        let has_waiting = !state.waiting.is_empty();
        drop(state);
        drop(stale);
        if has_waiting {
            self.pump();
        }
    }

    /// Until when it is paused.
    pub fn paused_until(&self) -> Option<Instant> {
        self.state().control.paused_until(Instant::now())
    }

    /// Whether it can be forgotten: it is not in use, none waits for it, and its breaker has nothing to remember.
    pub fn is_forgettable(&self, after: Duration) -> bool {
        let state = self.state();
        state.control.in_use() == 0
            && state.control.is_closed()
            && state.waiting.is_empty()
            && state.idle.is_empty()
            && self.connections.count() == 0
            && state.used_at.elapsed() > after
    }

    /// Idle sessions past their time, taken out to be closed; all, when `all`. Until then they count.
    pub fn take_stale(&self, all: bool) -> Vec<Session> {
        let mut state = self.state();
        let idle_for = state.control.limits().idle;
        let (stale, kept): (Vec<_>, Vec<_>) =
            state.idle.drain(..).partition(|(_, since)| all || since.elapsed() >= idle_for);
        state.idle = kept;
        stale.into_iter().map(|(session, _)| session).collect()
    }

    /// How it stands, for people; `None` when it is simply open and none waits for it.
    pub fn snapshot(&self) -> Option<LaneState> {
        let state = self.state();
        let now = Instant::now();
        let control = &state.control;
        let phase = control.phase(now);
        if phase == LanePhase::Open && state.waiting.is_empty() {
            return None;
        }
        let (limits, count) = (control.limits(), |count: usize| u32::try_from(count).unwrap_or(u32::MAX));
        Some(LaneState {
            group: self.key.group.clone(),
            source: self.key.source.clone(),
            provider: self.provider.clone(),
            phase,
            paused_for_ms: control.paused_until(now).map(|until| u64::try_from((until - now).as_millis()).unwrap_or(0)),
            sessions: LaneSessions {
                in_use: count(control.in_use()),
                idle: count(state.idle.len()),
                window: count(control.window_now()),
                limit: count(control.connections_max()),
            },
            waiting: count(state.waiting.len()),
            message_rate_per_second: limits.message_rate.map(Rate::per_second),
            connection_rate_per_second: limits.connection_rate.map(Rate::per_second),
        })
    }
}

/// What of a session decides who may follow on it.
pub struct SessionFacts {
    pub target: Arc<Target>,
    pub transactions: usize,
}

impl Slot {
    /// An idle session with the first of `targets` that has one. What is too old is left for the sweep.
    pub fn take_idle(&self, targets: &[Arc<Target>]) -> Option<Session> {
        let mut state = self.lane.state();
        let idle_for = state.control.limits().idle;
        let found = targets.iter().find_map(|target| {
            state
                .idle
                .iter()
                .rposition(|(session, since)| since.elapsed() < idle_for && session.target.shares_session_with(target))
        })?;
        Some(state.idle.remove(found).0)
    }

    /// Waits until a new connection stays within limit and rate: closes idle sessions that stand in its way. The error: when
    /// the rate allows one, if that is long in coming.
    pub async fn make_room(&self) -> Result<Counted, Instant> {
        let Lane { connections, .. } = &*self.lane;
        let counted = loop {
            let closed = connections.closed.notified();
            let in_the_way = {
                let mut state = self.lane.state();
                if connections.count() < state.control.connections_max().max(1) {
                    break connections.add();
                }
                if state.idle.is_empty() { None } else { Some(state.idle.remove(0).0) }
            };
            match in_the_way {
                Some(session) => session.quit().await,
                // One that is being closed, or is in use by more than the share that is left: it ends.
                None => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, closed).await;
                }
            }
        };
        let counted = counted.with(self.lane.sockets.one().await);
        loop {
            let now = Instant::now();
            let at = self.lane.state().control.connect_at(now);
            if at <= now {
                return Ok(counted);
            }
            if at - now > RATE_PATIENCE {
                return Err(at);
            }
            sleep_until(at).await;
        }
    }

    /// Takes a session back. Kept for another message it takes the slot's place among the connections, in one step;
    /// else it is closed while the slot, which is given back, is held.
    pub async fn put_back(mut self, session: Session) -> Option<Self> {
        let rest = {
            let mut state = self.lane.state();
            let has_room = self.lane.connections.count() <= state.control.connections_max();
            let is_young = session.transactions < state.control.limits().messages_per_connection;
            if session.is_reusable() && is_young && has_room {
                state.idle.push((session, Instant::now()));
                state.control.release();
                self.is_spent = true;
                None
            } else {
                Some(session)
            }
        };
        match rest {
            None => None,
            Some(session) => {
                session.quit().await;
                Some(self)
            }
        }
    }

    /// Passes the slot on to one whose envelope left on this session, with the session if it is still good for that.
    /// Returns the session when it is not, or when the follower is gone.
    pub fn pass_on(self, follower: Follower, session: Session) -> Option<Session> {
        let (session, rest) =
            if session.is_pending() || session.is_reusable() { (Some(session), None) } else { (None, Some(session)) };
        match follower.0.send(Grant::Slot { slot: self, session }) {
            Ok(()) | Err(Grant::Held { .. } | Grant::Expired | Grant::Released) => rest,
            Err(Grant::Slot { session, .. }) => rest.or(session),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.is_spent {
            self.lane.state().control.release();
        }
        self.lane.pump();
    }
}

#[cfg(test)]
mod tests;
