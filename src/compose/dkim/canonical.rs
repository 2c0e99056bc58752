//! The `relaxed` canonicalisations of RFC 6376 §3.4, in one pass and without a copy of the body.

use aws_lc_rs::digest::{Context, Digest, SHA256};

const fn is_wsp(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

const fn is_space(byte: u8) -> bool {
    is_wsp(byte) || matches!(byte, b'\r' | b'\n')
}

/// The SHA-256 of a body whose line ends are CRLF (§3.4.4).
pub fn body_hash(body: &[u8]) -> Digest {
    let mut hash = Context::new(&SHA256);
    relax_body(body, |run| hash.update(run));
    hash.finish()
}

/// Gives the canonical body in runs. Most bodies are nearly canonical, so that the runs are long.
fn relax_body(body: &[u8], mut emit: impl FnMut(&[u8])) {
    // Empty lines at the end are ignored, and so is whitespace at the end of the last line.
    let Some(last) = body.iter().rposition(|byte| !is_space(*byte)) else { return };
    let body = &body[..=last];
    let mut start = 0;
    let mut at = 0;
    while let Some(distance) = body[at..].iter().position(|byte| is_wsp(*byte)) {
        let gap = at + distance;
        at = gap + body[gap..].iter().take_while(|byte| is_wsp(**byte)).count();
        let ends_line = body[at] == b'\r';
        if ends_line {
            emit(&body[start..gap]);
            start = at;
        } else if body[gap..at] != *b" " {
            emit(&body[start..gap]);
            // The gap's last byte stands for all of it, if it is a space.
            start = if body[at - 1] == b' ' { at - 1 } else { at };
            if start == at {
                emit(b" ");
            }
        }
    }
    emit(&body[start..]);
    emit(b"\r\n");
}

/// Appends the canonical form of a field (§3.4.2), without a CRLF at its end.
pub fn relax_field(field: &[u8], canonical: &mut Vec<u8>) {
    let (name, value) = split_field(field);
    canonical.extend(name.iter().map(u8::to_ascii_lowercase));
    let mut separator = b':';
    for word in value.split(|byte| is_space(*byte)).filter(|word| !word.is_empty()) {
        canonical.push(separator);
        canonical.extend_from_slice(word);
        separator = b' ';
    }
    if separator == b':' {
        canonical.push(b':');
    }
}

/// Name and value of a field.
pub fn split_field(field: &[u8]) -> (&[u8], &[u8]) {
    let colon = field.iter().position(|byte| *byte == b':').unwrap_or(field.len());
    (field[..colon].trim_ascii_end(), field.get(colon + 1..).unwrap_or_default())
}

/// The header fields of a message, with their folds; what is left behind them is the body.
pub struct Fields<'m> {
    rest: &'m [u8],
}

impl<'m> Fields<'m> {
    pub const fn of(message: &'m [u8]) -> Self {
        Self { rest: message }
    }

    /// The body, once all fields were taken.
    pub fn body(self) -> &'m [u8] {
        self.rest.strip_prefix(b"\r\n").unwrap_or(self.rest)
    }
}

impl<'m> Iterator for Fields<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        if self.rest.is_empty() || self.rest.starts_with(b"\r\n") {
            return None;
        }
        let mut end = 0;
        while let Some(length) = self.rest[end..].iter().position(|byte| *byte == b'\n') {
            end += length + 1;
            if !self.rest.get(end).is_some_and(|byte| is_wsp(*byte)) {
                break;
            }
        }
        if end == 0 {
            end = self.rest.len();
        }
        let (field, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn relaxed(body: &[u8]) -> Vec<u8> {
        let mut canonical = Vec::new();
        relax_body(body, |run| canonical.extend_from_slice(run));
        canonical
    }

    fn field(text: &str) -> String {
        let mut canonical = Vec::new();
        relax_field(text.as_bytes(), &mut canonical);
        String::from_utf8(canonical).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc_is_canonicalised() {
        // RFC 6376 §3.4.5
        assert_eq!(field("A: X\r\n"), "a:X");
        assert_eq!(field("B : Y\t\r\n\tZ  \r\n"), "b:Y Z");
        assert_eq!(relaxed(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
    }

    #[test]
    fn edges_of_bodies_and_fields() {
        for (body, canonical) in [
            ("", ""),
            ("\r\n\r\n", ""),
            (" \t \r\n\t\r\n", ""),
            ("a", "a\r\n"),
            ("a \t", "a\r\n"),
            ("\r\n\r\na\r\n", "\r\n\r\na\r\n"),
            ("\t\ta\tb  c \t d\t \r\n \r\nx", " a b c d\r\n\r\nx\r\n"),
        ] {
            assert_eq!(relaxed(body.as_bytes()), canonical.as_bytes(), "{body:?}");
        }
        assert_eq!(STANDARD.encode(body_hash(b"\r\n")), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(field("Subject:\r\n"), "subject:");
        assert_eq!(field("Subject: a: b\r\n"), "subject:a: b");
    }

    #[test]
    fn fields_keep_their_folds_and_leave_the_body() {
        let mut fields = Fields::of(b"A: 1\r\n 2\r\n\t3\r\nB: 4\r\n\r\nbody\r\n");
        assert_eq!(fields.next(), Some(&b"A: 1\r\n 2\r\n\t3\r\n"[..]));
        assert_eq!(fields.next(), Some(&b"B: 4\r\n"[..]));
        assert_eq!(fields.next(), None);
        assert_eq!(fields.body(), b"body\r\n");
        let mut fields = Fields::of(b"A: 1");
        assert_eq!((fields.next(), fields.next()), (Some(&b"A: 1"[..]), None));
    }

    /// §3.4.4 word for word, a line at a time.
    fn by_the_book(body: &str) -> String {
        let mut lines: Vec<String> = body
            .split("\r\n")
            .map(|line| {
                let mut reduced = String::new();
                for c in line.chars() {
                    match c {
                        ' ' | '\t' if reduced.ends_with(' ') => {}
                        '\t' => reduced.push(' '),
                        c => reduced.push(c),
                    }
                }
                reduced.truncate(reduced.trim_end_matches(' ').len());
                reduced + "\r\n"
            })
            .collect();
        while lines.last().is_some_and(|line| line == "\r\n") {
            lines.pop();
        }
        lines.concat()
    }

    proptest::proptest! {
        #[test]
        fn the_canonical_body_is_the_books_and_canonical_itself(parts in proptest::collection::vec("a|é|=| |\t|\r\n", 0..60)) {
            let body = parts.concat();
            let canonical = relaxed(body.as_bytes());
            proptest::prop_assert_eq!(String::from_utf8(canonical.clone()).unwrap(), by_the_book(&body));
            let hashes = [body_hash(&canonical), body_hash(body.as_bytes())];
            proptest::prop_assert_eq!(hashes[0].as_ref(), hashes[1].as_ref());
        }
    }
}
