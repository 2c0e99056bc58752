//! Ids of ours as services write theirs: as UUIDs.

use uuid::Uuid;

use super::inner::Refusal;
pub use crate::webhook::forms::uuid as uuid_of;

/// An id of ours with that prefix, from one in either form.
pub fn id_of(prefix: &str, text: &str) -> Result<String, Refusal> {
    let bare = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).unwrap_or(text);
    Uuid::parse_str(bare).map(|uuid| format!("{prefix}_{}", uuid.simple())).map_err(|_| Refusal::not_found())
}
