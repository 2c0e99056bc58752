//! The composition root: the only room that sees all others. It builds, starts and stops; it decides
//! nothing about mail.

mod http;
mod intake;
mod keeping;
mod plan;
mod running;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

pub use plan::{Plan, Role};
pub use running::Ended;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use crate::config::{Config, Webhooks};
use crate::deliver::{
    Courier, CourierParts, Deliverer, Fleet, Holder, Loader, Returns, Settler, SettlerParts, SuppressionCheck,
};
use crate::domain::clock::{Clock, Rng};
use crate::handover::{Capacity, Handover};
use crate::identity::{DomainParts, Domains};
use crate::net::dns::Resolver;
use crate::net::tls::TlsConfigs;
use crate::queue::{InHand, QueueSettings, Runner};
use crate::routing::{Router, RouterParts, TrafficPolicy};
use crate::sealing::Vault;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreClock, StoreError};
use crate::submit::Door;
use crate::submit::templates::Templates;
use crate::suppress::Suppressions;
use crate::telemetry::metrics::Metrics;
use crate::tokens::Tokens;
use crate::wake::Wake;
use crate::webhook::post::Client;
use crate::webhook::{AtHand, Calls, Feeder, Poster, PosterParts};

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}: {1}: {2}")]
    Listen(&'static str, SocketAddr, std::io::Error),
}

/// A running service.
pub struct Service {
    pub address: SocketAddr,
    /// Where mail is submitted, in order of `submission.listen`.
    pub submission: Vec<SocketAddr>,
    /// Where reports are taken.
    pub inbound: Vec<SocketAddr>,
    /// Where operators' tools ask, in order of `http.admin_listen`.
    pub admin: Vec<SocketAddr>,
    traffic: Arc<TrafficPolicy>,
    pub store: Store,
    /// Takes messages in, as the HTTP API does.
    pub door: Arc<Door>,
    pub metrics: Arc<Metrics>,
    shutdown: Shutdown,
    config: Config,
    /// A service that is dropped without having been stopped ends at once, and keeps no session of the database.
    _ends: [DropGuard; 2],
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service on {}", self.address)
    }
}

/// What the parts share.
struct Common {
    store: Store,
    resolver: Resolver,
    tls: TlsConfigs,
    traffic: Arc<TrafficPolicy>,
    router: Arc<Router>,
    suppressions: Arc<Suppressions>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    metrics: Arc<Metrics>,
    deliveries: Arc<Wake>,
    /// Rung for webhook jobs.
    webhooks: Arc<Wake>,
    /// Rung for events that were written.
    events: Arc<Wake>,
    handover: Arc<Handover>,
    /// The deliveries that this process has in hand.
    in_hand: Arc<InHand>,
    templates: Arc<Templates>,
    domains: Arc<Domains>,
    tokens: Arc<Tokens>,
}

impl Service {
    /// Starts everything that the plan names. The store must have this binary's schema. `clock` is the store's, which is
    /// asked before anything else is done; with `rng` it is all that the service has of the world.
    pub async fn start(
        mut config: Config,
        plan: &Plan,
        metrics: Arc<Metrics>,
        clock: Arc<StoreClock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Self, StartError> {
        let common = Common::new(&config, metrics, clock, rng)?;
        common.store.check_session().await?;
        common.store.check_schema().await?;
        common.check_secrets().await?;
        common.store.measure_clock().await?;
        common.store.begin_era().await?;
        Box::pin(common.ensure_partitions()).await?;
        let address = config.http.listen.0;
        let listener =
            TcpListener::bind(address).await.map_err(|error| StartError::Listen("http.listen", address, error))?;
        let address = listener.local_addr().map_err(|error| StartError::Listen("http.listen", address, error))?;
        config.http.listen.0 = address;
        let shutdown = Shutdown::default();
        common.traffic.name_projects(&common.store).await?;
        shutdown.keep("the traffic policy", Arc::clone(&common.traffic).follow(common.store.clone(), shutdown.clone()));
        shutdown.keep("the suppressions", Arc::clone(&common.suppressions).follow(shutdown.clone()));
        let intake = common.make_intake(&config);
        let admin = http::bind_admin(&config).await?;
        let admin_addresses = admin.iter().map(|(address, _)| *address).collect();
        let (door, auth) = common.start_http(&config, plan, (listener, admin), Arc::clone(&intake), &shutdown)?;
        let submission = if plan.roles.contains(&Role::Submission) {
            Box::pin(common.start_submission(&config, &plan.roles, (&door, auth), &shutdown)).await?
        } else {
            Vec::new()
        };
        if plan.roles.contains(&Role::Delivery) && !plan.paused {
            common.start_delivery(&config, &shutdown).await;
        }
        if plan.roles.contains(&Role::Webhooks) && !plan.paused {
            common.start_webhooks(&config, &shutdown)?;
        }
        let inbound = if plan.roles.contains(&Role::Inbound) && !plan.paused {
            Box::pin(Common::start_inbound(&config, &plan.roles, intake, &shutdown)).await?
        } else {
            Vec::new()
        };
        shutdown.keep("the timekeeper", common.timekeeper().run(shutdown.clone()));
        if plan.roles.contains(&Role::Upkeep) {
            common.start_upkeep(&config, &door, &shutdown);
        }
        let (store, metrics, traffic) =
            (common.store.clone(), Arc::clone(&common.metrics), Arc::clone(&common.traffic));
        let ends = shutdown.end_on_drop();
        Ok(Self {
            address,
            submission,
            inbound,
            admin: admin_addresses,
            traffic,
            store,
            door,
            metrics,
            shutdown,
            config,
            _ends: ends,
        })
    }
}

impl Common {
    fn new(
        config: &Config,
        metrics: Arc<Metrics>,
        store_clock: Arc<StoreClock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Self, StartError> {
        let policy = crate::net::policy(&config.net);
        let deliveries = Arc::<Wake>::default();
        let capacity =
            Arc::new(Capacity::new(config.delivery.concurrency, config.delivery.sessions * 2, Arc::clone(&deliveries)));
        // Half of the memory for messages is for those that are handed over, half for those that are read back.
        let kib = config.delivery.bytes_in_flight.0 >> 11;
        let mut owner = [0; 16];
        rng.fill(&mut owner);
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let vault = Vault::configured(&config.secrets, Arc::clone(&rng)).map_err(StartError::Config)?;
        let store = Store::new(&config.database, Arc::clone(&metrics), Arc::clone(&store_clock))?.sealed_by(vault);
        let templates = Arc::new(Templates::new(store.clone(), config.templates.cache.0));
        let resolver = Resolver::new(&config.dns, policy).map_err(StartError::Config)?;
        let tls = TlsConfigs::new(&config.delivery.ca_file).map_err(StartError::Config)?;
        let clock: Arc<dyn Clock> = store_clock;
        let traffic = Arc::new(TrafficPolicy::new(config).map_err(StartError::Config)?);
        let router = Arc::new(Router::new(
            config,
            RouterParts {
                traffic: Arc::clone(&traffic),
                store: store.clone(),
                resolver: resolver.clone(),
                tls: tls.clone(),
                clock: Arc::clone(&clock),
                rng: Arc::clone(&rng),
            },
        ));
        let suppressions = Arc::new(Suppressions::new(store.clone(), Arc::clone(&rng), Arc::clone(&metrics)));
        let events: Arc<Wake> = Arc::default();
        let parts = DomainParts {
            store: store.clone(),
            resolver: resolver.clone(),
            events: Arc::clone(&events),
            metrics: Arc::clone(&metrics),
            clock: Arc::clone(&clock),
            rng: Arc::clone(&rng),
        };
        Ok(Self {
            domains: Arc::new(Domains::new(config, parts)),
            tokens: Arc::new(Tokens::new(store.clone())),
            store,
            suppressions,
            resolver,
            tls,
            traffic,
            router,
            clock,
            rng,
            metrics,
            deliveries,
            webhooks: Arc::default(),
            events,
            in_hand: Arc::default(),
            templates,
            handover: Arc::new(Handover::new(capacity, Uuid::from_bytes(owner), config.queue.lease.0, kib)),
        })
    }

    /// Refuses to start where secrets cannot be read, and says if they are not sealed.
    async fn check_secrets(&self) -> Result<(), StartError> {
        let count = self.store.check_secrets().await?;
        if self.store.vault().current().is_none() {
            tracing::warn!(
                "secrets.sealing_key is not set: DKIM keys and webhook secrets lie in the database as they are, and whoever reads a dump of it signs \
                 as everybody here"
            );
        } else if count > 0 {
            tracing::warn!(
                count,
                "secrets in the database are not sealed by today's key: `mailwright secrets seal` does it"
            );
        }
        Ok(())
    }

    async fn start_delivery(&self, config: &Config, shutdown: &Shutdown) {
        let parts = SettlerParts {
            suppressions: Arc::clone(&self.suppressions),
            events: Arc::clone(&self.events),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
        };
        let settler = Settler::start(&self.store, parts, shutdown);
        let holder = Holder::start(&self.store, Arc::clone(&self.metrics), shutdown);
        let parts = CourierParts {
            loader: Loader::start(&self.store, shutdown),
            suppressions: SuppressionCheck::new(&self.suppressions, &self.store, &self.clock),
            handover: Arc::clone(&self.handover),
            router: Arc::clone(&self.router),
            tls: self.tls.clone(),
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
        };
        let courier = Courier::new(config, parts);
        let returns = Returns {
            store: self.store.clone(),
            suppressions: Arc::clone(&self.suppressions),
            router: Arc::clone(&self.router),
            events: Arc::clone(&self.events),
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
        };
        shutdown.keep("what comes back in the sandbox", returns.run(shutdown.clone()));
        let fleet = Arc::new(Fleet::new(&courier, self.store.clone()));
        let deliverer = Arc::new(Deliverer::new(
            config,
            courier,
            (settler, holder),
            self.store.clone(),
            Arc::clone(&self.deliveries),
        ));
        deliverer.keep_house(shutdown).await;
        let is_alone = fleet.enter().await;
        shutdown.keep("the fleet", Arc::clone(&fleet).run(shutdown.clone()));
        let fresh = self.handover.receive();
        let in_hand = Arc::clone(&self.in_hand);
        let runner = Runner { fresh, in_hand, ..self.runner(deliverer, &self.deliveries, config) };
        let (handover, token, metrics) = (Arc::clone(&self.handover), shutdown.clone(), Arc::clone(&self.metrics));
        let begin = move || {
            handover.capacity.open();
            metrics.delivering.set(1);
            runner.start(&token);
        };
        if is_alone {
            begin();
        } else {
            // Accepting need not wait until the others have made room.
            shutdown.spawn(async move {
                fleet.wait_for_others().await;
                begin();
            });
        }
    }

    fn start_webhooks(&self, config: &Config, shutdown: &Shutdown) -> Result<(), StartError> {
        let Webhooks { concurrency, per_endpoint, stalled_after, .. } = &config.webhooks;
        let calls = Arc::new(Calls::new(*concurrency, *per_endpoint, Arc::clone(&self.webhooks)));
        let (begun, fresh) = mpsc::unbounded_channel();
        let feeder = Feeder {
            store: self.store.clone(),
            owner: self.handover.owner,
            events: Arc::clone(&self.events),
            jobs: Arc::clone(&self.webhooks),
            at_hand: AtHand { calls: Arc::clone(&calls), begun, lease: config.queue.lease.0 },
            poll: config.queue.poll.0,
            stalled_after: stalled_after.0,
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
        };
        let parts = PosterParts {
            store: self.store.clone(),
            client: self.client(config),
            calls,
            events: Arc::clone(&self.events),
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
        };
        shutdown.keep("the feeder of webhooks", feeder.run(shutdown.clone()));
        let poster = Arc::new(Poster::new(&config.webhooks, parts, shutdown).map_err(StartError::Config)?);
        Runner { fresh: Some(fresh), ..self.runner(poster, &self.webhooks, config) }.start(shutdown);
        Ok(())
    }

    fn runner<W: crate::queue::Work>(&self, work: Arc<W>, wake: &Arc<Wake>, config: &Config) -> Runner<W> {
        Runner {
            work,
            store: self.store.clone(),
            wake: Arc::clone(wake),
            fresh: None,
            in_hand: Arc::default(),
            settings: QueueSettings {
                lease: config.queue.lease.0,
                poll: config.queue.poll.0,
                batch: config.queue.batch,
            },
            owner: self.handover.owner,
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// Where today cannot be stored, nothing can be accepted; later days may wait for upkeep.
    async fn ensure_partitions(&self) -> Result<(), StoreError> {
        let made = self.store.ensure_partitions().await;
        let ahead = self.store.partition_days_ahead().await?;
        self.metrics.partitions_days_ahead.set(ahead);
        match made {
            Err(error) if ahead < 0 => Err(error),
            Err(error) => {
                tracing::warn!(%error, ahead, "the partitions of the next days are not all there yet");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn client(&self, config: &Config) -> Client {
        Client {
            resolver: self.resolver.clone(),
            tls: self.tls.clone(),
            timeout: config.webhooks.timeout.0,
            kept: Arc::default(),
        }
    }
}
