//! An SMTP reply: code, enhanced status, text (RFC 5321 §4.2, RFC 3463).

use std::fmt;

/// What a server answered. The code decides; the text is decoration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200..=599.
    pub code: u16,
    pub enhanced: Option<EnhancedStatus>,
    /// Lines joined by a space, without codes, printable, at most 1,000 characters.
    pub text: String,
}

impl Reply {
    /// 2yz: done.
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 5yz: will not change by itself.
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

/// RFC 3463 §2: `class.subject.detail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnhancedStatus {
    pub class: u8,
    pub subject: u16,
    pub detail: u16,
}

impl EnhancedStatus {
    /// The status at the start of a reply's text, and what follows it.
    pub fn split(text: &str) -> (Option<Self>, &str) {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match Self::parse(word) {
            Some(status) => (Some(status), rest),
            None => (None, text),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let number = |part: &str| {
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u16>().ok()).flatten()
        };
        let mut parts = word.split('.');
        let class = match parts.next()? {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let status = Self { class, subject: number(parts.next()?)?, detail: number(parts.next()?)? };
        parts.next().is_none().then_some(status)
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enhanced_status_is_split_off_the_text() {
        let (status, rest) = EnhancedStatus::split("5.1.1 no such user");
        assert_eq!(status.unwrap().to_string(), "5.1.1");
        assert_eq!(rest, "no such user");
        for text in ["no status", "3.0.0 x", "5.1 x", "5.1.1.1 x", "5.1.1234 x", "5..1 x", ""] {
            assert_eq!(EnhancedStatus::split(text), (None, text));
        }
    }
}
