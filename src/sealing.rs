//! Secrets that must be read again, as they lie in the store: sealed by a key that does not lie there (AES-256-GCM), each bound to whose
//! it is, so that none can be put into another's place.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::Secrets;
use crate::domain::clock::Rng;
use crate::domain::id::{DkimKeyId, EndpointId, KeyId};

/// Octets of a sealing key.
const KEY_LEN: usize = 32;
/// Octets by which a sealing key is told: of which one a sealed secret is.
const ID_LEN: usize = 4;
/// The first octet of what is sealed like this.
const FORM: u8 = 1;

/// Why a sealed secret cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it was sealed by a key that is not among those of `secrets.sealing_key`")]
    OtherKey,
    #[error("it was changed, or is another's")]
    Broken,
}

/// Whose a secret is.
#[derive(Debug, Clone, Copy)]
pub enum Whose {
    /// The text of an API key that signs requests.
    ApiKey(KeyId),
    /// The private key of a DKIM key.
    DkimKey(DkimKeyId),
    /// What signs an endpoint's webhooks by HMAC.
    EndpointHmac(EndpointId),
    /// What signs an endpoint's webhooks by Ed25519.
    EndpointSeed(EndpointId),
    /// What makes tokens. The store numbers it when it is kept.
    Tokens,
}

impl Whose {
    /// What a secret is bound to.
    fn bond(self) -> Vec<u8> {
        match self {
            Self::ApiKey(id) => id.uuid().as_bytes().to_vec(),
            Self::DkimKey(id) => [b"dkim:", &id.uuid().as_bytes()[..]].concat(),
            Self::EndpointHmac(id) => [b"hmac:", &id.uuid().as_bytes()[..]].concat(),
            Self::EndpointSeed(id) => [b"seed:", &id.uuid().as_bytes()[..]].concat(),
            Self::Tokens => b"tokens".to_vec(),
        }
    }
}

/// A secret as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub octets: Vec<u8>,
    pub sealed: bool,
}

impl Kept {
    /// What tells by which key it is sealed; `None`: it lies there as it is.
    pub fn key_id(&self) -> Option<KeyTag> {
        let id = self.octets.get(1..=ID_LEN).filter(|_| self.sealed)?;
        id.try_into().ok().map(KeyTag)
    }
}

/// What tells one sealing key from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyTag([u8; ID_LEN]);

impl KeyTag {
    /// What it begins with that this key seals.
    pub fn mark(self) -> [u8; 1 + ID_LEN] {
        let mut mark = [FORM; 1 + ID_LEN];
        mark[1..].copy_from_slice(&self.0);
        mark
    }
}

impl std::fmt::Display for KeyTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// The keys by which secrets lie sealed in the store: the first seals, each opens what it sealed. Without any, secrets lie there as they are.
#[derive(Clone, Default)]
pub struct Vault(Option<Arc<Keys>>);

struct Keys {
    sealers: Vec<Sealer>,
    rng: Arc<dyn Rng>,
}

impl Vault {
    /// By the keys that the operator has set.
    pub fn configured(secrets: &Secrets, rng: Arc<dyn Rng>) -> Result<Self, String> {
        let sealers = sealers(secrets)?;
        Ok(Self((!sealers.is_empty()).then(|| Arc::new(Keys { sealers, rng }))))
    }

    fn sealers(&self) -> &[Sealer] {
        self.0.as_deref().map_or(&[], |keys| &keys.sealers)
    }

    /// By which key it seals; `None`: it does not.
    pub fn current(&self) -> Option<KeyTag> {
        self.sealers().first().map(|sealer| sealer.id)
    }

    /// Whether it opens what that key sealed.
    pub fn knows(&self, key: KeyTag) -> bool {
        self.sealers().iter().any(|sealer| sealer.id == key)
    }

    /// A secret as it is to lie in the store.
    pub fn keep(&self, secret: &[u8], whose: Whose) -> Kept {
        match self.0.as_deref().and_then(|keys| Some((keys.sealers.first()?, &*keys.rng))) {
            Some((sealer, rng)) => Kept { octets: sealer.seal(secret, &whose.bond(), rng), sealed: true },
            None => Kept { octets: secret.to_vec(), sealed: false },
        }
    }

    /// The secret that lies there.
    pub fn open(&self, kept: Kept, whose: Whose) -> Result<Vec<u8>, Unreadable> {
        if !kept.sealed {
            return Ok(kept.octets);
        }
        let key = kept.key_id().ok_or(Unreadable::Broken)?;
        let sealer = self.sealers().iter().find(|sealer| sealer.id == key).ok_or(Unreadable::OtherKey)?;
        sealer.open(&kept.octets, &whose.bond())
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

/// The keys that are set, each in a line or between commas.
fn sealers(secrets: &Secrets) -> Result<Vec<Sealer>, String> {
    let (text, file) = (&secrets.sealing_key, &secrets.sealing_key_file);
    let (name, text) = match (text.is_empty(), file.as_os_str().is_empty()) {
        (false, _) => ("secrets.sealing_key".to_owned(), text.clone()),
        (true, true) => return Ok(Vec::new()),
        (true, false) => (format!("secrets.sealing_key_file: {}", file.display()), read(file)?),
    };
    let keys: Vec<_> = text.split([',', '\n']).map(str::trim).filter(|key| !key.is_empty()).collect();
    if keys.is_empty() {
        return Err(format!("{name} has no key"));
    }
    keys.into_iter().map(|key| Sealer::of_text(key).map_err(|why| format!("{name} {why}"))).collect()
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("secrets.sealing_key_file: {}: {error}", file.display()))
}

/// A new key, as text.
pub fn new_key(rng: &dyn Rng) -> String {
    let mut octets = [0; KEY_LEN];
    rng.fill(&mut octets);
    STANDARD.encode(octets)
}

/// Seals and opens by one key.
struct Sealer {
    key: LessSafeKey,
    id: KeyTag,
}

impl Sealer {
    /// By a key of 32 octets in base64.
    fn of_text(text: &str) -> Result<Self, String> {
        let octets = STANDARD.decode(text.trim()).ok().filter(|octets| octets.len() == KEY_LEN);
        let octets =
            octets.ok_or_else(|| format!("must be {KEY_LEN} octets in base64 (openssl rand -base64 {KEY_LEN})"))?;
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&digest(&SHA256, &octets).as_ref()[..ID_LEN]);
        let key = UnboundKey::new(&AES_256_GCM, &octets).map_err(|_| "is no key".to_owned())?;
        Ok(Self { key: LessSafeKey::new(key), id: KeyTag(id) })
    }

    /// Seals the secret of `whose`.
    fn seal(&self, secret: &[u8], whose: &[u8], rng: &dyn Rng) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        let mut sealed = secret.to_vec();
        let tag =
            self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(whose), &mut sealed);
        // It fails for what is longer than 64 GiB: then nothing is kept.
        let Ok(tag) = tag else { return Vec::new() };
        [&self.id.mark()[..], &nonce[..], &sealed, tag.as_ref()].concat()
    }

    /// The secret of `whose`.
    fn open(&self, sealed: &[u8], whose: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let Some((head, rest)) = sealed.split_at_checked(1 + ID_LEN + NONCE_LEN) else {
            return Err(Unreadable::Broken);
        };
        if head[0] != FORM {
            return Err(Unreadable::Broken);
        }
        if head[1..=ID_LEN] != self.id.0 {
            return Err(Unreadable::OtherKey);
        }
        let nonce = Nonce::try_assume_unique_for_key(&head[1 + ID_LEN..]).map_err(|_| Unreadable::Broken)?;
        let mut secret = rest.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(whose), &mut secret).map_err(|_| Unreadable::Broken)?;
        Ok(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SeededRng;

    #[test]
    fn a_secret_is_read_by_its_key_for_whom_it_is_and_unchanged() {
        let rng = SeededRng::new(7);
        let sealer = Sealer::of_text(&new_key(&rng)).unwrap();
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
        let other = Sealer::of_text(&new_key(&rng)).unwrap();
        assert_eq!(other.open(&sealed, b"ann"), Err(Unreadable::OtherKey));
        for text in ["", "c2hvcnQ=", "not base64"] {
            assert!(Sealer::of_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(7));
        let keys: Vec<_> = (0..3).map(|_| new_key(&*rng)).collect();
        let vault = |text: String| {
            let secrets = Secrets { sealing_key: text, sealing_key_file: "".into() };
            Vault::configured(&secrets, Arc::clone(&rng))
        };
        let ann = Whose::EndpointHmac(EndpointId::from_uuid(rng.token()));
        let old = vault(keys[0].clone()).unwrap();
        let kept = old.keep(b"secret", ann);
        let both = vault(format!(" {},\n{}\n", keys[1], keys[0])).unwrap();
        assert_eq!(both.open(kept.clone(), ann).as_deref(), Ok(&b"secret"[..]));
        let anew = both.keep(b"secret", ann);
        assert_eq!(anew.key_id(), both.current());
        assert_ne!(anew.key_id(), kept.key_id());
        assert_eq!(old.open(anew.clone(), ann), Err(Unreadable::OtherKey));
        assert!(both.knows(kept.key_id().unwrap()) && !old.knows(anew.key_id().unwrap()));
        // In none of another's places, nor in another place of its own.
        let Whose::EndpointHmac(id) = ann else { unreachable!() };
        for other in [
            Whose::EndpointSeed(id),
            Whose::EndpointHmac(EndpointId::from_uuid(rng.token())),
            Whose::DkimKey(DkimKeyId::from_uuid(id.uuid())),
            Whose::ApiKey(KeyId::from_uuid(id.uuid())),
            Whose::Tokens,
        ] {
            assert_eq!(both.open(anew.clone(), other), Err(Unreadable::Broken), "{other:?}");
        }
        let plain = Vault::default();
        let as_it_is = plain.keep(b"secret", ann);
        assert_eq!((as_it_is.sealed, plain.current()), (false, None));
        assert_eq!(both.open(as_it_is, ann).as_deref(), Ok(&b"secret"[..]));
        assert_eq!(plain.open(anew, ann), Err(Unreadable::OtherKey));
        for text in [",", "x", &format!("{},x", keys[0])] {
            assert!(vault(text.to_owned()).is_err(), "{text}");
        }
    }
}
