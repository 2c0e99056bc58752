//! Encoded-words (RFC 2047): text in a header field that cannot stand there as it is.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// RFC 2047 §2: octets of an encoded-word.
pub const WORD_MAX: usize = 75;
/// Of those, what is not text: `=?utf-8?q?` and `?=`.
const FRAME: usize = 12;

/// Whether a reader could take a part of `text` for an encoded-word though none was meant.
pub fn looks_encoded(text: &str) -> bool {
    text.contains("=?")
}

/// Whether `text` must be encoded wherever it stands in a header.
pub fn is_needed(text: &str) -> bool {
    !text.is_ascii() || looks_encoded(text)
}

/// `text` as encoded-words, the first of at most `room` octets if that is enough for one, all others of at most
/// [`WORD_MAX`]. Readers drop the white space between them (RFC 2047 §6.2); no character is divided.
pub fn encode(text: &str, room: usize) -> Vec<String> {
    let quoted: usize = text.chars().map(quoted_len).sum();
    let is_quoted = quoted <= text.len().div_ceil(3) * 4;
    let longest = if is_quoted { 12 } else { 8 };
    let mut most = if room >= FRAME + longest { room.min(WORD_MAX) } else { WORD_MAX } - FRAME;
    let (mut words, mut from, mut used) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        let (cost, is_full) = if is_quoted {
            let cost = quoted_len(c);
            (cost, used + cost > most)
        } else {
            let cost = c.len_utf8();
            (cost, (used + cost).div_ceil(3) * 4 > most)
        };
        if is_full {
            words.push(word(&text[from..at], is_quoted));
            (from, used, most) = (at, 0, WORD_MAX - FRAME);
        }
        used += cost;
    }
    words.push(word(&text[from..], is_quoted));
    words
}

/// Octets that the `Q` encoding takes for a character.
fn quoted_len(c: char) -> usize {
    if c == ' ' || is_plain(c) { 1 } else { 3 * c.len_utf8() }
}

/// RFC 2047 §5 (3): what stands for itself in every place where an encoded-word may stand.
const fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '!' | '*' | '+' | '-' | '/')
}

fn word(text: &str, is_quoted: bool) -> String {
    if !is_quoted {
        return format!("=?utf-8?b?{}?=", STANDARD.encode(text));
    }
    let mut word = String::with_capacity(WORD_MAX);
    word.push_str("=?utf-8?q?");
    for c in text.chars() {
        if c == ' ' {
            word.push('_');
        } else if is_plain(c) {
            word.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing into a string cannot fail.
                let _ = write!(word, "={byte:02X}");
            }
        }
    }
    word.push_str("?=");
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_short_and_divide_no_character() {
        for text in
            ["é", "用户".repeat(100).as_str(), "Grüße & mehr = viel?", &"é".repeat(500), "a=?b", &"🎉".repeat(90)]
        {
            for room in [0, 20, 40, 75, 200] {
                let words = encode(text, room);
                assert!(words.iter().all(|word| word.len() <= WORD_MAX && word.is_ascii()), "{words:?}");
                let field = format!("Subject: {}\r\n\r\n", words.join("\r\n "));
                let message = mail_parser::MessageParser::default().parse(field.as_bytes()).unwrap();
                assert_eq!(message.subject(), Some(text));
            }
        }
    }
}
