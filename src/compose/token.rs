//! Tokens: what an address or a link of ours carries, so that what comes back through it says whose it is, and nobody else can
//! make one. Base32 in lower case (RFC 4648 §6), since some servers fold the case of what they return.

use aws_lc_rs::hmac;

/// Octets of the code that only we can make.
const CODE: usize = 8;
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What a token is for: one of another purpose is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The envelope sender of a message, or of one recipient's copy.
    ReturnPath = 1,
    /// A link to want no more of a kind of mail.
    Unsubscribe = 2,
    /// An image that is loaded.
    Open = 3,
    /// A link that is followed.
    Click = 4,
}

/// A key by its number, which the token names.
#[derive(Clone)]
pub struct TokenKey {
    pub id: u8,
    pub secret: [u8; 32],
}

/// The keys of tokens: the first makes them, all of them are believed.
#[derive(Clone, Default)]
pub struct Ring {
    keys: Vec<TokenKey>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({} keys)", self.keys.len())
    }
}

impl Ring {
    /// Of numbers and secrets, newest first.
    pub fn of(keys: Vec<(u8, [u8; 32])>) -> Self {
        Self { keys: keys.into_iter().map(|(id, secret)| TokenKey { id, secret }).collect() }
    }

    /// Newest first.
    pub const fn new(keys: Vec<TokenKey>) -> Self {
        Self { keys }
    }

    /// The token of a payload; `None` without a key.
    pub fn seal(&self, purpose: Purpose, payload: &[u8]) -> Option<String> {
        let key = self.keys.first()?;
        let mut bytes = Vec::with_capacity(1 + payload.len() + CODE);
        bytes.push(key.id);
        bytes.extend_from_slice(payload);
        let code = code(key, purpose, &bytes);
        bytes.extend_from_slice(&code);
        Some(base32(&bytes))
    }

    /// The payload of a token that we made for that purpose.
    pub fn open(&self, purpose: Purpose, token: &str) -> Option<Vec<u8>> {
        let bytes = unbase32(token)?;
        let (sealed, found) = bytes.split_at_checked(bytes.len().checked_sub(CODE)?)?;
        let (id, payload) = sealed.split_first()?;
        let key = self.keys.iter().find(|key| key.id == *id)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(&code(key, purpose, sealed), found).ok()?;
        Some(payload.to_vec())
    }
}

fn code(key: &TokenKey, purpose: Purpose, sealed: &[u8]) -> [u8; CODE] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key.secret));
    context.update(&[purpose as u8]);
    context.update(sealed);
    let mut code = [0; CODE];
    code.copy_from_slice(&context.sign().as_ref()[..CODE]);
    code
}

/// Bytes in lower-case letters and digits (RFC 4648 §6), without padding.
pub fn base32(bytes: &[u8]) -> String {
    let (mut text, mut buffer, mut bits) = (String::with_capacity(bytes.len().div_ceil(5) * 8), 0_u32, 0);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(LETTERS[(buffer >> bits) as usize & 31]));
        }
    }
    if bits > 0 {
        text.push(char::from(LETTERS[(buffer << (5 - bits)) as usize & 31]));
    }
    text
}

fn unbase32(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut buffer, mut bits) = (Vec::with_capacity(text.len() * 5 / 8), 0_u32, 0);
    for letter in text.bytes() {
        let value = LETTERS.iter().position(|known| *known == letter.to_ascii_lowercase())?;
        buffer = (buffer << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits).to_le_bytes()[0]);
        }
    }
    // What is left over is nothing.
    (bits < 5 && buffer & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ids: &[u8]) -> Ring {
        Ring::new(ids.iter().map(|id| TokenKey { id: *id, secret: [*id; 32] }).collect())
    }

    #[test]
    fn a_token_is_opened_by_whoever_has_its_key_and_in_any_case_of_letters() {
        let token = ring(&[2, 1]).seal(Purpose::ReturnPath, &[7; 18]).unwrap();
        assert_eq!(token.len(), 44);
        assert!(token.bytes().all(|byte| LETTERS.contains(&byte)));
        for text in [token.clone(), token.to_uppercase()] {
            assert_eq!(ring(&[3, 2]).open(Purpose::ReturnPath, &text), Some(vec![7; 18]));
        }
        assert_eq!(ring(&[3, 1]).open(Purpose::ReturnPath, &token), None, "its key is gone");
        assert_eq!(Ring::default().seal(Purpose::ReturnPath, &[]), None);
    }

    #[test]
    fn no_letter_of_a_token_can_be_another() {
        let ring = ring(&[1]);
        let token = ring.seal(Purpose::ReturnPath, &[9; 18]).unwrap();
        for at in 0..token.len() {
            for letter in LETTERS {
                let mut forged = token.clone().into_bytes();
                if forged[at] == *letter {
                    continue;
                }
                forged[at] = *letter;
                assert_eq!(ring.open(Purpose::ReturnPath, std::str::from_utf8(&forged).unwrap()), None);
            }
        }
        for text in ["", "a", "!", &token[..43], &format!("{token}a"), "ä"] {
            assert_eq!(ring.open(Purpose::ReturnPath, text), None, "{text}");
        }
    }
}
