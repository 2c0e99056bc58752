//! The template engine, set up so that nothing that it is given harms: strict, bounded, closed to the outside.

use std::borrow::Cow;
use std::error::Error as _;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use super::{OUTPUT_MAX, bounds};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::template::{Alias, Part};

/// What one part may cost: each instruction is one, and so are 64 bytes that are made.
const FUEL: u64 = 200_000;
/// Less for the repeated renderings that find out what is missing.
const SEARCH_FUEL: u64 = FUEL / 4;
/// Nesting while rendering: an include counts ten, a macro four.
const NESTING: usize = 100;

pub fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // What makes lists of other values; see `bounds`.
    for global in ["dict", "namespace"] {
        environment.remove_global(global);
    }
    for filter in ["batch", "chain", "groupby", "pprint", "slice", "zip"] {
        environment.remove_filter(filter);
    }
    environment.add_filter("tojson", to_json);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(NESTING);
    environment.set_auto_escape_callback(
        |name| {
            if name.starts_with("html/") { AutoEscape::Html } else { AutoEscape::None }
        },
    );
    // A `null` is a value that may be asked for, and no words.
    environment.set_formatter(|output, state, value| {
        if value.is_none() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        minijinja::escape_formatter(output, state, value)
    });
    // What is named in a part is the same part of the other template.
    environment.set_path_join_callback(|name, parent| {
        let part = parent.split('/').next().unwrap_or_default();
        Cow::Owned(format!("{part}/{name}"))
    });
    environment
}

/// The same, with less fuel.
pub fn for_search(environment: &Environment<'static>) -> Environment<'static> {
    let mut environment = environment.clone();
    environment.set_fuel(Some(SEARCH_FUEL));
    environment
}

fn name(part: Part, alias: Option<&Alias>) -> String {
    format!("{part}/{}", alias.map_or("", Alias::as_str))
}

/// Compiles one part; of the template itself if no alias is given.
pub fn add(
    environment: &mut Environment<'static>,
    part: Part,
    alias: Option<&Alias>,
    source: &str,
) -> Result<(), Flaw> {
    if source.len() > super::SOURCE_MAX {
        let detail = format!("has {} bytes; the limit is {}", source.len(), super::SOURCE_MAX);
        return Err(Flaw::new(FaultCode::TooLong, detail));
    }
    bounds::check(source)?;
    guarded(|| environment.add_template_owned(name(part, alias), source.to_owned())).map_err(|error| flaw_of(&error))
}

/// One part, filled in.
pub fn render(environment: &Environment<'_>, part: Part, context: Value) -> Result<String, Error> {
    let mut output = Bounded(Vec::new());
    guarded(|| environment.get_template(&name(part, None))?.render_captured_to(context, &mut output).map(drop))?;
    String::from_utf8(output.0).map_err(|_| Error::new(ErrorKind::BadEscape, "the output is not UTF-8"))
}

/// What panics in the engine fails the template, and nothing else.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let failed = |_| Err(Error::new(ErrorKind::InvalidOperation, "the template engine cannot do this"));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(failed)
}

/// A value as JSON that may stand in HTML. The engine's own filter makes all of it before it looks at its length.
fn to_json(value: &Value) -> Result<Value, Error> {
    let mut output = Bounded(Vec::new());
    let failed = |_| Error::new(ErrorKind::InvalidOperation, "cannot be written as JSON, or is too long");
    serde_json::to_writer(&mut output, value).map_err(failed)?;
    let text = String::from_utf8_lossy(&output.0);
    let escaped = [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\'', "\\u0027")];
    let text = escaped.into_iter().fold(text.into_owned(), |text, (sign, code)| text.replace(sign, code));
    Ok(Value::from_safe_string(text))
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_MAX {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error at the bottom: those above say through which include or block it came.
fn innermost(error: &Error) -> &Error {
    let mut found = error;
    while let Some(inner) = found.source().and_then(|source| source.downcast_ref::<Error>()) {
        found = inner;
    }
    found
}

/// Whether something was looked up that is not there.
pub fn is_missing(error: &Error) -> bool {
    innermost(error).kind() == ErrorKind::UndefinedError
}

/// What to tell the author: where, and what.
pub fn flaw_of(error: &Error) -> Flaw {
    let error = innermost(error);
    let name = error.name().and_then(|name| name.split_once('/')).map_or("", |(_, alias)| alias);
    let place = match (name, error.line()) {
        ("", Some(line)) => format!("line {line}: "),
        ("", None) => String::new(),
        (other, Some(line)) => format!("line {line} of '{other}': "),
        (other, None) => format!("in '{other}': "),
    };
    let (code, what) = match error.kind() {
        ErrorKind::SyntaxError => (FaultCode::InvalidTemplate, described(error)),
        ErrorKind::UndefinedError => (FaultCode::MissingVariable, "a value that is used here is not there".to_owned()),
        ErrorKind::TemplateNotFound => {
            let what = "there is no published layout or partial with that name, or it has no such part; names are \
                        written out, not made by the template";
            (FaultCode::UnknownTemplate, what.to_owned())
        }
        ErrorKind::OutOfFuel => (FaultCode::TemplateFailed, "does too much work: the limit is reached".to_owned()),
        ErrorKind::WriteFailure => (FaultCode::TemplateFailed, format!("comes to more than {OUTPUT_MAX} bytes")),
        _ => (FaultCode::TemplateFailed, described(error)),
    };
    Flaw::new(code, format!("{place}{what}"))
}

/// The engine's words, without the values of variables that it may quote at length.
fn described(error: &Error) -> String {
    const MOST: usize = 200;
    let text = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
    text
}
