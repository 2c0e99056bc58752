//! One request to a running service, for the commands that are its clients.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::terminal::CommandError;

const DEADLINE: Duration = Duration::from_secs(20);

/// What a service answered.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// Sends a request; `body` makes it a POST.
pub async fn call(url: &str, key: Option<&str>, body: Option<&Value>) -> Result<Answer, CommandError> {
    let exchange = tokio::time::timeout(DEADLINE, exchange(url, key, body));
    match exchange.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(CommandError(format!("{url}: {why}"))),
        Err(_) => Err(CommandError(format!("{url}: no answer within {} s", DEADLINE.as_secs()))),
    }
}

async fn exchange(url: &str, key: Option<&str>, body: Option<&Value>) -> Result<Answer, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let uri: Option<Uri> = url.parse().ok().filter(|uri: &Uri| uri.scheme_str() == Some("http"));
    let uri = uri.ok_or("must be an http:// URL of a service on this machine or network")?;
    let authority = uri.authority().ok_or("names no host")?;
    let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await.map_err(|error| text(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(method).uri(path).header(HOST, authority.as_str());
    if let Some(key) = key {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = request.body(Full::new(bytes)).map_err(|error| text(&error))?;
    let call = async {
        let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.map_err(|error| text(&error))?.to_bytes();
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    };
    tokio::pin!(connection);
    tokio::pin!(call);
    tokio::select! {
        answer = &mut call => answer,
        ended = &mut connection => match ended {
            Ok(()) => call.await,
            Err(error) => Err(text(&error)),
        },
    }
}
