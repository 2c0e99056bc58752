//! Many messages in one request.

use hyper::Method;
use serde::{Deserialize, Deserializer, Serialize};

use crate::client::{Content, Repeat};
use crate::error::{Error, Problem};
use crate::message::Accepted;
use crate::retry::fresh_key;
use crate::{Client, Email};

/// What becomes of a batch in which a message is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchMode {
    /// Nothing is sent; the error lists the faults of all messages.
    Strict,
    /// The others are sent.
    Permissive,
}

/// The answer to a batch.
#[derive(Debug, Clone, Deserialize)]
pub struct Batch {
    /// By which its messages are found and cancelled; none when none was taken.
    pub batch_id: Option<String>,
    /// What became of each message, in order.
    #[serde(deserialize_with = "results")]
    pub results: Vec<Result<Accepted, Problem>>,
    /// It is the answer to an earlier request with the same idempotency key; nothing was sent anew.
    #[serde(skip)]
    pub replayed: bool,
}

impl Client {
    /// Sends up to 1,000 messages at once, and each once, however often it must be tried.
    pub async fn send_batch(&self, mode: BatchMode, emails: &[Email]) -> Result<Batch, Error> {
        self.send_batch_once(&fresh_key(), mode, emails).await
    }

    /// The same under a key of yours for the batch as a whole: see [`Client::send_once`]. A message may have one of its own beside
    /// it: see [`Email::idempotency_key`].
    pub async fn send_batch_once(&self, key: &str, mode: BatchMode, emails: &[Email]) -> Result<Batch, Error> {
        let content = Content::json(&Request { mode, messages: emails })?;
        let answer = self.exchange(&Method::POST, "/v1/send/batch", Some(content), Repeat::Under(key)).await?;
        let mut batch: Batch = answer.read()?;
        batch.replayed = answer.is_replayed();
        Ok(batch)
    }
}

#[derive(Serialize)]
struct Request<'e> {
    mode: BatchMode,
    messages: &'e [Email],
}

fn results<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Result<Accepted, Problem>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Item {
        Refused { error: Problem },
        Accepted(Accepted),
    }
    let items = Vec::<Item>::deserialize(from)?.into_iter().map(|item| match item {
        Item::Accepted(accepted) => Ok(accepted),
        Item::Refused { error } => Err(error),
    });
    Ok(items.collect())
}
