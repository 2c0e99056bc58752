//! The courier: what an attempt needs. Its verbs are in `attempt`, its walk over hosts in `tries`.

use std::sync::Arc;
use std::time::Duration;

use super::lanes::{Lanes, Pauses};
use super::loader::Loader;
use super::outcome_counts::OutcomeCounts;
use super::quirks::Quirks;
use super::sources::Sources;
use super::suppressed::SuppressionCheck;
use super::tls_counts::TlsCounts;
use crate::config::Config;
use crate::domain::clock::{Clock, Rng};
use crate::handover::Handover;
use crate::net::own::hello_name;
use crate::net::tls::TlsConfigs;
use crate::routing::Router;
use crate::smtp::client::deadlines::Deadlines;
use crate::telemetry::metrics::Metrics;

/// What carries a message to a server.
pub struct Courier {
    pub(super) router: Arc<Router>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) sources: Arc<Sources>,
    pub(super) tls: TlsConfigs,
    pub(super) tls_counts: Arc<TlsCounts>,
    pub(super) outcomes: Arc<OutcomeCounts>,
    pub(super) quirks: Quirks,
    pub(super) deadlines: Arc<Deadlines>,
    pub(super) loader: Loader,
    pub(super) suppressions: SuppressionCheck,
    pub(super) handover: Arc<Handover>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) metrics: Arc<Metrics>,
    /// Longest time for connecting, and for the greeting, while other targets remain.
    pub(super) failover: Duration,
}

/// What a courier is made of.
pub struct CourierParts {
    pub loader: Loader,
    pub suppressions: SuppressionCheck,
    pub handover: Arc<Handover>,
    pub router: Arc<Router>,
    pub tls: TlsConfigs,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Courier {
    pub fn new(config: &Config, parts: CourierParts) -> Self {
        let delivery = &config.delivery;
        let pauses = Pauses { first: delivery.pause.0, longest: delivery.pause_max.0 };
        let lanes =
            Lanes::new(parts.router.traffic.plan(), pauses, (delivery.bytes_in_flight.0 >> 10, delivery.connections));
        Self {
            lanes: Arc::new(lanes),
            sources: Arc::new(Sources::new(hello_name(&delivery.hello))),
            tls_counts: Arc::default(),
            outcomes: Arc::default(),
            quirks: Quirks::default(),
            deadlines: Arc::new(Deadlines::new(delivery)),
            failover: delivery.timeout_failover.0,
            loader: parts.loader,
            suppressions: parts.suppressions,
            handover: parts.handover,
            router: parts.router,
            tls: parts.tls,
            clock: parts.clock,
            rng: parts.rng,
            metrics: parts.metrics,
        }
    }
}
