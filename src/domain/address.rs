//! Addresses: RFC 5321 mailboxes and RFC 5322 name-addr, parsed once and never again.
//!
//! The domain of an [`Address`] is a lower-case A-label (RFC 5890), the local part is kept as written.
//! Nothing that passes here can break a header or an SMTP command: no control character, no line
//! break, no NUL.

use std::fmt;

/// RFC 5321 §4.5.3.1.1: octets of a local part.
const LOCAL_MAX: usize = 64;
/// RFC 5321 §4.5.3.1.3 less the angle brackets: octets of a mailbox.
const MAILBOX_MAX: usize = 254;
/// Characters of a display name. No RFC limit; long names are folded, absurd ones refused.
const NAME_MAX: usize = 320;

/// An RFC 5321 `Mailbox`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    text: String,
    at: usize,
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("has no '@' between a local part and a domain")]
    NoAt,
    #[error("has a control character, a line break or a NUL")]
    Control,
    #[error("has an empty or malformed local part (RFC 5321 §4.1.2)")]
    Local,
    #[error("has a malformed domain: it must have at least two labels of letters, digits and hyphens")]
    Domain,
    #[error("is longer than RFC 5321 §4.5.3.1 allows (64 octets of local part, 254 in all)")]
    Length,
    #[error("has a display name that cannot be written into a header")]
    Name,
    #[error("is not of the form a@b.c or Name <a@b.c>")]
    Form,
}

impl Address {
    /// Parses `local@domain`; the domain may be given as U-labels.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.chars().any(char::is_control) {
            return Err(AddressError::Control);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoAt)?;
        check_local(local)?;
        let domain = parse_domain(domain)?;
        if local.len() > LOCAL_MAX || local.len() + 1 + domain.len() > MAILBOX_MAX {
            return Err(AddressError::Length);
        }
        Ok(Self { at: local.len(), text: format!("{local}@{domain}") })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// Whether it can be said only under SMTPUTF8 (RFC 6531): its local part is not ASCII.
    pub fn needs_smtputf8(&self) -> bool {
        !self.text.is_ascii()
    }

    /// The domain as lower-case A-labels.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// `Dot-string` or `Quoted-string` of RFC 5321 §4.1.2, with the characters beyond ASCII of RFC 6531 §3.3.
fn check_local(local: &str) -> Result<(), AddressError> {
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let valid = match quoted {
        Some(inner) if local.len() >= 2 => is_quoted_content(inner),
        _ => {
            local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(|byte| !byte.is_ascii() || is_atext(byte)))
        }
    };
    if valid { Ok(()) } else { Err(AddressError::Local) }
}

fn is_quoted_content(inner: &str) -> bool {
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'\\' => bytes.next().is_some_and(|b| (32..=126).contains(&b)),
            b'"' => false,
            _ => (32..=126).contains(&byte) || !byte.is_ascii(),
        };
        if !fine {
            return false;
        }
    }
    true
}

/// RFC 5322 §3.2.3.
const fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~')
}

/// The lower-case A-label form of a domain with at least two labels; no address literals.
pub fn parse_domain(text: &str) -> Result<String, AddressError> {
    let ascii = idna::domain_to_ascii_strict(text).map_err(|_| AddressError::Domain)?;
    let valid_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels: Vec<_> = ascii.split('.').collect();
    let numeric_end = labels.last().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if labels.len() >= 2 && !numeric_end && labels.into_iter().all(valid_label) {
        Ok(ascii)
    } else {
        Err(AddressError::Domain)
    }
}

/// A mailbox with an optional display name, as it stands in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAddress {
    pub name: Option<String>,
    pub address: Address,
}

impl NamedAddress {
    /// Parses `a@b.c`, `<a@b.c>`, `Name <a@b.c>` or `"Quoted, Name" <a@b.c>`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.chars().any(char::is_control) {
            return Err(AddressError::Control);
        }
        let text = text.trim();
        let Some(body) = text.strip_suffix('>') else {
            return Ok(Self { name: None, address: Address::parse(text)? });
        };
        let (name, address) = body.rsplit_once('<').ok_or(AddressError::Form)?;
        Self::from_parts(Some(&unquote(name.trim())?), address)
    }

    /// A mailbox from a bare address and an optional display name.
    pub fn from_parts(name: Option<&str>, address: &str) -> Result<Self, AddressError> {
        let address = Address::parse(address)?;
        let name = name.map(str::trim).filter(|n| !n.is_empty());
        if name.is_some_and(|n| n.chars().count() > NAME_MAX || n.chars().any(char::is_control)) {
            return Err(AddressError::Name);
        }
        Ok(Self { name: name.map(str::to_owned), address })
    }
}

impl fmt::Display for NamedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => self.address.fmt(f),
        }
    }
}

fn unquote(name: &str) -> Result<String, AddressError> {
    let Some(inner) = name.strip_prefix('"') else {
        return if name.contains(['"', '<', '>']) { Err(AddressError::Form) } else { Ok(name.to_owned()) };
    };
    let inner = inner.strip_suffix('"').ok_or(AddressError::Form)?;
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(chars.next().ok_or(AddressError::Form)?),
            '"' => return Err(AddressError::Form),
            _ => plain.push(c),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_addresses_are_kept_and_domains_become_lower_case_a_labels() {
        for (text, wire) in [
            ("a@b.c", "a@b.c"),
            ("First.Last+tag@Example.COM", "First.Last+tag@example.com"),
            ("x@bücher.example", "x@xn--bcher-kva.example"),
            ("\"a b\"@example.org", "\"a b\"@example.org"),
            ("o'hara@example.org", "o'hara@example.org"),
            ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
        ] {
            assert_eq!(Address::parse(text).unwrap().as_str(), wire);
        }
    }

    #[test]
    fn what_could_break_a_command_or_a_header_is_refused() {
        use AddressError as E;
        for (text, error) in [
            ("", E::NoAt),
            ("plain", E::NoAt),
            ("@b.c", E::Local),
            ("a..b@c.d", E::Local),
            (".a@c.d", E::Local),
            ("a b@c.d", E::Local),
            ("a@b@c.d", E::Local),
            ("\"a\"b\"@c.d", E::Local),
            ("a@b", E::Domain),
            ("a@b_c.com", E::Domain),
            ("a@-b.com", E::Domain),
            ("a@b..com", E::Domain),
            ("a@[127.0.0.1]", E::Domain),
            ("a@127.0.0.1", E::Domain),
            ("a@b.c>\r\nRCPT TO:<x@y.z", E::Control),
            ("a\0@b.c", E::Control),
        ] {
            assert_eq!(Address::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Address::parse(&format!("{}@b.c", "a".repeat(65))), Err(E::Length));
    }

    #[test]
    fn names_come_with_or_without_quotes() {
        for (text, name, address) in [
            ("a@b.c", None, "a@b.c"),
            ("<a@b.c>", None, "a@b.c"),
            ("Ann Lee <a@b.c>", Some("Ann Lee"), "a@b.c"),
            ("\"Lee, \\\"Ann\\\"\" <a@b.c>", Some("Lee, \"Ann\""), "a@b.c"),
            ("Zoë <a@b.c>", Some("Zoë"), "a@b.c"),
        ] {
            let parsed = NamedAddress::parse(text).unwrap();
            assert_eq!((parsed.name.as_deref(), parsed.address.as_str()), (name, address));
        }
        assert_eq!(NamedAddress::parse("A\r\nBcc: x@y.z <a@b.c>"), Err(AddressError::Control));
        assert_eq!(NamedAddress::parse("a@b.c, d@e.f>"), Err(AddressError::Form));
    }

    proptest::proptest! {
        #[test]
        fn whatever_parses_is_safe_on_the_wire(text in "\\PC*@\\PC*|[ -~]{1,40}@[ -~]{1,40}") {
            if let Ok(address) = Address::parse(&text) {
                proptest::prop_assert!(address.domain().is_ascii());
                proptest::prop_assert_eq!(address.needs_smtputf8(), !address.local().is_ascii());
                proptest::prop_assert!(!address.as_str().contains(char::is_control));
                proptest::prop_assert!(!address.domain().contains(['<', '>', ' ']));
                proptest::prop_assert_eq!(Address::parse(address.as_str()), Ok(address.clone()));
            }
        }
    }
}
