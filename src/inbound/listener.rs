//! The sockets of the intake.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{Intake, Letter, NotTaken};
use crate::config;
use crate::domain::budget::{self, Budget};
use crate::domain::report_kept::ReportSource;
use crate::net::server_tls::ServerTls;
use crate::shutdown::Shutdown;
use crate::smtp::server::{
    Answer, BLOCK, Bounds, Callers, Envelope, Receiver, Service, Shared, Tls, listen, serve, turn_away,
};

/// Listens on bound sockets.
pub struct Listener {
    pub intake: Arc<Intake>,
    pub tls: Option<ServerTls>,
    shared: Shared,
    callers: Arc<Callers>,
}

impl Listener {
    pub fn new(
        config: &config::Inbound,
        name: &str,
        intake: Arc<Intake>,
        tls: Option<ServerTls>,
        stopping: &CancellationToken,
    ) -> Self {
        let session = config.timeout.0 * 10;
        let bounds = Bounds {
            message: config.message.0,
            recipients: 20,
            messages: 100,
            commands: 1000,
            errors: 10,
            command: config.timeout.0,
            data: config.timeout.0 * 5,
            stall: config.timeout.0,
            unknown: session,
            session,
        };
        Self {
            intake,
            tls,
            shared: Shared {
                name: name.into(),
                service: Service::Reports,
                bounds,
                memory: Budget::new(config.memory.0, BLOCK),
                stopping: stopping.clone(),
            },
            callers: Callers::new(config.connections, Some(config.connections_per_address)),
        }
    }

    /// Serves until the soft token falls; sessions go on until they end, or the hard one does.
    pub async fn run(self: Arc<Self>, listener: TcpListener, shutdown: Shutdown) {
        listen(listener, shutdown, |stream, peer| Arc::clone(&self).welcome(stream, peer)).await;
    }

    async fn welcome(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let Some(_place) = self.callers.enter(peer.ip()) else { return turn_away(stream).await };
        let tls = self.tls.as_ref().map_or(Tls::None, |tls| Tls::Offered(tls.current()));
        serve(stream, &mut Session { listener: &self, payer: budget::of_stranger(peer.ip()) }, &self.shared, tls).await;
    }
}

/// One session of a sender that nobody knows.
struct Session<'l> {
    listener: &'l Listener,
    payer: u128,
}

impl Receiver for Session<'_> {
    fn payer(&self) -> Option<u128> {
        Some(self.payer)
    }

    async fn rcpt(&mut self, path: &str) -> Answer {
        match self.listener.intake.inbox(path).await {
            Ok(Some(_)) => Answer::new(250, "2.1.5", "ok"),
            Ok(None) => Answer::new(550, "5.1.1", "there is no such address here: reports alone are taken"),
            Err(_) => Answer::new(451, "4.3.0", "try again later"),
        }
    }

    async fn data(&mut self, envelope: Envelope, message: Vec<u8>) -> Answer {
        match self.listener.take(&envelope, Arc::new(message)).await {
            Ok(()) => Answer::new(250, "2.0.0", "taken"),
            Err(NotTaken::Unreadable | NotTaken::NotTheirs) => Answer::new(554, "5.6.0", "this is no message"),
            Err(NotTaken::Full) => Answer::new(452, "4.2.2", "too much for the operator: try again later"),
            Err(NotTaken::Store(error)) => {
                tracing::warn!(%error, "a report was not taken; whoever sent it tries again");
                Answer::new(451, "4.3.0", "try again later")
            }
        }
    }
}

impl Listener {
    async fn take(&self, envelope: &Envelope, raw: Arc<Vec<u8>>) -> Result<(), NotTaken> {
        let read = self.intake.read(&raw).await?;
        let mut to: Vec<_> = envelope.to.iter().map(|path| path.to_ascii_lowercase()).collect();
        to.sort();
        to.dedup();
        for to in to {
            let (source, from) = (ReportSource::Smtp, envelope.from.clone());
            let letter = Letter { source, from, to: Some(to), raw: Arc::clone(&raw), only: None };
            self.intake.take(&letter, &read).await?;
        }
        Ok(())
    }
}
