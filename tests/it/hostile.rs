//! Requests made of `openapi.yaml` with hostile values, by everybody against everybody: no 5xx, nothing of anybody else's, and no growth.

use std::collections::HashMap;

use mailwright::domain::clock::{Rng, SeededRng};
use serde_json::{Value, json};

use crate::support::app::message_to;
use crate::support::contract::{CONTRACT, Operation};
use crate::support::database::Database;
use crate::support::http::{Client, encoded};
use crate::support::process::{Server, create_key, create_operator_key, resident};
use crate::support::within;

/// What stands in all that the victim has, and in nothing else.
const CANARY: &str = "canary7f3a";

const STRINGS: [&str; 30] = [
    "",
    " ",
    "\0",
    "\r\nBcc: x@example.net",
    "%00",
    "../../../etc/passwd",
    "' OR 1=1 --",
    "\"; DROP TABLE messages; --",
    "<script>alert(1)</script>",
    "{{7*7}}{% for x in range(100000) %}{{x}}{% endfor %}",
    "${jndi:ldap://127.0.0.1/a}",
    "\u{202e}\u{feff}\u{0}",
    "🦀🦀🦀🦀",
    "http://169.254.169.254/latest/meta-data",
    "file:///etc/passwd",
    "http://[::ffff:127.0.0.1]:5432/",
    "9999-12-31T23:59:59Z",
    "0000-00-00T00:00:00Z",
    "in 99999999999 days",
    "-1",
    "1e400",
    "18446744073709551616",
    "key_00000000000000000000000000000000",
    "*",
    "null",
    "a@b",
    "\"<a@b>\"@example.net",
    "aGVsbG8=====",
    "=?utf-8?q?=00?=",
    "^(a+)+$",
];

/// Whatever comes next.
struct Chance(SeededRng);

impl Chance {
    fn below(&self, most: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % most.max(1) as u64).unwrap()
    }

    fn one<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn text(&self) -> &'static str {
        STRINGS[self.below(STRINGS.len())]
    }

    fn value(&self, depth: usize) -> Value {
        match self.below(if depth > 3 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!([-1, 0, 1, i64::MAX, i64::MIN, 1 << 40][self.below(6)]),
            3 => json!([0.5, -0.0, 1e308, 1e-308][self.below(4)]),
            4 => json!(self.text().repeat(1 + self.below(3) * 500)),
            5 => json!(self.text()),
            6 => (0..self.below(5)).map(|_| self.value(depth + 1)).collect(),
            7 => (0..self.below(40)).map(|_| json!(self.text())).collect(),
            _ => Value::Object(
                (0..self.below(5)).map(|n| (format!("{}{n}", self.text()), self.value(depth + 1))).collect(),
            ),
        }
    }

    /// An example in which some things are not as they were.
    fn spoiled(&self, value: Value, ids: &[String]) -> Value {
        match self.below(12) {
            0 => return self.value(0),
            1 => return json!(self.text()),
            2 => return json!(self.one(ids)),
            _ => {}
        }
        match value {
            Value::Array(items) => items.into_iter().map(|item| self.spoiled(item, ids)).collect(),
            Value::Object(map) => {
                let mut spoiled: serde_json::Map<_, _> =
                    map.into_iter().map(|(name, value)| (name, self.spoiled(value, ids))).collect();
                if self.below(4) == 0 {
                    spoiled.insert(self.text().to_owned(), self.value(1));
                }
                Value::Object(spoiled)
            }
            other => other,
        }
    }
}

/// What the victim has, with the canary wherever a text may stand; its ids by prefix.
async fn furnish(server: &mut Client, key: &str) -> HashMap<String, String> {
    let mut ids = HashMap::new();
    let mut message = message_to(&format!("{CANARY}@example.net"));
    message["subject"] = json!(CANARY);
    message["tags"] = json!([CANARY]);
    message["metadata"] = json!({"note": CANARY});
    for (path, body) in [
        ("/v1/send", message),
        ("/v1/webhooks", json!({"url": "http://127.0.0.1:9/", "description": CANARY, "tags": [CANARY]})),
        ("/v1/suppressions", json!({"email": format!("{CANARY}@example.org"), "reason": "manual"})),
        ("/v1/templates", json!({"alias": CANARY, "subject": CANARY, "text": CANARY, "html": CANARY})),
        ("/v1/keys", json!({"mode": "live", "scopes": ["send"], "name": CANARY})),
        ("/v1/domains", json!({"name": format!("{CANARY}.example.org")})),
    ] {
        let headers = [("authorization", &*format!("Bearer {key}")), ("content-type", "application/json")];
        let answer = server.ask("POST", path, &headers, body.to_string().into_bytes()).await.unwrap();
        let text = String::from_utf8_lossy(&answer.bytes);
        for id in regex_lite::Regex::new(r"\b([a-z]{3})_[0-9a-f]{32}\b").unwrap().captures_iter(&text) {
            ids.insert(id[1].to_owned(), id[0].to_owned());
        }
    }
    ids
}

#[tokio::test]
async fn whoever_asks_for_whatever_gets_no_5xx_and_nothing_of_anybody_elses() {
    let is_nightly = std::env::var_os("MAILWRIGHT_NIGHTLY").is_some();
    let count = if is_nightly { 20_000 } else { 1_500 };
    let database = Database::new().await;
    let url = &database.url;
    let settings = [("net.allow_private", "127.0.0.0/8"), ("auth.slow_down", "0s"), ("delivery.route", "sandbox")];
    let mut server = Server::start(url, &settings).await;
    let mut client = Client::new(&server.address);
    let victim = create_key(url, "victim", "live", "admin").await;
    let mut known = furnish(&mut client, &victim).await;
    assert!(known.len() >= 6, "{known:?}");
    let mut roles =
        vec![String::new(), "junk".to_owned(), "mw_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()];
    for mode in ["live", "test"] {
        for scopes in ["admin", "send", "messages:read", "", "webhooks,templates,suppressions,keys,domains"] {
            roles.push(create_key(url, "hostile", mode, scopes).await);
        }
    }
    // Operators act for any project: of them it is asked only that nothing breaks.
    let operator = create_operator_key(url).await;
    known.insert("prj".to_owned(), "prj_00000000000000000000000000000000".to_owned());
    let ids: Vec<_> = known.values().cloned().collect();
    let chance = Chance(SeededRng::new(20_261_128));
    let operations: Vec<Operation<'_>> = CONTRACT.operations().collect();
    let (mut asked, mut by_status, mut warm) = (0, HashMap::<u16, usize>::new(), 0);
    while asked < count {
        let operation = chance.one(&operations);
        let is_operator = chance.below(40) == 0;
        let role = if is_operator { &operator } else { chance.one(&roles) };
        let mut path = CONTRACT.path_with(operation, |prefix| match chance.below(3) {
            0 => encoded(chance.text()),
            _ => known.get(prefix).cloned().unwrap_or_else(|| format!("{prefix}_{:032x}", chance.below(usize::MAX))),
        });
        let shared = &CONTRACT.document()["paths"][operation.path]["parameters"];
        let parameters =
            [shared, &operation.description["parameters"]].into_iter().filter_map(Value::as_array).flatten();
        let mut query = Vec::new();
        for parameter in parameters {
            let name = parameter["name"].as_str().or_else(|| parameter["$ref"].as_str()?.rsplit('/').next());
            if let Some(name) = name.filter(|_| chance.below(3) == 0) {
                query.push(format!("{}={}", encoded(&name.to_lowercase()), encoded(chance.text())));
            }
        }
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let (media, body) = CONTRACT.example_body(operation);
        let body = match serde_json::from_slice::<Value>(&body) {
            Ok(example) if chance.below(20) > 0 => chance.spoiled(example, &ids).to_string().into_bytes(),
            _ => body.into_iter().map(|byte| if chance.below(30) == 0 { 0xff } else { byte }).collect(),
        };
        let headers = [
            ("authorization", &*format!("Bearer {role}")),
            ("content-type", &*media),
            ("idempotency-key", *chance.one(&["a", "b", "c", "~", "ü"])),
        ];
        let method = operation.method.to_uppercase();
        let answer = match within("an answer", client.ask(&method, &path, &headers, body.clone())).await {
            Ok(answer) => answer,
            // What cannot be written as a request is none, and a connection may end between two of them: the server and an answer may not.
            Err(fault) => {
                assert!(server.child.try_wait().unwrap().is_none() && !fault.contains("body"), "{fault}: {path}");
                continue;
            }
        };
        let status = answer.status;
        asked += 1;
        *by_status.entry(status).or_default() += 1;
        let told = String::from_utf8_lossy(&answer.bytes);
        let what = || format!("{method} {path}\n{}\n{status}: {told}", String::from_utf8_lossy(&body));
        assert!(status < 500, "{}", what());
        // The description of the API has no canary, and what somebody said themselves is theirs.
        let said = format!("{path} {} {CANARY}", String::from_utf8_lossy(&body)).matches(CANARY).count() > 1;
        assert!(is_operator || said || !told.contains(CANARY), "{}", what());
        if asked == count / 4 {
            warm = resident(server.child.id().unwrap()) >> 10;
        }
    }
    let end = resident(server.child.id().unwrap()) >> 10;
    let figure = format!(
        "{asked} hostile requests: {by_status:?}; memory {warm} MiB after a quarter of them, {end} MiB at the end\n"
    );
    std::fs::write(std::env::temp_dir().join("mailwright-hostile-requests"), &figure).unwrap();
    assert!(end <= warm + 64, "{figure}");
    assert!(by_status.keys().any(|status| *status < 300) && by_status.len() > 6, "{figure}");
    // What the victim has is as it was.
    let headers = [("authorization", &*format!("Bearer {victim}"))];
    let answer = client.ask("GET", &format!("/v1/messages/{}", known["msg"]), &headers, Vec::new()).await.unwrap();
    assert!(answer.status == 200 && String::from_utf8_lossy(&answer.bytes).contains(CANARY));
    server.kill().await;
}
