//! What signatures of requests have in common: whose key it is, and how texts are written for it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use super::inner::{Inner, Refusal};
use crate::api::Problem;
use crate::domain::clock::Timestamp;
use crate::domain::id::KeyId;

/// How far the clock of whoever signs may be from ours.
pub const CLOCK_SKEW: time::Duration = time::Duration::minutes(15);

impl Inner {
    /// The text of a key that signs; `None`: there is no such key, or it may not sign.
    pub async fn signing_key(&self, id: &str) -> Result<Option<String>, Refusal> {
        let Some(id) = KeyId::parse(id) else { return Ok(None) };
        self.api.auth.signing_key(id).await.map_err(|error| Problem::from(error).into())
    }

    /// Whether an instant is now, as far as clocks agree.
    pub fn is_now(&self, at: Timestamp) -> bool {
        (self.api.clock.now() - at).abs() <= CLOCK_SKEW
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

pub fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// Whether two texts are the same, in a time that says nothing of where they differ.
pub fn is_same(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// All but the unreserved characters of RFC 3986 §2.3 as `%XX`.
pub fn percent_encoded(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Pairs in order, encoded anew, with `&` between.
pub fn canonical_query(mut pairs: Vec<(String, String)>) -> String {
    for (name, value) in &mut pairs {
        *name = percent_encoded(name.as_bytes());
        *value = percent_encoded(value.as_bytes());
    }
    pairs.sort();
    pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_written_as_signatures_have_them() {
        assert_eq!(percent_encoded("a b+c/é~*".as_bytes()), "a%20b%2Bc%2F%C3%A9~%2A");
        let pairs = [("b", "2"), ("a", "2"), ("a", "1 "), ("a-", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(canonical_query(pairs.to_vec()), "a=1%20&a=2&a-=&b=2");
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
