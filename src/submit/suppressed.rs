//! Recipients that a project sends nothing more to: they are accepted as `suppressed`, and no delivery is owed to them.
//! Looked up before the accepting transaction, all recipients of a request together.

use std::collections::HashMap;

use super::Door;
use super::writer::WriteError;
use crate::domain::access::{Caller, Mode};
use crate::domain::draft::{Stream, Tag};
use crate::domain::message::NewMessage;
use crate::domain::recipient::RecipientStatus;
use crate::domain::script::Script;
use crate::domain::suppression::{Suppressed, Suppression, domain_form};

/// Marks recipients of test mail whose address says that it is suppressed.
fn mark_by_name(caller: &Caller, messages: &mut [&mut NewMessage]) -> u64 {
    if caller.mode != Mode::Test {
        return 0;
    }
    let mut marked = 0;
    for message in messages {
        let since = message.created_at;
        for recipient in message.recipients.iter_mut().filter(|recipient| Script::is_suppressed(&recipient.address)) {
            recipient.status = RecipientStatus::Suppressed;
            recipient.suppressed = Some(Suppressed::by_name(recipient.id, since));
            marked += 1;
        }
    }
    marked
}

impl Door {
    /// Marks the recipients that are suppressed, and returns their number. A store that does not answer is not a no.
    pub(super) async fn mark_suppressed(
        &self,
        caller: &Caller,
        mut messages: Vec<&mut NewMessage>,
    ) -> Result<u64, WriteError> {
        let mut marked = mark_by_name(caller, &mut messages);
        let suppressions = &self.parts.suppressions;
        let recipients = messages.iter().flat_map(|message| &message.recipients);
        let folded = recipients.map(|recipient| recipient.address.folded());
        let mut asked: Vec<_> =
            folded.filter(|address| !suppressions.has_surely_none(caller.project, address)).collect();
        if asked.is_empty() {
            return Ok(marked);
        }
        asked.sort_unstable();
        asked.dedup();
        // On the heap, as all that is large and seldom.
        let found = Box::pin(suppressions.find(caller.project, Some(caller.mode), &asked)).await;
        let mut by_address: HashMap<String, Vec<Suppression>> = HashMap::new();
        for entry in found.map_err(|error| WriteError::from(&error))? {
            by_address.entry(entry.address.clone()).or_default().push(entry);
        }
        for message in &mut messages {
            let NewMessage { tags, stream, recipients, .. } = &mut **message;
            let stream = stream.as_ref().map(Stream::as_str);
            for recipient in recipients {
                let folded = recipient.address.folded();
                let entries = [domain_form(&folded), folded];
                let entries = entries.iter().filter_map(|form| by_address.get(form)).flatten();
                let covers = |entry: &&Suppression| entry.scope.covers(tags.iter().map(Tag::as_str), stream);
                let weightiest = entries.filter(covers).max_by_key(|entry| entry.reason);
                if let Some(entry) = weightiest {
                    recipient.status = RecipientStatus::Suppressed;
                    recipient.suppressed = Some(entry.verdict());
                    marked += 1;
                }
            }
        }
        Ok(marked)
    }
}
