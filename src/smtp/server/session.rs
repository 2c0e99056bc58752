//! One session: greeting, commands in an order that makes sense, messages, and the end.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::commands::{Asked, Command, Wrong, parse};
use super::reader::{AUTH_LINE_MAX, Broken, LINE_MAX, Reader};
use super::sasl::MECHANISMS;
use super::transfer::Chunks;
use super::{Answer, Envelope, Receiver, Service, Shared, Tls};

/// Longest time for a peer to take a reply, or to finish a handshake.
const REPLY: Duration = Duration::from_secs(30);
/// How long what nobody reads any more is taken from a peer.
const LINGER: Duration = Duration::from_secs(2);

/// What a session is held over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The connection of a session.
pub(super) enum Wire<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
    Gone,
}

/// Does the same with whichever stream it is.
macro_rules! with_stream {
    ($wire:expr, $stream:ident, $work:expr) => {
        match $wire {
            $crate::smtp::server::session::Wire::Plain($stream) => $work,
            $crate::smtp::server::session::Wire::Tls($stream) => $work,
            $crate::smtp::server::session::Wire::Gone => Err(Broken::Gone),
        }
    };
}
pub(super) use with_stream;

/// What happens behind a command.
pub(super) enum Next {
    GoOn,
    End,
}

pub(super) struct Session<'s, S, R> {
    pub(super) wire: Wire<S>,
    pub(super) reader: Reader,
    pub(super) receiver: &'s mut R,
    pub(super) shared: &'s Shared,
    tls: Option<Arc<ServerConfig>>,
    /// `None` before a greeting of the peer's.
    pub(super) envelope: Option<Envelope>,
    /// MAIL was said.
    pub(super) has_sender: bool,
    pub(super) is_authenticated: bool,
    pub(super) chunks: Option<Box<Chunks>>,
    pub(super) commands: usize,
    pub(super) errors: usize,
    pub(super) messages: usize,
    began: Instant,
}

/// Serves one connection to its end.
pub async fn serve<S: Stream, R: Receiver>(stream: S, receiver: &mut R, shared: &Shared, tls: Tls) {
    let (implicit, offered) = match tls {
        Tls::None => (None, None),
        Tls::Offered(config) => (None, Some(config)),
        Tls::Implicit(config) => (Some(config), None),
    };
    let mut session = Session {
        wire: Wire::Plain(stream),
        reader: Reader::new(shared.bounds.stall),
        receiver,
        shared,
        tls: offered,
        envelope: None,
        has_sender: false,
        is_authenticated: false,
        chunks: None,
        commands: 0,
        errors: 0,
        messages: 0,
        began: Instant::now(),
    };
    if let Some(config) = implicit
        && !Box::pin(session.secure(config)).await
    {
        return;
    }
    let ended = session.run().await;
    let is_patient = !matches!(ended, Err(Broken::Gone | Broken::Stopping));
    let last = match ended {
        Ok(()) | Err(Broken::Gone) => None,
        Err(Broken::TooLong) => Some(Answer::new(500, "5.5.6", "too long")),
        Err(Broken::BareLineEnd) => Some(Answer::new(500, "5.5.2", "lines end in CRLF")),
        Err(Broken::Impatient) => Some(Answer::new(503, "5.5.0", "wait for the reply")),
        Err(Broken::Late) => Some(Answer::new(421, "4.4.2", "nothing was said for too long")),
        Err(Broken::Stopping) => Some(Answer::new(421, "4.3.2", "stopping: try again")),
    };
    if let Some(answer) = last {
        let _ = session.say(&answer).await;
    }
    session.close(is_patient).await;
}

impl<S: Stream, R: Receiver> Session<'_, S, R> {
    async fn run(&mut self) -> Result<(), Broken> {
        self.say_line(&format!("220 {} ESMTP\r\n", self.shared.name)).await?;
        loop {
            if self.commands >= self.shared.bounds.commands {
                return self.say(&Answer::new(421, "4.7.0", "too many commands")).await;
            }
            self.commands += 1;
            let limit = if self.shared.service == Service::Reports { LINE_MAX } else { AUTH_LINE_MAX };
            let line = self.line(limit).await?;
            let parsed = parse(&line);
            if line.len() >= LINE_MAX && !matches!(parsed, Ok(Command::Auth { .. })) {
                return Err(Broken::TooLong);
            }
            // What follows it is no command, wherever that ends.
            if parsed.is_err() && line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"bdat")) {
                return self.say(&Answer::new(501, "5.5.4", "BDAT cannot be read")).await;
            }
            let next = match parsed {
                Ok(command) => self.obey(command).await?,
                Err(wrong) => {
                    self.refuse(&match wrong {
                        Wrong::Unknown => Answer::new(500, "5.5.1", "unknown command"),
                        Wrong::Syntax => Answer::new(501, "5.5.4", "this cannot be read"),
                        Wrong::Parameter => Answer::new(555, "5.5.4", "this parameter was not offered"),
                        Wrong::Value => Answer::new(501, "5.5.4", "this parameter cannot have that value"),
                    })
                    .await?
                }
            };
            if matches!(next, Next::End) {
                return Ok(());
            }
        }
    }

    /// When the peer must have said its next line.
    fn patience(&self) -> Instant {
        let bounds = &self.shared.bounds;
        let is_unknown = self.shared.service != Service::Reports && !self.is_authenticated;
        let whole = self.began + if is_unknown { bounds.unknown } else { bounds.session };
        let until = whole.min(Instant::now() + bounds.command);
        self.chunks.as_ref().map_or(until, |chunks| until.min(chunks.until))
    }

    /// The next line, unless it takes too long or the service stops.
    pub(super) async fn line(&mut self, limit: usize) -> Result<Vec<u8>, Broken> {
        let (until, stopping, reader) = (self.patience(), &self.shared.stopping, &mut self.reader);
        with_stream!(&mut self.wire, stream, {
            tokio::select! {
                line = timeout_at(until, reader.line(stream, limit)) => line.unwrap_or(Err(Broken::Late)),
                () = stopping.cancelled() => Err(Broken::Stopping),
            }
        })
    }

    async fn obey(&mut self, command: Command) -> Result<Next, Broken> {
        // RFC 2920 §3.1: whoever goes on behind these has not waited for what they say.
        let waits =
            matches!(command, Command::Ehlo | Command::Helo | Command::Data | Command::Starttls | Command::Auth { .. });
        if waits && self.reader.has_more() {
            return Err(Broken::Impatient);
        }
        match command {
            Command::Ehlo => {
                self.begin();
                self.say_line(&self.capabilities()).await?;
            }
            Command::Helo => {
                self.begin();
                self.say_line(&format!("250 {}\r\n", self.shared.name)).await?;
            }
            Command::Mail { path, asked } => return self.mail(path, *asked).await,
            Command::Rcpt { path, wants_notices } => return self.rcpt(path, wants_notices).await,
            Command::Data => return Box::pin(self.data()).await,
            Command::Bdat { octets, is_last } => return Box::pin(self.bdat(octets, is_last)).await,
            Command::Auth { mechanism, initial } => return Box::pin(self.auth(&mechanism, initial)).await,
            Command::Starttls => return Box::pin(self.starttls()).await,
            Command::Rset => {
                self.reset();
                self.say(&Answer::new(250, "2.0.0", "forgotten")).await?;
            }
            Command::Noop => self.say(&Answer::new(250, "2.0.0", "ok")).await?,
            Command::Vrfy => self.say(&Answer::new(252, "2.5.2", "try it")).await?,
            Command::Unimplemented => return self.refuse(&Answer::new(502, "5.5.1", "not here")).await,
            Command::Quit => return self.end(&Answer::new(221, "2.0.0", "bye")).await,
        }
        Ok(Next::GoOn)
    }

    fn begin(&mut self) {
        self.envelope = Some(Envelope::default());
        self.reset();
    }

    /// Forgets the message that was begun.
    pub(super) fn reset(&mut self) {
        (self.has_sender, self.chunks) = (false, None);
        if let Some(envelope) = &mut self.envelope {
            *envelope = Envelope::default();
        }
    }

    pub(super) const fn is_secure(&self) -> bool {
        matches!(self.wire, Wire::Tls(_))
    }

    fn capabilities(&self) -> String {
        let mut offers = vec![self.shared.name.to_string()];
        if self.tls.is_some() && !self.is_secure() {
            offers.push("STARTTLS".to_owned());
        }
        offers.extend(["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"].map(str::to_owned));
        if self.shared.service != Service::Reports {
            if self.may_authenticate() && !self.is_authenticated {
                offers.push(format!("AUTH {MECHANISMS}"));
            }
            if self.is_secure() {
                offers.push("REQUIRETLS".to_owned());
            }
            if let Some((span, farthest)) = self.receiver.hold() {
                let farthest = farthest.replace_nanosecond(0).unwrap_or(farthest).format(&Rfc3339).unwrap_or_default();
                offers.push(format!("FUTURERELEASE {} {farthest}", span.as_secs()));
            }
            offers.extend(["DSN", "CHUNKING", "DELIVERBY", "MT-PRIORITY MIXER"].map(str::to_owned));
            offers.push(format!("LIMITS RCPTMAX={}", self.shared.bounds.recipients));
        }
        offers.push(format!("SIZE {}", self.shared.bounds.message));
        let last = offers.len() - 1;
        let line = |(at, offer): (usize, &String)| format!("250{}{offer}\r\n", if at == last { ' ' } else { '-' });
        offers.iter().enumerate().map(line).collect()
    }

    async fn mail(&mut self, path: String, asked: Asked) -> Result<Next, Broken> {
        let is_submission = self.shared.service != Service::Reports;
        if is_submission && !self.is_authenticated {
            return self
                .refuse(&if self.may_authenticate() {
                    Answer::new(530, "5.7.0", "AUTH comes first: any user, an API key as password")
                } else {
                    Answer::new(530, "5.7.0", "Must issue a STARTTLS command first")
                })
                .await;
        }
        if self.has_sender || self.envelope.is_none() {
            return self.refuse(&Answer::new(503, "5.5.1", "not now")).await;
        }
        if self.messages >= self.shared.bounds.messages {
            return self.end(&Answer::new(421, "4.7.0", "enough for one session")).await;
        }
        if (asked.needs_submission && !is_submission) || (asked.require_tls && !self.is_secure()) {
            return self.refuse(&Answer::new(555, "5.5.4", "this parameter was not offered")).await;
        }
        if asked.size.is_some_and(|size| size > self.shared.bounds.message as u64) {
            return self.refuse(&Answer::new(552, "5.3.4", "larger than SIZE")).await;
        }
        let envelope = Envelope { from: path, to: Vec::new(), asked };
        let answer = Box::pin(self.receiver.mail(&envelope)).await;
        if !answer.is_positive() {
            return self.refuse(&answer).await;
        }
        (self.has_sender, self.envelope) = (true, Some(envelope));
        self.say(&answer).await.map(|()| Next::GoOn)
    }

    async fn rcpt(&mut self, path: String, wants_notices: bool) -> Result<Next, Broken> {
        let Some(envelope) = self.envelope.as_ref().filter(|_| self.has_sender && self.chunks.is_none()) else {
            return self.refuse(&Answer::new(503, "5.5.1", "MAIL comes first")).await;
        };
        if wants_notices && self.shared.service == Service::Reports {
            return self.refuse(&Answer::new(555, "5.5.4", "this parameter was not offered")).await;
        }
        if envelope.to.len() >= self.shared.bounds.recipients {
            return self.decline(&Answer::new(452, "4.5.3", "too many recipients")).await;
        }
        if !path.is_ascii() && !envelope.asked.utf8 {
            return self.decline(&Answer::new(553, "5.6.7", "this address needs SMTPUTF8")).await;
        }
        let answer = Box::pin(self.receiver.rcpt(&path)).await;
        if !answer.is_positive() {
            return self.decline(&answer).await;
        }
        if let Some(envelope) = &mut self.envelope {
            envelope.to.push(path);
        }
        self.say(&answer).await.map(|()| Next::GoOn)
    }

    async fn starttls(&mut self) -> Result<Next, Broken> {
        let (Some(config), Wire::Plain(_)) = (self.tls.clone(), &self.wire) else {
            return self.refuse(&Answer::new(502, "5.5.1", "not here")).await;
        };
        self.say(&Answer::new(220, "2.0.0", "go ahead")).await?;
        if !self.secure(config).await {
            return Ok(Next::End);
        }
        // RFC 3207 §4.2: whatever was said before is forgotten.
        (self.envelope, self.chunks) = (None, None);
        self.reader.forget();
        (self.has_sender, self.is_authenticated) = (false, false);
        Ok(Next::GoOn)
    }

    /// Shakes hands; `false`: nothing came of it.
    async fn secure(&mut self, config: Arc<ServerConfig>) -> bool {
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else { return false };
        match timeout(REPLY, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => self.wire = Wire::Tls(Box::new(stream)),
            _ => return false,
        }
        true
    }

    /// Says no to a recipient: those of somebody who is known are no guesses, and the others are kept.
    async fn decline(&mut self, answer: &Answer) -> Result<Next, Broken> {
        if self.is_authenticated { self.say(answer).await.map(|()| Next::GoOn) } else { self.refuse(answer).await }
    }

    /// Says no; too often is the end.
    pub(super) async fn refuse(&mut self, answer: &Answer) -> Result<Next, Broken> {
        self.errors += 1;
        if self.errors >= self.shared.bounds.errors {
            return self.end(&Answer::new(421, "4.7.0", "too many errors")).await;
        }
        self.say(answer).await.map(|()| Next::GoOn)
    }

    /// Says this, and nothing more.
    pub(super) async fn end(&mut self, answer: &Answer) -> Result<Next, Broken> {
        self.say(answer).await.map(|()| Next::End)
    }

    pub(super) async fn say(&mut self, answer: &Answer) -> Result<(), Broken> {
        self.say_line(&answer.line()).await
    }

    pub(super) async fn say_line(&mut self, line: &str) -> Result<(), Broken> {
        with_stream!(&mut self.wire, stream, {
            let write = async {
                stream.write_all(line.as_bytes()).await?;
                stream.flush().await
            };
            match timeout(REPLY, write).await {
                Ok(written) => written.map_err(Broken::from),
                Err(_) => Err(Broken::Gone),
            }
        })
    }

    /// Closes. Closed with octets unread, the connection would be reset, and our last word with it: a little is read and dropped.
    async fn close(&mut self, is_patient: bool) {
        let closing = async { with_stream!(&mut self.wire, stream, stream.shutdown().await.map_err(Broken::from)) };
        if !matches!(timeout(REPLY, closing).await, Ok(Ok(()))) || !is_patient {
            return;
        }
        let stream = match &mut self.wire {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.get_mut().0,
            Wire::Gone => return,
        };
        let mut scratch = [0; 4096];
        let dropping = async { while matches!(stream.read(&mut scratch).await, Ok(1..)) {} };
        let _ = timeout(LINGER, Box::pin(dropping)).await;
    }
}
