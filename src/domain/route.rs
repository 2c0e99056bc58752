//! Where mail goes: to the recipient's MX, through smarthosts, or into the sandbox.

use std::fmt;
use std::str::FromStr;

/// The configured way out for live mail.
#[derive(Clone, PartialEq, Eq)]
pub enum Route {
    /// Straight to the MX hosts of the recipient's domain (RFC 5321 §5.1).
    Mx,
    /// Through one of these, tried in order.
    Smarthosts(Vec<Smarthost>),
    /// Into the built-in inbox; nothing reaches the network.
    Sandbox,
}

impl Route {
    /// For people: `mx`, `sandbox`, or the relays without their credentials.
    pub fn in_words(&self) -> String {
        match self {
            Self::Mx => "mx".to_owned(),
            Self::Sandbox => "sandbox".to_owned(),
            Self::Smarthosts(hosts) => format!("smarthost {}", Smarthost::names(hosts)),
        }
    }
}

/// A host that relays for us.
#[derive(Clone, PartialEq, Eq)]
pub struct Smarthost {
    pub host: String,
    pub port: u16,
    pub tls: TlsPolicy,
    pub credentials: Option<Credentials>,
    /// Its share beside the others of a pool.
    pub weight: u32,
}

/// How much TLS a next hop must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsPolicy {
    /// Never.
    None,
    /// STARTTLS when offered, any certificate; in the clear otherwise (RFC 7435).
    Opportunistic,
    /// STARTTLS with any certificate, or no delivery: DANE without a record that can be used (RFC 7672 §2.2).
    Encrypted,
    /// STARTTLS with a valid certificate, or no delivery.
    Required,
    /// STARTTLS with a certificate that a TLSA record names, or no delivery (RFC 7672).
    Dane,
    /// TLS from the first byte (RFC 8314 §3.3), with a valid certificate.
    Implicit,
}

impl TlsPolicy {
    /// Whether the certificate must chain to an authority and show the host's name.
    pub const fn validates(self) -> bool {
        matches!(self, Self::Required | Self::Implicit)
    }

    /// Whether nothing may be sent in the clear.
    pub const fn is_mandatory(self) -> bool {
        matches!(self, Self::Encrypted | Self::Required | Self::Dane | Self::Implicit)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opportunistic => "opportunistic",
            Self::Encrypted => "encrypted",
            Self::Required => "required",
            Self::Dane => "dane",
            Self::Implicit => "implicit",
        }
    }
}

/// What AUTH sends (RFC 4954); only ever over validated TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

/// Why a text is not a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("'{0}' is neither mx, sandbox nor smtp://host:port or smtps://host:port")]
    Form(String),
    #[error("'{0}' is not a port")]
    Port(String),
    #[error("tls={0} is not one of none, opportunistic, required")]
    Tls(String),
    #[error("weight={0} is not a number from 1 to 1000")]
    Weight(String),
    #[error("'{0}' is not an option of a smarthost; there are tls and weight")]
    Option(String),
    #[error("a user and password are sent over validated TLS only: use tls=required or smtps://")]
    CredentialsInTheClear,
    #[error("the user or password has a malformed %-escape")]
    Escape,
}

/// The lane key of live mail through smarthosts.
pub const SMARTHOST_LANE: &str = "smarthost";
/// The lane key of mail that ends in the built-in inbox.
pub const SANDBOX_LANE: &str = "sandbox";

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        match text.trim() {
            "mx" => Ok(Self::Mx),
            "sandbox" => Ok(Self::Sandbox),
            list => list.split(',').map(|one| one.trim().parse()).collect::<Result<_, _>>().map(Self::Smarthosts),
        }
    }
}

impl FromStr for Smarthost {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let form = || RouteError::Form(outline(text));
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (userinfo, authority) = match rest.trim_end_matches('/').rsplit_once('@') {
            Some((userinfo, authority)) => (Some(userinfo), authority),
            None => (None, rest.trim_end_matches('/')),
        };
        let credentials = userinfo.map(parse_credentials).transpose()?;
        let (host, port) = split_authority(authority).ok_or_else(form)?;
        let options = Options::parse(query)?;
        let tls = match (scheme, options.tls) {
            ("smtps", None) => TlsPolicy::Implicit,
            ("smtp", Some(tls)) => tls,
            ("smtp", None) if credentials.is_some() => TlsPolicy::Required,
            ("smtp", None) => TlsPolicy::Opportunistic,
            _ => return Err(form()),
        };
        if credentials.is_some() && !tls.validates() {
            return Err(RouteError::CredentialsInTheClear);
        }
        let default_port = if tls == TlsPolicy::Implicit { 465 } else { 25 };
        let port = match port {
            Some(port) => port.parse().map_err(|_| RouteError::Port(plain(port, |c| c.is_ascii_digit())))?,
            None => default_port,
        };
        Ok(Self { host: host.to_owned(), port, tls, credentials, weight: options.weight })
    }
}

fn split_authority(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, rest.strip_prefix(':'))
    } else {
        match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let valid = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:_".contains(&b));
    valid.then_some((host, port))
}

/// What stands behind the `?`.
struct Options {
    tls: Option<TlsPolicy>,
    weight: u32,
}

impl Options {
    fn parse(query: &str) -> Result<Self, RouteError> {
        let mut options = Self { tls: None, weight: 1 };
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("tls", "none")) => options.tls = Some(TlsPolicy::None),
                Some(("tls", "opportunistic")) => options.tls = Some(TlsPolicy::Opportunistic),
                Some(("tls", "required")) => options.tls = Some(TlsPolicy::Required),
                Some(("tls", other)) => return Err(RouteError::Tls(plain(other, |c| c.is_ascii_lowercase()))),
                Some(("weight", number)) => {
                    let weight = number.parse().ok().filter(|weight| (1..=1000).contains(weight));
                    options.weight = weight.ok_or_else(|| RouteError::Weight(plain(number, |c| c.is_ascii_digit())))?;
                }
                _ => {
                    let name = option.split('=').next().unwrap_or_default();
                    // What follows a question mark in a password is no option.
                    let is_option = option.contains('=') && !query.contains('@');
                    return Err(RouteError::Option(plain(name, |c| is_option && c.is_ascii_lowercase())));
                }
            }
        }
        Ok(options)
    }
}

fn parse_credentials(userinfo: &str) -> Result<Credentials, RouteError> {
    let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    Ok(Credentials { username: unescape(username)?, password: unescape(password)? })
}

/// Undoes %-escapes (RFC 3986 §2.1).
fn unescape(text: &str) -> Result<String, RouteError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let (hex, tail) = rest.split_at_checked(2).ok_or(RouteError::Escape)?;
            let hex = std::str::from_utf8(hex).map_err(|_| RouteError::Escape)?;
            bytes.push(u8::from_str_radix(hex, 16).map_err(|_| RouteError::Escape)?);
            rest = tail;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| RouteError::Escape)
}

/// A value as an error shows it: one that may be a part of a password is not.
fn plain(text: &str, is_harmless: impl Fn(char) -> bool) -> String {
    if text.len() <= 16 && text.chars().all(is_harmless) { text.to_owned() } else { "…".to_owned() }
}

/// A route as an error shows it that cannot be read as one: what in it is a password cannot be told.
fn outline(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, _)) => format!("{}://…", plain(scheme, |c| c.is_ascii_alphanumeric())),
        None => plain(text, |c| c.is_ascii_alphanumeric() || c == '.' || c == '-'),
    }
}

/// `text` without passwords, wherever they stand: before an `@`, with a scheme or without, and in a parameter
/// `password=…` of a URL or of key words.
pub fn redact(text: &str) -> String {
    let start = text.find("://").map_or(0, |scheme| scheme + 3);
    let text = match text.rfind('@') {
        Some(at) if start < at => format!("{}***{}", &text[..start], &text[at..]),
        _ => text.to_owned(),
    };
    let lower = text.to_ascii_lowercase();
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for word in ["password", "passwd", "secret"] {
        while let Some(at) = lower[from..].find(word).map(|at| from + at + word.len()) {
            let behind = text[at..].trim_start_matches([' ', '"', '\'']);
            let value = text.len() - behind.len();
            shown.push_str(&text[from..value]);
            from = value;
            if let Some(secret) = behind.strip_prefix('=') {
                shown.push_str("=***");
                let inner = secret.trim_start_matches([' ', '"', '\'']);
                let end = inner.find(['&', ' ', ',', '\n', '"', '\'']).unwrap_or(inner.len());
                from = text.len() - inner.len() + end;
            }
        }
    }
    shown + &text[from..]
}

/// What is wrong with a TOML text, and in which line: its lines, which may hold secrets, are not shown.
pub fn toml_fault(text: &str, at: Option<usize>, message: &str) -> String {
    let line = at.map(|at| text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1);
    line.map_or_else(|| redact(message), |line| format!("line {line}: {}", redact(message)))
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mx => f.write_str("mx"),
            Self::Sandbox => f.write_str("sandbox"),
            Self::Smarthosts(list) => f.debug_list().entries(list).finish(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

impl Smarthost {
    /// Hosts and ports, with commas between.
    pub fn names(hosts: &[Self]) -> String {
        let names: Vec<_> = hosts.iter().map(|host| format!("{}:{}", host.host, host.port)).collect();
        names.join(",")
    }
}

impl fmt::Debug for Smarthost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {:?}", self.host, self.port, self.tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Smarthost {
        match text.parse() {
            Ok(Route::Smarthosts(mut list)) => list.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn smarthosts_are_read_with_their_defaults() {
        let plain = one("smtp://relay.example.org");
        assert_eq!((plain.port, plain.tls), (25, TlsPolicy::Opportunistic));
        let auth = one("smtp://u%40x:p%3A1@relay.example.org:587");
        assert_eq!(auth.tls, TlsPolicy::Required);
        let credentials = auth.credentials.unwrap();
        assert_eq!((&*credentials.username, &*credentials.password), ("u@x", "p:1"));
        let implicit = one("smtps://u:p@[::1]/");
        assert_eq!((&*implicit.host, implicit.port, implicit.tls), ("::1", 465, TlsPolicy::Implicit));
        assert_eq!(one("smtp://127.0.0.1:2525?tls=none").tls, TlsPolicy::None);
    }

    #[test]
    fn a_pool_is_a_list() {
        let Ok(Route::Smarthosts(list)) = "smtp://a:1?tls=none,smtp://b:2".parse() else { panic!() };
        assert_eq!(list.iter().map(|s| s.port).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_would_leak_or_guess_is_refused() {
        for (text, error) in [
            ("smtp://u:p@h?tls=none", RouteError::CredentialsInTheClear),
            ("smtp://u:p@h?tls=opportunistic", RouteError::CredentialsInTheClear),
            ("smtp://h:99999", RouteError::Port("99999".into())),
            ("smtp://h?tls=maybe", RouteError::Tls("maybe".into())),
            ("smtp://h?weight=0", RouteError::Weight("0".into())),
            ("smtp://h?verify=no", RouteError::Option("verify".into())),
            ("http://h", RouteError::Form("http://…".into())),
            ("", RouteError::Form(String::new())),
        ] {
            assert_eq!(text.parse::<Route>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_password_that_is_not_escaped_is_in_no_error() {
        for password in [
            "HUNT,ER2",
            "HUNT?ER2",
            "HUNT/ER2",
            "HUNT#ER2",
            "HUNT@ER2",
            "HUNT ER2",
            "HUNT?tls=ER2",
            "HUNT&ER2",
            "HUNT?weight=ER2",
            "HUNT:ER2",
            "%HUNT",
            "HUNT?x=ER2",
        ] {
            for form in [
                "smtps://u:PASS@h:465",
                "smtp://u:PASS",
                "u:PASS@h",
                "smtps://u:PASS@h:465?tls=what",
                "smtps://u:PASS@h:x",
                "smtps://u:PASS@h,smtp://g",
            ] {
                let text = form.replace("PASS", password);
                if let Err(error) = text.parse::<Route>() {
                    let shown = error.to_string();
                    assert!(!shown.contains("HUNT") && !shown.contains("ER2"), "{text}: {shown}");
                }
            }
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        for (text, shown) in [
            ("smtp://u:p@h:25", "smtp://***@h:25"),
            ("u:hunter2@h", "***@h"),
            ("postgres://h/db?user=u&password=hunter2&x=1", "postgres://h/db?user=u&password=***&x=1"),
            ("host=h password=hunter2 user=u", "host=h password=*** user=u"),
            ("host=h PASSWORD = 'hunter2' user=u", "host=h PASSWORD =*** user=u"),
            ("smtp://h", "smtp://h"),
        ] {
            let found = redact(text);
            assert!(!found.contains("hunter2") && found.len() <= shown.len() + 12, "{text}: {found}");
        }
        assert_eq!(redact("smtp://u:p@h:25"), "smtp://***@h:25");
        assert!(!format!("{:?}", one("smtps://user:hunter2@h")).contains("hunter2"));
    }
}
