//! What takes mail by SMTP, put together: reports, by sockets and a maildir, and what programs submit.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Common, Role, StartError};
use crate::auth::{Auth, Failures};
use crate::config::Config;
use crate::inbound::Intake;
use crate::inbound::link_hosts::LinkHosts;
use crate::inbound::links::Often;
use crate::inbound::listener::Listener;
use crate::inbound::maildir::Maildir;
use crate::ingress::{self, Ingress};
use crate::net::own::hello_name;
use crate::net::server_tls::ServerTls;
use crate::shutdown::Shutdown;
use crate::submit::Door;

impl Common {
    /// What takes reports, whichever way they come in.
    pub(super) fn make_intake(&self, config: &Config) -> Arc<Intake> {
        Arc::new(Intake {
            store: self.store.clone(),
            tokens: Arc::clone(&self.tokens),
            recorders: Semaphore::new(4),
            unsubscribers: Semaphore::new(2),
            often: Often::default(),
            hosts: LinkHosts::new(&config.http.public_url),
            suppressions: Arc::clone(&self.suppressions),
            router: Arc::clone(&self.router),
            resolver: self.resolver.clone(),
            host: config.inbound.host.clone(),
            limit: config.inbound.message.0,
            events: Arc::clone(&self.events),
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
            readers: Arc::new(Semaphore::new(4)),
        })
    }

    /// Listens where it is told to, and gives the addresses; reads a maildir.
    pub(super) async fn start_inbound(
        config: &Config,
        roles: &[Role],
        intake: Arc<Intake>,
        shutdown: &Shutdown,
    ) -> Result<Vec<std::net::SocketAddr>, StartError> {
        let settings = &config.inbound;
        if roles == [Role::Inbound] && settings.listen.0.is_empty() && settings.maildir.as_os_str().is_empty() {
            let why = "inbound.listen: names no address, and inbound.maildir no directory: nothing would come in";
            return Err(StartError::Config(why.to_owned()));
        }
        if !settings.maildir.as_os_str().is_empty() {
            let maildir = Maildir { intake: Arc::clone(&intake), path: settings.maildir.clone(), limit: intake.limit };
            shutdown.keep("the maildir of reports", maildir.run(shutdown.clone()));
        }
        let named = |why: String| StartError::Config(format!("inbound.tls_cert: {why}"));
        let tls = ServerTls::configured(&settings.tls_cert, &settings.tls_key).map_err(named)?;
        let name = if settings.host.is_empty() { hello_name(&config.delivery.hello) } else { settings.host.clone() };
        let listener = Arc::new(Listener::new(settings, &name, intake, tls, &shutdown.soft));
        let mut bound = Vec::new();
        for address in &settings.listen.0 {
            let failed = |error| StartError::Listen("inbound.listen", *address, error);
            let socket = TcpListener::bind(address).await.map_err(failed)?;
            bound.push(socket.local_addr().map_err(failed)?);
            shutdown.keep("the listener for reports", Arc::clone(&listener).run(socket, shutdown.clone()));
        }
        Ok(bound)
    }

    /// Listens for programs where it is told to, and gives the addresses.
    pub(super) async fn start_submission(
        &self,
        config: &Config,
        roles: &[Role],
        (door, auth): (&Arc<Door>, Arc<Auth>),
        shutdown: &Shutdown,
    ) -> Result<Vec<std::net::SocketAddr>, StartError> {
        let settings = &config.submission;
        if roles == [Role::Submission] && settings.listen.0.is_empty() {
            return Err(StartError::Config("submission.listen: names no address: nothing would come in".to_owned()));
        }
        let named = |why: String| StartError::Config(format!("submission.tls_cert: {why}"));
        let tls = ServerTls::configured(&settings.tls_cert, &settings.tls_key).map_err(named)?;
        let ingress = Ingress {
            door: Arc::clone(door),
            auth,
            limits: config.limits.clone(),
            line_ends: settings.line_ends,
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            metrics: Arc::clone(&self.metrics),
            failures: Failures::new(settings.slow_down.0, 0),
        };
        let name = if settings.host.is_empty() { hello_name(&config.delivery.hello) } else { settings.host.clone() };
        let listener = ingress::Listener::new(settings, &name, ingress, tls, &shutdown.soft);
        let mut bound = Vec::new();
        for listen in &settings.listen.0 {
            let failed = |error| StartError::Listen("submission.listen", listen.address, error);
            let socket = TcpListener::bind(listen.address).await.map_err(failed)?;
            bound.push(socket.local_addr().map_err(failed)?);
            let run = Arc::clone(&listener).run(socket, listen.security, shutdown.clone());
            shutdown.keep("the listener for submission", run);
        }
        Ok(bound)
    }
}
