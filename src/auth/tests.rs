//! Tokens of an issuer whose keys stand in a file: only the right ones are believed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};

use super::JwtKeys;
use crate::config::{Auth, JwtKey};

/// A signing key, and its public half as a file has it.
struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn ec(kid: &str) -> Signer {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let der = pair.to_pkcs8v1().unwrap();
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
        "x": text(&public[1..33]), "y": text(&public[33..])});
    Signer { algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(der.as_ref()), jwk }
}

fn ed(kid: &str) -> Signer {
    let pair = Ed25519KeyPair::generate().unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(pair.public_key().as_ref())});
    Signer { algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(der.as_ref()), jwk }
}

fn rsa(kid: &str) -> (Signer, Vec<u8>) {
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(der.as_ref())
    );
    let public = pair.public_key();
    let (n, e) =
        (public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero());
    let jwk = json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": text(n), "e": text(e)});
    let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    (Signer { algorithm: Algorithm::RS256, key, jwk }, public.as_ref().to_vec())
}

fn claims() -> Value {
    json!({"sub": "u1", "project": "shop", "scope": "send", "iss": "id.example", "aud": "mailwright",
           "exp": get_current_timestamp() + 60})
}

impl Signer {
    fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        encode(&header, claims, &self.key).unwrap()
    }
}

/// A file with these keys, under a name of its own.
fn file(keys: &[&Value]) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("mailwright-jwks-{}-{number}.json", std::process::id()));
    std::fs::write(&path, json!({"keys": keys}).to_string()).unwrap();
    path
}

fn entry(algorithm: &str, path: &std::path::Path) -> JwtKey {
    JwtKey {
        kid: String::new(),
        algorithm: algorithm.into(),
        secret: String::new(),
        secret_file: String::new(),
        public_key_file: String::new(),
        jwks_file: path.display().to_string(),
        issuer: "id.example".into(),
        audience: "mailwright".into(),
        projects: Vec::new(),
        scopes: Vec::new(),
    }
}

fn keys(entries: Vec<JwtKey>) -> Result<JwtKeys, String> {
    JwtKeys::new(&Auth { jwt: entries, ..Auth::default() })
}

#[test]
fn a_file_with_several_keys_believes_each_by_its_name_alone() {
    let (one, two, stranger) = (ec("a"), ec("b"), ec("a"));
    let keys = keys(vec![entry("ES256", &file(&[&one.jwk, &two.jwk]))]).unwrap();
    assert_eq!(keys.verify(&one.token(Some("a"), &claims())).unwrap().project, "shop");
    assert!(keys.verify(&two.token(Some("b"), &claims())).is_ok());
    for kid in [None, Some("b"), Some(""), Some("A"), Some("../a"), Some("a\0"), Some("a' OR 1=1"), Some("/dev/null")] {
        assert!(keys.verify(&one.token(kid, &claims())).is_err(), "{kid:?}");
    }
    assert!(keys.verify(&stranger.token(Some("a"), &claims())).is_err(), "another key of that name");
}

#[test]
fn the_one_key_of_all_files_needs_no_name() {
    let (one, two) = (ed("a"), ec("b"));
    let alone = keys(vec![entry("EdDSA", &file(&[&one.jwk]))]).unwrap();
    assert!(alone.verify(&one.token(None, &claims())).is_ok());
    let both = keys(vec![entry("EdDSA", &file(&[&one.jwk])), entry("ES256", &file(&[&two.jwk]))]).unwrap();
    assert!(both.verify(&one.token(None, &claims())).is_err());
    assert!(
        both.verify(&one.token(Some("a"), &claims())).is_ok() && both.verify(&two.token(Some("b"), &claims())).is_ok()
    );
}

#[test]
fn the_algorithm_is_the_configurations_and_never_the_tokens() {
    let (signer, public) = rsa("r");
    let keys = keys(vec![entry("RS256", &file(&[&signer.jwk]))]).unwrap();
    let valid = signer.token(Some("r"), &claims());
    assert!(keys.verify(&valid).is_ok());
    // The public key's bytes as an HMAC secret, in each form that a confused library may feed to it.
    let modulus = URL_SAFE_NO_PAD.decode(signer.jwk["n"].as_str().unwrap()).unwrap();
    for secret in
        [&public[..], &modulus, signer.jwk["n"].as_str().unwrap().as_bytes(), signer.jwk.to_string().as_bytes()]
    {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("r".to_owned());
        let token = encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap();
        assert!(keys.verify(&token).is_err());
    }
    let (payload, signature) = (valid.split('.').nth(1).unwrap(), valid.split('.').nth(2).unwrap());
    for alg in ["none", "None", "NONE", "nOnE", "rs256", "RS512", "PS256", "HS256", "ES256", "EdDSA", ""] {
        let header = text(json!({"alg": alg, "kid": "r", "typ": "JWT"}).to_string().as_bytes());
        for signature in ["", signature] {
            assert!(keys.verify(&format!("{header}.{payload}.{signature}")).is_err(), "{alg}");
        }
    }
    // A token brings no key of its own.
    let header =
        json!({"alg": "RS256", "jwk": signer.jwk, "jku": "https://evil.example/k", "x5u": "https://evil.example/c"});
    let token = format!("{}.{payload}.{signature}", text(header.to_string().as_bytes()));
    assert!(keys.verify(&token).is_err());
    // Another algorithm of the same family of keys is another algorithm.
    let other = Signer { algorithm: Algorithm::RS512, ..rsa("r").0 };
    assert!(keys.verify(&other.token(Some("r"), &claims())).is_err());
}

#[test]
fn times_audiences_and_issuers_are_held_to() {
    let signer = ec("a");
    let keys = keys(vec![entry("ES256", &file(&[&signer.jwk]))]).unwrap();
    let now = get_current_timestamp();
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.to_owned(), value),
        };
        keys.verify(&signer.token(Some("a"), &claims)).map(|_| ())
    };
    for (name, value) in [
        ("aud", json!(["other", "mailwright"])),
        ("exp", json!(now - 5)),
        ("nbf", json!(now + 5)),
        ("exp", json!(now as f64 + 30.5)),
        ("exp", json!(now + 24 * 3600 - 5)),
    ] {
        assert_eq!(with(name, value.clone()), Ok(()), "{name} {value}");
    }
    for (name, value) in [
        ("exp", Value::Null),
        ("exp", json!((now + 60).to_string())),
        ("exp", json!(now - 15)),
        ("exp", json!(now + 24 * 3600 + 60)),
        ("exp", json!([now + 60])),
        ("exp", json!(true)),
        ("nbf", json!(now + 30)),
        ("aud", json!(["other"])),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("iss", json!("id.example.evil")),
        ("iss", Value::Null),
        ("sub", Value::Null),
    ] {
        assert!(with(name, value.clone()).is_err(), "{name} {value}");
    }
}

#[test]
fn keys_that_are_not_to_be_used_are_left_out_and_named() {
    let good = ec("good");
    let changed = |name: &str, value: Value| {
        let mut jwk = ec(name).jwk;
        let (member, value) = value.as_object().unwrap().iter().next().map(|(k, v)| (k.clone(), v.clone())).unwrap();
        jwk[member] = value;
        jwk
    };
    let secret = text(&[7; 32]);
    let symmetric = json!({"kty": "oct", "kid": "symmetric", "k": secret, "alg": "ES256"});
    let bad = [
        symmetric,
        rsa("another").0.jwk,
        ed("curve").jwk,
        changed("encrypting", json!({"use": "enc"})),
        changed("operations", json!({"key_ops": ["sign"]})),
        changed("algorithm", json!({"alg": "ES384"})),
        changed("private", json!({"d": "AAAA"})),
        changed("wide", json!({"crv": "P-384"})),
        changed("broken", json!({"x": "***"})),
        json!({"kid": "empty"}),
        json!("no object"),
    ];
    let all: Vec<_> = bad.iter().chain([&good.jwk]).collect();
    let keys = keys(vec![entry("ES256", &file(&all))]).unwrap();
    assert!(keys.verify(&good.token(Some("good"), &claims())).is_ok());
    let (_, found) = keys.files().pop().unwrap();
    assert!(found.starts_with("1 keys; left out: key 'symmetric': is symmetric; "), "{found}");
    for name in ["another", "curve", "encrypting", "operations", "algorithm", "private", "wide", "broken", "empty"] {
        assert!(found.contains(&format!("key '{name}': ")), "{name}: {found}");
    }
    assert!(found.contains("key 10: "), "{found}");
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("symmetric".to_owned());
    let forged = encode(&header, &claims(), &EncodingKey::from_secret(&[7; 32])).unwrap();
    assert!(keys.verify(&forged).is_err());
}

#[test]
fn a_file_says_what_is_wrong_with_it_or_with_its_entry() {
    let path = file(&[&ec("a").jwk]);
    let why = |entry: JwtKey| keys(vec![entry]).err().unwrap();
    assert!(why(entry("HS256", &path)).contains("algorithm 'HS256' of a jwks_file"));
    assert!(why(JwtKey { secret: "s".repeat(32), ..entry("ES256", &path) }).contains("exclude each other"));
    assert!(why(entry("ES256", std::path::Path::new("/nonexistent/k.json"))).contains("/nonexistent/k.json"));
    std::fs::write(&path, "{\"keys\": {}}").unwrap();
    assert!(why(entry("ES256", &path)).contains("is no JWK Set"));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_anew_and_one_that_is_broken_keeps_the_keys_before() {
    let (one, two) = (ec("a"), ec("b"));
    let path = file(&[&one.jwk]);
    let keys = keys(vec![entry("ES256", &path)]).unwrap();
    let is_believed = |signer: &Signer, kid: &str| keys.verify(&signer.token(Some(kid), &claims())).is_ok();
    let write = |text: String| std::fs::write(&path, text).unwrap();
    let look = || tokio::time::advance(Duration::from_secs(2));
    write(json!({"keys": [one.jwk, two.jwk]}).to_string());
    assert!(is_believed(&one, "a") && !is_believed(&two, "b"), "not looked at yet");
    look().await;
    assert!(is_believed(&one, "a") && is_believed(&two, "b"));
    for broken in ["{\"keys\": [", "", "[]"] {
        write(broken.to_owned());
        look().await;
        assert!(is_believed(&one, "a") && is_believed(&two, "b"), "{broken}");
    }
    std::fs::remove_file(&path).unwrap();
    look().await;
    assert!(is_believed(&two, "b"));
    write(json!({"keys": [two.jwk]}).to_string());
    look().await;
    assert!(!is_believed(&one, "a") && is_believed(&two, "b"), "it was taken out");
    write(json!({"keys": []}).to_string());
    look().await;
    assert!(!is_believed(&two, "b"));
}
