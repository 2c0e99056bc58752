//! The lists of other services, and our own: read into suppressions, written from them. Pure: bytes, the rules of replies
//! and an instant come in.
//!
//! Two ways lead in: [`read`] makes records of CSV or JSON, whichever names its fields have, and [`entries`] makes of a record
//! what its service meant by it. What a service has on a list because of its sender or of a moment is no suppression of the
//! address: it is left out, and says so.

mod cell;
mod export;
mod judged;
mod read;
mod vendors;

pub use export::Export;
pub use read::{Record, read};

use crate::classify::Classifier;
use crate::domain::clock::Timestamp;
use crate::domain::suppression::{Evidence, ListFormat, SuppressionReason, SuppressionScope};

/// What an import knows beside the list.
pub struct Context<'c> {
    /// As whose list it is read.
    pub format: ListFormat,
    /// The reason of entries that do not say one.
    pub reason: Option<SuppressionReason>,
    pub classifier: &'c Classifier,
    pub now: Timestamp,
}

/// A suppression as a list names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// In lower case, domain as A-labels.
    pub address: String,
    pub scope: SuppressionScope,
    pub reason: SuppressionReason,
    pub class: Option<String>,
    pub evidence: Evidence,
    pub note: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// Why an entry of a list is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// It is understood, and is no suppression of the address.
    Skipped(String),
    /// It is wrong.
    Refused(String),
}

/// What an entry of a list means: one suppression, or one for each of its tags.
pub fn entries(record: &read::Record, context: &Context<'_>) -> Result<Vec<Listed>, Left> {
    let listed = vendors::listed(record, context)?;
    match listed.iter().find_map(|entry| entry.expires_at.filter(|at| *at <= context.now)) {
        Some(at) => Err(Left::Skipped(format!("it expired on {}", at.date()))),
        None => Ok(listed),
    }
}

/// Whether a field of our own lists has that name, in lower case without signs.
pub fn is_ours(name: &str) -> bool {
    vendors::OURS.contains(&name)
}

#[cfg(test)]
mod tests;
