//! Standard Webhooks 1.0 signatures over `id.timestamp.body`: HMAC-SHA256, the symmetric scheme `v1`, and Ed25519, the asymmetric
//! scheme `v1a`. While a secret is being replaced, the old and the new one sign.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::domain::webhook::Secret;

/// How a symmetric secret is shown, once: `whsec_` and base64.
pub fn secret_text(secret: &Secret) -> String {
    format!("whsec_{}", BASE64.encode(&secret.hmac))
}

/// The public key of `v1a`: `whpk_` and base64.
pub fn public_key(seed: &[u8]) -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed);
    pair.map_or_else(|_| String::new(), |pair| format!("whpk_{}", BASE64.encode(pair.public_key())))
}

/// The keys of secrets, made ready: a signature costs as much as to make its key.
#[derive(Debug)]
pub struct Signers(Vec<(hmac::Key, Option<Ed25519KeyPair>)>);

impl Signers {
    pub fn of(secrets: &[Secret]) -> Self {
        let keys = secrets.iter().map(|secret| {
            let symmetric = hmac::Key::new(hmac::HMAC_SHA256, &secret.hmac);
            (symmetric, Ed25519KeyPair::from_seed_unchecked(&secret.seed).ok())
        });
        Self(keys.collect())
    }

    /// What every call carries: what it is, and the signatures of each secret.
    pub fn headers(&self, id: &str, timestamp: i64, body: &[u8]) -> [(&'static str, String); 5] {
        [
            ("content-type", "application/json".to_owned()),
            ("user-agent", concat!("Mailwright/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", self.signature(id, timestamp, body)),
        ]
    }

    /// The value of the `webhook-signature` header: what is signed by each secret, with spaces between.
    pub fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let content = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let v1 = self.0.iter().map(|(key, _)| format!("v1,{}", BASE64.encode(hmac::sign(key, &content))));
        let pairs = self.0.iter().filter_map(|(_, pair)| pair.as_ref());
        let v1a = pairs.map(|pair| format!("v1a,{}", BASE64.encode(pair.sign(&content))));
        v1.chain(v1a).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;
    use crate::domain::clock::SeededRng;

    fn now() -> i64 {
        i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
    }

    #[test]
    fn the_public_verifier_takes_our_signature_and_no_other() {
        let rng = SeededRng::new(7);
        let (old, new) = (Secret::new(&rng), Secret::new(&rng));
        let verified = |secret: &Secret, signature: &str| {
            let mut headers = axum::http::HeaderMap::new();
            headers.insert("webhook-id", "evt_1".parse().unwrap());
            headers.insert("webhook-timestamp", now().to_string().parse().unwrap());
            headers.insert("webhook-signature", signature.parse().unwrap());
            standardwebhooks::Webhook::new(&secret_text(secret)).unwrap().verify(b"{}", &headers).is_ok()
        };
        let both = [new.clone(), old.clone()];
        let signed = Signers::of(&both).signature("evt_1", now(), b"{}");
        assert!(verified(&old, &signed) && verified(&new, &signed), "while a secret is being replaced both serve");
        assert!(!verified(&Secret::new(&rng), &signed));
        assert!(!verified(&new, &Signers::of(&both).signature("evt_1", now(), b"{ }")));
    }

    #[test]
    fn the_public_key_verifies_the_asymmetric_signature() {
        let secret = Secret::new(&SeededRng::new(8));
        let signed = Signers::of(std::slice::from_ref(&secret)).signature("evt_1", 1_700_000_000, b"{}");
        let v1a = signed.split(' ').find_map(|one| one.strip_prefix("v1a,")).unwrap();
        let public = BASE64.decode(public_key(&secret.seed).strip_prefix("whpk_").unwrap()).unwrap();
        let key = UnparsedPublicKey::new(&ED25519, public);
        let signature = BASE64.decode(v1a).unwrap();
        assert!(key.verify(b"evt_1.1700000000.{}", &signature).is_ok());
        assert!(key.verify(b"evt_1.1700000001.{}", &signature).is_err());
    }
}
