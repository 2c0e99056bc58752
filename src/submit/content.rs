//! From what was asked for to the bytes that go on the wire: composed if need be, signed, and within the limit.

use std::sync::Arc;

use super::WriteError;
use super::signing::{Keys, Signing};
use super::submission::Refusal;
use crate::compose::links::Links;
use crate::compose::{Stamp, compose, dkim};
use crate::domain::address::Address;
use crate::domain::clock::Timestamp;
use crate::domain::draft::{Content, Options, Place, Recipient};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::MessageId;
use crate::domain::message::made_message_id;
use crate::domain::reverse_path::ReversePath;

/// From this size on a message is composed and signed off the async threads; with a slow key, always.
const LARGE: usize = 128 << 10;

/// A message whose bytes are final.
pub struct Final {
    pub sender: Address,
    pub author: String,
    /// The caller's own.
    pub message_id: Option<String>,
    pub subject: String,
    /// `None`: reports of failure go to the sender.
    pub reverse_path: Option<ReversePath>,
    pub recipients: Vec<Recipient>,
    pub options: Options,
    pub raw: Arc<Vec<u8>>,
}

/// What is written into a message beside its content.
pub struct Stamping {
    pub id: MessageId,
    pub now: Timestamp,
    pub links: Option<Links>,
}

/// A message that was refused, or could not be made.
pub enum NotMade {
    Refused(Refusal),
    Failed(WriteError),
}

impl From<WriteError> for NotMade {
    fn from(error: WriteError) -> Self {
        Self::Failed(error)
    }
}

/// Composes what is to be composed, and signs: what this returns is what is stored, and what is stored goes on the wire.
pub async fn finish(
    content: Content,
    signing: &Signing,
    keys: Keys,
    stamp: Stamping,
    limit: usize,
) -> Result<Final, NotMade> {
    let weight = content.weight();
    let blocks = weight > LARGE || keys.iter().any(|key| key.is_slow());
    let place = match &content {
        Content::Draft(draft) => draft.heaviest(),
        Content::Raw(_) => Place::Raw,
    };
    let write = move || write(content, &keys, stamp);
    let made = if blocks { signing.off_thread(write).await?? } else { write()? };
    if made.raw.len() > limit {
        let detail = format!("the composed message has {} bytes; the limit is {limit}", made.raw.len());
        return Err(NotMade::Refused(Refusal::Unacceptable(place, Flaw::new(FaultCode::MessageTooLarge, detail))));
    }
    Ok(made)
}

fn write(content: Content, keys: &Keys, stamp: Stamping) -> Result<Final, WriteError> {
    let Stamping { id, now, links } = stamp;
    let failed = |error: &dyn std::fmt::Display| WriteError::Failed(error.to_string());
    match content {
        Content::Draft(draft) => {
            let from = draft.from();
            let own = draft.message_id().map(|own| own.as_str().to_owned());
            let message_id = own.clone().unwrap_or_else(|| made_message_id(id, from.address.domain()));
            let stamp = Stamp { message_id, date: now, boundary: id.uuid().simple().to_string(), links };
            // A draft that exists composes: what fails here is a defect.
            let raw = compose(&draft, &stamp).map_err(|error| failed(&error))?;
            Ok(Final {
                sender: from.address.clone(),
                author: from.to_string(),
                message_id: own,
                subject: draft.subject().as_str().to_owned(),
                reverse_path: draft.return_path().map(|path| ReversePath::Address(path.address().clone())),
                recipients: draft.recipients().distinct(),
                options: draft.options().clone(),
                raw: Arc::new(dkim::sign(raw, keys, now).map_err(|error| failed(&error))?),
            })
        }
        Content::Raw(raw) => {
            let parts = raw.into_parts();
            let bytes = Arc::try_unwrap(parts.bytes).unwrap_or_else(|shared| (*shared).clone());
            Ok(Final {
                sender: parts.from.address.clone(),
                author: parts.from.to_string(),
                message_id: parts.message_id,
                subject: parts.subject,
                reverse_path: parts.reverse_path,
                recipients: parts.recipients,
                options: parts.options,
                raw: Arc::new(dkim::sign(bytes, keys, now).map_err(|error| failed(&error))?),
            })
        }
    }
}
