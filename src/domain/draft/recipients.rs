//! To whom a message goes.

use std::collections::HashMap;
use std::fmt;

use crate::domain::address::{Address, NamedAddress};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::recipient::RecipientKind;

/// At least one recipient, and at most as many as the limit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients {
    to: Vec<NamedAddress>,
    cc: Vec<NamedAddress>,
    bcc: Vec<NamedAddress>,
    /// Where the first of `to` stands in the request's list.
    first: usize,
}

/// One mailbox that a message goes to, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub kind: RecipientKind,
    pub address: Address,
    /// Where the request names it; none for a message that comes with an envelope.
    pub places: Vec<ListPlace>,
}

/// A place in one of the lists of a request, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPlace {
    pub list: RecipientKind,
    pub index: usize,
}

/// As a JSON pointer, such as `/to/0`.
impl fmt::Display for ListPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.list, self.index)
    }
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
        Ok(Self { to, cc, bcc, first: 0 })
    }

    /// One of the addresses of a request that asks for a message of its own for each.
    pub fn only(to: NamedAddress, index: usize) -> Self {
        Self { to: vec![to], cc: Vec::new(), bcc: Vec::new(), first: index }
    }

    pub fn bcc(&self) -> &[NamedAddress] {
        &self.bcc
    }

    pub fn to(&self) -> &[NamedAddress] {
        &self.to
    }

    pub fn cc(&self) -> &[NamedAddress] {
        &self.cc
    }

    /// Every mailbox once, in order of to, cc, bcc: what is named again, in letters of either case, is sent once.
    pub fn distinct(&self) -> Vec<Recipient> {
        let mut distinct: Vec<Recipient> = Vec::with_capacity(self.to.len() + self.cc.len() + self.bcc.len());
        let mut known = HashMap::new();
        for (list, named) in
            [(RecipientKind::To, &self.to), (RecipientKind::Cc, &self.cc), (RecipientKind::Bcc, &self.bcc)]
        {
            for (index, named) in named.iter().enumerate() {
                let at = *known.entry(named.address.folded()).or_insert(distinct.len());
                if at == distinct.len() {
                    distinct.push(Recipient { kind: list, address: named.address.clone(), places: Vec::new() });
                }
                let index = if list == RecipientKind::To { self.first + index } else { index };
                distinct[at].places.push(ListPlace { list, index });
            }
        }
        distinct
    }
}
