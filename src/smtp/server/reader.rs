//! Lines and messages out of what a stranger sends, within bounds.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Octets of a command line, its CRLF with it (RFC 5321 §4.5.3.1.4, with room for what extensions add).
pub const LINE_MAX: usize = 2048;
/// Octets of a line of AUTH, its CRLF with it (RFC 4954 §4).
pub const AUTH_LINE_MAX: usize = 12_288;
/// Octets of a message that are read at once.
const CHUNK: usize = 16 << 10;
/// Octets of a line that are read at once: who says nothing holds no more.
const LINE_CHUNK: usize = 1 << 10;

/// Why nothing can be read any more.
#[derive(Debug)]
pub enum Broken {
    /// The peer has gone.
    Gone,
    /// A line is too long.
    TooLong,
    /// A line ends in LF alone, or holds a CR: other servers may see other commands in it.
    BareLineEnd,
    /// More came where a reply had to be waited for.
    Impatient,
    /// Nothing came for too long.
    Late,
    /// The service ends.
    Stopping,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// A message, or why there is none. The session goes on behind it.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    Whole(Vec<u8>),
    TooLarge,
    /// There is no memory for it now.
    NoRoom,
}

/// Asks for further memory; `false`: there is none.
pub trait Memory {
    fn grow_to(&mut self, octets: usize) -> bool;
    /// Gives all of it back.
    fn release(&mut self);
}

/// What has come and was not read yet.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Longest time in which nothing of a message comes; zero: as long as it takes.
    stall: Duration,
}

impl Reader {
    pub fn new(stall: Duration) -> Self {
        Self { buffer: Vec::new(), stall }
    }

    /// Forgets what has come.
    pub fn forget(&mut self) {
        self.buffer = Vec::new();
    }

    /// Whether more has come behind what was read: a peer that did not wait.
    pub const fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next line, without its CRLF; with it, it has less than `limit` octets.
    pub async fn line(&mut self, from: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<Vec<u8>, Broken> {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
        let mut looked = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[looked..]) {
                let end = looked + at;
                if end >= limit {
                    return Err(Broken::TooLong);
                }
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.truncate(end);
                return match line.pop() {
                    Some(b'\r') if !line.contains(&b'\r') => Ok(line),
                    _ => Err(Broken::BareLineEnd),
                };
            }
            looked = self.buffer.len();
            if looked >= limit {
                return Err(Broken::TooLong);
            }
            self.more(from, LINE_CHUNK).await?;
        }
    }

    /// Gives the next octets, so many, as they come.
    pub async fn octets(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        mut count: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Broken> {
        loop {
            let at_hand = self.buffer.len().min(count);
            take(&self.buffer[..at_hand]);
            self.buffer.drain(..at_hand);
            count -= at_hand;
            if count == 0 {
                return Ok(());
            }
            self.more_of_message(from).await?;
        }
    }

    /// A message as DATA brings it, with its dots as they were (RFC 5321 §4.5.2). It ends at CRLF.CRLF and nowhere else.
    pub async fn body(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        limit: usize,
        memory: &mut impl Memory,
    ) -> Result<Body, Broken> {
        // What comes first stands at the start of a line.
        let mut body = b"\r\n".to_vec();
        let (mut refused, mut dropped) = (None, 0_usize);
        loop {
            let from_here = body.len().saturating_sub(4);
            body.append(&mut self.buffer);
            if let Some(at) = memchr::memmem::find(&body[from_here..], b"\r\n.\r\n") {
                let end = from_here + at;
                self.buffer = body.split_off(end + 5);
                body.truncate(end + 2);
                return Ok(match refused {
                    Some(why) => why,
                    None if body.len() - 2 > limit => Body::TooLarge,
                    None => Body::Whole(unstuffed(&body)),
                });
            }
            if refused.is_none() && body.len() > limit + CHUNK {
                refused = Some(Body::TooLarge);
            } else if refused.is_none() && !memory.grow_to(body.len() + CHUNK) {
                refused = Some(Body::NoRoom);
            }
            if refused.is_some() {
                // Only the end is looked for.
                memory.release();
                let rest = body.split_off(body.len() - 4.min(body.len()));
                dropped += body.len();
                body = rest;
                if dropped > limit.saturating_mul(4) {
                    return Err(Broken::TooLong);
                }
            }
            self.more_of_message(from).await?;
        }
    }

    async fn more_of_message(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<(), Broken> {
        if self.stall.is_zero() {
            return self.more(from, CHUNK).await;
        }
        tokio::time::timeout(self.stall, self.more(from, CHUNK)).await.unwrap_or(Err(Broken::Late))
    }

    async fn more(&mut self, from: &mut (impl AsyncRead + Unpin), count: usize) -> Result<(), Broken> {
        self.buffer.reserve(count);
        let mut limited = from.take(count as u64);
        if limited.read_buf(&mut self.buffer).await? == 0 { Err(Broken::Gone) } else { Ok(()) }
    }
}

/// The message behind the CRLF that was put before it, each dot that leads a line taken away. A line begins behind CRLF.
fn unstuffed(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(body.len());
    let mut from = 2;
    for at in memchr::memmem::find_iter(body, b"\r\n.") {
        let dot = at + 2;
        message.extend_from_slice(&body[from..dot.max(from)]);
        from = dot + 1;
    }
    message.extend_from_slice(body.get(from..).unwrap_or_default());
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::stuffing::dot_stuffed;

    struct Room(usize);

    impl Memory for Room {
        fn grow_to(&mut self, octets: usize) -> bool {
            octets <= self.0
        }

        fn release(&mut self) {}
    }

    async fn body(bytes: &[u8], limit: usize) -> (Result<Body, Broken>, Vec<u8>) {
        let mut reader = Reader::default();
        let read = reader.body(&mut &bytes[..], limit, &mut Room(1 << 20)).await;
        (read, reader.buffer)
    }

    #[tokio::test]
    async fn a_message_ends_at_a_dot_between_two_crlf_and_nowhere_else() {
        for end in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r\n.\r",
            "\n\n.\r\n\r\n",
            "\r.\r\n",
            "\r\n\x00.\r\n",
            "\r\n.\r\r\n",
        ] {
            let bytes = format!("a{end}MAIL FROM:<evil@example.org>\r\nb\r\n.\r\nQUIT\r\n");
            let (read, rest) = body(bytes.as_bytes(), 1000).await;
            let Ok(Body::Whole(message)) = read else { panic!("{end:?}: {read:?}") };
            let text = String::from_utf8(message).unwrap();
            assert!(text.contains("evil@example.org") && text.ends_with("b\r\n"), "{end:?}: {text:?}");
            assert_eq!(rest, b"QUIT\r\n", "{end:?}");
        }
    }

    #[tokio::test]
    async fn what_is_stuffed_is_read_as_it_was() {
        for message in ["", ".\r\n", "..\r\n", "a\r\n.b\r\n", ".\r\n.\r\n", "a\n.b\r\n", "\r\n\r\n"] {
            let (read, rest) = body(&dot_stuffed_strictly(message), 1000).await;
            assert!(matches!(&read, Ok(Body::Whole(found)) if found == message.as_bytes()), "{message:?}: {read:?}");
            assert!(rest.is_empty());
        }
        assert_eq!(dot_stuffed(b"a\r\n.b\r\n"), dot_stuffed_strictly("a\r\n.b\r\n"));
    }

    /// Dots behind CRLF alone are doubled.
    fn dot_stuffed_strictly(message: &str) -> Vec<u8> {
        let stuffed = format!("\r\n{message}").replace("\r\n.", "\r\n..");
        format!("{}.\r\n", &stuffed[2..]).into_bytes()
    }

    #[tokio::test]
    async fn what_is_too_large_is_read_to_its_end_and_not_kept() {
        let large = [vec![b'a'; 100_000], b"\r\n.\r\nQUIT\r\n".to_vec()].concat();
        let (read, rest) = body(&large, 50_000).await;
        assert!(matches!(read, Ok(Body::TooLarge)));
        assert_eq!(rest, b"QUIT\r\n");
        let (read, _) = body(&vec![b'a'; 1_000_000], 50_000).await;
        assert!(matches!(read, Err(Broken::TooLong)));
        let mut reader = Reader::default();
        let read = reader.body(&mut &large[..], 1 << 20, &mut Room(30_000)).await;
        assert!(matches!(read, Ok(Body::NoRoom)));
    }

    #[tokio::test]
    async fn octets_are_counted_and_nothing_in_them_is_looked_at() {
        let bytes = &b"a\r\n.\r\nQUIT\r\nNOOP\r\n"[..];
        let (mut reader, mut body, mut from) = (Reader::default(), b"0".to_vec(), bytes);
        reader.octets(&mut from, 6, |octets| body.extend_from_slice(octets)).await.unwrap();
        assert_eq!(body, b"0a\r\n.\r\n");
        reader.octets(&mut from, 6, |_| ()).await.unwrap();
        assert_eq!(reader.line(&mut from, LINE_MAX).await.unwrap(), b"NOOP");
        assert!(matches!(reader.octets(&mut from, 1, |_| ()).await, Err(Broken::Gone)));
    }

    #[tokio::test]
    async fn lines_end_in_crlf() {
        for (bytes, wanted) in [
            (&b"NOOP\r\nx"[..], Ok("NOOP")),
            (b"\r\n", Ok("")),
            (b"NOOP\n", Err("BareLineEnd")),
            (b"NO\rOP\r\n", Err("BareLineEnd")),
            (b"\n", Err("BareLineEnd")),
            (b"NOOP", Err("Gone")),
        ] {
            let line = Reader::default().line(&mut &bytes[..], LINE_MAX).await;
            let found = line.map(|line| String::from_utf8(line).unwrap()).map_err(|why| format!("{why:?}"));
            assert_eq!(found, wanted.map(str::to_owned).map_err(str::to_owned));
        }
        for length in [2048, 100_000] {
            let line = [vec![b'a'; length], b"\r\n".to_vec()].concat();
            assert!(matches!(Reader::default().line(&mut &line[..], LINE_MAX).await, Err(Broken::TooLong)));
        }
    }
}
