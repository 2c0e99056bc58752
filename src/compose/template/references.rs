//! The names that a source extends, includes and imports, as far as they are written out in it.

use std::collections::BTreeSet;

use crate::domain::template::{Alias, Part, Variant};

/// Statements that name other templates.
const KEYWORDS: [&str; 4] = ["extends", "include", "import", "from"];

/// The aliases that a variant's parts name. One too many does no harm: it is looked up, and not used.
pub fn references(variant: &Variant) -> BTreeSet<Alias> {
    Part::ALL.iter().filter_map(|part| variant.part(*part)).flat_map(of_source).collect()
}

fn of_source(source: &str) -> BTreeSet<Alias> {
    let statements = source.split("{%").skip(1).filter_map(|rest| rest.split("%}").next());
    statements.flat_map(of_statement).collect()
}

fn of_statement(statement: &str) -> Vec<Alias> {
    let statement = statement.trim_start_matches(['-', '+']).trim_start();
    let word: String = statement.chars().take_while(char::is_ascii_alphabetic).collect();
    if !KEYWORDS.contains(&&*word) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut rest = statement;
    while let Some(start) = rest.find(['"', '\'']) {
        let quote = &rest[start..=start];
        let Some((text, after)) = rest[start + 1..].split_once(quote) else { break };
        found.extend(Alias::parse(text).ok());
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_written_out_are_found_and_nothing_else() {
        let source = "{%- extends 'base' %}{% include [\"row\", 'cell'] ignore missing %}{% set x = 'no' %}\
                      {% from \"macros\" import button %}{{ 'neither' }}{% include name %}{% import 'it's";
        let found: Vec<_> = of_source(source).into_iter().map(|alias| alias.as_str().to_owned()).collect();
        assert_eq!(found, ["base", "cell", "it", "macros", "row"]);
        assert!(of_source("{% include \"").is_empty() && of_source("{%").is_empty() && of_source("%}{%%}").is_empty());
    }
}
