//! The tries within an attempt: kept sessions and then one host after the other, until one returns a verdict.

use std::sync::Arc;
use std::time::Duration;

use super::classify;
use super::courier::Courier;
use super::lanes::{Follower, Lane, SessionFacts, Signal, Slot};
use super::tls_counts::{policy_type, result_of};
use crate::domain::class::OwnClass;
use crate::domain::outcome::{AttemptReport, Outcome, Trouble};
use crate::domain::route::TlsPolicy;
use crate::domain::stage::Stage;
use crate::domain::target::{Source, Target};
use crate::domain::tls_result::TlsResult;
use crate::routing::{PolicySnapshot, RoutePlan};
use crate::smtp::client::connection::Connection;
use crate::smtp::client::dialogue::TransactionResult;
use crate::smtp::client::session::{Failure, FailureKind, Opening, Outgoing, Session};
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
    pub is_retry: bool,
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
    ) -> AttemptReport {
        let mut slot = Some(slot);
        let mut transcript = String::new();
        let mut last: Option<TryResult> = None;
        let kept = given.or_else(|| slot.as_ref().and_then(|slot| slot.take_idle(&context.routed.targets)));
        let mut tries = HostSequence { kept, targets: &context.routed.targets, source: context.source, next: 0 };
        while let Some(held) = slot.take() {
            let Some(next) = tries.next() else {
                slot = Some(held);
                break;
            };
            let (tried, left) = match next {
                NextTry::Kept(session) => self.transact(context, held, session, message, true).await,
                NextTry::Open(target, hurry) => {
                    let hurry = hurry.map(|hurry| hurry.min(self.failover));
                    Box::pin(self.open_and_transact(context, held, target, hurry, message)).await
                }
            };
            slot = left;
            transcript.push_str(&tried.report.transcript);
            if tried.is_stale {
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
        let mut last = last.unwrap_or_else(|| {
            let trouble = Trouble::on_the_way(OwnClass::Dns, "the route gave no host that can be spoken to");
            TryResult::verdict(AttemptReport::without_session(Outcome::Deferred(trouble), Stage::Resolve))
        });
        last.report.transcript = transcript;
        last.report.provider.clone_from(&context.routed.provider);
        self.learn(context, &last);
        drop(slot);
        last.report
    }

    /// What the lane, and the choice of source address, learn from the attempt.
    fn learn(&self, context: &AttemptContext<'_>, tried: &TryResult) {
        if let Some(signal) = classify::signal_of(&tried.report.outcome, tried.is_verdict) {
            context.lane.learn(signal, context.is_retry);
            if matches!(signal, Signal::Pause) {
                tracing::info!(lane = %context.lane.key, "a next hop asked for a pause");
            }
        }
        if tried.report.outcome.trouble().is_some_and(|trouble| trouble.action.switch_source) {
            self.sources.set_aside(&context.source.name, &context.routed.group);
        }
    }

    /// Opens a session with one host; a failed opportunistic handshake is followed by a new connection in the clear.
    async fn open_and_transact(
        &self,
        context: &AttemptContext<'_>,
        slot: Slot,
        mut target: Arc<Target>,
        hurry: Option<Duration>,
        message: Outgoing<'_>,
    ) -> (TryResult, Option<Slot>) {
        let mut before = String::new();
        loop {
            let Some(counted) = slot.make_room().await else {
                let trouble =
                    Trouble::on_the_way(OwnClass::Throttled, "the rate of new connections to this next hop is used up");
                return (
                    TryResult::verdict(AttemptReport::without_session(Outcome::Deferred(trouble), Stage::Connect)),
                    Some(slot),
                );
            };
            let opening = Opening { source: context.source, deadlines: &self.deadlines, tls: &self.tls, hurry };
            let connection = Connection::new(counted, &self.metrics.smtp_sessions);
            let opened = Session::open(Arc::clone(&target), &opening, connection).await;
            self.count_opening(context, &target, &opened);
            match opened {
                Ok(mut session) => {
                    session.put_before(&before);
                    return self.transact(context, slot, session, message, false).await;
                }
                Err((failure, transcript)) => {
                    before.push_str(&transcript);
                    if target.tls == TlsPolicy::Opportunistic && matches!(failure.kind, FailureKind::Tls(_)) {
                        before.push_str("-- TLS failed; a new connection in the clear\n");
                        target = Arc::new(Target { tls: TlsPolicy::None, ..(*target).clone() });
                        continue;
                    }
                    return (Self::unopened(context, &target, failure, before), Some(slot));
                }
            }
        }
    }

    fn count_opening(
        &self,
        context: &AttemptContext<'_>,
        target: &Target,
        opened: &Result<Session, (Failure, String)>,
    ) {
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
            Err((failure, _)) => {
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
        TryResult { report, stage, is_verdict: false, is_stale: false }
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
        let was_pending = session.is_pending();
        let mut follower: Option<Follower> = None;
        let mut next = || {
            let (envelope, found) = context.lane.follower(&facts)?;
            follower = Some(found);
            Some(envelope)
        };
        let result = session.transact(message, &mut next).await;
        let provider = context.routed.provider.as_deref();
        let (outcome, stage, is_verdict, is_stale) = match result {
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
            provider: None,
            host: Some(session.target.host.clone()),
            ip: Some(session.target.address.ip().to_string()),
            source_ip: session.local.map(|local| local.ip().to_string()),
            tls: Some(session.tls.to_string()),
            transcript: session.take_transcript(),
        };
        let is_stale = is_kept && is_stale;
        let left = if is_stale {
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
        (TryResult { report, stage, is_verdict, is_stale }, left)
    }
}

/// What came of speaking to one host.
struct TryResult {
    report: AttemptReport,
    stage: Stage,
    /// No other host is asked: the message was judged, or may have been taken.
    is_verdict: bool,
    /// It says nothing but that a kept session was stale.
    is_stale: bool,
}

impl TryResult {
    const fn verdict(report: AttemptReport) -> Self {
        Self { report, stage: Stage::Connect, is_verdict: true, is_stale: false }
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
