//! What keeps the house, put together: ticks, and what they need.

use std::net::IpAddr;
use std::sync::Arc;

use super::Common;
use crate::config::Config;
use crate::domain::address::Address;
use crate::domain::net::is_global;
use crate::identity::Sources;
use crate::net::own::source_towards;
use crate::recall::Recaller;
use crate::reporting::Reporting;
use crate::shutdown::Shutdown;
use crate::store::schema::partitions::Retention;
use crate::submit::{Door, Scheduler};
use crate::upkeep::{Blocks, Cancellation, Erasing, Expiry, Partitions, Purge, Rescue, Timekeeper, Upkeep};

impl Common {
    pub(super) fn start_upkeep(&self, config: &Config, door: &Arc<Door>, shutdown: &Shutdown) {
        shutdown.keep("upkeep", self.upkeep(config).run(shutdown.clone()));
        shutdown.keep("the schedule", self.scheduler(config, door).run(shutdown.clone()));
        shutdown.keep("cancellation", self.cancellation().run(shutdown.clone()));
        shutdown.keep("expiry", self.expiry(config).run(shutdown.clone()));
        shutdown.keep("partitions", self.partitions(config).run(shutdown.clone()));
        shutdown.keep("the purge", self.purge(config).run(shutdown.clone()));
        let blocks = Blocks { store: self.store.for_lists(1), rng: Arc::clone(&self.rng) };
        shutdown.keep("blocks of messages", blocks.run(shutdown.clone()));
        shutdown.keep("sending domains", Box::pin(Arc::clone(&self.domains).run(shutdown.clone())));
        if let Some(reporting) = self.reporting(config, door) {
            shutdown.keep("reports of TLS sessions", Box::pin(reporting.run(shutdown.clone())));
        }
        let traffic = Arc::clone(&self.traffic);
        let sources: Sources = Arc::new(move || {
            let set: Vec<_> = traffic.plan().shaping.sources().map(|(_, source)| source.address).collect();
            // Or the one that the system chooses towards the world.
            if set.is_empty() {
                source_towards(IpAddr::from([192, 0, 2, 1])).into_iter().filter(|ip| is_global(*ip)).collect()
            } else {
                set
            }
        });
        let watch = Arc::clone(&self.domains).watch_sources(sources, shutdown.clone());
        shutdown.keep("lists of addresses", Box::pin(watch));
        shutdown.keep("erasure", self.erasing().run(shutdown.clone()));
    }

    pub(super) fn recaller(&self) -> Arc<Recaller> {
        Arc::new(Recaller {
            store: self.store.clone(),
            in_hand: Arc::clone(&self.in_hand),
            owner: self.handover.owner,
            deliveries: Arc::clone(&self.deliveries),
            events: Arc::clone(&self.events),
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
        })
    }

    /// What tells domains of TLS sessions, if it is set from where.
    fn reporting(&self, config: &Config, door: &Arc<Door>) -> Option<Reporting> {
        let from = Address::parse(&config.tls_reports.from).ok()?;
        let organization = match config.tls_reports.organization.as_str() {
            "" => from.domain().to_owned(),
            named => named.to_owned(),
        };
        Some(Reporting {
            store: self.store.clone(),
            door: Arc::clone(door),
            resolver: self.resolver.clone(),
            tls: self.tls.clone(),
            from,
            organization,
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
        })
    }

    fn purge(&self, config: &Config) -> Purge {
        Purge { store: self.store.clone(), audit: config.retention.audit.0, rng: Arc::clone(&self.rng) }
    }

    fn erasing(&self) -> Erasing {
        Erasing { store: self.store.clone(), recaller: self.recaller(), rng: Arc::clone(&self.rng) }
    }

    fn upkeep(&self, config: &Config) -> Upkeep {
        let rescue = Rescue {
            store: self.store.clone(),
            in_hand: Arc::clone(&self.in_hand),
            owner: self.handover.owner,
            lease: config.queue.lease.0,
            grace: config.queue.lease.0.max(config.database.timeout.0 * 2),
            deliveries: Arc::clone(&self.deliveries),
            webhooks: Arc::clone(&self.webhooks),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
            seen: crate::upkeep::Seen::default(),
        };
        let (rng, metrics) = (Arc::clone(&self.rng), Arc::clone(&self.metrics));
        Upkeep {
            store: self.store.clone(),
            rescue,
            uploads: config.retention.uploads.0,
            reports: config.retention.messages.0,
            rng,
            metrics,
        }
    }

    fn scheduler(&self, config: &Config, door: &Arc<Door>) -> Scheduler {
        Scheduler {
            store: self.store.clone(),
            door: Arc::clone(door),
            templates: Arc::clone(&self.templates),
            limits: config.limits.clone(),
            owner: self.handover.owner,
            held: crate::submit::Held::default(),
        }
    }

    fn expiry(&self, config: &Config) -> Expiry {
        Expiry {
            store: self.store.clone(),
            owner: self.handover.owner,
            lease: config.queue.lease.0,
            events: Arc::clone(&self.events),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
        }
    }

    fn cancellation(&self) -> Cancellation {
        let (events, rng) = (Arc::clone(&self.events), Arc::clone(&self.rng));
        Cancellation { store: self.store.clone(), events, rng, metrics: Arc::clone(&self.metrics) }
    }

    pub(super) fn timekeeper(&self) -> Timekeeper {
        Timekeeper { store: self.store.clone(), metrics: Arc::clone(&self.metrics) }
    }

    fn partitions(&self, config: &Config) -> Partitions {
        Partitions {
            store: self.store.clone(),
            retention: Retention { messages: config.retention.messages.0, bodies: config.retention.bodies.0 },
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
        }
    }
}
