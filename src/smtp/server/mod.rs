//! The other side of the protocol: sessions that strangers open (RFC 5321, RFC 2920, RFC 3207). What a session may take of time,
//! memory and patience is bounded; a message ends at CRLF.CRLF and nowhere else; nothing that was said before TLS is believed after
//! it. What is accepted, a [`Receiver`] decides.

mod commands;
mod reader;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use session::serve;

/// What a session may take.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Octets of one message.
    pub message: usize,
    /// Recipients of one message.
    pub recipients: usize,
    /// Messages of one session.
    pub messages: usize,
    /// Commands of one session.
    pub commands: usize,
    /// Commands that were wrong.
    pub errors: usize,
    /// Longest wait for a command.
    pub command: Duration,
    /// Longest time for one message to come.
    pub data: Duration,
    /// Longest session.
    pub session: Duration,
}

/// What all sessions share.
#[derive(Clone)]
pub struct Shared {
    /// The name in the greeting.
    pub name: Arc<str>,
    pub bounds: Bounds,
    /// Blocks of [`BLOCK`] octets that messages may still hold.
    pub memory: Arc<Semaphore>,
    /// Falls when the service stops: sessions end at their next command.
    pub stopping: CancellationToken,
}

/// Octets of a block of memory.
pub const BLOCK: usize = 64 << 10;

/// A reply of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    pub enhanced: &'static str,
    pub text: String,
}

impl Answer {
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<String>) -> Self {
        Self { code, enhanced, text: text.into() }
    }

    pub const fn is_positive(&self) -> bool {
        self.code < 400
    }
}

/// What MAIL and RCPT have said.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// Empty for the null path.
    pub from: String,
    pub to: Vec<String>,
}

/// What decides, and takes.
pub trait Receiver: Send + Sync {
    /// Whether there is such a recipient.
    fn rcpt(&self, path: &str) -> impl Future<Output = Answer> + Send;
    /// Takes a message: what it answers is what the sender hears, and a 250 means that it is safe.
    fn data(&self, envelope: &Envelope, message: Vec<u8>) -> impl Future<Output = Answer> + Send;
}
