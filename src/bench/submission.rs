//! The sending end, by SMTP: a session that is kept, and a message in one breath (RFC 2920, RFC 3030).

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::load::{Load, PATIENCE};

/// One message; `None`: it was not taken.
pub async fn exchange(
    stream: &mut Option<TcpStream>,
    (service, load): (SocketAddr, &Load),
    message: &[u8],
) -> Option<()> {
    let mut open = match stream.take() {
        Some(open) => open,
        None => timeout(PATIENCE, begin(service, &load.key)).await.ok()??,
    };
    // One reply for MAIL, for each RCPT, and for the message.
    let wanted = load.recipients + 2;
    let work = async {
        open.write_all(message).await.ok()?;
        replies(&mut open, wanted).await
    };
    let said = timeout(PATIENCE, work).await.ok()??;
    *stream = Some(open);
    said.contains("queued as msg_").then_some(())
}

/// Greeting, EHLO and AUTH.
async fn begin(service: SocketAddr, key: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(service).await.ok()?;
    stream.set_nodelay(true).ok()?;
    replies(&mut stream, 1).await?;
    stream.write_all(b"EHLO bench.example\r\n").await.ok()?;
    replies(&mut stream, 1).await?;
    let credentials = STANDARD.encode(format!("\0bench\0{key}"));
    stream.write_all(format!("AUTH PLAIN {credentials}\r\n").as_bytes()).await.ok()?;
    replies(&mut stream, 1).await?.starts_with("235").then_some(stream)
}

/// So many replies, whatever they say.
async fn replies(stream: &mut TcpStream, wanted: usize) -> Option<String> {
    let mut buffer = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
        let text = std::str::from_utf8(&buffer).ok()?;
        let is_last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
        if text.ends_with("\r\n") && text.lines().filter(is_last).count() >= wanted {
            return Some(text.to_owned());
        }
    }
}
