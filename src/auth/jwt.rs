//! Tokens of other issuers. The algorithm is the one that the configuration pins to the key, never the
//! token's choice; `kid` is looked up in our table and nowhere else; `exp`, `iss` and `aud` are required. Keys stand in the
//! configuration, or in files that their issuer keeps ([`jwks`](super::jwks)).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, get_current_timestamp};
use serde::Deserialize;

use super::jwks::{JwksFile, PublicKey};
use crate::config::{Auth as AuthConfig, JwtKey};
use crate::domain::access::{Caller, Mode, Scope};
use crate::domain::id::ProjectId;

/// Seconds by which clocks may differ.
const LEEWAY: u64 = 10;

/// The configured keys.
#[derive(Default)]
pub struct JwtKeys {
    issuers: Vec<Issuer>,
    /// Seconds for which a token may be valid from now on.
    max_lifetime: u64,
}

/// Keys with one algorithm, of one issuer.
struct Issuer {
    name: String,
    keys: Keys,
    validation: Validation,
    /// Projects that its tokens may be for, if there are some alone.
    projects: Option<Vec<String>>,
    /// The same of scopes.
    scopes: Option<Vec<Scope>>,
}

enum Keys {
    One(Box<PublicKey>),
    File(Box<JwksFile>),
}

/// What a token says.
#[derive(Debug, Deserialize)]
pub struct Claims {
    pub project: String,
    exp: f64,
    #[serde(default)]
    scope: String,
    /// Domains; that it is `null` says nothing of which, and is refused.
    #[serde(default, deserialize_with = "some")]
    from: Option<Vec<String>>,
    sub: String,
    #[serde(default)]
    mode: ClaimedMode,
}

fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
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
        let mode = match self.mode {
            ClaimedMode::Live => Mode::Live,
            ClaimedMode::Test => Mode::Test,
        };
        let scopes = self.scope.split(' ').filter_map(Scope::parse).collect();
        let from_domains = self.from.map(|list| list.into_iter().map(|d| d.to_ascii_lowercase()).collect());
        Caller { from_domains, subject: Some(self.sub), ..Caller::new(project, mode, scopes) }
    }
}

impl JwtKeys {
    /// Reads the keys; the error names the one that cannot be used.
    pub fn new(config: &AuthConfig) -> Result<Self, String> {
        let issuers = config.jwt.iter().map(Issuer::new).collect::<Result<_, _>>()?;
        Ok(Self { issuers, max_lifetime: config.jwt_max_lifetime.0.as_secs() })
    }

    /// The claims of a valid token, or why it is not one.
    pub fn verify(&self, token: &str) -> Result<Claims, String> {
        let header = decode_header(token).map_err(|_| "this is neither an API key nor a JWT".to_owned())?;
        // RFC 7515 §4.1.11: what must be understood and is not.
        if names_critical(token) {
            return Err("the token has a crit header, of which nothing is understood".to_owned());
        }
        let claims = self.believed(token, header.kid.as_deref())?;
        // Rounded down: a fraction is no reason to refuse.
        let latest = get_current_timestamp().saturating_add(self.max_lifetime).saturating_add(LEEWAY);
        if claims.exp.floor() > u32::try_from(latest).map_or(f64::MAX, f64::from) {
            return Err("the token is valid for longer than is believed here (auth.jwt_max_lifetime)".to_owned());
        }
        if claims.project.chars().any(char::is_control) {
            return Err("the token's project cannot be a name".to_owned());
        }
        Ok(claims)
    }

    /// The claims of a token that one of the keys signed which it names. Two issuers may call their keys the same; a token
    /// that names none is tried only where there is one key in all.
    fn believed(&self, token: &str, kid: Option<&str>) -> Result<Claims, String> {
        let sets: Vec<_> = self
            .issuers
            .iter()
            .filter_map(|issuer| match &issuer.keys {
                Keys::One(_) => None,
                Keys::File(file) => Some((issuer, file.keys())),
            })
            .collect();
        let of_files = sets.iter().flat_map(|(issuer, set)| set.keys.iter().map(move |key| (*issuer, key)));
        let of_config = self.issuers.iter().filter_map(|issuer| match &issuer.keys {
            Keys::One(key) => Some((issuer, &**key)),
            Keys::File(_) => None,
        });
        let all: Vec<_> = of_config.chain(of_files).collect();
        let is_only = all.len() == 1;
        let mut why = "the token names no key that is configured here".to_owned();
        for (issuer, key) in all {
            let is_meant = match kid {
                None => is_only,
                Some(kid) => key.kid.as_deref() == Some(kid),
            };
            if !is_meant {
                continue;
            }
            match decode::<Claims>(token, &key.key, &issuer.validation) {
                Ok(token) => return issuer.grants(&token.claims).map(|()| token.claims),
                Err(error) => why = format!("the token is not valid: {error}"),
            }
        }
        Err(why)
    }

    /// How many keys each file holds, and which are left out.
    pub fn files(&self) -> Vec<(String, String)> {
        let files = self.issuers.iter().filter_map(|issuer| match &issuer.keys {
            Keys::One(_) => None,
            Keys::File(file) => {
                let set = file.keys();
                let left_out = if set.left_out.is_empty() {
                    String::new()
                } else {
                    format!("; left out: {}", set.left_out.join("; "))
                };
                Some((issuer.name.clone(), format!("{} keys{left_out}", set.keys.len())))
            }
        });
        files.collect()
    }
}

/// Whether a token's header has the member `crit`.
fn names_critical(token: &str) -> bool {
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let header = header.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    header.is_some_and(|header| header.get("crit").is_some())
}

impl Issuer {
    fn new(config: &JwtKey) -> Result<Self, String> {
        let name = if config.kid.is_empty() { &config.jwks_file } else { &config.kid };
        let named = |reason: String| format!("auth.jwt '{name}': {reason}");
        let (algorithm, keys) = read_keys(config).map_err(named)?;
        if config.issuer.is_empty() || config.audience.is_empty() {
            return Err(named("issuer and audience are required".to_owned()));
        }
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        let scope = |name: &String| Scope::parse(name).ok_or_else(|| named(format!("there is no scope '{name}'")));
        let scopes = config.scopes.iter().map(scope).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            name: name.clone(),
            keys,
            validation,
            projects: (!config.projects.is_empty()).then(|| config.projects.clone()),
            scopes: (!scopes.is_empty()).then_some(scopes),
        })
    }

    /// Whether it may give what a token says.
    fn grants(&self, claims: &Claims) -> Result<(), String> {
        if self.projects.as_ref().is_some_and(|projects| !projects.contains(&claims.project)) {
            return Err("the token's key is not for that project".to_owned());
        }
        let Some(scopes) = &self.scopes else { return Ok(()) };
        match claims.scope.split(' ').filter_map(Scope::parse).find(|scope| !scopes.contains(scope)) {
            Some(scope) => Err(format!("the token's key may not give the scope '{}'", scope.name())),
            None => Ok(()),
        }
    }
}

fn read_keys(config: &JwtKey) -> Result<(Algorithm, Keys), String> {
    let given = [&config.secret, &config.secret_file, &config.public_key_file, &config.jwks_file];
    if given.iter().filter(|text| !text.is_empty()).count() > 1 {
        return Err("secret, secret_file, public_key_file and jwks_file exclude each other".to_owned());
    }
    if config.jwks_file.is_empty() {
        if config.kid.is_empty() {
            return Err("kid is required".to_owned());
        }
        let (algorithm, key) = read_key(config)?;
        return Ok((algorithm, Keys::One(Box::new(PublicKey { kid: Some(config.kid.clone()), key }))));
    }
    let algorithm = match config.algorithm.as_str() {
        "RS256" => Algorithm::RS256,
        "ES256" => Algorithm::ES256,
        "EdDSA" => Algorithm::EdDSA,
        other => return Err(format!("algorithm '{other}' of a jwks_file is not one of RS256, ES256, EdDSA")),
    };
    Ok((algorithm, Keys::File(Box::new(JwksFile::new((&config.jwks_file).into(), algorithm)?))))
}

fn read_key(config: &JwtKey) -> Result<(Algorithm, DecodingKey), String> {
    let pem = || {
        std::fs::read(&config.public_key_file)
            .map_err(|error| format!("public_key_file '{}': {error}", config.public_key_file))
    };
    let unusable = |error: jsonwebtoken::errors::Error| format!("the key cannot be used: {error}");
    let secret = if config.secret_file.is_empty() {
        config.secret.clone()
    } else {
        let text = std::fs::read_to_string(&config.secret_file);
        let text = text.map_err(|error| format!("secret_file '{}': {error}", config.secret_file))?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    };
    match config.algorithm.as_str() {
        // RFC 7518 §3.2: a key of at least the hash's size.
        "HS256" if secret.len() >= 32 => Ok((Algorithm::HS256, DecodingKey::from_secret(secret.as_bytes()))),
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

    fn key() -> JwtKey {
        JwtKey {
            kid: "k1".into(),
            algorithm: "HS256".into(),
            secret: SECRET.into(),
            secret_file: String::new(),
            public_key_file: String::new(),
            jwks_file: String::new(),
            issuer: "https://id.example".into(),
            audience: "mailwright".into(),
            projects: Vec::new(),
            scopes: Vec::new(),
        }
    }

    fn with(key: JwtKey) -> Result<JwtKeys, String> {
        JwtKeys::new(&AuthConfig { jwt: vec![key], ..AuthConfig::default() })
    }

    fn keys() -> JwtKeys {
        with(key()).unwrap()
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
            (with("exp", json!(get_current_timestamp() + 24 * 3600 + 60)), "valid for more than a day"),
            (with("exp", json!(1e300)), "valid for ever"),
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

    #[test]
    fn a_key_gives_what_it_may_and_nothing_else() {
        let bound =
            JwtKey { projects: vec!["shop".into()], scopes: vec!["send".into(), "messages:read".into()], ..key() };
        let bound_keys = with(bound.clone()).unwrap();
        let verified = |changes: Value| {
            let mut claims = claims();
            for (name, value) in changes.as_object().unwrap() {
                claims[name] = value.clone();
            }
            bound_keys.verify(&token(Algorithm::HS256, Some("k1"), &claims)).map(|_| ())
        };
        assert_eq!(verified(json!({})), Ok(()));
        assert_eq!(verified(json!({"scope": "send"})), Ok(()));
        assert!(verified(json!({"project": "bank"})).unwrap_err().contains("not for that project"));
        for scope in ["admin", "send keys", "send admin messages:read"] {
            assert!(verified(json!({"scope": scope})).unwrap_err().contains("may not give"), "{scope}");
        }
        assert!(verified(json!({"from": null})).is_err(), "no list is not every domain");
        assert!(with(JwtKey { scopes: vec!["everything".into()], ..bound }).is_err());
    }
}
