//! One session: greeting, commands in an order that makes sense, messages, and the end.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::commands::{Command, Wrong, parse};
use super::reader::{Body, Broken, Memory, Reader};
use super::{Answer, BLOCK, Envelope, Receiver, Shared};

/// Longest time for a peer to take a reply, or to finish a handshake.
const REPLY: Duration = Duration::from_secs(30);

/// The connection of a session.
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

/// Does the same with whichever stream it is.
macro_rules! with_stream {
    ($wire:expr, $stream:ident, $work:expr) => {
        match $wire {
            Wire::Plain($stream) => $work,
            Wire::Tls($stream) => $work,
            Wire::Gone => Err(Broken::Gone),
        }
    };
}

/// What happens behind a command.
enum Next {
    GoOn,
    End,
}

struct Session<'s, R> {
    wire: Wire,
    reader: Reader,
    receiver: &'s R,
    shared: &'s Shared,
    tls: Option<Arc<ServerConfig>>,
    /// `None` before a greeting of the peer's.
    envelope: Option<Envelope>,
    /// MAIL was said.
    has_sender: bool,
    errors: usize,
    messages: usize,
}

/// Serves one connection to its end; TLS is offered with `tls`.
pub async fn serve<R: Receiver>(stream: TcpStream, receiver: &R, shared: &Shared, tls: Option<Arc<ServerConfig>>) {
    let mut session = Session {
        wire: Wire::Plain(stream),
        reader: Reader::default(),
        receiver,
        shared,
        tls,
        envelope: None,
        has_sender: false,
        errors: 0,
        messages: 0,
    };
    let until = Instant::now() + shared.bounds.session;
    let ended = timeout_at(until, session.run()).await;
    let last = match ended {
        Ok(Ok(()) | Err(Broken::Gone)) => None,
        Ok(Err(Broken::TooLong)) => Some(Answer::new(500, "5.5.6", "too long")),
        Ok(Err(Broken::BareLineEnd)) => Some(Answer::new(500, "5.5.2", "lines end in CRLF")),
        Err(_) => Some(Answer::new(421, "4.4.2", "this session has lasted long enough")),
    };
    if let Some(answer) = last {
        let _ = session.say(&answer).await;
    }
    session.close().await;
}

impl<R: Receiver> Session<'_, R> {
    async fn run(&mut self) -> Result<(), Broken> {
        self.say_line(&format!("220 {} ESMTP\r\n", self.shared.name)).await?;
        for _ in 0..self.shared.bounds.commands {
            let line = with_stream!(&mut self.wire, stream, {
                let line = tokio::select! {
                    line = timeout(self.shared.bounds.command, self.reader.line(stream)) => line,
                    () = self.shared.stopping.cancelled() => {
                        return self.say(&Answer::new(421, "4.3.2", "stopping: try again")).await;
                    }
                };
                match line {
                    Ok(line) => line,
                    Err(_) => return self.say(&Answer::new(421, "4.4.2", "nothing was said for too long")).await,
                }
            })?;
            let next = match parse(&line) {
                Ok(command) => self.obey(command).await?,
                Err(wrong) => {
                    self.refuse(&match wrong {
                        Wrong::Unknown => Answer::new(500, "5.5.1", "unknown command"),
                        Wrong::Syntax => Answer::new(501, "5.5.4", "this cannot be read"),
                        Wrong::Parameter => Answer::new(555, "5.5.4", "this parameter was not offered"),
                    })
                    .await?
                }
            };
            if matches!(next, Next::End) {
                return Ok(());
            }
        }
        self.say(&Answer::new(421, "4.7.0", "too many commands")).await
    }

    async fn obey(&mut self, command: Command) -> Result<Next, Broken> {
        // RFC 2920 §3.1: whoever goes on behind these has not waited for what they say.
        let waits = matches!(command, Command::Ehlo | Command::Helo | Command::Data | Command::Starttls);
        if waits && self.reader.has_more() {
            self.say(&Answer::new(503, "5.5.0", "wait for the reply")).await?;
            return Ok(Next::End);
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
            Command::Mail { path, size, .. } => return self.mail(path, size).await,
            Command::Rcpt { path } => return self.rcpt(path).await,
            Command::Data => return self.data().await,
            Command::Starttls => return self.starttls().await,
            Command::Rset => {
                self.reset();
                self.say(&Answer::new(250, "2.0.0", "forgotten")).await?;
            }
            Command::Noop => self.say(&Answer::new(250, "2.0.0", "ok")).await?,
            Command::Vrfy => self.say(&Answer::new(252, "2.5.2", "try it")).await?,
            Command::Unimplemented => return self.refuse(&Answer::new(502, "5.5.1", "not here")).await,
            Command::Quit => {
                self.say(&Answer::new(221, "2.0.0", "bye")).await?;
                return Ok(Next::End);
            }
        }
        Ok(Next::GoOn)
    }

    fn begin(&mut self) {
        self.envelope = Some(Envelope::default());
        self.reset();
    }

    fn reset(&mut self) {
        self.has_sender = false;
        if let Some(envelope) = &mut self.envelope {
            *envelope = Envelope::default();
        }
    }

    fn capabilities(&self) -> String {
        let starttls = if self.tls.is_some() && matches!(self.wire, Wire::Plain(_)) { "250-STARTTLS\r\n" } else { "" };
        format!(
            "250-{}\r\n{starttls}250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE {}\r\n",
            self.shared.name, self.shared.bounds.message,
        )
    }

    async fn mail(&mut self, path: String, size: Option<usize>) -> Result<Next, Broken> {
        if self.has_sender || self.envelope.is_none() {
            return self.refuse(&Answer::new(503, "5.5.1", "not now")).await;
        }
        if self.messages >= self.shared.bounds.messages {
            self.say(&Answer::new(421, "4.7.0", "enough for one session")).await?;
            return Ok(Next::End);
        }
        if size.is_some_and(|size| size > self.shared.bounds.message) {
            return self.refuse(&Answer::new(552, "5.3.4", "larger than SIZE")).await;
        }
        self.has_sender = true;
        if let Some(envelope) = &mut self.envelope {
            envelope.from = path;
        }
        self.say(&Answer::new(250, "2.1.0", "ok")).await.map(|()| Next::GoOn)
    }

    async fn rcpt(&mut self, path: String) -> Result<Next, Broken> {
        let Some(envelope) = self.envelope.as_ref().filter(|_| self.has_sender) else {
            return self.refuse(&Answer::new(503, "5.5.1", "MAIL comes first")).await;
        };
        if envelope.to.len() >= self.shared.bounds.recipients {
            return self.refuse(&Answer::new(452, "4.5.3", "too many recipients")).await;
        }
        let answer = self.receiver.rcpt(&path).await;
        if !answer.is_positive() {
            return self.refuse(&answer).await;
        }
        if let Some(envelope) = &mut self.envelope {
            envelope.to.push(path);
        }
        self.say(&answer).await.map(|()| Next::GoOn)
    }

    async fn data(&mut self) -> Result<Next, Broken> {
        let Some(envelope) = self.envelope.clone().filter(|envelope| !envelope.to.is_empty()) else {
            return self.refuse(&Answer::new(503, "5.5.1", "no recipient was accepted")).await;
        };
        self.say_line("354 end with CRLF.CRLF\r\n").await?;
        let mut memory = Held { shared: self.shared, permits: Vec::new() };
        let limit = self.shared.bounds.message;
        let body = with_stream!(&mut self.wire, stream, {
            let Ok(body) = timeout(self.shared.bounds.data, self.reader.body(stream, limit, &mut memory)).await else {
                self.say(&Answer::new(421, "4.4.2", "the message took too long")).await?;
                return Ok(Next::End);
            };
            body
        })?;
        let answer = match body {
            Body::Whole(message) => self.receiver.data(&envelope, message).await,
            Body::TooLarge => Answer::new(552, "5.3.4", "larger than SIZE"),
            Body::NoRoom => Answer::new(452, "4.3.1", "no room now: try again"),
        };
        drop(memory);
        self.messages += 1;
        self.reset();
        self.say(&answer).await.map(|()| Next::GoOn)
    }

    async fn starttls(&mut self) -> Result<Next, Broken> {
        let (Some(config), Wire::Plain(_)) = (self.tls.clone(), &self.wire) else {
            return self.refuse(&Answer::new(502, "5.5.1", "not here")).await;
        };
        self.say(&Answer::new(220, "2.0.0", "go ahead")).await?;
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else { return Ok(Next::End) };
        let accepted = timeout(REPLY, TlsAcceptor::from(config).accept(stream)).await;
        let Ok(Ok(stream)) = accepted else { return Ok(Next::End) };
        self.wire = Wire::Tls(Box::new(stream));
        // RFC 3207 §4.2: whatever was said before is forgotten.
        (self.envelope, self.reader) = (None, Reader::default());
        self.has_sender = false;
        Ok(Next::GoOn)
    }

    /// Says no; too often is the end.
    async fn refuse(&mut self, answer: &Answer) -> Result<Next, Broken> {
        self.errors += 1;
        if self.errors >= self.shared.bounds.errors {
            self.say(&Answer::new(421, "4.7.0", "too many errors")).await?;
            return Ok(Next::End);
        }
        self.say(answer).await.map(|()| Next::GoOn)
    }

    async fn say(&mut self, answer: &Answer) -> Result<(), Broken> {
        self.say_line(&format!("{} {} {}\r\n", answer.code, answer.enhanced, answer.text)).await
    }

    async fn say_line(&mut self, line: &str) -> Result<(), Broken> {
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

    async fn close(&mut self) {
        let closing = async { with_stream!(&mut self.wire, stream, stream.shutdown().await.map_err(Broken::from)) };
        let _ = timeout(REPLY, closing).await;
    }
}

/// Blocks of the memory that all sessions share.
struct Held<'s> {
    shared: &'s Shared,
    permits: Vec<SemaphorePermit<'s>>,
}

impl Memory for Held<'_> {
    fn grow_to(&mut self, octets: usize) -> bool {
        while self.permits.len() * BLOCK < octets {
            match self.shared.memory.try_acquire() {
                Ok(permit) => self.permits.push(permit),
                Err(_) => return false,
            }
        }
        true
    }
    fn release(&mut self) {
        self.permits.clear();
    }
}
