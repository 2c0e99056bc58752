//! The fields of a template, as a request gives them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api::problem::Problem;
use crate::compose::template::{CompiledTemplate, FlawPlace, SOURCE_MAX, mjml, references};
use crate::domain::fault::{Fault, FaultCode, Flaw};
use crate::domain::template::{Alias, Locale, Part, TemplateKind, Variant, Variants};
use crate::request::fields::{Fields, wrong_type};
use crate::store::accounts::templates::TemplateContent;

const NAME_MAX: usize = 200;
const DESCRIPTION_MAX: usize = 500;
const LOCALES_MAX: usize = 30;
/// Bytes of all sources of a version.
const SOURCES_MAX: usize = 1 << 20;
const SAMPLES_MAX: usize = 64 << 10;

/// The fields of a creation or a change. What is not given stays.
pub(super) struct Change {
    pub alias: Option<Alias>,
    pub name: Option<String>,
    pub kind: Option<TemplateKind>,
    pub starter: Option<String>,
    pub description: Option<String>,
    pub default_locale: Option<Locale>,
    pub samples: Option<Map<String, Value>>,
    /// `None` for a locale takes it away.
    pub locales: BTreeMap<Locale, Option<Variant>>,
}

impl Change {
    /// Reads the fields; kind and starter are of a creation.
    pub fn read(map: Map<String, Value>, is_new: bool) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        let mut fields = Fields::new(map, "", &mut faults);
        if is_new && !fields.has("starter") {
            for name in ["alias", "locales"] {
                if !fields.has(name) {
                    fields.fault(name, FaultCode::Required, "must be given, unless a starter is");
                }
            }
        }
        let alias = fields.string("alias").map(|text| Alias::parse(&text));
        let alias = alias.and_then(|alias| fields.sound("alias", alias));
        let name = text(&mut fields, "name", NAME_MAX);
        let description = text(&mut fields, "description", DESCRIPTION_MAX);
        let (kind, starter) = if is_new { (kind(&mut fields), fields.string("starter")) } else { (None, None) };
        let default_locale = fields.string("default_locale").map(|text| Locale::parse(&text));
        let default_locale = default_locale.and_then(|locale| fields.sound("default_locale", locale));
        let samples = fields.object("samples");
        if let Some(samples) = &samples {
            check_samples(&mut fields, samples);
        }
        let given = fields.object("locales").unwrap_or_default();
        fields.finish();
        let locales = locales(given, &mut faults);
        if faults.is_empty() {
            Ok(Self { alias, name, kind, starter, description, default_locale, samples, locales })
        } else {
            Err(Problem::validation(faults))
        }
    }

    /// Whether it says anything of what a version holds.
    pub fn has_content(&self) -> bool {
        self.default_locale.is_some() || self.samples.is_some() || !self.locales.is_empty()
    }

    /// What a version holds with the change.
    pub fn content(&mut self, kind: TemplateKind, before: TemplateContent) -> Result<TemplateContent, Problem> {
        let TemplateContent { default_locale, mut locales, samples, .. } = before;
        for (locale, variant) in std::mem::take(&mut self.locales) {
            match variant {
                Some(variant) => drop(locales.insert(locale, variant)),
                None => drop(locales.remove(&locale)),
            }
        }
        let default_locale = self.default_locale.take().unwrap_or(default_locale);
        let mut faults = Vec::new();
        check_whole(&default_locale, &locales, kind, &mut faults);
        if !faults.is_empty() {
            return Err(Problem::validation(faults));
        }
        let samples = self.samples.take().unwrap_or(samples);
        Ok(finished(default_locale, locales, samples))
    }

    /// What the first version holds.
    pub fn first_content(&mut self, kind: TemplateKind) -> Result<TemplateContent, Problem> {
        let given: Vec<_> = self.locales.iter().filter(|(_, variant)| variant.is_some()).map(|(tag, _)| tag).collect();
        let english = given.iter().find(|tag| tag.as_str() == "en");
        let default = self.default_locale.clone().or_else(|| english.or(given.first()).map(|tag| (*tag).clone()));
        let Some(default_locale) = default else {
            let detail = "must hold the parts of at least one locale";
            return Err(Problem::validation(vec![Fault::new("/locales", FaultCode::Required, detail)]));
        };
        self.content(kind, finished(default_locale, Variants::new(), Map::new()))
    }
}

/// A version's content, with the names that its sources use.
pub(super) fn finished(default_locale: Locale, locales: Variants, samples: Map<String, Value>) -> TemplateContent {
    let mut uses: Vec<_> = locales.values().flat_map(references::references).map(|a| a.as_str().to_owned()).collect();
    uses.sort();
    uses.dedup();
    TemplateContent { default_locale, locales, samples, uses }
}

/// Whether two versions hold the same, as their author wrote it.
pub(super) fn is_same(old: &TemplateContent, new: &TemplateContent) -> bool {
    old.default_locale == new.default_locale
        && old.samples == new.samples
        && old.locales.len() == new.locales.len()
        && old.locales.iter().zip(&new.locales).all(|(old, new)| old.0 == new.0 && old.1.written() == new.1.written())
}

fn text(fields: &mut Fields<'_>, name: &'static str, most: usize) -> Option<String> {
    let text = fields.string(name)?;
    if text.chars().count() > most || text.contains('\0') {
        fields.fault(name, FaultCode::TooLong, format!("must have at most {most} characters and no NUL"));
    }
    Some(text)
}

fn kind(fields: &mut Fields<'_>) -> Option<TemplateKind> {
    let word = fields.string("kind")?;
    let kind = TemplateKind::parse(&word);
    if kind.is_none() {
        fields.fault("kind", FaultCode::InvalidTemplate, "must be message, layout or partial");
    }
    kind
}

fn check_samples(fields: &mut Fields<'_>, samples: &Map<String, Value>) {
    let text = serde_json::to_string(samples).unwrap_or_default();
    if text.len() > SAMPLES_MAX {
        fields.fault("samples", FaultCode::TooLong, format!("{} bytes; the limit is {SAMPLES_MAX}", text.len()));
    }
    if text.contains("\\u0000") {
        fields.fault("samples", FaultCode::ControlCharacter, "must not hold a NUL");
    }
}

/// The locales of a body, each part of which can be compiled.
fn locales(given: Map<String, Value>, faults: &mut Vec<Fault>) -> BTreeMap<Locale, Option<Variant>> {
    let mut found = BTreeMap::new();
    if given.len() > LOCALES_MAX {
        let detail = format!("{} locales; the limit is {LOCALES_MAX}", given.len());
        faults.push(Fault::new("/locales", FaultCode::TooMany, detail));
        return found;
    }
    for (name, value) in given {
        let pointer = format!("/locales/{}", name.replace('~', "~0").replace('/', "~1"));
        let variant = match value {
            Value::Null => None,
            Value::Object(map) => Some(variant(map, &pointer, faults)),
            other => {
                faults.push(wrong_type(pointer, "an object of parts, or null to take the locale away", &other));
                continue;
            }
        };
        match Locale::parse(&name) {
            Err(flaw) => faults.push(flaw.at(pointer)),
            Ok(locale) if found.contains_key(&locale) => {
                faults.push(Fault::new(
                    pointer,
                    FaultCode::Conflict,
                    "the same locale is given in another spelling too",
                ));
            }
            Ok(locale) => drop(found.insert(locale, variant)),
        }
    }
    found
}

fn variant(map: Map<String, Value>, pointer: &str, faults: &mut Vec<Fault>) -> Variant {
    let mut fields = Fields::new(map, pointer, faults);
    let mut variant = Variant {
        subject: source(&mut fields, "subject"),
        text: source(&mut fields, "text"),
        html: source(&mut fields, "html"),
        mjml: source(&mut fields, "mjml"),
    };
    if variant.html.is_some() && variant.mjml.is_some() {
        fields.fault("mjml", FaultCode::Conflict, "html is made of mjml: give one of them");
    } else if let Some(source) = &variant.mjml {
        variant.html = fields.sound("mjml", mjml::html(source));
    }
    for flaw in CompiledTemplate::new(&variant, &BTreeMap::new()).err().into_iter().flatten() {
        let FlawPlace::Part(part) = flaw.place else { continue };
        let name = if part == Part::Html && variant.mjml.is_some() { "mjml" } else { part.name() };
        let Flaw { code, detail } = flaw.flaw;
        fields.fault(name, code, detail);
    }
    fields.finish();
    variant
}

fn source(fields: &mut Fields<'_>, name: &'static str) -> Option<String> {
    let source = fields.string(name)?;
    if source.contains('\0') {
        fields.fault(name, FaultCode::ControlCharacter, "must not hold a NUL");
        return None;
    }
    if source.len() > SOURCE_MAX {
        fields.fault(name, FaultCode::TooLong, format!("{} bytes; the limit is {SOURCE_MAX}", source.len()));
        return None;
    }
    Some(source)
}

/// What a version must have as a whole.
fn check_whole(default: &Locale, locales: &Variants, kind: TemplateKind, faults: &mut Vec<Fault>) {
    if !locales.contains_key(default) {
        let detail = format!("the parts of the default locale '{default}' must be given");
        faults.push(Fault::new("/locales", FaultCode::Required, detail));
    }
    if locales.len() > LOCALES_MAX {
        let detail = format!("{} locales; the limit is {LOCALES_MAX}", locales.len());
        faults.push(Fault::new("/locales", FaultCode::TooMany, detail));
    }
    let written = locales.values().flat_map(Variant::written);
    let bytes: usize = written.filter_map(|(_, source)| source).map(str::len).sum();
    if bytes > SOURCES_MAX {
        let detail = format!("{bytes} bytes in all; the limit is {SOURCES_MAX}");
        faults.push(Fault::new("/locales", FaultCode::TooLong, detail));
    }
    for (locale, variant) in locales {
        let has_body = variant.text.is_some() || variant.html.is_some();
        let is_empty = !has_body && (kind == TemplateKind::Message || variant.subject.is_none());
        if is_empty {
            let detail = "must have text, html or mjml";
            faults.push(Fault::new(format!("/locales/{locale}"), FaultCode::Required, detail));
        }
    }
}
