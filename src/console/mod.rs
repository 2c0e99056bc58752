//! The web console: static pages that use the public JSON API like any client. They hold no state and no
//! secret, and load nothing from anywhere else.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{Redirect, Response};
use axum::routing::get;

use crate::api::answer::OfTheBinary;
use crate::api::{Api, ProblemKind};

/// What a page may load: its own. Nothing comes from anywhere else, and no script stands in a page.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; font-src data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The inbox shows mail's HTML in a sandboxed frame, which inherits the policy of the page. What a mail may load from
/// elsewhere has to be allowed here, and is forbidden by the frame's own policy until a person asks for it. Scripts and
/// connections are nobody's.
const INBOX_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline' http: https:; \
     img-src data: http: https:; font-src data: http: https:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The modules of the inbox, each under its own name.
const SCRIPTS: [(&str, &str); 14] = [
    ("inbox.js", include_str!("inbox.js")),
    ("list.js", include_str!("list.js")),
    ("message.js", include_str!("message.js")),
    ("preview.js", include_str!("preview.js")),
    ("remote.js", include_str!("remote.js")),
    ("parts.js", include_str!("parts.js")),
    ("events.js", include_str!("events.js")),
    ("webhooks.js", include_str!("webhooks.js")),
    ("checks.js", include_str!("checks.js")),
    ("findings.js", include_str!("findings.js")),
    ("clients.js", include_str!("clients.js")),
    ("service.js", include_str!("service.js")),
    ("words.js", include_str!("words.js")),
    ("page.js", include_str!("page.js")),
];

/// The styles of the pages.
const STYLES: [(&str, &str); 4] = [
    ("style.css", include_str!("style.css")),
    ("inbox.css", include_str!("inbox.css")),
    ("message.css", include_str!("message.css")),
    ("panels.css", include_str!("panels.css")),
];

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The pages and what they load.
pub(crate) fn pages() -> Router<Arc<Api>> {
    let mut router = Router::new();
    for (names, kind) in [(&SCRIPTS[..], SCRIPT), (&STYLES[..], STYLE)] {
        for &(name, text) in names {
            router = router.route(&format!("/console/{name}"), get(async move || asset(text, kind)));
        }
    }
    router
        .route("/", get(async || Redirect::temporary("/console/inbox")))
        .route("/console", get(async || inbox()))
        .route("/console/inbox", get(async || inbox()))
        .route("/problems/{name}", get(problem))
        .route("/docs", get(async || page(include_str!("docs.html"))))
        .route("/docs/docs.js", get(async || asset(include_str!("docs.js"), SCRIPT)))
        .route("/docs/rapidoc-min.js", get(async || asset(include_str!("vendor/rapidoc-min.js"), SCRIPT)))
}

fn inbox() -> Response {
    let mut response = page(include_str!("inbox.html"));
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(INBOX_POLICY));
    response
}

/// The page that the type of a problem (RFC 9457) leads to.
async fn problem(Path(name): Path<String>) -> Response {
    let Some(kind) = ProblemKind::ALL.into_iter().find(|kind| kind.name() == name) else {
        let mut response = page("<!doctype html><title>No such problem</title><p>There is no problem of that name.\n");
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let (status, title, about) = (kind.status(), kind.title(), kind.about());
    as_page(text_of(
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title} · Mailwright</title>\n<link rel=\"stylesheet\" href=\"/console/style.css\">\n<main class=\"problem\">\n\
         <h1>{title}</h1>\n<p><code>/problems/{name}</code> · {status}</p>\n<p>{about}</p>\n\
         <p><a href=\"/docs\">Documentation of the API</a></p>\n</main>\n</html>\n"
        ),
        HTML,
    ))
}

fn page(html: &'static str) -> Response {
    as_page(asset(html, HTML))
}

fn as_page(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}

/// A text of this binary: no copy of it is made.
fn asset(text: &'static str, content_type: &'static str) -> Response {
    let mut response = text_of(Bytes::from_static(text.as_bytes()), content_type);
    response.extensions_mut().insert(OfTheBinary);
    response
}

fn text_of(text: impl Into<Body>, content_type: &'static str) -> Response {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
