//! Signatures of requests: `ACS3-HMAC-SHA256` (`help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature`), and
//! `HMAC-SHA1` over all parameters (`…/rpc-mechanism`).

use aws_lc_rs::hmac;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::compat::form::Part;
use crate::compat::inner::{Inner, Refusal};
use crate::compat::signed::{canonical_query, hex, hmac_sha256, is_same, percent_encoded, sha256};
use crate::domain::clock::parse_rfc3339;

/// Kinds of refusals.
pub const UNKNOWN: &str = "unknown-key";
pub const WRONG: &str = "wrong-signature";
pub const EXPIRED: &str = "expired-signature";

const ACS3: &str = "ACS3-HMAC-SHA256";

/// The text of the key that signed.
pub async fn verify(inner: &Inner, head: &Parts, parts: &[(String, Part)], body: &[u8]) -> Result<String, Refusal> {
    let authorization = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (key, signed_at, check) = match authorization.and_then(|text| text.trim().strip_prefix(ACS3)) {
        Some(text) => acs3(head, text, body)?,
        None => rpc(head, parts)?,
    };
    let secret = inner.signing_key(&key).await?.ok_or_else(unknown)?;
    let at = parse_rfc3339(&signed_at).filter(|at| inner.is_now(*at));
    at.ok_or_else(|| Refusal::forbidden(EXPIRED, "the request was signed more than 15 minutes ago, or ahead"))?;
    if check(&secret) {
        return Ok(secret);
    }
    Err(Refusal::forbidden(WRONG, "the signature is not what this request and the key's text come to"))
}

/// Whether headers are signed, and not parameters.
pub fn is_of_headers(head: &Parts) -> bool {
    let authorization = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    authorization.is_some_and(|text| text.trim().starts_with(ACS3))
}

/// Refuses whose key is none, where that is told before the body.
pub async fn look(inner: &Inner, head: &Parts, query: &[(String, Part)]) -> Result<(), Refusal> {
    let authorization = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = match authorization.and_then(|text| text.trim().strip_prefix(ACS3)) {
        Some(text) => part_of(text, "Credential"),
        None => text_of(query, "AccessKeyId"),
    };
    match key {
        Some(key) if inner.signing_key(&key).await?.is_none() => Err(unknown()),
        _ => Ok(()),
    }
}

fn unknown() -> Refusal {
    Refusal::forbidden(UNKNOWN, "there is no key with that id that signs, or it was revoked")
}

fn part_of(text: &str, name: &str) -> Option<String> {
    text.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

fn text_of(parts: &[(String, Part)], name: &str) -> Option<String> {
    parts.iter().find_map(|(named, part)| match part {
        Part::Text(text) if named == name => Some(text.clone()),
        _ => None,
    })
}

/// Id of a key, when it signed, and whether a text of it signed so.
type Claim = (String, String, Box<dyn Fn(&str) -> bool + Send>);

fn acs3(head: &Parts, text: &str, body: &[u8]) -> Result<Claim, Refusal> {
    let part = |name: &str| part_of(text, name);
    let (key, names) = (part("Credential").ok_or_else(Refusal::no_key)?, part("SignedHeaders").unwrap_or_default());
    let signature = part("Signature").unwrap_or_default();
    let names: Vec<_> = names.split(';').map(str::to_ascii_lowercase).collect();
    // What is not signed could be anything.
    if !["host", "x-acs-action", "x-acs-date"].iter().all(|name| names.iter().any(|signed| signed == name)) {
        return Err(Refusal::forbidden(WRONG, "host, x-acs-action and x-acs-date must be among SignedHeaders"));
    }
    let mut headers = String::new();
    for name in &names {
        let values = head.headers.get_all(name.as_str()).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned()).collect();
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let date = head.headers.get("x-acs-date").and_then(|date| date.to_str().ok()).unwrap_or_default().to_owned();
    let query =
        canonical_query(form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect());
    let canonical = |path: &str| {
        let (method, names) = (head.method.as_str(), names.join(";"));
        let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{}", sha256(body));
        format!("{ACS3}\n{}", sha256(canonical.as_bytes()))
    };
    // An SDK that has our path in its host signs the root of it.
    let texts = [canonical("/"), canonical(head.uri.path())];
    let check =
        move |secret: &str| texts.iter().any(|text| is_same(&hex(&hmac_sha256(secret.as_bytes(), text)), &signature));
    Ok((key, date, Box::new(check)))
}

fn rpc(head: &Parts, parts: &[(String, Part)]) -> Result<Claim, Refusal> {
    let text = |name: &str| text_of(parts, name);
    let key = text("AccessKeyId").ok_or_else(Refusal::no_key)?;
    let signature = text("Signature").unwrap_or_default();
    if text("SignatureMethod").is_some_and(|method| method != "HMAC-SHA1") {
        return Err(Refusal::forbidden(WRONG, "SignatureMethod must be HMAC-SHA1, or sign by ACS3-HMAC-SHA256"));
    }
    let pairs = parts.iter().filter(|(name, _)| name != "Signature").filter_map(|(name, part)| match part {
        Part::Text(text) => Some((name.clone(), text.clone())),
        Part::File { .. } => None,
    });
    let query = canonical_query(pairs.collect());
    let signed = format!("{}&%2F&{}", head.method, percent_encoded(query.as_bytes()));
    let check = move |secret: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, format!("{secret}&").as_bytes());
        is_same(&STANDARD.encode(hmac::sign(&key, signed.as_bytes())), &signature)
    };
    Ok((key, text("Timestamp").unwrap_or_default(), Box::new(check)))
}
