//! What a command line says.

use std::time::Duration;

use crate::domain::clock::{Timestamp, parse_rfc3339};

/// A command, as far as it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Ehlo,
    Helo,
    Mail {
        path: String,
        asked: Box<Asked>,
    },
    Rcpt {
        path: String,
        /// NOTIFY or ORCPT was said (RFC 3461).
        wants_notices: bool,
    },
    Data,
    /// So many octets follow (RFC 3030).
    Bdat {
        octets: usize,
        is_last: bool,
    },
    Auth {
        mechanism: String,
        /// What came with it, in base64.
        initial: Option<String>,
    },
    Starttls,
    Rset,
    Noop,
    Quit,
    Vrfy,
    /// Known, and not here.
    Unimplemented,
}

/// What MAIL says beside the path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// RFC 1870.
    pub size: Option<u64>,
    /// RFC 6531.
    pub utf8: bool,
    /// The sender's own name for the message (RFC 3461 §4.4), decoded.
    pub envelope_id: Option<String>,
    /// RFC 8689.
    pub require_tls: bool,
    /// RFC 4865.
    pub hold: Option<Hold>,
    /// Seconds until it is to be given back if it was not delivered (RFC 2852).
    pub by: Option<u32>,
    /// From -9 to 9 (RFC 6710).
    pub priority: Option<i8>,
    /// Something was said that is offered to programs that submit, and to no others.
    pub needs_submission: bool,
}

/// When a message is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    For(Duration),
    Until(Timestamp),
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    Unknown,
    Syntax,
    /// A parameter that nobody offered.
    Parameter,
    /// A parameter with a value that it cannot have.
    Value,
}

/// Longest path (RFC 5321 §4.5.3.1.3).
const PATH_MAX: usize = 256;
/// Longest name of an envelope (RFC 3461 §4.4).
const ENVELOPE_ID_MAX: usize = 100;

/// Reads a line without its CRLF.
pub fn parse(line: &[u8]) -> Result<Command, Wrong> {
    let text = std::str::from_utf8(line).map_err(|_| Wrong::Syntax)?;
    if text.chars().any(char::is_control) {
        return Err(Wrong::Syntax);
    }
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim_matches(' ');
    let alone = |command| if rest.is_empty() { Ok(command) } else { Err(Wrong::Syntax) };
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" if !rest.is_empty() => Ok(Command::Ehlo),
        "HELO" if !rest.is_empty() => Ok(Command::Helo),
        "EHLO" | "HELO" => Err(Wrong::Syntax),
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" => alone(Command::Data),
        "BDAT" => bdat(rest),
        "AUTH" => auth(rest),
        "STARTTLS" => alone(Command::Starttls),
        "RSET" => alone(Command::Rset),
        "QUIT" => alone(Command::Quit),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" | "HELP" | "TURN" | "ETRN" | "XCLIENT" | "XFORWARD" => Ok(Command::Unimplemented),
        _ => Err(Wrong::Unknown),
    }
}

fn mail(rest: &str) -> Result<Command, Wrong> {
    let (path, parameters) = path(rest, "FROM:")?;
    let mut asked = Box::<Asked>::default();
    for (name, value) in parameters_of(parameters) {
        match (name.as_str(), value) {
            ("SIZE", Some(value)) => asked.size = Some(number(value)?),
            ("BODY", Some(value)) if is_one_of(value, &["7BIT", "8BITMIME"]) => {}
            ("SMTPUTF8", None) => asked.utf8 = true,
            (name, value) => {
                asked.needs_submission = true;
                submission_parameter(&mut asked, name, value)?;
            }
        }
    }
    if !asked.utf8 && !path.is_ascii() {
        return Err(Wrong::Syntax);
    }
    Ok(Command::Mail { path, asked })
}

fn submission_parameter(asked: &mut Asked, name: &str, value: Option<&str>) -> Result<(), Wrong> {
    match (name, value) {
        ("RET", Some(value)) if is_one_of(value, &["FULL", "HDRS"]) => {}
        ("ENVID", Some(value)) => {
            let decoded = xtext(value).filter(|text| text.len() <= ENVELOPE_ID_MAX);
            asked.envelope_id = Some(decoded.ok_or(Wrong::Value)?);
        }
        ("REQUIRETLS", None) => asked.require_tls = true,
        // RFC 4954 §5: whose the message was is for relays that trust each other, and we are told by AUTH.
        ("AUTH", Some(value)) if xtext(value).is_some() => {}
        ("HOLDFOR", Some(value)) if asked.hold.is_none() => {
            let seconds: u32 = number(value)?;
            asked.hold = Some(Hold::For(Duration::from_secs(seconds.into())));
        }
        ("HOLDUNTIL", Some(value)) if asked.hold.is_none() => {
            asked.hold = Some(Hold::Until(parse_rfc3339(value).ok_or(Wrong::Value)?));
        }
        ("BY", Some(value)) => asked.by = Some(by(value)?),
        ("MT-PRIORITY", Some(value)) => {
            let number = value.parse().ok().filter(|number| (-9..=9).contains(number));
            asked.priority = Some(number.ok_or(Wrong::Value)?);
        }
        ("RET" | "ENVID" | "REQUIRETLS" | "AUTH" | "HOLDFOR" | "HOLDUNTIL" | "BY" | "MT-PRIORITY", _) => {
            return Err(Wrong::Value);
        }
        _ => return Err(Wrong::Parameter),
    }
    Ok(())
}

/// `BY=600;R`: what is not delivered by then comes back. Of mere word that it is late (`N`) nobody is told by mail.
fn by(value: &str) -> Result<u32, Wrong> {
    let (seconds, mode) = value.split_once(';').ok_or(Wrong::Value)?;
    if !is_one_of(mode, &["R", "RT"]) {
        return Err(Wrong::Value);
    }
    number(seconds).ok().filter(|seconds| *seconds > 0).ok_or(Wrong::Value)
}

fn rcpt(rest: &str) -> Result<Command, Wrong> {
    let (path, parameters) = path(rest, "TO:")?;
    if path.is_empty() {
        return Err(Wrong::Syntax);
    }
    let mut wants_notices = false;
    for (name, value) in parameters_of(parameters) {
        let is_sound = match (name.as_str(), value) {
            ("NOTIFY", Some(value)) => {
                let words: Vec<_> = value.split(',').collect();
                let known = |word: &&str| is_one_of(word, &["SUCCESS", "FAILURE", "DELAY"]);
                words.iter().all(known) || (words.len() == 1 && is_one_of(words[0], &["NEVER"]))
            }
            ("ORCPT", Some(value)) => {
                value.split_once(';').is_some_and(|(kind, address)| !kind.is_empty() && !address.is_empty())
            }
            ("NOTIFY" | "ORCPT", None) => false,
            _ => return Err(Wrong::Parameter),
        };
        if !is_sound {
            return Err(Wrong::Value);
        }
        wants_notices = true;
    }
    Ok(Command::Rcpt { path, wants_notices })
}

fn bdat(rest: &str) -> Result<Command, Wrong> {
    let (octets, last) =
        rest.split_once(' ').map_or((rest, None), |(octets, last)| (octets, Some(last.trim_matches(' '))));
    let is_last = match last {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(Wrong::Syntax),
    };
    Ok(Command::Bdat { octets: number(octets)?, is_last })
}

fn auth(rest: &str) -> Result<Command, Wrong> {
    let mut words = rest.split(' ');
    let mechanism = words.next().filter(|name| !name.is_empty()).ok_or(Wrong::Syntax)?.to_ascii_uppercase();
    let initial = words.next().map(str::to_owned);
    if words.next().is_some() { Err(Wrong::Syntax) } else { Ok(Command::Auth { mechanism, initial }) }
}

/// Digits alone: no sign.
fn number<T: std::str::FromStr>(text: &str) -> Result<T, Wrong> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(Wrong::Syntax)
}

fn is_one_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Names, in upper case, and values.
fn parameters_of(text: &str) -> impl Iterator<Item = (String, Option<&str>)> {
    text.split(' ').filter(|parameter| !parameter.is_empty()).map(|parameter| match parameter.split_once('=') {
        Some((name, value)) => (name.to_ascii_uppercase(), Some(value)),
        None => (parameter.to_ascii_uppercase(), None),
    })
}

/// What `+XX` writes (RFC 3461 §4); `None`: it cannot be read, or is no printable ASCII.
fn xtext(text: &str) -> Option<String> {
    let mut decoded = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let byte = if c == '+' {
            let digits = rest.get(1..3)?;
            rest = &rest[3..];
            u8::from_str_radix(digits, 16).ok()?
        } else {
            rest = &rest[c.len_utf8()..];
            u8::try_from(c).ok()?
        };
        decoded.push(char::from(Some(byte).filter(|byte| (b' '..=b'~').contains(byte))?));
    }
    Some(decoded)
}

/// The path between angle brackets, without a source route, and what follows.
fn path<'t>(rest: &'t str, keyword: &str) -> Result<(String, &'t str), Wrong> {
    let at = rest.get(..keyword.len()).filter(|start| start.eq_ignore_ascii_case(keyword)).ok_or(Wrong::Syntax)?;
    let rest = rest[at.len()..].trim_start_matches(' ').strip_prefix('<').ok_or(Wrong::Syntax)?;
    let (path, parameters) = split_path(rest).ok_or(Wrong::Syntax)?;
    let is_apart = parameters.is_empty() || parameters.starts_with(' ');
    if path.len() > PATH_MAX || !is_apart {
        return Err(Wrong::Syntax);
    }
    let path = match path.strip_prefix('@') {
        Some(route) => route.split_once(':').ok_or(Wrong::Syntax)?.1,
        None => path,
    };
    Ok((path.to_owned(), parameters.trim_matches(' ')))
}

/// At the bracket that ends a path: one within quotes does not.
fn split_path(text: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_standard_and_as_the_world_writes_them() {
        let mail = |path: &str| Ok(Command::Mail { path: path.to_owned(), asked: Box::default() });
        let asked = |asked: Asked| Ok(Command::Mail { path: "a@b.example".to_owned(), asked: Box::new(asked) });
        let submitted = |with: Asked| asked(Asked { needs_submission: true, ..with });
        let rcpt = |wants_notices| Ok(Command::Rcpt { path: "a@b.example".to_owned(), wants_notices });
        let auth = |initial: Option<&str>| {
            Ok(Command::Auth { mechanism: "PLAIN".to_owned(), initial: initial.map(str::to_owned) })
        };
        for (line, wanted) in [
            ("ehlo mx.example", Ok(Command::Ehlo)),
            ("HELO x", Ok(Command::Helo)),
            ("EHLO", Err(Wrong::Syntax)),
            ("MAIL FROM:<>", mail("")),
            ("mail from: <a@b.example> BODY=8BITMIME", mail("a@b.example")),
            ("MAIL FROM:<@x.example,@y.example:a@b.example>", mail("a@b.example")),
            ("MAIL FROM:<\"a>b\"@c.example>", mail("\"a>b\"@c.example")),
            ("MAIL FROM:<a@b.example> SIZE=9", asked(Asked { size: Some(9), ..Asked::default() })),
            ("MAIL FROM:<a@b.example> SIZE=99999999999999999999", Err(Wrong::Syntax)),
            ("MAIL FROM:<a@b.example> SIZE=+9", Err(Wrong::Syntax)),
            (
                "MAIL FROM:<ä@b.example> SMTPUTF8",
                Ok(Command::Mail {
                    path: "ä@b.example".to_owned(),
                    asked: Box::new(Asked { utf8: true, ..Asked::default() }),
                }),
            ),
            ("MAIL FROM:<ä@b.example>", Err(Wrong::Syntax)),
            ("MAIL FROM:<a@b.example> AUTH=<> RET=hdrs", submitted(Asked::default())),
            ("MAIL FROM:<a@b.example> X-MINE=1", Err(Wrong::Parameter)),
            (
                "MAIL FROM:<a@b.example> ENVID=a+2Bb+3D requiretls",
                submitted(Asked { envelope_id: Some("a+b=".to_owned()), require_tls: true, ..Asked::default() }),
            ),
            ("MAIL FROM:<a@b.example> ENVID=a+0Ab", Err(Wrong::Value)),
            ("MAIL FROM:<a@b.example> ENVID=a+2", Err(Wrong::Value)),
            ("MAIL FROM:<a@b.example> REQUIRETLS=1", Err(Wrong::Value)),
            (
                "MAIL FROM:<a@b.example> HOLDFOR=60",
                submitted(Asked { hold: Some(Hold::For(Duration::from_mins(1))), ..Asked::default() }),
            ),
            (
                "MAIL FROM:<a@b.example> HOLDUNTIL=2026-11-28T05:00:00Z",
                submitted(Asked {
                    hold: Some(Hold::Until(time::macros::datetime!(2026-11-28 5:00 UTC))),
                    ..Asked::default()
                }),
            ),
            ("MAIL FROM:<a@b.example> HOLDUNTIL=1795842000", Err(Wrong::Value)),
            ("MAIL FROM:<a@b.example> HOLDFOR=1 HOLDFOR=2", Err(Wrong::Value)),
            ("MAIL FROM:<a@b.example> BY=600;R", submitted(Asked { by: Some(600), ..Asked::default() })),
            ("MAIL FROM:<a@b.example> BY=0;R", Err(Wrong::Value)),
            ("MAIL FROM:<a@b.example> BY=60;N", Err(Wrong::Value)),
            ("MAIL FROM:<a@b.example> MT-PRIORITY=-9", submitted(Asked { priority: Some(-9), ..Asked::default() })),
            ("MAIL FROM:<a@b.example> MT-PRIORITY=10", Err(Wrong::Value)),
            ("MAIL FROM:<a@b.example> BODY=BINARYMIME", Err(Wrong::Parameter)),
            ("MAIL FROM:a@b.example", Err(Wrong::Syntax)),
            ("MAIL FROM:<a@b.example", Err(Wrong::Syntax)),
            ("MAIL FROM:<a@b.example>SIZE=1", Err(Wrong::Syntax)),
            ("MAIL FROM:<a@b.example> SIZE=-1", Err(Wrong::Syntax)),
            ("RCPT TO:<a@b.example>", rcpt(false)),
            ("RCPT TO:<a@b.example> NOTIFY=NEVER ORCPT=rfc822;a@b.example", rcpt(true)),
            ("RCPT TO:<a@b.example> NOTIFY=SUCCESS,delay", rcpt(true)),
            ("RCPT TO:<a@b.example> NOTIFY=SUCCESS,NEVER", Err(Wrong::Value)),
            ("RCPT TO:<a@b.example> NOTIFY=", Err(Wrong::Value)),
            ("RCPT TO:<a@b.example> ORCPT=a@b.example", Err(Wrong::Value)),
            ("RCPT TO:<a@b.example> X=1", Err(Wrong::Parameter)),
            ("BDAT 0 LAST", Ok(Command::Bdat { octets: 0, is_last: true })),
            ("bdat 86 last", Ok(Command::Bdat { octets: 86, is_last: true })),
            ("BDAT 5", Ok(Command::Bdat { octets: 5, is_last: false })),
            ("BDAT -5", Err(Wrong::Syntax)),
            ("BDAT 5 FIRST", Err(Wrong::Syntax)),
            ("BDAT", Err(Wrong::Syntax)),
            ("RCPT TO:<>", Err(Wrong::Syntax)),
            ("DATA", Ok(Command::Data)),
            ("DATA x", Err(Wrong::Syntax)),
            ("NOOP x", Ok(Command::Noop)),
            ("AUTH plain", auth(None)),
            ("AUTH PLAIN =", auth(Some("="))),
            ("AUTH PLAIN AGEAYg==", auth(Some("AGEAYg=="))),
            ("AUTH PLAIN a b", Err(Wrong::Syntax)),
            ("AUTH", Err(Wrong::Syntax)),
            ("GET / HTTP/1.1", Err(Wrong::Unknown)),
            ("NO\0OP", Err(Wrong::Syntax)),
            ("", Err(Wrong::Unknown)),
        ] {
            assert_eq!(parse(line.as_bytes()), wanted, "{line}");
        }
        assert_eq!(parse(b"MAIL FROM:<\xff@b.example>"), Err(Wrong::Syntax));
        assert_eq!(parse(format!("MAIL FROM:<{}>", "a".repeat(257)).as_bytes()), Err(Wrong::Syntax));
    }
}
