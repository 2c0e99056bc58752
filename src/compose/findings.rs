//! What a person, or a test, looks for in a mail: the code to type, the links to follow.

use super::html::text_of_html;

/// Most codes and links of one message.
const MOST: usize = 100;
/// How near to a word that announces a code it stands, in bytes of the text.
const NEAR: usize = 120;
/// Words that announce a code, in lower case.
const ANNOUNCING: [&str; 24] = [
    "code",
    "kode",
    "código",
    "codigo",
    "codice",
    "otp",
    "pin",
    "passcode",
    "password",
    "passwort",
    "token",
    "verif",
    "bestätig",
    "confirm",
    "one-time",
    "einmal",
    "验证码",
    "驗證碼",
    "校验码",
    "动态码",
    "密码",
    "コード",
    "認証",
    "인증",
];

/// What was found in a message's texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Those nearest to a word that announces one first; without hyphens and spaces within.
    pub codes: Vec<String>,
    /// `http` and `https` URLs, in the order in which they are read.
    pub links: Vec<String>,
}

impl Findings {
    /// Looks through a subject, a text, and an HTML as it is read.
    pub fn of(subject: &str, text: Option<&str>, html: Option<&str>) -> Self {
        let mut found = Self::default();
        let mut texts = vec![subject.to_owned()];
        texts.extend(text.map(str::to_owned));
        texts.extend(html.map(text_of_html));
        let mut ranked: Vec<(usize, String)> = Vec::new();
        for text in &texts {
            let links = links(text);
            for link in &links {
                if found.links.len() < MOST && !found.links.iter().any(|known| known == link.url) {
                    found.links.push(link.url.to_owned());
                }
            }
            ranked.extend(codes(text, &links));
        }
        // What stands near an announcing word is meant; the rest counts only where nothing does.
        ranked.sort_by_key(|(distance, _)| *distance);
        let is_announced = ranked.first().is_some_and(|(distance, _)| *distance <= NEAR);
        for (distance, code) in ranked {
            let is_meant = if is_announced { distance <= NEAR } else { is_plain(&code) };
            if is_meant && found.codes.len() < MOST && !found.codes.contains(&code) {
                found.codes.push(code);
            }
        }
        found
    }
}

struct Link<'t> {
    start: usize,
    url: &'t str,
}

fn links(text: &str) -> Vec<Link<'_>> {
    let lower = text.to_ascii_lowercase();
    let mut links = Vec::new();
    let mut from = 0;
    while let Some(at) = lower[from..].find("http").map(|at| at + from) {
        let rest = &lower[at..];
        if !rest.starts_with("http://") && !rest.starts_with("https://") {
            from = at + 4;
            continue;
        }
        let end = text[at..].find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '`' | '|' | '\\'));
        let url =
            text[at..end.map_or(text.len(), |end| at + end)].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'']);
        // A bracket that was opened before the URL is not of it.
        let url = if url.contains('(') { url } else { url.trim_end_matches([')', ']', '}']) };
        if url.len() > "https://".len() {
            links.push(Link { start: at, url });
        }
        from = at + url.len().max(4);
        if links.len() > MOST {
            break;
        }
    }
    links
}

/// What may be a code, with its distance from the nearest announcing word.
fn codes(text: &str, links: &[Link<'_>]) -> Vec<(usize, String)> {
    let lower = text.to_lowercase();
    // Where lower case has other lengths, places would not agree: such texts are looked at as they are.
    let searched = if lower.len() == text.len() { lower.as_str() } else { text };
    let announcing: Vec<usize> =
        ANNOUNCING.iter().flat_map(|word| searched.match_indices(word).map(|(at, _)| at)).collect();
    let is_in_link = |at: usize| links.iter().any(|link| (link.start..link.start + link.url.len()).contains(&at));
    let mut found = Vec::new();
    for (start, token) in tokens(text) {
        if is_in_link(start) {
            continue;
        }
        let Some(code) = code_of(text, start, token) else { continue };
        let distance = announcing.iter().map(|at| at.abs_diff(start)).min().unwrap_or(usize::MAX);
        found.push((distance, code));
        if found.len() >= 10 * MOST {
            break;
        }
    }
    found
}

/// Runs of ASCII letters, digits and hyphens; two groups of three digits with a space between are one.
fn tokens(text: &str) -> Vec<(usize, &str)> {
    let is_of = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut tokens: Vec<(usize, &str)> = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, is_of(c)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                tokens.push((from, &text[from..at]));
                start = None;
            }
            _ => {}
        }
    }
    let is_third = |token: &str| token.len() == 3 && token.bytes().all(|b| b.is_ascii_digit());
    let mut joined: Vec<(usize, &str)> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some((start, token)) = rest.next() {
        if is_third(token)
            && let Some((next, other)) = rest.peek().copied()
            && is_third(other)
            && text[start + 3..next] == *" "
        {
            rest.next();
            joined.push((start, &text[start..next + 3]));
        } else {
            joined.push((start, token));
        }
    }
    joined
}

/// The code that a token is, if it can be one: four to ten digits, or capitals and digits together.
fn code_of(text: &str, start: usize, token: &str) -> Option<String> {
    let code: String = token.chars().filter(char::is_ascii_alphanumeric).collect();
    let digits = code.bytes().filter(u8::is_ascii_digit).count();
    let is_grouped = token.contains('-');
    let has_form = if digits == code.len() {
        (4..=10).contains(&digits) && (!is_grouped || token.split('-').all(|group| (2..=5).contains(&group.len())))
    } else {
        let is_upper = code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        is_upper && digits > 0 && (5..=16).contains(&code.len())
    };
    if !has_form || token.starts_with('-') || token.ends_with('-') {
        return None;
    }
    // An amount, a date, a time, a part of a number or an address is none.
    let before = text[..start].chars().next_back();
    let after = text[start + token.len()..].chars().next();
    let second = text[start + token.len()..].chars().nth(1);
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let joins = |c: Option<char>| matches!(c, Some('/' | '@' | '_' | '€' | '$' | '£' | '¥' | '%' | '+' | '='));
    let is_cut = matches!(after, Some('.' | ',' | ':')) && is_digit(second);
    let was_cut = matches!(before, Some('.' | ',')) && is_digit(text[..start].chars().rev().nth(1));
    let was_time = before == Some(':') && is_digit(text[..start].chars().rev().nth(1));
    (!joins(before) && !joins(after) && !is_cut && !was_cut && !was_time && before != Some('#')).then_some(code)
}

/// Whether a code that nothing announces is taken for one: six digits, which dates, years and prices seldom have.
fn is_plain(code: &str) -> bool {
    code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn codes(subject: &str, text: &str) -> Vec<String> {
        Findings::of(subject, Some(text), None).codes
    }

    #[test]
    fn the_code_that_a_person_would_type_is_found() {
        for (subject, text, code) in [
            ("Your code", "Use 123456 to sign in. It is valid for 10 minutes.", "123456"),
            ("483920 is your verification code", "Do not share it. © 2026 Shop, 94105 San Francisco", "483920"),
            ("Anmeldung", "Ihr Einmalpasswort lautet: 0042\n\nBestellung 20261127", "0042"),
            ("登录", "您的验证码是 839201，5分钟内有效。", "839201"),
            ("Sign in", "Enter the code 123 456 on the page.", "123456"),
            ("Sign in", "Your code: 123-456", "123456"),
            ("Device", "Your one-time token is WDJB-MJ4T", "WDJBMJ4T"),
            ("G-492817 is your Google verification code", "", "G492817"),
            ("Order", "Total 1,234.56 EUR on 2026-11-27 at 10:4512. PIN 9917", "9917"),
            ("Hello", "839201", "839201"),
        ] {
            assert_eq!(codes(subject, text).first().map(String::as_str), Some(code), "{subject}: {text}");
        }
    }

    #[test]
    fn what_is_no_code_is_not_taken_for_one() {
        for text in [
            "Thank you for your order #104217 of 2026-11-27, 1234.50 EUR, invoice 2026/100234.",
            "Call 555 0100 or write to box123456@example.com",
            "See https://shop.example/reset/482913?code=999999",
            "In 2026 we sold 1500 cups.",
        ] {
            assert_eq!(codes("Hello", text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn links_of_text_and_html_are_found_once_in_order() {
        let text = "Reset (https://a.example/reset?t=1&u=2). Or http://b.example/x, HTTPS://c.example/Y!";
        let html = "<a href=\"https://a.example/reset?t=1&amp;u=2\">Reset</a> <a href='https://d.example/'>D</a> <a href='javascript:x'>no</a>";
        let found = Findings::of("", Some(text), Some(html));
        let links =
            ["https://a.example/reset?t=1&u=2", "http://b.example/x", "HTTPS://c.example/Y", "https://d.example/"];
        assert_eq!(found.links, links);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(http://|code|[0-9]{1,7}|é|\\PC| |-|\\.|ẞ|İ){0,60}") {
            let found = Findings::of(&text, Some(&text), Some(&text));
            prop_assert!(found.codes.len() <= MOST && found.links.len() <= MOST);
        }
    }
}
