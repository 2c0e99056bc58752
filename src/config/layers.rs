//! How the layers are laid over each other, and how a fault is traced to its layer.

use std::collections::HashSet;

use toml::{Table, Value};

use super::settings::{Config, SETTINGS};
use crate::domain::hint::did_you_mean;
use crate::domain::route::{redact, toml_fault};

/// A setting that cannot be used: where it was set, its name, and why.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{origin}: there is no setting '{name}'{hint}")]
    Unknown { origin: String, name: String, hint: String },
    #[error("{origin}: {name}: {reason}")]
    Value { origin: String, name: String, reason: String },
    #[error("{origin}: {reason}")]
    File { origin: String, reason: String },
}

/// Settings collected from the lowest layer to the highest.
#[derive(Debug)]
pub struct Layers {
    table: Table,
    effective: Config,
    /// Names that some layer has set.
    given: HashSet<String>,
}

impl Default for Layers {
    fn default() -> Self {
        let effective = Config::default();
        let table = Table::try_from(&effective).unwrap_or_default();
        Self { table, effective, given: HashSet::new() }
    }
}

impl Layers {
    /// Lays a TOML file over what is there. `origin` names it in errors.
    pub fn file(&mut self, origin: &str, text: &str) -> Result<(), ConfigError> {
        let file = |reason: String| ConfigError::File { origin: origin.to_owned(), reason };
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            file(toml_fault(text, error.span().map(|span| span.start), error.message()))
        })?;
        for (section, settings) in table {
            let Value::Table(settings) = settings else {
                return Err(file(format!("'{section}' stands outside of a [section]")));
            };
            for (field, value) in settings {
                self.set(origin, &format!("{section}.{field}"), value)?;
            }
        }
        Ok(())
    }

    /// Lays environment variables over what is there. Variables of other programs are passed over;
    /// ours must be known.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (variable, text) in variables {
            let name = match variable.as_str() {
                "DATABASE_URL" => "database.url".to_owned(),
                "MAILWRIGHT_DATA_DIR" => "data.dir".to_owned(),
                // Read by the command line, not settings of the service.
                "MAILWRIGHT_CONFIG" | "MAILWRIGHT_URL" | "MAILWRIGHT_KEY" => continue,
                // Kubernetes describes a service of our name to every container beside it.
                other if other.starts_with("MAILWRIGHT_SERVICE_") || other.starts_with("MAILWRIGHT_PORT") => continue,
                other => match other.strip_prefix("MAILWRIGHT_") {
                    Some(rest) => rest.to_ascii_lowercase().replacen("__", ".", 1),
                    None => continue,
                },
            };
            self.text(&format!("environment variable {variable}"), &name, &text)?;
        }
        Ok(())
    }

    /// Sets one setting from text, unless a layer has set it.
    pub fn default_text(&mut self, origin: &str, name: &str, text: &str) -> Result<(), ConfigError> {
        if self.given.contains(name) { Ok(()) } else { self.text(origin, name, text) }
    }

    /// Sets one setting from text.
    pub fn text(&mut self, origin: &str, name: &str, text: &str) -> Result<(), ConfigError> {
        let value = |reason: &str| ConfigError::Value {
            origin: origin.to_owned(),
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        let typed = match self.at(name) {
            Some(Value::Integer(_)) => {
                Value::Integer(text.trim().parse().map_err(|_| value("must be a whole number"))?)
            }
            Some(Value::Boolean(_)) => Value::Boolean(text.trim().parse().map_err(|_| value("must be true or false"))?),
            Some(Value::Array(_)) => return Err(value("can be set in the TOML file only")),
            _ => Value::String(text.to_owned()),
        };
        self.set(origin, name, typed)
    }

    fn set(&mut self, origin: &str, name: &str, value: Value) -> Result<(), ConfigError> {
        let unknown = || ConfigError::Unknown { origin: origin.to_owned(), name: name.to_owned(), hint: hint(name) };
        let slot = self.at(name).ok_or_else(unknown)?;
        let before = std::mem::replace(slot, value);
        match Config::deserialize_from(&self.table) {
            Ok(config) => {
                self.effective = config;
                self.given.insert(name.to_owned());
                Ok(())
            }
            Err(reason) => {
                if let Some(slot) = self.at(name) {
                    *slot = before;
                }
                Err(ConfigError::Value { origin: origin.to_owned(), name: name.to_owned(), reason })
            }
        }
    }

    fn at(&mut self, name: &str) -> Option<&mut Value> {
        let (section, field) = name.split_once('.')?;
        self.table.get_mut(section)?.as_table_mut()?.get_mut(field)
    }

    /// The configuration, once what no single setting can see has been checked too.
    pub fn finish(self) -> Result<Config, ConfigError> {
        match self.effective.check() {
            Ok(()) => Ok(self.effective),
            Err((name, reason)) => {
                Err(ConfigError::Value { origin: "configuration".into(), name: name.into(), reason })
            }
        }
    }
}

impl Config {
    fn deserialize_from(table: &Table) -> Result<Self, String> {
        table.clone().try_into().map_err(|error: toml::de::Error| redact(error.message()))
    }

    /// The whole effective configuration as TOML, secrets redacted, each setting with its meaning.
    pub fn show(&self) -> String {
        let table = Table::try_from(self).unwrap_or_default();
        let mut text = String::new();
        let mut open = "";
        for (name, meaning) in SETTINGS {
            let Some((section, field)) = name.split_once('.') else { continue };
            if section != open {
                text.push_str(&format!("{}[{section}]\n", if open.is_empty() { "" } else { "\n" }));
                open = section;
            }
            let value = table.get(section).and_then(|settings| settings.get(field));
            let value = value.map_or_else(String::new, |value| redacted(value).to_string());
            text.push_str(&format!("# {meaning}\n{field} = {value}\n"));
        }
        text
    }
}

fn redacted(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.split(',').map(redact).collect::<Vec<_>>().join(",")),
        Value::Array(items) => Value::Array(items.iter().map(redacted).collect()),
        Value::Table(table) => table
            .iter()
            .map(|(name, value)| match name.as_str() {
                "secret" => (name.clone(), Value::String("***".into())),
                _ => (name.clone(), redacted(value)),
            })
            .collect::<Table>()
            .into(),
        other => other.clone(),
    }
}

/// The setting that was probably meant.
fn hint(name: &str) -> String {
    did_you_mean(name, SETTINGS.iter().map(|(known, _)| *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut layers = Layers::default();
        layers.environment(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))?;
        layers.finish()
    }

    #[test]
    fn every_setting_is_documented_and_every_documented_setting_exists() {
        let mut fields = Vec::new();
        for (section, settings) in Layers::default().table {
            for (field, _) in settings.as_table().unwrap() {
                fields.push(format!("{section}.{field}"));
            }
        }
        let mut documented: Vec<_> = SETTINGS.iter().map(|(name, _)| (*name).to_owned()).collect();
        fields.sort();
        documented.sort();
        assert_eq!(fields, documented);
    }

    #[test]
    fn later_layers_win() {
        let mut layers = Layers::default();
        layers.file("f.toml", "[http]\nlisten = \"127.0.0.1:1\"\n[queue]\nlease = \"7s\"\n").unwrap();
        layers.environment([("MAILWRIGHT_HTTP__LISTEN".to_owned(), "127.0.0.1:2".to_owned())]).unwrap();
        let config = layers.finish().unwrap();
        assert_eq!(config.http.listen.port(), 2);
        assert_eq!(config.queue.lease.0.as_secs(), 7);
    }

    #[test]
    fn the_names_that_scripts_rely_on_are_there() {
        let config = env(&[
            ("DATABASE_URL", "postgres://u:p@h/d"),
            ("MAILWRIGHT_DATA_DIR", "/x"),
            ("MAILWRIGHT_DELIVERY__ROUTE", "smtp://127.0.0.1:2525?tls=none"),
            ("MAILWRIGHT_DELIVERY__MX_PORT", "2525"),
            ("MAILWRIGHT_DNS__SERVERS", "127.0.0.1:5353"),
            ("MAILWRIGHT_DELIVERY__RETRY", "1s,5s,30s"),
            ("MAILWRIGHT_DELIVERY__REQUIRE_VERIFIED_DOMAIN", "false"),
            ("MAILWRIGHT_DELIVERY__TIMEOUT_DOT", "600s"),
            ("MAILWRIGHT_QUEUE__LEASE", "30s"),
            ("MAILWRIGHT_WEBHOOKS__RETRY", "1s,2s"),
            ("MAILWRIGHT_NET__ALLOW_PRIVATE", "127.0.0.0/8,::1/128"),
            ("MAILWRIGHT_LIMITS__RECIPIENTS", "50"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!(config.net.allow_private.0.len(), 2);
        assert_eq!(config.delivery.retry.0.len(), 3);
        assert!(!config.show().contains("u:p@"));
    }

    #[test]
    fn a_fault_names_its_place_and_its_setting() {
        for (pairs, wanted) in [
            (
                ("MAILWRIGHT_HTTP__LISTENN", "x"),
                "MAILWRIGHT_HTTP__LISTENN: there is no setting 'http.listenn'; did you mean 'http.listen'?",
            ),
            (("MAILWRIGHT_QUEUE__LEASE", "30"), "queue.lease: '30' is not a duration"),
            (("MAILWRIGHT_DELIVERY__MX_PORT", "x"), "delivery.mx_port: must be a whole number"),
            (("MAILWRIGHT_DELIVERY__SESSIONS", "0"), "delivery.sessions: must be at least 1"),
            (("MAILWRIGHT_RETENTION__BODIES", "0d"), "retention.bodies: must be at least 1d"),
            (("MAILWRIGHT_RETENTION__BODIES", "31d"), "retention.bodies: must be at most retention.messages"),
            (("MAILWRIGHT_DELIVERY__ROUTE", "smtp://u:hunter2@h?tls=none"), "over validated TLS only"),
        ] {
            let error = env(&[pairs]).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
            assert!(!error.contains("hunter2"));
        }
        let error = Layers::default().file("m.toml", "[http]\nbody_limit = \"x\"").unwrap_err();
        assert!(error.to_string().starts_with("m.toml: http.body_limit: 'x' is not a size"), "{error}");
    }
}
