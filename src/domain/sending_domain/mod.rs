//! A domain that a project sends from: the records that say so in the DNS, what was seen of them, and the state that
//! follows. A state never falls because nobody answered: only on an answer that was wrong, from several places, for days.

pub mod dmarc;
pub mod export;
pub mod key_record;
pub mod record;
pub mod sighting;
pub mod standing;

pub use record::{Purpose, RecordType, WantedRecord};
pub use sighting::{Finding, Sighting, Told, Vantage};
pub use standing::{RecordCheck, Standing};

use super::words::words;

/// What stands before a domain in the name of the host of its links, unless it is asked for otherwise.
pub const LINK_LABEL: &str = "links";
/// What stands before a domain in the name of its return path, unless it is asked for otherwise.
pub const RETURN_PATH_LABEL: &str = "bounce";

words! {
    /// Whether a project has proved that it may send from the domain.
    pub enum DomainState {
        /// Not proved yet.
        Pending = "pending",
        /// Its keys were seen.
        Verified = "verified",
        /// They were, and now something else is there. Mail goes on.
        Warning = "warning",
        /// That lasted: mail of projects that must send from verified domains is refused.
        Failed = "failed",
    }
}

impl DomainState {
    /// Whether mail may be sent from it where a proof is asked for.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Verified | Self::Warning)
    }
}

words! {
    /// Which of the three places a key stands in.
    pub enum KeySlot {
        /// It signs when its record was seen.
        Pending = "pending",
        Signing = "signing",
        /// It signs no more; what it signed is on its way.
        Retired = "retired",
    }
}
