//! One small document over HTTPS: no redirect, no proxy, a deadline over all of it, and a bound on its size.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::connect::connect;
use super::dns::Resolver;
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
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = connect(resolver, tls, document.host, document.port, true).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let request = Request::get(document.path).header(HOST, document.host).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| text(&error))?;
    let call = async {
        let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer was {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), document.limit).collect().await.map_err(|error| text(&error))?;
        Ok(body.to_bytes().to_vec())
    };
    tokio::pin!(connection);
    tokio::pin!(call);
    tokio::select! {
        fetched = &mut call => fetched,
        ended = &mut connection => match ended {
            Ok(()) => call.await,
            Err(error) => Err(text(&error)),
        },
    }
}
