//! The reverse path: where a next hop sends word of what it could not deliver (RFC 5321 §3.3, §4.1.1.2).

use std::fmt;

use super::address::Address;
use super::id::RecipientId;

/// Where reports of failure go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: none are wanted; for what is itself a report (RFC 5321 §4.5.5).
    Null,
    Address(Address),
    /// An address of its own for each recipient in that domain, so that a report names whom it is about.
    Verp {
        domain: String,
    },
}

impl ReversePath {
    /// The path of one recipient, as MAIL says it.
    #[must_use]
    pub fn for_recipient(&self, recipient: RecipientId) -> Self {
        match self {
            Self::Verp { domain } => {
                let text = format!("bounce+{}@{domain}", recipient.uuid().simple());
                // A domain that was parsed makes an address that parses.
                Address::parse(&text).map_or(Self::Null, Self::Address)
            }
            other => other.clone(),
        }
    }

    /// The column's value: the address, or nothing between no brackets.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Address(address) => address.as_str(),
            Self::Null | Self::Verp { .. } => "",
        }
    }

    /// The path that `text` writes; `None` when it is neither empty nor an address.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() { Some(Self::Null) } else { Address::parse(text).ok().map(Self::Address) }
    }

    /// Whether it can be said only under SMTPUTF8 (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        matches!(self, Self::Address(address) if address.needs_smtputf8())
    }
}

/// As it stands between the angle brackets of MAIL.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_recipient_has_a_path_of_its_own_under_verp() {
        let verp = ReversePath::Verp { domain: "bounces.example.org".to_owned() };
        let of = |n| verp.for_recipient(RecipientId::from_uuid(Uuid::from_u128(n))).to_string();
        assert_eq!(of(1), "bounce+00000000000000000000000000000001@bounces.example.org");
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn a_path_survives_its_column() {
        let address = ReversePath::Address(Address::parse("a@b.example").unwrap());
        for path in [ReversePath::Null, address] {
            assert_eq!(ReversePath::parse(path.as_str()), Some(path));
        }
        assert_eq!(ReversePath::parse("x"), None);
    }
}
