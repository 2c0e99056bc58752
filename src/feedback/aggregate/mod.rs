//! Aggregate reports in letters: a part that holds XML or JSON, packed or not. What it is, its first octets say, not its type:
//! senders name it as they like. Unpacked as it is read, never whole, and never more than [`UNPACKED_MAX`].

mod dmarc;
mod tls;

use std::borrow::Cow;
use std::io::{BufReader, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder};
use mail_parser::decoders::base64::base64_decode;
use mail_parser::{Encoding, Message, MessageParser, PartType};

use crate::domain::aggregate::{AggregateReport, AggregateRow, ROWS_MAX};
use crate::domain::nesting::bounded;

/// Octets of a report once unpacked.
const UNPACKED_MAX: u64 = 25 << 20;
/// Octets of a JSON report once unpacked: it is held whole.
const JSON_MAX: u64 = 4 << 20;
/// Parts of a letter that are tried.
const PARTS_TRIED: usize = 4;
/// Messages of one row, and of a whole report: nobody sends more in a day.
const COUNT_MAX: u64 = 1_000_000_000;
/// Characters of a text in a report.
const TEXT_MAX: usize = 256;

/// The report that a letter brings; `None`: none that can be read.
pub fn read(raw: &[u8]) -> Option<AggregateReport> {
    let message = MessageParser::default().parse(bounded(raw))?;
    let mut packed = parts(&message).filter(|part| is_like(part)).take(PARTS_TRIED);
    packed.find_map(|part| of_part(&part))
}

fn parts<'m>(message: &'m Message<'_>) -> impl Iterator<Item = Cow<'m, [u8]>> {
    message.parts.iter().filter_map(|part| match &part.body {
        // What is called a text need not be one.
        PartType::Text(_) if part.encoding == Encoding::Base64 => {
            let raw = message.raw_message.get(part.offset_body as usize..part.offset_end as usize)?;
            base64_decode(raw).map(Cow::Owned)
        }
        PartType::Text(text) => Some(Cow::Borrowed(text.as_bytes())),
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => Some(Cow::Borrowed(&**bytes)),
        PartType::Html(_) | PartType::Message(_) | PartType::Multipart(_) => None,
    })
}

/// Whether a part may hold a report, by its first octets.
fn is_like(part: &[u8]) -> bool {
    part.starts_with(&[0x1f, 0x8b]) || part.starts_with(b"PK\x03\x04") || is_plain(part)
}

fn is_plain(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    text.starts_with(b"<?xml") || text.starts_with(b"<feedback") || text.starts_with(b"{")
}

fn of_part(part: &[u8]) -> Option<AggregateReport> {
    if part.starts_with(&[0x1f, 0x8b]) {
        of_stream(MultiGzDecoder::new(part))
    } else if part.starts_with(b"PK\x03\x04") {
        of_zip(part)
    } else {
        of_stream(part)
    }
}

/// The first file of a zip archive (APPNOTE.TXT §4.3.7): its sizes may stand behind it, so it is unpacked to its own end.
fn of_zip(archive: &[u8]) -> Option<AggregateReport> {
    let number = |at: usize| Some(usize::from(u16::from_le_bytes(archive.get(at..at + 2)?.try_into().ok()?)));
    let (flags, method, name, extra) = (number(6)?, number(8)?, number(26)?, number(28)?);
    let data = archive.get(30 + name + extra..)?;
    match method {
        // Encrypted.
        _ if flags & 1 == 1 => None,
        0 => of_stream(data),
        8 => of_stream(DeflateDecoder::new(data)),
        _ => None,
    }
}

fn of_stream(unpacked: impl Read) -> Option<AggregateReport> {
    let mut unpacked = BufReader::new(unpacked.take(UNPACKED_MAX));
    let mut first = [0; 64];
    let mut length = 0;
    while length < first.len() {
        match unpacked.read(&mut first[length..]) {
            Ok(0) | Err(_) => break,
            Ok(read) => length += read,
        }
    }
    let first = &first[..length];
    let whole = first.chain(unpacked);
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    match text.first()? {
        b'{' => tls::read(whole.take(JSON_MAX)),
        b'<' => dmarc::read(BufReader::new(whole)),
        _ => None,
    }
}

/// As a text of a report is kept: printable, and not long.
fn shown(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_MAX).collect()
}

/// A domain in lower case, or nothing like one.
fn domain(text: &str) -> Option<String> {
    crate::domain::address::parse_domain(text.trim().trim_end_matches('.')).ok()
}

/// Those of most messages.
fn largest(mut rows: Vec<AggregateRow>, of: impl Fn(&AggregateRow) -> u64) -> Vec<AggregateRow> {
    rows.sort_by(|a, b| of(b).cmp(&of(a)).then_with(|| a.cmp(b)));
    rows.truncate(ROWS_MAX);
    rows
}

#[cfg(test)]
mod tests;
