//! A text part for readers without HTML.

/// Columns at which made text is wrapped.
const WIDTH: usize = 78;

/// The text of an HTML body, for a message that came with HTML alone.
pub fn text_of_html(html: &str) -> String {
    html2text::config::plain().string_from_read(html.as_bytes(), WIDTH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn links_and_paragraphs_survive() {
        let text = super::text_of_html("<p>Hello <b>you</b></p><p><a href=\"https://x.example/r\">Reset</a></p>");
        assert!(text.contains("Hello"), "{text}");
        assert!(text.contains("https://x.example/r"), "{text}");
    }
}
