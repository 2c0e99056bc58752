//! `GET /v1/sandbox/messages[/{id}]`: the built-in inbox.

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail_parser::{Message, MessageParser, MimeHeaders};
use serde_json::{Value, json};

use super::auth::Authed;
use super::page::{Params, PathId, page};
use super::problem::Problem;
use super::{Shared, json as answer};
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::clock::rfc3339;
use crate::domain::id::RecipientId;
use crate::store::mail::sandbox::SandboxEntry;

/// What was delivered to the sandbox, newest first.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let to = params.parsed("to", "an address", |text| Address::parse(text).ok());
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let rows = api.store.list_sandbox(caller.project, to.as_ref().map(Address::as_str), cursor, limit).await?;
    Ok(answer(&page(&rows, limit, show, |entry| entry.id.to_string())))
}

/// One delivered copy: headers, text, HTML, attachments and source.
pub async fn get(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let id = RecipientId::parse(&id).ok_or_else(Problem::not_found)?;
    let (entry, raw) = api.store.find_sandbox(caller.project, id).await?.ok_or_else(Problem::not_found)?;
    let mut body = show(&entry);
    if let Some(message) = MessageParser::default().parse(&raw) {
        body["headers"] = headers(&message);
        body["text"] = json!(message.text_body.first().and_then(|_| message.body_text(0)));
        body["html"] = json!(html(&message));
        body["attachments"] = message.attachments().map(attachment).collect();
    }
    body["source"] = json!(String::from_utf8_lossy(&raw));
    Ok(answer(&body))
}

fn show(entry: &SandboxEntry) -> Value {
    json!({
        "id": entry.id,
        "message_id": entry.message,
        "from": entry.sender,
        "to": entry.recipient,
        "subject": entry.subject,
        "size": entry.size,
        "received_at": rfc3339(entry.received_at),
    })
}

fn headers(message: &Message<'_>) -> Value {
    message.headers_raw().map(|(name, value)| json!({"name": name, "value": value.trim()})).collect()
}

/// The HTML part as it was sent; none is made up from text.
fn html(message: &Message<'_>) -> Option<String> {
    message.html_bodies().find(|part| part.is_text_html()).and_then(|part| part.text_contents()).map(str::to_owned)
}

fn attachment(part: &mail_parser::MessagePart<'_>) -> Value {
    let content_type = part.content_type().map(|kind| match kind.subtype() {
        Some(subtype) => format!("{}/{subtype}", kind.ctype()),
        None => kind.ctype().to_owned(),
    });
    json!({
        "filename": part.attachment_name(),
        "content_type": content_type,
        "content_id": part.content_id(),
        "size": part.contents().len(),
        "content": BASE64.encode(part.contents()),
    })
}
