//! The receiving end: an SMTP server that takes every message, on a thread of its own, and keeps a ledger of
//! what it took and when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::count;
use super::thread::Thread;
use crate::terminal::CommandError;

/// Recipients of this domain never get an answer: their lane stays full.
pub const STUCK_DOMAIN: &str = "stuck.example";
/// Recipients of this domain get theirs after [`SLOW`].
pub const SLOW_DOMAIN: &str = "slow.example";
const SLOW: Duration = Duration::from_secs(5);
/// Bytes read at once.
const READ: usize = 64 << 10;

/// One copy of a message.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// The message's UUID, out of its `Message-ID`.
    pub message: u128,
    /// A hash of the recipient's address.
    pub recipient: u64,
    pub at: Instant,
}

/// How the sink behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Wait before every answer, as a network of that round trip would make it.
    pub round_trip: Duration,
    /// Whether EHLO offers CHUNKING (RFC 3030).
    pub chunking: bool,
}

struct Shared {
    ledger: Mutex<Vec<Taken>>,
    count: watch::Sender<usize>,
    manner: Manner,
}

/// A running sink.
pub struct Sink {
    pub address: SocketAddr,
    main: Arc<Host>,
    shared: Arc<Shared>,
    count: watch::Receiver<usize>,
    thread: Thread,
}

/// One address of the sink, which may go away and come back.
pub struct Host {
    address: SocketAddr,
    shared: Arc<Shared>,
    open: Mutex<CancellationToken>,
    thread: Thread,
}

impl Sink {
    pub async fn start(manner: Manner) -> Result<Self, CommandError> {
        let (sender, count) = watch::channel(0);
        let shared = Arc::new(Shared { ledger: Mutex::default(), count: sender, manner });
        let thread = Thread::start("bench-sink")?;
        let main = Host::bind(([127, 0, 0, 1], 0).into(), &shared, &thread).await?;
        Ok(Self { address: main.address, main, shared, count, thread })
    }

    /// The address that every domain without one of its own is at.
    pub fn main(&self) -> &Host {
        &self.main
    }

    /// Serves at a further address of this machine, at the same port.
    pub async fn host(&self, ip: [u8; 4]) -> Result<Arc<Host>, CommandError> {
        Host::bind((ip, self.address.port()).into(), &self.shared, &self.thread).await
    }

    /// Takes connections at that address and says nothing, until the sink ends.
    pub async fn mute(&self, ip: [u8; 4]) -> Result<(), CommandError> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::from(ip), self.address.port())).await;
        let listener = listener.map_err(CommandError::new)?.into_std().map_err(CommandError::new)?;
        self.thread.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // Until the client has had enough.
                    let _ = stream.read(&mut [0; 64]).await;
                });
            }
        });
        Ok(())
    }

    /// Copies taken so far.
    pub fn taken(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until `wanted` copies were taken; gives up when none came for `patience`.
    pub async fn until(&self, wanted: usize, patience: Duration) -> bool {
        count::reaches(self.count.clone(), wanted, patience).await
    }

    /// What was taken since the copy numbered `from`.
    pub fn ledger(&self, from: usize) -> Vec<Taken> {
        self.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner)[from..].to_vec()
    }
}

impl Host {
    async fn bind(address: SocketAddr, shared: &Arc<Shared>, thread: &Thread) -> Result<Arc<Self>, CommandError> {
        let listener = TcpListener::bind(address).await.map_err(CommandError::new)?;
        let host = Arc::new(Self {
            address: listener.local_addr().map_err(CommandError::new)?,
            shared: Arc::clone(shared),
            open: Mutex::default(),
            thread: thread.clone(),
        });
        host.serve(listener)?;
        Ok(host)
    }

    fn serve(&self, listener: TcpListener) -> Result<(), CommandError> {
        // Made anew by the runtime that drives it.
        let listener = listener.into_std().map_err(CommandError::new)?;
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shared = Arc::clone(&self.shared);
        self.thread.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            let accept = async {
                while let Ok((stream, _)) = listener.accept().await {
                    let (shared, open) = (Arc::clone(&shared), open.clone());
                    tokio::spawn(async move {
                        // A client that goes away ends its connection and nothing else.
                        let _ = open.run_until_cancelled(converse(stream, &shared)).await;
                    });
                }
            };
            open.run_until_cancelled(accept).await;
        });
        Ok(())
    }

    /// Drops every connection and refuses new ones.
    pub fn die(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    /// Takes connections again, at the same address.
    pub async fn rise(&self) -> Result<(), CommandError> {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
        self.serve(listener)
    }
}

/// Where a connection stands.
struct Conversation {
    buffer: Vec<u8>,
    recipient: Vec<u8>,
    /// Bytes of the buffer known to hold no end of data.
    scanned: usize,
    in_data: bool,
    /// Bytes of a BDAT chunk, once one was announced.
    chunk: Option<usize>,
}

/// What one step of a conversation came to.
enum Step {
    /// More bytes are needed.
    Starved,
    Reply(&'static [u8]),
    Took(usize),
    Quit,
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(b"220 sink\r\n").await?;
    let mut talk = Conversation {
        buffer: Vec::with_capacity(READ),
        recipient: Vec::new(),
        scanned: 0,
        in_data: false,
        chunk: None,
    };
    let mut replies = Vec::new();
    loop {
        if stream.read_buf(&mut talk.buffer).await? == 0 {
            return Ok(());
        }
        replies.clear();
        let mut is_over = false;
        loop {
            match talk.step(shared.manner.chunking) {
                Step::Starved => break,
                Step::Reply(reply) => replies.extend_from_slice(reply),
                Step::Took(length) => {
                    let taken = Taken {
                        message: message_of(&talk.buffer[..length]),
                        recipient: hash(&talk.recipient),
                        at: Instant::now() + shared.manner.round_trip / 2,
                    };
                    talk.forget(length);
                    if talk.recipient.ends_with(STUCK_DOMAIN.as_bytes()) {
                        std::future::pending::<()>().await;
                    }
                    if talk.recipient.ends_with(SLOW_DOMAIN.as_bytes()) {
                        sleep(SLOW).await;
                    }
                    shared.ledger.lock().unwrap_or_else(PoisonError::into_inner).push(taken);
                    shared.count.send_modify(|count| *count += 1);
                    replies.extend_from_slice(b"250 2.0.0 taken\r\n");
                }
                Step::Quit => {
                    replies.extend_from_slice(b"221 bye\r\n");
                    is_over = true;
                    break;
                }
            }
        }
        if !replies.is_empty() {
            if !shared.manner.round_trip.is_zero() {
                sleep(shared.manner.round_trip).await;
            }
            stream.write_all(&replies).await?;
        }
        if is_over {
            return Ok(());
        }
    }
}

impl Conversation {
    fn step(&mut self, offers_chunking: bool) -> Step {
        if self.in_data {
            let from = self.scanned.saturating_sub(4);
            let Some(at) = memmem::find(&self.buffer[from..], b"\r\n.\r\n") else {
                self.scanned = self.buffer.len();
                return Step::Starved;
            };
            self.in_data = false;
            return Step::Took(from + at + 5);
        }
        if let Some(length) = self.chunk {
            if self.buffer.len() < length {
                return Step::Starved;
            }
            self.chunk = None;
            return Step::Took(length);
        }
        let Some(end) = memchr::memchr(b'\n', &self.buffer) else { return Step::Starved };
        let step = self.command(end, offers_chunking);
        self.forget(end + 1);
        step
    }

    fn command(&mut self, end: usize, offers_chunking: bool) -> Step {
        let line = &self.buffer[..end];
        let verb = line.get(..4).unwrap_or_default();
        match verb {
            b"EHLO" if offers_chunking => Step::Reply(b"250-sink\r\n250-CHUNKING\r\n250 PIPELINING\r\n"),
            b"EHLO" => Step::Reply(b"250-sink\r\n250 PIPELINING\r\n"),
            b"RCPT" => {
                let address = line.split(|b| *b == b'<').nth(1).and_then(|rest| rest.split(|b| *b == b'>').next());
                self.recipient = address.unwrap_or_default().to_vec();
                Step::Reply(b"250 2.1.5 ok\r\n")
            }
            b"DATA" => {
                self.in_data = true;
                Step::Reply(b"354 go\r\n")
            }
            b"BDAT" => {
                let length = line[4..]
                    .split(|b| *b == b' ')
                    .nth(1)
                    .and_then(|n| std::str::from_utf8(n).ok()?.trim().parse().ok());
                self.chunk = Some(length.unwrap_or(0));
                Step::Reply(b"")
            }
            b"QUIT" => Step::Quit,
            _ => Step::Reply(b"250 2.0.0 ok\r\n"),
        }
    }

    fn forget(&mut self, length: usize) {
        self.buffer.drain(..length);
        self.scanned = 0;
    }
}

/// The UUID at the start of the `Message-ID`, 0 when there is none.
fn message_of(raw: &[u8]) -> u128 {
    let Some(at) = memmem::find(raw, b"Message-ID: <") else { return 0 };
    raw.get(at + 13..at + 45).and_then(|hex| u128::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()).unwrap_or(0)
}

/// FNV-1a.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
