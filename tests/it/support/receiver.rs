//! An HTTP server that webhooks are posted to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::contract::CONTRACT;
use super::within;

/// A webhook that came.
#[derive(Debug, Clone)]
pub struct Hook {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Hook {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    /// Whether the public verifier takes it with that secret.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        standardwebhooks::Webhook::new(secret).unwrap().verify(&self.body, &self.headers).is_ok()
    }

    pub fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }
}

/// What is answered to the n-th webhook, from 0. `None` never answers.
type Script = dyn Fn(usize) -> Option<Response> + Send + Sync;

struct Shared {
    script: Box<Script>,
    hooks: Mutex<Vec<Hook>>,
    came: watch::Sender<usize>,
    connections: AtomicUsize,
}

/// A running receiver.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Answers 204 to everything.
    pub async fn start() -> Self {
        Self::scripted(|_| Some(StatusCode::NO_CONTENT.into_response())).await
    }

    pub async fn scripted(script: impl Fn(usize) -> Option<Response> + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            script: Box::new(script),
            hooks: Mutex::default(),
            came: watch::channel(0).0,
            connections: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(take).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counting = Arc::clone(&shared);
        let listener = listener.tap_io(move |_| {
            counting.connections.fetch_add(1, Ordering::Relaxed);
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// How often it was connected to.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What came so far. Fails when one is not as `openapi.yaml` says.
    pub fn hooks(&self) -> Vec<Hook> {
        let hooks = self.shared.hooks.lock().unwrap().clone();
        for hook in &hooks {
            CONTRACT.check_webhook(&hook.json());
        }
        hooks
    }

    /// Waits until `count` webhooks came.
    pub async fn until(&self, count: usize) -> Vec<Hook> {
        let mut came = self.shared.came.subscribe();
        within("webhooks to come", came.wait_for(|n| *n >= count)).await.unwrap();
        self.hooks()
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let number = {
        let mut hooks = shared.hooks.lock().unwrap();
        hooks.push(Hook { headers, body: body.to_vec() });
        shared.came.send_replace(hooks.len());
        hooks.len() - 1
    };
    match (shared.script)(number) {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}
