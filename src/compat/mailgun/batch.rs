//! `recipient-variables`: a message for each recipient, with what is said of them put in.

use serde_json::{Map, Value};

use crate::compat::draft::{Budget, Draft, bounded};
use crate::compat::inner::Inner;
use crate::compat::service::{fault, text};
use crate::domain::address::NamedAddress;
use crate::domain::fault::{Fault, FaultCode};

const BEGIN: &str = "%recipient.";
/// Where it may stand.
const FILLED: [&str; 7] = ["subject", "text", "html", "alternatives", "headers", "metadata", "template"];

/// The messages: to each recipient its own. A variable that a recipient has not is a fault.
pub fn each(inner: &Inner, draft: &Draft, variables: &Map<String, Value>) -> Result<Vec<Draft>, Vec<Fault>> {
    let recipients = draft.map.get("to").and_then(Value::as_array).cloned().unwrap_or_default();
    bounded(inner, &draft.map, recipients.len(), "recipient-variables")?;
    let by_address: Map<_, _> =
        variables.iter().map(|(address, values)| (address.to_lowercase(), values.clone())).collect();
    let (mut budget, mut messages) = (Budget::of(inner), Vec::with_capacity(recipients.len()));
    for recipient in recipients {
        let named = recipient.as_str().and_then(|text| NamedAddress::parse(text).ok());
        let address = named.map(|named| named.address.to_string().to_lowercase()).unwrap_or_default();
        let values = by_address.get(&address).cloned().unwrap_or_default();
        let mut one = draft.clone();
        for name in FILLED {
            if let Some(value) = one.map.get_mut(name) {
                fill(value, &values, budget.left()).map_err(|wrong| match wrong {
                    Wrong::TooLong => budget.spent("recipient-variables"),
                    Wrong::Missing(missing) => {
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

/// Why a text cannot be filled.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    /// There is no value of that name.
    Missing(String),
    TooLong,
}

/// Puts values into all texts of a value, none of which may be longer than `most`.
fn fill(value: &mut Value, values: &Value, most: usize) -> Result<(), Wrong> {
    match value {
        Value::String(text) if text.contains(BEGIN) => *text = filled(text, values, most)?,
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill(item, values, most))?,
        Value::Object(map) => map.values_mut().try_for_each(|item| fill(item, values, most))?,
        _ => {}
    }
    Ok(())
}

fn filled(mut rest: &str, values: &Value, most: usize) -> Result<String, Wrong> {
    let mut out = String::with_capacity(rest.len());
    while let Some(at) = rest.find(BEGIN) {
        let (before, begun) = rest.split_at(at);
        out.push_str(before);
        let inside = &begun[BEGIN.len()..];
        let Some(end) = inside.find('%').filter(|end| inside[..*end].chars().all(|c| !c.is_whitespace())) else {
            out.push_str(BEGIN);
            rest = inside;
            continue;
        };
        let name = &inside[..end];
        match &values[name] {
            Value::Null => return Err(Wrong::Missing(name.to_owned())),
            Value::String(_) => out.push_str(text(values, name)),
            other => out.push_str(&other.to_string()),
        }
        if out.len() > most {
            return Err(Wrong::TooLong);
        }
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
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
            ("%recipient.other%", Err(Wrong::Missing("other".to_owned()))),
            (&*"%recipient.name%".repeat(8), Err(Wrong::TooLong)),
        ] {
            assert_eq!(filled(text, &values, 20), wanted.map(str::to_owned), "{text}");
        }
    }
}
