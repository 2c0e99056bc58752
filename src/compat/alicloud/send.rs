//! `SingleSendMail`

use serde_json::{Value, json};

use super::{Asked, Refused};
use crate::compat::draft::{Draft, Item, bounded, send_many};
use crate::compat::form::Form;
use crate::compat::ids::uuid_of;
use crate::compat::inner::{Inner, Refusal};
use crate::compat::mail::mailboxes;
use crate::compat::service::text;
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::Fields;

const RECIPIENTS_MAX: usize = 100;
/// The stream that a link leads out of.
const STREAM: &str = "alicloud";

/// Sends an email to each recipient, who sees no other: all or none.
pub async fn send(inner: &Inner, asked: Asked) -> Result<Value, Refused> {
    let Asked { caller, mut form, sent, key, .. } = asked;
    let (draft, recipients) = email(&mut form);
    let faulty = |faults: Vec<Fault>| Refused::from(Refusal::faulty(faults));
    form.finish().map_err(faulty)?;
    bounded(inner, &draft, recipients.len(), "ToAddress").map_err(faulty)?;
    let of_one = |recipient: &String| {
        let mut one = draft.clone();
        one.put("to", vec![recipient.clone()], "ToAddress");
        one
    };
    let id = if let [recipient] = &recipients[..] {
        let taken = of_one(recipient).send(inner, &caller, sent, key).await?;
        text(&taken.json(), "id").to_owned()
    } else {
        let items = recipients.iter().map(|to| Item { name: String::new(), read: Ok(of_one(to)) }).collect();
        let taken = send_many((inner, &caller), items, true, sent, key).await?;
        let first = taken.each.iter().find_map(|each| each.as_ref().ok());
        first.map(|first| text(first, "id").to_owned()).unwrap_or_default()
    };
    Ok(json!({"EnvId": uuid_of(&id)}))
}

/// An email in the words of a send request, but for its recipients.
fn email(form: &mut Form) -> (Draft, Vec<String>) {
    let mut draft = Draft::default();
    let alias = form.text("FromAlias");
    match form.text("AccountName") {
        Some(account) => {
            draft.places.put("/from/name", "FromAlias");
            draft.put("from", json!({"email": account, "name": alias}), "AccountName");
        }
        None => form.fault("AccountName", FaultCode::Required, "must be given"),
    }
    let recipients = form.text("ToAddress").map(|text| mailboxes(&text, ',')).unwrap_or_default();
    if recipients.is_empty() {
        form.fault("ToAddress", FaultCode::Required, "must be given");
    } else if recipients.len() > RECIPIENTS_MAX {
        let detail = format!("has {} addresses; the limit is {RECIPIENTS_MAX}", recipients.len());
        form.fault("ToAddress", FaultCode::TooManyRecipients, detail);
    }
    match form.text("AddressType").as_deref() {
        None => form.fault("AddressType", FaultCode::Required, "must be given: 0 or 1"),
        Some("0" | "1") => {}
        Some(_) => form.fault("AddressType", FaultCode::InvalidParameter, "must be 0 or 1"),
    }
    reply_to(form, &mut draft);
    draft.put_some("subject", form.text("Subject"), "Subject");
    let is_templated = template(form, &mut draft);
    draft.put_some("text", form.text("TextBody"), "TextBody");
    draft.put_some("html", form.text("HtmlBody"), "HtmlBody");
    if !is_templated {
        if !draft.map.contains_key("subject") {
            form.fault("Subject", FaultCode::Required, "must be given");
        }
        if !["text", "html"].iter().any(|name| draft.map.contains_key(*name)) {
            form.fault("TextBody", FaultCode::Required, "must be given, or HtmlBody");
        }
    }
    if let Some(tag) = form.text("TagName") {
        draft.push("tags", tag, "TagName");
    }
    for (name, value) in form.object("Headers").unwrap_or_default() {
        draft.set("headers", &name, value, "Headers");
    }
    draft.put_some("ip_pool", form.text("IpPoolId"), "IpPoolId");
    match form.text("ClickTrace").as_deref() {
        None | Some("0") => {}
        Some("1") => {
            draft.places.put("/tracking", "ClickTrace");
            draft.set("tracking", "clicks", true, "ClickTrace");
        }
        Some(_) => form.fault("ClickTrace", FaultCode::InvalidParameter, "must be 0 or 1"),
    }
    unsubscribe(form, &mut draft);
    form.refuse("BccAddress", "each recipient gets a message of its own: name it in ToAddress");
    if form.switch("DomainAuth") == Some(true) {
        form.fault("DomainAuth", FaultCode::Conflict, "must be false: a key may send as any address of its domains");
    }
    for name in form.names() {
        if name.starts_with("Attachments") && !form.entries(&name).is_empty() {
            form.fault(&name, FaultCode::Conflict, "nothing is fetched from elsewhere: POST /v1/send takes files");
        }
    }
    (draft, recipients)
}

fn reply_to(form: &mut Form, draft: &mut Draft) {
    let (address, alias) = (form.text("ReplyAddress"), form.text("ReplyAddressAlias"));
    if form.switch("ReplyToAddress").is_none() && form.faults.iter().all(|fault| fault.pointer != "/ReplyToAddress") {
        form.fault("ReplyToAddress", FaultCode::Required, "must be given: true or false");
    }
    match (address, alias) {
        (Some(address), alias) => {
            draft.put("reply_to", json!([{"email": address, "name": alias}]), "ReplyAddress");
            draft.places.put("/reply_to/0/name", "ReplyAddressAlias");
        }
        (None, Some(_)) => form.fault("ReplyAddressAlias", FaultCode::Conflict, "needs ReplyAddress"),
        (None, None) => {}
    }
}

/// `{TemplateId, TemplateData}` as JSON in a text; whether there is one.
fn template(form: &mut Form, draft: &mut Draft) -> bool {
    let Some(map) = form.object("Template") else {
        return form.faults.iter().any(|fault| fault.pointer == "/Template");
    };
    let mut fields = Fields::new(map, "/Template", &mut form.faults);
    let (id, data) = (fields.required("TemplateId"), fields.take("TemplateData"));
    fields.finish();
    if let Some(id) = id {
        draft.template(id, "Template.TemplateId");
        draft.places.put("/template/variables", "Template.TemplateData");
    }
    // A map, or a map in a text.
    let data = match data {
        Some(Value::String(text)) => form.object_of("Template", &text).map(Value::Object),
        other => other,
    };
    if let Some(data) = data {
        draft.set("template", "variables", data, "Template.TemplateData");
    }
    true
}

fn unsubscribe(form: &mut Form, draft: &mut Draft) {
    let has_link = match form.text("UnSubscribeLinkType").as_deref() {
        None | Some("disabled") => false,
        Some("default" | "zh-cn" | "en-us") => {
            draft.set("unsubscribe", "stream", STREAM, "UnSubscribeLinkType");
            draft.places.put("/unsubscribe", "UnSubscribeLinkType");
            true
        }
        Some(_) => {
            form.fault("UnSubscribeLinkType", FaultCode::InvalidParameter, "must be disabled, default, zh-cn or en-us");
            false
        }
    };
    match form.text("UnSubscribeFilterLevel").as_deref() {
        None | Some("disabled") => {}
        Some("default" | "mailfrom" | "mailfrom_domain") if has_link => {}
        Some("default" | "mailfrom" | "mailfrom_domain") => {
            form.fault("UnSubscribeFilterLevel", FaultCode::Conflict, "needs UnSubscribeLinkType");
        }
        Some(_) => {
            let detail = "must be disabled, default, mailfrom or mailfrom_domain";
            form.fault("UnSubscribeFilterLevel", FaultCode::InvalidParameter, detail);
        }
    }
}
