//! To whom a message goes.

use std::collections::HashSet;

use crate::domain::address::{Address, NamedAddress};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::recipient::RecipientKind;

/// At least one recipient, and at most as many as the limit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients {
    to: Vec<NamedAddress>,
    cc: Vec<NamedAddress>,
    bcc: Vec<NamedAddress>,
}

/// One address of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub kind: RecipientKind,
    pub address: Address,
}

impl Recipients {
    /// `most` bounds all lists together.
    pub fn new(
        to: Vec<NamedAddress>,
        cc: Vec<NamedAddress>,
        bcc: Vec<NamedAddress>,
        most: usize,
    ) -> Result<Self, Flaw> {
        let count = to.len() + cc.len() + bcc.len();
        if count == 0 {
            let detail = "at least one of to, cc and bcc must name a recipient";
            return Err(Flaw::new(FaultCode::Required, detail));
        }
        if count > most {
            return Err(Flaw::new(FaultCode::TooManyRecipients, format!("{count} recipients; the limit is {most}")));
        }
        Ok(Self { to, cc, bcc })
    }

    pub fn to(&self) -> &[NamedAddress] {
        &self.to
    }

    pub fn cc(&self) -> &[NamedAddress] {
        &self.cc
    }

    /// Every address once, in order of to, cc, bcc: a duplicate is sent once.
    pub fn distinct(&self) -> Vec<Recipient> {
        let mut seen = HashSet::new();
        [(RecipientKind::To, &self.to), (RecipientKind::Cc, &self.cc), (RecipientKind::Bcc, &self.bcc)]
            .into_iter()
            .flat_map(|(kind, list)| list.iter().map(move |named| Recipient { kind, address: named.address.clone() }))
            .filter(|recipient| seen.insert(recipient.address.clone()))
            .collect()
    }
}
