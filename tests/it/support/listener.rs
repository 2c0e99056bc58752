//! What webhooks are posted to where time and trouble count: it answers, dawdles, hangs or breaks off as a script says, may be away
//! for a while, and notes when each call came.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::PATIENCE;
use super::contract::CONTRACT;
use super::receiver::Hook;

/// What becomes of a call.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// This status, at once.
    Answer(u16),
    /// 200, after this time.
    Late(Duration),
    /// Nothing is ever said.
    Hang,
    /// The connection is reset.
    Reset,
}

/// A call that came.
#[derive(Debug, Clone)]
pub struct Call {
    pub hook: Hook,
    pub at: Instant,
    /// It is answered with 200.
    pub is_taken: bool,
    /// Its signature was right when it came; of a listener that knows the secret.
    pub is_signed: bool,
}

type Script = dyn Fn(usize) -> Fate + Send + Sync;

struct Shared {
    script: Box<Script>,
    calls: Mutex<Vec<Call>>,
    taken: Mutex<HashSet<String>>,
    away_until: Mutex<Option<Instant>>,
    secret: OnceLock<standardwebhooks::Webhook>,
    /// Calls, and events taken.
    count: watch::Sender<(usize, usize)>,
}

/// A running listener.
#[derive(Clone)]
pub struct Listener {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Listener {
    /// What becomes of the n-th call, from 0, is for the script to say.
    pub async fn start(script: impl Fn(usize) -> Fate + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            script: Box::new(script),
            calls: Mutex::default(),
            taken: Mutex::default(),
            away_until: Mutex::default(),
            secret: OnceLock::new(),
            count: watch::channel((0, 0)).0,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                // A caller that goes away ends its connection and nothing else.
                tokio::spawn(async move { serve(stream, &shared).await });
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Verifies what comes from now on.
    pub fn verify_by(&self, secret: &str) {
        let verifier = standardwebhooks::Webhook::new(secret).unwrap();
        assert!(self.shared.secret.set(verifier).is_ok(), "the secret is known");
    }

    /// Resets whatever comes for so long.
    pub fn leave_for(&self, span: Duration) {
        *self.shared.away_until.lock().unwrap() = Some(Instant::now() + span);
    }

    /// What came so far. Fails when one is not as `openapi.yaml` says.
    pub fn calls(&self) -> Vec<Call> {
        let calls = self.shared.calls.lock().unwrap().clone();
        for call in &calls {
            CONTRACT.check_webhook(&call.hook.json());
        }
        calls
    }

    /// Waits until so many calls came. Each must come soon after the one before.
    pub async fn until_calls(&self, wanted: usize) -> Vec<Call> {
        self.until(|(calls, _)| calls >= wanted).await;
        self.calls()
    }

    /// Waits until so many events were taken. Each must come soon after the one before.
    pub async fn until_taken(&self, wanted: usize) {
        self.until(|(_, taken)| taken >= wanted).await;
    }

    async fn until(&self, is_enough: impl Fn((usize, usize)) -> bool) {
        let mut count = self.shared.count.subscribe();
        while !is_enough(*count.borrow_and_update()) {
            // While it is away nothing can come.
            let away =
                self.shared.away_until.lock().unwrap().map(|until| until.saturating_duration_since(Instant::now()));
            let patience = PATIENCE + away.unwrap_or_default();
            let changed = tokio::time::timeout(patience, count.changed()).await;
            changed.unwrap_or_else(|_| panic!("no other webhook came within {patience:?}")).unwrap();
        }
    }
}

impl Shared {
    fn is_away(&self) -> bool {
        self.away_until.lock().unwrap().is_some_and(|until| Instant::now() < until)
    }

    /// Notes a call; gives what becomes of it.
    fn note(&self, hook: Hook) -> Fate {
        let mut calls = self.calls.lock().unwrap();
        let fate = (self.script)(calls.len());
        let is_taken = matches!(fate, Fate::Answer(200..=299) | Fate::Late(_));
        let taken = {
            let mut taken = self.taken.lock().unwrap();
            if is_taken {
                taken.insert(hook.id().to_owned());
            }
            taken.len()
        };
        let is_signed = self.secret.get().is_some_and(|secret| secret.verify(&hook.body, &hook.headers).is_ok());
        calls.push(Call { hook, at: Instant::now(), is_taken, is_signed });
        self.count.send_replace((calls.len(), taken));
        fate
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        if shared.is_away() {
            return stream.set_zero_linger();
        }
        let Some((hook, end)) = parse(&buffer) else {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        buffer.drain(..end);
        let status = match shared.note(hook) {
            Fate::Answer(status) => status,
            Fate::Late(span) => {
                tokio::time::sleep(span).await;
                200
            }
            // Until the caller has had enough.
            Fate::Hang => return stream.read(&mut [0]).await.map(drop),
            Fate::Reset => return stream.set_zero_linger(),
        };
        stream.write_all(format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n").as_bytes()).await?;
    }
}

/// The call at the beginning of a buffer, once it is whole, and where it ends.
fn parse(buffer: &[u8]) -> Option<(Hook, usize)> {
    let head = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let lines = std::str::from_utf8(&buffer[..head]).unwrap().lines().skip(1);
    let headers: HeaderMap = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.trim().parse::<HeaderValue>().unwrap()))
        .collect();
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    let body = buffer.get(head..head + length)?.to_vec();
    Some((Hook { headers, body }, head + length))
}
