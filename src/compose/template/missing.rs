//! Finds every variable that is missing, after a rendering failed for one of them.
//!
//! The engine stops at the first, and does not say its name. So the variables are wrapped in objects that note what was
//! looked up in vain; the last such name is given a filler that is as good as any value, and the part is rendered anew,
//! until it passes. What it passes without after all was not missing: it may have been asked for by `is defined`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Serde};
use minijinja::{Environment, Error, Value};
use serde_json::Map;

use super::engine;
use super::{FlawPlace, TemplateFlaw};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::template::Part;

/// Most names that are found in one part.
const NAMES_MAX: usize = 16;

type Path = Vec<String>;

/// The flaws of a part whose rendering failed with `error`, since something is missing.
pub fn flaws(
    environment: &Environment<'static>,
    part: Part,
    variables: &Map<String, serde_json::Value>,
    error: &Error,
) -> Vec<TemplateFlaw> {
    let search = Search { environment: engine::for_search(environment), part, variables: Arc::new(variables.clone()) };
    let missing = search.run();
    if missing.is_empty() {
        return vec![TemplateFlaw { place: FlawPlace::Part(part), flaw: engine::flaw_of(error) }];
    }
    let flaw = |path: Path| {
        let flaw = Flaw::new(FaultCode::MissingVariable, format!("'{}' is used by the template", path.join(".")));
        TemplateFlaw { place: FlawPlace::Variable(path), flaw }
    };
    missing.into_iter().map(flaw).collect()
}

struct Search {
    environment: Environment<'static>,
    part: Part,
    variables: Arc<Map<String, serde_json::Value>>,
}

impl Search {
    fn run(&self) -> Vec<Path> {
        let mut found: Vec<Path> = Vec::new();
        while found.len() < NAMES_MAX
            && let Some(path) = self.next(&found.iter().cloned().collect())
        {
            found.push(path);
        }
        // The last first: a name that was noted beside the one that is missing comes before it.
        for path in found.clone() {
            let others: BTreeSet<_> = found.iter().filter(|other| **other != path).cloned().collect();
            if self.next(&others).is_none() && found.len() > 1 {
                found.retain(|other| *other != path);
            }
        }
        found
    }

    /// What is missing still, when these names are filled.
    fn next(&self, filled: &BTreeSet<Path>) -> Option<Path> {
        let globals = self.environment.globals().map(|(name, _)| name.to_owned()).collect();
        let notes = Arc::new(Notes { filled: filled.clone(), globals, last: Mutex::default() });
        let variables = serde_json::Value::Object((*self.variables).clone());
        let context = Value::from_object(Noted { value: variables, path: Vec::new(), notes: Arc::clone(&notes) });
        let error = engine::render(&self.environment, self.part, context).err().filter(engine::is_missing)?;
        drop(error);
        notes.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What was looked up in vain, and what is filled.
#[derive(Debug)]
struct Notes {
    filled: BTreeSet<Path>,
    /// Names that the engine has a meaning for.
    globals: BTreeSet<String>,
    last: Mutex<Option<Path>>,
}

/// A list or an object of the variables.
#[derive(Debug)]
struct Noted {
    value: serde_json::Value,
    path: Path,
    notes: Arc<Notes>,
}

impl Noted {
    fn below(&self, name: String, value: &serde_json::Value) -> Value {
        if value.is_array() || value.is_object() {
            let path = self.path.iter().cloned().chain([name]).collect();
            Value::from_object(Self { value: value.clone(), path, notes: Arc::clone(&self.notes) })
        } else {
            Value::from(Serde(value))
        }
    }
}

impl Object for Noted {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.value.is_array() { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        let found = match &self.value {
            serde_json::Value::Object(map) => map.get(&name),
            serde_json::Value::Array(items) => key.as_usize().and_then(|index| items.get(index)),
            _ => None,
        };
        if let Some(value) = found.filter(|value| !value.is_null()) {
            return Some(self.below(name, value));
        }
        let path: Path = self.path.iter().cloned().chain([name]).collect();
        if self.notes.filled.contains(&path) {
            return Some(Value::from_object(Filler));
        }
        let is_global = self.path.is_empty() && self.notes.globals.contains(&path[0]);
        if !is_global {
            *self.notes.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
        }
        found.map(|_| Value::from(()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.value {
            serde_json::Value::Array(items) => Enumerator::Seq(items.len()),
            serde_json::Value::Object(map) => Enumerator::Values(map.keys().map(Value::from).collect()),
            _ => Enumerator::Empty,
        }
    }
}

/// As good as any value: every name in it is there, it is nothing when written, and has no items.
#[derive(Debug)]
struct Filler;

impl Object for Filler {
    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from_object(Self))
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
