//! HTML with links that are counted, and with an image that says that it was opened. Everything else of it stays byte for byte.

use super::html::{decode, links_in};
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
