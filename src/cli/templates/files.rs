//! Templates as files: `<alias>/template.toml`, `<alias>/samples.json`, and for each locale `<alias>/<locale>/` with
//! `subject.txt`, `text.txt`, and `html.html` or `html.mjml`. What the files say already is not written anew, so that
//! comments and their layout stay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::template::{Alias, Locale};
use crate::terminal::CommandError;

/// A part's name in requests, and its file.
const PARTS: [(&str, &str); 4] =
    [("subject", "subject.txt"), ("text", "text.txt"), ("html", "html.html"), ("mjml", "html.mjml")];

type Sources = BTreeMap<&'static str, String>;

/// A template in files.
#[derive(Debug)]
pub struct LocalTemplate {
    pub alias: Alias,
    pub kind: String,
    name: String,
    default_locale: String,
    samples: Map<String, Value>,
    pub locales: BTreeMap<String, Sources>,
}

/// The file `template.toml`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: String,
    #[serde(default = "message")]
    kind: String,
    default_locale: String,
}

fn message() -> String {
    "message".to_owned()
}

/// Every template below a directory.
pub fn read(directory: &Path) -> Result<Vec<LocalTemplate>, CommandError> {
    let found = read_if_there(directory)?;
    if found.is_empty() { Err(wrong(directory, "there is no <alias>/template.toml")) } else { Ok(found) }
}

/// The same, of a directory that need not be there.
pub fn read_if_there(directory: &Path) -> Result<Vec<LocalTemplate>, CommandError> {
    let directories = directories(directory)?.into_iter();
    directories.filter(|path| path.join("template.toml").is_file()).map(|path| LocalTemplate::read(&path)).collect()
}

impl LocalTemplate {
    fn read(directory: &Path) -> Result<Self, CommandError> {
        let alias = Alias::parse(&name(directory)).map_err(|flaw| wrong(directory, flaw.detail))?;
        let path = directory.join("template.toml");
        let head: Head = toml::from_str(&text(&path)?).map_err(|error| wrong(&path, error))?;
        let path = directory.join("samples.json");
        let samples = if path.is_file() {
            serde_json::from_str(&text(&path)?).map_err(|error| wrong(&path, error))?
        } else {
            Map::new()
        };
        let mut locales = BTreeMap::new();
        for path in directories(directory)? {
            let locale = name(&path);
            let usual = Locale::parse(&locale).map_err(|flaw| wrong(&path, flaw.detail))?;
            if usual.as_str() != locale {
                return Err(wrong(&path, format!("is spelt {usual}")));
            }
            let mut sources = Sources::new();
            for (part, file) in PARTS {
                if path.join(file).is_file() {
                    sources.insert(part, text(&path.join(file))?);
                }
            }
            locales.insert(locale, sources);
        }
        let Head { name, kind, default_locale } = head;
        Ok(Self { alias, kind, name, default_locale, samples, locales })
    }

    /// Of the service's answers.
    pub fn of(template: &Value, version: &Value) -> Result<Self, CommandError> {
        let field = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        // They become names of directories: nothing else may.
        let alias = Alias::parse(&field(template, "alias")).map_err(|flaw| CommandError(flaw.detail))?;
        let mut locales = BTreeMap::new();
        for (locale, parts) in version["locales"].as_object().into_iter().flatten() {
            let locale = Locale::parse(locale).map_err(|flaw| CommandError(flaw.detail))?;
            let mut sources = Sources::new();
            for (part, _) in PARTS {
                // HTML that is made of MJML is not its source.
                let is_made = part == "html" && parts["mjml"].is_string();
                if let Some(source) = parts[part].as_str().filter(|_| !is_made) {
                    sources.insert(part, source.to_owned());
                }
            }
            locales.insert(locale.as_str().to_owned(), sources);
        }
        Ok(Self {
            alias,
            kind: field(template, "kind"),
            name: field(template, "name"),
            default_locale: field(version, "default_locale"),
            samples: version["samples"].as_object().cloned().unwrap_or_default(),
            locales,
        })
    }

    /// The fields of a request that do not say which template it is.
    pub fn body(&self) -> Value {
        json!({"name": self.name, "default_locale": self.default_locale, "samples": self.samples, "locales": self.locales})
    }

    /// Makes the files below `directory` those of this template; whether any had to be touched.
    pub fn write(&self, directory: &Path) -> Result<bool, CommandError> {
        let directory = directory.join(self.alias.as_str());
        let mut files = Files { is_changed: false };
        let head =
            Head { name: self.name.clone(), kind: self.kind.clone(), default_locale: self.default_locale.clone() };
        let path = directory.join("template.toml");
        let known = path.is_file().then(|| text(&path)).transpose()?;
        if known.and_then(|text| toml::from_str::<Head>(&text).ok()).as_ref() != Some(&head) {
            files.write(&path, &toml::to_string(&head).map_err(|error| wrong(&path, error))?)?;
        }
        let path = directory.join("samples.json");
        let known = path.is_file().then(|| text(&path)).transpose()?;
        let known = known.and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).ok());
        if known.unwrap_or_default() != self.samples {
            let samples = serde_json::to_string_pretty(&self.samples).map_err(|error| wrong(&path, error))?;
            files.write(&path, &format!("{samples}\n"))?;
        }
        for path in directories(&directory)? {
            if Locale::parse(&name(&path)).is_ok_and(|locale| !self.locales.contains_key(locale.as_str())) {
                files.remove(&path, &Sources::new())?;
            }
        }
        for (locale, sources) in &self.locales {
            let path = directory.join(locale);
            files.remove(&path, sources)?;
            for (part, file) in PARTS {
                if let Some(source) = sources.get(part) {
                    files.write(&path.join(file), source)?;
                }
            }
        }
        Ok(files.is_changed)
    }
}

/// Files being made right.
struct Files {
    is_changed: bool,
}

impl Files {
    fn write(&mut self, path: &Path, content: &str) -> Result<(), CommandError> {
        if std::fs::read(path).is_ok_and(|known| known == content.as_bytes()) {
            return Ok(());
        }
        self.is_changed = true;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| wrong(directory, error))?;
        }
        std::fs::write(path, content).map_err(|error| wrong(path, error))
    }

    /// Removes the parts of a locale that are not in `sources`, and its directory if nothing is left in it.
    fn remove(&mut self, directory: &Path, sources: &Sources) -> Result<(), CommandError> {
        for (part, file) in PARTS {
            let path = directory.join(file);
            if !sources.contains_key(part) && path.is_file() {
                self.is_changed = true;
                std::fs::remove_file(&path).map_err(|error| wrong(&path, error))?;
            }
        }
        if sources.is_empty() {
            // One that holds something else is left.
            let _ = std::fs::remove_dir(directory);
        }
        Ok(())
    }
}

/// The directories in a directory, in order, without hidden ones.
fn directories(directory: &Path) -> Result<Vec<PathBuf>, CommandError> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(directory).map_err(|error| wrong(directory, error))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| wrong(directory, error))?.path();
        if path.is_dir() && !name(&path).starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn text(path: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path).map_err(|error| wrong(path, error))
}

fn wrong(path: &Path, what: impl std::fmt::Display) -> CommandError {
    CommandError(format!("{}: {what}", path.display()))
}
