//! Signature Version 4 (`docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html`).

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Request};
use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::request::Parts;
use serde_json::Value;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::Error;
use crate::api::Problem;
use crate::api::body::UnreadBody;
use crate::compat::inner::{Caller, IDEMPOTENCY_KEY, Inner, Refusal, Sent, Stranger};
use crate::compat::signed::{canonical_query, hmac_sha256, is_same, percent_encoded, sha256};
use crate::request::json::value as json;

/// Kinds of refusals.
pub const INCOMPLETE: &str = "incomplete-signature";
pub const EXPIRED: &str = "expired-signature";
pub const UNKNOWN: &str = "unknown-key";
pub const WRONG: &str = "wrong-signature";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "ses";
const END: &str = "aws4_request";

/// A request that was signed by a key of ours.
pub struct Signed {
    pub caller: Caller,
    /// `null` if there is no body.
    pub value: Value,
    pub sent: Sent,
    /// The parameters, as they were signed.
    pub query: Vec<(String, String)>,
    /// By what a repeat is known: a header of ours, or what an SDK has for all its tries of one call.
    pub key: Option<HeaderValue>,
}

impl FromRequest<Arc<Inner>> for Signed {
    type Rejection = Error;

    async fn from_request(request: Request, inner: &Arc<Inner>) -> Result<Self, Error> {
        let (mut head, body) = request.into_parts();
        let authorization = Authorization::of(&head)?;
        let Ok(OriginalUri(uri)) = OriginalUri::from_request_parts(&mut head, inner).await;
        let secret = inner
            .signing_key(&authorization.key)
            .await?
            .ok_or_else(|| Refusal::forbidden(UNKNOWN, "there is no key with that id that signs, or it was revoked"))?;
        let signed_at = signed_at(&head, &authorization)?;
        if !inner.is_now(signed_at) {
            return Err(Refusal::forbidden(EXPIRED, "the request was signed more than 15 minutes ago, or ahead").into());
        }
        let stranger = Stranger::of(&head);
        let unread = UnreadBody::of(&head, body);
        let (bytes, grant) = inner.bytes(unread).await?;
        let canonical = canonical(&head, (uri.path(), uri.query()), &authorization, &bytes);
        let date = text_of(&head, "x-amz-date").unwrap_or_default();
        if !is_same(&authorization.signature, &authorization.expected(&secret, date, &canonical)) {
            let detail = "the signature is not what this request and the key's text come to";
            return Err(Refusal::forbidden(WRONG, detail).into());
        }
        let value = if bytes.is_empty() {
            Value::Null
        } else {
            json(&bytes).map_err(|error| Refusal::from(Problem::from(error)))?
        };
        let sent = Sent::of(&value, grant);
        let query = form_urlencoded_strict(uri.query().unwrap_or_default());
        let invocation = text_of(&head, "amz-sdk-invocation-id").filter(|id| !id.is_empty());
        let invocation = invocation.and_then(|id| HeaderValue::from_str(&format!("amz-sdk-{id}")).ok());
        let key = head.headers.get(&IDEMPOTENCY_KEY).cloned().or(invocation);
        Ok(Self { caller: stranger.with(secret), value, sent, query, key })
    }
}

/// What the header says.
struct Authorization {
    key: String,
    day: String,
    region: String,
    headers: Vec<String>,
    signature: String,
}

impl Authorization {
    fn of(head: &Parts) -> Result<Self, Refusal> {
        let text = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(Refusal::no_key)?;
        let incomplete =
            || Refusal::forbidden(INCOMPLETE, "Authorization must have Credential, SignedHeaders and Signature");
        let rest = text.trim().strip_prefix(ALGORITHM).ok_or_else(Refusal::no_key)?;
        let part = |name: &str| {
            rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        let (credential, headers, signature) = (part("Credential"), part("SignedHeaders"), part("Signature"));
        let credential = credential.ok_or_else(incomplete)?;
        let [key, day, region, SERVICE, END] = credential.split('/').collect::<Vec<_>>()[..] else {
            return Err(incomplete());
        };
        let headers: Vec<_> = headers.ok_or_else(incomplete)?.split(';').map(str::to_ascii_lowercase).collect();
        // What is not signed could be anything.
        if !["host", "x-amz-date"].iter().all(|name| headers.iter().any(|header| header == name)) {
            return Err(Refusal::forbidden(INCOMPLETE, "host and x-amz-date must be among SignedHeaders"));
        }
        Ok(Self {
            key: key.to_owned(),
            day: day.to_owned(),
            region: region.to_owned(),
            headers,
            signature: signature.ok_or_else(incomplete)?,
        })
    }

    /// The signature that it should have.
    fn expected(&self, secret: &str, date: &str, canonical: &str) -> String {
        let scope = format!("{}/{}/{SERVICE}/{END}", self.day, self.region);
        let text = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let first = hmac_sha256(format!("AWS4{secret}").as_bytes(), &self.day);
        let key = [self.region.as_str(), SERVICE, END].iter().fold(first, |key, word| hmac_sha256(&key, word));
        crate::compat::signed::hex(&hmac_sha256(&key, &text))
    }
}

fn text_of<'h>(head: &'h Parts, name: &str) -> Option<&'h str> {
    head.headers.get(name)?.to_str().ok()
}

/// When it was signed, on the day of its key.
fn signed_at(head: &Parts, authorization: &Authorization) -> Result<OffsetDateTime, Refusal> {
    let date = text_of(head, "x-amz-date").unwrap_or_default();
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let at = PrimitiveDateTime::parse(date, format).ok().filter(|_| date.starts_with(&authorization.day));
    at.map(PrimitiveDateTime::assume_utc)
        .ok_or_else(|| Refusal::forbidden(INCOMPLETE, "x-amz-date must be an instant of the day in Credential"))
}

/// The request as it is signed.
fn canonical(head: &Parts, (path, query): (&str, Option<&str>), authorization: &Authorization, body: &[u8]) -> String {
    let query = form_urlencoded_strict(query.unwrap_or_default());
    let mut headers = String::new();
    for name in &authorization.headers {
        let values = head.headers.get_all(name.as_str()).iter().map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        });
        headers.push_str(&format!("{name}:{}\n", values.collect::<Vec<_>>().join(",")));
    }
    let names = authorization.headers.join(";");
    let (method, path) = (head.method.as_str(), canonical_path(path));
    format!("{method}\n{path}\n{}\n{headers}\n{names}\n{}", canonical_query(query), sha256(body))
}

/// The path without empty segments and dots (RFC 3986 §6.2.2.3), encoded once more.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let encoded: Vec<_> = segments.iter().map(|segment| percent_encoded(segment.as_bytes())).collect();
    let end = if path.ends_with('/') && !encoded.is_empty() { "/" } else { "" };
    format!("/{}{end}", encoded.join("/"))
}

/// The pairs of a query; here `+` is no space.
fn form_urlencoded_strict(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.replace('+', "%2B").as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_as_amazon_writes_it() {
        // The example of Amazon's description of the signing key, with the service that is ours.
        let request = Request::builder()
            .method("GET")
            .uri("/v2/email//a%2Bb/./c/../?b=2&a=1%20x&c")
            .header("host", "mail.example.net")
            .header("x-amz-date", "20261128T120000Z")
            .header("x-amz-user-agent", "  aws   sdk ")
            .header(
                AUTHORIZATION,
                "AWS4-HMAC-SHA256 Credential=key_1/20261128/eu-central-1/ses/aws4_request, SignedHeaders=host;x-amz-date;x-amz-user-agent, Signature=ab",
            );
        let (head, ()) = request.body(()).unwrap().into_parts();
        let authorization = Authorization::of(&head).unwrap();
        assert_eq!((authorization.key.as_str(), authorization.signature.as_str()), ("key_1", "ab"));
        let canonical = canonical(&head, (head.uri.path(), head.uri.query()), &authorization, b"");
        let wanted = "GET\n/v2/email/a%252Bb/\na=1%20x&b=2&c=\nhost:mail.example.net\nx-amz-date:20261128T120000Z\n\
            x-amz-user-agent:aws sdk\n\nhost;x-amz-date;x-amz-user-agent\n\
            e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(canonical, wanted);
        assert!(signed_at(&head, &authorization).is_ok());
    }

    #[test]
    fn what_is_not_a_signature_of_the_whole_is_none() {
        for (header, kind) in [
            ("Bearer mw_live_x", "no-key"),
            ("AWS4-HMAC-SHA256", INCOMPLETE),
            ("AWS4-HMAC-SHA256 Credential=k/d/r/ses/aws4_request, SignedHeaders=host;x-amz-date", INCOMPLETE),
            (
                "AWS4-HMAC-SHA256 Credential=k/d/r/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=a",
                INCOMPLETE,
            ),
            ("AWS4-HMAC-SHA256 Credential=k/d/r/ses/aws4_request, SignedHeaders=x-amz-date, Signature=a", INCOMPLETE),
        ] {
            let (head, ()) = Request::builder().header(AUTHORIZATION, header).body(()).unwrap().into_parts();
            assert_eq!(Authorization::of(&head).err().unwrap().kind, kind, "{header}");
        }
    }
}
