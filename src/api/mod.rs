//! The HTTP API: each handler translates between JSON and the rooms below, and decides nothing else.
//!
//! One file per operation, with its answer as a `…View`: one struct for each schema of `openapi.yaml`, in whose order of
//! fields the answer is written. [`problem`] is every error's form (RFC 9457), [`fields`] reads bodies and collects every
//! fault, [`auth`] says who calls, [`listener`] owns the sockets. The tests hold routes, answers and closed sets against
//! `openapi.yaml`.

pub(crate) mod answer;
mod audit;
pub(crate) mod auth;
pub(crate) mod body;
mod conversation;
mod domain_pools;
mod domains;
mod erasures;
mod guests;
mod inbound;
mod keys;
mod links;
pub(crate) mod listener;
mod log;
mod messages;
mod ops;
mod page;
pub(crate) mod peer;
mod problem;
mod projects;
mod rate_limit;
mod retention;
mod sandbox;
mod stats;
mod suppressions;
mod templates;
mod turns;
mod uploads;
mod usage_limits;
mod wait;
mod webhooks;
mod write_timeout;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use auth::Payer;
use body::Lingering;

pub(crate) use problem::Problem;
pub use problem::ProblemKind;
pub(crate) use turns::Turns;

use crate::auth::{Auth, Failures};
use crate::config::{Http, Limits, Retention};
use crate::domain::budget::Budget;
use crate::domain::clock::{Clock, Rng};
use crate::identity::Domains;
use crate::inbound::Intake;
use crate::recall::Recaller;
use crate::store::Store;
use crate::submit::templates::Templates;
use crate::submit::{Door, Quotas};
use crate::suppress::Suppressions;
use crate::telemetry::metrics::Metrics;
use crate::webhook::post::Client;

/// What the handlers share.
pub(crate) struct Api {
    pub store: Store,
    /// The store, for lists.
    pub lists: Store,
    /// Turns of those who list.
    pub turns: turns::Turns,
    pub door: Arc<Door>,
    pub recaller: Arc<Recaller>,
    pub quotas: Arc<Quotas>,
    pub auth: Arc<Auth>,
    pub router: Arc<crate::routing::Router>,
    pub suppressions: Arc<Suppressions>,
    pub webhooks: Client,
    pub templates: Arc<Templates>,
    pub limits: Limits,
    pub domains: Arc<Domains>,
    pub intake: Arc<Intake>,
    /// Whether new projects send live mail from verified domains only.
    pub requires_verified_domain: bool,
    /// What the installation keeps.
    pub retention: Retention,
    pub http: Http,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
    /// Of those who bring wrong credentials.
    pub failures: Failures,
    /// Bytes of request bodies that are being read.
    pub bodies: Arc<Budget>,
    /// Bytes of answers that are still to be read by clients.
    pub answers: Arc<Budget>,
    /// The turn of who makes a large answer.
    pub making: Semaphore,
    /// Turns of those who wait for events.
    pub waiting: Semaphore,
    pub spam_filter: Option<crate::spam::SpamFilter>,
    /// Turns of those who ask the spam filter.
    pub spam_checks: Semaphore,
    /// Test calls of endpoints that are under way.
    pub testing: Arc<webhooks::test::Testing>,
}

type Shared = State<Arc<Api>>;
type Route = (&'static str, &'static str, MethodRouter<Arc<Api>>);

/// Method and path of every route.
pub fn operations() -> Vec<(&'static str, &'static str)> {
    routes().into_iter().map(|(method, path, _)| (method, path)).collect()
}

/// Every route: method, path, handler.
fn routes() -> Vec<Route> {
    [mail_routes(), sender_routes()].concat()
}

/// Routes about who sends, and what is written again and again: domains, pools of them, templates.
fn sender_routes() -> Vec<Route> {
    vec![
        ("post", "/v1/domains", post(domains::create::create)),
        ("get", "/v1/domains", get(domains::list::list)),
        ("get", "/v1/domains/{id}", get(domains::get::get)),
        ("patch", "/v1/domains/{id}", patch(domains::update::update)),
        ("delete", "/v1/domains/{id}", delete(domains::remove::remove)),
        ("get", "/v1/domains/{id}/records", get(domains::records::records)),
        ("get", "/v1/domains/{id}/readiness", get(domains::readiness::readiness)),
        ("get", "/v1/domains/{id}/reports", get(domains::reports::reports)),
        ("post", "/v1/domains/{id}/verify", post(domains::verify::verify)),
        ("post", "/v1/domains/{id}/rotate-dkim", post(domains::rotate::rotate)),
        ("get", "/v1/domain-pools", get(domain_pools::list::list)),
        ("get", "/v1/domain-pools/{name}", get(domain_pools::get::get)),
        ("put", "/v1/domain-pools/{name}", put(domain_pools::put::put)),
        ("delete", "/v1/domain-pools/{name}", delete(domain_pools::remove::remove)),
        ("post", "/v1/templates", post(templates::create::create)),
        ("get", "/v1/templates", get(templates::list::list)),
        ("get", "/v1/templates/starters", get(templates::starters::starters)),
        ("get", "/v1/templates/settings", get(templates::settings::get)),
        ("patch", "/v1/templates/settings", patch(templates::settings::update)),
        ("get", "/v1/templates/{id}", get(templates::get::get)),
        ("patch", "/v1/templates/{id}", patch(templates::update::update)),
        ("delete", "/v1/templates/{id}", delete(templates::remove::remove)),
        ("get", "/v1/templates/{id}/versions", get(templates::versions::list)),
        ("get", "/v1/templates/{id}/versions/{version}", get(templates::versions::get)),
        ("post", "/v1/templates/{id}/publish", post(templates::publish::publish)),
        ("post", "/v1/templates/{id}/review", post(templates::review::review)),
        ("post", "/v1/templates/{id}/render", post(templates::render::render)),
        ("get", "/v1/templates/{id}/diff", get(templates::diff::diff)),
        ("get", "/v1/templates/{id}/audit", get(templates::audit::audit)),
    ]
}

/// Routes about mail, accounts, and the service itself.
fn mail_routes() -> Vec<Route> {
    vec![
        ("post", "/v1/send", post(messages::send::send)),
        ("post", "/v1/send/batch", post(messages::batch::batch)),
        ("post", "/v1/uploads", post(uploads::create::create)),
        ("get", "/v1/uploads", get(uploads::list::list)),
        ("get", "/v1/uploads/{id}", get(uploads::get::get)),
        ("delete", "/v1/uploads/{id}", delete(uploads::remove::remove)),
        ("get", "/v1/messages", get(messages::list::list)),
        ("get", "/v1/stats", get(stats::stats)),
        ("get", "/v1/events", get(log::events::events)),
        ("get", "/v1/events/export", get(log::export_events::export)),
        ("get", "/v1/messages/export", get(log::export_messages::export)),
        ("post", "/v1/messages/cancel", post(messages::recall_many::cancel)),
        ("post", "/v1/messages/retry", post(messages::recall_many::retry)),
        ("get", "/v1/messages/{id}", get(messages::get::get)),
        ("patch", "/v1/messages/{id}", patch(messages::recall::edit)),
        ("delete", "/v1/messages/{id}", delete(messages::erase::erase)),
        ("post", "/v1/messages/{id}/cancel", post(messages::recall::cancel)),
        ("post", "/v1/messages/{id}/retry", post(messages::recall::retry)),
        ("get", "/v1/messages/{id}/events", get(messages::events::events)),
        ("get", "/v1/messages/{id}/attempts", get(messages::attempts::attempts)),
        ("get", "/v1/messages/{id}/explain", get(messages::explain::explain)),
        ("get", "/v1/messages/{id}/raw", get(messages::raw::raw)),
        ("get", "/v1/messages/{id}/reports", get(messages::reports::reports)),
        ("post", "/v1/inbound/raw", post(inbound::raw)),
        ("get", "/v1/messages/{id}/webhooks", get(messages::webhooks::webhooks)),
        ("post", "/v1/webhooks", post(webhooks::create::create)),
        ("get", "/v1/webhooks", get(webhooks::list::list)),
        ("get", "/v1/webhooks/{id}", get(webhooks::get::get)),
        ("patch", "/v1/webhooks/{id}", patch(webhooks::update::update)),
        ("delete", "/v1/webhooks/{id}", delete(webhooks::remove::remove)),
        ("post", "/v1/webhooks/{id}/rotate-secret", post(webhooks::rotate_secret::rotate_secret)),
        ("post", "/v1/webhooks/{id}/test", post(webhooks::test::test)),
        ("get", "/v1/webhooks/{id}/deliveries", get(webhooks::deliveries::deliveries)),
        ("get", "/v1/webhooks/{id}/deliveries/{event}", get(webhooks::delivery::delivery)),
        ("post", "/v1/webhooks/{id}/replay", post(webhooks::replay::replay)),
        ("get", "/v1/webhooks/{id}/replays", get(webhooks::replays::replays)),
        ("get", "/v1/suppressions", get(suppressions::list::list)),
        ("post", "/v1/suppressions", post(suppressions::add::add)),
        ("post", "/v1/suppressions/check", post(suppressions::check::check)),
        ("post", "/v1/suppressions/delete", post(suppressions::remove_many::remove_many)),
        ("post", "/v1/suppressions/import", post(suppressions::import::import)),
        ("get", "/v1/suppressions/export", get(suppressions::export::export)),
        ("get", "/v1/suppressions/{id}", get(suppressions::get::get)),
        ("delete", "/v1/suppressions/{id}", delete(suppressions::remove::remove)),
        ("post", "/v1/keys", post(keys::create::create)),
        ("get", "/v1/keys", get(keys::list::list)),
        ("get", "/v1/keys/{id}", get(keys::get::get)),
        ("patch", "/v1/keys/{id}", patch(keys::update::update)),
        ("delete", "/v1/keys/{id}", delete(keys::remove::remove)),
        ("post", "/v1/keys/{id}/rotate", post(keys::rotate::rotate)),
        ("post", "/v1/projects", post(projects::create::create)),
        ("get", "/v1/projects", get(projects::list::list)),
        ("get", "/v1/projects/{id}", get(projects::get::get)),
        ("patch", "/v1/projects/{id}", patch(projects::update::update)),
        ("get", "/v1/audit", get(audit::list::list)),
        ("get", "/v1/retention", get(retention::get::get)),
        ("put", "/v1/retention", put(retention::put::put)),
        ("post", "/v1/erasures", post(erasures::create::create)),
        ("get", "/v1/erasures", get(erasures::list::list)),
        ("get", "/v1/erasures/{id}", get(erasures::get::get)),
        ("get", "/v1/sandbox/messages", get(sandbox::list::list)),
        ("delete", "/v1/sandbox/messages", delete(sandbox::remove::all)),
        ("get", "/v1/sandbox/messages/{id}", get(sandbox::get::get)),
        ("delete", "/v1/sandbox/messages/{id}", delete(sandbox::remove::one)),
        ("post", "/v1/sandbox/messages/{id}/spam-check", post(sandbox::spam_check::spam_check)),
        ("get", "/v1/sandbox/scripts", get(sandbox::scripts::get)),
        ("put", "/v1/sandbox/scripts", put(sandbox::scripts::put)),
        ("post", "/v1/sandbox/clock", post(sandbox::clock::advance)),
        ("get", "/v1/limits", get(ops::limits)),
        ("get", "/healthz", get(ops::healthz)),
        ("get", "/readyz", get(ops::readyz)),
        ("get", "/metrics", get(ops::metrics)),
        ("get", "/openapi.yaml", get(ops::openapi)),
        ("get", "/llms.txt", get(ops::llms_text)),
    ]
}

/// Methods and paths of those that read the query. Everywhere else a parameter is one that does not exist, but
/// for [`BY_PROJECT`].
const WITH_QUERY: [(&str, &str); 24] = [
    ("post", "/v1/inbound/raw"),
    ("post", "/v1/send"),
    ("post", "/v1/send/batch"),
    ("post", "/v1/uploads"),
    ("get", "/v1/uploads"),
    ("get", "/v1/stats"),
    ("get", "/v1/events"),
    ("get", "/v1/events/export"),
    ("get", "/v1/messages/export"),
    ("get", "/v1/messages"),
    ("delete", "/v1/messages/{id}"),
    ("get", "/v1/messages/{id}/events"),
    ("get", "/v1/messages/{id}/attempts"),
    ("get", "/v1/webhooks"),
    ("get", "/v1/webhooks/{id}/deliveries"),
    ("get", "/v1/suppressions"),
    ("post", "/v1/suppressions/import"),
    ("get", "/v1/suppressions/export"),
    ("get", "/v1/projects"),
    ("get", "/v1/templates"),
    ("get", "/v1/templates/{id}/versions"),
    ("get", "/v1/templates/{id}/diff"),
    ("get", "/v1/templates/{id}/audit"),
    ("get", "/v1/sandbox/messages"),
];

/// What an operator may do for any project, named by the parameter `project`: operations below these read the query.
const BY_PROJECT: [&str; 7] =
    ["/v1/audit", "/v1/domains", "/v1/domain-pools", "/v1/keys", "/v1/webhooks", "/v1/retention", "/v1/erasures"];

/// Whether an operation reads the query itself.
fn reads_query(method: &str, path: &str) -> bool {
    WITH_QUERY.contains(&(method, path)) || BY_PROJECT.iter().any(|start| path.starts_with(start))
}

/// Refuses every query parameter.
async fn without_query(params: page::Params, request: Request, next: Next) -> Result<Response, Problem> {
    params.finish()?;
    Ok(next.run(request).await)
}

/// Whether a route is there for operators alone, and so in every role.
fn is_operational(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

/// What a router has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All routes and the pages.
    Whole,
    /// All of it but the metrics, which are served elsewhere.
    WithoutMetrics,
    /// What operators' tools ask for.
    Operations,
}

impl Part {
    fn has(self, path: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::WithoutMetrics => path != "/metrics",
            Self::Operations => is_operational(path),
        }
    }
}

/// The router: the routes and the pages of `console`, with what every answer carries.
pub(crate) fn router(api: Arc<Api>, pages: Router<Arc<Api>>, part: Part) -> Router {
    let pages = if part == Part::Operations { Router::new() } else { links::routes(pages) };
    let router =
        routes().into_iter().filter(|(_, path, _)| part.has(path)).fold(pages, |router, (method, path, handler)| {
            // What operators' tools ask for, and a file, mean the same with anything behind the question mark.
            let is_strict = path.starts_with("/v1/") && !reads_query(method, path);
            let handler = if is_strict { handler.layer(middleware::from_fn(without_query)) } else { handler };
            // Whatever changes something is told of.
            let handler = if audit::is_change(method, path) {
                let keep = (Arc::clone(&api), audit::Change::of(method, path));
                handler.layer(middleware::from_fn_with_state(keep, audit::keep))
            } else {
                handler
            };
            // Whatever sends is under the limits of whoever sends.
            let is_limited = path.starts_with("/v1/send");
            let tell = middleware::from_fn_with_state(Arc::clone(&api), rate_limit::tell);
            let handler = if is_limited { handler.layer(tell) } else { handler };
            router.route(path, handler)
        });
    let router = router
        .fallback(|method: Method, uri: Uri| async move { Problem::no_route(&method, uri.path()) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            Problem::method_not_allowed(&method, uri.path())
        });
    with_usual(router, &api).with_state(api)
}

/// What every answer carries, whoever gives it, and what every request is counted as.
pub(crate) fn with_usual<S: Clone + Send + Sync + 'static>(router: Router<S>, api: &Arc<Api>) -> Router<S> {
    router
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a handler panicked");
            axum::response::IntoResponse::into_response(Problem::internal())
        }))
        .layer(middleware::from_fn_with_state(Arc::clone(api), around))
}

/// What every request gets: an id, a measured time, a count, and problems written out.
async fn around(State(api): Shared, path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let started = tokio::time::Instant::now();
    let id = problem::request_id(&*api.rng);
    let span = tracing::info_span!("request", id);
    let (request, rest) = Lingering::watch(request);
    let (mut head, body) = request.into_parts();
    let payer = Payer::noted(&api, &mut head);
    let response = next.run(Request::from_parts(head, body)).instrument(span).await;
    rest.drain().await;
    let response = problem::write_out(response, &id);
    let response = answer::bounded(&api, payer.key(), response);
    let mut response = problem::write_out(response, &id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    // Mail, keys, and who wrote to whom: nobody on the way keeps it (RFC 9111 §5.2.2.5).
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let route = path.as_ref().map_or("none", |path| path.as_str());
    tracing::debug!(id, route, status = response.status().as_u16(), "answered");
    api.metrics.http_requests.with_label_values(&[route, response.status().as_str()]).inc();
    api.metrics.http_seconds.observe(started.elapsed().as_secs_f64());
    response
}

/// A 200 with a JSON body.
fn ok_json(value: &impl serde::Serialize) -> Response {
    json_text(serde_json::to_string(value).unwrap_or_default())
}

/// The line end is for people at a terminal.
fn json_text(mut text: String) -> Response {
    text.push('\n');
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// How long a client should wait before it asks again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
