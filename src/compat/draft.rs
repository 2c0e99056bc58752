//! A send request that is put together out of a service's words, and many of them at once.

use std::collections::HashSet;

use axum::http::header::HeaderValue;
use axum::http::{HeaderMap, Method};
use serde_json::{Map, Value};

use super::inner::{Answer, Call, Caller, Inner, Refusal, Sent};
use super::places::Places;
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::Fields;

/// A send request (`SendRequest` of `openapi.yaml`), and where what stood in the service's.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub map: Map<String, Value>,
    pub places: Places,
}

impl Draft {
    /// Our field `ours` has this value, which stood at `theirs`.
    pub fn put(&mut self, ours: &str, value: impl Into<Value>, theirs: impl Into<String>) {
        self.places.put(format!("/{ours}"), theirs);
        self.map.insert(ours.to_owned(), value.into());
    }

    /// The same, if there is a value.
    pub fn put_some(&mut self, ours: &str, value: Option<impl Into<Value>>, theirs: &str) {
        if let Some(value) = value {
            self.put(ours, value, theirs);
        }
    }

    /// One more in a list of ours.
    pub fn push(&mut self, ours: &str, value: impl Into<Value>, theirs: impl Into<String>) {
        let list = self.map.entry(ours).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            self.places.put(format!("/{ours}/{}", list.len()), theirs);
            list.push(value.into());
        }
    }

    /// One more entry in an object of ours.
    pub fn set(&mut self, ours: &str, name: &str, value: impl Into<Value>, theirs: impl Into<String>) {
        let object = self.map.entry(ours).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(object) = object {
            self.places.put(format!("/{ours}/{}", name.replace('~', "~0").replace('/', "~1")), theirs);
            object.insert(name.to_owned(), value.into());
        }
    }

    /// Pairs in a list of objects, of which `key` and `value` are fields: entries of our object `ours`, over those that are there. `place` is the
    /// name of the list. A name twice in the list is a fault: one of them would be lost.
    pub fn pairs(
        &mut self,
        ours: &str,
        fields: &mut Fields<'_>,
        (name, place): (&'static str, &str),
        (key, value): (&'static str, &'static str),
    ) {
        let mut seen = HashSet::new();
        for (at, item) in fields.list(name).unwrap_or_default().into_iter().enumerate() {
            let mut pair = Fields::of(item, format!("{}/{at}", fields.pointer(name)), fields.faults);
            let entry = (pair.required(key), pair.required(value));
            if entry.0.as_ref().is_some_and(|entry| seen.contains(entry)) {
                pair.fault(key, FaultCode::DuplicateField, "is there already");
            }
            pair.finish();
            if let (Some(entry), Some(value)) = entry {
                self.set(ours, &entry, value, format!("{place}[{at}]"));
                seen.insert(entry);
            }
        }
    }

    /// Files in a list of objects, of which these fields of theirs are fields of ours; `more` takes what else a file has there. `place` is the
    /// name of the list.
    pub fn files(
        &mut self,
        fields: &mut Fields<'_>,
        (name, place): (&'static str, &str),
        known: &[(&'static str, &str)],
        more: impl Fn(&mut Fields<'_>, &mut Map<String, Value>),
    ) {
        for (at, item) in fields.list(name).unwrap_or_default().into_iter().enumerate() {
            let mut file = Fields::of(item, format!("{}/{at}", fields.pointer(name)), fields.faults);
            let mut mapped = Map::new();
            for (theirs, ours) in known {
                if let Some(value) = file.take(theirs).filter(|value| value != "") {
                    self.places.put(format!("/attachments/{at}/{ours}"), format!("{place}[{at}].{theirs}"));
                    if mapped.insert((*ours).to_owned(), value).is_some() {
                        file.fault(theirs, FaultCode::DuplicateField, "says what another field of the file says");
                    }
                }
            }
            more(&mut file, &mut mapped);
            file.finish();
            self.push("attachments", mapped, format!("{place}[{at}]"));
        }
    }

    /// A `Message-ID` among the header fields is the message's own.
    pub fn own_message_id(&mut self) {
        let Some(Value::Object(headers)) = self.map.get_mut("headers") else { return };
        let Some(name) = headers.keys().find(|name| name.eq_ignore_ascii_case("message-id")).cloned() else { return };
        let place = self.places.name(&format!("/headers/{name}"));
        if let Some(id) = headers.remove(&name) {
            self.put("message_id", id, place);
        }
    }

    /// Bytes in memory, near enough.
    fn size(&self) -> usize {
        let places: usize = self.places.size();
        places + self.map.iter().map(|(name, value)| VALUE + name.len() + size(value)).sum::<usize>()
    }

    /// A template by its id or its alias: services have one field for both.
    pub fn template(&mut self, named: String, theirs: &str) {
        let name = if named.starts_with("tpl_") { "id" } else { "alias" };
        self.set("template", name, named, theirs);
        self.places.put("/template", theirs);
    }

    /// Sends it.
    pub async fn send(
        self,
        inner: &Inner,
        caller: &Caller,
        sent: Sent,
        key: Option<HeaderValue>,
    ) -> Result<Answer, (Refusal, Places)> {
        self.send_at("/v1/send", (inner, caller), sent, key).await
    }

    /// Does all but to send it.
    pub async fn rehearse(self, inner: &Inner, caller: &Caller, sent: Sent) -> Result<Answer, (Refusal, Places)> {
        self.send_at("/v1/send?dry_run=true", (inner, caller), sent, None).await
    }

    async fn send_at(
        self,
        path: &str,
        (inner, caller): (&Inner, &Caller),
        sent: Sent,
        key: Option<HeaderValue>,
    ) -> Result<Answer, (Refusal, Places)> {
        let call = Call::new(Method::POST, path.to_owned()).body(self.map, sent).key(key);
        inner.call(caller, call).await.map_err(|refusal| (refusal, self.places))
    }
}

/// Refuses to make so many messages of what all of them have, if they came to more than a request may have.
pub fn bounded(inner: &Inner, of_all: &Draft, times: usize, name: &str) -> Result<(), Vec<Fault>> {
    let (limit, each) = (inner.api.http.body_limit.0, of_all.size());
    if times <= 1 || each.saturating_mul(times) <= limit {
        return Ok(());
    }
    let detail = format!("{times} messages of {each} bytes are more than {limit} together: send fewer at once");
    Err(vec![Fault::new(format!("/{name}"), FaultCode::TooMany, detail)])
}

/// Bytes that the messages of a request may have together when each has words of its own put in: a short word may stand for a long one, and
/// stand there often.
pub struct Budget {
    limit: usize,
    left: usize,
}

impl Budget {
    pub fn of(inner: &Inner) -> Self {
        let limit = inner.api.http.body_limit.0;
        Self { limit, left: limit }
    }

    /// Takes a message that was made off what is left.
    pub fn take(&mut self, draft: &Draft, name: &str) -> Result<(), Vec<Fault>> {
        match self.left.checked_sub(draft.size()) {
            Some(left) => self.left = left,
            None => return Err(self.spent(name)),
        }
        Ok(())
    }

    /// That it was spent.
    pub fn spent(&self, name: &str) -> Vec<Fault> {
        let detail = format!(
            "with what is put in, the messages are more than {} bytes together: send fewer at once",
            self.limit
        );
        vec![Fault::new(format!("/{name}"), FaultCode::TooLong, detail)]
    }

    pub const fn left(&self) -> usize {
        self.left
    }
}

/// Why a text cannot be filled.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfilled {
    /// There is no value of that name.
    Missing(String),
    TooLong,
}

/// A text with values where their names stand, between `begin` and `%`; `None` of `value`: what stands there is no name. What is put in is not
/// looked at again. The whole is at most so long.
pub fn filled(
    mut rest: &str,
    begin: &str,
    value: impl Fn(&str) -> Result<Option<String>, Unfilled>,
    most: usize,
) -> Result<String, Unfilled> {
    let mut out = String::with_capacity(rest.len().min(most));
    while let Some(at) = rest.find(begin) {
        let (before, begun) = rest.split_at(at);
        let inside = &begun[begin.len()..];
        out.push_str(before);
        let name = inside.find('%').map(|end| &inside[..end]).filter(|name| !name.contains(char::is_whitespace));
        let told = name.map(|name| value(name).map(|value| (name, value))).transpose()?;
        if let Some((name, Some(value))) = told {
            out.push_str(&value);
            rest = &inside[name.len() + 1..];
        } else {
            out.push_str(begin);
            rest = inside;
        }
        if out.len() > most {
            return Err(Unfilled::TooLong);
        }
    }
    if out.len() + rest.len() > most {
        return Err(Unfilled::TooLong);
    }
    out.push_str(rest);
    Ok(out)
}

/// What a value costs beside its text.
const VALUE: usize = 64;

/// Bytes of a value in memory, near enough.
fn size(value: &Value) -> usize {
    VALUE
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(size).sum(),
            Value::Object(map) => map.iter().map(|(name, value)| VALUE + name.len() + size(value)).sum(),
            _ => 0,
        }
}

/// One of many: its name in the service's request (`emails[3]`), and what reading it gave, with faults by its own names.
pub struct Item {
    pub name: String,
    pub read: Result<Draft, Vec<Fault>>,
}

/// What became of many.
pub struct Outcomes {
    /// For each the answer of the API, or why it was not taken, in words.
    pub each: Vec<Result<Value, (Refusal, String)>>,
    pub headers: HeaderMap,
}

/// Sends many: all or none, or those that are sound.
pub async fn send_many(
    (inner, caller): (&Inner, &Caller),
    items: Vec<Item>,
    is_strict: bool,
    sent: Sent,
    key: Option<HeaderValue>,
) -> Result<Outcomes, (Refusal, Places)> {
    let (mut places, mut messages, mut each, mut positions) = (Places::default(), Vec::new(), Vec::new(), Vec::new());
    for (at, Item { name, read }) in items.into_iter().enumerate() {
        match read {
            Ok(draft) => {
                let pointer = format!("/messages/{}", messages.len());
                places.put(pointer.clone(), name.clone());
                places.put_below(&pointer, &name, draft.places);
                messages.push(Value::Object(draft.map));
                positions.push(at);
                each.push(Ok(Value::Null));
            }
            Err(faults) => {
                let mut theirs = Places::default();
                theirs.put("", name);
                let refusal = Refusal::faulty(faults);
                if is_strict {
                    return Err((refusal, theirs));
                }
                let told = refusal.told(&theirs);
                each.push(Err((refusal, told)));
            }
        }
    }
    if messages.is_empty() && !each.is_empty() {
        return Ok(Outcomes { each, headers: HeaderMap::new() });
    }
    let mode = if is_strict { "strict" } else { "permissive" };
    let map = Map::from_iter([("messages".to_owned(), messages.into()), ("mode".to_owned(), mode.into())]);
    let call = Call::new(Method::POST, "/v1/send/batch".to_owned()).body(map, sent).key(key);
    let taken = match inner.call(caller, call).await {
        Ok(taken) => taken,
        Err(refusal) => return Err((refusal, places)),
    };
    for (at, result) in positions.into_iter().zip(super::service::list(&taken.json(), "results")) {
        each[at] = if result["id"].is_string() {
            Ok(result.clone())
        } else {
            let refusal = Refusal::of_problem(&result["error"]);
            let told = refusal.told(&places);
            Err((refusal, told))
        };
    }
    Ok(Outcomes { each, headers: taken.headers })
}
