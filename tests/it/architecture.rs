//! Which room may use which. A room that imports what its row forbids fails here.

use std::path::{Path, PathBuf};

/// Every room in the order of `lib.rs`, and the rooms that it may use. `*`: the composition root.
const ROOMS: [(&str, &[&str]); 42] = [
    ("domain", &[]),
    ("ambient", &["domain", "store"]),
    ("config", &["domain"]),
    ("descriptors", &["config"]),
    ("telemetry", &["config"]),
    ("shutdown", &[]),
    ("sealing", &["domain", "config"]),
    ("wake", &["domain"]),
    ("terminal", &[]),
    ("net", &["domain", "config"]),
    ("smtp", &["domain", "config", "net", "telemetry", "shutdown"]),
    ("compose", &["domain"]),
    ("classify", &["domain"]),
    ("feedback", &["domain"]),
    ("shaping", &["domain"]),
    ("store", &["domain", "config", "telemetry", "sealing"]),
    ("handover", &["domain", "wake"]),
    ("auth", &["domain", "config", "store"]),
    ("accounts", &["domain", "store", "auth", "compose"]),
    ("identity", &["domain", "config", "telemetry", "store", "accounts", "compose", "net", "wake", "shutdown"]),
    ("routing", &["domain", "config", "store", "net", "classify", "shaping", "shutdown"]),
    ("suppress", &["domain", "telemetry", "store", "classify", "shutdown"]),
    ("tokens", &["domain", "compose", "store"]),
    (
        "submit",
        &[
            "request",
            "domain",
            "config",
            "telemetry",
            "store",
            "suppress",
            "tokens",
            "compose",
            "routing",
            "handover",
            "wake",
            "shutdown",
        ],
    ),
    (
        "inbound",
        &[
            "domain",
            "config",
            "telemetry",
            "store",
            "suppress",
            "tokens",
            "compose",
            "feedback",
            "net",
            "smtp",
            "routing",
            "wake",
            "shutdown",
        ],
    ),
    ("ingress", &["request", "domain", "config", "telemetry", "auth", "compose", "net", "smtp", "submit", "shutdown"]),
    ("queue", &["domain", "telemetry", "store", "wake", "shutdown"]),
    (
        "deliver",
        &[
            "domain",
            "config",
            "telemetry",
            "store",
            "suppress",
            "queue",
            "net",
            "compose",
            "smtp",
            "classify",
            "shaping",
            "routing",
            "handover",
            "wake",
            "shutdown",
        ],
    ),
    ("webhook", &["domain", "config", "telemetry", "store", "queue", "net", "wake", "shutdown"]),
    ("reporting", &["domain", "store", "net", "compose", "submit", "shutdown"]),
    ("upkeep", &["domain", "telemetry", "store", "queue", "recall", "wake", "shutdown"]),
    ("request", &["domain", "config", "compose"]),
    ("recall", &["domain", "store", "queue", "wake", "shutdown", "telemetry"]),
    (
        "api",
        &[
            "request",
            "recall",
            "domain",
            "config",
            "telemetry",
            "store",
            "suppress",
            "auth",
            "accounts",
            "identity",
            "inbound",
            "compose",
            "submit",
            "routing",
            "webhook",
            "spam",
            "shutdown",
        ],
    ),
    ("spam", &["config", "net"]),
    ("console", &["api"]),
    ("compat", &["request", "compose", "domain", "config", "submit", "webhook", "api"]),
    ("app", &["*"]),
    ("cluster", &["domain", "ambient", "config", "store", "telemetry", "terminal"]),
    ("bench", &["domain", "ambient", "config", "telemetry", "store", "accounts", "cluster", "terminal"]),
    (
        "cli",
        &[
            "domain",
            "ambient",
            "config",
            "descriptors",
            "telemetry",
            "store",
            "auth",
            "sealing",
            "accounts",
            "identity",
            "net",
            "classify",
            "feedback",
            "shaping",
            "routing",
            "app",
            "cluster",
            "bench",
            "webhook",
            "terminal",
        ],
    ),
    ("main", &["cli"]),
];

/// Crates that belong to rooms.
const CRATES: [(&str, &[&str]); 9] = [
    ("sqlx", &["store"]),
    ("axum", &["api", "console", "compat"]),
    ("lettre", &["compose"]),
    ("clap", &["cli", "bench"]),
    ("hickory_resolver", &["net"]),
    ("jsonwebtoken", &["auth"]),
    ("csv", &["suppress"]),
    ("rustix", &["descriptors"]),
    ("dns_update", &["identity"]),
];

/// Crates that the vocabulary must not know.
const NOT_IN_DOMAIN: [&str; 6] = ["tokio", "sqlx", "axum", "lettre", "hyper", "rustls"];

/// Every Rust file below a directory.
pub fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Room, file and text without tests, of every source.
fn rooms() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&root)
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            let room = name.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (room, name, code.join("\n"))
        })
        .collect()
}

/// The words that follow `prefix` in `text`.
fn named<'t>(text: &'t str, prefix: &str) -> Vec<&'t str> {
    text.split(prefix)
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
        .collect()
}

#[test]
fn rooms_use_only_what_their_row_allows() {
    for (room, file, text) in rooms() {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            assert_eq!(room, "lib", "{file}: the room '{room}' has no row");
            continue;
        };
        for used in named(&text, "crate::") {
            let fine = used == room || allowed.contains(&used) || allowed.contains(&"*");
            assert!(fine, "{file}: '{room}' must not use '{used}'");
        }
    }
}

#[test]
fn crates_stay_in_their_rooms() {
    for (room, file, text) in rooms() {
        for (name, owners) in CRATES {
            let uses = text.contains(&format!("{name}::")) && !text.contains(&format!("_{name}::"));
            assert!(!uses || owners.contains(&&*room), "{file}: '{room}' must not name {name}");
        }
        if room == "domain" {
            for name in NOT_IN_DOMAIN {
                assert!(!text.contains(&format!("{name}::")), "{file}: the vocabulary must not know {name}");
            }
        }
    }
}

#[test]
fn every_room_introduces_itself_and_stays_readable() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not introduce itself", path.display());
        let lines = text.split("#[cfg(test)]").next().unwrap().lines().count();
        assert!(lines <= 450, "{} has {lines} lines: split it by noun", path.display());
    }
}

#[test]
fn accepting_and_delivering_meet_in_rows_only() {
    for (room, file, text) in rooms() {
        let used = named(&text, "crate::");
        let accepts = ["submit", "api", "console"].contains(&&*room);
        assert!(!accepts || !used.iter().any(|r| ["deliver", "queue"].contains(r)), "{file}");
        let delivers = ["deliver", "queue"].contains(&&*room);
        assert!(!delivers || !used.iter().any(|r| ["submit", "api"].contains(r)), "{file}");
    }
}

/// Whether a call of a tracing macro has the bare field `message`, with a value or in short.
fn has_bare_message(call: &str) -> bool {
    call.match_indices("message").any(|(at, word)| {
        let before = call[..at].trim_end_matches(['%', '?']).trim_end();
        let behind = call[at + word.len()..].trim_start();
        before.ends_with(['(', ',']) && behind.starts_with(['=', ',', ')']) && !behind.starts_with("==")
    })
}

#[test]
fn logs_name_messages_by_id_and_leave_the_word_to_the_sentence() {
    assert!(has_bare_message("(message = %id, \"a\")") && has_bare_message("(%message, \"a\")"));
    assert!(!has_bare_message("(message.id = %message, \"the message, read\")"));
    for (_, file, text) in rooms() {
        for call in text.split("tracing::").skip(1).filter_map(|rest| rest.split_once('!')) {
            let (name, rest) = call;
            if ["trace", "debug", "info", "warn", "error", "event", "info_span", "debug_span", "span"].contains(&name) {
                let fields = rest.split(';').next().unwrap();
                assert!(!has_bare_message(fields), "{file}: `message` is tracing's own field: name `message.id`");
            }
        }
    }
}
