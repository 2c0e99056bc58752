//! Signatures of others, verified (RFC 6376 §6, RFC 8463): in two steps, since the keys are in the DNS. Both canonicalisations;
//! no SHA-1 (RFC 8301), no key under 1024 bits, and no `l=`, behind which anybody may write.

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::canonical::{Fields, body_hash, relax_field, split_field};
use crate::domain::clock::Timestamp;
use crate::domain::dkim::Algorithm;
use crate::domain::sending_domain::key_record::{KeyRecord, tag};

/// Signatures of a message that are looked at.
const SIGNATURES_MAX: usize = 8;
/// Names that a signature may list, and fields that a header may have.
const NAMES_MAX: usize = 100;
const FIELDS_MAX: usize = 1000;
/// Octets of a header.
const HEADER_MAX: usize = 256 << 10;

/// A signature that says what it should, and whose body is the one that was signed.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Who signed, in lower case.
    pub domain: String,
    selector: String,
    algorithm: Algorithm,
    /// What was signed.
    signed: Vec<u8>,
    bytes: Vec<u8>,
}

impl Signature {
    /// The name of the key's record.
    pub fn key_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// Whether one of the texts at [`Self::key_name`] is the key that made it.
    pub fn is_by(&self, texts: &[String]) -> bool {
        texts.iter().filter_map(|text| usable(text)).any(|key| self.verifies(&key))
    }

    fn verifies(&self, key: &KeyRecord) -> bool {
        if key.algorithm != self.algorithm {
            return false;
        }
        match self.algorithm {
            Algorithm::RsaSha256 => {
                UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, &key.public_key)
                    .verify(&self.signed, &self.bytes)
                    .is_ok()
            }
            Algorithm::Ed25519Sha256 => {
                let hash = aws_lc_rs::digest::digest(&SHA256, &self.signed);
                UnparsedPublicKey::new(&ED25519, &key.public_key).verify(hash.as_ref(), &self.bytes).is_ok()
            }
        }
    }
}

/// A key that may be used now: one that is only tried, or is revoked, signs nothing.
fn usable(text: &str) -> Option<KeyRecord> {
    let key = KeyRecord::read(text)?;
    key.fault(text).is_none().then_some(key)
}

/// The signatures of a message that may be good: by domains that are asked for, in force at `now`, over From, the body, and the fields
/// of these names. None of a message that other readers may see otherwise: whose lines do not all end in CRLF, or whose fields have other
/// names than letters, digits and hyphens (RFC 5322 §2.2 allows more, mail has no more), or more than one From.
pub fn signatures(message: &[u8], now: Timestamp, over: &[&str], is_wanted: impl Fn(&str) -> bool) -> Vec<Signature> {
    let is_bare = |at: usize| at == 0 || message[at - 1] != b'\r';
    if memchr::memchr_iter(b'\n', message).any(is_bare) {
        return Vec::new();
    }
    let mut fields = Fields::of(message);
    let all: Vec<&[u8]> = fields.by_ref().take(FIELDS_MAX + 1).collect();
    let is_name =
        |name: &[u8]| !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    let names = || all.iter().map(|field| field.split(|byte| *byte == b':').next().unwrap_or_default());
    let is_sound = all.len() <= FIELDS_MAX
        && all.iter().map(|field| field.len()).sum::<usize>() <= HEADER_MAX
        && all.iter().all(|field| field.contains(&b':'))
        && names().all(is_name)
        && names().filter(|name| name.eq_ignore_ascii_case(b"from")).count() == 1;
    if !is_sound {
        return Vec::new();
    }
    let body = fields.body();
    all.iter()
        .filter(|field| split_field(field).0.eq_ignore_ascii_case(b"dkim-signature"))
        .take(SIGNATURES_MAX)
        .filter_map(|field| signature(field, &all, body, (now, over, &is_wanted)))
        .collect()
}

fn signature(
    field: &[u8],
    all: &[&[u8]],
    body: &[u8],
    (now, over, is_wanted): (Timestamp, &[&str], &impl Fn(&str) -> bool),
) -> Option<Signature> {
    let text = std::str::from_utf8(split_field(field).1).ok()?;
    // White space within a value means nothing.
    let tag = |name| tag(text, name).map(|value| value.split_ascii_whitespace().collect::<String>());
    let domain = tag("d")?.to_ascii_lowercase();
    if !is_wanted(&domain) {
        return None;
    }
    let expired = tag("x").is_some_and(|at| at.parse::<i64>().map_or(true, |at| at < now.unix_timestamp()));
    if tag("v")? != "1" || tag("l").is_some() || expired {
        return None;
    }
    let algorithm = Algorithm::parse(&tag("a")?)?;
    let canonical = tag("c").unwrap_or_else(|| "simple/simple".to_owned()).to_ascii_lowercase();
    let (of_header, of_body) = canonical.split_once('/').unwrap_or((&canonical, "simple"));
    let names = tag("h")?.to_ascii_lowercase();
    let covers = |wanted: &str| names.split(':').any(|name| name == wanted);
    if names.split(':').count() > NAMES_MAX || !covers("from") || !over.iter().all(|name| covers(name)) {
        return None;
    }
    let hash = match of_body {
        "relaxed" => body_hash(body),
        "simple" => simple_body_hash(body),
        _ => return None,
    };
    if STANDARD.decode(tag("bh")?).ok()? != hash.as_ref() {
        return None;
    }
    let is_relaxed = match of_header {
        "relaxed" => true,
        "simple" => false,
        _ => return None,
    };
    let mut signed = Vec::with_capacity(2048);
    let mut left: Vec<Option<&[u8]>> = all.iter().copied().map(Some).collect();
    for name in names.split(':') {
        let is_it = |field: &[u8]| split_field(field).0.eq_ignore_ascii_case(name.as_bytes());
        // From the bottom up, each once; one that is not there stands for nothing.
        if let Some(field) = left.iter().rposition(|field| field.is_some_and(is_it)).and_then(|at| left[at].take()) {
            put(field, is_relaxed, &mut signed);
            signed.extend_from_slice(b"\r\n");
        }
    }
    put(&without_signature(field), is_relaxed, &mut signed);
    let signer = tag("i").and_then(|id| id.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase()));
    let is_within =
        |signer: &String| *signer == domain || signer.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
    if signer.is_some_and(|signer| !is_within(&signer)) {
        return None;
    }
    Some(Signature { domain, selector: tag("s")?, algorithm, signed, bytes: STANDARD.decode(tag("b")?).ok()? })
}

fn put(field: &[u8], is_relaxed: bool, out: &mut Vec<u8>) {
    if is_relaxed {
        relax_field(field, out);
    } else {
        out.extend_from_slice(field.strip_suffix(b"\r\n").unwrap_or(field));
    }
}

/// The field with its `b=` emptied, which signed all the rest.
fn without_signature(field: &[u8]) -> Vec<u8> {
    let mut at = 0;
    for pair in field.split(|byte| *byte == b';') {
        let from_name =
            if at == 0 { pair.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1) } else { 0 };
        if let Some(equals) = pair.iter().position(|byte| *byte == b'=')
            && pair[from_name..equals].trim_ascii() == b"b"
        {
            return [&field[..=at + equals], &field[at + pair.len()..]].concat();
        }
        at += pair.len() + 1;
    }
    field.to_vec()
}

/// RFC 6376 §3.4.3: only empty lines at the end are ignored.
fn simple_body_hash(body: &[u8]) -> aws_lc_rs::digest::Digest {
    let mut end = body.len();
    while body[..end].ends_with(b"\r\n") {
        end -= 2;
    }
    let mut hash = Context::new(&SHA256);
    hash.update(&body[..end]);
    hash.update(b"\r\n");
    hash.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::macros::datetime;

    use super::super::{SigningKey, generate, sign};
    use super::*;

    const NOW: Timestamp = datetime!(2026-11-27 12:00 UTC);
    const MESSAGE: &[u8] = b"From: a@example.org\r\nSubject:  two   words\r\n\r\nBody  \r\n\r\n\r\n";

    fn signed(algorithm: Algorithm) -> (Vec<u8>, String) {
        let key = SigningKey::parse("example.org", "s", algorithm, &generate(algorithm).unwrap()).unwrap();
        let record = key.record().unwrap();
        (sign(MESSAGE.to_vec(), &[Arc::new(key)], NOW).unwrap(), record)
    }

    #[test]
    fn what_we_sign_is_verified_and_what_was_changed_is_not() {
        for algorithm in Algorithm::ALL {
            let (message, record) = signed(algorithm);
            let found = signatures(&message, NOW, &["content-type"], |_| true);
            assert_eq!((found.len(), found[0].key_name().as_str()), (1, "s._domainkey.example.org"));
            assert!(found[0].is_by(&["v=spf1".to_owned(), record.clone()]));
            assert!(!found[0].is_by(&[signed(algorithm).1]), "another key");
            assert!(!found[0].is_by(&[format!("{record}; t=y")]), "one that is only tried");
            let text = String::from_utf8(message).unwrap();
            assert!(signatures(text.replace("Body", "Bodi").as_bytes(), NOW, &["content-type"], |_| true).is_empty());
            assert!(
                signatures(text.as_bytes(), NOW, &["content-type"], |domain| domain == "example.com").is_empty(),
                "another's"
            );
            for trick in [
                "From: b@evil.example\r\nSubject:",
                "Content -Type: x/y\r\nSubject:",
                "X: y\nSubject:",
                "junk\r\nSubject:",
            ] {
                assert!(
                    signatures(text.replacen("Subject:", trick, 1).as_bytes(), NOW, &["content-type"], |_| true)
                        .is_empty(),
                    "{trick}"
                );
            }
            let changed = signatures(text.replacen("two", "too", 1).as_bytes(), NOW, &["content-type"], |_| true);
            assert!(!changed[0].is_by(std::slice::from_ref(&record)), "another subject");
        }
    }

    #[test]
    fn a_signature_that_says_too_little_is_none() {
        let (message, _) = signed(Algorithm::Ed25519Sha256);
        let text = String::from_utf8(message).unwrap();
        for (from, to) in [
            ("v=1;", "v=2;"),
            ("v=1;", "v=1; l=1;"),
            ("v=1;", "v=1; x=1;"),
            ("v=1;", "v=1; i=@example.com;"),
            ("ed25519-sha256", "rsa-sha1"),
            ("relaxed/relaxed", "loose/relaxed"),
            ("h=from:from", "h=to:to"),
            ("content-type", "content-typo"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(signatures(changed.as_bytes(), NOW, &["content-type"], |_| true).is_empty(), "{to}");
        }
        for junk in
            [&b""[..], b"\r\n", b"DKIM-Signature:", b"DKIM-Signature: b=;;;=\r\n\r\n", b"DKIM-Signature: v=1; h=\xff"]
        {
            assert!(signatures(junk, NOW, &["content-type"], |_| true).is_empty());
        }
    }

    #[test]
    fn its_own_place_is_emptied_wherever_it_stands() {
        for (field, wanted) in [
            ("DKIM-Signature: a=1; b=abc", "DKIM-Signature: a=1; b="),
            ("DKIM-Signature:b=abc; bh=x", "DKIM-Signature:b=; bh=x"),
            ("DKIM-Signature: bh=b=; b =\r\n a b; c=d\r\n", "DKIM-Signature: bh=b=; b =; c=d\r\n"),
        ] {
            assert_eq!(String::from_utf8(without_signature(field.as_bytes())).unwrap(), wanted);
        }
    }
}
