//! The language of requests: JSON read field by field, every fault put at its pointer, and the body of a send request
//! turned into drafts. Whoever holds such JSON reads it here: a handler, a schedule whose time has come, a user's own
//! transaction. Knows nothing of HTTP, and no rule of mail that `domain::draft` does not have.

mod base64;
mod draft;
pub mod fields;
pub mod found;
pub mod json;
pub mod raw;
pub mod send;
pub mod template;
pub mod write;
