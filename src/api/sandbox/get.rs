//! `GET /v1/sandbox/messages/{id}`

use std::borrow::Cow;

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail_parser::parsers::MessageStream;
use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders};
use serde::Serialize;

use super::list::EntryView;
use crate::api::answer::SetAside;
use crate::api::auth::Authed;
use crate::api::body::LARGE;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::compose::Findings;
use crate::domain::access::Scope;
use crate::domain::id::RecipientId;
use crate::domain::nesting::bounded;

/// The schema `SandboxMessageContent`.
#[derive(Serialize)]
struct ContentView<'m> {
    #[serde(flatten)]
    entry: EntryView<'m>,
    /// Not there when the source cannot be taken apart.
    #[serde(flatten)]
    parts: Option<PartsView<'m>>,
    source: Cow<'m, str>,
}

#[derive(Serialize)]
struct PartsView<'m> {
    headers: Vec<HeaderView<'m>>,
    text: Option<Cow<'m, str>>,
    html: Option<&'m str>,
    attachments: Vec<AttachmentView<'m>>,
    codes: Vec<String>,
    links: Vec<String>,
}

/// The schema `SandboxHeader`.
#[derive(Serialize)]
struct HeaderView<'m> {
    name: &'m str,
    value: &'m str,
    /// The value unfolded, its encoded-words decoded (RFC 2047).
    decoded: String,
}

/// The schema `SandboxAttachment`.
#[derive(Serialize)]
struct AttachmentView<'m> {
    filename: Option<&'m str>,
    content_type: Option<String>,
    content_id: Option<&'m str>,
    size: usize,
    content: String,
}

/// One delivered copy: headers, text, HTML, attachments and source.
pub async fn get(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let id = RecipientId::parse(&id).ok_or_else(Problem::not_found)?;
    let size = api.store.measure_sandbox(caller.project, id).await?.ok_or_else(Problem::not_found)?;
    // The source and what is in it, each once.
    let set_aside = SetAside::for_answer(&api, &caller, size * 5 / 2)?;
    // Several times as much while it is made.
    let _turn = if size > LARGE { api.making.acquire().await.ok() } else { None };
    let (entry, raw) =
        api.store.find_sandbox(caller.project, caller.sees_only(), id).await?.ok_or_else(Problem::not_found)?;
    let message = MessageParser::default().parse(bounded(&raw));
    Ok(set_aside.carried_by(ok_json(&ContentView {
        entry: EntryView::of(&entry),
        parts: message.as_ref().map(PartsView::of),
        source: String::from_utf8_lossy(&raw),
    })))
}

impl<'m> PartsView<'m> {
    fn of(message: &'m Message<'m>) -> Self {
        let Findings { codes, links } =
            Findings::of(message.subject().unwrap_or_default(), own_text(message), html(message));
        Self {
            headers: message.headers_raw().map(|(name, value)| HeaderView::of(name, value)).collect(),
            text: message.text_body.first().and_then(|_| message.body_text(0)),
            html: html(message),
            attachments: message.attachments().map(AttachmentView::of).collect(),
            codes,
            links,
        }
    }
}

impl<'m> HeaderView<'m> {
    fn of(name: &'m str, value: &'m str) -> Self {
        let field = format!("{value}\n");
        let decoded = MessageStream::new(field.as_bytes()).parse_unstructured().into_text().unwrap_or_default();
        Self { name, value: value.trim(), decoded: decoded.into_owned() }
    }
}

/// The text part as it was sent; none is made from HTML.
fn own_text<'m>(message: &'m Message<'m>) -> Option<&'m str> {
    message.text_bodies().find(|part| part.is_text() && !part.is_text_html()).and_then(|part| part.text_contents())
}

/// The HTML part as it was sent; none is made up from text.
fn html<'m>(message: &'m Message<'m>) -> Option<&'m str> {
    message.html_bodies().find(|part| part.is_text_html()).and_then(|part| part.text_contents())
}

impl<'m> AttachmentView<'m> {
    fn of(part: &'m MessagePart<'m>) -> Self {
        let content_type = part.content_type().map(|kind| match kind.subtype() {
            Some(subtype) => format!("{}/{subtype}", kind.ctype()),
            None => kind.ctype().to_owned(),
        });
        Self {
            filename: part.attachment_name(),
            content_type,
            content_id: part.content_id(),
            size: part.contents().len(),
            content: BASE64.encode(part.contents()),
        }
    }
}
