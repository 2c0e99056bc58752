//! One attempt, as a list of steps: not expired → route → source → lane → load → session → transact → classify.
//! Each step may end it with a report, or with a reason to put it off.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::classify;
use super::lanes::{Follower, Lane, Offer, SessionFacts, Sign, Slot, Turn, Why};
use super::smtp::dialogue::{Stage, Verdict};
use super::smtp::session::{Failure, FailureKind, Opening, Outgoing, Session};
use super::tls_counts::{policy_type, result_of};
use super::worker::{Deliverer, STORE_PAUSE};
use crate::domain::delivery::LeasedDelivery;
use crate::domain::envelope::{Envelope, Needs};
use crate::domain::message::TlsDemand;
use crate::domain::outcome::{AttemptReport, Outcome, Trouble};
use crate::domain::peer::{Peer, Source};
use crate::domain::reply::{EnhancedStatus, Reply};
use crate::domain::route::{SANDBOX_LANE, SMARTHOST_LANE, TlsPolicy};
use crate::handover::Carried;
use crate::routing::{Ask, Plan, Routed};
use crate::store::claims::{Load, Loaded};

/// A try over IPv6 costs no more than this while IPv4 remains.
const IPV6_PATIENCE: Duration = Duration::from_secs(2);

/// What became of an attempt.
pub enum Ended {
    Tried(AttemptReport),
    /// It was not begun: not before that instant.
    Held { until: Instant, why: &'static str },
    /// The lease is somebody else's by now.
    NotOurs,
}

/// A message on its way, and what is known of the way.
struct Way<'a> {
    plan: &'a Plan,
    routed: &'a Routed,
    domain: &'a str,
    source: &'a Source,
    lane: &'a Arc<Lane>,
    is_retry: bool,
}

impl Deliverer {
    pub(super) async fn attempt(&self, delivery: &LeasedDelivery, mut carried: Option<Carried>) -> Ended {
        if self.is_expired(delivery) {
            return Ended::Tried(AttemptReport::without_session(Outcome::Expired, "expiry"));
        }
        if delivery.next_hop == SANDBOX_LANE {
            return self.deliver_to_sandbox(delivery).await;
        }
        let plan = self.router.traffic.plan();
        let (domain, mut loaded) = match self.domain_of(&plan, delivery, carried.as_ref()).await {
            Ok(known) => known,
            Err(ended) => return ended,
        };
        let ask = Ask { project: delivery.project, domain: &domain, tls: delivery.demand.tls };
        let routed = match self.router.route(ask).await {
            Ok(routed) => routed,
            Err(no_route) => {
                let outcome = classify::of_no_route(&no_route);
                return Ended::Tried(AttemptReport::without_session(outcome, "resolve"));
            }
        };
        let today = self.clock.now().date();
        let source = match self.sources.choose(&plan, &routed, delivery.demand.ip_pool.as_deref(), &domain, today) {
            Ok(source) => source,
            Err(none) => return Ended::Held { until: none.until, why: none.why },
        };
        let lane = self.lanes.lane(&plan, &routed, &domain, &source.name);
        let is_retry = delivery.lease.attempt > 1;
        let offer = || {
            let carried = carried.as_ref()?;
            let envelope = envelope(delivery, &carried.sender, &carried.recipient, &carried.raw);
            Some(Offer { envelope, peers: routed.peers.clone() })
        };
        let (slot, session) = match lane.turn(is_retry, offer).await {
            Turn::Slot { slot, session } => (slot, session),
            Turn::Held { until, why } => return self.held(delivery, &lane, until, why),
        };
        let _carrying = carried.as_mut().and_then(|carried| carried.memory.take());
        let memory = if carried.is_none() { Some(self.lanes.memory(&lane, delivery.size).await) } else { None };
        if loaded.as_ref().is_none_or(|(_, at)| at.elapsed() > self.handover.span / 2) {
            loaded = match self.message_of(delivery, carried).await {
                Some(Load::Ready(loaded)) => Some((loaded, Instant::now())),
                other => return not_loaded(delivery, other),
            };
        }
        let Some((loaded, _)) = loaded else { return Ended::NotOurs };
        // The turn may have been long in coming.
        if self.is_expired(delivery) {
            return Ended::Tried(AttemptReport::without_session(Outcome::Expired, "expiry"));
        }
        let way = Way { plan: &plan, routed: &routed, domain: &domain, source: &source, lane: &lane, is_retry };
        let envelope = envelope(delivery, &loaded.sender, &loaded.recipient, &loaded.raw);
        let message = Outgoing { envelope: &envelope, raw: &loaded.raw };
        let report = self.try_peers(&way, slot, session, message).await;
        drop(memory);
        if way.lane.paused_until().is_none() {
            self.handover.places.uncurb(&delivery.next_hop);
        }
        Ended::Tried(report)
    }

    /// The recipient's domain, where the way depends on it; with the message, if it had to be read back for that.
    async fn domain_of(
        &self,
        plan: &Plan,
        delivery: &LeasedDelivery,
        carried: Option<&Carried>,
    ) -> Result<(String, Option<(Loaded, Instant)>), Ended> {
        match carried {
            Some(carried) => Ok((carried.recipient.domain().to_owned(), None)),
            None if delivery.next_hop != SMARTHOST_LANE => Ok((delivery.next_hop.clone(), None)),
            None if !plan.shaping.heeds_domains() => Ok((String::new(), None)),
            None => match self.loader.load(delivery).await {
                Some(Load::Ready(loaded)) => {
                    Ok((loaded.recipient.domain().to_owned(), Some((loaded, Instant::now()))))
                }
                other => Err(not_loaded(delivery, other)),
            },
        }
    }

    fn is_expired(&self, delivery: &LeasedDelivery) -> bool {
        delivery.expires_at <= self.clock.now()
    }

    /// A lane that takes nothing for now: what else waits for that next hop need not be claimed to learn the same.
    fn held(&self, delivery: &LeasedDelivery, lane: &Lane, until: Instant, why: Why) -> Ended {
        if matches!(why, Why::Paused | Why::Shared) {
            let until = lane.paused_until().unwrap_or(until);
            self.handover.places.curb(&delivery.next_hop, until);
        }
        // Not all at the first instant.
        let wait = until.saturating_duration_since(Instant::now());
        let spread = self.chance.jitter(wait.mul_f64(1.1), 0.1 / 1.1);
        Ended::Held { until: Instant::now() + spread, why: why.in_words() }
    }

    /// What goes on the wire: as it was handed over while the lease is young, else from the store, which also says
    /// whether the lease is still ours.
    async fn message_of(&self, delivery: &LeasedDelivery, carried: Option<Carried>) -> Option<Load> {
        match carried {
            Some(Carried { sender, recipient, raw, since, .. }) if since.elapsed() < self.handover.span / 2 => {
                Some(Load::Ready(Loaded { sender, recipient, raw }))
            }
            _ => self.loader.load(delivery).await,
        }
    }

    async fn deliver_to_sandbox(&self, delivery: &LeasedDelivery) -> Ended {
        while let Err(error) = self.store.deliver_to_sandbox(delivery, self.clock.now()).await {
            tracing::warn!(message = %delivery.message, %error, "the sandbox cannot be written");
            if !error.is_away() {
                return Ended::NotOurs;
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
        let enhanced = Some(EnhancedStatus { class: 2, subject: 0, detail: 0 });
        let reply = Reply { code: 250, enhanced, text: "kept in the sandbox".to_owned() };
        Ended::Tried(AttemptReport {
            host: Some("sandbox".to_owned()),
            tls: Some("none".to_owned()),
            ..AttemptReport::without_session(Outcome::Accepted(reply), "sandbox")
        })
    }

    /// Speaks to one host after the other, until one gives a verdict or may have taken the message. A session that
    /// was kept, or handed over, and turns out to be stale is replaced by a new one, at no cost to the message.
    async fn try_peers(
        &self,
        way: &Way<'_>,
        slot: Slot,
        given: Option<Session>,
        message: Outgoing<'_>,
    ) -> AttemptReport {
        let mut slot = Some(slot);
        let mut transcript = String::new();
        let mut last: Option<Tried> = None;
        let kept = given.or_else(|| slot.as_ref().and_then(|slot| slot.take_idle(&way.routed.peers)));
        let mut tries = Tries { kept, peers: &way.routed.peers, source: way.source, next: 0 };
        while let Some(held) = slot.take() {
            let Some(next) = tries.next() else {
                slot = Some(held);
                break;
            };
            let (tried, left) = match next {
                Next::Kept(session) => self.transact(way, held, session, message, true).await,
                Next::Open(peer, hurry) => {
                    let hurry = hurry.map(|hurry| hurry.min(self.failover));
                    self.open_and_transact(way, held, peer, hurry, message).await
                }
            };
            slot = left;
            transcript.push_str(&tried.report.transcript);
            if tried.is_stale {
                continue;
            }
            let is_verdict = tried.is_verdict;
            last = Some(tried);
            if is_verdict {
                break;
            }
        }
        let mut last = last.unwrap_or_else(|| {
            let trouble = Trouble::on_the_way("dns", "the route gave no host that can be spoken to");
            Tried::verdict(AttemptReport::without_session(Outcome::Deferred(trouble), "resolve"))
        });
        last.report.transcript = transcript;
        last.report.provider.clone_from(&way.routed.provider);
        self.learn(way, &last);
        drop(slot);
        last.report
    }

    /// What the lane, and the choice of source address, learn from the attempt.
    fn learn(&self, way: &Way<'_>, tried: &Tried) {
        if let Some(sign) = classify::sign_of(&tried.report.outcome, tried.is_verdict) {
            way.lane.learn(sign, way.is_retry);
            if matches!(sign, Sign::Pause) {
                tracing::info!(group = way.routed.group, source = way.source.name, "a next hop asked for a pause");
            }
        }
        if tried.report.outcome.trouble().is_some_and(|trouble| trouble.action.switch_source) {
            self.sources.set_aside(&way.source.name, &way.routed.group);
        }
    }

    /// Opens a session with one host; a failed opportunistic handshake is followed by a new connection in the clear.
    async fn open_and_transact(
        &self,
        way: &Way<'_>,
        slot: Slot,
        mut peer: Arc<Peer>,
        hurry: Option<Duration>,
        message: Outgoing<'_>,
    ) -> (Tried, Option<Slot>) {
        let mut before = String::new();
        loop {
            if !slot.make_room().await {
                let trouble = Trouble::on_the_way("throttled", "the rate of new connections to this next hop is used up");
                return (Tried::verdict(AttemptReport::without_session(Outcome::Deferred(trouble), "connect")), Some(slot));
            }
            let opening = Opening {
                source: way.source,
                deadlines: &self.deadlines,
                tls: &self.tls,
                hurry,
                gauge: &self.metrics.smtp_sessions,
            };
            let opened = Session::open(Arc::clone(&peer), &opening).await;
            self.count_opening(way, &peer, &opened);
            match opened {
                Ok(mut session) => {
                    session.put_before(&before);
                    return self.transact(way, slot, session, message, false).await;
                }
                Err((failure, transcript)) => {
                    before.push_str(&transcript);
                    if peer.tls == TlsPolicy::Opportunistic && matches!(failure.kind, FailureKind::Tls(_)) {
                        before.push_str("-- TLS failed; a new connection in the clear\n");
                        peer = Arc::new(Peer { tls: TlsPolicy::None, ..(*peer).clone() });
                        continue;
                    }
                    return (self.unopened(way, &peer, failure, before), Some(slot));
                }
            }
        }
    }

    fn count_opening(&self, way: &Way<'_>, peer: &Peer, opened: &Result<Session, (Failure, String)>) {
        let result = if opened.is_ok() { "opened" } else { "failed" };
        self.metrics.smtp_connects.with_label_values(&[result]).inc();
        if way.routed.resolution.is_none() {
            return;
        }
        let today = self.clock.now().date();
        match opened {
            Ok(session) => {
                self.router.note_alive(peer.address.ip());
                let result = if session.tls == "none" { "starttls-not-supported" } else { "successful" };
                self.tls_counts.count(&self.metrics, way.domain, peer, result, today);
            }
            Err((failure, _)) => {
                if matches!(failure.stage, Stage::Connect | Stage::Greeting) {
                    self.router.note_dead(peer.address.ip());
                }
                if let Some(result) = result_of(failure, peer.basis) {
                    self.tls_counts.count(&self.metrics, way.domain, peer, result, today);
                }
            }
        }
    }

    fn unopened(&self, way: &Way<'_>, peer: &Peer, failure: Failure, transcript: String) -> Tried {
        let stage = failure.stage;
        let tls = match (&failure.kind, peer.tls) {
            (FailureKind::Tls(_), _) => Some(format!("failed {}", policy_type(peer.basis))),
            _ if stage == Stage::StartTls => Some("failed".to_owned()),
            _ => None,
        };
        let outcome = classify::of_failure(&way.plan.classifier, way.routed.provider.as_deref(), failure);
        let report = AttemptReport {
            host: Some(peer.host.clone()),
            ip: Some(peer.address.ip().to_string()),
            source_ip: way.source.ip.map(|ip| ip.to_string()),
            tls,
            transcript,
            ..AttemptReport::without_session(outcome, stage.name())
        };
        Tried { report, is_verdict: false, is_stale: false }
    }

    /// One transaction. The slot goes on with the session when another message's envelope left behind this one.
    async fn transact(
        &self,
        way: &Way<'_>,
        slot: Slot,
        mut session: Session,
        message: Outgoing<'_>,
        is_kept: bool,
    ) -> (Tried, Option<Slot>) {
        let facts = SessionFacts { peer: Arc::clone(&session.peer), transactions: session.transactions + 1 };
        let was_pending = session.is_pending();
        let mut follower: Option<Follower> = None;
        let mut next = || {
            let (envelope, found) = way.lane.follower(&facts)?;
            follower = Some(found);
            Some(envelope)
        };
        let result = session.transact(message, &mut next).await;
        let provider = way.routed.provider.as_deref();
        let (outcome, stage, is_verdict, is_stale) = match result {
            Ok(Verdict::Accepted(reply)) => (Outcome::Accepted(reply), Stage::Dot, true, false),
            Ok(Verdict::Refused(stage, reply)) => {
                let is_before_body = stage != Stage::Dot && stage != Stage::Body;
                // A server that is going away, or that took no envelope before the reply to the last body.
                let is_stale = is_before_body && (reply.code == 421 || (was_pending && reply.code == 503));
                (classify::of_refusal(&way.plan.classifier, provider, stage, reply), stage, true, is_stale)
            }
            Err(failure) => {
                let (stage, is_uncertain) = (failure.stage, failure.is_uncertain());
                (classify::of_failure(&way.plan.classifier, provider, failure), stage, is_uncertain, !is_uncertain)
            }
        };
        let report = AttemptReport {
            outcome,
            stage: Some(stage.name()),
            provider: None,
            host: Some(session.peer.host.clone()),
            ip: Some(session.peer.address.ip().to_string()),
            source_ip: session.local.map(|local| local.ip().to_string()),
            tls: Some(session.tls.clone()),
            transcript: session.take_transcript(),
        };
        let left = match follower {
            Some(follower) => {
                if let Some(session) = slot.pass_on(follower, session) {
                    session.quit().await;
                }
                None
            }
            None => {
                slot.put_back(session).await;
                Some(slot)
            }
        };
        (Tried { report, is_verdict, is_stale: is_kept && is_stale }, left)
    }
}

fn envelope(
    delivery: &LeasedDelivery,
    sender: &crate::domain::address::Address,
    recipient: &crate::domain::address::Address,
    raw: &[u8],
) -> Envelope {
    let require_tls = delivery.demand.tls == TlsDemand::RequireTls;
    Envelope {
        needs: Needs { require_tls, ..Needs::of(sender, recipient, raw) },
        sender: sender.clone(),
        recipient: recipient.clone(),
        size: raw.len(),
        id: delivery.message.to_string(),
    }
}

fn not_loaded(delivery: &LeasedDelivery, load: Option<Load>) -> Ended {
    match load {
        Some(Load::Gone) => {
            let trouble = Trouble::new("message_gone", "the message is no longer stored");
            Ended::Tried(AttemptReport::without_session(Outcome::Rejected(trouble), "load"))
        }
        Some(Load::LeaseLost) => {
            tracing::warn!(message = %delivery.message, "a lease ran out before its message was sent");
            Ended::NotOurs
        }
        Some(Load::Ready(_)) | None => Ended::NotOurs,
    }
}

/// What came of speaking to one host.
struct Tried {
    report: AttemptReport,
    /// No other host is asked: the message was judged, or may have been taken.
    is_verdict: bool,
    /// It says nothing but that a kept session was stale.
    is_stale: bool,
}

impl Tried {
    const fn verdict(report: AttemptReport) -> Self {
        Self { report, is_verdict: true, is_stale: false }
    }
}

/// What is tried next: kept sessions, and then hosts in order.
struct Tries<'a> {
    kept: Option<Session>,
    peers: &'a [Arc<Peer>],
    source: &'a Source,
    next: usize,
}

enum Next {
    Kept(Session),
    /// With the longest that connecting may take while others remain.
    Open(Arc<Peer>, Option<Duration>),
}

impl Tries<'_> {
    fn next(&mut self) -> Option<Next> {
        if let Some(session) = self.kept.take() {
            return Some(Next::Kept(session));
        }
        let peer = self.peers[self.next..].iter().find(|peer| self.source.reaches(peer))?;
        self.next += self.peers[self.next..].iter().position(|other| Arc::ptr_eq(other, peer))? + 1;
        let rest = &self.peers[self.next..];
        let has_others = rest.iter().any(|peer| self.source.reaches(peer));
        let has_ipv4 = rest.iter().any(|other| other.address.is_ipv4() && self.source.reaches(other));
        let hurry = match (peer.address.is_ipv6() && has_ipv4, has_others) {
            (true, _) => Some(IPV6_PATIENCE),
            (_, true) => Some(Duration::MAX),
            _ => None,
        };
        Some(Next::Open(Arc::clone(peer), hurry))
    }
}
