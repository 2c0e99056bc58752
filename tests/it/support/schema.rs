//! JSON Schema, as far as `openapi.yaml` uses it, and stricter: a property that no schema names is an error.

use std::collections::BTreeSet;

use regex_lite::Regex;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Words that say something to people or generators, and nothing of values.
const NOTES: [&str; 7] =
    ["description", "examples", "contentEncoding", "contentMediaType", "x-enum-varnames", "x-enumNames", "title"];

/// A document whose `$ref`s are resolved in it.
pub struct Schemas {
    pub document: Value,
}

/// What is wrong with a value: every fault with its place.
pub type Faults = Vec<String>;

impl Schemas {
    /// What `$ref` leads to, or the value itself.
    pub fn resolve<'v>(&'v self, value: &'v Value) -> &'v Value {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads elsewhere"));
        let found = self.document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"));
        self.resolve(found)
    }

    /// The faults of a value as a whole.
    pub fn faults(&self, schema: &Value, value: &Value) -> Faults {
        let mut faults = Vec::new();
        self.whole(schema, value, "", &mut faults);
        faults
    }

    /// Judges a value with all its properties: what no schema of it named is a fault.
    fn whole(&self, schema: &Value, value: &Value, at: &str, faults: &mut Faults) {
        let mut named = BTreeSet::new();
        self.apply(schema, value, at, faults, &mut named);
        for name in value.as_object().into_iter().flat_map(Map::keys).filter(|name| !named.contains(*name)) {
            faults.push(format!("{at}/{name}: no schema names it"));
        }
    }

    /// Judges a value by one of the schemas that it must satisfy; adds the properties that this one names.
    fn apply(&self, schema: &Value, value: &Value, at: &str, faults: &mut Faults, named: &mut BTreeSet<String>) {
        let Some(words) = schema.as_object() else { panic!("{at}: {schema} is not a schema") };
        for (word, rule) in words {
            match word.as_str() {
                "$ref" => self.apply(self.resolve(schema), value, at, faults, named),
                "allOf" => list(rule).iter().for_each(|schema| self.apply(schema, value, at, faults, named)),
                "anyOf" | "oneOf" => self.alternatives(word == "oneOf", list(rule), value, (at, faults, named)),
                "not" if self.holds(rule, value) => faults.push(format!("{at}: is what it must not be")),
                "not" | "additionalProperties" => {}
                "properties" => self.properties(words, rule, value, (at, faults, named)),
                "propertyNames" => {
                    for name in value.as_object().into_iter().flat_map(Map::keys) {
                        self.whole(rule, &Value::from(name.as_str()), &format!("{at}/{name}"), faults);
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.whole(rule, item, &format!("{at}/{index}"), faults);
                    }
                }
                word if NOTES.contains(&word) => {}
                word => {
                    if !is_kept(word, rule, value) {
                        faults.push(format!("{at}: {value} is not of {word} {rule}"));
                    }
                }
            }
        }
        if !words.contains_key("properties") && words.contains_key("additionalProperties") {
            self.properties(words, &Value::Null, value, (at, faults, named));
        }
    }

    fn alternatives(
        &self,
        only_one: bool,
        schemas: &[Value],
        value: &Value,
        (at, faults, named): (&str, &mut Faults, &mut BTreeSet<String>),
    ) {
        let mut misses = Vec::new();
        let mut hits = 0;
        for schema in schemas {
            let (mut missed, mut named_here) = (Vec::new(), BTreeSet::new());
            self.apply(schema, value, at, &mut missed, &mut named_here);
            if missed.is_empty() {
                hits += 1;
                named.append(&mut named_here);
            } else {
                misses.push(missed.join(", "));
            }
        }
        if hits == 0 || (only_one && hits > 1) {
            faults.push(format!("{at}: {hits} alternatives hold [{}]", misses.join(" | ")));
        }
    }

    fn holds(&self, schema: &Value, value: &Value) -> bool {
        let mut faults = Vec::new();
        self.apply(schema, value, "", &mut faults, &mut BTreeSet::new());
        faults.is_empty()
    }

    fn properties(
        &self,
        words: &Map<String, Value>,
        properties: &Value,
        value: &Value,
        (at, faults, named): (&str, &mut Faults, &mut BTreeSet<String>),
    ) {
        for (name, inner) in value.as_object().into_iter().flatten() {
            let more = words.get("additionalProperties").filter(|rule| rule.is_object());
            if let Some(schema) = properties.get(name).or(more) {
                named.insert(name.clone());
                self.whole(schema, inner, &format!("{at}/{name}"), faults);
            }
        }
    }
}

fn list(rule: &Value) -> &[Value] {
    rule.as_array().unwrap_or_else(|| panic!("{rule} is not a list"))
}

/// Whether the value keeps a rule that asks nothing of what is inside of it.
fn is_kept(word: &str, rule: &Value, value: &Value) -> bool {
    let text = value.as_str();
    let characters = || text.map(|text| text.chars().count());
    let members = || value.as_array().map(Vec::len);
    let most = |count: Option<usize>| count.is_none_or(|count| count as f64 <= number(rule));
    let least = |count: Option<usize>| count.is_none_or(|count| count as f64 >= number(rule));
    match word {
        "type" => match rule {
            Value::Array(names) => names.iter().any(|name| is_of(name, value)),
            name => is_of(name, value),
        },
        "enum" => list(rule).contains(value),
        "const" => rule == value,
        "required" => value.as_object().is_none_or(|map| list(rule).iter().all(|name| map.contains_key(word_of(name)))),
        "pattern" => text.is_none_or(|text| Regex::new(word_of(rule)).unwrap().is_match(text)),
        "format" => text.is_none_or(|text| rule != "date-time" || OffsetDateTime::parse(text, &Rfc3339).is_ok()),
        "minimum" => value.as_f64().is_none_or(|value| value >= number(rule)),
        "maximum" => value.as_f64().is_none_or(|value| value <= number(rule)),
        "minLength" => least(characters()),
        "maxLength" => most(characters()),
        "minItems" => least(members()),
        "maxItems" => most(members()),
        "maxProperties" => most(value.as_object().map(Map::len)),
        other => panic!("tests/it/support/schema.rs does not know '{other}'"),
    }
}

fn is_of(name: &Value, value: &Value) -> bool {
    match word_of(name) {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type '{other}'"),
    }
}

fn word_of(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a word"))
}

fn number(rule: &Value) -> f64 {
    rule.as_f64().unwrap_or_else(|| panic!("{rule} is not a number"))
}
