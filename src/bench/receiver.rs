//! The end of the webhooks: an HTTP server that answers 204 to all, on a thread of its own, and counts what it was told and
//! when. It verifies nothing: what a receiver does is not measured.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::count;
use super::thread::Thread;
use crate::terminal::CommandError;

/// Bytes read at once.
const READ: usize = 16 << 10;
/// How the body of what is counted begins.
const DELIVERED: &[u8] = b"{\"type\":\"message.delivered\"";

/// What came so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Different events.
    pub events: usize,
    /// Calls that told one that had been told.
    pub repeats: usize,
    /// When the last new one came.
    pub last: Option<Instant>,
}

#[derive(Default)]
struct Ledger {
    ids: HashSet<Vec<u8>>,
    tally: Tally,
}

struct Shared {
    ledger: Mutex<Ledger>,
    count: watch::Sender<usize>,
    delay: Duration,
}

/// A running receiver.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    count: watch::Receiver<usize>,
    /// It serves as long as this is held.
    _thread: Thread,
}

impl Receiver {
    /// Starts one that takes `delay` for each answer.
    pub async fn start(delay: Duration) -> Result<Self, CommandError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(CommandError::new)?;
        let address = listener.local_addr().map_err(CommandError::new)?;
        let listener = listener.into_std().map_err(CommandError::new)?;
        let (sender, count) = watch::channel(0);
        let shared = Arc::new(Shared { ledger: Mutex::default(), count: sender, delay });
        let thread = Thread::start("bench-receiver")?;
        let serving = Arc::clone(&shared);
        thread.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    // A caller that goes away ends its connection and nothing else.
                    let _ = serve(stream, &shared).await;
                });
            }
        });
        Ok(Self { address, shared, count, _thread: thread })
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub fn tally(&self) -> Tally {
        self.shared.ledger().tally
    }

    /// Waits until `wanted` different events came; gives up when none came for `patience`.
    pub async fn until(&self, wanted: usize, patience: Duration) -> bool {
        count::reaches(self.count.clone(), wanted, patience).await
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, id: &[u8]) {
        let events = {
            let mut ledger = self.ledger();
            if !ledger.ids.insert(id.to_vec()) {
                ledger.tally.repeats += 1;
                return;
            }
            ledger.tally.events += 1;
            ledger.tally.last = Some(Instant::now());
            ledger.tally.events
        };
        self.count.send_replace(events);
    }
}

/// One call after the other: a caller waits for its answer.
async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(READ);
    loop {
        let Some(call) = Call::of(&buffer) else {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        if !shared.delay.is_zero() {
            sleep(shared.delay).await;
        }
        if buffer[call.head..call.end].starts_with(DELIVERED) {
            shared.note(&buffer[call.id]);
        }
        buffer.drain(..call.end);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
}

/// A whole call at the beginning of a buffer.
struct Call {
    /// Where the `webhook-id` stands.
    id: std::ops::Range<usize>,
    /// Where the body begins, and ends.
    head: usize,
    end: usize,
}

impl Call {
    fn of(buffer: &[u8]) -> Option<Self> {
        let head = memchr::memmem::find(buffer, b"\r\n\r\n")? + 4;
        let (mut id, mut length, mut at) = (0..0, 0, 0);
        for line in buffer[..head].split_inclusive(|byte| *byte == b'\n') {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let value = (at + (colon + 1).min(line.len())..at + line.len(), line.get(colon + 1..).unwrap_or_default());
            if line[..colon].eq_ignore_ascii_case(b"webhook-id") {
                id = value.0;
            } else if line[..colon].eq_ignore_ascii_case(b"content-length") {
                length = std::str::from_utf8(value.1).ok()?.trim().parse().ok()?;
            }
            at += line.len();
        }
        (buffer.len() >= head + length).then_some(Self { id, head, end: head + length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_whole_once_its_body_is_there() {
        let text = b"POST / HTTP/1.1\r\nwebhook-id: evt_1\r\nContent-Length: 2\r\n\r\n{}POST";
        let call = Call::of(text).unwrap();
        assert_eq!((&text[call.id], &text[call.head..call.end]), (&b" evt_1\r\n"[..], &b"{}"[..]));
        assert!(Call::of(&text[..text.len() - 5]).is_none());
    }
}
