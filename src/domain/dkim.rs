//! DKIM's vocabulary (RFC 6376, RFC 8463): algorithms, selectors, private keys as bytes, and which domains
//! may sign for an author's.

use std::fmt;

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    RsaSha256,
    Ed25519Sha256,
}

impl Algorithm {
    pub const ALL: [Self; 2] = [Self::RsaSha256, Self::Ed25519Sha256];

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The value of the `a=` tag.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// What stands at the end of a selector to tell a domain's two keys apart.
    pub const fn letter(self) -> char {
        match self {
            Self::RsaSha256 => 'r',
            Self::Ed25519Sha256 => 'e',
        }
    }
}

/// A private key, PKCS#8 in DER. It is neither shown nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Vec<u8>);

impl PrivateKey {
    pub const fn from_pkcs8(der: Vec<u8>) -> Self {
        Self(der)
    }

    pub fn pkcs8(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// The lower-case selector that `text` writes (RFC 6376 §3.1): labels with dots between, 63 octets at most.
pub fn parse_selector(text: &str) -> Option<String> {
    let valid_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (text.len() <= 63 && text.split('.').all(valid_label)).then(|| text.to_ascii_lowercase())
}

/// The domains whose signature is aligned with an author in `domain`, closest first: itself and its parents
/// of two labels or more (RFC 7489 §3.1.1, relaxed).
pub fn aligned(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(domain), |domain| domain.split_once('.').map(|(_, parent)| parent))
        .filter(|domain| domain.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_aligned_with_itself_and_its_parents_closest_first() {
        assert_eq!(aligned("a.b.example.org").collect::<Vec<_>>(), ["a.b.example.org", "b.example.org", "example.org"]);
        assert_eq!(aligned("example.org").collect::<Vec<_>>(), ["example.org"]);
    }

    #[test]
    fn selectors_are_labels() {
        assert_eq!(parse_selector("MW202611r").as_deref(), Some("mw202611r"));
        assert_eq!(parse_selector("a.b-1").as_deref(), Some("a.b-1"));
        for text in ["", ".", "a..b", "-a", "a-", "a_b", "a b", "ä", "a;d=evil", &"a".repeat(64)] {
            assert_eq!(parse_selector(text), None, "{text}");
        }
    }

    #[test]
    fn a_private_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", PrivateKey::from_pkcs8(vec![42; 3])), "PrivateKey(…)");
    }
}
