//! Addresses: RFC 5321 mailboxes and RFC 5322 name-addr, parsed once and never again.
//!
//! The domain of an [`Address`] is a lower-case A-label (RFC 5890), the local part is kept as written.
//! Nothing that passes here can break a header or an SMTP command: no control character, no line
//! break, no NUL.

use std::fmt;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens};

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
    #[error("seems to be several addresses in one string: give a list, one address in each string")]
    Several,
    #[error(
        "has a display name with '{0}': write it in quotes, as \"Lee, Ann\" <a@b.c>, or give several addresses as a list"
    )]
    Unquoted(char),
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

    /// What two spellings of one mailbox have in common: letters in lower case. RFC 5321 §2.4 lets a host tell local parts
    /// apart by case; no host that people have mail at does.
    pub fn folded(&self) -> String {
        self.text.to_lowercase()
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
pub(super) const fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~')
}

/// Whether a domain is `parent`, or below it at a dot; both as [`parse_domain`] writes them.
pub fn is_within(domain: &str, parent: &str) -> bool {
    domain.strip_suffix(parent).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// What stands in one pair of angle brackets, or the text as it is, without white space around.
pub fn unbracketed(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text)
}

/// The lower-case A-label form of a domain with at least two labels; no address literals.
pub fn parse_domain(text: &str) -> Result<String, AddressError> {
    // Hyphens in the third and fourth place are ordinary: only `xn--` says something (RFC 5891 §4.2.3.1, RFC 952).
    let ascii = idna::uts46::Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Verify)
        .map_err(|_| AddressError::Domain)?
        .into_owned();
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
    /// Parses `a@b.c`, `<a@b.c>`, `Name <a@b.c>` or `"Quoted, Name" <a@b.c>`: one address. A second one in the same
    /// string is never dropped, nor taken for a name.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.chars().any(char::is_control) {
            return Err(AddressError::Control);
        }
        let text = text.trim();
        let Some(body) = text.strip_suffix('>') else {
            let parsed = Address::parse(text).map(|address| Self { name: None, address });
            return parsed.map_err(|error| if is_several(text) { AddressError::Several } else { error });
        };
        let (name, address) = body.rsplit_once('<').ok_or(AddressError::Form)?;
        let name = unquote(name.trim()).map_err(|error| match error {
            AddressError::Form | AddressError::Unquoted(_) if is_several(text) => AddressError::Several,
            other => other,
        })?;
        Self::from_parts(Some(&name), address)
    }

    /// A mailbox from a bare address and an optional display name.
    pub fn from_parts(name: Option<&str>, address: &str) -> Result<Self, AddressError> {
        let address = address.trim();
        let address =
            Address::parse(address).map_err(|error| if is_several(address) { AddressError::Several } else { error })?;
        let name = name.map(str::trim).filter(|n| !n.is_empty());
        if name.is_some_and(|n| n.chars().count() > NAME_MAX || n.chars().any(char::is_control)) {
            return Err(AddressError::Name);
        }
        Ok(Self { name: name.map(str::to_owned), address })
    }
}

/// Whether a text that is no address holds what separates addresses, and more than one `@`.
fn is_several(text: &str) -> bool {
    text.matches('@').count() > 1 && text.contains([',', ';', ' '])
}

/// As it can be read back: a name that holds more than words is in quotes.
impl fmt::Display for NamedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.name else { return self.address.fmt(f) };
        let is_word = |c: char| c == ' ' || c == '.' || !c.is_ascii() || u8::try_from(c).is_ok_and(is_atext);
        if name.chars().all(is_word) {
            write!(f, "{name} <{}>", self.address)
        } else {
            write!(f, "\"{}\" <{}>", name.replace('\\', "\\\\").replace('"', "\\\""), self.address)
        }
    }
}

fn unquote(name: &str) -> Result<String, AddressError> {
    let Some(inner) = name.strip_prefix('"') else {
        // RFC 5322 §3.2.3 `specials` that part addresses, or could belong to another one; others are harmless in a name.
        return match name.chars().find(|c| ",;:@<>\"".contains(*c)) {
            None => Ok(name.to_owned()),
            Some(',' | ';' | ':' | '@') => {
                Err(AddressError::Unquoted(name.chars().find(|c| ",;:@".contains(*c)).unwrap_or(',')))
            }
            Some(_) => Err(AddressError::Form),
        };
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

    #[test]
    fn two_addresses_in_one_string_are_never_one() {
        use AddressError as E;
        for (text, error) in [
            ("c@x.test, Bob <d@x.test>", E::Several),
            ("c@x.test; Bob <d@x.test>", E::Several),
            ("Ann <c@x.test>, Bob <d@x.test>", E::Several),
            ("\"Ann\" <c@x.test>, \"Bob\" <d@x.test>", E::Several),
            ("a@x.test, b@x.test", E::Several),
            ("a@x.test;b@x.test", E::Several),
            ("a@x.test b@x.test", E::Several),
            ("c@x.test <d@x.test>", E::Unquoted('@')),
            ("Lee, Ann <a@x.test>", E::Unquoted(',')),
            ("Team: Ann <a@x.test>", E::Unquoted(':')),
        ] {
            let found = NamedAddress::parse(text);
            assert!(found == Err(error) || (error != E::Several && found == Err(E::Several)), "{text}: {found:?}");
        }
        assert!(NamedAddress::parse("Dr. Ann (home) O'Hara <a@x.test>").is_ok());
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        for name in [
            "Ann",
            "Kock, Arne",
            "x@y.test, Bob",
            "a \"b\" \\ c",
            "J. Smith",
            "Zoë",
            "用户, 名",
            "a <b>",
            "(x)",
            "a:b;",
        ] {
            let named = NamedAddress::from_parts(Some(name), "a@b.c").unwrap();
            assert_eq!(NamedAddress::parse(&named.to_string()), Ok(named.clone()), "{named}");
        }
    }

    #[test]
    fn hyphens_stand_where_they_like() {
        for text in ["a@my--shop.test", "a@r3---sn.example", "a@xn--bcher-kva.example"] {
            assert!(Address::parse(text).is_ok(), "{text}");
        }
        for text in ["a@xn--a.example", "a@-a.example", "a@a-.example"] {
            assert_eq!(Address::parse(text), Err(AddressError::Domain), "{text}");
        }
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
