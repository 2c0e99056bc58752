//! Character references of HTML (WHATWG HTML §13.2.5.72 ff.).

use mail_parser::decoders::html::add_html_token;

/// The names that may stand without a semicolon, for U+00A0 to U+00FF in order.
const LATIN1: [&str; 96] = [
    "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf", "laquo", "not", "shy",
    "reg", "macr", "deg", "plusmn", "sup2", "sup3", "acute", "micro", "para", "middot", "cedil", "sup1", "ordm",
    "raquo", "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc", "Atilde", "Auml", "Aring", "AElig",
    "Ccedil", "Egrave", "Eacute", "Ecirc", "Euml", "Igrave", "Iacute", "Icirc", "Iuml", "ETH", "Ntilde", "Ograve",
    "Oacute", "Ocirc", "Otilde", "Ouml", "times", "Oslash", "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute", "THORN",
    "szlig", "agrave", "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil", "egrave", "eacute", "ecirc",
    "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde", "ograve", "oacute", "ocirc", "otilde", "ouml",
    "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
];
/// The others that may.
const BARE: [(&str, char); 10] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("AMP", '&'),
    ("LT", '<'),
    ("GT", '>'),
    ("QUOT", '"'),
    ("COPY", '©'),
    ("REG", '®'),
];
/// What 128 to 159 mean as numbers: windows-1252. A NUL: nothing.
const WINDOWS_1252: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“', '”', '•',
    '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];
/// Octets of the longest name.
const NAME_MAX: usize = 31;

/// The text that a reference stands for, and the bytes that it takes behind the `&`; `None`: there is none. Within an
/// attribute a name without a semicolon is none where more of a word follows: `?a=1&copy=2`.
pub fn reference(rest: &str, in_attribute: bool) -> Option<(String, usize)> {
    if let Some(number) = rest.strip_prefix('#') {
        return numeric(number).map(|(c, length)| (c.map(String::from).unwrap_or_default(), length + 1));
    }
    let length = rest.bytes().take(NAME_MAX + 1).take_while(u8::is_ascii_alphanumeric).count();
    let (name, behind) = rest.split_at(length);
    if behind.starts_with(';') {
        let token = format!("&{name};");
        let mut text = String::new();
        add_html_token(&mut text, token.as_bytes(), false);
        if text != token {
            return Some((text, length + 1));
        }
    }
    let (c, length) = bare(name)?;
    let follows = rest[length..].chars().next();
    let is_word = follows.is_some_and(|c| c == '=' || c.is_ascii_alphanumeric());
    if in_attribute && is_word { None } else { Some((c.to_string(), length)) }
}

/// The longest name at the start of `name` that needs no semicolon.
fn bare(name: &str) -> Option<(char, usize)> {
    let latin = LATIN1.iter().zip('\u{a0}'..='\u{ff}').map(|(known, c)| (*known, c));
    let found = latin.chain(BARE).filter(|(known, _)| name.starts_with(known)).max_by_key(|(known, _)| known.len())?;
    Some((found.1, found.0.len()))
}

/// A number, with its semicolon if it has one. A control character stands for nothing.
fn numeric(text: &str) -> Option<(Option<char>, usize)> {
    let (digits, radix, prefix) = match text.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16, 1),
        None => (text, 10, 0),
    };
    let length = digits.bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
    if length == 0 {
        return None;
    }
    // What is too large for the type is too large for a character.
    let code = u32::from_str_radix(&digits[..length], radix).unwrap_or(u32::MAX);
    let c = match code {
        0x80..=0x9f => Some(WINDOWS_1252[usize::try_from(code - 0x80).unwrap_or(0)]).filter(|c| *c != '\0'),
        0 => Some(char::REPLACEMENT_CHARACTER),
        _ => Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
    };
    let c = c.filter(|c| !c.is_control() || c.is_whitespace());
    Some((c, prefix + length + usize::from(digits[length..].starts_with(';'))))
}

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn names_and_numbers_are_what_browsers_make_of_them() {
        for (html, text, length) in [
            ("eacute;", "é", 7),
            ("rsquo;x", "’", 6),
            ("pound", "£", 5),
            ("eacutet&", "é", 6),
            ("notin;", "∉", 6),
            ("notit;", "¬", 3),
            ("CounterClockwiseContourIntegral;", "∳", 32),
            ("#146;", "’", 5),
            ("#x27 ", "'", 4),
            ("#8364", "€", 5),
            ("#0;", "\u{fffd}", 3),
            ("#99999999999;", "\u{fffd}", 13),
            ("#xd800;", "\u{fffd}", 7),
            ("#1;", "", 3),
        ] {
            assert_eq!(reference(html, false), Some((text.to_owned(), length)), "{html}");
        }
        for html in ["", "unknown;", "#;", "#x;", " amp;", "é;"] {
            assert_eq!(reference(html, false), None, "{html}");
        }
        assert_eq!(reference("copy=2", true), None);
        assert_eq!(reference("amp;b=2", true), Some(("&".to_owned(), 4)));
        assert_eq!(reference("copy\"", true), Some(("©".to_owned(), 4)));
    }
}
