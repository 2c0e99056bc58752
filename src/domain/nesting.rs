//! How deep mail may be nested: a parser follows a message within a message as deep as it goes, and looks for the end of each part
//! anew. What is read by one has a bound before.

/// Parts of a message that are looked at. Each message within another, and each multipart, needs a `Content-Type` of its own.
const PARTS_MAX: usize = 200;

/// The message before its 200th `Content-Type` field, wherever that stands. Names are taken as lax parsers take them: in any
/// case, with white space within.
pub fn bounded(raw: &[u8]) -> &[u8] {
    let mut found = 0;
    let mut start = 0;
    for end in raw.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).chain([raw.len()]) {
        found += usize::from(is_content_type(&raw[start..end]));
        if found == PARTS_MAX {
            return &raw[..start];
        }
        start = end;
    }
    raw
}

fn is_content_type(line: &[u8]) -> bool {
    let mut wanted = b"content-type:".iter();
    let mut letters = line.iter().take(100).filter(|byte| !byte.is_ascii_whitespace());
    loop {
        match (wanted.next(), letters.next()) {
            (None, _) => return true,
            (Some(wanted), Some(letter)) if wanted.eq_ignore_ascii_case(letter) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bounded;

    #[test]
    fn what_is_nested_without_end_is_cut_and_what_people_send_is_not() {
        for field in [
            "Content-Type: message/rfc822\r\n\r\n",
            "c ONTENT-type :message/rfc822\n\n",
            "Content-\tType: multipart/x;boundary=z\n",
        ] {
            let deep = field.repeat(100_000);
            let cut = bounded(deep.as_bytes());
            assert!(cut.len() < 200 * field.len() && cut.len() > 190 * field.len(), "{field:?}: {}", cut.len());
        }
        let mail = format!("Content-Type: text/plain\r\n\r\n{}", "content-type\n: none\r\n".repeat(1000));
        assert_eq!(bounded(mail.as_bytes()).len(), mail.len());
        assert_eq!(bounded(b""), b"");
    }
}
