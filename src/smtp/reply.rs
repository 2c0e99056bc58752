//! Replies from bytes (RFC 5321 §4.2): bounded in line, lines and bytes, and never trusted to be text.

use crate::domain::reply::{EnhancedStatus, Reply};

/// §4.5.3.1.5 says 512; servers send more.
const LINE_MAX: usize = 2048;
const LINES_MAX: usize = 100;
const BYTES_MAX: usize = 64 << 10;
/// Room for one read.
const READ: usize = 1024;
/// Characters of a reply's text that are kept.
const TEXT_MAX: usize = 1000;

/// What makes bytes not a reply. The connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyFault {
    #[error("a reply line over {LINE_MAX} bytes")]
    LineTooLong,
    #[error("a reply over {LINES_MAX} lines or {BYTES_MAX} bytes")]
    TooLong,
    #[error("a line that does not begin with a code from 200 to 599")]
    NoCode,
    #[error("a multi-line reply whose lines have different codes")]
    MixedCodes,
}

/// A reply with its lines apart, as EHLO needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawReply {
    pub code: u16,
    /// Text of each line, printable.
    pub lines: Vec<String>,
}

impl RawReply {
    /// The reply as the rest of the program knows it.
    pub fn to_reply(&self) -> Reply {
        let mut enhanced = None;
        let mut text = String::new();
        for line in &self.lines {
            let (status, rest) = EnhancedStatus::split(line);
            enhanced = enhanced.or(status);
            if !text.is_empty() && !rest.is_empty() {
                text.push(' ');
            }
            text.push_str(rest);
        }
        Reply { code: self.code, enhanced, text: text.chars().take(TEXT_MAX).collect() }
    }
}

/// Collects bytes until a whole reply stands there. Holds at most one reply's bound and one read.
#[derive(Debug, Default)]
pub struct ReplyReader {
    buffer: Vec<u8>,
    /// Bytes of `buffer` known to hold no line end.
    scanned: usize,
    code: Option<u16>,
    lines: Vec<String>,
    bytes: usize,
}

impl ReplyReader {
    /// Room for the next read, behind the bytes that stand here.
    pub fn space(&mut self) -> &mut Vec<u8> {
        self.buffer.reserve(READ);
        &mut self.buffer
    }

    #[cfg(test)]
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether bytes stand here that no reply has taken.
    pub fn has_leftover(&self) -> bool {
        !self.buffer.is_empty() || !self.lines.is_empty()
    }

    /// The next whole reply, `None` when more bytes are needed.
    pub fn next_reply(&mut self) -> Result<Option<RawReply>, ReplyFault> {
        loop {
            let Some(end) = self.buffer[self.scanned..].iter().position(|b| *b == b'\n').map(|at| self.scanned + at)
            else {
                self.scanned = self.buffer.len();
                return if self.buffer.len() > LINE_MAX { Err(ReplyFault::LineTooLong) } else { Ok(None) };
            };
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            self.scanned = 0;
            if line.len() > LINE_MAX {
                return Err(ReplyFault::LineTooLong);
            }
            self.bytes += line.len();
            if self.lines.len() == LINES_MAX || self.bytes > BYTES_MAX {
                return Err(ReplyFault::TooLong);
            }
            if self.take_line(&line)? {
                let lines = std::mem::take(&mut self.lines);
                self.bytes = 0;
                let code = self.code.take().ok_or(ReplyFault::NoCode)?;
                return Ok(Some(RawReply { code, lines }));
            }
        }
    }

    /// Takes one line; `true` when it is the last of its reply.
    fn take_line(&mut self, line: &[u8]) -> Result<bool, ReplyFault> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (digits, rest) = line.split_at_checked(3).ok_or(ReplyFault::NoCode)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(ReplyFault::NoCode);
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        if !(200..600).contains(&code) {
            return Err(ReplyFault::NoCode);
        }
        if *self.code.get_or_insert(code) != code {
            return Err(ReplyFault::MixedCodes);
        }
        let (last, text) = match rest.split_first() {
            None => (true, &[][..]),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(ReplyFault::NoCode),
        };
        self.lines.push(printable(text));
        Ok(last)
    }
}

/// Bytes as text: what is not UTF-8, and every control character, becomes U+FFFD.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<RawReply>, ReplyFault> {
        let mut reader = ReplyReader::default();
        reader.push(bytes);
        reader.next_reply()
    }

    #[test]
    fn single_and_multi_line_replies_are_read() {
        let one = read(b"250 2.1.0 Sender ok\r\n").unwrap().unwrap().to_reply();
        assert_eq!(one.to_string(), "250 2.1.0 Sender ok");
        let many = read(b"550-5.1.1 No such\r\n550-5.1.1 user\r\n550 5.1.1 here\r\n").unwrap().unwrap();
        assert_eq!(many.to_reply().to_string(), "550 5.1.1 No such user here");
        assert_eq!(read(b"250\r\n").unwrap().unwrap().lines, [""]);
        assert_eq!(read(b"250 bare lf\n").unwrap().unwrap().code, 250);
    }

    #[test]
    fn replies_behind_each_other_come_one_by_one() {
        let mut reader = ReplyReader::default();
        for byte in b"250 a\r\n354 b\r\n55" {
            reader.push(&[*byte]);
        }
        assert_eq!(reader.next_reply().unwrap().unwrap().code, 250);
        assert_eq!(reader.next_reply().unwrap().unwrap().code, 354);
        assert_eq!(reader.next_reply().unwrap(), None);
        assert!(reader.has_leftover());
    }

    #[test]
    fn what_is_not_a_reply_is_refused_within_bounds() {
        assert_eq!(read(b"hello\r\n"), Err(ReplyFault::NoCode));
        assert_eq!(read(b"25\r\n"), Err(ReplyFault::NoCode));
        assert_eq!(read(b"100 no\r\n"), Err(ReplyFault::NoCode));
        assert_eq!(read(b"600 no\r\n"), Err(ReplyFault::NoCode));
        assert_eq!(read(b"250_x\r\n"), Err(ReplyFault::NoCode));
        assert_eq!(read(b"250-a\r\n550 b\r\n"), Err(ReplyFault::MixedCodes));
        assert_eq!(read(&[b'2'; 3000]), Err(ReplyFault::LineTooLong));
        assert_eq!(read(&b"250-x\r\n".repeat(101)), Err(ReplyFault::TooLong));
    }

    #[test]
    fn control_characters_and_broken_utf8_become_harmless() {
        let reply = read(b"550 a\x1b[31m\xff\0b\r\n").unwrap().unwrap().to_reply();
        assert_eq!(reply.text, "a\u{fffd}[31m\u{fffd}\u{fffd}b");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_or_grow_past_the_bounds(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..4096)) {
            let mut reader = ReplyReader::default();
            for chunk in bytes.chunks(97) {
                reader.push(chunk);
                while let Ok(Some(_)) = reader.next_reply() {}
                if reader.next_reply().is_err() {
                    break;
                }
                proptest::prop_assert!(reader.buffer.len() <= LINE_MAX);
            }
        }
    }
}
