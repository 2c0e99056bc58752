//! `recipient-variables`: a message for each recipient, with what is said of them put in.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::compat::draft::{Budget, Draft, Unfilled, bounded, filled};
use crate::compat::inner::Inner;
use crate::compat::service::fault;
use crate::domain::address::NamedAddress;
use crate::domain::fault::{Fault, FaultCode};

const BEGIN: &str = "%recipient.";
/// Where it may stand.
const FILLED: [&str; 9] =
    ["from", "reply_to", "subject", "text", "html", "alternatives", "headers", "metadata", "template"];

/// The messages: to each recipient its own. A variable that a recipient has not is a fault.
pub fn each(inner: &Inner, draft: &Draft, variables: &Map<String, Value>) -> Result<Vec<Draft>, Vec<Fault>> {
    let recipients = draft.map.get("to").and_then(Value::as_array).cloned().unwrap_or_default();
    bounded(inner, draft, recipients.len(), "recipient-variables")?;
    if draft.map.contains_key("message_id") {
        let detail = "cannot be one for many messages: leave it out, or recipient-variables";
        return Err(fault("h:Message-Id", FaultCode::Conflict, detail));
    }
    let by_address: HashMap<_, _> =
        variables.iter().map(|(address, values)| (address.to_lowercase(), values)).collect();
    let (mut budget, mut messages) = (Budget::of(inner), Vec::with_capacity(recipients.len()));
    for recipient in recipients {
        let named = recipient.as_str().and_then(|text| NamedAddress::parse(text).ok());
        let address = named.map(|named| named.address.to_string().to_lowercase()).unwrap_or_default();
        let values = by_address.get(&address).copied().unwrap_or(&Value::Null);
        let (mut one, mut left) = (draft.clone(), budget.left());
        for name in FILLED {
            if let Some(value) = one.map.get_mut(name) {
                fill(value, values, &mut left).map_err(|wrong| match wrong {
                    Unfilled::TooLong => budget.spent("recipient-variables"),
                    Unfilled::Missing(missing) => {
                        let detail = format!("has no '{missing}' for {address}, which stands in {name}");
                        fault("recipient-variables", FaultCode::MissingVariable, detail)
                    }
                })?;
            }
        }
        one.map.insert("to".to_owned(), Value::Array(vec![recipient]));
        budget.take(&one, "recipient-variables")?;
        messages.push(one);
    }
    Ok(messages)
}

/// Puts values into all texts of a value, which may have so many bytes together.
fn fill(value: &mut Value, values: &Value, left: &mut usize) -> Result<(), Unfilled> {
    match value {
        Value::String(text) if text.contains(BEGIN) => {
            *text = filled(text, BEGIN, |name| told(values, name), *left)?;
            *left = left.saturating_sub(text.len());
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill(item, values, left))?,
        Value::Object(map) => map.values_mut().try_for_each(|item| fill(item, values, left))?,
        _ => {}
    }
    Ok(())
}

/// What stands for a name.
fn told(values: &Value, name: &str) -> Result<Option<String>, Unfilled> {
    match &values[name] {
        Value::Null => Err(Unfilled::Missing(name.to_owned())),
        Value::String(text) => Ok(Some(text.clone())),
        other => Ok(Some(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_of_a_recipient_is_put_in() {
        let values = json!({"name": "Ann", "n": 7});
        for (text, wanted) in [
            ("Hi %recipient.name%, %recipient.n%%recipient.n%", Ok("Hi Ann, 77")),
            ("100% of %recipient.name", Ok("100% of %recipient.name")),
            ("%recipient.a b% %recipient.name%", Ok("%recipient.a b% Ann")),
            ("%recipient.other%", Err(Unfilled::Missing("other".to_owned()))),
            (&*"%recipient.name%".repeat(16), Err(Unfilled::TooLong)),
        ] {
            assert_eq!(filled(text, BEGIN, |name| told(&values, name), 30), wanted.map(str::to_owned), "{text}");
        }
    }
}
