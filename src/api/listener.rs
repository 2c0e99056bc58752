//! The sockets: bounded in number, a deadline for every request's head, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::conversation::{Conversation, Phase, Refuse, Spans};
use super::peer::Peer;
use super::problem;
use super::write_timeout::WriteTimeout;
use crate::config::Http;
use crate::domain::clock::Rng;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;

/// Wait after the machine has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most bytes of a request's head.
const HEAD_MAX: usize = 64 << 10;

/// Serves until the soft token falls and every request in hand is answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: Http,
    metrics: Arc<Metrics>,
    rng: Arc<dyn Rng>,
    shutdown: Shutdown,
) {
    let spans = Spans { head: config.header_timeout.0, idle: config.keep_alive.0 };
    let refuse: Refuse = Arc::new(move |status| problem::refusal(status, &*rng));
    let places = Arc::new(Semaphore::new(config.connections));
    let graceful = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD_MAX);
    loop {
        let place = tokio::select! {
            () = shutdown.soft.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = shutdown.soft.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, Peer(peer.ip())),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer is one write; waiting to fill a segment only delays it.
        let _ = stream.set_nodelay(true);
        let phase = Phase::default();
        let stream = WriteTimeout::new(stream, config.write_timeout.0);
        let stream = Conversation::new(stream, phase.clone(), spans, Arc::clone(&refuse));
        let service = TowerToHyperService::new(router.clone());
        let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let phase = phase.clone();
            phase.begin();
            request.extensions_mut().insert(peer);
            let answer = service.call(request);
            async move {
                let answer = answer.await;
                phase.end();
                answer
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        let metrics = Arc::clone(&metrics);
        shutdown.spawn(async move {
            metrics.http_connections.inc();
            // Clients go away in the middle of things; that is theirs to know.
            let _ = connection.await;
            metrics.http_connections.dec();
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
