//! Ids of ours as services write theirs: as UUIDs.

use uuid::Uuid;

use super::inner::Refusal;

/// An id of ours as a UUID.
pub fn uuid_of(id: &str) -> String {
    let uuid = id.split_once('_').and_then(|(_, hex)| Uuid::parse_str(hex).ok());
    uuid.map_or_else(|| id.to_owned(), |uuid| uuid.hyphenated().to_string())
}

/// An id of ours with that prefix, from one in either form.
pub fn id_of(prefix: &str, text: &str) -> Result<String, Refusal> {
    let bare = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).unwrap_or(text);
    Uuid::parse_str(bare).map(|uuid| format!("{prefix}_{}", uuid.simple())).map_err(|_| Refusal::not_found())
}
