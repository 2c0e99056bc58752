//! One attempt, as a list of steps: not expired → domain → route → source → lane → bytes ahead → not suppressed → turn →
//! bytes ready → not expired → hosts (and right before MAIL: begun). Each step may stop it, with a report or with a reason
//! to put it off.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cargo::Cargo;
use super::classify;
use super::courier::Courier;
use super::lanes::{Grant, Lane, Slot, Standing};
use super::sources::CountedSource;
use super::stopped::Stopped;
use super::tries::AttemptContext;
use crate::domain::access::Mode;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::envelope::Envelope;
use crate::domain::hold::HoldReason;
use crate::domain::outcome::{AttemptReport, Condemned};
use crate::domain::route::{Route, SMARTHOST_LANE};
use crate::domain::stage::Stage;
use crate::handover::CarriedContent;
use crate::queue::Gate;
use crate::routing::{PolicySnapshot, RoutePlan, RouteQuery};
use crate::smtp::client::session::{Outgoing, Session};

/// After a wait so long for a turn, what was asked before it is asked again.
const TURN_LONG: Duration = Duration::from_secs(1);
/// Time after which one delivery asks again for connections that other processes have, unless they are shared out anew before.
const LEFT_TO_OTHERS: Duration = Duration::from_mins(1);

impl Courier {
    /// Carries one message to its next hop.
    pub async fn attempt(
        &self,
        delivery: &LeasedDelivery,
        carried: Option<CarriedContent>,
        gate: Arc<Gate>,
    ) -> Result<AttemptReport, Stopped> {
        let draws = delivery.charged;
        self.not_expired(delivery)?;
        let plan = self.router.traffic.plan();
        let mut cargo = Cargo::new(delivery, carried, &self.loader, self.handover.span / 2);
        let domain = self.domain(&plan, delivery, &mut cargo).await?;
        let routed = self.route(delivery, &domain).await?;
        // Given back when this ends, unless a server heard of the message.
        let mut source = self.source(&plan, &routed, delivery, &domain)?;
        let lane = self.lanes.lane(&plan, &routed, &domain, &source.name);
        if is_only_group(&plan, delivery) {
            self.handover.capacity.fit(&delivery.next_hop, lane.connections_max());
        }
        let context = AttemptContext {
            plan: &plan,
            routed: &routed,
            domain: &domain,
            source: &source,
            lane: &lane,
            draws,
            gate: &gate,
        };
        cargo.ahead(&self.lanes, &lane).await?;
        // Before its turn where the address is known by then: what is in memory may follow on another's session.
        let (is_checked, since) = (self.not_suppressed(delivery, &cargo).await?, Instant::now());
        let (slot, session) = self.turn(&context, delivery, &cargo, &gate).await?;
        let (envelope, raw) = cargo.ready(&self.lanes, &lane).await?;
        if !is_checked || since.elapsed() > TURN_LONG {
            self.suppressions.not_suppressed(delivery, &envelope.recipient).await?;
        }
        // The turn may have been long in coming.
        self.not_expired(delivery)?;
        let message = Outgoing { envelope: &envelope, raw: &raw };
        let tried = self.try_targets(&context, slot, session, message).await;
        let mut report = tried.map_err(|stopped| match stopped {
            Stopped::Held { until, why } => self.held(&context, delivery, until, why),
            other => other,
        })?;
        report.domain = domain_for_log(domain, &envelope);
        // Mail of a test credential never meets a server.
        let condemned = || Condemned { mode: Mode::Live, address: envelope.recipient.clone() };
        report.condemned = report.outcome.condemns_address().then(condemned);
        self.outcomes.count(delivery.project, &envelope.reverse_path, &report, self.clock.now());
        self.let_in_again(&lane, delivery);
        source.spend(&report);
        Ok(report)
    }

    fn not_expired(&self, delivery: &LeasedDelivery) -> Result<(), Stopped> {
        if delivery.is_expired(self.clock.now()) { Err(Stopped::expired()) } else { Ok(()) }
    }

    /// Whether the address could be looked up; what is suppressed goes no further.
    async fn not_suppressed(&self, delivery: &LeasedDelivery, cargo: &Cargo<'_>) -> Result<bool, Stopped> {
        let Some(content) = cargo.content() else { return Ok(false) };
        self.suppressions.not_suppressed(delivery, &content.recipient).await.map(|()| true)
    }

    /// The recipient's domain, where the way depends on it.
    async fn domain(
        &self,
        plan: &PolicySnapshot,
        delivery: &LeasedDelivery,
        cargo: &mut Cargo<'_>,
    ) -> Result<String, Stopped> {
        match cargo.content() {
            Some(content) => Ok(content.recipient.domain().to_owned()),
            None if delivery.next_hop != SMARTHOST_LANE => Ok(delivery.next_hop.clone()),
            // Unless the rules were changed since it was queued.
            None if !plan.shaping.depends_on_domain() && matches!(plan.route, Route::Smarthosts(_)) => {
                Ok(String::new())
            }
            None => cargo.domain().await,
        }
    }

    async fn route(&self, delivery: &LeasedDelivery, domain: &str) -> Result<RoutePlan, Stopped> {
        let ask = RouteQuery { project: delivery.project, domain, tls: delivery.demand.tls };
        let routed = self.router.route(ask).await;
        routed.map_err(|no_route| Stopped::at(Stage::Resolve, classify::of_no_route(&no_route)))
    }

    fn source<'a>(
        &'a self,
        plan: &PolicySnapshot,
        routed: &'a RoutePlan,
        delivery: &LeasedDelivery,
        domain: &str,
    ) -> Result<CountedSource<'a>, Stopped> {
        let (pool, today) = (delivery.demand.ip_pool.as_deref(), self.clock.now().date());
        let chosen = self.sources.choose(plan, routed, pool, domain, today);
        chosen.map_err(|none| Stopped::Held { until: none.until, why: none.why })
    }

    /// Waits for a slot of the lane, and perhaps a session on which the envelope is already under way.
    async fn turn(
        &self,
        context: &AttemptContext<'_>,
        delivery: &LeasedDelivery,
        cargo: &Cargo<'_>,
        gate: &Arc<Gate>,
    ) -> Result<(Slot, Option<Session>), Stopped> {
        let left = Duration::try_from(delivery.expires_at - self.clock.now()).unwrap_or_default();
        let standing = Standing { priority: delivery.priority, project: delivery.project };
        let turn = context.lane.turn(standing, context.draws, left, || cargo.offer(&context.routed.targets, gate));
        match turn.await {
            Grant::Slot { slot, session } => Ok((slot, session)),
            Grant::Expired => Err(Stopped::expired()),
            Grant::Held { .. } | Grant::Released if gate.is_revoked() => Err(Stopped::NotOurs),
            Grant::Released => Err(Stopped::Released),
            Grant::Held { until, why } => Err(self.held(context, delivery, until, why)),
        }
    }

    /// A lane that takes nothing for now: what else waits for that next hop need not be claimed to learn the same.
    fn held(
        &self,
        context: &AttemptContext<'_>,
        delivery: &LeasedDelivery,
        until: Instant,
        why: HoldReason,
    ) -> Stopped {
        let is_only_group = is_only_group(context.plan, delivery);
        if why == HoldReason::Shared && is_only_group {
            // It waits in its row for those who have the connections, and nothing else is claimed to learn the same.
            self.handover.capacity.leave_to_others(&delivery.next_hop, Instant::now() + LEFT_TO_OTHERS);
            return Stopped::Released;
        }
        if why == HoldReason::Paused
            && is_only_group
            && let Some(until) = self.lanes.all_paused_until(context.plan, &context.lane.key.group)
        {
            self.handover.capacity.suspend(&delivery.next_hop, until);
        }
        if why == HoldReason::Budget {
            context.lane.put_off(&delivery.lease);
        }
        // Not all at the first instant.
        let wait = until.saturating_duration_since(Instant::now());
        let spread = self.rng.jitter(wait.mul_f64(1.1), 0.1 / 1.1);
        Stopped::Held { until: Instant::now() + spread, why }
    }

    /// A lane that is not paused: its next hop's queue is claimed as usual.
    fn let_in_again(&self, lane: &Arc<Lane>, delivery: &LeasedDelivery) {
        if lane.paused_until().is_none() {
            self.handover.capacity.resume(&delivery.next_hop);
        }
    }
}

/// Whether all that waits for that next hop goes by one lane: its queue may have other ways, by other relays.
fn is_only_group(plan: &PolicySnapshot, delivery: &LeasedDelivery) -> bool {
    delivery.next_hop != SMARTHOST_LANE || !plan.shaping.depends_on_domain()
}

/// The recipient's domain: where the way did not depend on it, only if a log will want it.
fn domain_for_log(domain: String, envelope: &Envelope) -> Option<String> {
    if !domain.is_empty() {
        return Some(domain);
    }
    tracing::enabled!(tracing::Level::INFO).then(|| envelope.recipient.domain().to_owned())
}
