//! One small document over HTTPS, fetched or posted: no redirect, no proxy, a deadline over all of it, and a bound on its size.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode, Uri};

use super::connect::{connect, connect_at_set_port};
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
    let stream = connect_at_set_port(resolver, tls, document.host, document.port).await?;
    let request = Request::get(document.path).header(HOST, document.host).body(Full::default());
    let limit = |status| (status == StatusCode::OK).then_some(document.limit);
    let (status, body) = ask(stream, request.map_err(|error| error.to_string())?, limit).await?;
    if status == StatusCode::OK { Ok(body.to_vec()) } else { Err(format!("the answer was {status}")) }
}

/// Posts a document to an `https:` URL; the error says in words why nobody took it.
pub async fn post(
    resolver: &Resolver,
    tls: &TlsConfigs,
    url: &Uri,
    (media_type, document): (&str, Vec<u8>),
    deadline: Duration,
) -> Result<(), String> {
    let posted = async {
        let (Some(host), Some(authority)) = (url.host(), url.authority()) else {
            return Err("it has no host".to_owned());
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = connect(resolver, tls, bare, url.port_u16().unwrap_or(443), true).await?;
        let path = url.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
        let request = Request::post(path).header(HOST, authority.as_str()).header(CONTENT_TYPE, media_type);
        let request = request.body(Full::new(Bytes::from(document))).map_err(|error| error.to_string())?;
        let (status, _) = ask(stream, request, |_| None).await?;
        if status.is_success() { Ok(()) } else { Err(format!("the answer was {status}")) }
    };
    tokio::time::timeout(deadline, posted).await.unwrap_or_else(|_| Err("no answer within the deadline".to_owned()))
}
