//! Base64 as encoders really write it (RFC 4648 §4, §5; RFC 2045 §6.8; RFC 2397): with line ends, with either alphabet, with
//! padding or without, or as a `data:` URI. Nothing is lost by reading them all.

use ::base64::Engine;
use ::base64::alphabet;
use ::base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::domain::fault::{FaultCode, Flaw};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What was in base64.
pub struct Decoded {
    pub bytes: Vec<u8>,
    /// The media type that a `data:` URI names.
    pub media_type: Option<String>,
}

/// The bytes that `text` stands for; a flaw says where it is no base64.
pub fn decode(text: &str) -> Result<Decoded, Flaw> {
    let (digits, media_type) = match text.trim_start().split_once(',') {
        Some((head, data)) if head.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) => {
            let Some(media_type) = head[5..].strip_suffix(";base64") else {
                return Err(wrong("is a data: URI without ;base64"));
            };
            (data, Some(media_type.to_owned()).filter(|media_type| !media_type.is_empty()))
        }
        _ => (text, None),
    };
    if let Ok(bytes) = BASE64.decode(digits) {
        return Ok(Decoded { bytes, media_type });
    }
    let mut plain = Vec::with_capacity(digits.len());
    let mut padding = None;
    for (at, c) in digits.char_indices() {
        let digit = match c {
            ' ' | '\t' | '\r' | '\n' => continue,
            '-' => b'+',
            '_' => b'/',
            '=' => {
                padding.get_or_insert(at);
                continue;
            }
            'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '/' => u8::try_from(c).unwrap_or_default(),
            _ => return Err(wrong(&format!("is not base64: '{}' at byte {at}", c.escape_debug()))),
        };
        if let Some(padding) = padding {
            return Err(wrong(&format!("is not base64: it goes on behind the '=' at byte {padding}")));
        }
        plain.push(digit);
    }
    let bytes = BASE64.decode(&plain).map_err(|_| {
        wrong(&format!("is not base64: {} digits end in the middle of a byte; it seems to be cut off", plain.len()))
    })?;
    Ok(Decoded { bytes, media_type })
}

fn wrong(detail: &str) -> Flaw {
    Flaw::new(FaultCode::InvalidBase64, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Result<Vec<u8>, String> {
        decode(text).map(|decoded| decoded.bytes).map_err(|flaw| flaw.detail)
    }

    #[test]
    fn what_encoders_write_is_read() {
        for text in [
            "aGVsbG8gd29ybGQ=",
            "aGVsbG8gd29ybGQ",
            "aGVsbG8g\nd29ybGQ=\n",
            "aGVsbG8g\r\n  d29ybGQ=",
            "data:text/plain;charset=utf-8;base64,aGVsbG8gd29ybGQ=",
            "DATA:;base64,aGVsbG8gd29ybGQ=",
        ] {
            assert_eq!(bytes(text).as_deref(), Ok(&b"hello world"[..]), "{text}");
        }
        assert_eq!(bytes("-_-_"), bytes("+/+/"));
        assert_eq!(bytes("").as_deref(), Ok(&b""[..]));
        assert_eq!(decode("data:image/png;base64,AA==").unwrap().media_type.as_deref(), Some("image/png"));
    }

    #[test]
    fn what_is_no_base64_is_named() {
        assert!(bytes("aGVs!G8=").unwrap_err().contains("'!' at byte 4"));
        assert!(bytes("aGVsbG8=aGVs").unwrap_err().contains("behind the '='"));
        assert!(bytes("aGVsb").unwrap_err().contains("cut off"));
        assert!(bytes("data:text/plain,hello").unwrap_err().contains("without ;base64"));
        assert!(bytes("é").is_err());
    }
}
