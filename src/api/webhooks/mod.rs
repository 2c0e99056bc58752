//! Webhook endpoints, and what became of their webhooks.

mod change;
pub mod create;
pub mod deliveries;
pub mod delivery;
pub mod get;
pub mod list;
pub mod remove;
pub mod replay;
pub mod replays;
pub mod rotate_secret;
pub mod test;
pub mod update;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::domain::access::Caller;
use crate::domain::event::EventType;
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::EndpointId;
use crate::store::accounts::endpoints::Endpoint;

/// Why an endpoint is disabled that a client disabled.
const DISABLED: &str = "disabled by request";

/// The type of event with that name.
fn event_type(name: &str) -> Result<EventType, Flaw> {
    let wrong = || Flaw::new(FaultCode::UnknownEvent, format!("must be one of {}", known_events()));
    EventType::parse(name).ok_or_else(wrong)
}

fn known_events() -> String {
    EventType::ALL.iter().map(|event| event.name()).collect::<Vec<_>>().join(", ")
}

/// The caller's endpoint named in a path. Malformed, absent and foreign are the same 404.
async fn find(api: &Api, caller: &Caller, id: &str) -> Result<Endpoint, Problem> {
    let id = EndpointId::parse(id).ok_or_else(Problem::not_found)?;
    api.store.find_endpoint(caller.project, caller.sees_only(), id).await?.ok_or_else(Problem::not_found)
}
