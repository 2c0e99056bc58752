//! A text part for readers without HTML: tags taken off in one pass, so that hostile HTML costs no more
//! than its length. Not a renderer: paragraphs, list items, links and images' words survive.

/// Elements whose content nobody reads.
const HIDDEN: [&str; 5] = ["script", "style", "head", "title", "template"];
/// Elements that begin and end a line.
const BLOCKS: [&str; 22] = [
    "address",
    "article",
    "blockquote",
    "body",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "section",
    "table",
    "tr",
];
/// Elements with an empty line around them.
const PARAGRAPHS: [&str; 4] = ["p", "ul", "ol", "pre"];
const ENTITIES: [(&str, &str); 14] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("copy", "©"),
    ("reg", "®"),
    ("euro", "€"),
    ("ndash", "–"),
    ("mdash", "—"),
    ("hellip", "…"),
    ("bull", "•"),
    ("zwnj", ""),
];

/// The text of an HTML body, for a message that came with HTML alone.
pub fn text_of_html(html: &str) -> String {
    let mut text = Text::default();
    // The href of the link that is open, and where its words begin.
    let mut link: Option<(String, usize)> = None;
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.words(&rest[..at]);
        rest = &rest[at..];
        if !Tag::starts(rest) {
            text.words("<");
            rest = &rest[1..];
            continue;
        }
        // Without an end there is no further tag: the rest is words.
        let Some(tag) = Tag::read(rest) else { break };
        rest = &rest[tag.length..];
        if !tag.closes && HIDDEN.contains(&&*tag.name) {
            rest = after_closing(rest, &tag.name);
            continue;
        }
        match &*tag.name {
            "a" => {
                if let Some((href, start)) = link.take() {
                    text.end_link(&href, start);
                }
                link = tag.attribute("href").filter(|_| !tag.closes).map(|href| (href, text.out.len()));
            }
            "br" => text.line(),
            "li" if !tag.closes => {
                text.line();
                text.words("- ");
            }
            "td" | "th" if !tag.closes => text.words(" "),
            "img" => text.words(&tag.attribute("alt").unwrap_or_default()),
            name if PARAGRAPHS.contains(&name) => text.paragraph(),
            name if BLOCKS.contains(&name) => text.line(),
            _ => {}
        }
    }
    text.words(rest);
    text.out.trim().to_owned() + "\n"
}

/// What follows the end of a hidden element; nothing when it never ends.
fn after_closing<'h>(rest: &'h str, name: &str) -> &'h str {
    let mut from = 0;
    while let Some(at) = rest[from..].find("</").map(|at| from + at) {
        let tail = &rest[at + 2..];
        if tail.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            return tail.find('>').map_or("", |end| &tail[end + 1..]);
        }
        from = at + 2;
    }
    ""
}

#[derive(Default)]
struct Text {
    out: String,
}

impl Text {
    /// Adds words: white space is one space, entities are what they stand for.
    fn words(&mut self, html: &str) {
        let mut rest = html;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            if c.is_whitespace() {
                if !self.out.is_empty() && !self.out.ends_with([' ', '\n']) {
                    self.out.push(' ');
                }
            } else if let Some((length, meaning)) = (c == '&').then(|| entity(rest)).flatten() {
                self.out.push_str(&meaning);
                rest = &rest[length..];
            } else {
                self.out.push(c);
            }
        }
    }

    fn line(&mut self) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn paragraph(&mut self) {
        self.line();
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// The address of a link stands behind its words, unless they are the address.
    fn end_link(&mut self, href: &str, start: usize) {
        let is_shown = self.out.get(start..).is_some_and(|words| words.contains(href));
        let is_address = ["http://", "https://", "mailto:", "tel:"].iter().any(|scheme| href.starts_with(scheme));
        if is_address && !is_shown {
            self.words(&format!(" <{href}>"));
        }
    }
}

/// The character that an entity stands for, and the bytes it takes behind the `&`.
fn entity(rest: &str) -> Option<(usize, String)> {
    let end = rest.bytes().take(12).position(|b| b == b';')?;
    let name = rest.get(..end)?;
    let meaning = if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        char::from_u32(code).filter(|c| !c.is_control()).map_or_else(String::new, String::from)
    } else {
        ENTITIES.iter().find(|(known, _)| *known == name)?.1.to_owned()
    };
    Some((end + 1, meaning))
}

struct Tag<'h> {
    name: String,
    closes: bool,
    attributes: &'h str,
    length: usize,
}

impl<'h> Tag<'h> {
    /// Whether the `<` at the start of `html` begins a tag, a comment or a declaration.
    fn starts(html: &str) -> bool {
        let inner = html[1..].trim_start_matches('/');
        inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!' || c == '?')
    }

    /// The tag, comment or declaration at the start of `html`, if it ends.
    fn read(html: &'h str) -> Option<Self> {
        if html.starts_with("<!--") {
            let length = html.find("-->").map_or(html.len(), |end| end + 3);
            return Some(Self { name: String::new(), closes: false, attributes: "", length });
        }
        let inner = &html[1..];
        let closes = inner.starts_with('/');
        let inner = inner.trim_start_matches('/');
        let end = tag_end(html)?;
        let name_end = inner.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
        let start = html.len() - inner.len() + name_end;
        Some(Self {
            name: inner[..name_end].to_ascii_lowercase(),
            closes,
            attributes: html.get(start..end).unwrap_or_default(),
            length: end + 1,
        })
    }

    fn attribute(&self, name: &str) -> Option<String> {
        let lower = self.attributes.to_ascii_lowercase();
        let at =
            lower.find(&format!("{name}=")).filter(|at| *at == 0 || lower.as_bytes()[at - 1].is_ascii_whitespace())?;
        let value = &self.attributes[at + name.len() + 1..];
        let value = match value.chars().next()? {
            quote @ ('"' | '\'') => value[1..].split(quote).next()?,
            _ => value.split(|c: char| c.is_whitespace() || c == '>').next()?,
        };
        let mut text = Text::default();
        text.words(value);
        Some(text.out)
    }
}

/// Where the tag at the start of `html` ends, quotes taken into account unless one is never closed. What is
/// looked through is also what is consumed, so that all tags together cost one pass.
fn tag_end(html: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in html.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if byte == open => quote = None,
            _ => {}
        }
    }
    html.find('>')
}

#[cfg(test)]
mod tests {
    use super::text_of_html;

    #[test]
    fn paragraphs_lists_links_and_entities_survive() {
        let html = "<html><head><title>t</title><style>p{}</style></head><body><h1>Hi</h1><p>Your  code\n is <b>12&amp;34</b>&#33;</p>\
                    <ul><li>one<li>two</ul><a href=\"https://x.example/r?a=1&amp;b=2\">Reset</a> \
                    <a href='https://y.example'>https://y.example</a><!-- no --><script>evil()</script><img alt=\"Logo\">1 < 2</body>";
        let text = text_of_html(html);
        assert_eq!(
            text,
            "Hi\n\nYour code is 12&34!\n\n- one\n- two\n\nReset <https://x.example/r?a=1&b=2> https://y.exampleLogo1 < 2\n"
        );
    }

    #[test]
    fn hostile_html_costs_no_more_than_its_length() {
        for html in [
            "<div>".repeat(200_000),
            "<b>".repeat(200_000),
            "<".repeat(200_000),
            "<a href=\"".repeat(2000),
            "</script".repeat(50_000),
            "<ol start=9223372036854775807><li>a<li>b</ol>".to_owned(),
            "&#99999999999;&#0;&#xd800;&unknown;".to_owned(),
        ] {
            assert!(text_of_html(&html).len() <= html.len() + 1);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(html in "(<|>|/|\"|'|&|#|;|=|a|href|li|é|script| ){0,60}") {
            text_of_html(&html);
        }
    }
}
