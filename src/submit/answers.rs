//! What is answered of messages, as they are stored now or were before: the same words either way.

use super::places::Ranks;
use super::{AcceptedItem, AcceptedMessage, AcceptedRecipient};
use crate::domain::message::{NewItem, NewMessage, NewScheduled};
use crate::domain::recipient::{RecipientKind, RecipientStatus};
use crate::store::mail::accepted::StoredAccepted;

/// Of an item that is being stored.
pub fn of_item(item: &NewItem) -> AcceptedItem {
    let messages = item.messages.iter().map(of_message).chain(item.scheduled.iter().map(of_scheduled));
    AcceptedItem { messages: messages.collect(), replayed: false }
}

/// Of messages that were stored before.
pub fn of_stored(messages: Vec<StoredAccepted>) -> AcceptedItem {
    let messages = messages.into_iter().map(|stored| {
        let mut ranks = Ranks::default();
        let recipients = stored.recipients.into_iter().map(|recipient| AcceptedRecipient {
            id: recipient.id,
            address: recipient.address,
            pointers: ranks.pointers(recipient.kind, recipient.places.as_deref()),
            status: if stored.send_at.is_some() { RecipientStatus::Scheduled } else { recipient.status },
        });
        AcceptedMessage {
            id: stored.id,
            created_at: stored.created_at,
            // As it was asked for: it may have been changed since, and the id has not.
            send_at: stored.send_at.map(|_| stored.id.made_at()),
            recipients: recipients.collect(),
        }
    });
    AcceptedItem { messages: messages.collect(), replayed: true }
}

fn of_message(message: &NewMessage) -> AcceptedMessage {
    let mut ranks = Ranks::default();
    let recipients = message.recipients.iter().map(|recipient| AcceptedRecipient {
        id: recipient.id,
        pointers: ranks.pointers(recipient.kind, recipient.places.as_deref()),
        address: recipient.address.to_string(),
        status: recipient.status,
    });
    let recipients = recipients.collect();
    AcceptedMessage { id: message.id, created_at: message.created_at, send_at: None, recipients }
}

fn of_scheduled(scheduled: &NewScheduled) -> AcceptedMessage {
    let mut ranks = Ranks::default();
    let recipients = scheduled.summary.recipients.iter().map(|recipient| AcceptedRecipient {
        id: recipient.id,
        pointers: ranks
            .pointers(RecipientKind::parse(&recipient.kind).unwrap_or(RecipientKind::To), recipient.places.as_deref()),
        address: recipient.email.clone(),
        status: RecipientStatus::Scheduled,
    });
    AcceptedMessage {
        id: scheduled.id,
        created_at: scheduled.created_at,
        send_at: Some(scheduled.send_at),
        recipients: recipients.collect(),
    }
}
