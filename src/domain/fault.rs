//! What is wrong with a request: where, by which stable code, and in words.

use serde::Serialize;

/// One fault of a request body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// A JSON pointer (RFC 6901) to the place.
    pub pointer: String,
    /// A stable word that programs may match on.
    pub code: &'static str,
    /// A sentence for a person: what is wrong, and what would be right.
    pub detail: String,
}

impl Fault {
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}
