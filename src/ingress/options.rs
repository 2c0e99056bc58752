//! What header fields ask for beside the message, as fields of a send request: whichever service's words they are in, one
//! language says what they mean and whether they are sound.

use serde_json::{Map, Value, json};

use crate::domain::fault::Fault;

/// Options of one message, with the words that asked for them.
#[derive(Debug, Default)]
pub struct Options {
    map: Map<String, Value>,
    /// The idempotency key, and the header field that says it.
    key: Option<(String, String)>,
    /// Pointers, and the header fields that said what stands there.
    said: Vec<(String, String)>,
    /// Whose turn it is.
    header: String,
    tags_max: usize,
}

/// Words of all options together: who says more asks for nothing that is taken.
const SAID_MAX: usize = 500;

/// What is wrong with a header field.
pub type Wrong = String;

impl Options {
    /// At most so many tags.
    pub fn new(tags_max: usize) -> Self {
        Self { tags_max, ..Self::default() }
    }

    /// Notes who says what stands at `pointer`.
    fn note(&mut self, pointer: String) -> Result<(), Wrong> {
        if self.said.len() >= SAID_MAX {
            return Err(format!("more than {SAID_MAX} options"));
        }
        self.said.push((pointer, self.header.clone()));
        Ok(())
    }

    /// What follows is said by this header field, or parameter of MAIL.
    pub fn by(&mut self, header: &str) -> &mut Self {
        header.clone_into(&mut self.header);
        self
    }

    /// A field that is said once.
    pub fn set(&mut self, field: &str, value: impl Into<Value>) -> Result<(), Wrong> {
        let value = value.into();
        match self.map.get(field) {
            None => {
                self.note(format!("/{field}"))?;
                self.map.insert(field.to_owned(), value);
                Ok(())
            }
            Some(known) if *known == value => Ok(()),
            Some(_) => {
                let pointer = format!("/{field}");
                let by = self.said.iter().find(|(at, _)| *at == pointer).map_or("another field", |(_, by)| by.as_str());
                Err(format!("{by} says something else"))
            }
        }
    }

    /// One more tag; empty ones and repeated ones are none.
    pub fn tag(&mut self, tag: &str) -> Result<(), Wrong> {
        let tag = tag.trim();
        let tags = self.map.get("tags").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if tag.is_empty() || tags.iter().any(|known| *known == tag) {
            return Ok(());
        }
        let count = tags.len();
        if count >= self.tags_max {
            return Err(format!("more than {} tags", self.tags_max));
        }
        self.note(format!("/tags/{count}"))?;
        if let Some(tags) = self.map.entry("tags").or_insert_with(|| json!([])).as_array_mut() {
            tags.push(tag.into());
        }
        Ok(())
    }

    /// Those of a list, which are texts.
    pub fn tags<'t>(&mut self, list: impl IntoIterator<Item = &'t str>) -> Result<(), Wrong> {
        list.into_iter().try_for_each(|tag| self.tag(tag))
    }

    /// One pair of metadata.
    pub fn metadata(&mut self, name: &str, value: impl Into<Value>) -> Result<(), Wrong> {
        let value = match value.into() {
            text @ Value::String(_) => text,
            other => other.to_string().into(),
        };
        if self.map.get("metadata").and_then(|known| known.get(name)).is_some_and(|known| *known != value) {
            return Err(format!("the metadata {name} is said twice"));
        }
        self.note(format!("/metadata/{}", name.replace('~', "~0").replace('/', "~1")))?;
        if let Some(known) = self.map.entry("metadata").or_insert_with(|| json!({})).as_object_mut() {
            known.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// Metadata as a JSON object.
    pub fn metadata_object(&mut self, text: &str) -> Result<(), Wrong> {
        object(text)?.into_iter().try_for_each(|(name, value)| self.metadata(&name, value))
    }

    /// Metadata as `a=b, c=d`.
    pub fn metadata_pairs(&mut self, text: &str) -> Result<(), Wrong> {
        text.split(',').filter(|pair| !pair.trim().is_empty()).try_for_each(|pair| {
            let (name, value) = pair.split_once('=').ok_or("must be name=value, with commas between")?;
            self.metadata(name.trim(), value.trim())
        })
    }

    pub fn key(&mut self, key: &str) -> Result<(), Wrong> {
        match &self.key {
            Some((known, by)) if known != key => Err(format!("{by} says another key")),
            _ => {
                self.key = Some((key.to_owned(), self.header.clone()));
                Ok(())
            }
        }
    }

    /// The fields, and the key with who says it.
    pub fn take(&mut self) -> (Map<String, Value>, Option<(String, String)>) {
        (std::mem::take(&mut self.map), self.key.take())
    }

    /// A fault, in the words of whoever submitted: the header field, and what is wrong with it.
    pub fn told(&self, fault: &Fault) -> String {
        let said = self.said.iter().filter(|(at, _)| fault.pointer.starts_with(at.as_str()));
        match (said.max_by_key(|(at, _)| at.len()), fault.pointer.as_str()) {
            (Some((_, header)), _) => format!("{header}: {}", fault.detail),
            (None, "/tags") => format!("the tags: {}", fault.detail),
            (None, "/metadata") => format!("the metadata: {}", fault.detail),
            (None, "/from") => format!("From: {}", fault.detail),
            (None, _) => fault.detail.clone(),
        }
    }
}

/// A JSON object.
pub fn object(text: &str) -> Result<Map<String, Value>, Wrong> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("must be a JSON object".to_owned()),
        Err(error) => Err(format!("must be a JSON object: {error}")),
    }
}

/// `true` or `false`, as services spell it.
pub fn truth(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "on" => Ok(true),
        "false" | "no" | "0" | "off" | "" | "none" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}
