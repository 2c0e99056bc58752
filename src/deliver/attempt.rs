//! One attempt, as a list of steps: not expired → route → source → lane → load → session → transact → classify.
//! Each step may end it with a report, or with a reason to put it off.

use tokio::time::Instant;

use super::classify;
use super::lanes::{Lane, Offer, Turn};
use super::tries::Way;
use super::worker::{Deliverer, STORE_PAUSE};
use crate::domain::class::OwnClass;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::envelope::{Envelope, Needs};
use crate::domain::hold::HoldReason;
use crate::domain::message::TlsDemand;
use crate::domain::outcome::{AttemptReport, Outcome, Trouble};
use crate::domain::reply::{EnhancedStatus, Reply};
use crate::domain::route::{Route, SANDBOX_LANE, SMARTHOST_LANE};
use crate::domain::stage::Stage;
use crate::handover::Carried;
use crate::routing::{Ask, Plan};
use crate::smtp::client::session::Outgoing;
use crate::smtp::client::session_tls::SessionTls;
use crate::store::queue::claims::{Load, Loaded};

/// What became of an attempt.
#[expect(clippy::large_enum_variant, reason = "a report is the usual case")]
pub enum Ended {
    Tried(AttemptReport),
    /// It was not begun: not before that instant.
    Held {
        until: Instant,
        why: HoldReason,
    },
    /// The lease is somebody else's by now.
    NotOurs,
}

impl Deliverer {
    pub(super) async fn attempt(&self, delivery: &LeasedDelivery, mut carried: Option<Carried>) -> Ended {
        if self.is_expired(delivery) {
            return Ended::Tried(AttemptReport::without_session(Outcome::Expired, Stage::Expiry));
        }
        if delivery.next_hop == SANDBOX_LANE {
            // On the heap, as all that is large and seldom: the future of an attempt is moved about.
            return Box::pin(self.deliver_to_sandbox(delivery)).await;
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
                return Ended::Tried(AttemptReport::without_session(outcome, Stage::Resolve));
            }
        };
        let today = self.clock.now().date();
        let source = match self.sources.choose(&plan, &routed, delivery.demand.ip_pool.as_deref(), &domain, today) {
            Ok(source) => source,
            Err(none) => return Ended::Held { until: none.until, why: none.why },
        };
        let lane = self.lanes.lane(&plan, &routed, &domain, &source.name);
        let is_retry = delivery.lease.attempt > 1;
        // Read ahead while there is memory to spare: what is in memory can follow on another's session.
        let mut memory = if carried.is_none() { self.lanes.spare_memory(&lane, delivery.size) } else { None };
        if memory.is_none() {
            // What was read for its domain alone is not held while it waits.
            loaded = None;
        } else if loaded.is_none() {
            loaded = match self.loader.load(delivery).await {
                Some(Load::Ready(loaded)) => Some((loaded, Instant::now())),
                other => return not_loaded(delivery, other.as_ref()),
            };
        }
        let offer = || {
            let envelope = match (&carried, &loaded) {
                (Some(carried), _) => envelope(delivery, &carried.sender, &carried.recipient, &carried.raw),
                (None, Some((loaded, _))) => envelope(delivery, &loaded.sender, &loaded.recipient, &loaded.raw),
                (None, None) => return None,
            };
            Some(Offer { envelope, peers: routed.peers.clone() })
        };
        let (slot, session) = match lane.turn(is_retry, offer).await {
            Turn::Slot { slot, session } => (slot, session),
            Turn::Held { until, why } => {
                self.sources.give_back(&source.name, &routed, today);
                return self.held(&plan, delivery, &lane, until, why);
            }
        };
        let _carrying = carried.as_mut().and_then(|carried| carried.memory.take());
        if carried.is_none() && memory.is_none() {
            memory = self.lanes.memory(&lane, delivery.size).await;
        }
        if loaded.as_ref().is_none_or(|(_, at)| at.elapsed() > self.handover.span / 2) {
            loaded = match self.message_of(delivery, carried).await {
                Some(Load::Ready(loaded)) => Some((loaded, Instant::now())),
                other => return not_loaded(delivery, other.as_ref()),
            };
        }
        let Some((loaded, _)) = loaded else { return Ended::NotOurs };
        // The turn may have been long in coming.
        if self.is_expired(delivery) {
            return Ended::Tried(AttemptReport::without_session(Outcome::Expired, Stage::Expiry));
        }
        let way = Way { plan: &plan, routed: &routed, domain: &domain, source: &source, lane: &lane, is_retry };
        let envelope = envelope(delivery, &loaded.sender, &loaded.recipient, &loaded.raw);
        let message = Outgoing { envelope: &envelope, raw: &loaded.raw };
        let report = self.try_peers(&way, slot, session, message).await;
        drop(memory);
        if report.is_before_mail() {
            self.sources.give_back(&source.name, &routed, today);
        }
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
            // Unless the rules were changed since it was queued.
            None if !plan.shaping.heeds_domains() && matches!(plan.route, Route::Smarthosts(_)) => {
                Ok((String::new(), None))
            }
            None => match self.loader.load(delivery).await {
                Some(Load::Ready(loaded)) => Ok((loaded.recipient.domain().to_owned(), Some((loaded, Instant::now())))),
                other => Err(not_loaded(delivery, other.as_ref())),
            },
        }
    }

    fn is_expired(&self, delivery: &LeasedDelivery) -> bool {
        delivery.expires_at <= self.clock.now()
    }

    /// A lane that takes nothing for now: what else waits for that next hop need not be claimed to learn the same.
    fn held(&self, plan: &Plan, delivery: &LeasedDelivery, lane: &Lane, until: Instant, why: HoldReason) -> Ended {
        // Its queue may have other ways as well: by other relays, from other addresses.
        let is_only_group = delivery.next_hop != SMARTHOST_LANE || !plan.shaping.heeds_domains();
        if why == HoldReason::Paused
            && is_only_group
            && let Some(until) = self.lanes.all_paused_until(plan, &lane.key.group)
        {
            self.handover.places.curb(&delivery.next_hop, until);
        }
        // Not all at the first instant.
        let wait = until.saturating_duration_since(Instant::now());
        let spread = self.chance.jitter(wait.mul_f64(1.1), 0.1 / 1.1);
        Ended::Held { until: Instant::now() + spread, why }
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
            tls: Some(SessionTls::None.to_string()),
            ..AttemptReport::without_session(Outcome::Accepted(reply), Stage::Sandbox)
        })
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

fn not_loaded(delivery: &LeasedDelivery, load: Option<&Load>) -> Ended {
    match load {
        Some(Load::Gone) => {
            let trouble = Trouble::new(OwnClass::MessageGone, "the message is no longer stored");
            Ended::Tried(AttemptReport::without_session(Outcome::Rejected(trouble), Stage::Load))
        }
        Some(Load::LeaseLost) => {
            tracing::warn!(message = %delivery.message, "a lease ran out before its message was sent");
            Ended::NotOurs
        }
        Some(Load::Ready(_)) | None => Ended::NotOurs,
    }
}
