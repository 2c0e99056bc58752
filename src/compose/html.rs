//! A text part for readers without HTML: tags taken off in one pass, so that hostile HTML costs no more than its length.
//! Not a renderer: paragraphs, lists, preformatted lines, links and images' words survive, and no end tag is needed where
//! HTML needs none.

use super::html_source::{HIDDEN, Piece, Source, Tag, decode};

/// Elements that begin and end a line.
const BLOCKS: [&str; 43] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "frameset",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "hr",
    "legend",
    "main",
    "nav",
    "optgroup",
    "option",
    "search",
    "section",
    "select",
    "summary",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "tr",
];
/// Elements with an empty line around them.
const PARAGRAPHS: [&str; 5] = ["p", "ul", "ol", "menu", "pre"];
/// Lists within lists that are indented.
const DEPTH_MAX: usize = 8;

/// The text of an HTML body, for a message that came with HTML alone.
pub fn text_of_html(html: &str) -> String {
    let mut text = Text::default();
    let mut source = Source::new(html);
    while let Some(piece) = source.next() {
        match piece {
            Piece::Words(words) => text.words(words),
            Piece::Tag(tag) if !tag.closes && HIDDEN.contains(&&*tag.name) => source.skip_to_end_of(&tag.name),
            Piece::Tag(tag) => text.tag(&tag),
        }
    }
    text.end()
}

/// What has been written, and what is open.
#[derive(Default)]
struct Text {
    out: String,
    /// The href of the link that is open, and where its words begin.
    link: Option<(String, usize)>,
    /// Of each list that is open the number of its next item; `None`: it has none.
    lists: Vec<Option<i64>>,
    /// How many `pre` are open, and whether the one that has just begun may have a line end that does not count.
    preformatted: usize,
    is_fresh: bool,
}

impl Text {
    fn tag(&mut self, tag: &Tag<'_>) {
        self.is_fresh = false;
        match &*tag.name {
            "a" => {
                self.end_link();
                let href = tag.attribute("href").filter(|_| !tag.closes);
                self.link = href.map(|href| (href, self.out.len()));
            }
            "br" => self.line_break(),
            "li" if !tag.closes => self.item(tag),
            "td" | "th" if !tag.closes => self.space(),
            "img" if !tag.closes => {
                let alt = tag.attribute("alt").unwrap_or_default();
                self.collapsed(&alt);
            }
            "q" => self.out.push(if tag.closes { '”' } else { '“' }),
            name if PARAGRAPHS.contains(&name) => {
                let before = self.lists.len();
                self.list(tag);
                // A list in a list goes on.
                if before.max(self.lists.len()) < 2 {
                    self.paragraph();
                } else {
                    self.line();
                }
                if name == "pre" {
                    self.preformatted =
                        if tag.closes { self.preformatted.saturating_sub(1) } else { self.preformatted + 1 };
                    self.is_fresh = !tag.closes;
                }
            }
            name if BLOCKS.contains(&name) => self.line(),
            _ => {}
        }
    }

    /// Adds words: white space is one space but in `pre`, references are what they stand for.
    fn words(&mut self, html: &str) {
        let decoded = decode(html, false);
        if self.preformatted == 0 {
            self.collapsed(&decoded);
            return;
        }
        let lines = if self.is_fresh {
            decoded.strip_prefix("\r\n").or(decoded.strip_prefix('\n')).unwrap_or(&decoded)
        } else {
            &decoded
        };
        self.out.push_str(&lines.replace('\r', ""));
        self.is_fresh = false;
    }

    fn collapsed(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() {
                self.space();
            } else if !matches!(c, '\u{ad}' | '\u{200b}' | '\u{200c}' | '\u{feff}') {
                // What takes no room fills previews and says nothing.
                self.out.push(c);
            }
        }
    }

    fn space(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with([' ', '\n']) {
            self.out.push(' ');
        }
    }

    /// Goes to the start of a line.
    fn line(&mut self) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
    }

    /// Ends the line, also an empty one, but no second.
    fn line_break(&mut self) {
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

    fn list(&mut self, tag: &Tag<'_>) {
        if !matches!(&*tag.name, "ul" | "ol" | "menu") {
            return;
        }
        if tag.closes {
            self.lists.pop();
        } else {
            let start = tag.attribute("start").and_then(|start| start.trim().parse().ok()).unwrap_or(1);
            self.lists.push((tag.name == "ol").then_some(start));
        }
    }

    fn item(&mut self, tag: &Tag<'_>) {
        self.line();
        self.out.push_str(&"  ".repeat(self.lists.len().saturating_sub(1).min(DEPTH_MAX)));
        match self.lists.last_mut() {
            Some(Some(next)) => {
                let number = tag.attribute("value").and_then(|value| value.trim().parse().ok()).unwrap_or(*next);
                *next = number.saturating_add(1);
                self.out.push_str(&format!("{number}. "));
            }
            _ => self.out.push_str("- "),
        }
    }

    /// The address of a link stands behind its words, unless they are the address.
    fn end_link(&mut self) {
        let Some((href, start)) = self.link.take() else { return };
        // As browsers do (WHATWG URL §4.4).
        let href: String = href.trim().chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
        let is_shown = self.out.get(start..).is_some_and(|words| words.contains(&href));
        let is_address = ["http://", "https://", "mailto:", "tel:", "sms:"]
            .iter()
            .any(|scheme| href.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        if is_address && !is_shown {
            self.space();
            self.out.push_str(&format!("<{href}>"));
        }
    }

    fn end(mut self) -> String {
        self.end_link();
        let lines: Vec<_> = self.out.lines().map(str::trim_end).collect();
        lines.join("\n").trim_matches('\n').to_owned() + "\n"
    }
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
    fn html_is_read_as_browsers_read_it() {
        for (html, text) in [
            ("<p>caf&eacute; don&rsquo;t &ldquo;q&rdquo; &pound;5</p>", "café don’t “q” £5"),
            ("<p>don&#146;t &#147;q&#148; &#150; x &eacutet&eacute</p>", "don’t “q” – x été"),
            (
                "<a class=b href = \"https://ex.test/reset?a=1&amp;b=2\">Reset</a>",
                "Reset <https://ex.test/reset?a=1&b=2>",
            ),
            ("<a data-href='x' href='https://a.test'>R</a>", "R <https://a.test>"),
            (
                "<a title='href=x' xlink:href=y HREF=https://a.test?copy=1&copy=2>R</a>",
                "R <https://a.test?copy=1&copy=2>",
            ),
            ("<a href=\" HTTPS://a.test/\nb \">R</a>", "R <HTTPS://a.test/b>"),
            ("<a href='https://a.test'>R", "R <https://a.test>"),
            ("<img alt = 'Our logo'>", "Our logo"),
            ("<html><head><meta charset=utf-8><body><p>Your code is 123456</p></body></html>", "Your code is 123456"),
            ("<head><title>t</title><style>x</style><p>Hi", "Hi"),
            ("<p>a<style>b", "a"),
            ("<script>if (a < b) { '</scripty>' }</script >x", "x"),
            ("<ol><li>a<li>b<ul><li>c</ul><li value=7>d</li><li>e</ol>f", "1. a\n2. b\n  - c\n7. d\n8. e\n\nf"),
            ("<ol start=3><li>a</ol>", "3. a"),
            ("x<pre>\n  a &lt;\n    b\n</pre>y", "x\n\n  a <\n    b\n\ny"),
            ("<figure>a<figcaption>b</figcaption></figure><nav>c</nav><aside>d", "a\nb\nc\nd"),
            ("<select><option>a<option>b</select>", "a\nb"),
            ("<!--[if mso]><p>no</p><![endif]-->yes<!-->too<!doctype x><?xml y?></ z>", "yestoo"),
            ("<p title=\"a > b\">x</p>", "x"),
            ("<p title=\"never closed>x</p>", "x"),
            ("a<b/c d e='f'/>g", "ag"),
            ("<q>a</q>", "“a”"),
            ("a &zwnj;&nbsp;&zwnj;&nbsp; b&shy;c", "a bc"),
            ("1 < 2 <3", "1 < 2 <3"),
        ] {
            assert_eq!(text_of_html(html), format!("{text}\n"), "{html}");
        }
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
            "<a href='".repeat(200_000),
            "<!--".repeat(200_000),
            "<a href=\"'".repeat(200_000),
            "<p a=".repeat(200_000),
            "</".repeat(200_000),
            "<style></styl".repeat(50_000),
            "&".repeat(200_000),
            "&eacute".repeat(100_000),
            "<q>".repeat(100_000),
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
