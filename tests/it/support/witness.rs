//! A proxy before the service that sees what a client does: which operations it calls, and whether every answer is as `openapi.yaml`
//! says. It can be a bad connection, too.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::contract::CONTRACT;
use super::http::Answer;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// What befalls a send.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// It is answered with 503, and does not reach the service.
    Busy,
    /// It reaches the service, and the answer does not come back.
    Lost,
}

#[derive(Default)]
struct Seen {
    /// Operations that were answered with success.
    done: BTreeSet<String>,
    faults: Vec<String>,
    /// The idempotency key of every send, as often as it was tried.
    keys: Vec<String>,
    troubles: VecDeque<Trouble>,
}

/// A running proxy.
pub struct Witness {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Witness {
    /// Before the service at that address.
    pub async fn before(service: SocketAddr) -> Self {
        Self::with_troubles(service, []).await
    }

    /// The same; the first sends have these troubles, in order.
    pub async fn with_troubles(service: SocketAddr, troubles: impl Into<VecDeque<Trouble>>) -> Self {
        let seen = Arc::new(Mutex::new(Seen { troubles: troubles.into(), ..Seen::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                let answer = service_fn(move |request| pass(service, request, Arc::clone(&seen)));
                tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The operations that were answered with success. Fails when an answer was not as `openapi.yaml` says.
    pub fn done(&self) -> BTreeSet<String> {
        let seen = self.seen.lock().unwrap();
        assert!(seen.faults.is_empty(), "{}", seen.faults.join("\n"));
        seen.done.clone()
    }

    /// The idempotency key of every send, as often as it was tried.
    pub fn keys(&self) -> Vec<String> {
        self.seen.lock().unwrap().keys.clone()
    }
}

/// An error closes the connection.
async fn pass(
    service: SocketAddr,
    request: Request<Incoming>,
    seen: Arc<Mutex<Seen>>,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let (method, path) = (request.method().to_string(), request.uri().to_string());
    let mut trouble = None;
    if method == "POST" && path == "/v1/send" {
        let mut seen = seen.lock().unwrap();
        let key = request.headers().get("idempotency-key").map_or("", |key| key.to_str().unwrap());
        seen.keys.push(key.to_owned());
        trouble = seen.troubles.pop_front();
    }
    if let Some(Trouble::Busy) = trouble {
        return Ok(busy());
    }
    let stream = TcpStream::connect(service).await.unwrap();
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let is_endless = head.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-"));
    let (bytes, rest) = if is_endless {
        (Bytes::new(), body.boxed_unsync())
    } else {
        let bytes = body.collect().await?.to_bytes();
        (bytes.clone(), whole(bytes))
    };
    if let Some(Trouble::Lost) = trouble {
        return Err("the connection is lost".into());
    }
    let answer = Answer { status: head.status.as_u16(), headers: head.headers.clone(), bytes, operation: None };
    let operation = catch_unwind(AssertUnwindSafe(|| CONTRACT.check_answer(&method, &path, &answer)));
    let mut seen = seen.lock().unwrap();
    match operation {
        Ok(Some(operation)) if head.status.is_success() => drop(seen.done.insert(operation)),
        Ok(_) => {}
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            seen.faults.push(format!("{method} {path}: {said}"));
        }
    }
    drop(seen);
    Ok(Response::from_parts(head, rest))
}

fn busy() -> Response<Body> {
    let problem = r#"{"type":"/problems/busy","title":"Too much at once","status":503,"detail":"a test","instance":"/requests/req_0"}"#;
    let response = Response::builder().status(503).header("retry-after", "1");
    response.header("content-type", "application/problem+json").body(whole(problem.into())).unwrap()
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}
