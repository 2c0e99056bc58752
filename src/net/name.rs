//! Names as the DNS has them: labels of any octets (RFC 2181 §11). A host name is what a name should be, and a mail exchanger
//! is what somebody wrote into a zone.

use std::fmt::Write;

use hickory_resolver::proto::rr::Name;

/// The name that `text` writes, with `\.` and `\DDD` as in RFC 1035 §5.1; `None` when no name is so long, or has a label
/// that is empty or over 63 octets. With a dot within, or at its end, it is absolute: no search list is tried.
pub fn name_of(text: &str) -> Option<Name> {
    let is_absolute = text.contains('.');
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' => labels.push(Vec::new()),
            b'\\' => {
                let next = bytes.next()?;
                let octet = if next.is_ascii_digit() {
                    let digits = [next, bytes.next()?, bytes.next()?];
                    std::str::from_utf8(&digits).ok()?.parse().ok()?
                } else {
                    next
                };
                labels.last_mut()?.push(octet);
            }
            other => labels.last_mut()?.push(other),
        }
    }
    let mut name = Name::from_labels(labels.iter().map(Vec::as_slice)).ok()?;
    name.set_fqdn(is_absolute);
    Some(name).filter(|_| labels.iter().all(|label| !label.is_empty()))
}

/// A name as text, in lower case and without the dot at its end; empty for the root.
pub fn text_of(name: &Name) -> String {
    let mut text = String::new();
    for label in name {
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label {
            match byte {
                b'.' | b'\\' => {
                    text.push('\\');
                    text.push(char::from(*byte));
                }
                byte if byte.is_ascii_graphic() => text.push(char::from(byte.to_ascii_lowercase())),
                // Writing into a string cannot fail.
                byte => drop(write!(text, "\\{byte:03}")),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_survives() {
        for text in [
            "mx_1.hosts.test",
            "-mx.hosts.test",
            "mx-.hosts.test",
            "xn--a.hosts.test",
            "b\\195\\188cher.hosts.test",
            "a\\.b.test",
            "a\\\\b.test",
            "a b.test".replace(' ', "\\032").as_str(),
            "*.test",
            "_25._tcp.mx.test",
        ] {
            let name = name_of(text).unwrap();
            assert!(name.is_fqdn(), "{text}");
            assert_eq!(text_of(&name), text);
        }
        assert_eq!(text_of(&name_of("bücher.test").unwrap()), "b\\195\\188cher.test");
        assert_eq!(text_of(&name_of("MX.Hosts.TEST.").unwrap()), "mx.hosts.test");
        assert!(!name_of("localhost").unwrap().is_fqdn());
        let long = "a".repeat(64);
        for text in ["", ".", "a..b", ".a", &format!("{long}.test"), &"a.".repeat(200), "a\\", "a\\2.test"] {
            assert!(name_of(text).is_none(), "{text}");
        }
    }
}
