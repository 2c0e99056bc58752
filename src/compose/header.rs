//! The header of a message or of a part: each field written and folded here (RFC 5322 §2.2, §3; RFC 2047; RFC 2231; RFC 6532).

use super::encoded_word::{encode, is_needed, looks_encoded};
use super::folded::Folded;
use crate::domain::address::NamedAddress;

/// Octets of a line that has encoded-words (RFC 2047 §2); kept to by all.
const LINE: usize = 76;
/// RFC 5322 §2.1.1: octets of a line at most.
const LINE_MAX: usize = 998;

/// Fields, each ended by CRLF.
#[derive(Default)]
pub struct Header {
    bytes: Vec<u8>,
}

impl Header {
    /// A field of free text, or of a structure that the caller wrote: words beyond ASCII are encoded, all others stand as
    /// they are, with the spaces between them.
    pub fn text(&mut self, name: &str, value: &str) {
        let mut field = Folded::new(name, LINE);
        field.push(": ");
        put_text(&mut field, value);
        self.end(&field);
    }

    /// A list of mailboxes, one a line; an empty list is an empty group, so that the field is there (RFC 5322 §3.4).
    pub fn addresses(&mut self, name: &str, list: &[NamedAddress]) {
        let mut field = Folded::new(name, LINE);
        field.push(": ");
        if list.is_empty() {
            field.push("undisclosed-recipients:;");
        }
        for (place, named) in list.iter().enumerate() {
            if place > 0 {
                field.push(",");
                field.fold();
            }
            put_mailbox(&mut field, named);
        }
        self.end(&field);
    }

    /// A field that is ASCII and short enough already.
    pub fn line(&mut self, name: &str, value: &str) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// `Content-Type` of a file: its type, and its name for readers that look for it there.
    pub fn file_type(&mut self, media_type: &str, filename: Option<&str>) {
        let mut field = Folded::new("Content-Type", LINE);
        field.push(": ");
        field.push(media_type);
        if let Some(filename) = filename {
            field.push(";");
            // RFC 2047 §5 forbids an encoded-word in a parameter; Outlook, Notes and QQ read it, and read RFC 2231 not.
            if is_needed(filename) {
                field.put(" ", "name=\"");
                let words = encode(filename, field.room());
                field.push(&words.join("\r\n "));
                field.push("\"");
            } else {
                field.put(" ", &format!("name={}", quoted(filename)));
            }
        }
        self.end(&field);
    }

    /// `Content-Disposition` (RFC 2183) with the file's name, percent-encoded in one piece where it is beyond ASCII
    /// (RFC 2231 §4): a name of 255 bytes fits into a line.
    pub fn disposition(&mut self, disposition: &str, filename: &str) {
        let mut field = Folded::new("Content-Disposition", LINE);
        field.push(": ");
        field.push(disposition);
        field.push(";");
        if is_needed(filename) {
            field.put(" ", &format!("filename*=utf-8''{}", percent_encoded(filename)));
        } else {
            field.put(" ", &format!("filename={}", quoted(filename)));
        }
        self.end(&field);
    }

    fn end(&mut self, field: &Folded) {
        self.bytes.extend_from_slice(field.text.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The part of `value` that must be encoded, as a range of bytes; the rest stands as it is. Between the two is exactly one
/// space, the only white space there that every reader keeps. Spaces at either end are kept by none, and encoded.
fn encoded_range(value: &str, name: usize) -> Option<(usize, usize)> {
    // A line begins with one space, the first with the name, a colon and one.
    let is_too_long = |at: usize, word: &str| word.len() + if at == 0 { name + 2 } else { 1 } > LINE_MAX;
    let inner = value.trim_matches(' ');
    let start = value.len() - value.trim_start_matches(' ').len();
    if inner.is_empty() {
        return Some((0, value.len())).filter(|_| !value.is_empty());
    }
    let (has_lead, has_trail) = (start > 0, start + inner.len() < value.len());
    let (mut first, mut last, mut at) = (None, 0, start);
    for word in inner.split(' ') {
        let is_edge = (has_lead && at == start) || (has_trail && at + word.len() == start + inner.len());
        if is_edge || is_needed(word) || is_too_long(at, word) {
            first.get_or_insert(at);
            last = at + word.len();
        }
        at += word.len() + 1;
    }
    let (mut from, mut to) = (first?, last);
    // All spaces but the one next to what stands as it is are encoded with the rest.
    while value[..from].ends_with("  ") {
        from -= 1;
    }
    while value[to..].starts_with("  ") {
        to += 1;
    }
    Some((if from <= start { 0 } else { from }, if to >= start + inner.len() { value.len() } else { to }))
}

fn put_text(field: &mut Folded, value: &str) {
    let name = field.text.len() - 2;
    let (from, to) = encoded_range(value, name).unwrap_or((value.len(), value.len()));
    put_plain(field, value[..from].strip_suffix(' ').filter(|_| from < to).unwrap_or(&value[..from]), true);
    if from < to {
        put_encoded(field, &value[from..to], from == 0);
        if to < value.len() {
            put_plain(field, &value[to..], false);
        }
    }
}

/// Words and the runs of spaces before them.
fn put_plain(field: &mut Folded, text: &str, is_first: bool) {
    let (mut gap, mut rest) = (0, text);
    let mut is_first = is_first;
    while !rest.is_empty() {
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        gap += spaces;
        rest = &rest[spaces..];
        let end = rest.find(' ').unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if is_first {
            // The name's line is never left empty: some readers take it for the whole field.
            field.push(word);
        } else if gap > 1 && field.fits(gap + word.len(), LINE_MAX) {
            // Some readers make one space of a fold, whatever stands there.
            field.push(&" ".repeat(gap));
            field.push(word);
        } else {
            field.put(&" ".repeat(gap), word);
        }
        (gap, rest, is_first) = (0, behind, false);
    }
}

fn put_encoded(field: &mut Folded, text: &str, is_first: bool) {
    let room = field.room().saturating_sub(2);
    for (place, word) in encode(text, room).iter().enumerate() {
        if place == 0 && is_first { field.push(word) } else { field.put(" ", word) }
    }
}

/// RFC 5322 §3.4 `mailbox`: the name as it is where it is words, quoted where it is ASCII, else encoded.
fn put_mailbox(field: &mut Folded, named: &NamedAddress) {
    let address = named.address.as_str();
    let Some(name) = named.name.as_deref() else {
        field.push(address);
        return;
    };
    if is_needed(name) {
        put_encoded(field, name, true);
    } else if is_phrase(name) {
        put_plain(field, name, true);
    } else {
        // White space in a quoted string may be folded at, and is kept (RFC 5322 §3.2.4).
        put_plain(field, &quoted(name), true);
    }
    field.put(" ", &format!("<{address}>"));
}

/// RFC 5322 §3.2.5: atoms with one space between.
pub fn is_phrase(name: &str) -> bool {
    let is_atext = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    name.split(' ').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) && !looks_encoded(name)
}

/// RFC 5322 §3.2.4 `quoted-string`.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// RFC 5987 §3.2.1 `value-chars`, a subset of RFC 2231's.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
