//! A scripted SMTP server with a ledger of everything that it took.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::within;

/// Where in the conversation the script is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Connect,
    Ehlo,
    StartTls,
    Auth(String),
    Mail(String),
    Rcpt(String),
    Data,
    /// A chunk has come; not recorded among the steps.
    Bdat,
    /// The message is complete; the recipient is given once more.
    Dot(String),
    Rset,
    Quit,
}

/// What the server does at a step.
#[derive(Debug, Clone)]
pub enum Do {
    /// What a well-behaved server does.
    Usual,
    Reply(&'static str),
    /// The usual thing is done and recorded, and then the connection is closed without a reply.
    DropAfter,
    /// The connection is closed at once.
    Drop,
    /// A reply, and then the connection is closed.
    ReplyAndDrop(&'static str),
    /// Nothing more is said; the connection stays open.
    Stall,
    /// A reply, and then nothing more is said or read.
    Deaf(&'static str),
    /// A reply that comes byte by byte and never ends.
    Trickle,
    /// A reply line of so many bytes.
    Flood(usize),
    /// The usual thing is done and recorded, and said once the gate is open.
    Held(watch::Receiver<bool>),
    /// These bytes instead of a reply, and on with the conversation.
    Bytes(&'static [u8]),
}

/// What holds replies back until it is opened.
pub struct Gate(watch::Sender<bool>);

impl Gate {
    pub fn closed() -> Self {
        Self(watch::channel(false).0)
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// What a script does at this gate.
    pub fn held(&self) -> Do {
        Do::Held(self.0.subscribe())
    }
}

/// A message that was taken: the reply to its dot may or may not have been sent.
#[derive(Debug, Clone)]
pub struct Taken {
    pub connection: usize,
    pub sender: String,
    pub recipient: String,
    pub data: Vec<u8>,
    pub tls: bool,
    pub user: Option<String>,
}

type Script = dyn Fn(&Step, usize) -> Do + Send + Sync;

struct Shared {
    script: Box<Script>,
    /// EHLO's lines without the first.
    extensions: Vec<&'static str>,
    tls: Option<TlsAcceptor>,
    implicit: bool,
    ledger: Mutex<Vec<Taken>>,
    taken: watch::Sender<usize>,
    connections: AtomicUsize,
    open: AtomicUsize,
    open_max: AtomicUsize,
    steps: Mutex<Vec<(usize, Step)>>,
    lines: Mutex<Vec<String>>,
}

/// A running server.
#[derive(Clone)]
pub struct Sink {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

/// A server about to be started.
pub struct SinkSetup {
    script: Box<Script>,
    extensions: Vec<&'static str>,
    tls: Option<TlsAcceptor>,
    implicit: bool,
    address: SocketAddr,
}

impl SinkSetup {
    /// The second argument of the script is the connection's number, from 0.
    pub fn script(mut self, script: impl Fn(&Step, usize) -> Do + Send + Sync + 'static) -> Self {
        self.script = Box::new(script);
        self
    }

    pub fn extensions(mut self, extensions: &[&'static str]) -> Self {
        self.extensions = extensions.to_vec();
        self
    }

    pub fn starttls(mut self, acceptor: TlsAcceptor) -> Self {
        self.extensions.push("STARTTLS");
        self.tls = Some(acceptor);
        self
    }

    pub fn implicit_tls(mut self, acceptor: TlsAcceptor) -> Self {
        self.tls = Some(acceptor);
        self.implicit = true;
        self
    }

    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    #[expect(clippy::unused_async, reason = "it must be called within a runtime")]
    pub async fn start(self) -> Sink {
        // Hundreds may come at one instant: a handshake that finds no place in the queue looks whole to its client.
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(4096).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: self.script,
            extensions: self.extensions,
            tls: self.tls,
            implicit: self.implicit,
            ledger: Mutex::default(),
            taken: watch::channel(0).0,
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            open_max: AtomicUsize::new(0),
            steps: Mutex::default(),
            lines: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = accepting.connections.fetch_add(1, Ordering::Relaxed);
                let open = accepting.open.fetch_add(1, Ordering::Relaxed) + 1;
                accepting.open_max.fetch_max(open, Ordering::Relaxed);
                let shared = Arc::clone(&accepting);
                tokio::spawn(async move {
                    // A client that goes away ends its connection and nothing else.
                    let _ = serve(&shared, stream, number, Open(&shared.open)).await;
                });
            }
        });
        Sink { address, shared }
    }
}

impl Sink {
    /// A server that takes everything and knows PIPELINING and SIZE.
    pub fn setup() -> SinkSetup {
        SinkSetup {
            script: Box::new(|_, _| Do::Usual),
            extensions: vec!["PIPELINING", "SIZE 50000000"],
            tls: None,
            implicit: false,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    pub async fn start() -> Self {
        Self::setup().start().await
    }

    /// A server that greets nobody until `gate` is open.
    pub async fn behind(gate: &Gate) -> Self {
        let held = gate.held();
        let script = move |step: &Step, _| if *step == Step::Connect { held.clone() } else { Do::Usual };
        Self::setup().script(script).start().await
    }

    pub fn ledger(&self) -> Vec<Taken> {
        self.shared.ledger.lock().unwrap().clone()
    }

    pub fn taken_count(&self) -> usize {
        self.shared.ledger.lock().unwrap().len()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    pub fn most_open(&self) -> usize {
        self.shared.open_max.load(Ordering::Relaxed)
    }

    /// What was heard on each connection.
    pub fn steps(&self) -> Vec<(usize, Step)> {
        self.shared.steps.lock().unwrap().clone()
    }

    /// Every command line that was heard, as it was written.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lines.lock().unwrap().clone()
    }

    /// Waits until `count` messages were taken.
    pub async fn until_taken(&self, count: usize) -> Vec<Taken> {
        let mut taken = self.shared.taken.subscribe();
        within("messages to arrive", taken.wait_for(|n| *n >= count)).await.unwrap();
        self.ledger()
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Conversation<'s> {
    shared: &'s Shared,
    stream: BufReader<Box<dyn Stream>>,
    number: usize,
    tls: bool,
    user: Option<String>,
    sender: String,
    recipient: String,
}

enum Then {
    GoOn,
    Close,
    Secure,
}

/// A connection that is counted as open.
struct Open<'s>(&'s AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(shared: &Shared, stream: TcpStream, number: usize, open: Open<'_>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream: Box<dyn Stream> = Box::new(stream);
    let mut tls = false;
    if let (true, Some(acceptor)) = (shared.implicit, &shared.tls) {
        stream = Box::new(acceptor.accept(stream).await?);
        tls = true;
    }
    let mut conversation = Conversation {
        shared,
        stream: BufReader::new(stream),
        number,
        tls,
        user: None,
        sender: String::new(),
        recipient: String::new(),
    };
    // Counted off before its socket is closed: a client that sees the end may come again at once.
    let _open = open;
    if let Then::Close = conversation.step(Step::Connect, "220 sink ready").await? {
        return Ok(());
    }
    loop {
        let mut line = String::new();
        if conversation.stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        match conversation.command(line.trim_end()).await? {
            Then::GoOn => {}
            Then::Close => return Ok(()),
            Then::Secure => {
                let acceptor = shared.tls.as_ref().unwrap();
                assert!(conversation.stream.buffer().is_empty(), "bytes in the clear behind STARTTLS");
                let secured = acceptor.accept(conversation.stream.into_inner()).await?;
                conversation.stream = BufReader::new(Box::new(secured));
                conversation.tls = true;
            }
        }
    }
}

impl Conversation<'_> {
    async fn command(&mut self, line: &str) -> std::io::Result<Then> {
        self.shared.lines.lock().unwrap().push(line.to_owned());
        let upper = line.to_ascii_uppercase();
        let address =
            || line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(a, _)| a).to_owned();
        match upper.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" | "HELO" => {
                let mut reply = String::from("250-sink");
                for extension in self.shared.extensions.iter().filter(|e| !(self.tls && **e == "STARTTLS")) {
                    reply.push_str(&format!("\r\n250-{extension}"));
                }
                reply.push_str("\r\n250 HELP");
                self.step(Step::Ehlo, &reply).await
            }
            "STARTTLS" => match self.step(Step::StartTls, "220 go ahead").await? {
                Then::GoOn => Ok(Then::Secure),
                other => Ok(other),
            },
            "AUTH" => {
                self.user = Some(line.to_owned());
                self.step(Step::Auth(line.to_owned()), "235 welcome").await
            }
            "MAIL" => {
                self.sender = address();
                self.step(Step::Mail(self.sender.clone()), "250 2.1.0 ok").await
            }
            "RCPT" => {
                self.recipient = address();
                self.step(Step::Rcpt(self.recipient.clone()), "250 2.1.5 ok").await
            }
            "DATA" => match self.step(Step::Data, "354 go ahead").await? {
                Then::GoOn => self.body().await,
                other => Ok(other),
            },
            "BDAT" => {
                let length = line.split(' ').nth(1).and_then(|length| length.parse().ok()).unwrap();
                let mut data = vec![0; length];
                self.stream.read_exact(&mut data).await?;
                match (self.shared.script)(&Step::Bdat, self.number) {
                    Do::Usual => {}
                    action => return self.act(action, "").await,
                }
                if self.recipient.is_empty() {
                    return self.say("503 5.5.1 no recipient").await.map(|()| Then::GoOn);
                }
                self.take(data).await
            }
            "RSET" => self.step(Step::Rset, "250 reset").await,
            "QUIT" => {
                self.step(Step::Quit, "221 bye").await?;
                Ok(Then::Close)
            }
            _ => self.say("500 what").await.map(|()| Then::GoOn),
        }
    }

    async fn body(&mut self) -> std::io::Result<Then> {
        let mut data = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line).await? == 0 {
                return Ok(Then::Close);
            }
            if line == b".\r\n" {
                break;
            }
            data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        self.take(data).await
    }

    /// A message is complete.
    async fn take(&mut self, data: Vec<u8>) -> std::io::Result<Then> {
        let step = Step::Dot(self.recipient.clone());
        let action = self.ask(&step);
        let takes = match &action {
            Do::Usual | Do::DropAfter | Do::Stall | Do::Held(_) => true,
            Do::Reply(reply) | Do::ReplyAndDrop(reply) => reply.starts_with('2'),
            Do::Drop | Do::Bytes(_) | Do::Trickle | Do::Flood(_) | Do::Deaf(_) => false,
        };
        if takes && !self.recipient.is_empty() {
            let mut ledger = self.shared.ledger.lock().unwrap();
            ledger.push(Taken {
                connection: self.number,
                sender: self.sender.clone(),
                recipient: self.recipient.clone(),
                data,
                tls: self.tls,
                user: self.user.clone(),
            });
            self.shared.taken.send_replace(ledger.len());
        }
        self.act(action, "250 2.0.0 taken").await
    }

    fn ask(&self, step: &Step) -> Do {
        self.shared.steps.lock().unwrap().push((self.number, step.clone()));
        (self.shared.script)(step, self.number)
    }

    async fn step(&mut self, step: Step, usual: &str) -> std::io::Result<Then> {
        let action = self.ask(&step);
        let refuses = matches!(&action, Do::Reply(reply) if !reply.starts_with(['2', '3']));
        if refuses && matches!(step, Step::Mail(_) | Step::Rcpt(_)) {
            // What follows in the pipeline is for nobody.
            self.recipient.clear();
        }
        match self.act(action, usual).await? {
            // A refused DATA or STARTTLS is not followed by what it would have begun.
            Then::GoOn if refuses && matches!(step, Step::Data | Step::StartTls) => {
                let mut line = String::new();
                if self.stream.read_line(&mut line).await? == 0 {
                    return Ok(Then::Close);
                }
                Box::pin(self.command(line.trim_end())).await
            }
            then => Ok(then),
        }
    }

    async fn act(&mut self, action: Do, usual: &str) -> std::io::Result<Then> {
        match action {
            Do::Usual => self.say(usual).await.map(|()| Then::GoOn),
            Do::Reply(reply) => self.say(reply).await.map(|()| Then::GoOn),
            Do::Bytes(bytes) => {
                self.stream.get_mut().write_all(bytes).await?;
                self.stream.get_mut().flush().await.map(|()| Then::GoOn)
            }
            Do::ReplyAndDrop(reply) => self.say(reply).await.map(|()| Then::Close),
            Do::Trickle => {
                let mut byte = tokio::time::interval(std::time::Duration::from_millis(20));
                loop {
                    byte.tick().await;
                    self.stream.get_mut().write_all(b"2").await?;
                    self.stream.get_mut().flush().await?;
                }
            }
            Do::Flood(count) => {
                let block = vec![b'2'; 1 << 20];
                for _ in 0..count >> 20 {
                    self.stream.get_mut().write_all(&block).await?;
                }
                Ok(Then::Close)
            }
            Do::Drop | Do::DropAfter => Ok(Then::Close),
            Do::Held(mut gate) => {
                // A gate that is gone stays closed.
                if gate.wait_for(|is_open| *is_open).await.is_err() {
                    return Ok(Then::Close);
                }
                self.say(usual).await.map(|()| Then::GoOn)
            }
            Do::Deaf(reply) => {
                self.say(reply).await?;
                std::future::pending().await
            }
            Do::Stall => {
                // Until the client has had enough.
                let mut rest = Vec::new();
                tokio::io::AsyncReadExt::read_to_end(&mut self.stream, &mut rest).await?;
                Ok(Then::Close)
            }
        }
    }

    async fn say(&mut self, reply: &str) -> std::io::Result<()> {
        self.stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).await?;
        self.stream.get_mut().flush().await
    }
}
