//! How deep mail may be nested, and of how many pieces it may be: a parser follows a message within a message as deep as it goes, looks for
//! the end of each part anew, and keeps something of every field and part. What is read by one has a bound before.

/// Parts of a message that are looked at. Each message within another, and each multipart, needs a `Content-Type` of its own.
const PARTS_MAX: usize = 200;

/// Lines that may end a part.
const BOUNDARIES_MAX: usize = 10_000;
/// Lines of headers, of all parts together.
const FIELDS_MAX: usize = 20_000;

/// The message before its 200th `Content-Type` field, wherever that stands, and before it has more lines of headers, or that look like
/// boundaries, than people's mail ever has. Names are taken as lax parsers take them: in any case, with white space within.
pub fn bounded(raw: &[u8]) -> &[u8] {
    let (mut types, mut boundaries, mut fields) = (0, 0, 0);
    // A header stands at the start, behind a boundary, and where a message is a part.
    let (mut in_header, mut is_message) = (true, false);
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', raw).map(|at| at + 1).chain([raw.len()]) {
        let line = &raw[start..end];
        types += usize::from(is_content_type(line));
        if line.starts_with(b"--") {
            boundaries += 1;
            in_header = true;
        } else if line.trim_ascii().is_empty() {
            (in_header, is_message) = (is_message, false);
        } else if in_header {
            fields += 1;
            is_message |= line.windows(8).any(|word| word.eq_ignore_ascii_case(b"message/"));
        }
        if types == PARTS_MAX || boundaries == BOUNDARIES_MAX || fields == FIELDS_MAX {
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
        let logs = format!("Subject: x\r\n\r\n{}", "12:00: started\r\n".repeat(100_000));
        assert_eq!(bounded(logs.as_bytes()).len(), logs.len(), "lines of a body are none of a header");
        for many in ["a:\r\n".repeat(1_000_000), "\r\n--b\r\n".repeat(1_000_000)] {
            assert!(bounded(many.as_bytes()).len() < 200_000);
        }
        let within = format!("Content-Type: message/rfc822\n\n{}", "b:\n".repeat(100_000));
        assert!(bounded(within.as_bytes()).len() < 100_000);
    }
}
