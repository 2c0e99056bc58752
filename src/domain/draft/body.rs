//! The readable part of a message: text, HTML, or both as alternatives.

/// At least one of text and HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Text(String),
    Html { html: String, text: TextPart },
}

/// The text beside HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPart {
    Given(String),
    /// Made from the HTML.
    FromHtml,
    /// None is wanted.
    Absent,
}

impl Body {
    /// Returns `None` when neither is given. HTML with a blank text goes without a text part; blank HTML is none, for a
    /// reader that shows HTML would show an empty page.
    pub fn new(text: Option<String>, html: Option<String>) -> Option<Self> {
        let is_blank = |text: &str| text.chars().all(char::is_whitespace);
        if let Some(html) = &html
            && is_blank(html)
        {
            return Some(Self::Text(text.unwrap_or_default()));
        }
        match (text, html) {
            (text, Some(html)) => {
                let text = match text {
                    None => TextPart::FromHtml,
                    Some(text) if is_blank(&text) => TextPart::Absent,
                    Some(text) => TextPart::Given(text),
                };
                Some(Self::Html { html, text })
            }
            (Some(text), None) => Some(Self::Text(text)),
            (None, None) => None,
        }
    }

    /// Bytes as given.
    pub const fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Html { html, text: TextPart::Given(text) } => html.len() + text.len(),
            Self::Html { html, .. } => html.len(),
        }
    }
}
