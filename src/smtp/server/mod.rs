//! The other side of the protocol: sessions that others open, strangers with reports and programs that submit (RFC 5321, RFC 6409,
//! RFC 2920, RFC 3030, RFC 3207, RFC 4954). What a session may take of time, memory and patience is bounded; a message ends at
//! CRLF.CRLF, or where BDAT says, and nowhere else; nothing that was said before TLS is believed after it. What is accepted, a
//! [`Receiver`] decides.

mod callers;
mod commands;
mod memory;
mod reader;
mod sasl;
mod session;
mod transfer;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

pub use callers::{Callers, listen, turn_away};
pub use commands::{Asked, Hold};
pub use sasl::Credentials;
pub use session::serve;

use crate::domain::budget::Budget;
use crate::domain::clock::Timestamp;

/// What a session may take.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Octets of one message.
    pub message: usize,
    /// Recipients of one message.
    pub recipients: usize,
    /// Messages of one session.
    pub messages: usize,
    /// Commands from one message to the next.
    pub commands: usize,
    /// Commands from one message to the next that were wrong.
    pub errors: usize,
    /// Longest wait for a command.
    pub command: Duration,
    /// Longest time for one message to come.
    pub data: Duration,
    /// Longest time in which nothing of a message comes.
    pub stall: Duration,
    /// Longest time until it is known who calls, where that is asked.
    pub unknown: Duration,
    /// Longest session; what is in hand then is finished.
    pub session: Duration,
}

/// For whom a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Servers that bring what comes back.
    Reports,
    /// Programs that submit mail: AUTH comes first, and more is offered.
    Submission {
        /// AUTH may be said without TLS: nobody but this machine listens.
        in_clear: bool,
    },
}

/// TLS of a connection.
#[derive(Clone)]
pub enum Tls {
    None,
    /// By STARTTLS (RFC 3207).
    Offered(Arc<ServerConfig>),
    /// From the first octet on (RFC 8314).
    Implicit(Arc<ServerConfig>),
}

/// What all sessions of a listener share.
#[derive(Clone)]
pub struct Shared {
    /// The name in the greeting.
    pub name: Arc<str>,
    pub service: Service,
    pub bounds: Bounds,
    /// What messages hold.
    pub memory: Arc<Budget>,
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

/// Characters of a reply's text (RFC 5321 §4.5.3.1.5: 512 octets of a line).
const TEXT_MAX: usize = 450;

impl Answer {
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<String>) -> Self {
        Self { code, enhanced, text: text.into() }
    }

    pub const fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// The line: what is no printable ASCII is not said, whoever wrote it.
    fn line(&self) -> String {
        let text: String = (self.text.replace('§', "section ").chars().take(TEXT_MAX))
            .map(|c| if (' '..='~').contains(&c) { c } else { '?' })
            .collect();
        format!("{} {} {text}\r\n", self.code, self.enhanced)
    }
}

/// What MAIL and RCPT have said.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// Empty for the null path.
    pub from: String,
    pub to: Vec<String>,
    pub asked: Asked,
}

/// What decides, and takes: one for each session.
pub trait Receiver: Send {
    /// Checks credentials, and believes them from now on if the answer is positive.
    fn authenticate(&mut self, credentials: Credentials) -> impl Future<Output = Answer> + Send {
        drop(credentials);
        async { Answer::new(502, "5.5.1", "not here") }
    }

    /// How far ahead a message may be held (RFC 4865): a span from now, and the instant.
    fn hold(&self) -> Option<(Duration, Timestamp)> {
        None
    }

    /// To whom the memory of a message is charged; `None`: to nobody, and it has no share.
    fn payer(&self) -> Option<u128> {
        None
    }

    /// Whether a message may begin.
    fn mail(&mut self, envelope: &Envelope) -> impl Future<Output = Answer> + Send {
        let _ = envelope;
        async { Answer::new(250, "2.1.0", "ok") }
    }

    /// Whether there is such a recipient.
    fn rcpt(&mut self, path: &str) -> impl Future<Output = Answer> + Send;

    /// Takes a message: what it answers is what the sender hears, and a 250 means that it is safe.
    fn data(&mut self, envelope: Envelope, message: Vec<u8>) -> impl Future<Output = Answer> + Send;
}
