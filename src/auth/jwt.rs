//! Tokens of other issuers. The algorithm is the one that the configuration pins to the key, never the
//! token's choice; `kid` is looked up in our table and nowhere else; `exp`, `iss` and `aud` are required.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use crate::config::JwtKey;
use crate::domain::access::{Caller, Mode, Scope};
use crate::domain::id::ProjectId;

/// Seconds by which clocks may differ.
const LEEWAY: u64 = 10;

/// The configured keys.
#[derive(Default)]
pub struct JwtKeys(Vec<Pinned>);

struct Pinned {
    kid: String,
    key: DecodingKey,
    validation: Validation,
}

/// What a token says.
#[derive(Debug, Deserialize)]
pub struct Claims {
    pub project: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    from: Option<Vec<String>>,
    #[serde(default)]
    mode: ClaimedMode,
}

/// `live` or `test`, and nothing else: what is not known must not become live mail.
#[derive(Debug, Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ClaimedMode {
    #[default]
    Live,
    Test,
}

impl Claims {
    /// Scopes are words with spaces between (RFC 8693 §4.2). A token that names no mode is live.
    pub fn into_caller(self, project: ProjectId) -> Caller {
        Caller {
            project,
            mode: match self.mode {
                ClaimedMode::Live => Mode::Live,
                ClaimedMode::Test => Mode::Test,
            },
            scopes: self.scope.split(' ').filter_map(Scope::parse).collect(),
            from_domains: self.from.map(|list| list.into_iter().map(|d| d.to_ascii_lowercase()).collect()),
        }
    }
}

impl JwtKeys {
    /// Reads the keys; the error names the one that cannot be used.
    pub fn new(keys: &[JwtKey]) -> Result<Self, String> {
        keys.iter().map(Pinned::new).collect::<Result<_, _>>().map(Self)
    }

    /// The claims of a valid token, or why it is not one.
    pub fn verify(&self, token: &str) -> Result<Claims, String> {
        let header = decode_header(token).map_err(|_| "this is neither an API key nor a JWT".to_owned())?;
        // RFC 7515 §4.1.11: what must be understood and is not.
        if names_critical(token) {
            return Err("the token has a crit header, of which nothing is understood".to_owned());
        }
        let pinned = match (&header.kid, self.0.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(kid), keys) => keys.iter().find(|pinned| pinned.kid == *kid),
        };
        let pinned = pinned.ok_or_else(|| "the token names no key that is configured here".to_owned())?;
        let claims = decode::<Claims>(token, &pinned.key, &pinned.validation)
            .map_err(|error| format!("the token is not valid: {error}"))?
            .claims;
        if claims.project.chars().any(char::is_control) {
            return Err("the token's project cannot be a name".to_owned());
        }
        Ok(claims)
    }
}

/// Whether a token's header has the member `crit`.
fn names_critical(token: &str) -> bool {
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let header = header.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    header.is_some_and(|header| header.get("crit").is_some())
}

impl Pinned {
    fn new(config: &JwtKey) -> Result<Self, String> {
        let named = |reason: String| format!("auth.jwt '{}': {reason}", config.kid);
        let (algorithm, key) = read_key(config).map_err(named)?;
        if config.issuer.is_empty() || config.audience.is_empty() {
            return Err(named("issuer and audience are required".to_owned()));
        }
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        Ok(Self { kid: config.kid.clone(), key, validation })
    }
}

fn read_key(config: &JwtKey) -> Result<(Algorithm, DecodingKey), String> {
    let pem = || {
        std::fs::read(&config.public_key_file)
            .map_err(|error| format!("public_key_file '{}': {error}", config.public_key_file))
    };
    let unusable = |error: jsonwebtoken::errors::Error| format!("the key cannot be used: {error}");
    match config.algorithm.as_str() {
        // RFC 7518 §3.2: a key of at least the hash's size.
        "HS256" if config.secret.len() >= 32 => {
            Ok((Algorithm::HS256, DecodingKey::from_secret(config.secret.as_bytes())))
        }
        "HS256" => Err("HS256 needs a secret of at least 32 bytes".to_owned()),
        "RS256" => Ok((Algorithm::RS256, DecodingKey::from_rsa_pem(&pem()?).map_err(unusable)?)),
        "ES256" => Ok((Algorithm::ES256, DecodingKey::from_ec_pem(&pem()?).map_err(unusable)?)),
        "EdDSA" => Ok((Algorithm::EdDSA, DecodingKey::from_ed_pem(&pem()?).map_err(unusable)?)),
        other => Err(format!("algorithm '{other}' is not one of HS256, RS256, ES256, EdDSA")),
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn keys() -> JwtKeys {
        JwtKeys::new(&[JwtKey {
            kid: "k1".into(),
            algorithm: "HS256".into(),
            secret: SECRET.into(),
            public_key_file: String::new(),
            issuer: "https://id.example".into(),
            audience: "mailwright".into(),
        }])
        .unwrap()
    }

    fn claims() -> Value {
        json!({"sub": "u1", "project": "shop", "scope": "send messages:read", "iss": "https://id.example",
               "aud": "mailwright", "exp": get_current_timestamp() + 60})
    }

    fn token(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        encode(&header, claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    }

    /// A token whose header says that something must be understood.
    fn critical(claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "HS256", "kid": "k1", "crit": ["exp"]});
        let message = format!("{}.{}", part(&header), part(claims));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    #[test]
    fn a_token_of_the_pinned_key_is_believed() {
        let claims = keys().verify(&token(Algorithm::HS256, Some("k1"), &claims())).unwrap();
        let caller = claims.into_caller(ProjectId::from_uuid(uuid::Uuid::nil()));
        assert!(caller.may(Scope::Send) && caller.may(Scope::MessagesRead) && !caller.may(Scope::Webhooks));
        assert_eq!(caller.mode, Mode::Live);
    }

    #[test]
    fn everything_else_is_refused() {
        let keys = keys();
        let without = |name: &str| {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(name);
            token(Algorithm::HS256, Some("k1"), &claims)
        };
        let with = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            token(Algorithm::HS256, Some("k1"), &claims)
        };
        let valid = token(Algorithm::HS256, Some("k1"), &claims());
        let payload = valid.split('.').nth(1).unwrap();
        // {"alg":"none"} and {"alg":"NONE"}
        let none = format!("eyJhbGciOiJub25lIn0.{payload}.");
        let none_upper = format!("eyJhbGciOiJOT05FIn0.{payload}.");
        for (token, why) in [
            (token(Algorithm::HS384, Some("k1"), &claims()), "another algorithm"),
            (token(Algorithm::HS256, Some("../k1"), &claims()), "another kid"),
            (none, "no algorithm"),
            (none_upper, "no algorithm, shouted"),
            (without("exp"), "no exp"),
            (without("aud"), "no aud"),
            (without("iss"), "no iss"),
            (without("sub"), "no sub"),
            (with("exp", json!(get_current_timestamp() - 60)), "expired"),
            (with("exp", json!("2099")), "exp as text"),
            (with("aud", json!("other")), "another audience"),
            (with("iss", json!("https://evil.example")), "another issuer"),
            (with("mode", json!("Test")), "a mode that is almost known"),
            (with("mode", json!("TEST")), "a mode that is shouted"),
            (with("mode", json!("sandbox")), "a mode that is not known"),
            (with("mode", json!(["test"])), "a mode in a list"),
            (critical(&claims()), "something that must be understood"),
            (format!("{valid}x"), "a broken signature"),
            ("junk".to_owned(), "junk"),
        ] {
            assert!(keys.verify(&token).is_err(), "{why}");
        }
        assert!(JwtKeys::default().verify(&valid).is_err());
    }
}
