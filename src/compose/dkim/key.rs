//! Keys that sign: made, parsed once, and described for DNS. The secret part never leaves.

use std::fmt;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::dkim::{Algorithm, PrivateKey};

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a DKIM key cannot be made")]
    Generate,
    #[error("a DKIM key is not the PKCS#8 of its algorithm")]
    Parse,
    #[error("a DKIM key does not sign")]
    Sign,
}

/// A private key, ready to sign for a domain.
pub struct SigningKey {
    domain: String,
    selector: String,
    secret: Secret,
}

enum Secret {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A new private key; RSA takes about a tenth of a second.
pub fn generate(algorithm: Algorithm) -> Result<PrivateKey, KeyError> {
    let der = match algorithm {
        Algorithm::RsaSha256 => RsaKeyPair::generate(KeySize::Rsa2048)
            .and_then(|pair| AsDer::<Pkcs8V1Der<'_>>::as_der(&pair))
            .map(|der| der.as_ref().to_vec()),
        Algorithm::Ed25519Sha256 => {
            Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map(|der| der.as_ref().to_vec())
        }
    };
    der.map(PrivateKey::from_pkcs8).map_err(|_| KeyError::Generate)
}

impl SigningKey {
    /// The key of `selector` in `domain`, both lower-case and checked.
    pub fn parse(domain: &str, selector: &str, algorithm: Algorithm, key: &PrivateKey) -> Result<Self, KeyError> {
        let secret = match algorithm {
            Algorithm::RsaSha256 => RsaKeyPair::from_pkcs8(key.pkcs8()).map(|pair| Secret::Rsa(Box::new(pair))),
            Algorithm::Ed25519Sha256 => {
                Ed25519KeyPair::from_pkcs8(key.pkcs8()).map(|pair| Secret::Ed25519(Box::new(pair)))
            }
        };
        let secret = secret.map_err(|_| KeyError::Parse)?;
        Ok(Self { domain: domain.to_owned(), selector: selector.to_owned(), secret })
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    pub fn selector(&self) -> &str {
        &self.selector
    }

    pub const fn algorithm(&self) -> Algorithm {
        match self.secret {
            Secret::Rsa(_) => Algorithm::RsaSha256,
            Secret::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// Whether one signature takes so long (about a millisecond) that it must not hold up an async thread.
    pub const fn is_slow(&self) -> bool {
        matches!(self.secret, Secret::Rsa(_))
    }

    /// The name of the TXT record that verifiers ask for (RFC 6376 §3.6.2.1).
    pub fn record_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// The value of that record (RFC 6376 §3.6.1, RFC 8463 §4).
    pub fn record(&self) -> Result<String, KeyError> {
        Ok(match &self.secret {
            Secret::Rsa(pair) => {
                let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(|_| KeyError::Parse)?;
                format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(der.as_ref()))
            }
            Secret::Ed25519(pair) => format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(pair.public_key())),
        })
    }

    /// Signs the hash of the header. Ed25519 takes it as its message (RFC 8463 §3).
    pub(super) fn sign(&self, hash: &Digest) -> Result<Vec<u8>, KeyError> {
        match &self.secret {
            Secret::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(&RSA_PKCS1_SHA256, hash, &mut signature).map_err(|_| KeyError::Sign)?;
                Ok(signature)
            }
            Secret::Ed25519(pair) => {
                pair.try_sign(hash.as_ref()).map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyError::Sign)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm().name(), self.record_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_keys_are_parsed_and_described_but_not_shown() {
        for algorithm in Algorithm::ALL {
            let private = generate(algorithm).unwrap();
            let key = SigningKey::parse("example.org", "s1", algorithm, &private).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            assert_eq!(key.record_name(), "s1._domainkey.example.org");
            let name = algorithm.name();
            assert_eq!(format!("{key:?}"), format!("SigningKey({name} s1._domainkey.example.org)"));
        }
    }

    #[test]
    fn a_key_of_the_other_algorithm_is_refused() {
        let private = generate(Algorithm::Ed25519Sha256).unwrap();
        let parsed = SigningKey::parse("example.org", "s1", Algorithm::RsaSha256, &private);
        assert_eq!(parsed.unwrap_err(), KeyError::Parse);
    }
}
