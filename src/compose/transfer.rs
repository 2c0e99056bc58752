//! Transfer encodings of MIME (RFC 2045 §6): the lightest one under which a body arrives as it was written.

use lettre::message::Body;
use lettre::message::header::ContentTransferEncoding;

use crate::domain::draft::{wire_fault, with_crlf};

/// Bytes as they stand in a part, and the encoding that they have there.
pub struct Encoded {
    pub bytes: Vec<u8>,
    pub name: &'static str,
}

/// Octets of a line that every relay passes on, less what a quote mark takes (RFC 5322 §2.1.1, RFC 2045 §6.7).
const LINE: usize = 76;

/// Text with every line end as CRLF: as it is when nothing on the way could want to change it, else quoted-printable, or
/// base64 when it is mostly not ASCII.
pub fn of_text(text: &str) -> Encoded {
    let bytes = with_crlf(text.as_bytes());
    let foreign = if bytes.is_ascii() { 0 } else { bytes.iter().filter(|byte| !byte.is_ascii()).count() };
    if foreign == 0 && is_plain(&bytes) {
        return Encoded { bytes, name: "7bit" };
    }
    if foreign * 3 > bytes.len() {
        return of_bytes(bytes);
    }
    Encoded { bytes: quoted_printable(&bytes), name: "quoted-printable" }
}

/// Bytes of any kind.
pub fn of_bytes(bytes: Vec<u8>) -> Encoded {
    let encoded = Body::new_with_encoding(bytes, ContentTransferEncoding::Base64);
    // It refuses what 7bit cannot carry, and nothing in base64.
    Encoded { bytes: encoded.map_or_else(|bytes| bytes, Body::into_vec), name: "base64" }
}

/// A message in a message: RFC 2046 §5.2.1 allows no encoding. It has CRLF line ends and may go on the wire.
pub fn of_message(bytes: Vec<u8>) -> Encoded {
    debug_assert!(wire_fault(&bytes).is_none(), "an attachment of type message/* is checked when it is made");
    let name = if bytes.is_ascii() { "7bit" } else { "8bit" };
    Encoded { bytes, name }
}

/// Whether ASCII text with CRLF line ends travels unchanged as 7bit: its lines are short, none begins with `From ` (mbox),
/// a dot or ends in white space, and it has no control characters.
fn is_plain(text: &[u8]) -> bool {
    let mut from = 0;
    memchr::memchr_iter(b'\n', text).chain(std::iter::once(text.len())).all(|end| {
        let line = &text[from.min(end)..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        from = end + 1;
        line.len() <= LINE
            && !line.starts_with(b"From ")
            && !line.starts_with(b".")
            && !line.ends_with(b" ")
            && line.iter().all(|byte| (b' '..0x7f).contains(byte))
    })
}

/// RFC 2045 §6.7 of text with CRLF line ends. A dot and `From ` at the start of a line are encoded too: RFC 2049 §3 (8).
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len() + text.len() / 8 + 16);
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if number > 0 {
            out.extend_from_slice(b"\r\n");
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut column = 0;
        for (at, byte) in line.iter().copied().enumerate() {
            let is_last = at + 1 == line.len();
            let is_literal = match byte {
                b' ' | b'\t' => !is_last,
                b'.' => column > 0,
                b'F' => column > 0 || !line[at..].starts_with(b"From "),
                b'=' => false,
                byte => byte.is_ascii_graphic(),
            };
            let length = if is_literal { 1 } else { 3 };
            // A soft line break needs a place of its own, unless the line ends here.
            if column + length > if is_last { LINE } else { LINE - 1 } {
                out.extend_from_slice(b"=\r\n");
                column = 0;
                // What stands first in the new line is looked at as such.
                if matches!(byte, b'.') || (byte == b'F' && line[at..].starts_with(b"From ")) {
                    out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                    column = 3;
                    continue;
                }
            }
            if is_literal {
                out.push(byte);
            } else {
                out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            column += length;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn quoted_printable_is_read_back(text in "(\\PC{0,30}|[ .=\\t]{0,20}|From |[!-~]{70,160}|\\r\\n){0,20}") {
            let text = with_crlf(text.as_bytes());
            let encoded = quoted_printable(&text);
            for line in encoded.split(|byte| *byte == b'\n') {
                proptest::prop_assert!(line.strip_suffix(b"\r").unwrap_or(line).len() <= LINE);
                proptest::prop_assert!(!line.starts_with(b".") && !line.starts_with(b"From "));
            }
            let message = [b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", &*encoded].concat();
            let message = mail_parser::MessageParser::default().parse(&message).unwrap();
            let read = message.body_text(0).unwrap_or_default();
            proptest::prop_assert_eq!(read.as_bytes(), &*text);
        }
    }
}
