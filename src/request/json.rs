//! JSON in which nothing is lost: a name that stands twice in one object is a fault at its place, and a text that was cut
//! inside a character is named (RFC 8259 §4, §8.1, §8.2).

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::domain::fault::{Fault, FaultCode, TOLD_MAX, quoted};

/// Values that a body may hold: several times what the largest message needs, and little memory.
const VALUES_MAX: usize = 100_000;

/// Why a text is not taken.
#[derive(Debug)]
pub enum JsonError {
    /// It is not JSON, or not an object.
    Malformed(String),
    Faults(Vec<Fault>),
}

/// The object that `bytes` write.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    match value(bytes)? {
        Value::Object(map) => Ok(map),
        _ => Err(JsonError::Malformed("the body must be a JSON object".to_owned())),
    }
}

/// The value that `bytes` write.
pub fn value(bytes: &[u8]) -> Result<Value, JsonError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let reading = RefCell::new(Reading::default());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = Seed(&reading).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    let Reading { path, faults, .. } = reading.into_inner();
    match read {
        Ok(_) if !faults.is_empty() => Err(JsonError::Faults(faults)),
        Ok(value) => Ok(value),
        Err(error) => Err(of_syntax(&error, &path)),
    }
}

fn of_syntax(error: &serde_json::Error, path: &[String]) -> JsonError {
    let text = error.to_string();
    // What serde_json says of `\ud83d` with nothing, or no other half, behind it.
    if text.contains("surrogate") || text.contains("end of hex escape") {
        let detail = "is cut inside a character: a \\ud8xx escape without its other half (RFC 8259 §8.2)";
        return JsonError::Faults(vec![Fault::new(path.concat(), FaultCode::InvalidText, detail)]);
    }
    let place = quoted(&path.concat());
    let place = if place.is_empty() { String::new() } else { format!(", in {place}") };
    JsonError::Malformed(format!("the body is not JSON: {text}{place}"))
}

#[derive(Default)]
struct Reading {
    /// Parts of the pointer to the value that is being read, each with its slash.
    path: Vec<String>,
    values: usize,
    faults: Vec<Fault>,
}

#[derive(Clone, Copy)]
struct Seed<'r>(&'r RefCell<Reading>);

impl Seed<'_> {
    fn enter(self, name: &str) {
        self.0.borrow_mut().path.push(format!("/{}", name.replace('~', "~0").replace('/', "~1")));
    }

    fn leave(self) {
        self.0.borrow_mut().path.pop();
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let mut reading = self.0.borrow_mut();
        reading.values += 1;
        if reading.values > VALUES_MAX {
            return Err(D::Error::custom(format!("more than {VALUES_MAX} values")));
        }
        drop(reading);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            self.enter(&list.len().to_string());
            let Some(item) = items.next_element_seed(self)? else { break };
            self.leave();
            list.push(item);
        }
        self.leave();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            self.enter(&name);
            let value = entries.next_value_seed(self)?;
            if map.contains_key(&name) {
                let mut reading = self.0.borrow_mut();
                let pointer = reading.path.concat();
                if reading.faults.len() < TOLD_MAX && reading.faults.iter().all(|fault| fault.pointer != pointer) {
                    let detail = format!("'{}' stands more than once in its object", quoted(&name));
                    reading.faults.push(Fault::new(pointer, FaultCode::DuplicateField, detail));
                }
            }
            map.insert(name, value);
            self.leave();
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(text: &str) -> Vec<String> {
        match object(text.as_bytes()) {
            Err(JsonError::Faults(faults)) => faults.into_iter().map(|fault| fault.pointer).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_stands_twice_is_named() {
        assert_eq!(pointers(r#"{"to": "a", "to": "b", "to": "c"}"#), ["/to"]);
        assert_eq!(pointers(r#"{"a": [{"x": 1}, {"y": 1, "y": 2}], "b/c": 1, "b/c": 2}"#), ["/a/1/y", "/b~1c"]);
    }

    #[test]
    fn a_text_that_was_cut_inside_a_character_is_named() {
        assert_eq!(pointers(r#"{"subject": "cut \ud83d", "text": "t"}"#), ["/subject"]);
        assert_eq!(pointers(r#"{"a": ["x", "\ud83d\u0041"]}"#), ["/a/1"]);
        assert_eq!(pointers(r#"{"a": "\udc00"}"#), ["/a"]);
    }

    #[test]
    fn what_is_json_is_read_and_what_is_not_is_told() {
        let text = "\u{feff}{\"a\": [1, -2, 1.5, true, null, \"\\ud83d\\ude00\"], \"b\": {}}";
        let read = Value::Object(object(text.as_bytes()).unwrap());
        assert_eq!(read, serde_json::json!({"a": [1, -2, 1.5, true, null, "😀"], "b": {}}));
        for text in ["", "[]", "{", "{\"a\": }", "{} x", "\u{feff}"] {
            assert!(matches!(object(text.as_bytes()), Err(JsonError::Malformed(_))), "{text}");
        }
        let many = format!("{{\"a\": [{}1]}}", "1,".repeat(VALUES_MAX));
        assert!(
            matches!(object(many.as_bytes()), Err(JsonError::Malformed(detail)) if detail.contains("100000 values"))
        );
        let deep = format!("{{\"a\": {}", "[".repeat(10_000));
        assert!(object(deep.as_bytes()).is_err());
    }
}
