//! What is served by HTTP, put together: the doors behind the API, its listener, and the operators' own.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Common, Plan, Role, StartError};
use crate::api::{self, Api, Part, Turns};
use crate::auth::{Auth, Failures, JwtKeys};
use crate::compat;
use crate::config::{Config, Http};
use crate::console;
use crate::domain::budget::Budget;
use crate::inbound::Intake;
use crate::shutdown::Shutdown;
use crate::spam::SpamFilter;
use crate::submit::{Backlog, Door, DoorParts, Quotas, Writer, WriterParts};

/// Connections by which credentials are looked up, and nothing else is.
const AUTH_CONNECTIONS: u32 = 2;
/// Connections of an operators' listener: tools that ask every few seconds.
const ADMIN_CONNECTIONS: usize = 32;

/// The operators' listeners, each with its address.
pub(super) async fn bind_admin(config: &Config) -> Result<Vec<(SocketAddr, TcpListener)>, StartError> {
    let mut bound = Vec::new();
    for address in &config.http.admin_listen.0 {
        let failed = |error| StartError::Listen("http.admin_listen", *address, error);
        let listener = TcpListener::bind(*address).await.map_err(failed)?;
        bound.push((listener.local_addr().map_err(failed)?, listener));
    }
    Ok(bound)
}

impl Common {
    pub(super) fn start_http(
        &self,
        config: &Config,
        plan: &Plan,
        (listener, admin): (TcpListener, Vec<(SocketAddr, TcpListener)>),
        intake: Arc<Intake>,
        shutdown: &Shutdown,
    ) -> Result<(Arc<Door>, Arc<Auth>), StartError> {
        let jwt = JwtKeys::new(&config.auth).map_err(StartError::Config)?;
        let backlog = Arc::new(Backlog::new(&config.limits));
        shutdown.keep(
            "the census",
            Arc::clone(&backlog).keep_counting(self.store.clone(), Arc::clone(&self.metrics), shutdown.clone()),
        );
        let quotas = Arc::new(Quotas::new(self.store.clone(), Arc::clone(&self.clock), self.handover.owner));
        if plan.roles.contains(&Role::Api) || plan.roles.contains(&Role::Submission) {
            shutdown.keep("the quotas", Arc::clone(&quotas).keep(shutdown.clone()));
        }
        let parts = WriterParts {
            backlog: Arc::clone(&backlog),
            handover: Arc::clone(&self.handover),
            events: Arc::clone(&self.events),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
        };
        let writer = Writer::start(&self.store, &config.database, &parts, shutdown);
        let parts = DoorParts {
            store: self.store.clone(),
            writer,
            backlog,
            quotas: Arc::clone(&quotas),
            traffic: Arc::clone(&self.traffic),
            suppressions: Arc::clone(&self.suppressions),
            tokens: Arc::clone(&self.tokens),
            router: Arc::clone(&self.router),
            // Nobody but this machine reads mail that does not leave it.
            local_url: format!("http://{}", config.http.listen.0).into(),
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
        };
        let door = Arc::new(Door::new(config, parts));
        shutdown.keep("the pools of domains", Arc::clone(&door.pools).keep(shutdown.clone()));
        let auth = Arc::new(Auth::new(self.store.aside(AUTH_CONNECTIONS), jwt, config.auth.cache.0));
        let recaller = self.recaller();
        if plan.roles.contains(&Role::Delivery) && !plan.paused {
            shutdown.keep("recalls", Arc::clone(&recaller).answer(shutdown.clone()));
        }
        let api = Api {
            templates: Arc::clone(&self.templates),
            domains: Arc::clone(&self.domains),
            intake,
            requires_verified_domain: config.delivery.require_verified_domain,
            recaller,
            door: Arc::clone(&door),
            auth: Arc::clone(&auth),
            router: Arc::clone(&self.router),
            suppressions: Arc::clone(&self.suppressions),
            webhooks: self.client(config),
            quotas,
            store: self.store.clone(),
            lists: self.store.for_lists(config.database.connections),
            turns: Turns::new(config.database.connections as usize),
            limits: config.limits.clone(),
            retention: config.retention.clone(),
            http: config.http.clone(),
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
            failures: Failures::new(config.auth.slow_down.0, 10),
            bodies: Budget::new(config.http.body_bytes_in_flight.0, 1 << 10),
            answers: Budget::new(config.http.answer_bytes_in_flight.0, 1 << 10),
            making: Semaphore::new(1),
            waiting: Semaphore::new(64),
            testing: Arc::default(),
            spam_filter: SpamFilter::configured(&config.sandbox, &self.tls),
            spam_checks: Semaphore::new(4),
        };
        self.listen(config, plan, &Arc::new(api), (listener, admin), shutdown);
        Ok((door, auth))
    }

    fn listen(
        &self,
        config: &Config,
        plan: &Plan,
        api: &Arc<Api>,
        (listener, admin): (TcpListener, Vec<(SocketAddr, TcpListener)>),
        shutdown: &Shutdown,
    ) {
        let part = match (plan.roles.contains(&Role::Api), admin.is_empty()) {
            (false, _) => Part::Operations,
            (true, true) => Part::Whole,
            (true, false) => Part::WithoutMetrics,
        };
        let mut router = api::router(Arc::clone(api), console::pages(), part);
        if part != Part::Operations {
            router = compat::with_dialects(router, api, &config.compat.dialects.0);
        }
        let serve = |listener, router, http: Http| {
            api::listener::serve(
                listener,
                router,
                http,
                Arc::clone(&self.metrics),
                Arc::clone(&self.rng),
                shutdown.clone(),
            )
        };
        shutdown.keep("the listener", serve(listener, router, config.http.clone()));
        for (_, listener) in admin {
            let router = api::router(Arc::clone(api), console::pages(), Part::Operations);
            let http = Http { connections: ADMIN_CONNECTIONS, ..config.http.clone() };
            shutdown.keep("the operators' listener", serve(listener, router, http));
        }
    }
}
