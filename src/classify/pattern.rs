//! Patterns of rules: three digits, enhanced statuses, and texts with `*` for anything. All linear.

use crate::domain::reply::EnhancedStatus;

/// A code such as `550`, `4yz` or `45z`: `y` and `z` stand for any digit.
pub fn code(pattern: &str, code: u16) -> bool {
    let digits = code.to_string();
    pattern.len() == digits.len()
        && pattern.bytes().zip(digits.bytes()).all(|(p, d)| p == d || matches!(p, b'y' | b'z'))
}

/// Whether a text is a pattern of [`code`].
pub fn is_code(pattern: &str) -> bool {
    pattern.len() == 3
        && pattern.starts_with(['2', '3', '4', '5'])
        && pattern.bytes().skip(1).all(|b| b.is_ascii_digit() || matches!(b, b'y' | b'z'))
}

/// An enhanced status such as `5.7.1`, `5.7.*` or `*.2.2`.
pub fn enhanced(pattern: &str, status: EnhancedStatus) -> bool {
    let mut parts = pattern.split('.');
    let mut part = |value: u16| parts.next().is_some_and(|p| p == "*" || p.parse() == Ok(value));
    part(u16::from(status.class)) && part(status.subject) && part(status.detail)
}

/// Whether a text is a pattern of [`enhanced`].
pub fn is_enhanced(pattern: &str) -> bool {
    pattern.split('.').count() == 3 && pattern.split('.').all(|part| part == "*" || part.parse::<u16>().is_ok())
}

/// Whether the pieces between the `*` of `pattern` occur in `text`, in order. Takes the first place of each piece,
/// which is right for pieces that need not touch.
pub fn text(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    pattern.split('*').all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        assert!(code("550", 550) && code("5yz", 554) && code("45z", 451) && !code("45z", 461) && !code("4yz", 550));
        let status = EnhancedStatus { class: 5, subject: 7, detail: 1 };
        assert!(enhanced("5.7.1", status) && enhanced("5.7.*", status) && enhanced("*.7.*", status));
        assert!(!enhanced("5.1.*", status) && !enhanced("5.7", status));
        assert!(text("user*unknown", "the user is really unknown here") && text("", "x"));
        assert!(!text("unknown*user", "user unknown"));
    }
}
