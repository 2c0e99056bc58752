//! The fields of a webhook endpoint, as a request gives them.

use serde_json::{Map, Value};

use super::known_events;
use crate::api::Api;
use crate::api::problem::Problem;
use crate::domain::access::Caller;
use crate::domain::draft::Tag;
use crate::domain::event::EventType;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::webhook::{EndpointMode, PayloadForm};
use crate::request::fields::Fields;
use crate::webhook::post::Target;

const DESCRIPTION_MAX: usize = 500;
const LIST_MAX: usize = 50;

/// The fields of a creation or a change.
pub(super) struct Change {
    pub mode: Option<EndpointMode>,
    pub form: Option<PayloadForm>,
    pub url: Option<String>,
    pub events: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
    pub description: Option<String>,
    pub enabled: Option<bool>,
}

impl Change {
    /// Reads the fields; a new endpoint must have a URL.
    pub async fn read(api: &Api, caller: &Caller, map: Map<String, Value>, is_new: bool) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        let mut fields = Fields::new(map, "", &mut faults);
        if is_new && !fields.has("url") {
            fields.fault("url", FaultCode::Required, "must be given");
        }
        let url = fields.string("url");
        let target = url.as_deref().map(Target::parse);
        if let Some(Err(error)) = &target {
            fields.fault("url", FaultCode::InvalidUrl, error.to_string());
        }
        let events = fields.strings("events", LIST_MAX);
        check_events(&mut fields, events.as_deref());
        // Such as messages have: no other could fit.
        let tags = fields.parsed_strings("tags", LIST_MAX, Tag::parse);
        let tags = tags.map(|tags| tags.iter().map(|tag| tag.as_str().to_owned()).collect());
        let description = fields.string("description");
        if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_MAX || text.contains('\0')) {
            fields.fault(
                "description",
                FaultCode::TooLong,
                format!("must have at most {DESCRIPTION_MAX} characters and no NUL"),
            );
        }
        let enabled = fields.bool("enabled");
        let mode = mode(&mut fields);
        let form = form(&mut fields);
        fields.finish();
        if let Some(Ok(target)) = &target
            && let Err(error) = api.webhooks.permits(target).await
        {
            faults.push(Fault::new("/url", FaultCode::ForbiddenAddress, error.to_string()));
        }
        if caller.sees_only().is_some() && mode.is_some_and(|mode| mode != EndpointMode::Test) {
            return Err(Problem::test_only());
        }
        if faults.is_empty() {
            Ok(Self { mode, form, url, events, tags, description, enabled })
        } else {
            Err(Problem::validation(faults))
        }
    }
}

/// Of which mail the endpoint is to hear.
fn mode(fields: &mut Fields<'_>) -> Option<EndpointMode> {
    let word = fields.string("mode")?;
    let mode = EndpointMode::parse(&word);
    if mode.is_none() {
        fields.fault("mode", FaultCode::InvalidMode, "must be live, test or both");
    }
    mode
}

/// In whose payload the endpoint is to be told.
fn form(fields: &mut Fields<'_>) -> Option<PayloadForm> {
    let word = fields.string("form")?;
    let form = PayloadForm::parse(&word);
    if form.is_none() {
        let names = PayloadForm::ALL.iter().map(|form| form.name()).collect::<Vec<_>>().join(", ");
        fields.fault("form", FaultCode::InvalidParameter, format!("must be one of {names}"));
    }
    form
}

fn check_events(fields: &mut Fields<'_>, events: Option<&[String]>) {
    let Some(events) = events else { return };
    if events.is_empty() {
        fields.fault("events", FaultCode::Required, "must name at least one event, or \"*\"");
    }
    for (index, event) in events.iter().enumerate() {
        if event != "*" && EventType::parse(event).is_none() {
            let detail = format!("must be \"*\" or one of {}", known_events());
            fields.faults.push(Fault::new(format!("/events/{index}"), FaultCode::UnknownEvent, detail));
        }
    }
}
