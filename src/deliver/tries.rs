//! The tries within an attempt: kept sessions and then one host after the other, until one returns a verdict.

use std::sync::Arc;
use std::time::Duration;

use super::classify;
use super::courier::Courier;
use super::lanes::{Follower, Lane, SessionFacts, Signal, Slot};
use super::stopped::Stopped;
use super::tls_counts::{policy_type, result_of};
use crate::domain::class::OwnClass;
use crate::domain::hold::HoldReason;
use crate::domain::outcome::{AttemptReport, Outcome, Trouble};
use crate::domain::route::TlsPolicy;
use crate::domain::stage::Stage;
use crate::domain::target::{Distrust, Source, Target};
use crate::domain::tls_result::TlsResult;
use crate::queue::Gate;
use crate::routing::{PolicySnapshot, RoutePlan};
use crate::smtp::client::connection::Connection;
use crate::smtp::client::dialogue::TransactionResult;
use crate::smtp::client::failure::{Failure, FailureKind};
use crate::smtp::client::session::{Opening, Outgoing, Session, Unopened};
use crate::smtp::client::session_tls::SessionTls;

/// A try over IPv6 costs no more than this while IPv4 remains.
const IPV6_PATIENCE: Duration = Duration::from_secs(2);

/// A message on its way, and what is known of the way.
pub(super) struct AttemptContext<'a> {
    pub plan: &'a PolicySnapshot,
    pub routed: &'a RoutePlan,
    pub domain: &'a str,
    pub source: &'a Source,
    pub lane: &'a Arc<Lane>,
    pub draws: bool,
    /// Passed right before MAIL: until then the delivery can be revoked.
    pub gate: &'a Gate,
}

impl Courier {
    /// Speaks to one host after the other, until one returns a verdict or may have taken the message. A session that
    /// was kept, or handed over, and turns out to be stale is replaced by a new one, at no cost to the message.
    pub(super) async fn try_targets(
        &self,
        context: &AttemptContext<'_>,
        slot: Slot,
        given: Option<Session>,
        message: Outgoing<'_>,
    ) -> Result<AttemptReport, Stopped> {
        let kept = match given {
            Some(session) => Some(session),
            None => self.idle_session(context, &slot).await,
        };
        let mut slot = Some(slot);
        let mut transcript = String::new();
        let mut last: Option<TryResult> = None;
        // What hosts cannot take, as their EHLO says: the message's end only if no other host can either.
        let mut unfit: Option<TryResult> = None;
        let mut tries = HostSequence { kept, targets: &context.routed.targets, source: context.source, next: 0 };
        while let Some(held) = slot.take() {
            if context.gate.is_revoked() {
                return Err(Stopped::NotOurs);
            }
            let Some(next) = tries.next() else {
                slot = Some(held);
                break;
            };
            let (tried, left) = match next {
                NextTry::Kept(session) => {
                    if !context.gate.begin() {
                        held.put_back(session).await;
                        return Err(Stopped::NotOurs);
                    }
                    self.transact(context, held, session, message, true).await
                }
                // Another address of a host is the same host.
                NextTry::Open(target, _) if unfit.as_ref().is_some_and(|unfit| unfit.is_of(&target)) => {
                    slot = Some(held);
                    continue;
                }
                NextTry::Open(target, hurry) => {
                    let hurry = hurry.map(|hurry| hurry.min(self.failover));
                    match Box::pin(self.open_and_transact(context, held, target, hurry, message)).await {
                        Ok(tried) => tried,
                        Err(Stopped::NotOurs) => return Err(Stopped::NotOurs),
                        // Nothing was tried: the rate of new connections says when.
                        Err(stopped) if last.is_none() && unfit.is_none() => return Err(stopped),
                        Err(_) => break,
                    }
                }
            };
            slot = left;
            transcript.push_str(&tried.report.transcript);
            // Another session, without what did not work, is no other host's turn.
            if tried.is_stale || tried.distrust.is_some() {
                continue;
            }
            if tried.is_unfit {
                unfit = Some(tried);
                continue;
            }
            if tried.is_verdict {
                last = Some(tried);
                break;
            }
            // Of several failures the one that came furthest says most.
            if last.as_ref().is_none_or(|last| tried.stage >= last.stage) {
                last = Some(tried);
            }
        }
        let mut last = last.or(unfit).unwrap_or_else(|| {
            let trouble = Trouble::on_the_way(OwnClass::Dns, "the route gave no host that can be spoken to");
            TryResult::verdict(AttemptReport::without_session(Outcome::Deferred(trouble), Stage::Resolve))
        });
        last.report.transcript = transcript;
        last.report.provider.clone_from(&context.routed.provider);
        self.learn(context, &last);
        drop(slot);
        Ok(last.report)
    }

    /// A kept session that is still there. One that its server closed a moment after a message: no message leaves there
    /// any more before its envelope was answered.
    async fn idle_session(&self, context: &AttemptContext<'_>, slot: &Slot) -> Option<Session> {
        while let Some(mut session) = slot.take_idle(&context.routed.targets) {
            if session.is_alive().await {
                if self.quirks.of(session.target.address).lasting {
                    session.ask_first();
                }
                return Some(session);
            }
            if session.is_hot() {
                self.quirks.note(session.target.address, Distrust { lasting: true, ..Distrust::default() });
            }
        }
        None
    }

    /// What the lane, and the choice of source address, learn from the attempt.
    fn learn(&self, context: &AttemptContext<'_>, tried: &TryResult) {
        if let Some(signal) = classify::signal_of(&tried.report.outcome, tried.is_verdict) {
            context.lane.learn(signal, context.draws);
            if matches!(signal, Signal::Pause) {
                tracing::info!(lane = %context.lane.key, "a next hop asked for a pause");
            }
        }
        if tried.report.outcome.trouble().is_some_and(|trouble| trouble.action.switch_source) {
            self.sources.set_aside(&context.source.name, &context.routed.group);
        }
    }

    /// Opens a session with one host and transacts on it. What the host offers and cannot do is followed by a new
    /// connection that does without it. Stopped: the rate of new connections allows none for now, or the delivery was revoked.
    async fn open_and_transact(
        &self,
        context: &AttemptContext<'_>,
        mut slot: Slot,
        target: Arc<Target>,
        hurry: Option<Duration>,
        message: Outgoing<'_>,
    ) -> Result<(TryResult, Option<Slot>), Stopped> {
        let mut before = String::new();
        let mut distrust = self.quirks.of(target.address);
        loop {
            let held = |until| Stopped::Held { until, why: HoldReason::Rate };
            let counted = slot.make_room().await.map_err(held)?;
            let opening =
                Opening { source: context.source, deadlines: &self.deadlines, tls: &self.tls, hurry, distrust };
            let connection = Connection::new(counted, &self.metrics.smtp_sessions);
            let opened = Session::open(Arc::clone(&target), &opening, connection).await;
            self.count_opening(context, &target, &opened);
            match opened {
                Ok(session) if !context.gate.begin() => {
                    slot.put_back(session).await;
                    return Err(Stopped::NotOurs);
                }
                Ok(mut session) => {
                    session.put_before(&before);
                    let (tried, left) = self.transact(context, slot, session, message, false).await;
                    match (tried.distrust, left) {
                        (Some(found), Some(again)) => {
                            distrust = distrust.and(found);
                            before = tried.report.transcript;
                            slot = again;
                        }
                        (_, left) => return Ok((tried, left)),
                    }
                }
                Err(unopened) => {
                    before.push_str(&unopened.transcript);
                    let Some(found) = vain_offer(&target, distrust, &unopened) else {
                        return Ok((Self::unopened(context, &target, unopened.failure, before), Some(slot)));
                    };
                    before.push_str(&format!("-- a new connection {}\n", found.without()));
                    self.quirks.note(target.address, found);
                    distrust = distrust.and(found);
                }
            }
        }
    }

    fn count_opening(&self, context: &AttemptContext<'_>, target: &Target, opened: &Result<Session, Unopened>) {
        let result = if opened.is_ok() { "opened" } else { "failed" };
        self.metrics.smtp_connects.with_label_values(&[result]).inc();
        if context.routed.resolution.is_none() {
            return;
        }
        let today = self.clock.now().date();
        match opened {
            Ok(session) => {
                self.router.note_alive(target.address.ip());
                let result = match session.doubt {
                    _ if session.tls == SessionTls::None => TlsResult::StarttlsNotSupported,
                    Some(would_be) => would_be,
                    // The host is none of those that the policy names.
                    None if context.routed.is_unnamed(target) => TlsResult::ValidationFailure,
                    None => TlsResult::Successful,
                };
                self.tls_counts.count(&self.metrics, context.domain, target, result, today);
            }
            Err(Unopened { failure, .. }) => {
                if matches!(failure.stage, Stage::Connect | Stage::Greeting) {
                    self.router.note_dead(target.address.ip());
                }
                if let Some(result) = result_of(failure, target.basis) {
                    self.tls_counts.count(&self.metrics, context.domain, target, result, today);
                }
            }
        }
    }

    fn unopened(context: &AttemptContext<'_>, target: &Target, failure: Failure, transcript: String) -> TryResult {
        let stage = failure.stage;
        let tls = match (&failure.kind, target.tls) {
            (FailureKind::Tls(_), _) => Some(format!("failed {}", policy_type(target.basis))),
            _ if stage == Stage::StartTls => Some("failed".to_owned()),
            _ => None,
        };
        let outcome = classify::of_failure(&context.plan.classifier, context.routed.provider.as_deref(), failure);
        let report = AttemptReport {
            host: Some(target.host.clone()),
            ip: Some(target.address.ip().to_string()),
            source_ip: context.source.ip.map(|ip| ip.to_string()),
            tls,
            transcript,
            ..AttemptReport::without_session(outcome, stage)
        };
        TryResult { report, stage, is_verdict: false, is_unfit: false, is_stale: false, distrust: None }
    }

    /// One transaction. The slot goes on with the session when another message's envelope left behind this one.
    async fn transact(
        &self,
        context: &AttemptContext<'_>,
        slot: Slot,
        mut session: Session,
        message: Outgoing<'_>,
        is_kept: bool,
    ) -> (TryResult, Option<Slot>) {
        let facts = SessionFacts { target: Arc::clone(&session.target), transactions: session.transactions + 1 };
        let (was_pending, was_hot) = (session.is_pending(), session.is_hot());
        let mut follower: Option<Follower> = None;
        let mut next = || {
            let (envelope, found) = context.lane.follower(&facts)?;
            follower = Some(found);
            Some(envelope)
        };
        let result = session.transact(message, &mut next).await;
        let provider = context.routed.provider.as_deref();
        let found = vain_use(&session, &result, is_kept);
        if let Some(found) = found {
            self.quirks.note(session.target.address, found);
        }
        // Where the whole message may have been taken, what was learnt is for the next attempt.
        let distrust = found.filter(|_| !result.as_ref().is_err_and(Failure::is_uncertain));
        let is_unfit = matches!(result, Ok(TransactionResult::Unfit(_)));
        let is_broken = result.is_err();
        let (outcome, stage, is_verdict, is_stale) = match result {
            Ok(TransactionResult::Unfit(reply)) => {
                (classify::of_unfit(&context.plan.classifier, provider, reply), Stage::Mail, true, false)
            }
            Ok(TransactionResult::Accepted(reply)) => (Outcome::Accepted(reply), Stage::Dot, true, false),
            Ok(TransactionResult::Refused(stage, reply)) => {
                let is_before_body = stage != Stage::Dot && stage != Stage::Body;
                // A server that is going away, or that took no envelope before the reply to the last body.
                let is_stale = is_before_body && (reply.code == 421 || (was_pending && reply.code == 503));
                (classify::of_refusal(&context.plan.classifier, provider, stage, reply), stage, true, is_stale)
            }
            Err(failure) => {
                let (stage, is_uncertain) = (failure.stage, failure.is_uncertain());
                (classify::of_failure(&context.plan.classifier, provider, failure), stage, is_uncertain, !is_uncertain)
            }
        };
        let report = AttemptReport {
            outcome,
            stage: Some(stage),
            domain: None,
            condemned: None,
            provider: None,
            host: Some(session.target.host.clone()),
            ip: Some(session.target.address.ip().to_string()),
            source_ip: session.local.map(|local| local.ip().to_string()),
            tls: Some(session.tls.to_string()),
            transcript: session.take_transcript(),
        };
        let is_stale = is_kept && is_stale;
        if is_stale && is_broken && was_hot {
            self.quirks.note(session.target.address, Distrust { lasting: true, ..Distrust::default() });
        }
        let left = if is_stale || is_unfit || distrust.is_some() {
            // The message goes on with another session in this slot. One that was to follow is told to come again.
            drop(follower);
            session.quit().await;
            Some(slot)
        } else if let Some(follower) = follower {
            if let Some(session) = slot.pass_on(follower, session) {
                session.quit().await;
            }
            None
        } else {
            slot.put_back(session).await
        };
        (TryResult { report, stage, is_verdict, is_unfit, is_stale, distrust }, left)
    }
}

/// What came of speaking to one host.
struct TryResult {
    report: AttemptReport,
    stage: Stage,
    /// No other host is asked: the message was judged, or may have been taken.
    is_verdict: bool,
    /// The host lacks what the message needs; another may have it.
    is_unfit: bool,
    /// It says nothing but that a kept session was stale.
    is_stale: bool,
    /// It says nothing but that the host offers what it cannot do: the message goes to it again, without that.
    distrust: Option<Distrust>,
}

/// What a host that did not let a session be opened seems to offer in vain. Only what the policy can do without.
fn vain_offer(target: &Target, distrust: Distrust, unopened: &Unopened) -> Option<Distrust> {
    let Unopened { failure, is_secured, .. } = unopened;
    let in_tls = matches!(failure.kind, FailureKind::Tls(_))
        || matches!(failure.stage, Stage::StartTls | Stage::Handshake)
        || (*is_secured && failure.stage == Stage::Ehlo);
    // Bytes behind the reply to STARTTLS may be somebody's who wants the clear.
    let is_trusted = !matches!(failure.kind, FailureKind::Nonsense(_));
    if in_tls && is_trusted && target.tls == TlsPolicy::Opportunistic && !distrust.starttls {
        return Some(Distrust { starttls: true, ..Distrust::default() });
    }
    // RFC 5321 §3.2, of a server that hangs up where it should refuse.
    let at_ehlo = failure.stage == Stage::Ehlo && !is_secured && matches!(failure.kind, FailureKind::Broken(_));
    let is_plain = !target.tls.is_mandatory() && target.credentials.is_none();
    (at_ehlo && is_plain && !distrust.ehlo).then(|| Distrust { ehlo: true, ..Distrust::default() })
}

/// What a transaction shows to be offered in vain: a chunk that was refused as a command, or broke the session, and a
/// session that broke off right behind STARTTLS.
fn vain_use(session: &Session, result: &Result<TransactionResult, Failure>, is_kept: bool) -> Option<Distrust> {
    let chunking = Some(Distrust { chunking: true, ..Distrust::default() });
    match result {
        Ok(TransactionResult::Refused(Stage::Dot | Stage::Body, reply)) if session.uses_chunk() => {
            chunking.filter(|_| matches!(reply.code, 500 | 501 | 502 | 503 | 504 | 555))
        }
        Err(Failure { stage: Stage::Dot | Stage::Body, kind: FailureKind::Broken(_) | FailureKind::Silent(_) })
            if session.uses_chunk() =>
        {
            chunking
        }
        Err(Failure {
            stage: Stage::Mail | Stage::Rcpt | Stage::Data,
            kind: FailureKind::Broken(_) | FailureKind::Silent(_),
        }) if !is_kept && session.may_suffer_from_tls() => Some(Distrust { starttls: true, ..Distrust::default() }),
        _ => None,
    }
}

impl TryResult {
    /// Whether it is of that host.
    fn is_of(&self, target: &Target) -> bool {
        self.report.host.as_ref() == Some(&target.host)
    }

    const fn verdict(report: AttemptReport) -> Self {
        Self { report, stage: Stage::Connect, is_verdict: true, is_unfit: false, is_stale: false, distrust: None }
    }
}

/// What is tried next: kept sessions, and then hosts in order.
struct HostSequence<'a> {
    kept: Option<Session>,
    targets: &'a [Arc<Target>],
    source: &'a Source,
    next: usize,
}

#[expect(clippy::large_enum_variant, reason = "made and taken apart in one step")]
enum NextTry {
    Kept(Session),
    /// With the longest that connecting may take while others remain.
    Open(Arc<Target>, Option<Duration>),
}

impl HostSequence<'_> {
    fn next(&mut self) -> Option<NextTry> {
        if let Some(session) = self.kept.take() {
            return Some(NextTry::Kept(session));
        }
        let target = self.targets[self.next..].iter().find(|target| self.source.reaches(target))?;
        self.next += self.targets[self.next..].iter().position(|other| Arc::ptr_eq(other, target))? + 1;
        let rest = &self.targets[self.next..];
        let has_others = rest.iter().any(|target| self.source.reaches(target));
        let has_ipv4 = rest.iter().any(|other| other.address.is_ipv4() && self.source.reaches(other));
        let hurry = match (target.address.is_ipv6() && has_ipv4, has_others) {
            (true, _) => Some(IPV6_PATIENCE),
            (_, true) => Some(Duration::MAX),
            _ => None,
        };
        Some(NextTry::Open(Arc::clone(target), hurry))
    }
}
