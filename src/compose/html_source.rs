//! HTML read in one pass, tags and attributes told apart as browsers do (WHATWG HTML §13.2.5): words, tags, and the places of links.

use super::entities::reference;

/// Elements whose content is no text, up to their end tag: without one, to the end.
pub(super) const HIDDEN: [&str; 6] = ["script", "style", "title", "template", "noframes", "iframe"];

/// A value as it stands in the HTML.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'h> {
    /// Where it begins, in bytes.
    pub start: usize,
    pub text: &'h str,
}

/// What a page leads to.
#[derive(Debug, Default)]
pub(super) struct LinksFound<'h> {
    /// The `href` of every `a` and `area`, in order.
    pub links: Vec<Value<'h>>,
    /// Where `</body>` begins, the last one.
    pub body_end: Option<usize>,
}

/// The links of an HTML body.
pub(super) fn links_in(html: &str) -> LinksFound<'_> {
    let (mut found, mut source) = (LinksFound::default(), Source::new(html));
    loop {
        let start = html.len() - source.rest.len();
        let Some(piece) = source.next() else { return found };
        let Piece::Tag(tag) = piece else { continue };
        match (&*tag.name, tag.closes) {
            ("body", true) => found.body_end = Some(start),
            ("a" | "area", false) => {
                let href = tag.attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case("href"));
                // One without a value stands nowhere.
                let href = href.filter(|(_, text)| !text.is_empty());
                // A part of the same text: its place is the distance of their beginnings.
                let value = |text: &'_ str| text.as_ptr().addr() - html.as_ptr().addr();
                found.links.extend(href.map(|(_, text)| Value { start: value(text), text }));
            }
            (name, false) if HIDDEN.contains(&name) => source.skip_to_end_of(name),
            _ => {}
        }
    }
}

/// Text with its references replaced.
pub(super) fn decode(html: &str, in_attribute: bool) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match reference(rest, in_attribute) {
            Some((meaning, length)) => {
                text.push_str(&meaning);
                rest = &rest[length..];
            }
            None => text.push('&'),
        }
    }
    text + rest
}

/// What HTML is made of.
pub(super) enum Piece<'h> {
    Words(&'h str),
    Tag(Tag<'h>),
}

/// HTML being read from the start to the end.
pub(super) struct Source<'h> {
    rest: &'h str,
    /// How many bytes are left behind the last `"`, `'` and `-->`: a quote that is never closed quotes nothing, and to look
    /// for its end again and again would cost the square of the length.
    last: [Option<usize>; 3],
}

impl<'h> Source<'h> {
    pub fn new(html: &'h str) -> Self {
        let last = |what: &str| html.rfind(what).map(|at| html.len() - at);
        Self { rest: html, last: [last("\""), last("'"), last("-->")] }
    }

    /// Whether the text has it, from here on: 0 `"`, 1 `'`, 2 `-->`.
    fn has(&self, what: usize, rest: &str) -> bool {
        self.last[what].is_some_and(|left| left <= rest.len())
    }

    /// What comes next; `None`: nothing.
    pub fn next(&mut self) -> Option<Piece<'h>> {
        if self.rest.is_empty() {
            return None;
        }
        if self.rest.starts_with('<') {
            if let Some(length) = self.no_tag() {
                self.rest = &self.rest[length..];
                return Some(Piece::Words(""));
            }
            let inner = &self.rest[1..];
            let closes = inner.starts_with('/');
            let inner = &inner[usize::from(closes)..];
            if inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return Some(self.tag(inner, closes));
            }
        }
        // A `<` that begins nothing is a word.
        let first = self.rest.chars().next().map_or(0, char::len_utf8);
        let end = self.rest[first..].find('<').map_or(self.rest.len(), |at| first + at);
        let (words, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Piece::Words(words))
    }

    /// The length of the comment, declaration or instruction here.
    fn no_tag(&self) -> Option<usize> {
        let rest = self.rest;
        if let Some(comment) = rest.strip_prefix("<!--") {
            if comment.starts_with('>') {
                return Some(5);
            }
            if comment.starts_with("->") {
                return Some(6);
            }
            let end = if self.has(2, comment) { comment.find("-->") } else { None };
            return Some(end.map_or(rest.len(), |end| 4 + end + 3));
        }
        let is_bogus = rest.starts_with("<!")
            || rest.starts_with("<?")
            || (rest.starts_with("</") && !rest[2..].starts_with(|c: char| c.is_ascii_alphabetic()));
        is_bogus.then(|| rest.find('>').map_or(rest.len(), |end| end + 1))
    }

    /// The tag here, whose name begins `inner`; one that never ends is words.
    fn tag(&mut self, inner: &'h str, closes: bool) -> Piece<'h> {
        let name_end = inner.find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>').unwrap_or(inner.len());
        let (name, mut rest) = inner.split_at(name_end);
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            if let Some(behind) = rest.strip_prefix('>') {
                self.rest = behind;
                return Piece::Tag(Tag { name: name.to_ascii_lowercase(), closes, attributes });
            }
            if rest.is_empty() {
                let words = std::mem::take(&mut self.rest);
                return Piece::Words(words);
            }
            let (attribute, behind) = self.attribute(rest);
            attributes.push(attribute);
            rest = behind;
        }
    }

    /// The attribute at the start of `rest`, and what follows it.
    fn attribute(&self, rest: &'h str) -> ((&'h str, &'h str), &'h str) {
        // An `=` in the first place belongs to the name.
        let name_end = rest
            .char_indices()
            .find(|(at, c)| c.is_ascii_whitespace() || matches!(c, '/' | '>') || (*c == '=' && *at > 0))
            .map_or(rest.len(), |(at, _)| at);
        let (name, behind) = rest.split_at(name_end);
        let Some(value) = behind.trim_start_matches(|c: char| c.is_ascii_whitespace()).strip_prefix('=') else {
            return ((name, ""), behind);
        };
        let value = value.trim_start_matches(|c: char| c.is_ascii_whitespace());
        for (place, quote) in ['"', '\''].into_iter().enumerate() {
            if let Some(quoted) = value.strip_prefix(quote)
                && self.has(place, quoted)
                && let Some((quoted, behind)) = quoted.split_once(quote)
            {
                return ((name, quoted), behind);
            }
        }
        let end = value.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(value.len());
        let (value, behind) = value.split_at(end);
        ((name, value), behind)
    }

    /// Passes what a hidden element holds.
    pub fn skip_to_end_of(&mut self, name: &str) {
        let mut rest = self.rest;
        while let Some(at) = rest.find("</") {
            rest = &rest[at + 2..];
            let is_end = rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                && rest[name.len()..].starts_with(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>');
            if is_end {
                self.rest = rest.find('>').map_or("", |end| &rest[end + 1..]);
                return;
            }
        }
        self.rest = "";
    }
}

/// A tag with its attributes, as they stand.
pub(super) struct Tag<'h> {
    pub name: String,
    pub closes: bool,
    pub attributes: Vec<(&'h str, &'h str)>,
}

impl Tag<'_> {
    /// The value of an attribute; of two with one name the first counts.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let found = self.attributes.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(decode(found.1, true))
    }
}
