//! rspamd's worker: `POST /checkv2`, answered in JSON.

use std::collections::BTreeMap;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use serde::Deserialize;

use super::{ANSWER_MAX, Rule, Verdict};
use crate::net::connect::connect_to_named;
use crate::net::http::ask;
use crate::net::tls::TlsConfigs;

#[derive(Deserialize)]
struct Answer {
    score: f64,
    required_score: f64,
    action: String,
    #[serde(default)]
    symbols: BTreeMap<String, Symbol>,
}

#[derive(Deserialize)]
struct Symbol {
    #[serde(default)]
    score: f64,
    #[serde(default)]
    description: String,
}

pub async fn check(tls: &TlsConfigs, url: &str, raw: &[u8]) -> Result<Verdict, String> {
    let uri: Uri = url.parse().map_err(|_| format!("{url} is not a URL"))?;
    let is_secured = uri.scheme_str() == Some("https");
    let authority = uri.authority().ok_or_else(|| format!("{url} names no host"))?;
    let port = authority.port_u16().unwrap_or(if is_secured { 443 } else { 11_333 });
    let host = authority.host().trim_matches(['[', ']']);
    let stream = connect_to_named(tls, host, port, is_secured).await?;
    let path = format!("{}/checkv2", uri.path().trim_end_matches('/'));
    let request = Request::post(path).header(HOST, authority.as_str()).body(Full::new(Bytes::copy_from_slice(raw)));
    let limit = |status: StatusCode| status.is_success().then_some(ANSWER_MAX);
    let (status, body) = ask(stream, request.map_err(|error| error.to_string())?, limit).await?;
    if !status.is_success() {
        return Err(format!("rspamd answered {status}"));
    }
    read(&body)
}

fn read(body: &[u8]) -> Result<Verdict, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| format!("rspamd gave no verdict: {error}"))?;
    let rules = answer.symbols.into_iter().map(|(name, symbol)| Rule {
        name,
        score: symbol.score,
        description: symbol.description,
    });
    Ok(Verdict {
        engine: "rspamd",
        score: answer.score,
        threshold: answer.required_score,
        is_spam: !matches!(&*answer.action, "no action" | "greylist"),
        rules: rules.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_read() {
        let body = br#"{"is_skipped":false,"score":7.2,"required_score":15.0,"action":"add header",
            "symbols":{"MISSING_MID":{"name":"MISSING_MID","score":2.5,"description":"Message-ID header is missing"},"X":{"score":-1.0}}}"#;
        let verdict = read(body).unwrap();
        assert_eq!((verdict.score, verdict.threshold, verdict.is_spam, verdict.rules.len()), (7.2, 15.0, true, 2));
        assert_eq!(verdict.rules[0].description, "Message-ID header is missing");
        assert!(read(b"{}").is_err());
    }
}
