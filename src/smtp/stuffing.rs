//! Transparency: how a message that holds lines with leading dots travels behind DATA.

/// The message as DATA carries it (RFC 5321 §4.5.2): leading dots doubled, ended by `CRLF.CRLF`.
pub fn dot_stuffed(raw: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(raw.len() + raw.len() / 64 + 5);
    let mut from = 0;
    for dot in memchr::memchr_iter(b'.', raw) {
        if dot == 0 || raw[dot - 1] == b'\n' {
            stuffed.extend_from_slice(&raw[from..dot]);
            stuffed.push(b'.');
            from = dot;
        }
    }
    stuffed.extend_from_slice(&raw[from..]);
    if !raw.is_empty() && !raw.ends_with(b"\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

#[cfg(test)]
mod tests {
    use super::dot_stuffed;

    #[test]
    fn leading_dots_are_doubled_and_the_end_is_a_line_of_its_own() {
        assert_eq!(dot_stuffed(b"a\r\n.b\r\n..\r\n"), b"a\r\n..b\r\n...\r\n.\r\n");
        assert_eq!(dot_stuffed(b".x"), b"..x\r\n.\r\n");
        assert_eq!(dot_stuffed(b""), b".\r\n");
    }

    proptest::proptest! {
        #[test]
        fn what_a_server_unstuffs_is_the_message(text in "([.a]{0,3}\r\n){0,8}") {
            let stuffed = String::from_utf8(dot_stuffed(text.as_bytes())).unwrap();
            let (body, end) = stuffed.split_at(stuffed.len() - 3);
            proptest::prop_assert_eq!(end, ".\r\n");
            let lines = body.split_inclusive('\n');
            proptest::prop_assert!(lines.clone().all(|line| line != ".\r\n"), "nothing ends it before");
            let unstuffed: String = lines.map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
            proptest::prop_assert_eq!(unstuffed, text);
        }
    }
}
