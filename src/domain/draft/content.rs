//! What a message is made of, whatever dialect asked for it.

use super::{Draft, Options, RawDraft};
use crate::domain::address::Address;
use crate::domain::reverse_path::ReversePath;

/// What a message is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// To be composed.
    Draft(Box<Draft>),
    /// Composed already.
    Raw(Box<RawDraft>),
}

impl Content {
    /// The author in the header.
    pub fn author(&self) -> &Address {
        match self {
            Self::Draft(draft) => &draft.from().address,
            Self::Raw(raw) => &raw.from().address,
        }
    }

    /// The domains of whoever its header says that sends it, beside the author.
    pub fn sender_domains(&self) -> Vec<&str> {
        let senders = match self {
            // What is composed here names none.
            Self::Draft(_) => &[][..],
            Self::Raw(raw) => &raw.parts().senders,
        };
        senders.iter().map(Address::domain).filter(|domain| *domain != self.author().domain()).collect()
    }

    /// The domain that it asks for notices of non-delivery in.
    pub fn return_path_domain(&self) -> Option<&str> {
        match self {
            Self::Draft(draft) => draft.return_path().map(|path| path.address().domain()),
            Self::Raw(raw) => match raw.reverse_path()? {
                ReversePath::Address(address) => Some(address.domain()),
                ReversePath::Null => None,
            },
        }
    }

    /// The mailboxes that it goes to.
    pub fn recipients(&self) -> Vec<Address> {
        match self {
            Self::Draft(draft) => {
                draft.recipients().distinct().into_iter().map(|recipient| recipient.address).collect()
            }
            Self::Raw(raw) => raw.parts().recipients.iter().map(|recipient| recipient.address.clone()).collect(),
        }
    }

    /// To how many mailboxes it goes.
    pub fn recipient_count(&self) -> usize {
        match self {
            Self::Draft(draft) => draft.recipients().distinct().len(),
            Self::Raw(raw) => raw.recipient_count(),
        }
    }

    pub fn options(&self) -> &Options {
        match self {
            Self::Draft(draft) => draft.options(),
            Self::Raw(raw) => raw.options(),
        }
    }

    pub fn options_mut(&mut self) -> &mut Options {
        match self {
            Self::Draft(draft) => draft.options_mut(),
            Self::Raw(raw) => raw.options_mut(),
        }
    }

    /// Bytes of its texts and files, before any encoding.
    pub fn weight(&self) -> usize {
        match self {
            Self::Draft(draft) => draft.weight(),
            Self::Raw(raw) => raw.bytes().len(),
        }
    }
}
