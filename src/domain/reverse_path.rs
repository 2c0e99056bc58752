//! The reverse path: where a next hop sends word of what it could not deliver (RFC 5321 §3.3, §4.1.1.2).

use std::fmt;

use super::address::Address;

/// Where reports of failure go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: none are wanted; for what is itself a report (RFC 5321 §4.5.5).
    Null,
    Address(Address),
}

impl ReversePath {
    /// The column's value: the address, or nothing between no brackets.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Address(address) => address.as_str(),
            Self::Null => "",
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
    use super::*;

    #[test]
    fn a_path_survives_its_column() {
        let address = ReversePath::Address(Address::parse("a@b.example").unwrap());
        for path in [ReversePath::Null, address] {
            assert_eq!(ReversePath::parse(path.as_str()), Some(path));
        }
        assert_eq!(ReversePath::parse("x"), None);
    }
}
