//! What a reader of a message would look for: its texts as they read, whatever their transfer encoding.

use mail_parser::{Message, MessageParser, MimeHeaders, PartType};

use super::html::text_of_html;
use crate::domain::nesting::bounded;
use crate::domain::search::fold_for_search;

/// Most bytes that are kept of one message.
const LENGTH_MAX: usize = 256 * 1024;

/// The subject, the texts (of HTML what is read of it) and the attachments' names of a message, folded by
/// [`fold_for_search`]; at most 256 KiB of it. Empty for bytes that are no message.
pub fn searchable_text(raw: &[u8]) -> String {
    let Some(message) = MessageParser::default().parse(bounded(raw)) else { return String::new() };
    let mut text = String::new();
    add(&mut text, message.subject().unwrap_or_default());
    add_parts(&mut text, &message);
    text
}

fn add_parts(text: &mut String, message: &Message<'_>) {
    for part in &message.parts {
        match &part.body {
            PartType::Text(words) => add(text, words),
            PartType::Html(words) => add(text, &text_of_html(words)),
            PartType::Message(inner) => {
                add(text, inner.subject().unwrap_or_default());
                add_parts(text, inner);
            }
            PartType::Binary(_) | PartType::InlineBinary(_) | PartType::Multipart(_) => {}
        }
        add(text, part.attachment_name().unwrap_or_default());
    }
}

fn add(text: &mut String, words: &str) {
    let room = LENGTH_MAX.saturating_sub(text.len());
    if room == 0 || words.is_empty() {
        return;
    }
    let folded = fold_for_search(words);
    text.push_str(&folded[..folded.floor_char_boundary(room.min(folded.len()))]);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_as_they_read() {
        let raw = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
                   --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n5oKo55qE6aqM6K+B56CB\r\n\
                   --b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                   <p>Ihr Schl=C3=\r\n=BCssel<br>f&uuml;r <b>heu</b>te</p>\r\n\
                   --b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"Rechnung 7.PDF\"\r\n\r\nx\r\n--b--\r\n";
        let text = searchable_text(raw.as_bytes());
        for words in ["grüße", "您的验证码", "schlüssel für heute", "rechnung 7.pdf"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert_eq!(fold_for_search(" Ihr  SCHLÜSSEL\r\nfür\0 "), "ihr schlüssel für");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let raw = format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{}", "ü".repeat(LENGTH_MAX));
        let text = searchable_text(raw.as_bytes());
        assert!(text.len() <= LENGTH_MAX + 1 && text.starts_with("üü"));
        assert_eq!(searchable_text(b""), "");
    }
}
