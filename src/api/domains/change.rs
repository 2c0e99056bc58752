//! The fields of a domain, as a request gives them.

use serde_json::{Map, Value};

use crate::api::Api;
use crate::api::problem::Problem;
use crate::domain::address::parse_domain;
use crate::domain::fault::FaultCode;
use crate::domain::sending_domain::dmarc::is_public_suffix;
use crate::request::fields::Fields;

/// Days between rotations.
const ROTATE_DAYS: std::ops::RangeInclusive<i64> = 5..=3650;

/// The fields of a creation or a change.
pub(super) struct Change {
    pub name: Option<String>,
    pub is_delegated: bool,
    pub return_path_label: Option<String>,
    pub link_label: Option<String>,
    /// 0: when asked to.
    pub rotate_days: Option<i32>,
}

impl Change {
    /// Reads the fields; a new domain must have a name.
    pub fn read(api: &Api, map: Map<String, Value>, is_new: bool) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        let mut fields = Fields::new(map, "", &mut faults);
        let (mut name, mut is_delegated) = (None, false);
        if is_new {
            name = domain(&mut fields);
            is_delegated = fields.bool("delegated").unwrap_or(false);
            if is_delegated && api.domains.hosts.dkim_zone.is_empty() {
                let detail = "this installation has no zone for delegated keys (domains.dkim_zone)";
                fields.fault("delegated", FaultCode::Conflict, detail);
            }
        }
        let [return_path_label, link_label] = ["return_path", "link_host"].map(|name| label(&mut fields, name));
        if return_path_label.is_some() && return_path_label == link_label {
            fields.fault("link_host", FaultCode::Conflict, "one name is an alias of one host: return_path has it");
        }
        let days = fields.integer("rotate_days");
        if days.is_some_and(|days| days != 0 && !ROTATE_DAYS.contains(&days)) {
            let detail = format!("must be 0, or from {} to {}", ROTATE_DAYS.start(), ROTATE_DAYS.end());
            fields.fault("rotate_days", FaultCode::InvalidLimit, detail);
        }
        fields.finish();
        if !faults.is_empty() {
            return Err(Problem::validation(faults));
        }
        let rotate_days = days.and_then(|days| i32::try_from(days).ok());
        Ok(Self { name, is_delegated, return_path_label, link_label, rotate_days })
    }
}

/// A label that stands before the domain.
fn label(fields: &mut Fields<'_>, name: &'static str) -> Option<String> {
    let label = fields.string(name)?;
    if !is_label(&label) {
        let detail = "must be the label that stands before the domain: letters, digits and hyphens, at most 63";
        fields.fault(name, FaultCode::InvalidDomain, detail);
    }
    Some(label.to_ascii_lowercase())
}

fn domain(fields: &mut Fields<'_>) -> Option<String> {
    if !fields.has("name") {
        fields.fault("name", FaultCode::Required, "must be given");
    }
    let text = fields.string("name")?;
    let Ok(name) = parse_domain(text.trim()) else {
        fields.fault("name", FaultCode::InvalidDomain, "must be a domain such as example.com");
        return None;
    };
    if is_public_suffix(&name) {
        fields.fault("name", FaultCode::InvalidDomain, "is a public suffix, below which others have domains");
        return None;
    }
    Some(name)
}

/// As one label of a host (RFC 1123 §2.1).
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}
