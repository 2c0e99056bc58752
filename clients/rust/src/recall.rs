//! Messages that are asked back, sent at another time, or tried at once.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Client;
use crate::client::{Content, Repeat, escaped};
use crate::error::Error;
use crate::message::{MessageStatus, Page, RecipientStatus, words};

/// What became of a wish, recipient by recipient.
#[derive(Debug, Clone, Deserialize)]
pub struct Recalled {
    /// Of the message.
    pub id: String,
    pub status: MessageStatus,
    pub send_at: Option<String>,
    pub expires_at: Option<String>,
    pub recipients: Vec<RecalledRecipient>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct RecalledRecipient {
    pub id: String,
    pub email: String,
    pub result: RecallResult,
    pub status: RecipientStatus,
}

words! {
    /// What was done. `TooLate`: nothing; its delivery has ended, also by an earlier wish, or a mail server is being told of it.
    RecallResult { Cancelled, Edited, Retried, TooLate }
}

/// Which messages, by one of the first three.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Selection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// The `next_cursor` of the answer before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

// Doing it twice is doing it once: what a lost answer told is `TooLate` in the next one, with the status that it has now.
impl Client {
    /// Sends nothing more to the recipients whose delivery has not begun.
    pub async fn cancel(&self, id: &str) -> Result<Recalled, Error> {
        self.exchange(&Method::POST, &format!("{}/cancel", at(id)), None, Repeat::Freely).await?.read()
    }

    /// Tries at once what waits for its next try, and sends now what waits for its time.
    pub async fn retry(&self, id: &str) -> Result<Recalled, Error> {
        self.exchange(&Method::POST, &format!("{}/retry", at(id)), None, Repeat::Freely).await?.read()
    }

    /// Sends a message at another time (RFC 3339), as far as it has not begun.
    pub async fn reschedule(&self, id: &str, send_at: &str) -> Result<Recalled, Error> {
        let content = Content::json(&json!({ "send_at": send_at }))?;
        self.exchange(&Method::PATCH, &at(id), Some(content), Repeat::Freely).await?.read()
    }

    /// [`Client::cancel`] for up to 100 messages; the next ones by the answer's `next_cursor`.
    pub async fn cancel_many(&self, selection: &Selection) -> Result<Page<Recalled>, Error> {
        let content = Content::json(selection)?;
        self.exchange(&Method::POST, "/v1/messages/cancel", Some(content), Repeat::Freely).await?.read()
    }

    /// [`Client::retry`] for up to 100 messages; the next ones by the answer's `next_cursor`.
    pub async fn retry_many(&self, selection: &Selection) -> Result<Page<Recalled>, Error> {
        let content = Content::json(selection)?;
        self.exchange(&Method::POST, "/v1/messages/retry", Some(content), Repeat::Freely).await?.read()
    }
}

fn at(id: &str) -> String {
    format!("/v1/messages/{}", escaped(id))
}
