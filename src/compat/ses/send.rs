//! `POST /v2/email/outbound-emails`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Error;
use super::signature::Signed;
use crate::compat::draft::Draft;
use crate::compat::ids::uuid_of;
use crate::compat::inner::{Inner, pass_on};
use crate::compat::raw::Whole;
use crate::compat::service::{ok, text};
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::named_tag::CONFIGURATION_SET;
use crate::request::fields::Fields;
use crate::request::json::{JsonError, object};

/// Fields of a file, there and here.
const FILE: [(&str, &str); 4] =
    [("FileName", "filename"), ("RawContent", "content"), ("ContentType", "content_type"), ("ContentId", "content_id")];

/// Sends one email.
pub async fn send(State(inner): State<Arc<Inner>>, signed: Signed) -> Result<Response, Error> {
    let Signed { caller, value, sent, key, .. } = signed;
    let draft = email(&inner, value)?;
    let taken = draft.send(&inner, &caller, sent, key).await?;
    let mut response = ok(&json!({"MessageId": uuid_of(text(&taken.json(), "id"))}));
    pass_on(&taken.headers, &mut response);
    Ok(response)
}

fn email(inner: &Inner, value: Value) -> Result<Draft, Vec<Fault>> {
    let (mut draft, mut faults) = (Draft::default(), Vec::new());
    let mut fields = Fields::of(value, "", &mut faults);
    common(&mut fields, &mut draft);
    destination(&mut fields, &mut draft, "Destination");
    draft.pairs("metadata", &mut fields, ("EmailTags", "EmailTags"), ("Name", "Value"));
    lists(&mut fields, &mut draft);
    let content = fields.object("Content").unwrap_or_default();
    let kinds =
        ["Simple", "Raw", "Template"].into_iter().filter(|kind| content.get(*kind).is_some_and(|it| !it.is_null()));
    if kinds.count() == 1 {
        let mut of = Fields::new(content, "/Content", fields.faults);
        if let Some(value) = of.take("Simple") {
            simple(value, &mut draft, of.faults);
        } else if let Some(value) = of.take("Template") {
            template(value, "/Content/Template", &mut draft, of.faults);
        } else if let Some(value) = of.take("Raw") {
            raw(inner, value, &mut draft, of.faults);
        }
        of.finish();
    } else {
        fields.fault("Content", FaultCode::Required, "must have one of Simple, Raw and Template");
    }
    if !draft.map.contains_key("from") {
        fields.fault("FromEmailAddress", FaultCode::Required, "must be given");
    }
    fields.finish();
    if faults.is_empty() { Ok(draft) } else { Err(faults) }
}

/// What email and bulk email have.
pub(super) fn common(fields: &mut Fields<'_>, draft: &mut Draft) {
    draft.put_some("from", fields.take("FromEmailAddress"), "FromEmailAddress");
    draft.put_some("reply_to", fields.list("ReplyToAddresses"), "ReplyToAddresses");
    if let Some(name) = fields.string("ConfigurationSetName") {
        draft.push("tags", format!("{CONFIGURATION_SET}{name}"), "ConfigurationSetName");
    }
    if let Some(map) = fields.object("ConfigurationOverrides") {
        let mut overrides = Fields::new(map, "/ConfigurationOverrides", fields.faults);
        if let Some(map) = overrides.object("Tracking") {
            let mut tracking = Fields::new(map, "/ConfigurationOverrides/Tracking", overrides.faults);
            for (theirs, ours) in [("OpenTrackingEnabled", "opens"), ("ClickTrackingEnabled", "clicks")] {
                let Some(word) = tracking.string(theirs) else { continue };
                let place = format!("ConfigurationOverrides.Tracking.{theirs}");
                match word.as_str() {
                    "ENABLED" | "DISABLED" => {
                        draft.places.put("/tracking", place.clone());
                        draft.set("tracking", ours, word == "ENABLED", place);
                    }
                    _ => tracking.fault(theirs, FaultCode::InvalidParameter, "must be ENABLED or DISABLED"),
                }
            }
            tracking.finish();
        }
        overrides.finish();
    }
    for (name, why) in [
        ("FeedbackForwardingEmailAddress", "bounces are read here, and told by events"),
        ("FeedbackForwardingEmailAddressIdentityArn", "bounces are read here, and told by events"),
        ("FromEmailAddressIdentityArn", "what a key may send as is the key's"),
        ("EndpointId", "there is one address"),
        ("TenantName", "a project has keys of its own"),
    ] {
        if fields.take(name).is_some() {
            fields.fault(name, FaultCode::Conflict, format!("cannot be given: {why}"));
        }
    }
}

/// Who is to get it; `name` is its place.
pub(super) fn destination(fields: &mut Fields<'_>, draft: &mut Draft, name: &'static str) {
    let map = fields.object(name);
    draft.places.put("/to", format!("{name}.ToAddresses"));
    let Some(map) = map else { return };
    let mut destination = Fields::new(map, fields.pointer(name), fields.faults);
    for (theirs, ours) in [("ToAddresses", "to"), ("CcAddresses", "cc"), ("BccAddresses", "bcc")] {
        if let Some(list) = destination.list(theirs).filter(|list| !list.is_empty()) {
            draft.put(ours, list, format!("{name}.{theirs}"));
        }
    }
    destination.finish();
}

fn lists(fields: &mut Fields<'_>, draft: &mut Draft) {
    let Some(map) = fields.object("ListManagementOptions") else { return };
    let mut options = Fields::new(map, "/ListManagementOptions", fields.faults);
    let (list, topic) = (options.required("ContactListName"), options.string("TopicName"));
    options.finish();
    let Some(list) = list else { return };
    let stream = topic.map_or(list.clone(), |topic| format!("{list}.{topic}"));
    draft.set("unsubscribe", "stream", stream, "ListManagementOptions.ContactListName");
    draft.places.put("/unsubscribe", "ListManagementOptions");
}

fn simple(value: Value, draft: &mut Draft, faults: &mut Vec<Fault>) {
    let at = "/Content/Simple";
    let mut simple = Fields::of(value, at, faults);
    let subject = simple.take("Subject");
    if subject.is_none() {
        simple.fault("Subject", FaultCode::Required, "must be given");
    }
    if let Some(subject) = subject.and_then(|value| words(value, format!("{at}/Subject"), simple.faults)) {
        draft.put("subject", subject, "Content.Simple.Subject.Data");
    }
    let body = simple.object("Body").unwrap_or_default();
    let mut body = Fields::new(body, format!("{at}/Body"), simple.faults);
    for (theirs, ours) in [("Text", "text"), ("Html", "html")] {
        let Some(part) = body.take(theirs) else { continue };
        if let Some(part) = words(part, format!("{at}/Body/{theirs}"), body.faults) {
            draft.put(ours, part, format!("Content.Simple.Body.{theirs}.Data"));
        }
    }
    if !["text", "html"].iter().any(|name| draft.map.contains_key(*name)) && body.faults.is_empty() {
        body.fault("Text", FaultCode::Required, "must be given, or Html");
    }
    body.finish();
    extras(&mut simple, "Content.Simple", draft);
    simple.finish();
}

/// `{Data, Charset}`.
fn words(value: Value, at: String, faults: &mut Vec<Fault>) -> Option<String> {
    let mut fields = Fields::of(value, at, faults);
    let (data, charset) = (fields.required("Data"), fields.string("Charset"));
    let is_known =
        charset.is_none_or(|name| ["utf-8", "utf8", "us-ascii", "ascii"].contains(&&*name.to_ascii_lowercase()));
    if !is_known {
        fields.fault("Charset", FaultCode::Conflict, "must be UTF-8 or US-ASCII: mail is written in UTF-8");
    }
    fields.finish();
    data
}

/// What simple email and email by a template have: header fields and files, in the object at `place`.
fn extras(fields: &mut Fields<'_>, place: &str, draft: &mut Draft) {
    draft.pairs("headers", fields, ("Headers", &format!("{place}.Headers")), ("Name", "Value"));
    draft.files(fields, ("Attachments", &format!("{place}.Attachments")), &FILE, |file, mapped| {
        if let Some(disposition) = file.string("ContentDisposition") {
            mapped.insert("disposition".to_owned(), disposition.to_ascii_lowercase().into());
        }
        // How it is encoded on its way is decided when it is written.
        file.take("ContentTransferEncoding");
        if file.take("ContentDescription").is_some() {
            file.fault(
                "ContentDescription",
                FaultCode::Conflict,
                "files have a name, and nothing else is written of them",
            );
        }
    });
}

/// A template and what it is filled with; `at` is its pointer.
pub(super) fn template(value: Value, at: &str, draft: &mut Draft, faults: &mut Vec<Fault>) {
    let place = at[1..].replace('/', ".");
    let mut fields = Fields::of(value, at, faults);
    for (name, why) in [("TemplateArn", "name it: TemplateName"), ("TemplateContent", "publish it by /v1/templates")] {
        if fields.take(name).is_some() {
            fields.fault(name, FaultCode::Conflict, format!("cannot be given: {why}"));
        }
    }
    let data = data(&mut fields, "TemplateData");
    match fields.string("TemplateName") {
        Some(name) => {
            draft.template(name, &format!("{place}.TemplateName"));
            draft.places.put("/template/variables", format!("{place}.TemplateData"));
            if let Some(data) = data {
                draft.set("template", "variables", data, format!("{place}.TemplateData"));
            }
        }
        None if fields.faults.is_empty() => fields.fault("TemplateName", FaultCode::Required, "must be given"),
        None => {}
    }
    extras(&mut fields, &place, draft);
    fields.finish();
}

/// A JSON object in a text.
pub(super) fn data(fields: &mut Fields<'_>, name: &'static str) -> Option<Map<String, Value>> {
    let text = fields.string(name)?;
    match object(text.as_bytes()) {
        Ok(object) => Some(object),
        Err(error) => {
            let why = match error {
                JsonError::Malformed(why) => why,
                JsonError::Faults(faults) => faults.first().map(|fault| fault.detail.clone()).unwrap_or_default(),
            };
            fields.fault(name, FaultCode::WrongType, format!("must be a JSON object in a text: {why}"));
            None
        }
    }
}

/// A message that comes whole: what is not said beside it, it says itself.
fn raw(inner: &Inner, value: Value, draft: &mut Draft, faults: &mut Vec<Fault>) {
    let mut fields = Fields::of(value, "/Content/Raw", faults);
    let data = fields.required("Data");
    if let Some(data) = data {
        match STANDARD.decode(data.trim()) {
            Err(_) => fields.fault("Data", FaultCode::InvalidBase64, "must be base64"),
            Ok(bytes) => match Whole::read(&bytes, inner) {
                Err(flaw) => {
                    fields.sound::<()>("Data", Err(flaw));
                }
                Ok(whole) => {
                    if !draft.map.contains_key("from") {
                        draft.put_some("from", whole.from, "Content.Raw.Data");
                    }
                    let is_addressed = ["to", "cc", "bcc"].iter().any(|kind| draft.map.contains_key(*kind));
                    let lists = [("to", whole.to), ("cc", whole.cc), ("bcc", whole.bcc)];
                    for (kind, list) in lists.into_iter().filter(|(_, list)| !is_addressed && !list.is_empty()) {
                        draft.put(kind, list, "Content.Raw.Data");
                    }
                    draft.put("raw", whole.raw, "Content.Raw.Data");
                }
            },
        }
    }
    fields.finish();
}
