//! What a command line says.

/// A command, as far as it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Ehlo,
    Helo,
    Mail {
        path: String,
        size: Option<usize>,
        utf8: bool,
    },
    Rcpt {
        path: String,
    },
    Data,
    Starttls,
    Rset,
    Noop,
    Quit,
    Vrfy,
    /// Known, and not here.
    Unimplemented,
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    Unknown,
    Syntax,
    Parameter,
}

/// Longest path (RFC 5321 §4.5.3.1.3).
const PATH_MAX: usize = 256;

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
        "RCPT" => {
            let (path, parameters) = path(rest, "TO:")?;
            // Whoever asks for notices (RFC 3461) was not offered any.
            if path.is_empty() || !parameters.is_empty() {
                return Err(if path.is_empty() { Wrong::Syntax } else { Wrong::Parameter });
            }
            Ok(Command::Rcpt { path })
        }
        "DATA" => alone(Command::Data),
        "STARTTLS" => alone(Command::Starttls),
        "RSET" => alone(Command::Rset),
        "QUIT" => alone(Command::Quit),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" | "HELP" | "TURN" | "ETRN" | "AUTH" | "BDAT" | "XCLIENT" | "XFORWARD" => Ok(Command::Unimplemented),
        _ => Err(Wrong::Unknown),
    }
}

fn mail(rest: &str) -> Result<Command, Wrong> {
    let (path, parameters) = path(rest, "FROM:")?;
    let (mut size, mut utf8) = (None, false);
    for parameter in parameters.split(' ').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name.to_ascii_uppercase().as_str() {
            "SIZE" => size = Some(value.parse().map_err(|_| Wrong::Syntax)?),
            "BODY" if value.eq_ignore_ascii_case("7BIT") || value.eq_ignore_ascii_case("8BITMIME") => {}
            "SMTPUTF8" if value.is_empty() => utf8 = true,
            _ => return Err(Wrong::Parameter),
        }
    }
    if !utf8 && !path.is_ascii() {
        return Err(Wrong::Syntax);
    }
    Ok(Command::Mail { path, size, utf8 })
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
        let mail = |path: &str| Ok(Command::Mail { path: path.to_owned(), size: None, utf8: false });
        for (line, wanted) in [
            ("ehlo mx.example", Ok(Command::Ehlo)),
            ("HELO x", Ok(Command::Helo)),
            ("EHLO", Err(Wrong::Syntax)),
            ("MAIL FROM:<>", mail("")),
            ("mail from: <a@b.example> BODY=8BITMIME", mail("a@b.example")),
            ("MAIL FROM:<@x.example,@y.example:a@b.example>", mail("a@b.example")),
            ("MAIL FROM:<\"a>b\"@c.example>", mail("\"a>b\"@c.example")),
            (
                "MAIL FROM:<a@b.example> SIZE=9",
                Ok(Command::Mail { path: "a@b.example".to_owned(), size: Some(9), utf8: false }),
            ),
            (
                "MAIL FROM:<ä@b.example> SMTPUTF8",
                Ok(Command::Mail { path: "ä@b.example".to_owned(), size: None, utf8: true }),
            ),
            ("MAIL FROM:<ä@b.example>", Err(Wrong::Syntax)),
            ("MAIL FROM:<a@b.example> AUTH=<>", Err(Wrong::Parameter)),
            ("MAIL FROM:a@b.example", Err(Wrong::Syntax)),
            ("MAIL FROM:<a@b.example", Err(Wrong::Syntax)),
            ("MAIL FROM:<a@b.example>SIZE=1", Err(Wrong::Syntax)),
            ("MAIL FROM:<a@b.example> SIZE=-1", Err(Wrong::Syntax)),
            ("RCPT TO:<a@b.example>", Ok(Command::Rcpt { path: "a@b.example".to_owned() })),
            ("RCPT TO:<>", Err(Wrong::Syntax)),
            ("RCPT TO:<a@b.example> NOTIFY=NEVER", Err(Wrong::Parameter)),
            ("DATA", Ok(Command::Data)),
            ("DATA x", Err(Wrong::Syntax)),
            ("NOOP x", Ok(Command::Noop)),
            ("AUTH PLAIN", Ok(Command::Unimplemented)),
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
