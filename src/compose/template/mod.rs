//! Templates: sources and variables in, the words of a message out. Pure, like all of this room.
//!
//! The language is `MiniJinja` (Jinja2). Variables are strict: one that is missing is a flaw, never an empty place. HTML is
//! escaped, subject and text are not. Whatever the source, a rendering ends: it has fuel, its output and its nesting are
//! bounded, and what it may include is the set that it was compiled with.

mod bounds;
pub mod diff;
mod engine;
mod missing;
pub mod mjml;
pub mod references;
pub mod starters;

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde_json::Map;

use crate::domain::fault::{Fault, FaultCode, Flaw};
use crate::domain::template::{Alias, Part, Variant};

/// Most bytes of one part's source.
pub const SOURCE_MAX: usize = 256 << 10;
/// Most bytes that one part may come to.
pub const OUTPUT_MAX: usize = 1 << 20;

/// Where in a template something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlawPlace {
    /// A variable, by the names that lead to it.
    Variable(Vec<String>),
    Part(Part),
}

/// What is wrong with a template, or with the variables that it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFlaw {
    pub place: FlawPlace,
    pub flaw: Flaw,
}

impl TemplateFlaw {
    /// The fault that it is in a request whose object at `pointer` names the template and has the member `variables`.
    pub fn at(self, pointer: &str) -> Fault {
        match self.place {
            FlawPlace::Variable(names) => {
                let names = names.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1")));
                self.flaw.at(format!("{pointer}/variables{}", names.collect::<String>()))
            }
            FlawPlace::Part(part) => {
                let Flaw { code, detail } = self.flaw;
                Fault::new(pointer, code, format!("{part}: {detail}"))
            }
        }
    }
}

/// What a template came to. A part that it does not have is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    pub subject: Option<String>,
    pub text: Option<String>,
    pub html: Option<String>,
}

/// A template that can be rendered: its parts, and the layouts and partials that they may name.
pub struct CompiledTemplate {
    environment: Environment<'static>,
    /// The parts that it has.
    parts: Vec<Part>,
    bytes: usize,
}

impl CompiledTemplate {
    /// Compiles a template and what it may extend and include. Of the latter a part that cannot be compiled is a flaw of
    /// that part here.
    pub fn new(template: &Variant, others: &BTreeMap<Alias, &Variant>) -> Result<Self, Vec<TemplateFlaw>> {
        let mut environment = engine::environment();
        let (mut parts, mut flaws, mut bytes) = (Vec::new(), Vec::new(), 0);
        for part in Part::ALL.iter().copied() {
            let own = template.part(part).map(|source| (None, source));
            let named = others.iter().filter_map(|(alias, other)| Some((Some(alias), other.part(part)?)));
            for (alias, source) in own.into_iter().chain(named) {
                bytes += source.len();
                match engine::add(&mut environment, part, alias, source) {
                    Ok(()) if alias.is_none() => parts.push(part),
                    Ok(()) => {}
                    Err(flaw) => flaws.push(TemplateFlaw { place: FlawPlace::Part(part), flaw }),
                }
            }
        }
        if flaws.is_empty() { Ok(Self { environment, parts, bytes }) } else { Err(flaws) }
    }

    /// Bytes of all sources.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Fills it in; on failure every flaw that can be found is told, each missing variable among them.
    pub fn render(&self, variables: &Map<String, serde_json::Value>) -> Result<Rendered, Vec<TemplateFlaw>> {
        let context = Value::from(Serde(variables));
        let (mut rendered, mut flaws) = (Rendered::default(), Vec::new());
        for part in self.parts.iter().copied() {
            match engine::render(&self.environment, part, context.clone()) {
                Ok(text) => match part {
                    Part::Subject => match one_line(&text) {
                        Ok(subject) => rendered.subject = Some(subject),
                        Err(flaw) => flaws.push(TemplateFlaw { place: FlawPlace::Part(part), flaw }),
                    },
                    Part::Text => rendered.text = Some(text),
                    Part::Html => rendered.html = Some(text),
                },
                Err(error) if engine::is_missing(&error) => {
                    let found = missing::flaws(&self.environment, part, variables, &error);
                    flaws.extend(found.into_iter().filter(|flaw| !flaws.contains(flaw)).collect::<Vec<_>>());
                }
                Err(error) => {
                    flaws.push(TemplateFlaw { place: FlawPlace::Part(part), flaw: engine::flaw_of(&error) });
                }
            }
        }
        if flaws.is_empty() { Ok(rendered) } else { Err(flaws) }
    }

    /// Names that the sources look up somewhere and do not define themselves in the same source.
    pub fn variables(&self) -> BTreeSet<String> {
        let globals: BTreeSet<_> = self.environment.globals().map(|(name, _)| name.to_owned()).collect();
        let looked_up = self.environment.templates().flat_map(|(_, template)| template.undeclared_variables(false));
        looked_up.filter(|name| !globals.contains(name)).collect()
    }
}

impl std::fmt::Debug for CompiledTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledTemplate")
            .field("parts", &self.parts)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// A subject without the white space around it, if it is one line.
fn one_line(text: &str) -> Result<String, Flaw> {
    let text = text.trim();
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        let detail = "came out with a line end or another control character; it must be one line";
        return Err(Flaw::new(FaultCode::ControlCharacter, detail));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
