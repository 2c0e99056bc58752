//! Standard Webhooks 1.0 signatures: HMAC-SHA256 over `id.timestamp.body`, symmetric scheme `v1`.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Octets of a secret that we make (the specification allows 24 to 64).
pub const SECRET_BYTES: usize = 32;

/// How a secret is shown, once: `whsec_` and base64.
pub fn secret_text(secret: &[u8]) -> String {
    format!("whsec_{}", BASE64.encode(secret))
}

/// The value of the `webhook-signature` header.
pub fn signature(secret: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    format!("v1,{}", BASE64.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_verifier_takes_our_signature_and_no_other() {
        let secret = [7; SECRET_BYTES];
        let verifier = standardwebhooks::Webhook::new(&secret_text(&secret)).unwrap();
        let verified = |signature: &str| {
            let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
            let mut headers = standardwebhooks_headers();
            headers.insert("webhook-id", "evt_1".parse().unwrap());
            headers.insert("webhook-timestamp", now.to_string().parse().unwrap());
            let signature = signature.replace("NOW", "");
            headers.insert("webhook-signature", signature.parse().unwrap());
            verifier.verify(b"{}", &headers).is_ok()
        };
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        assert!(verified(&signature(&secret, "evt_1", now, b"{}")));
        assert!(!verified(&signature(&secret, "evt_1", now, b"{ }")));
        assert!(!verified(&signature(&[8; SECRET_BYTES], "evt_1", now, b"{}")));
    }

    fn standardwebhooks_headers() -> axum::http::HeaderMap {
        axum::http::HeaderMap::new()
    }
}
