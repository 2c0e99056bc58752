//! A way to Postgres that can be frozen or cut, as networks and servers are.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

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
                        () = pass(from_client, to_server, weather.clone()) => {}
                        () = pass(from_server, to_client, weather) => {}
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
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut weather: watch::Receiver<Weather>,
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
        if !matches!(now, Ok(Weather::Fair)) || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
