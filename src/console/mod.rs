//! The web console: static pages that use the public JSON API like any client. They hold no state and no
//! secret, and load nothing from anywhere else.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{Redirect, Response};
use axum::routing::get;

use crate::api::{Api, ProblemKind};

/// Mail's HTML is shown in a sandboxed frame that inherits this policy: inline styles and `data:` images
/// are its own, scripts are nobody's.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data: http: https:; \
     font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The pages and what they load.
pub(crate) fn pages() -> Router<Arc<Api>> {
    let script = "text/javascript; charset=utf-8";
    Router::new()
        .route("/", get(async || Redirect::temporary("/console/inbox")))
        .route("/console", get(async || page(include_str!("inbox.html"))))
        .route("/console/inbox", get(async || page(include_str!("inbox.html"))))
        .route("/console/inbox.js", get(async move || asset(include_str!("inbox.js"), script)))
        .route("/console/style.css", get(async || asset(include_str!("style.css"), "text/css; charset=utf-8")))
        .route("/problems/{name}", get(problem))
        .route("/docs", get(async || page(include_str!("docs.html"))))
        .route("/docs/rapidoc-min.js", get(async move || asset(include_str!("vendor/rapidoc-min.js"), script)))
}

/// The page that the type of a problem (RFC 9457) leads to.
async fn problem(Path(name): Path<String>) -> Response {
    let Some(kind) = ProblemKind::ALL.into_iter().find(|kind| kind.name() == name) else {
        let mut response = page("<!doctype html><title>No such problem</title><p>There is no problem of that name.\n");
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let (status, title, about) = (kind.status(), kind.title(), kind.about());
    page(format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title} · Mailwright</title>\n<link rel=\"stylesheet\" href=\"/console/style.css\">\n<main class=\"problem\">\n\
         <h1>{title}</h1>\n<p><code>/problems/{name}</code> · {status}</p>\n<p>{about}</p>\n\
         <p><a href=\"/docs\">Documentation of the API</a></p>\n</main>\n</html>\n"
    ))
}

fn page(html: impl Into<String>) -> Response {
    let mut response = asset(html, "text/html; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}

fn asset(text: impl Into<String>, content_type: &'static str) -> Response {
    let mut response = Response::new(text.into().into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
