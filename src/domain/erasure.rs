//! An address that is to be forgotten: how it is found in texts, and what stands in its place.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What was erased, by what it was: names as `openapi.yaml` lists them.
pub type ErasedCounts = BTreeMap<String, u64>;

/// An address that is looked for.
#[derive(Debug, Clone)]
pub struct Needle {
    /// The address in lower case.
    pub text: String,
    /// A pattern in Postgres' language that knows where an address begins and ends.
    pub pattern: String,
    /// Both, for bytes that Postgres writes in its form `escape`.
    pub escaped: String,
    pub escaped_pattern: String,
    /// What stands in the place of the address from now on; `erased.invalid` exists nowhere (RFC 2606 §2).
    pub replacement: String,
}

impl Needle {
    /// `folded` is the address in lower case, `hash` a salted hash of it in hex digits.
    pub fn new(folded: &str, hash: &str) -> Self {
        let escaped = escaped(folded);
        Self {
            text: folded.to_owned(),
            pattern: pattern(folded),
            escaped_pattern: pattern(&escaped),
            escaped,
            replacement: format!("erased-{}@erased.invalid", hash.get(..8).unwrap_or("00000000")),
        }
    }

    /// Whether a text names the address.
    pub fn is_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        text.match_indices(&self.text).any(|(at, found)| {
            let before = text[..at].chars().next_back();
            let mut after = text[at + found.len()..].chars();
            let (next, second) = (after.next(), after.next());
            let goes_on = match next {
                Some('.') => second.is_some_and(char::is_alphanumeric),
                Some(next) => next.is_alphanumeric() || next == '-',
                None => false,
            };
            !goes_on && !before.is_some_and(|before| before.is_alphanumeric() || "._+-".contains(before))
        })
    }
}

/// As Postgres' `encode(…, 'escape')` writes bytes.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0 | 0x80.. => {
                let _ = write!(out, "\\{byte:03o}");
            }
            byte => out.push(char::from(byte)),
        }
        out
    })
}

/// The address alone: not the end of a longer local part, nor the start of a longer domain. What stands before it may be a
/// byte in quoted-printable or in Postgres' form.
fn pattern(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            literal.push('\\');
        }
        literal.push(c);
    }
    format!(r"(^|[^a-z0-9._+-]|=[0-9a-f]{{2}}|\\[0-7]{{3}}){literal}(?![a-z0-9-]|\.[a-z0-9])")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_alone_and_not_within_another() {
        let needle = Needle::new("bob@x.example", "0123456789");
        for text in ["bob@x.example", "Bob <BOB@x.example>", "mailto:bob@x.example.", "{\"a\":\"bob@x.example\"}"] {
            assert!(needle.is_in(text), "{text}");
        }
        for text in ["jbob@x.example", "a+bob@x.example", "bob+a@x.example", "bob@x.example.org", "bob@x.examples"] {
            assert!(!needle.is_in(text), "{text}");
        }
        assert_eq!(needle.replacement, "erased-01234567@erased.invalid");
    }

    #[test]
    fn bytes_are_looked_for_as_postgres_writes_them() {
        assert_eq!(escaped("é\\a@b"), "\\303\\251\\\\a@b");
        assert!(pattern("a.b@c").contains(r"a\.b\@c"));
    }
}
