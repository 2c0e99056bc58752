//! Reading a JSON object field by field, collecting every fault with its pointer. A field that nobody took
//! is a fault too: a misspelt name must not be ignored.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::clock::{Timestamp, parse_rfc3339};
use crate::domain::fault::{Fault, FaultCode, Flaw, TOLD_MAX, quoted};
use crate::domain::hint::did_you_mean;

/// An object being read, and the faults found so far.
pub struct Fields<'f> {
    map: Map<String, Value>,
    at: String,
    /// The names that were asked for.
    asked: Vec<&'static str>,
    pub faults: &'f mut Vec<Fault>,
}

/// Names that other services have for fields of ours.
const ALIASES: [(&str, &str); 13] = [
    ("body", "text"),
    ("cid", "content_id"),
    ("file_name", "filename"),
    ("mime_type", "content_type"),
    ("name", "filename"),
    ("recipients", "to"),
    ("sender", "from"),
    ("html_body", "html"),
    ("text_body", "text"),
    ("type", "content_type"),
    ("data", "content"),
    ("address", "email"),
    ("in_reply_to", "headers"),
];

impl<'f> Fields<'f> {
    /// `at` is the pointer of the object itself: empty for the whole body.
    pub fn new(map: Map<String, Value>, at: impl Into<String>, faults: &'f mut Vec<Fault>) -> Self {
        Self { map, at: at.into(), asked: Vec::with_capacity(32), faults }
    }

    /// The same of any value: what is no object has that for its only fault.
    pub fn of(value: Value, at: impl Into<String>, faults: &'f mut Vec<Fault>) -> Self {
        let at = at.into();
        let map = match value {
            Value::Object(map) => map,
            other => {
                faults.push(wrong_type(at.clone(), "an object", &other));
                Map::new()
            }
        };
        Self::new(map, at, faults)
    }

    /// The pointer (RFC 6901) of a field.
    pub fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.at, name.replace('~', "~0").replace('/', "~1"))
    }

    /// The names of the fields that nobody took yet.
    pub fn names(&self) -> Vec<String> {
        self.map.keys().cloned().collect()
    }

    /// The value of a parser; a flaw becomes a fault of the field.
    pub fn sound<T>(&mut self, name: &str, parsed: Result<T, Flaw>) -> Option<T> {
        let pointer = self.pointer(name);
        parsed.map_err(|flaw| self.faults.push(flaw.at(pointer))).ok()
    }

    /// The same for a value deeper down, by its pointer below this object.
    pub fn sound_at<T>(&mut self, below: &str, parsed: Result<T, Flaw>) -> Option<T> {
        let pointer = format!("{}/{below}", self.at);
        parsed.map_err(|flaw| self.faults.push(flaw.at(pointer))).ok()
    }

    /// A fault of a value deeper down, by its pointer below this object.
    pub fn fault_at(&mut self, below: &str, code: FaultCode, detail: impl Into<String>) {
        self.faults.push(Fault::new(format!("{}/{below}", self.at), code, detail));
    }

    pub fn fault(&mut self, name: &str, code: FaultCode, detail: impl Into<String>) {
        let pointer = self.pointer(name);
        self.faults.push(Fault::new(pointer, code, detail));
    }

    /// The field's value; `null` is as good as absent.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// The text of an entry whose name is the caller's own.
    pub fn entry(&mut self, name: &str) -> Option<String> {
        match self.map.remove(name).filter(|value| !value.is_null())? {
            Value::String(text) => Some(text),
            other => self.wrong_type(name, "a string", &other),
        }
    }

    /// Whether the field is there and not `null`.
    pub fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// The text of a field that is not taken yet.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.map.get(name)?.as_str()
    }

    pub fn string(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => self.wrong_type(name, "a string", &other),
        }
    }

    /// A text that must be given.
    pub fn required(&mut self, name: &'static str) -> Option<String> {
        let is_there = self.has(name);
        let text = self.string(name);
        if !is_there {
            self.fault(name, FaultCode::Required, "must be given");
        }
        text
    }

    pub fn bool(&mut self, name: &'static str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(value) => Some(value),
            other => self.wrong_type(name, "true or false", &other),
        }
    }

    /// A share in percent, above 0 and at most 100.
    pub fn percent(&mut self, name: &'static str) -> Option<f64> {
        match self.take(name)? {
            Value::Number(number) => {
                let percent = number.as_f64().filter(|percent| *percent > 0.0 && *percent <= 100.0);
                if percent.is_none() {
                    self.fault(name, FaultCode::InvalidLimit, "must be above 0 and at most 100");
                }
                percent
            }
            other => self.wrong_type(name, "a number", &other),
        }
    }

    pub fn integer(&mut self, name: &'static str) -> Option<i64> {
        match self.take(name)? {
            Value::Number(number) => match whole(&number) {
                Some(number) => Some(number),
                None => self.wrong_type(name, "a whole number", &Value::Number(number)),
            },
            other => self.wrong_type(name, "a whole number", &other),
        }
    }

    /// A span in whole seconds, within these bounds.
    pub fn seconds(&mut self, name: &'static str, bounds: RangeInclusive<i64>) -> Option<Duration> {
        let seconds = self.integer(name)?;
        if !bounds.contains(&seconds) {
            let detail = format!("must be from {} to {}", bounds.start(), bounds.end());
            self.fault(name, FaultCode::InvalidLimit, detail);
        }
        Some(Duration::from_secs(seconds.unsigned_abs()))
    }

    /// An instant of RFC 3339.
    pub fn instant(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.string(name)?;
        let at = parse_rfc3339(&text);
        if at.is_none() {
            self.fault(name, FaultCode::InvalidTime, "must be an RFC 3339 instant");
        }
        at
    }

    pub fn list(&mut self, name: &'static str) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(items) => Some(items),
            other => self.wrong_type(name, "a list", &other),
        }
    }

    pub fn object(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(map) => Some(map),
            other => self.wrong_type(name, "an object", &other),
        }
    }

    /// A list of at most `limit` strings; items of another type are faults. A longer list is not looked at.
    pub fn strings(&mut self, name: &'static str, limit: usize) -> Option<Vec<String>> {
        self.parsed_strings(name, limit, Ok)
    }

    /// The same, each of them parsed.
    pub fn parsed_strings<T>(
        &mut self,
        name: &'static str,
        limit: usize,
        parse: impl Fn(String) -> Result<T, Flaw>,
    ) -> Option<Vec<T>> {
        let items = self.list(name)?;
        if items.len() > limit {
            self.fault(name, FaultCode::TooMany, format!("{}; the limit is {limit}", items.len()));
            return None;
        }
        let at = self.pointer(name);
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => match parse(text) {
                    Ok(text) => texts.push(text),
                    Err(flaw) => self.faults.push(flaw.at(format!("{at}/{index}"))),
                },
                other => self.faults.push(wrong_type(format!("{at}/{index}"), "a string", &other)),
            }
        }
        Some(texts)
    }

    /// Ends the reading: what is left was not asked for.
    pub fn finish(self) {
        for name in self.map.keys() {
            if self.faults.len() > TOLD_MAX {
                return;
            }
            let pointer = self.pointer(name);
            let lower = name.to_ascii_lowercase();
            let alias = ALIASES.iter().find(|(theirs, ours)| *theirs == lower && self.asked.contains(ours));
            let hint = match alias {
                Some((_, ours)) => format!("; did you mean '{ours}'?"),
                // What is long is no slip of the pen.
                None if name.len() > 100 => String::new(),
                None => did_you_mean(name, self.asked.iter().copied()),
            };
            self.faults.push(Fault::new(
                pointer,
                FaultCode::UnknownField,
                format!("there is no field '{}'{hint}", quoted(name)),
            ));
        }
    }

    fn wrong_type<T>(&mut self, name: &str, wanted: &str, found: &Value) -> Option<T> {
        let pointer = self.pointer(name);
        self.faults.push(wrong_type(pointer, wanted, found));
        None
    }
}

/// The fault of a value that is not of the type that was wanted.
pub fn wrong_type(pointer: String, wanted: &str, found: &Value) -> Fault {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Fault::new(pointer, FaultCode::WrongType, format!("must be {wanted}, not {found}"))
}

/// A whole number, also one that is written with a fraction of zero (JSON Schema 2020-12 §4.2.3).
fn whole(number: &serde_json::Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
        // A float without a fraction is written as a whole number.
        format!("{float:.0}").parse().ok()
    })
}
