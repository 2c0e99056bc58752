//! Key records (RFC 6376 §3.6.1, RFC 8463 §4), as they are found in the DNS.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};

use crate::domain::dkim::Algorithm;

/// Panels lose the padding, and put it where none belongs.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A key as its record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    pub algorithm: Algorithm,
    /// `SubjectPublicKeyInfo` in DER for RSA, the 32 bytes for Ed25519.
    pub public_key: Vec<u8>,
}

impl KeyRecord {
    /// The key of a record that we wrote; `None` when it is none.
    pub fn read(record: &str) -> Option<Self> {
        let algorithm = match tag(record, "k") {
            Some("ed25519") => Algorithm::Ed25519Sha256,
            None | Some("rsa") => Algorithm::RsaSha256,
            Some(_) => return None,
        };
        Some(Self { algorithm, public_key: decode(tag(record, "p")?)? })
    }

    /// What keeps a verifier from taking `text` for the record of this key.
    pub fn fault(&self, text: &str) -> Option<String> {
        if tag(text, "v").is_some_and(|version| version != "DKIM1") {
            return Some("its version is not DKIM1".to_owned());
        }
        if tag(text, "v").is_some() && !text.trim_start().starts_with('v') {
            return Some("v= does not stand first".to_owned());
        }
        let wanted = match self.algorithm {
            Algorithm::RsaSha256 => "rsa",
            Algorithm::Ed25519Sha256 => "ed25519",
        };
        let kind = tag(text, "k").unwrap_or("rsa");
        if kind != wanted {
            return Some(format!("it is a key of {kind}, not of {wanted}"));
        }
        if tag(text, "h").is_some_and(|hashes| !hashes.split(':').any(|hash| hash.trim() == "sha256")) {
            return Some("h= does not allow sha256".to_owned());
        }
        if tag(text, "s").is_some_and(|uses| !uses.split(':').any(|one| matches!(one.trim(), "*" | "email"))) {
            return Some("s= does not allow email".to_owned());
        }
        if tag(text, "t").is_some_and(|flags| flags.split(':').any(|flag| flag.trim() == "y")) {
            return Some("t=y says that it is only tried: receivers treat the mail as unsigned".to_owned());
        }
        match tag(text, "p") {
            None => Some("it has no p=".to_owned()),
            Some("") => Some("p= is empty: the key is revoked".to_owned()),
            Some(key) => match decode(key) {
                None => Some("p= is not base64; a panel may have cut it off".to_owned()),
                Some(key) if self.is(&key) => None,
                Some(key) if self.public_key.starts_with(&key) => Some("the key is cut off".to_owned()),
                Some(_) => Some("it is another key".to_owned()),
            },
        }
    }

    /// RSA keys are seen as PKCS#1, which is what `SubjectPublicKeyInfo` holds after its header.
    fn is(&self, key: &[u8]) -> bool {
        key == self.public_key || (self.algorithm == Algorithm::RsaSha256 && self.public_key.get(24..) == Some(key))
    }
}

/// Whether a text is meant to be a key record.
pub fn is_like(text: &str) -> bool {
    tag(text, "p").is_some() || tag(text, "v").is_some_and(|version| version.eq_ignore_ascii_case("dkim1"))
}

/// The value of a tag in a list of them (RFC 6376 §3.2).
pub fn tag<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    TOLERANT.decode(plain).ok()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn rsa() -> KeyRecord {
        KeyRecord { algorithm: Algorithm::RsaSha256, public_key: (0..=200).collect() }
    }

    #[test]
    fn a_record_is_right_in_every_form_that_verifiers_take() {
        let (key, pkcs1) = (STANDARD.encode(rsa().public_key), STANDARD.encode(&rsa().public_key[24..]));
        let (start, end) = key.split_at(50);
        for text in [
            format!("v=DKIM1; k=rsa; p={key}"),
            format!("p={key}"),
            format!("v=DKIM1;p={key};"),
            format!(" v = DKIM1 ; h=sha1:sha256; s=*; t=s; p = {start} {end} ; n=note"),
            format!("v=DKIM1; p={}", key.trim_end_matches('=')),
            format!("v=DKIM1; p={pkcs1}"),
        ] {
            assert_eq!(rsa().fault(&text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_record_is_said() {
        let key = STANDARD.encode(rsa().public_key);
        for (text, wanted) in [
            (format!("v=DKIM2; p={key}"), "version"),
            (format!("k=rsa; v=DKIM1; p={key}"), "first"),
            (format!("v=DKIM1; k=ed25519; p={key}"), "ed25519"),
            (format!("v=DKIM1; h=sha1; p={key}"), "sha256"),
            (format!("v=DKIM1; s=tlsrpt; p={key}"), "email"),
            (format!("v=DKIM1; t=y; p={key}"), "t=y"),
            ("v=DKIM1; k=rsa".to_owned(), "no p="),
            ("v=DKIM1; p=".to_owned(), "revoked"),
            ("v=DKIM1; p=*".to_owned(), "base64"),
            (format!("v=DKIM1; p={}", &key[..200]), "cut off"),
            ("v=DKIM1; p=AAAA".to_owned(), "another key"),
        ] {
            let fault = rsa().fault(&text).unwrap_or_default();
            assert!(fault.contains(wanted), "{text}: {fault}");
        }
        assert!(is_like("p=x") && is_like("v=dkim1") && !is_like("v=spf1 -all"));
    }
}
