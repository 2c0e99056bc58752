//! Envelope senders that say whose a notice is: `bounce+TOKEN@` and the return path's domain. A local part has at most 64 octets, and
//! survives the folding of its case.

use super::token::{Purpose, Ring};
use crate::domain::id::MessageId;

/// What stands before a token.
pub const PREFIX: &str = "bounce+";
/// Letters of a token: 27 octets.
const TOKEN: usize = 44;
/// Octets of a letter that tokens are looked for in.
const LOOKED_AT: usize = 512 << 10;
/// Tokens of one letter that are tried.
const TRIED: usize = 20;
/// A position that names the whole message.
const WHOLE: u16 = u16::MAX;

/// Whose a letter is, by an address that only we can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub message: MessageId,
    /// Of the recipient; `None`: of the message as a whole.
    pub position: Option<u16>,
}

/// The local part that carries a token.
pub fn local_part(ring: &Ring, message: MessageId, position: Option<u16>) -> Option<String> {
    let mut payload = message.uuid().as_bytes().to_vec();
    payload.extend_from_slice(&position.unwrap_or(WHOLE).to_be_bytes());
    Some(format!("{PREFIX}{}", ring.seal(Purpose::ReturnPath, &payload)?))
}

/// What a token says.
pub fn open(text: &str, ring: &Ring) -> Option<Token> {
    let payload = ring.open(Purpose::ReturnPath, text)?;
    let (message, position) = payload.split_first_chunk::<16>()?;
    let position = u16::from_be_bytes(position.try_into().ok()?);
    let message = MessageId::from_uuid(uuid::Uuid::from_bytes(*message));
    Some(Token { message, position: (position != WHOLE).then_some(position) })
}

/// What may be tokens in a letter: servers put the message that they return, or its envelope sender, into what they write.
pub fn tokens_in(raw: &[u8]) -> Vec<String> {
    let raw = &raw[..raw.len().min(LOOKED_AT)];
    let lower = raw.to_ascii_lowercase();
    let mut found: Vec<String> = Vec::new();
    for at in memchr::memmem::find_iter(&lower, PREFIX.as_bytes()) {
        let start = at + PREFIX.len();
        let Some(text) = lower.get(start..start + TOKEN).and_then(|text| std::str::from_utf8(text).ok()) else {
            continue;
        };
        if !found.iter().any(|known| known == text) {
            found.push(text.to_owned());
        }
        if found.len() == TRIED {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::compose::token::TokenKey;

    #[test]
    fn a_token_is_found_wherever_a_letter_has_it() {
        let ring = Ring::new(vec![TokenKey { id: 1, secret: [1; 32] }]);
        let message = MessageId::from_uuid(Uuid::from_u128(7));
        for position in [Some(3), None] {
            let local = local_part(&ring, message, position).unwrap();
            assert!(local.len() <= 64, "{local}");
            for letter in [
                format!("Return-Path: <x@y>\r\n\r\nMAIL FROM:<{}@b.example> said 550", local.to_uppercase()),
                format!("bounce+{} bounce+ {local}", "a".repeat(44)),
            ] {
                let found = tokens_in(letter.as_bytes());
                assert_eq!(
                    found.iter().find_map(|text| open(text, &ring)),
                    Some(Token { message, position }),
                    "{letter}"
                );
            }
        }
        let many = (0..100).map(|n| format!("bounce+{n:044}")).collect::<Vec<_>>().concat();
        assert_eq!(tokens_in(many.as_bytes()).len(), TRIED);
    }
}
