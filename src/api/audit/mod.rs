//! Who changed what: each request that changes something is noted before it does, with whoever asked, from where, and what; and
//! its answer's status after. What cannot be noted is not done.

pub mod list;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::Uri;
use axum::http::header::LOCATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::auth::{Authed, client_of};
use super::problem::Problem;
use crate::domain::access::Caller;
use crate::domain::id::{AuditId, ProjectId};
use crate::store::accounts::audit::NewAudit;

/// What changes nothing that lasts, or is told elsewhere: mail that is sent is a message, which names its credential.
const NOT_CHANGES: [(&str, &str); 9] = [
    ("post", "/v1/send"),
    ("post", "/v1/send/batch"),
    ("post", "/v1/uploads"),
    ("post", "/v1/inbound/raw"),
    ("post", "/v1/suppressions/check"),
    ("post", "/v1/templates/{id}/render"),
    ("post", "/v1/webhooks/{id}/test"),
    ("post", "/v1/sandbox/messages/{id}/spam-check"),
    ("post", "/v1/sandbox/clock"),
];

/// Whether a route changes something that is to be told of.
pub fn is_change(method: &str, path: &str) -> bool {
    path.starts_with("/v1/") && method != "get" && !NOT_CHANGES.contains(&(method, path))
}

/// What a route does: its method and the pattern of its path.
#[derive(Debug, Clone)]
pub struct Change {
    action: String,
    pattern: &'static str,
}

impl Change {
    pub fn of(method: &str, pattern: &'static str) -> Self {
        Self { action: format!("{} {pattern}", method.to_ascii_uppercase()), pattern }
    }

    /// What stands in the path where the pattern leaves it open.
    fn subject(&self, path: &str) -> String {
        let open = self.pattern.split('/').zip(path.split('/')).filter(|(pattern, _)| pattern.starts_with('{'));
        open.map(|(_, given)| given).collect::<Vec<_>>().join("/")
    }
}

/// Notes a change before it is made, and how it went.
pub async fn keep(State((api, change)): State<(Arc<Api>, Change)>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let caller = match Authed::from_request_parts(&mut head, &api).await {
        Ok(Authed(caller)) => caller,
        Err(problem) => return problem.into_response(),
    };
    let address = client_of(&api, &head);
    let (actor, subject) = (caller.credential().unwrap_or_default(), change.subject(head.uri.path()));
    let id = AuditId::new(api.clock.now(), &*api.rng);
    let entry = NewAudit {
        id,
        project: Some(concerned(&caller, &head.uri)),
        actor: &actor,
        actor_project: Some(caller.project),
        address: address.map(|address| address.to_string()),
        action: &change.action,
        subject: &subject,
    };
    if let Err(error) = api.store.begin_audit(&entry).await {
        return Problem::from(error).into_response();
    }
    let response = next.run(Request::from_parts(head, body)).await;
    let made = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()?.rsplit('/').next());
    let status = i16::try_from(response.status().as_u16()).unwrap_or(i16::MAX);
    if let Err(error) = api.store.end_audit(id, status, made).await {
        tracing::warn!(%error, audit.id = %id, status, "how a change went could not be noted");
    }
    response
}

/// Whose things are asked for: an operator may name a project.
fn concerned(caller: &Caller, uri: &Uri) -> ProjectId {
    let named = uri.query().and_then(|query| {
        let named = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "project")?;
        ProjectId::parse(&named.1)
    });
    named.filter(|_| caller.is_operator).unwrap_or(caller.project)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_leaves_open_is_the_subject() {
        let change = Change::of("delete", "/v1/keys/{id}");
        assert_eq!((&*change.action, &*change.subject("/v1/keys/key_1")), ("DELETE /v1/keys/{id}", "key_1"));
        assert_eq!(Change::of("post", "/v1/keys").subject("/v1/keys"), "");
    }
}
