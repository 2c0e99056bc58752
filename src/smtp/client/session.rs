//! A dialogue carried over a socket. Every whole reply has a deadline (RFC 5321 §4.5.3.2), whatever the
//! target trickles; what a stuck target holds is dropped, never spoken to again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::connection::Connection;
use super::deadlines::Deadlines;
use super::dialogue::{Action, Dialogue, TransactionResult};
use super::failure::{CLOSED, Failure, FailureKind};
use super::session_tls::{Secured, SessionTls, TlsFault, secure};
use crate::domain::envelope::Envelope;
use crate::domain::route::TlsPolicy;
use crate::domain::stage::Stage;
use crate::domain::target::{Distrust, Source, Target};
use crate::domain::tls_result::TlsResult;
use crate::net::tls::TlsConfigs;
use crate::smtp::reply::{RawReply, ReplyReader};
use crate::smtp::stuffing::dot_stuffed;
use crate::smtp::wire::{Wire, connect_from};

/// Bytes written under one deadline.
const BLOCK: usize = 64 << 10;
/// Bytes a second below which a body's transfer is given up, once its first deadline is over.
const RATE_MIN: u64 = 10 << 10;
/// Bytes of transcript kept of one transaction.
const TRANSCRIPT_MAX: usize = 16 << 10;

/// An open session.
pub struct Session {
    wire: Wire,
    reader: ReplyReader,
    dialogue: Dialogue,
    deadlines: Arc<Deadlines>,
    transcript: String,
    pub target: Arc<Target>,
    /// The address that we speak from.
    pub local: Option<SocketAddr>,
    pub tls: SessionTls,
    /// Why the certificate would be refused under a policy that only tests (RFC 8461 §5).
    pub doubt: Option<TlsResult>,
    /// Transactions begun on this session.
    pub transactions: usize,
    /// When the server last said something.
    heard: Instant,
    /// Nothing was heard since the transaction began.
    is_unheard: bool,
    /// A greeting later than this is not waited for: another host is.
    greeting_until: Option<Instant>,
    _connection: Connection,
}

/// How a session is opened.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    pub source: &'a Source,
    pub deadlines: &'a Arc<Deadlines>,
    pub tls: &'a TlsConfigs,
    /// While other hosts remain: the longest that connecting, and then the greeting, may take.
    pub hurry: Option<Duration>,
    pub distrust: Distrust,
}

/// Why a session was not opened.
#[derive(Debug)]
pub struct Unopened {
    pub failure: Failure,
    pub transcript: String,
    /// TLS was there already.
    pub is_secured: bool,
}

/// A message and its envelope.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    pub envelope: &'a Envelope,
    pub raw: &'a [u8],
}

/// Maximum time since the last reply for which the session is taken to be alive.
const HOT: Duration = Duration::from_secs(1);
/// Maximum time for reading what has come already.
const TICKET: Duration = Duration::from_millis(20);
/// Maximum time for which the answer of the peer's system to bytes that came too late is waited for.
const REFUSED: Duration = Duration::from_millis(500);

impl Session {
    /// Connects, greets, secures and authenticates.
    pub async fn open(target: Arc<Target>, opening: &Opening<'_>, connection: Connection) -> Result<Self, Unopened> {
        let nothing_said = |failure| Unopened { failure, transcript: String::new(), is_secured: false };
        let deadlines = opening.deadlines;
        let connect = deadlines.of(Stage::Connect);
        let limit = opening.hurry.map_or(connect, |hurry| hurry.min(connect));
        let stream = match timeout(limit, connect_from(opening.source.ip, target.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(nothing_said(Failure::broken(Stage::Connect, error))),
            Err(_) => return Err(nothing_said(Failure::broken(Stage::Connect, "no connection within the deadline"))),
        };
        // 44 ms per message without it: Nagle against delayed acknowledgements.
        if let Err(error) = stream.set_nodelay(true) {
            return Err(nothing_said(Failure::broken(Stage::Connect, error)));
        }
        let mut session = Self {
            local: stream.local_addr().ok(),
            wire: Wire::Plain(stream),
            reader: ReplyReader::default(),
            dialogue: Dialogue::new(&opening.source.hello, target.tls, target.credentials.clone())
                .distrusting(opening.distrust),
            deadlines: Arc::clone(deadlines),
            transcript: String::new(),
            target,
            tls: SessionTls::None,
            doubt: None,
            transactions: 0,
            heard: Instant::now(),
            is_unheard: false,
            greeting_until: opening.hurry.map(|hurry| Instant::now() + hurry),
            _connection: connection,
        };
        match session.greet(opening.tls).await {
            Ok(()) => Ok(session),
            Err(failure) => {
                let is_secured = session.tls != SessionTls::None;
                Err(Unopened { failure, transcript: session.transcript, is_secured })
            }
        }
    }

    async fn greet(&mut self, tls: &TlsConfigs) -> Result<(), Failure> {
        if self.target.tls == TlsPolicy::Implicit {
            self.secure(tls).await?;
        }
        let mut action = Action::Read;
        loop {
            action = match self.carry_out(action).await? {
                Action::Secure => {
                    self.secure(tls).await?;
                    self.dialogue.on_secured()
                }
                Action::Ready => return Ok(()),
                other => other,
            };
        }
    }

    /// Sends one message to one recipient. The transcript of the transaction (after a new session: with
    /// its opening) is [`Session::take_transcript`]'s. `next` is asked, once, right before the body leaves: the envelope
    /// that it returns goes out behind the body, and its message is the next to be transacted on this session.
    pub async fn transact(
        &mut self,
        message: Outgoing<'_>,
        next: &mut (dyn FnMut() -> Option<Envelope> + Send),
    ) -> Result<TransactionResult, Failure> {
        self.transactions += 1;
        match self.exchange(message, next).await {
            Ok(verdict) => Ok(verdict),
            // A server that refuses and hangs up has refused.
            Err(failure) => self.dialogue.take_refusal().ok_or(failure),
        }
    }

    async fn exchange(
        &mut self,
        Outgoing { envelope, raw }: Outgoing<'_>,
        next: &mut (dyn FnMut() -> Option<Envelope> + Send),
    ) -> Result<TransactionResult, Failure> {
        let is_hot = self.is_hot();
        let mut action = if self.dialogue.is_pending() {
            self.dialogue.resume(envelope)
        } else {
            self.is_unheard = true;
            self.dialogue.begin(envelope, is_hot)
        };
        loop {
            action = match action {
                Action::Done(verdict) => return Ok(verdict),
                Action::SendBody => {
                    if let Some(early) = self.send_message(dot_stuffed(raw), raw.len(), next).await? {
                        return Ok(early);
                    }
                    Action::Read
                }
                Action::SendChunk(mut bytes) => {
                    self.note_sent(Stage::Mail, &bytes);
                    bytes.extend_from_slice(raw);
                    if let Some(early) = self.send_message(bytes, raw.len(), next).await? {
                        return Ok(early);
                    }
                    Action::Read
                }
                other => self.carry_out(other).await?,
            };
        }
    }

    /// Whether the server was heard a moment ago.
    pub fn is_hot(&self) -> bool {
        self.heard.elapsed() < HOT
    }

    /// Sends no message on it any more before its envelope was answered.
    pub const fn ask_first(&mut self) {
        self.dialogue.ask_first();
    }

    /// Whether an idle session is still there. A server that said something unasked, or closed its side, is gone.
    pub async fn is_alive(&mut self) -> bool {
        if !self.wire.has_come() {
            return true;
        }
        // Under TLS it may be a ticket for a later session, and nothing that was said (RFC 8446 §4.6.1).
        matches!(self.wire, Wire::Tls(_)) && timeout(TICKET, self.wire.read(self.reader.space())).await.is_err()
    }

    /// Whether the server had closed its side before a byte of this transaction was read: its system then refuses them, and
    /// nothing was taken. The end alone does not say so; it may have read all, and gone.
    async fn was_closed_before(&self) -> bool {
        let until = Instant::now() + REFUSED;
        while self.is_unheard && Instant::now() < until {
            if self.wire.was_refused() {
                return true;
            }
            tokio::time::sleep(REFUSED / 50).await;
        }
        false
    }

    /// Whether the envelope of a further message is under way on it.
    pub fn is_pending(&self) -> bool {
        self.dialogue.is_pending() && !matches!(self.wire, Wire::Gone)
    }

    /// Whether a chunk carries, or carried, the message of this transaction.
    pub const fn uses_chunk(&self) -> bool {
        self.dialogue.uses_chunk()
    }

    /// Whether TLS, or its refusal, may be why the server broke off.
    pub fn may_suffer_from_tls(&self) -> bool {
        self.target.tls == TlsPolicy::Opportunistic
            && (self.tls != SessionTls::None || self.dialogue.is_unsecured_by_refusal())
    }

    pub fn is_reusable(&self) -> bool {
        self.dialogue.is_reusable() && !self.reader.has_leftover() && !matches!(self.wire, Wire::Gone)
    }

    /// What came before this session, in its transcript.
    pub fn put_before(&mut self, transcript: &str) {
        self.transcript.insert_str(0, transcript);
    }

    pub fn take_transcript(&mut self) -> String {
        std::mem::take(&mut self.transcript)
    }

    /// Says goodbye and waits a little until the server has closed its side, so that it counts one connection less
    /// from then on: best effort, and never on a stuck connection.
    pub async fn quit(mut self) {
        if !self.is_reusable() {
            return;
        }
        let goodbye = async {
            self.wire.write(b"QUIT\r\n").await?;
            while self.wire.read(self.reader.space()).await? > 0 {
                if !matches!(self.reader.next_reply(), Ok(None)) {
                    self.wire.shutdown().await?;
                }
            }
            Ok::<_, std::io::Error>(())
        };
        let _ = timeout(self.deadlines.of(Stage::Quit), goodbye).await;
    }

    /// Carries out actions that need only the wire; returns the action that its caller must carry out.
    async fn carry_out(&mut self, action: Action) -> Result<Action, Failure> {
        match action {
            Action::Send(bytes) => {
                let stage = self.dialogue.awaited();
                self.note_sent(stage, &bytes);
                self.write(stage, &bytes).await?;
                Ok(Action::Read)
            }
            Action::Read => {
                let awaited = self.dialogue.awaited();
                let mut deadline = Instant::now() + self.deadlines.of(awaited);
                if let Some(until) = self.greeting_until.take_if(|_| awaited == Stage::Greeting) {
                    deadline = deadline.min(until);
                }
                let reply = self.read_reply_until(self.dialogue.uncertain_from(), deadline).await?;
                self.heard = Instant::now();
                self.is_unheard = false;
                Ok(self.dialogue.on_reply(&reply))
            }
            Action::Close(stage, refusal) => Err(Failure { stage, kind: FailureKind::Refused(refusal) }),
            other => Ok(other),
        }
    }

    async fn write(&mut self, stage: Stage, bytes: &[u8]) -> Result<(), Failure> {
        match timeout(self.deadlines.of(stage), self.wire.write(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.break_off(stage, error)),
            Err(_) => Err(self.break_off(stage, "the server takes no bytes")),
        }
    }

    async fn read_reply_until(&mut self, stage: Stage, deadline: Instant) -> Result<RawReply, Failure> {
        loop {
            match self.reader.next_reply() {
                Ok(Some(reply)) => {
                    self.note_heard(&reply);
                    return Ok(reply);
                }
                Ok(None) => {}
                Err(fault) => {
                    let why = self.break_off(stage, fault).why();
                    return Err(Failure { stage, kind: FailureKind::Nonsense(why) });
                }
            }
            match timeout_at(deadline, self.wire.read(self.reader.space())).await {
                Ok(Ok(0)) => {
                    let stage = if stage == Stage::Dot && self.was_closed_before().await { Stage::Mail } else { stage };
                    return Err(self.break_off(stage, CLOSED));
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.break_off(stage, error)),
                Err(_) => {
                    let why = self.break_off(stage, "no whole reply within the deadline").why();
                    return Err(Failure { stage, kind: FailureKind::Silent(why) });
                }
            }
        }
    }

    /// Writes `bytes`, which end with the message of `size` bytes and whatever ends it, and behind them the envelope
    /// of the next message, if there is one. When the server breaks off before the last block, a reply that it left
    /// behind is the verdict.
    async fn send_message(
        &mut self,
        mut bytes: Vec<u8>,
        size: usize,
        next: &mut (dyn FnMut() -> Option<Envelope> + Send),
    ) -> Result<Option<TransactionResult>, Failure> {
        self.note(&format!("C: [{size} bytes]\n"));
        let behind = next().and_then(|envelope| self.dialogue.commands_behind(&envelope));
        if let Some(commands) = &behind {
            bytes.extend_from_slice(commands);
        }
        let slowest = Duration::from_secs(bytes.len() as u64 / RATE_MIN);
        let end = Instant::now() + self.deadlines.of(Stage::Body) + slowest;
        let mut blocks = bytes.chunks(BLOCK).peekable();
        while let Some(block) = blocks.next() {
            // Once the last block is under way the server may have all of it.
            let stage = if blocks.peek().is_some() { Stage::Body } else { Stage::Dot };
            let deadline = (Instant::now() + self.deadlines.of(Stage::Body)).min(end);
            let written = timeout_at(deadline, self.wire.write(block)).await;
            let why = match written {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the server takes no bytes".to_owned(),
            };
            let deadline = Instant::now() + self.deadlines.of(Stage::Quit);
            match self.read_reply_until(Stage::Body, deadline).await {
                Ok(reply) if reply.code >= 400 => {
                    self.wire = Wire::Gone;
                    return Ok(Some(TransactionResult::Refused(Stage::Body, reply.to_reply())));
                }
                // Refused bytes and its end: it had closed its side before.
                Err(failure) if self.is_unheard && failure.is_end() => return Err(self.break_off(Stage::Mail, why)),
                _ => return Err(self.break_off(stage, why)),
            }
        }
        self.dialogue.on_body_sent(behind.is_some());
        Ok(None)
    }

    async fn secure(&mut self, tls: &TlsConfigs) -> Result<(), Failure> {
        let failed = |fault| Failure { stage: Stage::Handshake, kind: FailureKind::Tls(fault) };
        // RFC 3207 §4.2: what was said in the clear must not be taken for what is said under TLS.
        if self.reader.has_leftover() {
            let why = self.break_off(Stage::StartTls, "bytes in the clear behind the reply to STARTTLS").why();
            return Err(Failure { stage: Stage::StartTls, kind: FailureKind::Nonsense(why) });
        }
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err(failed(TlsFault { result: TlsResult::ValidationFailure, why: "TLS inside TLS".to_owned() }));
        };
        let deadline = self.deadlines.of(Stage::Handshake);
        let Secured { stream, tls, doubt } = secure(tls, &self.target, stream, deadline).await.map_err(failed)?;
        let in_doubt = doubt.as_ref().map_or_else(String::new, |doubt| format!("; mta-sts testing: {}", doubt.why));
        self.note(&format!("-- {tls}{in_doubt}\n"));
        (self.tls, self.doubt) = (tls, doubt.map(|doubt| doubt.result));
        self.wire = Wire::Tls(Box::new(stream));
        Ok(())
    }

    fn break_off(&mut self, stage: Stage, why: impl std::fmt::Display) -> Failure {
        self.wire = Wire::Gone;
        let failure = Failure::broken(stage, why);
        if let FailureKind::Broken(why) = &failure.kind {
            let line = format!("-- {}: {why}\n", stage.name());
            self.note(&line);
        }
        failure
    }

    fn note_sent(&mut self, stage: Stage, bytes: &[u8]) {
        if stage == Stage::Auth {
            self.note("C: AUTH ***\n");
            return;
        }
        for line in String::from_utf8_lossy(bytes).lines() {
            self.note(&format!("C: {line}\n"));
        }
    }

    fn note_heard(&mut self, reply: &RawReply) {
        for line in &reply.lines {
            self.note(&format!("S: {} {line}\n", reply.code));
        }
    }

    fn note(&mut self, line: &str) {
        if self.transcript.len() + line.len() <= TRANSCRIPT_MAX {
            self.transcript.push_str(line);
        }
    }
}
