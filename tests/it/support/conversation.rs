//! A client of SMTP that says what a test wants, right or wrong.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::tls::TestTls;
use super::within;

/// A stream of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A session, as its client sees it.
pub struct Conversation {
    stream: BufReader<Box<dyn Stream>>,
    pub greeting: String,
}

impl Conversation {
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(Box::new(TcpStream::connect(address).await.unwrap())).await
    }

    /// With TLS from the first octet on.
    pub async fn open_secure(address: SocketAddr, tls: &TestTls, name: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(Box::new(tls.connect(name, stream).await)).await
    }

    /// Says STARTTLS, and shakes hands; nothing is said after it.
    pub async fn starttls(mut self, tls: &TestTls, name: &str) -> Self {
        let said = self.say("STARTTLS").await;
        assert!(said.starts_with("220"), "{said}");
        let secure = tls.connect(name, self.stream.into_inner()).await;
        Self { stream: BufReader::new(Box::new(secure)), greeting: self.greeting }
    }

    pub async fn over(stream: Box<dyn Stream>) -> Self {
        let mut this = Self { stream: BufReader::new(stream), greeting: String::new() };
        this.greeting = this.reply().await;
        this
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes).await;
        let _ = self.stream.get_mut().flush().await;
    }

    /// The next reply, all of its lines; empty at the end of the connection.
    pub async fn reply(&mut self) -> String {
        let mut whole = String::new();
        loop {
            let mut line = String::new();
            let read = within("a reply", self.stream.read_line(&mut line)).await;
            whole.push_str(&line);
            if read.unwrap_or(0) == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return whole;
            }
        }
    }

    pub async fn say(&mut self, line: &str) -> String {
        self.write(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// What comes until the other side has closed.
    pub async fn rest(mut self) -> String {
        let mut rest = Vec::new();
        let _ = within("the end", self.stream.read_to_end(&mut rest)).await;
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// EHLO, and AUTH PLAIN with that key.
    pub async fn log_in(&mut self, key: &str) {
        assert!(self.say("EHLO client.example").await.starts_with("250"));
        let said = self.say(&format!("AUTH PLAIN {}", STANDARD.encode(format!("\0mailwright\0{key}")))).await;
        assert!(said.starts_with("235"), "{said}");
    }

    /// A whole message, by DATA; gives the reply to its end, or the first that was no.
    pub async fn submit(&mut self, from: &str, to: &[&str], message: &str) -> String {
        let mut lines = vec![format!("MAIL FROM:{from}")];
        lines.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        for line in lines {
            let said = self.say(&line).await;
            if !said.starts_with("250") {
                return said;
            }
        }
        let said = self.say("DATA").await;
        if !said.starts_with("354") {
            return said;
        }
        let stuffed = format!("\r\n{message}").replace("\r\n.", "\r\n..");
        let end = if stuffed.ends_with("\r\n") { "." } else { "\r\n." };
        self.say(&format!("{}{end}", &stuffed[2..])).await
    }
}
