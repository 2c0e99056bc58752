//! Public keys of an issuer in a file (JWK Set, RFC 7517), read again when it changes: a key that is taken out of the file
//! is believed no more, one that is added is. The algorithm is the one that the configuration pins to the file; a key that
//! is for another, for encryption, symmetric or private is left out. A file that cannot be used changes nothing and says
//! why.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::time::Instant;

/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Most bytes of a file, and keys in it.
const BYTES_MAX: u64 = 1 << 20;
const KEYS_MAX: usize = 100;
/// RFC 7518 §3.3: fewer bytes of modulus are not to be used.
const MODULUS_LEAST: usize = 256;

/// A key of a file.
pub struct PublicKey {
    pub kid: Option<String>,
    pub key: DecodingKey,
}

/// A file and what it held when it could be used last.
pub struct JwksFile {
    path: PathBuf,
    algorithm: Algorithm,
    state: Mutex<State>,
}

struct State {
    set: Arc<KeySet>,
    text: String,
    looked_at: Instant,
    /// Why the file cannot be used now.
    fault: Option<String>,
}

/// What a file holds.
#[derive(Default)]
pub struct KeySet {
    pub keys: Vec<PublicKey>,
    /// Why others are left out, each by its name.
    pub left_out: Vec<String>,
}

/// A key as a file writes it; members of others are none of ours.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    d: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

impl JwksFile {
    /// Reads the file; the error says why it cannot be used.
    pub fn new(path: PathBuf, algorithm: Algorithm) -> Result<Self, String> {
        let text = read(&path)?;
        let set = Arc::new(parse(&text, algorithm)?);
        let state = State { set, text, looked_at: Instant::now(), fault: None };
        Ok(Self { path, algorithm, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of now: of a file that was looked at within the last seconds.
    pub fn keys(&self) -> Arc<KeySet> {
        let mut state = self.state();
        if state.looked_at.elapsed() >= LOOK {
            state.looked_at = Instant::now();
            self.look(&mut state);
        }
        Arc::clone(&state.set)
    }

    fn look(&self, state: &mut State) {
        let read = read(&self.path).and_then(|text| {
            if text == state.text {
                return Ok(None);
            }
            parse(&text, self.algorithm).map(|set| Some((text, set)))
        });
        match read {
            Ok(changed) => {
                state.fault = None;
                let Some((text, set)) = changed else { return };
                let (keys, left_out) = (set.keys.len(), set.left_out.join("; "));
                tracing::info!(file = %self.path.display(), keys, left_out, "a file of JWT keys was read anew");
                (state.text, state.set) = (text, Arc::new(set));
            }
            Err(fault) => {
                if state.fault.as_ref() != Some(&fault) {
                    tracing::error!(file = %self.path.display(), fault, "a file of JWT keys cannot be used; the keys before stay in force");
                    state.fault = Some(fault);
                }
            }
        }
    }
}

fn read(path: &PathBuf) -> Result<String, String> {
    let named = |error: std::io::Error| format!("jwks_file '{}': {error}", path.display());
    let length = std::fs::metadata(path).map_err(named)?.len();
    if length > BYTES_MAX {
        return Err(format!("jwks_file '{}': has {length} bytes, more than {BYTES_MAX}", path.display()));
    }
    std::fs::read_to_string(path).map_err(named)
}

/// The keys that an algorithm may use. None at all is a set too: every key was taken out.
fn parse(text: &str, algorithm: Algorithm) -> Result<KeySet, String> {
    let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("is no JWK Set: {error}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("holds {} keys, more than {KEYS_MAX}", set.keys.len()));
    }
    let mut read = KeySet::default();
    for (index, value) in set.keys.into_iter().enumerate() {
        let kid = value["kid"].as_str().map_or_else(|| format!("key {index}"), |kid| format!("key '{kid}'"));
        let jwk = serde_json::from_value::<Jwk>(value).map_err(|error| error.to_string());
        match jwk.and_then(|jwk| usable(jwk, algorithm)) {
            Ok(key) => read.keys.push(key),
            Err(why) => read.left_out.push(format!("{kid}: {why}")),
        }
    }
    Ok(read)
}

fn usable(jwk: Jwk, algorithm: Algorithm) -> Result<PublicKey, String> {
    if jwk.kty == "oct" {
        return Err("is symmetric".to_owned());
    }
    if jwk.d.is_some() {
        return Err("is a private key, and should be nowhere but with its issuer".to_owned());
    }
    if jwk.usage.as_ref().is_some_and(|usage| usage != "sig") {
        return Err("is not for signatures".to_owned());
    }
    if jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
        return Err("is not to verify by".to_owned());
    }
    let pinned = format!("{algorithm:?}");
    if jwk.alg.as_ref().is_some_and(|alg| *alg != pinned) {
        return Err(format!("is not for {pinned}"));
    }
    let is = |kty: &str, crv: Option<&str>| jwk.kty == kty && crv.is_none_or(|crv| jwk.crv.as_deref() == Some(crv));
    let unusable = |error: jsonwebtoken::errors::Error| format!("cannot be used: {error}");
    let key = match (algorithm, &jwk.n, &jwk.e, &jwk.x, &jwk.y) {
        (Algorithm::RS256, Some(n), Some(e), ..) if is("RSA", None) => {
            let modulus = URL_SAFE_NO_PAD.decode(n).map_err(|error| error.to_string())?;
            if modulus.iter().skip_while(|byte| **byte == 0).count() < MODULUS_LEAST {
                return Err("has fewer than 2048 bits".to_owned());
            }
            DecodingKey::from_rsa_components(n, e).map_err(unusable)?
        }
        (Algorithm::ES256, _, _, Some(x), Some(y)) if is("EC", Some("P-256")) => {
            DecodingKey::from_ec_components(x, y).map_err(unusable)?
        }
        (Algorithm::EdDSA, _, _, Some(x), _) if is("OKP", Some("Ed25519")) => {
            DecodingKey::from_ed_components(x).map_err(unusable)?
        }
        _ => return Err(format!("is no key of {pinned}")),
    };
    Ok(PublicKey { kid: jwk.kid, key })
}
