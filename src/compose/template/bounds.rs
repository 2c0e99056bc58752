//! What a source may hold before it is compiled.
//!
//! The engine goes down by its stack over chains that it does not count (`not not …`, `a.b.c…`, `elif`), and a stack that
//! ends takes the whole process with it. And it compares values without counting: a list that holds a list twice, which
//! holds a list twice …, takes for ever. So chains are bounded, and a template makes no list out of other values; those
//! that it is given are as deep as they are long.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use crate::domain::fault::{FaultCode, Flaw};

/// Words and signs between `{{` and `}}`, or `{%` and `%}`.
const TOKENS_MAX: usize = 300;
/// Expressions and statements.
const TAGS_MAX: usize = 5000;
/// Branches by `elif`.
const BRANCHES_MAX: usize = 100;

/// Words of the language, after which a bracket begins a value.
const WORDS: [&str; 20] = [
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "for",
    "set",
    "include",
    "extends",
    "import",
    "from",
    "with",
    "do",
    "call",
    "recursive",
    "filter",
    "autoescape",
];
/// Words that stand for a value.
const CONSTANTS: [&str; 6] = ["true", "false", "none", "True", "False", "None"];
/// Statements in which commas part names, not values.
const LISTING: [&str; 4] = ["from", "import", "with", "macro"];

#[derive(Clone, Copy, PartialEq)]
enum Bracket {
    /// Arguments of a call.
    Call,
    Group,
    /// A list or map that is written out.
    Literal,
    /// Behind a value.
    Index,
}

/// One expression or statement, as far as it is read.
#[derive(Default)]
struct Tag {
    line: u16,
    tokens: usize,
    /// The first word of a statement.
    statement: Option<String>,
    is_statement: bool,
    /// Whether names still come that the statement gives.
    names: bool,
    /// Whether the last token ends a value.
    value: bool,
    brackets: Vec<Bracket>,
}

/// What is wrong with a source that the engine must not be given. A fault of the language is left to the engine.
pub fn check(source: &str) -> Result<(), Flaw> {
    let (mut tag, mut tags, mut branches) = (Tag::default(), 0, 0);
    for token in tokenize(source, false, SyntaxConfig::default()) {
        let Ok((token, span)) = token else { return Ok(()) };
        match &token {
            Token::VariableStart | Token::BlockStart => {
                let is_statement = matches!(token, Token::BlockStart);
                tag = Tag { line: span.start_line, is_statement, names: is_statement, ..Tag::default() };
                tags += 1;
            }
            Token::TemplateData(_) | Token::VariableEnd | Token::BlockEnd => continue,
            Token::Ident("elif") => branches += 1,
            _ => {}
        }
        tag.tokens += 1;
        let over = [
            (tag.tokens, TOKENS_MAX, "words and signs in one expression or statement"),
            (tags, TAGS_MAX, "expressions and statements"),
            (branches, BRANCHES_MAX, "branches by elif"),
        ];
        if let Some((_, most, what)) = over.into_iter().find(|(count, most, _)| count > most) {
            return Err(refusal(tag.line, &format!("more than {most} {what}")));
        }
        tag.read(&token).map_err(|what| refusal(tag.line, what))?;
    }
    Ok(())
}

fn refusal(line: u16, what: &str) -> Flaw {
    Flaw::new(FaultCode::InvalidTemplate, format!("line {line}: {what}"))
}

impl Tag {
    fn read(&mut self, token: &Token<'_>) -> Result<(), &'static str> {
        let was_value = std::mem::replace(&mut self.value, false);
        match token {
            Token::Ident(word) => self.word(word)?,
            Token::ParenOpen => self.brackets.push(if was_value { Bracket::Call } else { Bracket::Group }),
            Token::BracketOpen => self.brackets.push(if was_value { Bracket::Index } else { Bracket::Literal }),
            Token::BraceOpen => self.brackets.push(Bracket::Literal),
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                self.brackets.pop();
                self.value = true;
            }
            Token::Str(_) | Token::String(_) => self.value = true,
            Token::Assign if self.brackets.is_empty() => self.names = false,
            Token::Comma => self.comma()?,
            _ => {}
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), &'static str> {
        if self.is_statement && self.statement.is_none() {
            self.statement = Some(word.to_owned());
            return Ok(());
        }
        if word == "in" && self.brackets.is_empty() {
            self.names = false;
        }
        if self.brackets.contains(&Bracket::Literal) && !CONSTANTS.contains(&word) {
            return Err("a list or map that is written out holds numbers, texts and such lists only");
        }
        self.value = !WORDS.contains(&word);
        Ok(())
    }

    fn comma(&mut self) -> Result<(), &'static str> {
        let statement = self.statement.as_deref().unwrap_or_default();
        let parts_names = self.names && ["for", "set"].contains(&statement);
        match self.brackets.last() {
            Some(Bracket::Call | Bracket::Literal) => Ok(()),
            None if LISTING.contains(&statement) || parts_names => Ok(()),
            _ => Err("values with commas between them stand in brackets: ['a', 'b']"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_makes_no_list_of_other_values() {
        for wrong in [
            "{% set x = [x, x] %}",
            "{% set x = x, x %}",
            "{% set x = (x, x) %}",
            "{{ {'a': x} }}",
            "{{ f([1, [x]]) }}",
            "{% for a in x, x %}",
            "{% for a in [x] %}",
            "{% if (x, x) == y %}",
            "{{ x, x }}",
            "{{ y in [x] }}",
            "{% with a = (x, x) %}",
            "{{ m((x, x)) }}",
            "{{ x[(x, x)] }}",
            "{% set a, b = x, x %}",
            "{% return x, x %}",
            "{{ '' ~ \"}}\" ~ [x] }}",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_templates_are_made_of_passes() {
        for fine in [
            "{% for k, v in data|items %}{{ k }}{{ f(k, v)[0] }}{% endfor %}",
            "{% set a, b = pair %}{% with a = 1, b = x %}{% endwith %}",
            "{% from 'm' import a, b as c %}{% import 'm' as m %}",
            "{% include ['a', 'b'] ignore missing %}{% if x in ['a', 1, true, [none]] %}{% endif %}",
            "{% macro m(a, b=[], c='x') %}{{ (a + b) * 2 }}{% endmacro %}{% call m(1, 2) %}{% endcall %}",
            "{{ a.b['c'](d, e=f)|default('x', true)|replace('a', 'b') }}{{ {'a': 1}['a'] }}",
            "{% raw %}{{ [x, x] }}{% endraw %}{# [x, x] #} [x, x] {x}",
            "{% if not (a and b) or c[1:2] %}{% elif d is divisibleby(3) %}{% endif %}",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
    }
}
