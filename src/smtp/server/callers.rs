//! Connections, bounded in number, as a whole and for each address that calls.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::domain::net::network;
use crate::shutdown::Shutdown;

/// Wait after the machine has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is connected.
#[derive(Debug)]
pub struct Callers {
    most: usize,
    /// What one address may have, whatever is free; `None`: a share of what is free.
    per_address: Option<usize>,
    calling: Mutex<Calling>,
}

#[derive(Debug, Default)]
struct Calling {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// What an address may always have, while there are places.
const SHARE_LEAST: usize = 8;

impl Callers {
    /// At most so many at once, and so many of one address (of a /64 of IPv6). Without a limit of its own, an address has no more
    /// places than it leaves free: half of all while it calls alone, and less as others come.
    pub fn new(most: usize, per_address: Option<usize>) -> Arc<Self> {
        Arc::new(Self { most, per_address, calling: Mutex::default() })
    }

    /// A place for a connection of that address, if there is one.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut calling = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        let (free, own) = (self.most - calling.all, calling.by_address.get(&address).copied().unwrap_or_default());
        let share = self.per_address.unwrap_or_else(|| free.max(SHARE_LEAST));
        if free == 0 || own >= share {
            return None;
        }
        calling.all += 1;
        *calling.by_address.entry(address).or_default() += 1;
        drop(calling);
        Some(Place { callers: Arc::clone(self), address })
    }
}

/// A connection, counted as long as this lives.
#[derive(Debug)]
pub struct Place {
    callers: Arc<Callers>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut calling = self.callers.calling.lock().unwrap_or_else(PoisonError::into_inner);
        calling.all -= 1;
        if let Some(count) = calling.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                calling.by_address.remove(&self.address);
            }
        }
    }
}

/// Hands connections over until the soft token falls; sessions go on until they end, or the hard one falls.
pub async fn listen<S>(listener: TcpListener, shutdown: Shutdown, mut serve: impl FnMut(TcpStream, SocketAddr) -> S)
where
    S: Future<Output = ()> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            () = shutdown.soft.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // A reply is one write; waiting to fill a segment only delays it.
                let _ = stream.set_nodelay(true);
                shutdown.spawn(serve(stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Tells a connection that there is no place for it.
pub async fn turn_away(mut stream: TcpStream) {
    // What does not fit into the socket's buffer, nobody waits for.
    let _ = stream.try_write(b"421 4.7.0 too many connections\r\n");
    let _ = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_alone_has_half_and_less_as_others_come() {
        let callers = Callers::new(100, None);
        let taken = |address: &str| {
            let address = address.parse().unwrap();
            std::iter::from_fn(|| callers.enter(address)).collect::<Vec<_>>()
        };
        let one = taken("192.0.2.1");
        assert_eq!(one.len(), 50);
        let other = taken("2001:db8::1");
        assert_eq!(other.len(), 25);
        assert!(taken("2001:db8::2").is_empty(), "the same network");
        // Others find places until there are none.
        let rest: Vec<_> = (0..200).filter_map(|n| callers.enter(IpAddr::from([198, 51, 100, n]))).collect();
        assert_eq!(rest.len(), 25);
        assert!(callers.enter("203.0.113.1".parse().unwrap()).is_none());
        drop((one, other, rest));
        assert_eq!(taken("192.0.2.1").len(), 50, "what ends is free again");
        assert_eq!(callers.calling.lock().unwrap().by_address.len(), 0);
    }
}
