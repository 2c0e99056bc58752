//! What is sent: the request of `POST /v1/send`, made field by field.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::{Map, Value};

/// A message to be sent. An address is `a@b.c` or `Name <a@b.c>`.
#[derive(Debug, Clone, Default, Serialize)]
#[must_use = "it is sent by `Client::send`"]
pub struct Email {
    from: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cc: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bcc: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reply_to: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    per_recipient: Vec<OwnParts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Email {
    /// To one recipient; [`Email::to`], [`Email::cc`] and [`Email::bcc`] add further ones.
    pub fn new(from: impl Into<String>, to: impl Into<String>, subject: impl Into<String>) -> Self {
        Self { from: from.into(), to: vec![to.into()], subject: Some(subject.into()), ..Self::default() }
    }

    /// A whole message (RFC 5322) of yours, sent byte for byte. `from` is its author; it goes to `to`, whatever its header says.
    pub fn raw(from: impl Into<String>, to: impl Into<String>, message: impl AsRef<[u8]>) -> Self {
        Self { from: from.into(), to: vec![to.into()], raw: Some(BASE64.encode(message)), ..Self::default() }
    }

    pub fn to(mut self, address: impl Into<String>) -> Self {
        self.to.push(address.into());
        self
    }

    pub fn cc(mut self, address: impl Into<String>) -> Self {
        self.cc.push(address.into());
        self
    }

    pub fn bcc(mut self, address: impl Into<String>) -> Self {
        self.bcc.push(address.into());
        self
    }

    pub fn reply_to(mut self, address: impl Into<String>) -> Self {
        self.reply_to.push(address.into());
        self
    }

    /// The text part. It is made from the HTML when there is none.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    pub fn html(mut self, html: impl Into<String>) -> Self {
        self.html = Some(html.into());
        self
    }

    pub fn attach(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// A header field of your own.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// A label to find and to count messages by.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Yours: shown with the message and in webhooks.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// How long it is tried; to the second.
    pub fn ttl(mut self, span: Duration) -> Self {
        self.ttl_seconds = Some(span.as_secs());
        self
    }

    /// When it is sent, in RFC 3339, such as `2026-12-01T08:00:00Z`. Until then it may be cancelled and rescheduled.
    pub fn send_at(mut self, instant: impl Into<String>) -> Self {
        self.send_at = Some(instant.into());
        self
    }

    /// A message of its own for each address in `to`, which sees only itself; `parts` has as many members as `to`, in order.
    pub fn per_recipient(mut self, parts: impl IntoIterator<Item = OwnParts>) -> Self {
        self.per_recipient = parts.into_iter().collect();
        self
    }

    /// A key of yours for a message of a batch, as [`Client::send_once`](crate::Client::send_once) takes it for a single one.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Any other field of `SendRequest` in `openapi.yaml`.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.others.insert(name.into(), value.into());
        self
    }
}

/// What one recipient of an email has for itself, beside what all have.
#[derive(Debug, Clone, Default, Serialize)]
#[must_use = "it is a part of an email"]
pub struct OwnParts {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

impl OwnParts {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }
}

/// A file of a message.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Attachment {
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<String>,
}

impl Attachment {
    /// Its type is read from the ending of `filename`.
    pub fn new(filename: impl Into<String>, content: impl AsRef<[u8]>) -> Self {
        Self { filename: Some(filename.into()), content: Some(BASE64.encode(content)), ..Self::default() }
    }

    /// What [`Client::upload`](crate::Client::upload) has put there, by its id.
    pub fn uploaded(id: impl Into<String>) -> Self {
        Self { upload_id: Some(id.into()), ..Self::default() }
    }

    /// Of another media type.
    #[must_use]
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.content_type = Some(media_type.into());
        self
    }

    /// Inline: the HTML shows it by `cid:` and this id.
    #[must_use]
    pub fn inline(mut self, id: impl Into<String>) -> Self {
        self.content_id = Some(id.into());
        self
    }
}

/// `High` is for codes that a person is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    High,
    Normal,
    Low,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_given_is_not_sent() {
        let email = Email::new("a@example.com", "b@example.net", "Hello").text("It works.");
        let wanted = json!({"from": "a@example.com", "to": ["b@example.net"], "subject": "Hello", "text": "It works."});
        assert_eq!(serde_json::to_value(&email).unwrap(), wanted);
    }

    #[test]
    fn a_message_of_ones_own_has_no_subject_beside_it() {
        let email = Email::raw("a@example.com", "b@example.net", b"From: a@example.com\r\n");
        let wanted = json!({"from": "a@example.com", "to": ["b@example.net"], "raw": "RnJvbTogYUBleGFtcGxlLmNvbQ0K"});
        assert_eq!(serde_json::to_value(&email).unwrap(), wanted);
    }

    #[test]
    fn a_field_that_has_no_function_is_sent_by_its_name() {
        let email = Email::new("a@example.com", "b@example.net", "Hello").field("auto_replies", "suppress");
        assert_eq!(serde_json::to_value(&email).unwrap()["auto_replies"], "suppress");
    }
}
