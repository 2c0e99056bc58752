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
}

/// What is wrong with a header field.
pub type Wrong = String;

impl Options {
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
                self.said.push((format!("/{field}"), self.header.clone()));
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
    pub fn tag(&mut self, tag: &str) {
        let tags = self.map.entry("tags").or_insert_with(|| json!([]));
        if let Some(tags) = tags.as_array_mut()
            && !tag.trim().is_empty()
            && !tags.iter().any(|known| *known == tag.trim())
        {
            self.said.push((format!("/tags/{}", tags.len()), self.header.clone()));
            tags.push(tag.trim().into());
        }
    }

    /// Those of a list, which are texts.
    pub fn tags<'t>(&mut self, list: impl IntoIterator<Item = &'t str>) {
        list.into_iter().for_each(|tag| self.tag(tag));
    }

    /// One pair of metadata.
    pub fn metadata(&mut self, name: &str, value: impl Into<Value>) -> Result<(), Wrong> {
        let value = match value.into() {
            text @ Value::String(_) => text,
            other => other.to_string().into(),
        };
        let known = self.map.entry("metadata").or_insert_with(|| json!({}));
        if let Some(known) = known.as_object_mut() {
            if known.get(name).is_some_and(|known| *known != value) {
                return Err(format!("the metadata {name} is said twice"));
            }
            known.insert(name.to_owned(), value);
            let name = name.replace('~', "~0").replace('/', "~1");
            self.said.push((format!("/metadata/{name}"), self.header.clone()));
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
