//! A way to Postgres that can be frozen or cut, as networks and servers are.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What happens to bytes and to new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// Connections stand, and nothing moves.
    Frozen,
    /// Every connection is closed.
    Cut,
}

/// A running proxy.
pub struct Proxy {
    pub url: String,
    weather: Arc<watch::Sender<Weather>>,
}

impl Proxy {
    /// In front of the database at `url`, which is reached by its unix socket.
    pub async fn start(url: &str) -> Self {
        Self::far(url, Duration::ZERO).await
    }

    /// The same, so far away that a round trip takes so long.
    pub async fn far(url: &str, round_trip: Duration) -> Self {
        let options: PgConnectOptions = url.parse().unwrap();
        let socket = options.get_socket().expect("a unix socket").join(".s.PGSQL.5432");
        let database = options.get_database().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, _) = watch::channel(Weather::Fair);
        let weather = Arc::new(weather);
        let sender = Arc::clone(&weather);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (socket, weather) = (socket.clone(), sender.subscribe());
                tokio::spawn(async move {
                    let Ok(server) = UnixStream::connect(socket).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        () = pass(from_client, to_server, weather.clone(), round_trip / 2) => {}
                        () = pass(from_server, to_client, weather, round_trip / 2) => {}
                    }
                });
            }
        });
        Self { url: format!("postgres://mailwright@127.0.0.1:{port}/{database}?sslmode=disable"), weather }
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn pass(
    from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    weather: watch::Receiver<Weather>,
    way: Duration,
) {
    // What was read is on its way, and more may follow meanwhile.
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(4096);
    let arrive = async {
        while let Some((at, bytes)) = under_way.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(set_out(from, sender, weather, way), arrive);
}

async fn set_out(
    mut from: impl AsyncReadExt + Unpin,
    to: mpsc::Sender<(Instant, Vec<u8>)>,
    mut weather: watch::Receiver<Weather>,
    way: Duration,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(count) if count > 0 => count,
                _ => return,
            },
            _ = weather.wait_for(|w| *w == Weather::Cut) => return,
        };
        let now = weather.wait_for(|w| *w != Weather::Frozen).await.map(|w| *w);
        let set_out = (Instant::now() + way, buffer[..count].to_vec());
        if !matches!(now, Ok(Weather::Fair)) || to.send(set_out).await.is_err() {
            return;
        }
    }
}
