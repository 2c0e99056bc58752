//! How the layers are laid over each other, and how a fault is traced to its layer.

use std::collections::HashSet;

use toml::{Table, Value};

use super::settings::{Config, SETTINGS};
use crate::domain::hint::{closest, did_you_mean};
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

/// All faults of all layers, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigFaults(pub Vec<ConfigError>);

/// Settings collected from the lowest layer to the highest. Faults are collected too, so that one look shows all.
#[derive(Debug)]
pub struct Layers {
    faults: Vec<ConfigError>,
    table: Table,
    effective: Config,
    /// Names that some layer has set.
    given: HashSet<String>,
}

impl Default for Layers {
    fn default() -> Self {
        let effective = Config::default();
        let table = Table::try_from(&effective).unwrap_or_default();
        Self { faults: Vec::new(), table, effective, given: HashSet::new() }
    }
}

impl Layers {
    /// Lays a TOML file over what is there. `origin` names it in errors.
    pub fn file(&mut self, origin: &str, text: &str) {
        let file = |reason: String| ConfigError::File { origin: origin.to_owned(), reason };
        let table: Table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => {
                let reason = toml_fault(text, error.span().map(|span| span.start), error.message());
                return self.faults.push(file(reason));
            }
        };
        for (section, settings) in table {
            let Value::Table(settings) = settings else {
                self.faults.push(file(format!("'{section}' stands outside of a [section]")));
                continue;
            };
            for (field, value) in settings {
                self.set(origin, &format!("{section}.{field}"), value);
            }
        }
    }

    /// Lays environment variables over what is there. Variables of other programs are passed over;
    /// ours must be known.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (variable, text) in variables {
            let name = match variable.as_str() {
                "DATABASE_URL" => "database.url".to_owned(),
                "DATABASE_URL_FILE" => "database.url_file".to_owned(),
                "MAILWRIGHT_DATA_DIR" => "data.dir".to_owned(),
                // Read by the command line, not settings of the service.
                "MAILWRIGHT_CONFIG"
                | "MAILWRIGHT_URL"
                | "MAILWRIGHT_SMTP"
                | "MAILWRIGHT_KEY"
                | "MAILWRIGHT_KEY_FILE"
                | "MAILWRIGHT_LIVE_KEY" => continue,
                // Kubernetes describes a service of our name to every container beside it.
                other if other.starts_with("MAILWRIGHT_SERVICE_") || other.starts_with("MAILWRIGHT_PORT") => continue,
                other => match other.strip_prefix("MAILWRIGHT_") {
                    Some(rest) => rest.to_ascii_lowercase().replacen("__", ".", 1),
                    None => continue,
                },
            };
            self.text(&format!("environment variable {variable}"), &name, &text);
        }
    }

    /// Sets one setting from text, unless a layer has set it.
    pub fn default_text(&mut self, origin: &str, name: &str, text: &str) {
        if !self.given.contains(name) {
            self.text(origin, name, text);
        }
    }

    /// Sets one setting from text.
    pub fn text(&mut self, origin: &str, name: &str, text: &str) {
        if let Some(secret) = in_file(name) {
            return self.secret(origin, (name, secret), text);
        }
        let typed = match self.at(name) {
            Some(Value::Integer(_)) => text.trim().parse().map(Value::Integer).map_err(|_| "must be a whole number"),
            Some(Value::Boolean(_)) => text.trim().parse().map(Value::Boolean).map_err(|_| "must be true or false"),
            Some(Value::Array(_)) => Err("can be set in the TOML file only"),
            _ => Ok(Value::String(text.to_owned())),
        };
        match typed {
            Ok(value) => self.set(origin, name, value),
            Err(reason) => self.refuse(origin, name, reason.to_owned()),
        }
    }

    /// Sets a secret from the file that has it and nothing else.
    fn secret(&mut self, origin: &str, (name, secret): (&str, &'static str), path: &str) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.set(origin, secret, Value::String(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => self.refuse(origin, name, format!("{path}: {error}")),
        }
    }

    fn refuse(&mut self, origin: &str, name: &str, reason: String) {
        self.faults.push(ConfigError::Value { origin: origin.to_owned(), name: name.to_owned(), reason });
    }

    fn set(&mut self, origin: &str, name: &str, value: Value) {
        if let (Some(secret), Value::String(path)) = (in_file(name), &value) {
            return self.secret(origin, (name, secret), path);
        }
        // What is refused by its type would be shown.
        if let (Some(Value::Array(_)), Value::String(_)) = (self.at(name), &value) {
            return self.refuse(origin, name, "must be a list of tables".to_owned());
        }
        let Some(slot) = self.at(name) else {
            let (origin, hint) = (origin.to_owned(), hint(name));
            return self.faults.push(ConfigError::Unknown { origin, name: name.to_owned(), hint });
        };
        let before = std::mem::replace(slot, value);
        match Config::deserialize_from(&self.table) {
            Ok(config) => {
                self.effective = config;
                self.given.insert(name.to_owned());
            }
            Err(reason) => {
                if let Some(slot) = self.at(name) {
                    *slot = before;
                }
                self.refuse(origin, name, reason);
            }
        }
    }

    fn at(&mut self, name: &str) -> Option<&mut Value> {
        let (section, field) = name.split_once('.')?;
        self.table.get_mut(section)?.as_table_mut()?.get_mut(field)
    }

    /// The configuration, once what no single setting can see has been checked too; or everything that is wrong with it.
    pub fn finish(mut self) -> Result<Config, ConfigFaults> {
        for (name, reason) in self.effective.faults() {
            self.refuse("configuration", name, reason);
        }
        if self.faults.is_empty() { Ok(self.effective) } else { Err(ConfigFaults(self.faults)) }
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
            let value = match value {
                Some(Value::String(text)) if field == "sealing_key" && !text.is_empty() => "\"***\"".to_owned(),
                // A comma may be part of a password.
                Some(Value::String(text)) if section == "database" => Value::String(redact(text)).to_string(),
                Some(value) => redacted(value).to_string(),
                None => String::new(),
            };
            text.push_str(&format!("# {meaning}\n{field} = {value}\n"));
        }
        text
    }
}

fn redacted(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(hosts(text).into_iter().map(redact).collect::<Vec<_>>().join(",")),
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

/// Settings that are secrets, or hold one: each may stand in a file of its own, named by the setting with `_file` behind it.
pub const SECRETS: [&str; 4] = ["database.url", "database.direct_url", "delivery.route", "sandbox.rspamd"];

/// The secret that a setting names the file of.
fn in_file(name: &str) -> Option<&'static str> {
    SECRETS.into_iter().find(|secret| name.strip_suffix("_file") == Some(*secret))
}

/// The hosts of a list, which begin with a scheme: other commas may be part of a password.
fn hosts(text: &str) -> Vec<&str> {
    let mut hosts = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(',') {
        let behind = text[at + 1..].trim_start();
        if behind.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphabetic())) {
            hosts.push(&text[from..at]);
            from = at + 1;
        }
    }
    hosts.push(&text[from..]);
    hosts
}

/// The setting that was probably meant: of the section that was meant, if one can be told.
fn hint(name: &str) -> String {
    let (section, field) = name.split_once('.').unwrap_or(("", name));
    let settings = || SETTINGS.iter().filter_map(|(known, _)| known.split_once('.'));
    let Some(meant) = closest(section, settings().map(|(section, _)| section)) else {
        return did_you_mean(name, SETTINGS.iter().map(|(known, _)| *known));
    };
    let fields = settings().filter(|(section, _)| *section == meant).map(|(_, field)| field);
    match closest(field, fields) {
        Some(field) => format!("; did you mean '{meant}.{field}'?"),
        None if meant != section => format!("; did you mean one of [{meant}]?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
        let mut layers = Layers::default();
        layers.environment(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
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
        layers.file("f.toml", "[http]\nlisten = \"127.0.0.1:1\"\n[queue]\nlease = \"7s\"\n");
        layers.environment([("MAILWRIGHT_HTTP__LISTEN".to_owned(), "127.0.0.1:2".to_owned())]);
        let config = layers.finish().unwrap();
        assert_eq!(config.http.listen.0.port(), 2);
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
            (("MAILWRIGHT_DELIVRY__X", "1"), "did you mean one of [delivery]?"),
            (("MAILWRIGHT_DELIVRY__SESIONS", "1"), "did you mean 'delivery.sessions'?"),
            (("MAILWRIGHT_LOG__LEVEL", "verbose"), "log.level: 'verbose' is not a level"),
            (("MAILWRIGHT_LOG__LEVEL", "info,sqlx=loud"), "log.level: 'loud' is not a level"),
            (("MAILWRIGHT_HTTP__LISTEN", ":8080"), "http.listen: ':8080' is not an IP address and a port, such as"),
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
        let mut layers = Layers::default();
        layers.file("m.toml", "[http]\nbody_limit = \"x\"\n[htpp]\nx = 1\n[delivery]\nsessions = 0");
        let error = layers.finish().unwrap_err().to_string();
        assert_eq!(error.lines().count(), 3, "{error}");
        assert!(error.contains("'htpp.x'; did you mean one of [http]?"), "{error}");
        assert!(error.contains("delivery.sessions: must be at least 1"), "{error}");
        assert!(error.contains("m.toml: http.body_limit: 'x' is not a size"), "{error}");
    }

    #[test]
    fn a_secret_may_stand_in_a_file_of_its_own() {
        let path = std::env::temp_dir().join(format!("mailwright-secret-{}", std::process::id()));
        std::fs::write(&path, "postgres://u:HUNTER2@h/db\n").unwrap();
        let shown = path.display().to_string();
        let config = env(&[("DATABASE_URL_FILE", &shown)]).unwrap();
        assert_eq!(config.database.url, "postgres://u:HUNTER2@h/db");
        assert!(!config.show().contains("HUNTER2"));
        std::fs::write(&path, "smtps://u:p@h:465\r\n").unwrap();
        let mut layers = Layers::default();
        layers.file("f", &format!("[delivery]\nroute_file = \"{shown}\"\n"));
        assert!(format!("{:?}", layers.finish().unwrap().delivery.route).contains("465"));
        let error = env(&[("MAILWRIGHT_DELIVERY__ROUTE_FILE", "/nowhere/at/all")]).unwrap_err().to_string();
        assert!(error.contains("delivery.route_file: /nowhere/at/all"), "{error}");
        assert!(env(&[("MAILWRIGHT_HTTP__LISTEN_FILE", &shown)]).is_err(), "no secret");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn no_part_of_a_password_is_shown_whatever_is_in_it() {
        for url in
            ["postgres://u:HUNT,ER2@h/db", "postgres://h/db?user=u&password=HUNTER2", "host=h password='HUNT ER2'"]
        {
            let shown = env(&[("DATABASE_URL", url)]).map_or_else(|faults| faults.to_string(), |config| config.show());
            assert!(!shown.contains("HUNT"), "{url}: {shown}");
        }
        for text in ["smtps://u:HUNT%2CER2@h:465,smtps://v:HUNTER2@g:465", "smtps://u:HUNT,ER2@h"] {
            let shown = env(&[("MAILWRIGHT_DELIVERY__ROUTE", text)]).map_or_else(|f| f.to_string(), |c| c.show());
            assert!(!shown.contains("HUNT") && !shown.contains("ER2"), "{text}: {shown}");
        }
        let mut layers = Layers::default();
        layers.file("f", "[auth]\njwt = \"HUNTER2\"\n");
        assert!(!layers.finish().unwrap_err().to_string().contains("HUNTER2"));
    }
}
