//! `CreateUserSuppression`, `ListUserSuppression`, `RemoveUserSuppression`: the list of all mail. Ids are numbers there, made here of ours.

use serde_json::{Value, json};

use super::{Asked, Refused};
use crate::compat::form::Form;
use crate::compat::inner::{Call, Inner, Refusal};
use crate::compat::service::text;
use crate::compat::suppressed::{self, Entry, Search};
use crate::domain::clock::{Timestamp, from_unix, parse_rfc3339};
use crate::domain::fault::FaultCode;
use crate::domain::id::SuppressionId;

const PAGE_MAX: usize = 100;
const IDS_MAX: usize = 100;

fn finish(form: Form) -> Result<(), Refused> {
    form.finish().map_err(|faults| Refusal::faulty(faults).into())
}

/// Adds an address.
pub async fn create(inner: &Inner, asked: Asked) -> Result<Value, Refused> {
    let Asked { caller, mut form, sent, .. } = asked;
    let address = form.text("Address");
    if address.is_none() {
        form.fault("Address", FaultCode::Required, "must be given");
    }
    finish(form)?;
    let address = address.unwrap_or_default();
    let entry = [Entry::new(address.clone(), "manual")];
    suppressed::add(inner, &caller, &entry, |_| "Address".to_owned(), sent).await?;
    let found = suppressed::find(inner, &caller, &address).await?;
    let id = found.first().map(|entry| number(text(entry, "id")).to_string());
    Ok(json!({"SuppressionId": id}))
}

/// A page, newest first.
pub async fn list(inner: &Inner, asked: Asked) -> Result<Value, Refused> {
    let Asked { caller, mut form, .. } = asked;
    let address = form.text("Address").map(|address| address.to_lowercase());
    let (page, size) = (count(&mut form, "PageNo", 1), count(&mut form, "PageSize", 10));
    if size > PAGE_MAX {
        form.fault("PageSize", FaultCode::InvalidParameter, format!("must be from 1 to {PAGE_MAX}"));
    }
    let (since, until) = (instant(&mut form, "StartCreateTime"), instant(&mut form, "EndCreateTime"));
    form.refuse("StartBounceTime", "only the first bounce is kept: StartCreateTime");
    form.refuse("EndBounceTime", "only the first bounce is kept: EndCreateTime");
    finish(form)?;
    let begins = address.clone().map(|address| (address, "Address"));
    let search = Search { begins, since, until, limit: usize::MAX, ..Search::default() };
    let found = search.run(inner, &caller).await?;
    let entries: Vec<_> = found
        .entries
        .iter()
        .filter(|entry| address.as_ref().is_none_or(|address| entry["email"] == **address))
        .collect();
    let rows = entries.iter().skip((page - 1).saturating_mul(size)).take(size).map(|entry| {
        let at = parse_rfc3339(text(entry, "created_at")).map(Timestamp::unix_timestamp);
        let kind = if text(entry, "reason") == "manual" { "user" } else { "system" };
        json!({"SuppressionId": number(text(entry, "id")), "Address": entry["email"], "CreateTime": at, "LastBounceTime": at, "Type": kind})
    });
    Ok(
        json!({"TotalCount": entries.len(), "PageNumber": page, "PageSize": size, "Data": {"UserSuppressions": rows.collect::<Vec<_>>()}}),
    )
}

/// Takes entries off by their numbers.
pub async fn remove(inner: &Inner, asked: Asked) -> Result<Value, Refused> {
    let Asked { caller, mut form, .. } = asked;
    let ids = form.text("SuppressionIds").unwrap_or_default();
    let mut wanted: Vec<u64> = ids.split(',').filter_map(|id| id.trim().parse().ok()).collect();
    if wanted.is_empty() || wanted.len() > IDS_MAX {
        form.fault(
            "SuppressionIds",
            FaultCode::Required,
            format!("must have from 1 to {IDS_MAX} ids, with commas between"),
        );
    }
    finish(form)?;
    let found = Search { limit: usize::MAX, ..Search::default() }.run(inner, &caller).await?;
    for entry in &found.entries {
        let id = text(entry, "id");
        if wanted.contains(&number(id)) {
            inner.call(&caller, Call::new(axum::http::Method::DELETE, format!("/v1/suppressions/{id}"))).await?;
            wanted.retain(|wanted| *wanted != number(id));
        }
    }
    Ok(json!({}))
}

/// The number of an entry, of its id: what of it a program holds exactly in a double.
fn number(id: &str) -> u64 {
    SuppressionId::parse(id).map_or(0, |id| (id.uuid().as_u128() & ((1 << 53) - 1)) as u64)
}

/// A number of at least one.
fn count(form: &mut Form, name: &'static str, usual: usize) -> usize {
    let given = form.text(name).map(|text| text.parse::<u32>().ok().filter(|count| *count > 0));
    match given {
        None => usual,
        Some(Some(count)) => usize::try_from(count).unwrap_or(usual),
        Some(None) => {
            form.fault(name, FaultCode::InvalidParameter, "must be a number of at least 1");
            usual
        }
    }
}

/// Seconds since 1970.
fn instant(form: &mut Form, name: &'static str) -> Option<Timestamp> {
    let text = form.text(name)?;
    let at = text.parse().ok().and_then(from_unix);
    if at.is_none() {
        form.fault(name, FaultCode::InvalidTime, "must be an instant in seconds since 1970");
    }
    at
}
