//! The sockets: bounded in number, a deadline for every request's head, and an orderly end.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Version;
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, TRANSFER_ENCODING};
use futures_util::TryFutureExt;
use futures_util::future::{Either, ready};
use hyper::body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::conversation::{Conversation, Phase, Refuse, Spans};
use super::guests::Guests;
use super::peer::Peer;
use super::problem::{self, Problem};
use super::write_timeout::WriteTimeout;
use crate::config::Http;
use crate::domain::clock::Rng;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;

/// Wait after the machine has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most bytes of a request's head.
const HEAD_MAX: usize = 64 << 10;

/// What may mean one thing to a proxy before us and another here is not taken (RFC 9112 §3.2, §6.1; RFC 9110 §5.3).
fn unfit<B>(request: &hyper::Request<B>) -> Option<Problem> {
    let headers = request.headers();
    let is_once = |name: &HeaderName| headers.get_all(name).iter().count() <= 1;
    if request.version() == Version::HTTP_11 && !headers.contains_key(HOST) {
        return Some(Problem::malformed("the header Host is missing"));
    }
    for name in [HOST, AUTHORIZATION] {
        if !is_once(&name) {
            return Some(Problem::malformed(format!("the header {name} stands more than once")));
        }
    }
    let codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_plain = codings.into_iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    (!is_plain || !is_once(&TRANSFER_ENCODING))
        .then(|| Problem::malformed("Transfer-Encoding must be chunked, and nothing else"))
}

/// A body that ends its request when it was given to its end, or nobody takes it any more.
struct Watched {
    body: Body,
    phase: Phase,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.phase.end();
    }
}

/// A place for one who has come. When there is none, one who asks for nothing leaves. `None`: the service is stopping.
async fn place(
    places: &Arc<Semaphore>,
    guests: &Guests,
    shutdown: &Shutdown,
) -> Option<Result<OwnedSemaphorePermit, AcquireError>> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Some(Ok(place));
    }
    loop {
        guests.make_room();
        tokio::select! {
            () = shutdown.soft.cancelled() => return None,
            place = Arc::clone(places).acquire_owned() => return Some(place),
            // Those who were at work then may be idle by now.
            () = tokio::time::sleep(ACCEPT_PAUSE) => {}
        }
    }
}

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
    let refusing = Arc::clone(&rng);
    let refuse: Refuse = Arc::new(move |status| problem::refusal(status, &*refusing));
    let (places, guests) = (Arc::new(Semaphore::new(config.connections)), Arc::<Guests>::default());
    let graceful = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD_MAX);
    loop {
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
        let Some(place) = place(&places, &guests, &shutdown).await else { break };
        // An answer is one write; waiting to fill a segment only delays it.
        let _ = stream.set_nodelay(true);
        let phase = Phase::default();
        let stream = WriteTimeout::new(stream, config.write_timeout.0);
        let stream = Conversation::new(stream, phase.clone(), spans, Arc::clone(&refuse));
        let (service, rng) = (TowerToHyperService::new(router.clone()), Arc::clone(&rng));
        let beginning = phase.clone();
        let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let phase = beginning.clone();
            phase.begin();
            request.extensions_mut().insert(peer);
            let answer = match unfit(&request) {
                Some(problem) => Either::Left(ready(Ok::<_, Infallible>(problem::alone(problem, &*rng)))),
                None => Either::Right(service.call(request)),
            };
            answer.map_ok(|answer| answer.map(|body| Watched { body, phase }))
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        let guest = guests.enter(peer.0, phase);
        let metrics = Arc::clone(&metrics);
        shutdown.spawn(async move {
            metrics.http_connections.inc();
            // Clients go away in the middle of things; that is theirs to know.
            tokio::select! {
                _ = connection => {}
                () = guest.leave.notified() => {}
            }
            metrics.http_connections.dec();
            drop((guest, place));
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
