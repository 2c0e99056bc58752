//! Signatures against the example of RFC 8463, and their form.

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
};
use time::macros::datetime;

use super::*;
use crate::domain::dkim::Algorithm;
use crate::domain::draft::wire_fault;

const DATE: Timestamp = datetime!(2026-11-24 10:00:00 UTC);

/// RFC 8463 appendix A.
mod example {
    pub const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    pub const ED25519: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    pub const RSA: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
    pub const BODY: &str = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
    pub const BODY_HASH: &str = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";
    /// In the order of `h=`.
    pub const FIELDS: [&str; 5] = [
        "From: Joe SixPack <joe@football.example.com>\r\n",
        "To: Suzie Q <suzie@shopping.example.net>\r\n",
        "Subject: Is dinner ready?\r\n",
        "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n",
        "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n",
    ];
    pub const ED25519_FIELD: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";
    pub const ED25519_SIGNATURE: &str =
        "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
    pub const RSA_FIELD: &str = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n date : message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";
    pub const RSA_SIGNATURE: &str = "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=";
}

fn bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

/// What the signature in `field` is about.
fn signed_header(field: &str) -> Vec<u8> {
    let mut canonical = Vec::new();
    for signed in example::FIELDS {
        relax_field(signed.as_bytes(), &mut canonical);
        canonical.extend_from_slice(b"\r\n");
    }
    relax_field(field.as_bytes(), &mut canonical);
    canonical
}

fn hash(bytes: &[u8]) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(&SHA256, bytes)
}

#[test]
fn the_example_of_rfc_8463_is_hashed_signed_and_verified() {
    assert_eq!(STANDARD.encode(body_hash(example::BODY.as_bytes())), example::BODY_HASH);
    let pair = Ed25519KeyPair::from_seed_and_public_key(&bytes(example::SEED), &bytes(example::ED25519)).unwrap();
    let private = crate::domain::dkim::PrivateKey::from_pkcs8(pair.to_pkcs8v1().unwrap().as_ref().to_vec());
    let key = SigningKey::parse("football.example.com", "brisbane", Algorithm::Ed25519Sha256, &private).unwrap();
    let header = hash(&signed_header(example::ED25519_FIELD));
    assert_eq!(STANDARD.encode(key.sign(&header).unwrap()), example::ED25519_SIGNATURE);
    assert_eq!(key.record().unwrap(), format!("v=DKIM1; k=ed25519; p={}", example::ED25519));
    let verifier = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, bytes(example::RSA));
    verifier.verify(&signed_header(example::RSA_FIELD), &bytes(example::RSA_SIGNATURE)).unwrap();
    let verifier = UnparsedPublicKey::new(&ED25519, bytes(example::ED25519));
    verifier.verify(header.as_ref(), &bytes(example::ED25519_SIGNATURE)).unwrap();
}

fn key(domain: &str, selector: &str, algorithm: Algorithm) -> Arc<SigningKey> {
    Arc::new(SigningKey::parse(domain, selector, algorithm, &generate(algorithm).unwrap()).unwrap())
}

fn message() -> Vec<u8> {
    let fields = "Date: x\r\nX-A: 1\r\nFrom: a@example.org\r\nReferences: <1>\r\nReferences: <2>\r\nTO: b@example.net,\r\n c@example.net\r\nSubject: s\r\n";
    format!("{fields}Content-Type: text/plain\r\n\r\nbody\r\n").into_bytes()
}

/// The signatures before `message`, unfolded, by tag.
fn tags(signed: &[u8], tag: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(signed).replace("\r\n ", " ");
    let fields = text.lines().filter_map(|line| line.strip_prefix("DKIM-Signature: "));
    let value = |field: &str| {
        let found = field.split("; ").find_map(|part| part.strip_prefix(tag)?.strip_prefix('='));
        found.unwrap().replace(' ', "")
    };
    fields.map(value).collect()
}

#[test]
fn every_key_gives_a_signature_and_the_message_follows_unchanged() {
    let keys = Algorithm::ALL.map(|algorithm| key("example.org", algorithm.name(), algorithm));
    let signed = sign(message(), &keys, DATE).unwrap();
    assert!(signed.ends_with(&message()));
    assert_eq!(tags(&signed, "a"), ["rsa-sha256", "ed25519-sha256"]);
    assert_eq!(tags(&signed, "t"), ["1795514400"; 2]);
    let fields = "from:from:sender:reply-to:to:to:cc:subject:subject:date:date:message-id:in-reply-to:references:references:references:\
                  mime-version:content-type:content-type:content-transfer-encoding:list-unsubscribe:list-unsubscribe-post:\
                  feedback-id:otp-token";
    assert_eq!(tags(&signed, "h"), [fields; 2]);
    assert_eq!(sign(message(), &keys, DATE).unwrap(), signed, "the same input gives the same bytes");
    assert_eq!(sign(message(), &[], DATE).unwrap(), message());
}

#[test]
fn signatures_are_folded_and_may_go_on_the_wire() {
    let label = "a".repeat(63);
    for (domain, selector, longest) in
        [("example.org", "mw202611r", LINE), (&*format!("{label}.{label}.{label}.example.org"), &*label, 220)]
    {
        for algorithm in Algorithm::ALL {
            let signed = sign(message(), &[key(domain, selector, algorithm)], DATE).unwrap();
            assert_eq!(wire_fault(&signed), None);
            let head = &signed[..signed.len() - message().len()];
            for line in String::from_utf8(head.to_vec()).unwrap().lines() {
                assert!(line.len() <= longest && !line.trim().is_empty(), "{line:?}");
            }
        }
    }
}

#[test]
fn of_a_field_that_occurs_twice_the_last_is_hashed_first() {
    let head = |text: &str| Covered::of(text.as_bytes()).head.finish();
    let (one, two) = ("References: <1>\r\n", "References: <2>\r\n");
    assert_eq!(head(&format!("{one}{two}\r\n")).as_ref(), hash(b"references:<2>\r\nreferences:<1>\r\n").as_ref());
    assert_ne!(head(&format!("{one}{two}\r\n")).as_ref(), head(&format!("{two}{one}\r\n")).as_ref());
}
