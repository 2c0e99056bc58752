//! One small document over HTTPS: no redirect, no proxy, a deadline over all of it, and a bound on its size.

use std::time::Duration;

use http_body_util::Full;
use hyper::header::HOST;
use hyper::{Request, StatusCode};

use super::connect::connect;
use super::dns::Resolver;
use super::http::ask;
use super::tls::TlsConfigs;

/// What is fetched.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    pub host: &'a str,
    pub port: u16,
    pub path: &'a str,
    /// Bytes at most.
    pub limit: usize,
}

/// The document, or why not, in words.
pub async fn fetch(
    resolver: &Resolver,
    tls: &TlsConfigs,
    document: Document<'_>,
    deadline: Duration,
) -> Result<Vec<u8>, String> {
    match tokio::time::timeout(deadline, exchange(resolver, tls, document)).await {
        Ok(fetched) => fetched,
        Err(_) => Err("no answer within the deadline".to_owned()),
    }
}

async fn exchange(resolver: &Resolver, tls: &TlsConfigs, document: Document<'_>) -> Result<Vec<u8>, String> {
    let stream = connect(resolver, tls, document.host, document.port, true).await?;
    let request = Request::get(document.path).header(HOST, document.host).body(Full::default());
    let limit = |status| (status == StatusCode::OK).then_some(document.limit);
    let (status, body) = ask(stream, request.map_err(|error| error.to_string())?, limit).await?;
    if status == StatusCode::OK { Ok(body.to_vec()) } else { Err(format!("the answer was {status}")) }
}
