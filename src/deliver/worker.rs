//! One delivery, as a list of steps: still wanted → not expired → route → lane → load → session →
//! transact → classify → settle. Each step may end the attempt with a report.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::claims::Claims;
use super::classify;
use super::lanes::Lanes;
use super::loader::Loader;
use super::pool::{Pool, PoolParts};
use super::route::Router;
use super::settler::Settler;
use super::smtp::deadlines::Deadlines;
use super::smtp::dialogue::{Stage, Verdict};
use super::smtp::session::{Failure, FailureKind, Peer, Session};
use crate::config::Config;
use crate::domain::clock::{Chance, Clock};
use crate::domain::delivery::{LeasedDelivery, RetryPolicy, Settlement};
use crate::domain::id::AttemptId;
use crate::domain::lease::Lease;
use crate::domain::outcome::{AttemptReport, Outcome, Trouble};
use crate::domain::reply::{EnhancedStatus, Reply};
use crate::domain::retry::Schedule;
use crate::domain::route::{SANDBOX_LANE, TlsPolicy};
use crate::domain::shard::Shard;
use crate::handover::{Carried, Fresh, Handover};
use crate::net::dns::Resolver;
use crate::net::tls::TlsConfigs;
use crate::queue::{Claiming, Work};
use crate::shutdown::Shutdown;
use crate::store::claims::{Load, Loaded};
use crate::store::{Link, Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// Wait before a message is read again from a store that was away.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// Deliveries of a shard that become ready at one look.
const RIPE: i64 = 1000;
/// How often idle sessions are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// What delivers.
pub struct Deliverer {
    store: Store,
    settler: Settler,
    loader: Loader,
    handover: Arc<Handover>,
    router: Router,
    lanes: Lanes,
    claims: Claims,
    pool: Pool,
    retry: RetryPolicy,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
}

/// What a deliverer is made of.
pub struct DelivererParts {
    pub store: Store,
    pub settler: Settler,
    pub loader: Loader,
    pub handover: Arc<Handover>,
    pub resolver: Resolver,
    pub tls: TlsConfigs,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Chance>,
    pub metrics: Arc<Metrics>,
}

impl Deliverer {
    /// Fails only on a configuration that its own check let through.
    pub fn new(config: &Config, parts: DelivererParts) -> Result<Self, String> {
        let delivery = &config.delivery;
        let schedule = Schedule::new(delivery.retry.0.clone()).map_err(|error| format!("delivery.retry: {error}"))?;
        Ok(Self {
            store: parts.store,
            settler: parts.settler,
            loader: parts.loader,
            claims: Claims::new(Arc::clone(&parts.handover.places), Arc::clone(&parts.metrics)),
            handover: parts.handover,
            router: Router { route: delivery.route.route.clone(), resolver: parts.resolver, mx_port: delivery.mx_port },
            lanes: Lanes::new(delivery.sessions, delivery.bytes_in_flight.0 >> 10),
            pool: Pool::new(PoolParts {
                hello: if delivery.hello.is_empty() { host_name() } else { delivery.hello.clone() },
                deadlines: Deadlines::new(delivery),
                tls: parts.tls,
                idle_for: delivery.session_idle.0,
                transactions_max: delivery.messages_per_session,
                metrics: parts.metrics,
            }),
            retry: RetryPolicy { schedule, uncertain: delivery.uncertain_delay.0 },
            clock: parts.clock,
            chance: parts.chance,
        })
    }

    /// Closes idle sessions as they grow old, and all of them when stopping.
    pub async fn sweep_sessions(self: Arc<Self>, shutdown: Shutdown) {
        while shutdown.pause(SWEEP).await {
            self.pool.sweep(false).await;
            self.lanes.sweep();
        }
        self.pool.sweep(true).await;
    }

    async fn attempt(&self, delivery: &LeasedDelivery, mut carried: Option<Carried>) -> Option<AttemptReport> {
        if delivery.expires_at <= self.clock.now() {
            return Some(AttemptReport::without_session(Outcome::Expired, "expiry"));
        }
        if delivery.next_hop == SANDBOX_LANE {
            return self.deliver_to_sandbox(delivery).await;
        }
        let _carrying = carried.as_mut().and_then(|carried| carried.memory.take());
        let size = if carried.is_some() { 0 } else { delivery.size };
        let _turn = self.lanes.turn(&delivery.next_hop, size).await?;
        let loaded = match self.message_of(delivery, carried).await? {
            Load::Ready(loaded) => loaded,
            Load::LeaseLost => {
                tracing::warn!(message = %delivery.message, "a lease ran out before its message was sent");
                return None;
            }
            Load::Gone => {
                let trouble = Trouble::new("message_gone", "the message is no longer stored");
                return Some(AttemptReport::without_session(Outcome::Rejected(trouble), "load"));
            }
        };
        // The turn may have been long in coming.
        if delivery.expires_at <= self.clock.now() {
            return Some(AttemptReport::without_session(Outcome::Expired, "expiry"));
        }
        let report = match self.router.peers(loaded.recipient.domain(), &*self.chance).await {
            Ok(peers) => self.try_peers(peers, &loaded).await,
            Err(outcome) => AttemptReport::without_session(outcome, "resolve"),
        };
        Some(report)
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

    async fn deliver_to_sandbox(&self, delivery: &LeasedDelivery) -> Option<AttemptReport> {
        while let Err(error) = self.store.deliver_to_sandbox(delivery, self.clock.now()).await {
            tracing::warn!(message = %delivery.message, %error, "the sandbox cannot be written");
            if !error.is_away() {
                return None;
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
        let enhanced = Some(EnhancedStatus { class: 2, subject: 0, detail: 0 });
        let reply = Reply { code: 250, enhanced, text: "kept in the sandbox".to_owned() };
        Some(AttemptReport {
            host: Some("sandbox".to_owned()),
            tls: Some("none".to_owned()),
            ..AttemptReport::without_session(Outcome::Accepted(reply), "sandbox")
        })
    }

    /// Speaks to one host after the other, until one gives a verdict or may have taken the message.
    async fn try_peers(&self, peers: Vec<Peer>, loaded: &Loaded) -> AttemptReport {
        let mut transcript = String::new();
        let mut last = None;
        for peer in peers {
            let mut tried = self.try_peer(peer, loaded).await;
            transcript.push_str(&tried.report.transcript);
            tried.report.transcript.clone_from(&transcript);
            if tried.is_verdict {
                return tried.report;
            }
            last = Some(tried.report);
        }
        last.unwrap_or_else(|| {
            let trouble = Trouble::new("dns", "the route gave no host to speak to");
            AttemptReport::without_session(Outcome::Deferred(trouble), "resolve")
        })
    }

    /// Speaks to one host. A kept session that turns out to be stale is replaced by a new one, at no
    /// cost to the message; a failed opportunistic handshake is followed by a new connection in the clear.
    async fn try_peer(&self, mut peer: Peer, loaded: &Loaded) -> Tried {
        let mut before = String::new();
        let mut kept = self.pool.take_idle(&peer);
        loop {
            let is_kept = kept.is_some();
            let session = match kept.take() {
                Some(session) => session,
                None => match self.pool.open(peer.clone()).await {
                    Ok(session) => session,
                    Err((failure, transcript)) => {
                        before.push_str(&transcript);
                        if peer.tls == TlsPolicy::Opportunistic && matches!(failure.kind, FailureKind::Tls(_)) {
                            before.push_str("-- TLS failed; a new connection in the clear\n");
                            peer.tls = TlsPolicy::None;
                            continue;
                        }
                        return Tried::unopened(&peer, failure, before);
                    }
                },
            };
            let (tried, is_stale) = self.transact(session, loaded, before.clone()).await;
            if is_kept && is_stale {
                continue;
            }
            return tried;
        }
    }

    /// One transaction; also says whether the session broke or was being closed before the message was
    /// handed over, which on a kept session says nothing about the message.
    async fn transact(&self, mut session: Session, loaded: &Loaded, before: String) -> (Tried, bool) {
        let result = session.transact(&loaded.sender, &loaded.recipient, &loaded.raw).await;
        let transcript = before + &session.take_transcript();
        let (outcome, stage, is_verdict, is_stale) = match result {
            Ok(Verdict::Accepted(reply)) => (Outcome::Accepted(reply), Stage::Dot, true, false),
            Ok(Verdict::Refused(stage, reply)) => {
                let is_stale = reply.code == 421 && stage != Stage::Dot && stage != Stage::Body;
                (classify::of_refusal(stage, reply), stage, true, is_stale)
            }
            Err(failure) => {
                let (stage, is_uncertain) = (failure.stage, failure.is_uncertain());
                (classify::of_failure(failure), stage, is_uncertain, !is_uncertain)
            }
        };
        let report = AttemptReport {
            outcome,
            stage: Some(stage.name()),
            host: Some(session.peer.host.clone()),
            ip: Some(session.peer.address.ip().to_string()),
            source_ip: session.source.map(|source| source.ip().to_string()),
            tls: Some(session.tls.clone()),
            transcript,
        };
        self.pool.put_back(session).await;
        (Tried { report, is_verdict }, is_stale)
    }
}

/// What came of speaking to one host.
struct Tried {
    report: AttemptReport,
    /// No other host is asked: the message was judged, or may have been taken.
    is_verdict: bool,
}

impl Tried {
    fn unopened(peer: &Peer, failure: Failure, transcript: String) -> Self {
        let report = AttemptReport {
            stage: Some(failure.stage.name()),
            outcome: classify::of_failure(failure),
            host: Some(peer.host.clone()),
            ip: Some(peer.address.ip().to_string()),
            source_ip: None,
            tls: None,
            transcript,
        };
        Self { report, is_verdict: false }
    }
}

impl Work for Deliverer {
    type Job = Fresh;
    const NAME: &'static str = "deliveries";
    const EMPTY_MAX: usize = 64;
    const SHARDS_MAX: usize = 64;

    fn lease(job: &Fresh) -> Lease {
        job.delivery.lease
    }

    fn room(&self) -> usize {
        self.handover.places.free()
    }

    fn close(&self) {
        self.handover.places.close();
    }

    async fn idle(&self) {
        self.handover.places.idle().await;
    }

    async fn shards_due(&self, link: &mut Link) -> Result<Vec<Shard>, StoreError> {
        let shards = link.ready_shards(RIPE).await?;
        self.handover.places.only_ready(&shards);
        Ok(shards)
    }

    async fn claim(
        &self,
        link: &mut Link,
        shards: &[Shard],
        claiming: Claiming,
    ) -> Result<(Vec<Fresh>, Vec<Shard>), StoreError> {
        self.claims.claim(link, shards, claiming).await
    }

    /// Never: places ring for what found no room.
    fn is_holding_back(&self) -> bool {
        false
    }

    async fn renew(link: &mut Link, leases: &[Lease], span: Duration) -> Result<Vec<Uuid>, StoreError> {
        link.renew_deliveries(leases, span).await
    }

    async fn perform(&self, job: Fresh) {
        let Fresh { delivery, place, carried } = job;
        let started_at = self.clock.now();
        let Some(report) = self.attempt(&delivery, carried).await else { return };
        let finished_at = self.clock.now();
        let transition = delivery.conclude(&report.outcome, &self.retry, finished_at, &*self.chance);
        tracing::debug!(message = %delivery.message, outcome = report.outcome.name(), class = report.outcome.class(), "attempted");
        let attempt = AttemptId::new(finished_at, &*self.chance);
        self.settler.settle(Settlement { attempt, delivery, transition, report, started_at, finished_at }).await;
        drop(place);
    }
}

/// The machine's name for EHLO; an address literal when it has none that could be one.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if is_name { name.to_owned() } else { "[127.0.0.1]".to_owned() }
}
