//! `mailwright trace`

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::store;
use crate::ambient::{SystemClock, SystemRng};
use crate::config::Config;
use crate::domain::address::parse_domain;
use crate::domain::clock::{Clock, Rng, rfc3339};
use crate::domain::draft::TlsDemand;
use crate::domain::id::ProjectId;
use crate::net::dns::Resolver;
use crate::net::tls::TlsConfigs;
use crate::routing::{RouteQuery, RouteView, Router, RouterParts, TrafficPolicy};
use crate::shaping::{NextHop, Rate};
use crate::store::Store;
use crate::terminal::{CommandError, out};

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The recipients' domain.
    domain: String,
    /// The project that would send; routes may depend on it.
    #[arg(long)]
    project: Option<String>,
}

/// A router of this process's own.
pub(super) async fn router(config: &Config, store: &Store) -> Result<Router, CommandError> {
    let policy = crate::net::policy(&config.net);
    let rng: Arc<dyn Rng> = Arc::new(SystemRng);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let traffic = Arc::new(TrafficPolicy::new(config).map_err(CommandError::new)?);
    traffic.name_projects(store).await.map_err(CommandError::new)?;
    let parts = RouterParts {
        traffic,
        store: store.clone(),
        resolver: Resolver::new(&config.dns, policy).map_err(CommandError::new)?,
        tls: TlsConfigs::new(&config.delivery.ca_file).map_err(CommandError::new)?,
        clock,
        rng,
    };
    Ok(Router::new(config, parts))
}

pub async fn run(args: TraceArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let domain = parse_domain(&args.domain).map_err(|error| CommandError(format!("'{}' {error}", args.domain)))?;
    let store = store(config)?;
    let router = router(config, &store).await?;
    let project = match &args.project {
        Some(name) => {
            let found = store.find_project(name).await.map_err(CommandError::new)?;
            found.ok_or_else(|| CommandError(format!("--project '{name}': there is no such project")))?
        }
        None => ProjectId::from_uuid(uuid::Uuid::nil()),
    };
    let ask = RouteQuery { project, domain: &domain, tls: TlsDemand::Opportunistic };
    let (body, code) = match router.route(ask).await {
        Err(no_route) => {
            let route = router.traffic.plan().route(project, &domain).in_words();
            (json!({ "domain": domain, "route": route, "error": no_route.to_string() }), ExitCode::FAILURE)
        }
        Ok(routed) => {
            let hop = NextHop { domain: &domain, group: &routed.group, provider: routed.provider.as_deref() };
            let limits = router.traffic.plan().shaping.limits(hop);
            let lanes = store.list_lane_states(&routed.group).await.map_err(CommandError::new)?;
            let lanes: Vec<_> = lanes
                .iter()
                .map(|lane| json!({ "process": lane.process.to_string(), "updated_at": rfc3339(lane.updated_at), "state": lane.state }))
                .collect();
            let limits = json!({
                "connections": limits.connections,
                "connection_rate_per_second": limits.connection_rate.map(Rate::per_second),
                "message_rate_per_second": limits.message_rate.map(Rate::per_second),
                "messages_per_connection": limits.messages_per_connection,
                "idle_seconds": limits.idle.as_secs(),
            });
            let way = RouteView::of(&routed);
            (json!({ "domain": domain, "way": way, "limits": limits, "lanes_not_open": lanes }), ExitCode::SUCCESS)
        }
    };
    out::print(&serde_json::to_string_pretty(&body).unwrap_or_default())?;
    store.close().await;
    Ok(code)
}
