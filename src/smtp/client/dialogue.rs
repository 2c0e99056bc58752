//! The conversation without I/O: replies in, actions out.
//!
//! One recipient per transaction. With PIPELINING (RFC 2920) RSET, MAIL, RCPT and DATA leave in one
//! write; without it each waits for its reply. With CHUNKING as well (RFC 3030) a small message follows its
//! envelope in the same write, as one BDAT chunk: one round trip for the whole transaction. The next message's
//! envelope may leave behind the body of the one before it ([`Dialogue::commands_behind`], [`Dialogue::resume`]): without CHUNKING one
//! round trip as well. The driver carries out each [`Action`] and comes back with what it asked for. A whole
//! session: [`Dialogue::new`], replies until [`Action::Ready`], then any number of [`Dialogue::begin`].

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::commands::{self, RSET, chunk_head};
use crate::domain::class::OwnClass;
use crate::domain::envelope::Envelope;
use crate::domain::reply::Reply;
use crate::domain::route::{Credentials, TlsPolicy};
use crate::domain::stage::Stage;
use crate::domain::target::Distrust;
use crate::smtp::capabilities::Capabilities;
use crate::smtp::reply::RawReply;

/// What the driver does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes, then read a reply.
    Send(Vec<u8>),
    /// Read the reply to [`Dialogue::awaited`].
    Read,
    /// Make sure that no byte is left unread, do the TLS handshake, then [`Dialogue::on_secured`].
    Secure,
    /// The session can take a message.
    Ready,
    /// Write the message with its final dot, then [`Dialogue::on_body_sent`].
    SendBody,
    /// Write these bytes and the message, as it is, behind them; then [`Dialogue::on_body_sent`].
    SendChunk(Vec<u8>),
    /// The transaction is over.
    Done(TransactionResult),
    /// The session is of no use; nothing of a message was handed over.
    Close(Stage, Refusal),
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionResult {
    Accepted(Reply),
    Refused(Stage, Reply),
    /// The server lacks what the message needs, and was not asked: what it would have to say.
    Unfit(Reply),
}

/// Why a session is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The server said so.
    Reply(Reply),
    /// We say so: policy or protocol, and why in words.
    Policy(OwnClass, &'static str),
}

/// One conversation.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a connection")]
pub struct Dialogue {
    hello: String,
    tls: TlsPolicy,
    credentials: Option<Credentials>,
    distrust: Distrust,
    capabilities: Capabilities,
    secured: bool,
    authenticated: bool,
    /// EHLO was refused, and HELO said.
    is_old: bool,
    /// MAIL was accepted in a transaction that did not end with a reply to the dot.
    open: bool,
    /// The server said 421, or something that leaves the state in doubt.
    closing: bool,
    awaited: VecDeque<Stage>,
    /// Commands that wait for their turn, when they may not be pipelined.
    queued: VecDeque<(Stage, String)>,
    refused: Option<(Stage, Reply)>,
    login_step: u8,
    /// Bytes of the message that a chunk is to carry; `None` when DATA does.
    chunk: Option<usize>,
    /// The message was written, whichever reply is awaited.
    body_sent: bool,
}

/// Maximum size, in bytes, of a message that is sent behind its envelope without waiting for replies.
const UNASKED_MAX: usize = 64 << 10;

impl Dialogue {
    /// A conversation in which the server speaks first. Under [`TlsPolicy::Implicit`] TLS is there already.
    pub fn new(hello: &str, tls: TlsPolicy, credentials: Option<Credentials>) -> Self {
        Self {
            hello: hello.to_owned(),
            tls,
            credentials,
            distrust: Distrust::default(),
            capabilities: Capabilities::default(),
            secured: tls == TlsPolicy::Implicit,
            authenticated: false,
            is_old: false,
            open: false,
            closing: false,
            awaited: VecDeque::from([Stage::Greeting]),
            queued: VecDeque::new(),
            refused: None,
            login_step: 0,
            chunk: None,
            body_sent: false,
        }
    }

    /// Does without what did not work with this server.
    #[must_use]
    pub const fn distrusting(mut self, distrust: Distrust) -> Self {
        self.distrust = distrust;
        self
    }

    /// Sends no message any more before its envelope was answered.
    pub const fn ask_first(&mut self) {
        self.distrust.lasting = true;
    }

    /// Whether a chunk carries, or carried, the message of this transaction.
    pub const fn uses_chunk(&self) -> bool {
        self.chunk.is_some()
    }

    /// Whether the session goes on in the clear though the server had offered STARTTLS.
    pub const fn is_unsecured_by_refusal(&self) -> bool {
        self.capabilities.starttls && !self.secured
    }

    /// The reply that is awaited, for its deadline.
    pub fn awaited(&self) -> Stage {
        self.awaited.front().copied().unwrap_or(Stage::Quit)
    }

    /// Whether the session may carry another message.
    pub fn is_reusable(&self) -> bool {
        !self.closing && self.awaited.is_empty() && self.queued.is_empty()
    }

    /// The refusal of this transaction that was heard before the session ended, if one was.
    pub fn take_refusal(&mut self) -> Option<TransactionResult> {
        self.refused.take().map(|(stage, reply)| TransactionResult::Refused(stage, reply))
    }

    /// The stage at which a session that ends now leaves the message: once all of it was written, the server may
    /// have taken it, whichever reply is awaited.
    pub fn uncertain_from(&self) -> Stage {
        if self.body_sent { Stage::Dot } else { self.awaited() }
    }

    /// Begins a transaction. `heard_recently`: the server was heard a moment ago, so that the session will not turn out to be
    /// stale.
    pub fn begin(&mut self, envelope: &Envelope, heard_recently: bool) -> Action {
        self.renew(envelope);
        let commands = match commands::commands(envelope, &self.capabilities, self.secured) {
            Ok(commands) => commands,
            Err(reply) => return Action::Done(TransactionResult::Unfit(reply)),
        };
        if self.open {
            self.queued.push_back((Stage::Rset, RSET.to_owned()));
        }
        self.queued.extend(commands);
        if let Some(size) = self.chunk
            && self.capabilities.pipelining
            && heard_recently
            && !self.distrust.lasting
            && size <= UNASKED_MAX
            // A server that refused STARTTLS may be about to hang up.
            && !self.is_unsecured_by_refusal()
        {
            let mut bytes = self.take_queued();
            bytes.extend_from_slice(chunk_head(size).as_bytes());
            return Action::SendChunk(bytes);
        }
        self.send_queued()
    }

    /// Forgets the last transaction.
    fn renew(&mut self, envelope: &Envelope) {
        self.refused = None;
        self.body_sent = false;
        self.chunk = self.capabilities.chunking.then_some(envelope.size);
    }

    /// The commands of the next message's envelope, to leave behind the body of this one (RFC 2920 §3.1); `None` when
    /// the server does not pipeline, or would not get that message.
    pub fn commands_behind(&self, next: &Envelope) -> Option<Vec<u8>> {
        let commands = commands::commands(next, &self.capabilities, self.secured).ok()?;
        // Should this message be refused, some servers keep its transaction (RFC 5321 §4.1.1.5 ends it).
        let bytes = RSET.bytes().chain(commands.flat_map(|(_, line)| line.into_bytes()));
        (self.capabilities.pipelining && !self.closing).then(|| bytes.collect())
    }

    /// Goes on with the transaction whose envelope left behind the body of the one before.
    pub fn resume(&mut self, envelope: &Envelope) -> Action {
        self.renew(envelope);
        Action::Read
    }

    /// Whether replies of a transaction to [`Self::resume`] can still be expected.
    pub fn is_pending(&self) -> bool {
        !self.closing && self.awaited.front() == Some(&Stage::Rset)
    }

    /// The driver secured the connection: whatever was said before is forgotten (RFC 3207 §4.2).
    pub fn on_secured(&mut self) -> Action {
        self.secured = true;
        self.capabilities = Capabilities::default();
        self.say_hello()
    }

    /// The message was written to its end, and the commands of the next one behind it if `is_followed`.
    pub fn on_body_sent(&mut self, is_followed: bool) -> Action {
        self.body_sent = true;
        self.awaited.push_back(Stage::Dot);
        if is_followed {
            self.awaited.push_back(Stage::Rset);
            self.awaited.extend(commands::stages(&self.capabilities));
        }
        Action::Read
    }

    /// Takes the reply to [`Self::awaited`].
    pub fn on_reply(&mut self, raw: &RawReply) -> Action {
        let Some(stage) = self.awaited.pop_front() else {
            self.closing = true;
            return Action::Close(Stage::Quit, Refusal::Policy(OwnClass::Protocol, "a reply that nothing asked for"));
        };
        let reply = raw.to_reply();
        if reply.code == 421 {
            self.closing = true;
        }
        match stage {
            Stage::Greeting if reply.code == 220 => self.say_hello(),
            Stage::Ehlo if reply.is_positive() => self.on_hello(raw),
            // RFC 5321 §3.2: a server that does not know EHLO is greeted by HELO.
            Stage::Ehlo if reply.is_permanent() && self.may_say_helo() => {
                self.is_old = true;
                self.tls = TlsPolicy::None;
                self.send(Stage::Ehlo, format!("HELO {}\r\n", self.hello))
            }
            Stage::StartTls if reply.code == 220 => Action::Secure,
            Stage::StartTls if self.tls == TlsPolicy::Opportunistic && !self.closing => Action::Ready,
            Stage::Auth => self.on_auth(reply),
            Stage::Rset if reply.is_positive() => {
                self.open = false;
                self.next()
            }
            Stage::Mail | Stage::Rcpt => {
                if !reply.is_positive() {
                    self.refuse(stage, reply);
                } else if stage == Stage::Mail {
                    self.open = true;
                }
                self.next()
            }
            Stage::Data => self.on_data(reply),
            Stage::Dot => self.on_dot(reply),
            _ => {
                self.closing = true;
                Action::Close(stage, Refusal::Reply(reply))
            }
        }
    }

    /// Whether HELO may be tried: once, and only when nothing is required that HELO does not offer.
    fn may_say_helo(&self) -> bool {
        !self.is_old && !self.secured && !self.tls.is_mandatory() && self.credentials.is_none()
    }

    fn say_hello(&mut self) -> Action {
        if self.distrust.ehlo && self.may_say_helo() {
            self.is_old = true;
            self.tls = TlsPolicy::None;
            return self.send(Stage::Ehlo, format!("HELO {}\r\n", self.hello));
        }
        self.send(Stage::Ehlo, format!("EHLO {}\r\n", self.hello))
    }

    fn on_hello(&mut self, raw: &RawReply) -> Action {
        self.capabilities = Capabilities::of(raw);
        self.capabilities.chunking &= !self.distrust.chunking;
        self.capabilities.starttls &= !(self.distrust.starttls && self.tls == TlsPolicy::Opportunistic);
        if !self.secured && self.tls != TlsPolicy::None {
            if self.capabilities.starttls {
                return self.send(Stage::StartTls, "STARTTLS\r\n".to_owned());
            }
            if self.tls.is_mandatory() {
                self.closing = true;
                return Action::Close(
                    Stage::StartTls,
                    Refusal::Policy(OwnClass::Tls, "TLS is required and STARTTLS is not offered"),
                );
            }
        }
        self.authenticate()
    }

    fn authenticate(&mut self) -> Action {
        let Some(credentials) = self.credentials.as_ref().filter(|_| !self.authenticated) else {
            return Action::Ready;
        };
        // The configuration allows credentials with validated TLS only; this is the second lock.
        if !self.secured {
            self.closing = true;
            return Action::Close(Stage::Auth, Refusal::Policy(OwnClass::Tls, "credentials are sent over TLS only"));
        }
        if self.capabilities.auth_plain {
            let token = BASE64.encode(format!("\0{}\0{}", credentials.username, credentials.password));
            self.send(Stage::Auth, format!("AUTH PLAIN {token}\r\n"))
        } else if self.capabilities.auth_login {
            self.login_step = 1;
            self.send(Stage::Auth, "AUTH LOGIN\r\n".to_owned())
        } else {
            self.closing = true;
            Action::Close(
                Stage::Auth,
                Refusal::Policy(OwnClass::Auth, "the server offers neither AUTH PLAIN nor AUTH LOGIN"),
            )
        }
    }

    fn on_auth(&mut self, reply: Reply) -> Action {
        let credentials = self.credentials.as_ref();
        match (reply.code, self.login_step, credentials) {
            (235, ..) => {
                self.authenticated = true;
                Action::Ready
            }
            (334, 1, Some(credentials)) => {
                let line = BASE64.encode(&credentials.username);
                self.login_step = 2;
                self.send(Stage::Auth, format!("{line}\r\n"))
            }
            (334, 2, Some(credentials)) => {
                let line = BASE64.encode(&credentials.password);
                self.login_step = 3;
                self.send(Stage::Auth, format!("{line}\r\n"))
            }
            _ => {
                self.closing = true;
                Action::Close(Stage::Auth, Refusal::Reply(reply))
            }
        }
    }

    fn on_data(&mut self, reply: Reply) -> Action {
        let intermediate = reply.code == 354;
        if !intermediate {
            if reply.is_positive() {
                // A 2yz to DATA leaves the state in doubt.
                self.closing = true;
            }
            self.refuse(Stage::Data, reply);
            return self.done();
        }
        if self.refused.is_none() {
            return Action::SendBody;
        }
        // MAIL was refused and DATA was not: the server believes in another transaction (Postfix keeps one whose message
        // was refused), whose recipients would get whatever is ended here. A connection that ends first sends nothing.
        if matches!(self.refused, Some((Stage::Mail, _))) {
            self.closing = true;
            return self.done();
        }
        // RFC 2920 §3.1: DATA was taken although the recipient was not; an empty message ends it.
        self.send(Stage::Dot, ".\r\n".to_owned())
    }

    fn on_dot(&mut self, reply: Reply) -> Action {
        // RFC 3030 §2: after a refused chunk the state is in doubt until RSET; after a refused dot only in practice.
        self.open = !reply.is_positive();
        self.body_sent = false;
        // A chunk behind a refused envelope was refused too, or belongs to no transaction.
        if self.refused.is_some() {
            return self.done();
        }
        if reply.is_positive() {
            return Action::Done(TransactionResult::Accepted(reply));
        }
        self.refuse(Stage::Dot, reply);
        self.done()
    }

    fn refuse(&mut self, stage: Stage, reply: Reply) {
        self.refused.get_or_insert((stage, reply));
    }

    /// After MAIL or RCPT: the replies of what was pipelined, the next command, or the end.
    fn next(&mut self) -> Action {
        if !self.awaited.is_empty() {
            return Action::Read;
        }
        if self.refused.is_some() || self.closing {
            self.queued.clear();
            return self.done();
        }
        match self.chunk {
            Some(size) if self.queued.is_empty() => Action::SendChunk(chunk_head(size).into_bytes()),
            _ => self.send_queued(),
        }
    }

    fn done(&mut self) -> Action {
        if let Some((stage, reply)) = self.refused.take() {
            Action::Done(TransactionResult::Refused(stage, reply))
        } else {
            self.closing = true;
            Action::Close(Stage::Data, Refusal::Policy(OwnClass::Protocol, "the transaction ended without a refusal"))
        }
    }

    fn send(&mut self, stage: Stage, line: String) -> Action {
        self.awaited.push_back(stage);
        Action::Send(line.into_bytes())
    }

    fn send_queued(&mut self) -> Action {
        Action::Send(self.take_queued())
    }

    /// The commands that may leave now: all with PIPELINING, one without.
    fn take_queued(&mut self) -> Vec<u8> {
        let count = if self.capabilities.pipelining { self.queued.len() } else { 1 };
        let mut bytes = Vec::new();
        for (stage, line) in self.queued.drain(..count.min(self.queued.len())) {
            self.awaited.push_back(stage);
            bytes.extend_from_slice(line.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
