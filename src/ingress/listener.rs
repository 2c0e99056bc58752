//! The sockets of submission.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{Ingress, Session, proxied};
use crate::config::{Security, Submission};
use crate::domain::budget::Budget;
use crate::net::server_tls::ServerTls;
use crate::shutdown::Shutdown;
use crate::smtp::server::{BLOCK, Bounds, Callers, Service, Shared, Tls, listen, serve, turn_away};
use crate::telemetry::metrics::GaugeGuard;

/// Longest time until it is known who calls.
const UNKNOWN: Duration = Duration::from_mins(1);
/// Longest time in which nothing of a message comes (RFC 5321 §4.5.3.2.5).
const STALL: Duration = Duration::from_mins(3);
/// Longest session: keys and certificates change.
const SESSION: Duration = Duration::from_hours(24);

/// Listens on bound sockets.
pub struct Listener {
    ingress: Arc<Ingress>,
    tls: Option<ServerTls>,
    proxies: Vec<IpNet>,
    callers: Arc<Callers>,
    shared: Shared,
}

impl Listener {
    pub fn new(
        config: &Submission,
        name: &str,
        ingress: Ingress,
        tls: Option<ServerTls>,
        stopping: &CancellationToken,
    ) -> Arc<Self> {
        let timeout = config.timeout.0;
        let bounds = Bounds {
            message: ingress.limits.message.0,
            recipients: ingress.limits.recipients,
            messages: usize::MAX,
            commands: ingress.limits.recipients * 2 + 200,
            errors: 20,
            command: timeout,
            data: timeout * 2,
            stall: STALL.min(timeout),
            unknown: UNKNOWN.min(timeout),
            session: SESSION,
        };
        Arc::new(Self {
            ingress: Arc::new(ingress),
            tls,
            proxies: config.proxies.0.clone(),
            callers: Callers::new(config.connections, None),
            shared: Shared {
                name: name.into(),
                service: Service::Submission { in_clear: false },
                bounds,
                memory: Budget::new(config.memory.0, BLOCK),
                stopping: stopping.clone(),
            },
        })
    }

    /// Serves until the soft token falls; sessions go on until they end, or the hard one does.
    pub async fn run(self: Arc<Self>, listener: TcpListener, security: Security, shutdown: Shutdown) {
        let in_clear = security == Security::Plain;
        let shared = Arc::new(Shared { service: Service::Submission { in_clear }, ..self.shared.clone() });
        listen(listener, shutdown, |stream, peer| {
            Arc::clone(&self).welcome(stream, peer, security, Arc::clone(&shared))
        })
        .await;
    }

    async fn welcome(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: SocketAddr,
        security: Security,
        shared: Arc<Shared>,
    ) {
        let mut address = peer.ip().to_canonical();
        if self.is_proxy(address) {
            let Ok(caller) = Box::pin(proxied::caller(&mut stream)).await else {
                tracing::warn!(%peer, "a proxy did not say who calls (submission.proxies)");
                return;
            };
            address = caller.map_or(address, |caller| caller.ip().to_canonical());
        }
        let Some(_place) = self.callers.enter(address) else { return turn_away(stream).await };
        let _open = GaugeGuard::new(&self.ingress.metrics.submission_sessions);
        let tls = match (security, &self.tls) {
            (Security::StartTls, Some(tls)) => Tls::Offered(tls.current()),
            (Security::Tls, Some(tls)) => Tls::Implicit(tls.current()),
            _ => Tls::None,
        };
        let mut session = Session { ingress: Arc::clone(&self.ingress), peer: address, secret: None, caller: None };
        serve(stream, &mut session, &shared, tls).await;
    }

    /// Whether the connection is a proxy's.
    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&address))
    }
}
