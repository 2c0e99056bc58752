//! Secrets that must be read again, as they lie in the store: sealed by a key that does not lie there (AES-256-GCM), each bound to whose
//! it is, so that none can be put into another's place.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::Secrets;
use crate::domain::clock::Rng;

/// Octets of a sealing key.
const KEY_LEN: usize = 32;
/// Octets by which a sealing key is told: of which one a sealed secret is.
const ID_LEN: usize = 4;
/// The first octet of what is sealed like this.
const FORM: u8 = 1;

/// Why a sealed secret cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it was sealed by another key than `secrets.sealing_key` is")]
    OtherKey,
    #[error("it was changed, or is another's")]
    Broken,
}

/// Seals and opens.
pub struct Sealer {
    key: LessSafeKey,
    id: [u8; ID_LEN],
}

impl Sealer {
    /// By a key of 32 octets in base64.
    pub fn of_text(text: &str) -> Result<Self, String> {
        let octets = STANDARD.decode(text.trim()).ok().filter(|octets| octets.len() == KEY_LEN);
        let octets =
            octets.ok_or_else(|| format!("must be {KEY_LEN} octets in base64 (openssl rand -base64 {KEY_LEN})"))?;
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&digest(&SHA256, &octets).as_ref()[..ID_LEN]);
        let key = UnboundKey::new(&AES_256_GCM, &octets).map_err(|_| "is no key".to_owned())?;
        Ok(Self { key: LessSafeKey::new(key), id })
    }

    /// By the key in a file.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::of_text(&text).map_err(|why| format!("{} {why}", path.display()))
    }

    /// By the key that the operator has set; `None`: there is none.
    pub fn configured(secrets: &Secrets) -> Result<Option<Self>, String> {
        let (text, file) = (&secrets.sealing_key, &secrets.sealing_key_file);
        if !text.is_empty() {
            return Self::of_text(text).map(Some).map_err(|why| format!("secrets.sealing_key {why}"));
        }
        let is_set = !file.as_os_str().is_empty();
        is_set.then(|| Self::of_file(file)).transpose().map_err(|why| format!("secrets.sealing_key_file: {why}"))
    }

    /// A new key, as text.
    pub fn new_key(rng: &dyn Rng) -> String {
        let mut octets = [0; KEY_LEN];
        rng.fill(&mut octets);
        STANDARD.encode(octets)
    }

    /// Seals the secret of `whose`.
    pub fn seal(&self, secret: &[u8], whose: &[u8], rng: &dyn Rng) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        let mut sealed = secret.to_vec();
        let tag =
            self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(whose), &mut sealed);
        // It fails for what is longer than 64 GiB: then nothing is kept.
        let Ok(tag) = tag else { return Vec::new() };
        [&[FORM], &self.id[..], &nonce[..], &sealed, tag.as_ref()].concat()
    }

    /// The secret of `whose`.
    pub fn open(&self, sealed: &[u8], whose: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let Some((head, rest)) = sealed.split_at_checked(1 + ID_LEN + NONCE_LEN) else {
            return Err(Unreadable::Broken);
        };
        if head[0] != FORM {
            return Err(Unreadable::Broken);
        }
        if head[1..=ID_LEN] != self.id {
            return Err(Unreadable::OtherKey);
        }
        let nonce = Nonce::try_assume_unique_for_key(&head[1 + ID_LEN..]).map_err(|_| Unreadable::Broken)?;
        let mut secret = rest.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(whose), &mut secret).map_err(|_| Unreadable::Broken)?;
        Ok(opened.to_vec())
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SeededRng;

    #[test]
    fn a_secret_is_read_by_its_key_for_whom_it_is_and_unchanged() {
        let rng = SeededRng::new(7);
        let sealer = Sealer::of_text(&Sealer::new_key(&rng)).unwrap();
        let sealed = sealer.seal(b"secret", b"ann", &rng);
        assert_eq!(sealer.open(&sealed, b"ann").as_deref(), Ok(&b"secret"[..]));
        assert_ne!(sealer.seal(b"secret", b"ann", &rng), sealed, "none is like another");
        assert_eq!(sealer.open(&sealed, b"bob"), Err(Unreadable::Broken));
        for at in [0, sealed.len() - 1, sealed.len() - 17] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(sealer.open(&changed, b"ann"), Err(Unreadable::Broken), "octet {at}");
        }
        for cut in 0..sealed.len() {
            assert!(sealer.open(&sealed[..cut], b"ann").is_err(), "{cut} octets");
        }
        let other = Sealer::of_text(&Sealer::new_key(&rng)).unwrap();
        assert_eq!(other.open(&sealed, b"ann"), Err(Unreadable::OtherKey));
        for text in ["", "c2hvcnQ=", "not base64"] {
            assert!(Sealer::of_text(text).is_err(), "{text}");
        }
    }
}
