//! Standard Webhooks 1.0 signatures over `id.timestamp.body`: HMAC-SHA256, the symmetric scheme `v1`, and Ed25519, the asymmetric
//! scheme `v1a`. While a secret is being replaced, the old and the new one sign. Payloads in the form of another service have its
//! signature, too, by the newest secret.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::body::Bytes;

use crate::domain::clock::Rng;
use crate::domain::webhook::{PayloadForm, Secret};

/// How a symmetric secret is shown, once: `whsec_` and base64.
pub fn secret_text(secret: &Secret) -> String {
    format!("whsec_{}", BASE64.encode(&secret.hmac))
}

/// The public key of `v1a`: `whpk_` and base64.
pub fn public_key(seed: &[u8]) -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed);
    pair.map_or_else(|_| String::new(), |pair| format!("whpk_{}", BASE64.encode(pair.public_key())))
}

/// The key by which signatures of a form's own are verified, if they are asymmetric: base64 of a `SubjectPublicKeyInfo`.
pub fn form_public_key(form: PayloadForm, seed: &[u8]) -> Option<String> {
    let pair = (form == PayloadForm::SendGrid).then(|| p256(seed)).flatten()?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
    Some(BASE64.encode(public.as_ref()))
}

/// A key pair of P-256 out of a seed, which is bound to that use.
fn p256(seed: &[u8]) -> Option<EcdsaKeyPair> {
    let scalar = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), b"P-256");
    // `ECPrivateKey` (RFC 5915 §3) with its curve.
    let der = [
        &[0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20][..],
        scalar.as_ref(),
        &[0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
    ];
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &der.concat()).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |text, byte| format!("{text}{byte:02x}"))
}

/// The keys of secrets, made ready: a signature costs as much as to make its key.
#[derive(Debug)]
pub struct Signers {
    keys: Vec<(hmac::Key, Option<Ed25519KeyPair>)>,
    /// The newest of the secrets: forms with one signature are signed by it alone.
    newest: Option<Secret>,
}

/// A call that is signed.
pub struct Signed {
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// Octets of a token that a signature is over (Mailgun has 50 hexadecimal digits).
const TOKEN_LEN: usize = 25;

impl Signers {
    pub fn of(secrets: &[Secret]) -> Self {
        let keys = secrets.iter().map(|secret| {
            let symmetric = hmac::Key::new(hmac::HMAC_SHA256, &secret.hmac);
            (symmetric, Ed25519KeyPair::from_seed_unchecked(&secret.seed).ok())
        });
        Self { keys: keys.collect(), newest: secrets.first().cloned() }
    }

    /// What goes over the wire: the body with what its form says of signatures, and the headers.
    pub fn signed(&self, form: PayloadForm, (id, timestamp): (&str, i64), body: Bytes, rng: &dyn Rng) -> Signed {
        let mut content_type = "application/json";
        let body = match form {
            PayloadForm::Mailgun => {
                let (token, signature) = self.of_token(&timestamp.to_string(), rng);
                let head = format!(
                    r#"{{"signature":{{"timestamp":"{timestamp}","token":"{token}","signature":"{signature}"}},"event-data":"#
                );
                [head.as_bytes(), &body, b"}"].concat().into()
            }
            PayloadForm::SendCloud => {
                content_type = "application/x-www-form-urlencoded";
                let timestamp = timestamp.saturating_mul(1000).to_string();
                let (token, signature) = self.of_token(&timestamp, rng);
                let tail = format!("&timestamp={timestamp}&token={token}&signature={signature}");
                [&body[..], tail.as_bytes()].concat().into()
            }
            _ => body,
        };
        let mut headers = self.headers(id, timestamp, &body).to_vec();
        if let Some(header) = headers.first_mut() {
            content_type.clone_into(&mut header.1);
        }
        match form {
            PayloadForm::Resend => {
                headers.push(("svix-id", id.to_owned()));
                headers.push(("svix-timestamp", timestamp.to_string()));
                headers.push(("svix-signature", self.signature(id, timestamp, &body)));
            }
            PayloadForm::SendGrid => {
                let content = [timestamp.to_string().as_bytes(), &body].concat();
                let pair = self.newest.as_ref().and_then(|secret| p256(&secret.seed));
                let signature = pair.and_then(|pair| pair.sign(&SystemRandom::new(), &content).ok());
                let signature = signature.map(|signature| BASE64.encode(signature.as_ref())).unwrap_or_default();
                headers.push(("x-twilio-email-event-webhook-signature", signature));
                headers.push(("x-twilio-email-event-webhook-timestamp", timestamp.to_string()));
            }
            PayloadForm::Ses => {
                headers.push(("x-amz-sns-message-type", "Notification".to_owned()));
                headers.push(("x-amz-sns-rawdelivery", "true".to_owned()));
                headers.push(("x-amz-sns-message-id", id.to_owned()));
            }
            _ => {}
        }
        Signed { headers, body }
    }

    /// A token, and the signature over it and a timestamp, by the text of the secret.
    fn of_token(&self, timestamp: &str, rng: &dyn Rng) -> (String, String) {
        let mut token = [0; TOKEN_LEN];
        rng.fill(&mut token);
        let token = hex(&token);
        let text = self.newest.as_ref().map(secret_text).unwrap_or_default();
        let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        let signature = hex(hmac::sign(&key, format!("{timestamp}{token}").as_bytes()).as_ref());
        (token, signature)
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
        let v1 = self.keys.iter().map(|(key, _)| format!("v1,{}", BASE64.encode(hmac::sign(key, &content))));
        let pairs = self.keys.iter().filter_map(|(_, pair)| pair.as_ref());
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
