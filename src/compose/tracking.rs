//! HTML with links that are counted, and with an image that says that it was opened. Everything else of it stays byte for byte.

use super::html_source::{decode, links_in};
use super::links::Links;

/// The HTML with the links of a message.
pub fn tracked(html: &str, links: &Links) -> String {
    let mut out = String::with_capacity(html.len() + 256);
    let mut done = 0;
    let found = links_in(html);
    for value in found.links {
        let url = decode(value.text, true);
        let Some(click) = links.click(url.trim()) else { continue };
        out.push_str(&html[done..value.start]);
        // The value may have stood without quotes; nothing in ours needs a reference but `&`, and it has none.
        out.push_str(&click);
        done = value.start + value.text.len();
    }
    let end = found.body_end.filter(|end| *end >= done).unwrap_or(html.len());
    out.push_str(&html[done..end]);
    if let Some(open) = links.open() {
        out.push_str(&format!(
            "<img src=\"{open}\" alt=\"\" width=\"1\" height=\"1\" style=\"display:block;border:0;width:1px;height:1px\">"
        ));
    }
    out.push_str(&html[end..]);
    out
}

#[cfg(test)]
mod tests {
    use super::super::links::example;
    use super::*;
    use crate::domain::draft::Tracking;

    #[test]
    fn links_without_a_value_and_within_words_stay_as_they_are() {
        let image = example().open().unwrap();
        for html in [
            "<a href>x</a>",
            "<a href=>x</a>",
            "<a href=''>x",
            "<a",
            "<a href",
            "<a href='",
            "<!--<a href='https://a.example'>-->",
        ] {
            let found = tracked(html, &example());
            assert!(found.starts_with(html) && found.contains(&image) && !found.contains("/c/"), "{found}");
        }
    }

    proptest::proptest! {
        #[test]
        fn everything_else_stays_byte_for_byte(html in "(<|>|/|\"|'|&|=|a|href|</body>|https://x.example/|é|<!--|-->|script| ){0,60}") {
            let found = tracked(&html, &Links { tracking: Tracking { opens: false, clicks: true }, ..example() });
            let mut left = html.as_str();
            for (at, piece) in found.split("https://l.example/c/").enumerate() {
                // What stands between two links of ours stood there before.
                let plain = if at == 0 { piece } else { piece.split_once("?u=").map_or("", |(_, rest)| rest) };
                if at == 0 {
                    assert!(left.starts_with(plain));
                    left = &left[plain.len()..];
                }
            }
            proptest::prop_assert!(found.len() >= html.len());
        }
    }
}
