//! What the service says, held against `openapi.yaml`: answers by their route and status, webhooks by their payload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value;

use super::http::Answer;
use super::schema::Schemas;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Where the paths of dialects begin.
const THEIRS: [&str; 12] = [
    "/compat/",
    "/emails",
    "/suppressions",
    "/email",
    "/messages/outbound",
    "/message-streams",
    "/v3/",
    "/v2/email/",
    "/api/mail/",
    "/index/api/",
    "/apiv2/",
    "/bounces",
];

/// The description, read once.
pub static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let document = serde_saphyr::from_str(include_str!("../../../openapi.yaml")).unwrap();
    Contract { schemas: Schemas { document } }
});

/// `openapi.yaml`.
pub struct Contract {
    schemas: Schemas,
}

/// An operation of the description.
pub struct Operation<'c> {
    pub method: &'c str,
    pub path: &'c str,
    pub description: &'c Value,
}

impl Operation<'_> {
    pub fn id(&self) -> &str {
        self.description["operationId"].as_str().unwrap()
    }

    /// Whether it asks for a credential.
    pub fn is_guarded(&self) -> bool {
        self.description["security"].as_array().is_none_or(|security| !security.is_empty())
    }

    fn takes(&self, method: &str, path: &str) -> bool {
        let path = path.split('?').next().unwrap();
        let mut segments = self.path.split('/').zip(path.split('/'));
        self.method.eq_ignore_ascii_case(method)
            && self.path.split('/').count() == path.split('/').count()
            && segments.all(|(described, given)| described.starts_with('{') || described == given)
    }
}

impl Contract {
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.schemas.document["paths"].as_object().unwrap();
        paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            let methods = methods.filter(|(method, _)| METHODS.contains(&method.as_str()));
            methods.map(move |(method, description)| Operation { method, path, description })
        })
    }

    /// The path of an operation with values for its parameters: `id` makes an id of a prefix, and what is no id has its example.
    pub fn path_with(&self, operation: &Operation<'_>, mut id: impl FnMut(&str) -> String) -> String {
        let shared = &self.document()["paths"][operation.path]["parameters"];
        let all = [shared, &operation.description["parameters"]].into_iter().filter_map(Value::as_array).flatten();
        let in_path =
            all.map(|parameter| self.schemas.resolve(parameter)).filter(|parameter| parameter["in"] == "path");
        in_path.fold(operation.path.to_owned(), |path, parameter| {
            let schema = self.schemas.resolve(&parameter["schema"]);
            let prefix = schema["pattern"]
                .as_str()
                .and_then(|pattern| pattern.split('|').next()?.strip_prefix('^')?.strip_suffix("_[0-9a-f]{32}$"));
            let example = [&parameter["example"], &schema["example"], &schema["examples"][0]];
            let example = example.into_iter().find(|example| !example.is_null());
            let value = match (prefix, example) {
                (Some(prefix), _) => id(prefix),
                (None, Some(Value::String(text))) => text.clone(),
                (None, Some(other)) => other.to_string(),
                (None, None) => {
                    panic!("{}: give its parameter {} an example in openapi.yaml", operation.id(), parameter["name"])
                }
            };
            path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &value)
        })
    }

    /// A request's media type and body, the first example of the description; none where there is no body.
    pub fn example_body(&self, operation: &Operation<'_>) -> (String, Vec<u8>) {
        let body = self.schemas.resolve(&operation.description["requestBody"]);
        let Some((media, content)) = body["content"].as_object().and_then(|content| content.iter().next()) else {
            return ("application/json".to_owned(), Vec::new());
        };
        let named = content["examples"].as_object().and_then(|examples| examples.values().next());
        let example = named.map_or(&content["example"], |example| &example["value"]);
        let bytes = match example {
            Value::Null => panic!("{}: give its body an example in openapi.yaml", operation.id()),
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        (media.clone(), bytes)
    }

    /// The schema of that name.
    pub fn schema(&self, name: &str) -> &Value {
        let schema = self.schemas.document.pointer(&format!("/components/schemas/{name}"));
        schema.unwrap_or_else(|| panic!("openapi.yaml has no schema {name}"))
    }

    /// The names in the `enum` of a schema.
    pub fn names(&self, schema: &str) -> BTreeSet<String> {
        let names = self.schema(schema)["enum"].as_array().unwrap_or_else(|| panic!("{schema} is no enum"));
        names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    pub fn document(&self) -> &Value {
        &self.schemas.document
    }

    /// Fails when the description does not allow that answer. Gives the operation that was held to, if there is one.
    pub fn check_answer(&self, method: &str, path: &str, answer: &Answer) -> Option<String> {
        let essence = answer.header("content-type").split(';').next().unwrap().trim().to_owned();
        let is_json = ["application/json", "application/problem+json"].contains(&&*essence);
        let operation = self.operations().find(|operation| operation.takes(method, path));
        let Some(operation) = operation else {
            // Dialects have words of their services.
            let is_theirs = THEIRS.iter().any(|start| path.starts_with(start)) || path == "/";
            if is_json && !is_theirs {
                self.check(self.schema("Problem"), &answer.json(), &format!("{method} {path}"));
            }
            return None;
        };
        let what = format!("{method} {path}, {} {essence}", answer.status);
        let responses = &operation.description["responses"];
        let status = answer.status.to_string();
        let response = responses.get(&status).or_else(|| responses.get(format!("{}XX", &status[..1])));
        let response = response.unwrap_or_else(|| panic!("{what}: openapi.yaml does not describe that status"));
        match self.schemas.resolve(response).get("content") {
            None => assert!(answer.bytes.is_empty(), "{what}: openapi.yaml describes no body"),
            // What answers a head that cannot be read has no body.
            Some(_) if answer.status >= 400 && answer.bytes.is_empty() => {}
            Some(content) => {
                let body = content.get(&essence);
                let body = body.unwrap_or_else(|| panic!("{what}: openapi.yaml does not describe that media type"));
                if is_json {
                    self.check(&body["schema"], &answer.json(), &what);
                }
            }
        }
        Some(operation.id().to_owned())
    }

    /// Fails when that is no webhook's body.
    pub fn check_webhook(&self, body: &Value) {
        self.check(self.schema("WebhookPayload"), body, "a webhook");
    }

    fn check(&self, schema: &Value, value: &Value, what: &str) {
        let faults = self.schemas.faults(schema, value);
        assert!(faults.is_empty(), "{what} is not as openapi.yaml says: {faults:#?}\n{value:#}");
    }

    /// The faults of every example in the description, by its place.
    pub fn faulty_examples(&self) -> BTreeMap<String, Vec<String>> {
        let mut faulty = BTreeMap::new();
        self.examples(self.document(), "#", &mut faulty);
        faulty
    }

    fn examples(&self, value: &Value, at: &str, faulty: &mut BTreeMap<String, Vec<String>>) {
        let schema = value.get("schema").unwrap_or(value);
        let single = value.get("example").into_iter();
        let named = value.get("examples").and_then(Value::as_object).into_iter().flatten();
        let listed = value.get("examples").and_then(Value::as_array).into_iter().flatten();
        for example in single.chain(named.map(|(_, example)| &example["value"])).chain(listed) {
            let faults = self.schemas.faults(schema, example);
            if !faults.is_empty() {
                faulty.entry(at.to_owned()).or_default().extend(faults);
            }
        }
        match value {
            Value::Object(map) => map
                .iter()
                .filter(|(name, _)| !name.starts_with("example"))
                .for_each(|(name, inner)| self.examples(inner, &format!("{at}/{name}"), faulty)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(index, inner)| self.examples(inner, &format!("{at}/{index}"), faulty)),
            _ => {}
        }
    }
}
