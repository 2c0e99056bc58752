//! The template of a send request: which one, in which version and locale, and what it is filled in with.

use serde_json::{Map, Value};

use super::fields::{Fields, wrong_type};
use crate::domain::fault::{Fault, FaultCode, Flaw};
use crate::domain::template::{Locale, TemplateRef};

/// Bytes of the variables of one message, as JSON.
const VARIABLES_MAX: usize = 256 << 10;

/// What a request says of a template.
#[derive(Debug)]
pub struct TemplateUse {
    pub wanted: TemplateRef,
    /// Alias or id, as the request names it.
    pub label: String,
    /// For all recipients.
    pub variables: Map<String, Value>,
    /// One recipient's own, beside those; empty: the request makes one message.
    pub each: Vec<Map<String, Value>>,
}

/// What a template came to.
#[derive(Debug, Clone)]
pub struct FilledPart {
    pub subject: Option<String>,
    pub text: Option<String>,
    pub html: Option<String>,
}

/// A request's template, filled in.
#[derive(Debug, Clone)]
pub struct Filled {
    pub label: String,
    /// One for each message, in order.
    pub parts: Vec<FilledPart>,
}

/// Takes the template out of a request; `None`: it has none.
pub fn take(map: &mut Map<String, Value>, at: &str) -> Result<Option<TemplateUse>, Vec<Fault>> {
    let pointer = format!("{at}/template");
    let map_of = match map.remove("template").filter(|value| !value.is_null()) {
        None => return Ok(None),
        Some(Value::Object(map_of)) => map_of,
        Some(other) => return Err(vec![wrong_type(pointer, "an object", &other)]),
    };
    let mut faults = Vec::new();
    for name in ["text", "html", "raw"] {
        if map.get(name).is_some_and(|value| !value.is_null()) {
            let flaw =
                Flaw::new(FaultCode::Conflict, format!("the template gives the content; leave out {name} or template"));
            faults.push(flaw.at(format!("{at}/{name}")));
        }
    }
    let mut fields = Fields::new(map_of, pointer, &mut faults);
    let (id, alias) = (fields.string("id"), fields.string("alias"));
    let name = match (id, alias) {
        (Some(id), None) => fields.sound("id", TemplateRef::id(&id)).map(|name| (name, id)),
        (None, Some(alias)) => fields.sound("alias", TemplateRef::alias(&alias)).map(|name| (name, alias)),
        _ => {
            fields.fault("alias", FaultCode::Required, "give id or alias, and not both");
            None
        }
    };
    let version = fields.integer("version").and_then(|number| fields.sound("version", TemplateRef::version(number)));
    let locale = fields.string("locale").and_then(|locale| fields.sound("locale", Locale::parse(&locale)));
    let variables = fields.object("variables").unwrap_or_default();
    if serde_json::to_vec(&variables).map_or(0, |bytes| bytes.len()) > VARIABLES_MAX {
        fields.fault("variables", FaultCode::TooLong, format!("the limit is {VARIABLES_MAX} bytes"));
    }
    fields.finish();
    let each = own_variables(map, at, &mut faults);
    match name {
        Some((name, label)) if faults.is_empty() => {
            let wanted = TemplateRef { name, version, locale };
            Ok(Some(TemplateUse { wanted, label, variables, each }))
        }
        _ => Err(faults),
    }
}

/// The variables of each recipient, taken out of `per_recipient`.
fn own_variables(map: &mut Map<String, Value>, at: &str, faults: &mut Vec<Fault>) -> Vec<Map<String, Value>> {
    let Some(entries) = map.get_mut("per_recipient").and_then(Value::as_array_mut) else { return Vec::new() };
    let entries = entries.iter_mut().enumerate().map(|(index, entry)| {
        match entry.as_object_mut().and_then(|entry| entry.remove("variables")).filter(|value| !value.is_null()) {
            None => Map::new(),
            Some(Value::Object(own)) => own,
            Some(other) => {
                faults.push(wrong_type(format!("{at}/per_recipient/{index}/variables"), "an object", &other));
                Map::new()
            }
        }
    });
    entries.collect()
}
