//! Bodies that are forms (`application/x-www-form-urlencoded`, `multipart/form-data`, RFC 7578): names with texts and files.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::inner::{Inner, Refusal, Sent};
use crate::api::Problem;
use crate::api::body::UnreadBody;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::hint::did_you_mean;
use crate::request::json::{JsonError, object};
use crate::submit::RequestKey;

/// Fields of a form at most: more are no message.
const FIELDS_MAX: usize = 10_000;

/// What stands at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(String),
    File { name: Option<String>, media: Option<String>, bytes: Bytes },
}

impl Part {
    /// The octets of a file, or of a text.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::File { bytes, .. } => bytes.to_vec(),
        }
    }

    /// A file in the words of a send request.
    pub fn attachment(self) -> Map<String, Value> {
        let mut mapped = Map::new();
        let (name, media, bytes) = match self {
            Self::Text(text) => (None, None, Bytes::from(text)),
            Self::File { name, media, bytes } => (name, media, bytes),
        };
        mapped.insert("filename".to_owned(), name.unwrap_or_else(|| "attachment".to_owned()).into());
        // What says nothing of a file is as good as nothing: its name says more.
        let media = media.filter(|media| media != "application/octet-stream");
        mapped.extend(media.map(|media| ("content_type".to_owned(), media.into())));
        mapped.insert("content".to_owned(), STANDARD.encode(bytes).into());
        mapped
    }
}

/// A form that is being read, and the faults that were found so far.
#[derive(Debug, Default)]
pub struct Form {
    parts: BTreeMap<String, Vec<Part>>,
    asked: Vec<&'static str>,
    pub faults: Vec<Fault>,
}

impl Form {
    pub fn new(given: Vec<(String, Part)>) -> Self {
        let mut parts = BTreeMap::<_, Vec<_>>::new();
        for (name, part) in given {
            parts.entry(name).or_default().push(part);
        }
        Self { parts, ..Self::default() }
    }

    /// The names that are left.
    pub fn names(&self) -> Vec<String> {
        self.parts.keys().cloned().collect()
    }

    pub fn fault(&mut self, name: &str, code: FaultCode, detail: impl Into<String>) {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        self.faults.push(Fault::new(pointer, code, detail));
    }

    /// All that stands at that name. An empty text was not given.
    pub fn parts(&mut self, name: &str) -> Vec<Part> {
        let mut found = self.parts.remove(name).unwrap_or_default();
        found.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        found
    }

    /// The texts at a name whose spelling is the caller's own.
    pub fn entries(&mut self, name: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for part in self.parts(name) {
            match part {
                Part::Text(text) => texts.push(text),
                Part::File { .. } => self.fault(name, FaultCode::WrongType, "must be a text, and not a file"),
            }
        }
        texts
    }

    pub fn texts(&mut self, name: &'static str) -> Vec<String> {
        self.asked.push(name);
        self.entries(name)
    }

    /// The text at a name of which there is one.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.asked.push(name);
        self.entry(name)
    }

    pub fn entry(&mut self, name: &str) -> Option<String> {
        let mut texts = self.entries(name);
        if texts.len() > 1 {
            self.fault(name, FaultCode::DuplicateField, "must be given once");
        }
        texts.pop()
    }

    /// `yes`, `no`, `true` and `false`, `1` and `0`, in letters of either case.
    pub fn switch(&mut self, name: &'static str) -> Option<bool> {
        let text = self.text(name)?;
        match text.to_ascii_lowercase().as_str() {
            "yes" | "true" | "1" => Some(true),
            "no" | "false" | "0" => Some(false),
            _ => {
                self.fault(name, FaultCode::InvalidParameter, "must be yes or no");
                None
            }
        }
    }

    /// A JSON object in a text.
    pub fn object(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        let text = self.text(name)?;
        self.object_of(name, &text)
    }

    pub fn object_of(&mut self, name: &str, text: &str) -> Option<Map<String, Value>> {
        match object(text.as_bytes()) {
            Ok(object) => Some(object),
            Err(JsonError::Malformed(why)) => {
                self.fault(name, FaultCode::WrongType, format!("must be a JSON object: {why}"));
                None
            }
            Err(JsonError::Faults(faults)) => {
                for fault in faults {
                    self.fault(name, fault.code, format!("{}: {}", fault.pointer, fault.detail));
                }
                None
            }
        }
    }

    /// Refuses what is not there, unless it is not wanted; `why` says what is instead.
    pub fn refuse(&mut self, name: &'static str, why: &str) {
        self.asked.push(name);
        let is_wanted =
            |part: &Part| !matches!(part, Part::Text(text) if ["no", "false"].contains(&&*text.to_ascii_lowercase()));
        if self.parts(name).iter().any(is_wanted) {
            self.fault(name, FaultCode::Conflict, why);
        }
    }

    /// The faults: what nobody took is one.
    pub fn finish(mut self) -> Result<(), Vec<Fault>> {
        for name in self.names() {
            if !self.parts(&name).is_empty() {
                let hint = did_you_mean(&name, self.asked.iter().copied());
                self.fault(&name, FaultCode::UnknownField, format!("there is no such parameter{hint}"));
            }
        }
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults) }
    }
}

impl Inner {
    /// Reads a form of either kind.
    pub async fn form(&self, body: UnreadBody) -> Result<(Form, Sent), Refusal> {
        let content_type = body.header(&CONTENT_TYPE).unwrap_or_default().to_owned();
        let (bytes, grant) = body.bytes(&self.api, self.api.http.body_limit.0).await?;
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let parts = match essence.as_str() {
            "application/x-www-form-urlencoded" => urlencoded(&bytes)?,
            "multipart/form-data" => multipart(&content_type, bytes.into()).await?,
            _ => {
                let detail = format!("Content-Type is '{essence}'; it must be a form");
                return Err(Problem::unsupported_media_type(detail).into());
            }
        };
        let said = said(&parts);
        Ok((Form::new(parts), Sent::new(RequestKey::fingerprint_of(&said), grant)))
    }
}

/// Who sends: another key does not make another request.
const CREDENTIALS: [&str; 2] = ["apiKey", "app_key"];

/// What a form says. What its parts are told by (its boundary) is no part of it.
fn said(parts: &[(String, Part)]) -> Vec<u8> {
    let mut said = Vec::new();
    for (name, part) in parts.iter().filter(|(name, _)| !CREDENTIALS.contains(&name.as_str())) {
        let (kind, filename, media, bytes) = match part {
            Part::Text(text) => (0, "", "", text.as_bytes()),
            Part::File { name, media, bytes } => {
                (1, name.as_deref().unwrap_or_default(), media.as_deref().unwrap_or_default(), &bytes[..])
            }
        };
        said.push(kind);
        for text in [name, filename, media] {
            said.extend_from_slice(text.as_bytes());
            said.push(0);
        }
        said.extend_from_slice(&RequestKey::fingerprint_of(bytes));
    }
    said
}

/// Pairs with `&` between.
pub fn urlencoded(bytes: &[u8]) -> Result<Vec<(String, Part)>, Refusal> {
    let mut parts = Vec::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        if parts.len() == FIELDS_MAX {
            return Err(too_many());
        }
        parts.push((name.into_owned(), Part::Text(value.into_owned())));
    }
    Ok(parts)
}

async fn multipart(content_type: &str, bytes: Bytes) -> Result<Vec<(String, Part)>, Refusal> {
    let malformed =
        |error: multer::Error| Refusal::from(Problem::malformed(format!("the form cannot be read: {error}")));
    let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
    let stream = futures_util::stream::once(async move { Ok::<_, Infallible>(bytes) });
    let mut form = multer::Multipart::new(stream, boundary);
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        if parts.len() == FIELDS_MAX {
            return Err(too_many());
        }
        let name = field.name().unwrap_or_default().to_owned();
        let filename = field.file_name().map(str::to_owned);
        let media = field.content_type().map(ToString::to_string);
        let bytes = field.bytes().await.map_err(malformed)?;
        let is_text = media.as_ref().is_none_or(|media| media.starts_with("text/plain")) && filename.is_none();
        let part = match std::str::from_utf8(&bytes) {
            Ok(text) if is_text => Part::Text(text.to_owned()),
            _ => Part::File { name: filename, media, bytes },
        };
        parts.push((name, part));
    }
    Ok(parts)
}

fn too_many() -> Refusal {
    Problem::malformed(format!("the form has more than {FIELDS_MAX} fields")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn forms_of_either_kind_are_read() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\na@b.c\r\n--b\r\nContent-Disposition: form-data; \
            name=\"attachment\"; filename=\"Grüße.txt\"\r\n\r\nhello\r\n--b\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\nd@e.f\r\n--b--\r\n";
        let parts = multipart("multipart/form-data; boundary=b", body.into()).await.unwrap();
        let mut form = Form::new(parts);
        assert_eq!(form.texts("to"), ["a@b.c", "d@e.f"]);
        let file = form.parts("attachment").remove(0).attachment();
        assert_eq!((&file["filename"], &file["content"]), (&"Grüße.txt".into(), &"aGVsbG8=".into()));
        assert_eq!(form.finish(), Ok(()));
        let mut form = Form::new(urlencoded(b"a=1&a=2&b=&c=%7B&d=maybe&e=x").unwrap());
        assert_eq!(
            (form.text("a"), form.text("b"), form.object("c"), form.switch("d")),
            (Some("2".to_owned()), None, None, None)
        );
        let faults = form.finish().unwrap_err();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a", "/c", "/d", "/e"]);
        for (content_type, body) in [
            ("multipart/form-data", "x"),
            ("multipart/form-data; boundary=b", "--b\r\nnothing"),
            ("multipart/form-data; boundary=b", ""),
        ] {
            assert_eq!(
                multipart(content_type, body.into()).await.unwrap_err().kind,
                "malformed",
                "{content_type} {body}"
            );
        }
    }
}
