//! The sending end: HTTP clients on a thread of their own. Closed loop (each connection sends again when it has
//! its answer) or at a fixed rate, where a late answer does not slow down what is due next.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::args::Via;
use super::submission;
use super::thread::Thread;
use crate::terminal::CommandError;

/// Wait before a request that was not answered with 202 is repeated.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for one answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What is sent.
#[derive(Debug, Clone)]
pub struct Load {
    /// The services; connections are spread over them.
    pub services: Vec<SocketAddr>,
    pub via: Via,
    pub key: String,
    pub connections: usize,
    pub messages: usize,
    /// Bytes of text.
    pub size: usize,
    pub recipients: usize,
    /// Domain of the recipients.
    pub domain: String,
    /// Recipients are spread over so many domains: `d0000`, `d0001` and so on below [`Self::domain`]. 0: that one.
    pub domains: usize,
    pub from: String,
    /// Requests a second; `None` sends as fast as answers come.
    pub rate: Option<f64>,
    /// End after this time, whatever is left.
    pub duration: Option<Duration>,
    /// Whether every request carries an `Idempotency-Key`.
    pub keyed: bool,
    /// Ends it as well.
    pub stop: CancellationToken,
    /// Number of the first message, so that no two loads share recipients.
    pub first: usize,
}

/// A request that was answered with 202.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    pub message: u128,
    /// When it was sent, or was due to be.
    pub started: Instant,
    pub answered: Instant,
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct Sent {
    pub acknowledged: Vec<Acknowledged>,
    /// Answers other than 202, and connections that broke.
    pub refused: usize,
}

struct Shared {
    load: Load,
    next: AtomicUsize,
    refused: AtomicUsize,
    started: Instant,
    acknowledged: Mutex<Vec<Acknowledged>>,
}

/// Sends it all; returns when every message is acknowledged, or the time is over.
pub async fn send(thread: &Thread, load: Load) -> Result<Sent, CommandError> {
    let (done, finished) = tokio::sync::oneshot::channel();
    thread.spawn(async move {
        let shared = Arc::new(Shared {
            load,
            next: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            started: Instant::now(),
            acknowledged: Mutex::default(),
        });
        let mut connections = tokio::task::JoinSet::new();
        for number in 0..shared.load.connections {
            let shared = Arc::clone(&shared);
            connections.spawn(async move { shared.connection(number).await });
        }
        if let Some(duration) = shared.load.duration {
            let stop = shared.load.stop.clone();
            tokio::spawn(async move {
                sleep(duration).await;
                stop.cancel();
            });
        }
        connections.join_all().await;
        let acknowledged = std::mem::take(&mut *shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = done.send(Sent { acknowledged, refused: shared.refused.load(Ordering::Relaxed) });
    });
    finished.await.map_err(|_| CommandError::new("the load's thread ended"))
}

impl Shared {
    async fn connection(&self, number: usize) {
        let service = self.load.services[number % self.load.services.len()];
        let mut request = Request::new(&self.load);
        let mut stream = None;
        loop {
            let sequence = self.next.fetch_add(1, Ordering::Relaxed);
            if sequence >= self.load.messages || self.load.stop.is_cancelled() {
                return;
            }
            let started = match self.load.rate {
                Some(rate) => {
                    let due = self.started + Duration::from_secs_f64(sequence as f64 / rate);
                    sleep_until(due).await;
                    due
                }
                None => Instant::now(),
            };
            request.number(self.load.first + sequence);
            loop {
                let exchanged = match self.load.via {
                    Via::Api => exchange(&mut stream, service, &request.bytes).await,
                    Via::Smtp => {
                        let taken = submission::exchange(&mut stream, (service, &self.load), &request.bytes).await;
                        taken.and_then(|()| own_id(self.load.first + sequence))
                    }
                };
                if let Some(message) = exchanged {
                    let entry = Acknowledged { message, started, answered: Instant::now() };
                    self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
                    break;
                }
                self.refused.fetch_add(1, Ordering::Relaxed);
                if self.load.stop.is_cancelled() {
                    return;
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// A request whose numbers are written in place.
struct Request {
    bytes: Vec<u8>,
    /// Where the numbers stand.
    places: Vec<usize>,
    /// Where the domains' numbers stand.
    domain_places: Vec<usize>,
    domains: usize,
    recipients: usize,
}

const MARK: &str = "#########";
/// What stands before a number in a message's id, so that it looks like one of the service's own.
const LEFT: &str = "00000000000000000000000";
const DOMAIN_MARK: &str = "%%%%";

impl Request {
    fn new(load: &Load) -> Self {
        match load.via {
            Via::Api => Self::of_api(load),
            Via::Smtp => Self::of_smtp(load),
        }
    }

    fn of_smtp(load: &Load) -> Self {
        let line = "The quick brown fox jumps over the lazy dog 0123456.\r\n";
        let text = line.repeat(load.size / line.len() + 1);
        let below = if load.domains > 0 { format!("d{DOMAIN_MARK}.") } else { String::new() };
        let to: Vec<_> = (0..load.recipients).map(|n| format!("r{n}.{MARK}@{below}{}", load.domain)).collect();
        let rcpt = format!("RCPT TO:<{}>\r\n", to.join(">\r\nRCPT TO:<"));
        let key = if load.keyed { format!("Idempotency-Key: bench-{MARK}\r\n") } else { String::new() };
        let message = format!(
            "From: {}\r\nTo: {}\r\nSubject: Benchmark\r\nMessage-ID: <{LEFT}{MARK}@bench.example>\r\n{key}Content-Type: text/plain\r\n\r\n{}\r\n",
            load.from,
            to.join(",\r\n "),
            text[..load.size].trim_end(),
        );
        let octets = message.len();
        let bytes = format!("MAIL FROM:<bench@bench.example>\r\n{rcpt}BDAT {octets} LAST\r\n{message}").into_bytes();
        Self::with_places(bytes, load)
    }

    fn of_api(load: &Load) -> Self {
        let line = "The quick brown fox jumps over the lazy dog 0123456.\n";
        let text = line.repeat(load.size / line.len() + 1);
        let below = if load.domains > 0 { format!("d{DOMAIN_MARK}.") } else { String::new() };
        let to: Vec<_> = (0..load.recipients).map(|n| format!("r{n}.{MARK}@{below}{}", load.domain)).collect();
        let body = json!({"from": load.from, "to": to, "subject": "Benchmark", "text": &text[..load.size]}).to_string();
        let key = if load.keyed { format!("Idempotency-Key: bench-{MARK}\r\n") } else { String::new() };
        let bytes = format!(
            "POST /v1/send HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n{key}Content-Length: {}\r\n\r\n{body}",
            load.key,
            body.len(),
        )
        .into_bytes();
        Self::with_places(bytes, load)
    }

    fn with_places(bytes: Vec<u8>, load: &Load) -> Self {
        let places = |mark: &str| memchr::memmem::find_iter(&bytes, mark.as_bytes()).collect::<Vec<_>>();
        let (places, domain_places) = (places(MARK), places(DOMAIN_MARK));
        Self { bytes, places, domain_places, domains: load.domains, recipients: load.recipients }
    }

    fn number(&mut self, number: usize) {
        debug_assert!(self.places.len() >= self.recipients, "every recipient has a number");
        write_digits(&mut self.bytes, &self.places, MARK.len(), number);
        if self.domains > 0 {
            write_digits(&mut self.bytes, &self.domain_places, DOMAIN_MARK.len(), number % self.domains);
        }
    }
}

/// The id that a message by SMTP brings along, as the sink reads it.
fn own_id(number: usize) -> Option<u128> {
    u128::from_str_radix(&format!("{LEFT}{number:09}"), 16).ok()
}

fn write_digits(bytes: &mut [u8], places: &[usize], width: usize, number: usize) {
    let digits = format!("{number:0width$}");
    for place in places {
        bytes[*place..*place + width].copy_from_slice(&digits.as_bytes()[..width]);
    }
}

/// One request and its answer: the message's UUID if it was a 202.
async fn exchange(stream: &mut Option<TcpStream>, service: SocketAddr, request: &[u8]) -> Option<u128> {
    let mut open = if let Some(open) = stream.take() {
        open
    } else {
        let open = TcpStream::connect(service).await.ok()?;
        open.set_nodelay(true).ok()?;
        open
    };
    let answer = async {
        open.write_all(request).await.ok()?;
        let mut buffer = Vec::with_capacity(4096);
        loop {
            if open.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
            if let Some(whole) = whole_answer(&buffer) {
                return Some((whole, buffer));
            }
        }
    };
    let (body, buffer) = tokio::time::timeout(PATIENCE, answer).await.ok()??;
    *stream = Some(open);
    if !buffer.starts_with(b"HTTP/1.1 202") {
        return None;
    }
    let text = std::str::from_utf8(&buffer[body..]).ok()?;
    let id = text.split_once("\"id\":\"msg_")?.1.get(..32)?;
    u128::from_str_radix(id, 16).ok()
}

/// Where the body begins, once all of it is there.
fn whole_answer(buffer: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(buffer, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).ok()?;
    let length = text
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
        })
        .unwrap_or(0);
    (buffer.len() >= head + length).then_some(head)
}
