//! What is read: messages, their recipients and their events, as `openapi.yaml` describes them. Instants are texts of RFC 3339 in UTC.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The answer to a send: the message is stored durably.
#[derive(Debug, Clone, Deserialize)]
pub struct Accepted {
    pub id: String,
    pub status: MessageStatus,
    pub created_at: String,
    /// When it is sent, if that is later.
    pub send_at: Option<String>,
    pub recipients: Vec<AcceptedRecipient>,
    /// It is the answer to an earlier request with the same idempotency key; nothing was sent anew.
    #[serde(default)]
    pub replayed: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct AcceptedRecipient {
    pub id: String,
    /// The recipient's own message, of an email with [`Email::per_recipient`](crate::Email::per_recipient).
    pub message_id: Option<String>,
    pub email: String,
    pub status: RecipientStatus,
}

/// What a send would have done.
#[derive(Debug, Clone, Deserialize)]
pub struct Rehearsal {
    pub status: MessageStatus,
    pub recipients: Vec<AcceptedRecipient>,
    pub messages: Vec<RehearsedMessage>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct RehearsedMessage {
    pub from: String,
    pub subject: String,
    /// Bytes as they would go on the wire.
    pub size: u64,
    pub expires_at: Option<String>,
    /// What its recipients would wait for: domains, or `smarthost`, or `sandbox`.
    pub next_hops: Vec<String>,
    /// The first 256 KiB of the composed message.
    pub raw: String,
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Page<T> {
    pub data: Vec<T>,
    /// The `cursor` of the next page; none on the last one.
    pub next_cursor: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    pub id: String,
    pub status: MessageStatus,
    pub mode: Mode,
    pub created_at: String,
    /// What stands in the field `Message-ID`.
    pub message_id: String,
    pub from: String,
    pub subject: String,
    pub tags: Vec<String>,
    pub metadata: BTreeMap<String, String>,
    /// Bytes of the composed message.
    pub size: u64,
    pub expires_at: Option<String>,
    /// When it is sent, or was, if it was scheduled.
    pub send_at: Option<String>,
    pub batch_id: Option<String>,
    /// The key that it was sent with.
    pub idempotency_key: Option<String>,
    pub counts: Counts,
    /// In a list only the first five, without their attempts and replies.
    #[serde(default)]
    pub recipients: Vec<Recipient>,
}

impl Message {
    /// Whether the status of every recipient is final.
    pub fn is_settled(&self) -> bool {
        let Counts { scheduled, queued, sending, deferred, .. } = self.counts;
        scheduled + queued + sending + deferred == 0
    }
}

/// How many recipients are in each state.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Counts {
    pub scheduled: u64,
    pub queued: u64,
    pub sending: u64,
    pub deferred: u64,
    pub delivered: u64,
    pub bounced: u64,
    pub expired: u64,
    pub suppressed: u64,
    pub cancelled: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Recipient {
    pub id: String,
    pub email: String,
    pub kind: RecipientKind,
    pub status: RecipientStatus,
    /// Tries begun so far.
    #[serde(default)]
    pub attempts: u64,
    pub settled_at: Option<String>,
    pub next_attempt_at: Option<String>,
    pub last_reply: Option<Reply>,
}

/// What the receiving server said, or in words why nothing was heard.
#[derive(Debug, Clone, Deserialize)]
pub struct Reply {
    pub code: Option<u16>,
    pub enhanced: Option<String>,
    pub text: Option<String>,
    pub host: Option<String>,
    /// A stable word for the cause.
    pub class: Option<String>,
}

/// What happened to a recipient.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    pub id: String,
    /// Such as `message.delivered`.
    #[serde(rename = "type")]
    pub kind: String,
    pub occurred_at: String,
    pub recipient_id: String,
    pub email: String,
    /// Orders the events of one recipient.
    pub sequence: u64,
    pub attempt: Option<u64>,
    pub reply: Option<Reply>,
}

/// Limits of requests; those that no field names are in `openapi.yaml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Limits {
    pub body_bytes: u64,
    pub message_bytes: u64,
    /// Of one message.
    pub recipients: u64,
    /// Messages of one batch.
    pub batch: u64,
    pub upload_bytes: u64,
    /// Days ahead for which a message may be scheduled.
    pub schedule_days: u64,
    /// What is used of the limits over time, of the project and of the key.
    pub usage: Vec<Usage>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Usage {
    /// `project` or `key`.
    pub subject: String,
    /// Such as `recipients_per_day`.
    pub quota: String,
    pub limit: u64,
    /// None for a limit by the second.
    pub used: Option<u64>,
    pub resets_at: Option<String>,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($word:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum $name {
            $($word,)*
            /// A word that this version does not know.
            #[serde(other)]
            Unknown,
        }
    )*};
}

pub(crate) use words;

words! {
    /// Derived from the recipients' states.
    MessageStatus { Scheduled, Queued, Sending, Delivered, PartiallyDelivered, Failed, Cancelled }
    /// `Delivered`: the receiving server took responsibility.
    RecipientStatus { Scheduled, Queued, Sending, Deferred, Delivered, Bounced, Expired, Suppressed, Cancelled }
    /// Which list of the request named the recipient.
    RecipientKind { To, Cc, Bcc }
    /// Mode of the credential that sent the message.
    Mode { Live, Test }
}
