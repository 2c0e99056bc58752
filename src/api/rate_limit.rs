//! The headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-09) on every answer to a request
//! that is under a limit: what the limits are, and how much is left as far as this process knows.

use std::fmt::Write;

use axum::extract::{Request, State};
use axum::http::header::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::Shared;
use super::auth::CallerSlot;
use crate::domain::quota::Quota;
use crate::submit::Standing;

/// Puts the headers on the answer to whoever called.
pub async fn tell(State(api): Shared, request: Request, next: Next) -> Response {
    let slot = request.extensions().get::<CallerSlot>().cloned().unwrap_or_default();
    let mut response = next.run(request).await;
    if let Some(caller) = slot.get() {
        let standing = api.quotas.standing(caller);
        for (name, value) in [("ratelimit-policy", policies(&standing)), ("ratelimit", limits(&standing))] {
            if let Ok(value) = HeaderValue::from_str(&value)
                && !value.is_empty()
            {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
    }
    response
}

/// The limits, each by its name: quota, window, and the unit if it is bytes.
fn policies(all: &[Standing]) -> String {
    let mut text = String::new();
    for Standing { whose, quota, limit, window, .. } in all {
        let unit = if *quota == Quota::BytesPerMonth { ";qu=\"content-bytes\"" } else { "" };
        let _ = write!(text, "{}\"{whose}.{quota}\";q={limit};w={}{unit}", separator(&text), window.as_secs());
    }
    text
}

/// What is left of those of which it is known, and for how many seconds.
fn limits(all: &[Standing]) -> String {
    let mut text = String::new();
    for Standing { whose, quota, remaining, resets_in, .. } in all {
        if let Some(remaining) = remaining {
            let seconds = resets_in.as_secs().max(1);
            let _ = write!(text, "{}\"{whose}.{quota}\";r={remaining};t={seconds}", separator(&text));
        }
    }
    text
}

const fn separator(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ", " }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::quota::Subject;

    #[test]
    fn headers_are_lists_of_strings_with_parameters() {
        let standing = |whose, quota, remaining| Standing {
            whose,
            quota,
            limit: 10,
            window: Duration::from_hours(24),
            remaining,
            resets_in: Duration::from_millis(2500),
        };
        let all = [
            standing(Subject::Project, Quota::RecipientsPerDay, Some(3)),
            standing(Subject::Key, Quota::BytesPerMonth, None),
        ];
        assert_eq!(
            policies(&all),
            "\"project.recipients_per_day\";q=10;w=86400, \"key.bytes_per_month\";q=10;w=86400;qu=\"content-bytes\""
        );
        assert_eq!(limits(&all), "\"project.recipients_per_day\";r=3;t=2");
        assert_eq!(limits(&[]), "");
    }
}
