//! The sockets of the intake: bounded in number, as a whole and for each address that calls.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Intake, Letter, NotTaken};
use crate::config;
use crate::domain::report_kept::ReportSource;
use crate::net::server_tls::ServerTls;
use crate::shutdown::Shutdown;
use crate::smtp::server::{Answer, BLOCK, Bounds, Envelope, Receiver, Shared, serve};

/// Wait after the machine has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on bound sockets.
pub struct Listener {
    pub intake: Arc<Intake>,
    pub tls: Option<ServerTls>,
    shared: Shared,
    places: Arc<Semaphore>,
    per_address: usize,
    calling: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Listener {
    pub fn new(
        config: &config::Inbound,
        name: &str,
        intake: Arc<Intake>,
        tls: Option<ServerTls>,
        stopping: &CancellationToken,
    ) -> Self {
        let bounds = Bounds {
            message: config.message.0,
            recipients: 20,
            messages: 100,
            commands: 1000,
            errors: 10,
            command: config.timeout.0,
            data: config.timeout.0 * 5,
            session: config.timeout.0 * 10,
        };
        Self {
            intake,
            tls,
            shared: Shared {
                name: name.into(),
                bounds,
                memory: Arc::new(Semaphore::new((config.memory.0 / BLOCK).max(1))),
                stopping: stopping.clone(),
            },
            places: Arc::new(Semaphore::new(config.connections)),
            per_address: config.connections_per_address,
            calling: Arc::default(),
        }
    }

    /// Serves until the soft token falls; sessions go on until they end, or the hard one does.
    pub async fn run(self: Arc<Self>, listener: TcpListener, shutdown: Shutdown) {
        loop {
            let accepted = tokio::select! {
                () = shutdown.soft.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.welcome(stream, peer, &shutdown),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn welcome(self: &Arc<Self>, mut stream: TcpStream, peer: SocketAddr, shutdown: &Shutdown) {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let turn = Turn::take(&self.calling, peer.ip(), self.per_address);
        let (Ok(place), Some(turn)) = (place, turn) else {
            // What does not fit into the socket's buffer, nobody waits for.
            let _ = stream.try_write(b"421 4.7.0 too many connections\r\n");
            shutdown.spawn(async move { drop(stream.shutdown().await) });
            return;
        };
        let this = Arc::clone(self);
        shutdown.spawn(async move {
            let tls = this.tls.as_ref().map(ServerTls::current);
            serve(stream, &*this, &this.shared, tls).await;
            drop((place, turn));
        });
    }
}

impl Receiver for Listener {
    async fn rcpt(&self, path: &str) -> Answer {
        match self.intake.inbox(path).await {
            Ok(Some(_)) => Answer::new(250, "2.1.5", "ok"),
            Ok(None) => Answer::new(550, "5.1.1", "there is no such address here: reports alone are taken"),
            Err(_) => Answer::new(451, "4.3.0", "try again later"),
        }
    }

    async fn data(&self, envelope: &Envelope, message: Vec<u8>) -> Answer {
        match self.take(envelope, Arc::new(message)).await {
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

/// A connection of an address, counted.
struct Turn {
    calling: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Turn {
    fn take(calling: &Arc<Mutex<HashMap<IpAddr, usize>>>, address: IpAddr, most: usize) -> Option<Self> {
        let address = network(address);
        let mut counts = calling.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Self { calling: Arc::clone(calling), address })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// One caller has a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}
