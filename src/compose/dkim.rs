//! DKIM signatures (RFC 6376, RFC 8463): `relaxed/relaxed`, RSA and Ed25519.
//!
//! Takes the bytes of a message, keys and the message's own instant; gives the message with one
//! `DKIM-Signature` for each key before it. The same input gives the same bytes: nothing is read from the
//! machine. No `l=`: a signature covers the whole body.

mod canonical;
mod key;
pub mod verify;

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) use canonical::Fields;
use canonical::{body_hash, relax_field, split_field};
pub use key::{KeyError, SigningKey, generate};

use super::folded::Folded;
use crate::domain::clock::Timestamp;

/// RFC 5322 §2.1.1: octets that a line should not exceed.
const LINE: usize = 78;

/// The fields that are signed. Each is named once more than it occurs, also where it does not occur, so that nobody can
/// add one: a reader may show the added one (RFC 6376 §8.15). Not what those who pass mail on may rightly add: `Received`,
/// `Return-Path`, `Resent-*`, `List-Id`.
const SIGNED: [&str; 17] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "feedback-id",
    "otp-token",
];

/// Signs a message that may go on the wire with every key. Without keys it stays as it is.
pub fn sign(message: Vec<u8>, keys: &[Arc<SigningKey>], date: Timestamp) -> Result<Vec<u8>, KeyError> {
    if keys.is_empty() {
        return Ok(message);
    }
    let covered = Covered::of(&message);
    let mut signed = Vec::with_capacity(message.len() + 1024 * keys.len());
    for key in keys {
        covered.signature(key, date, &mut signed)?;
    }
    signed.extend_from_slice(&message);
    Ok(signed)
}

/// What every signature of a message is about, hashed once.
struct Covered {
    /// The names for `h=`, in the order in which their fields were hashed.
    names: Vec<&'static str>,
    /// Of the canonical fields; the signature's own comes last.
    head: Context,
    body_hash: String,
}

impl Covered {
    fn of(message: &[u8]) -> Self {
        let mut fields = Fields::of(message);
        let mut found: [Vec<&[u8]>; SIGNED.len()] = std::array::from_fn(|_| Vec::new());
        for field in &mut fields {
            let (name, _) = split_field(field);
            if let Some(place) = SIGNED.iter().position(|signed| signed.as_bytes().eq_ignore_ascii_case(name)) {
                found[place].push(field);
            }
        }
        let mut names = Vec::with_capacity(2 * SIGNED.len());
        let mut canonical = Vec::with_capacity(1024);
        for (name, occurrences) in SIGNED.into_iter().zip(found) {
            // From the bottom up (RFC 6376 §5.4.2).
            for field in occurrences.into_iter().rev() {
                names.push(name);
                relax_field(field, &mut canonical);
                canonical.extend_from_slice(b"\r\n");
            }
            names.push(name);
        }
        let mut head = Context::new(&SHA256);
        head.update(&canonical);
        Self { names, head, body_hash: STANDARD.encode(body_hash(fields.body())) }
    }

    /// Appends the field of one signature.
    fn signature(&self, key: &SigningKey, date: Timestamp, out: &mut Vec<u8>) -> Result<(), KeyError> {
        let mut field = Folded::new("DKIM-Signature:", LINE);
        field.put(" ", "v=1;");
        field.put(" ", &format!("a={};", key.algorithm().name()));
        field.put(" ", "c=relaxed/relaxed;");
        field.put(" ", &format!("d={};", key.domain()));
        field.put(" ", &format!("s={};", key.selector()));
        field.put(" ", &format!("t={};", date.unix_timestamp()));
        field.fold();
        field.put("", "h=");
        for (place, name) in self.names.iter().enumerate() {
            field.put("", name);
            field.push(if place + 1 == self.names.len() { ";" } else { ":" });
        }
        field.fold();
        field.put("", &format!("bh={};", self.body_hash));
        field.fold();
        field.put("", "b=");
        let mut canonical = Vec::with_capacity(field.text.len());
        relax_field(field.text.as_bytes(), &mut canonical);
        let mut head = self.head.clone();
        head.update(&canonical);
        field.put_anywhere(&STANDARD.encode(key.sign(&head.finish())?));
        out.extend_from_slice(field.text.as_bytes());
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
