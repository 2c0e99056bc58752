//! A message as it leaves: its bytes, and what is said before them: who, to whom, how large, and what it needs of the
//! next hop.

use std::sync::Arc;

use super::address::Address;
use super::reverse_path::ReversePath;

/// What a delivery puts on the wire.
#[derive(Debug, Clone)]
pub struct Content {
    pub reverse_path: ReversePath,
    pub recipient: Address,
    pub raw: Arc<Vec<u8>>,
}

/// One transaction's envelope: one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub reverse_path: ReversePath,
    pub recipient: Address,
    /// Bytes of the message.
    pub size: usize,
    pub needs: Needs,
    /// ENVID of RFC 3461: the message's id, so that a later report names it.
    pub id: String,
}

/// What a message needs of the next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// An address or a header beyond ASCII: SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// A body beyond ASCII: 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
}

impl Needs {
    /// What the bytes and the addresses need.
    pub fn of(reverse_path: &ReversePath, recipient: &Address, raw: &[u8]) -> Self {
        let addresses = reverse_path.needs_smtputf8() || recipient.needs_smtputf8();
        if raw.is_ascii() {
            return Self { smtputf8: addresses, ..Self::default() };
        }
        let end = memchr::memmem::find(raw, b"\r\n\r\n").unwrap_or(raw.len());
        let (head, body) = raw.split_at(end);
        Self { smtputf8: addresses || !head.is_ascii(), eight_bit: !body.is_ascii(), require_tls: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_follow_from_where_the_bytes_beyond_ascii_stand() {
        let plain = Address::parse("a@b.example").unwrap();
        let utf8 = Address::parse("é@b.example").unwrap();
        let needs = |sender: &Address, raw: &str| {
            let needs = Needs::of(&ReversePath::Address(sender.clone()), &plain, raw.as_bytes());
            (needs.smtputf8, needs.eight_bit)
        };
        assert_eq!(needs(&plain, "A: b\r\n\r\nc"), (false, false));
        assert_eq!(needs(&plain, "A: b\r\n\r\né"), (false, true));
        assert_eq!(needs(&plain, "A: é\r\n\r\nc"), (true, false));
        assert_eq!(needs(&utf8, "A: b\r\n\r\nc"), (true, false));
    }
}
