//! Records of a list: CSV with or without a line of names, a JSON document, or one JSON object on each line.

use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::cell::unguarded;
use crate::domain::address::Address;
use crate::domain::suppression::ListFormat;

/// Values of one entry.
const VALUES_MAX: usize = 100;
/// The lists in the documents of services.
const LISTS: [&str; 4] = ["suppressions", "suppresseddestinationsummaries", "items", "data"];

/// One entry of a list, by the names of its fields in lower case without signs. What is there and empty has no values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record(BTreeMap<String, Vec<String>>);

impl Record {
    /// The first value of the first of these fields that has one.
    pub fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.values(name).first()).map(String::as_str)
    }

    pub fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether there is such a field, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn put(&mut self, name: &str, value: &str) {
        let values = self.0.entry(plain(name)).or_default();
        if !value.trim().is_empty() {
            values.push(value.to_owned());
        }
    }

    /// As whose list it is meant, as far as its fields tell.
    pub fn format(&self, is_json: bool) -> ListFormat {
        let has = |name| self.has(name);
        if has("suppressionreason") {
            ListFormat::Postmark
        } else if has("lastupdatetime") || has("emailaddress") {
            ListFormat::Ses
        } else if has("origin") {
            ListFormat::Resend
        } else if has("address") {
            ListFormat::Mailgun
        } else if has("created") {
            ListFormat::Sendgrid
        } else if is_json {
            ListFormat::Ndjson
        } else {
            ListFormat::Csv
        }
    }
}

/// A name without what services write differently: `EmailAddress`, `email_address`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Takes the records of a list one by one: each with its line, or its number where there are no lines. `false` ends the
/// reading.
pub type Records<'r> = dyn FnMut(usize, Result<Record, String>) -> bool + 'r;

/// Reads a list; returns whether it is JSON. The error: it cannot be read any further.
pub fn read(bytes: &[u8], format: Option<ListFormat>, each: &mut Records<'_>) -> Result<bool, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_json = match format {
        Some(ListFormat::Csv) => false,
        Some(ListFormat::Ndjson) => true,
        _ => matches!(first, Some(b'{' | b'[')),
    };
    if !is_json {
        read_csv(bytes, each).map(|()| false)
    } else if is_lines(bytes) {
        read_lines(bytes, each);
        Ok(true)
    } else {
        read_document(bytes, each).map(|()| true)
    }
}

/// Whether each line is JSON of its own.
fn is_lines(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let (first, second) = (lines.next().unwrap_or_default(), lines.next());
    second.is_some() && serde_json::from_slice::<IgnoredAny>(first).is_ok()
}

fn read_lines(bytes: &[u8], each: &mut Records<'_>) {
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let mut goes_on = true;
        let mut found = |_, record| {
            goes_on = each(number, record);
            goes_on
        };
        if let Err(why) = read_document(line, &mut found)
            && goes_on
        {
            goes_on = each(number, Err(why));
        }
        if !goes_on {
            return;
        }
    }
}

fn read_csv(bytes: &[u8], each: &mut Records<'_>) -> Result<(), String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut names: Option<Vec<String>> = None;
    for row in reader.byte_records() {
        let row = row.map_err(|error| format!("it is no CSV: {error}"))?;
        let line = row.position().map_or(0, |position| usize::try_from(position.line()).unwrap_or(usize::MAX));
        let Ok(row) = csv::StringRecord::from_byte_record(row) else {
            if each(line, Err("it is not UTF-8".to_owned())) {
                continue;
            }
            return Ok(());
        };
        let cells: Vec<_> = row.iter().map(unguarded).collect();
        let names = match &names {
            Some(names) => names,
            // Without a line of names: an address, and perhaps a reason.
            None if Address::parse(cells.first().map_or("", |cell| cell.trim())).is_ok() => {
                names.insert(vec!["email".to_owned(), "reason".to_owned()])
            }
            None => {
                names = Some(cells.iter().map(|cell| plain(cell)).collect());
                continue;
            }
        };
        if !each(line, csv_record(names, &cells)) {
            return Ok(());
        }
    }
    Ok(())
}

fn csv_record(names: &[String], cells: &[&str]) -> Result<Record, String> {
    if cells.len() > names.len() {
        return Err(format!("it has {} cells, and there are {} columns", cells.len(), names.len()));
    }
    let mut record = Record::default();
    for (name, cell) in names.iter().zip(cells) {
        record.put(name, cell);
    }
    Ok(record)
}

fn read_document(bytes: &[u8], each: &mut Records<'_>) -> Result<(), String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let mut walk = Walk { each, number: 0, is_over: false };
    let read = Document(&mut walk).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match read {
        Err(error) if !walk.is_over => Err(format!("it is no JSON: {error}")),
        _ => Ok(()),
    }
}

struct Walk<'w, 'r> {
    each: &'w mut Records<'r>,
    number: usize,
    is_over: bool,
}

impl Walk<'_, '_> {
    /// Gives a record; the error ends the reading.
    fn give<E: Error>(&mut self, record: Result<Record, String>) -> Result<(), E> {
        self.number += 1;
        if (self.each)(self.number, record) {
            return Ok(());
        }
        self.is_over = true;
        Err(E::custom("ended"))
    }
}

/// A document: a list of entries, an object that holds such a list, or an entry.
struct Document<'d, 'w, 'r>(&'d mut Walk<'w, 'r>);

impl<'de> DeserializeSeed<'de> for Document<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of suppressions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            let mut entry = Entry::default();
            let found = items.next_element_seed(Field { entry: &mut entry, name: String::new() })?;
            if found.is_none() {
                return Ok(());
            }
            self.0.give(entry.finish())?;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let (mut entry, mut has_list) = (Entry::default(), false);
        while let Some(name) = fields.next_key::<String>()? {
            if LISTS.contains(&&*plain(&name)) {
                has_list = true;
                fields.next_value_seed(Document(self.0))?;
            } else {
                fields.next_value_seed(Field { entry: &mut entry, name })?;
            }
        }
        if has_list { Ok(()) } else { self.0.give(entry.finish()) }
    }
}

/// An entry that is being read. One with more values than any entry has is read on and not kept.
#[derive(Default)]
struct Entry {
    record: Record,
    values: usize,
}

impl Entry {
    fn put(&mut self, name: &str, value: &str) {
        self.values += 1;
        if self.values <= VALUES_MAX {
            // A list of bare addresses.
            self.record.put(if name.is_empty() { "email" } else { name }, value);
        }
    }

    fn finish(self) -> Result<Record, String> {
        if self.values > VALUES_MAX {
            return Err(format!("it has {} values, and no entry has more than {VALUES_MAX}", self.values));
        }
        Ok(self.record)
    }
}

/// A field of an entry; those of an object in it have its name in front.
struct Field<'e> {
    entry: &'e mut Entry,
    name: String,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.entry.put(&self.name, "");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.entry.put(&self.name, if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.entry.put(&self.name, &value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.entry.put(&self.name, &value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.entry.put(&self.name, &value.to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.entry.put(&self.name, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Field { entry: self.entry, name: self.name.clone() })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(inner) = fields.next_key::<String>()? {
            let name = if self.name.is_empty() { inner } else { format!("{}_{inner}", self.name) };
            fields.next_value_seed(Field { entry: self.entry, name })?;
        }
        Ok(())
    }
}
