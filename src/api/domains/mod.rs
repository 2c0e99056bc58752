//! Domains that a project sends from. They concern live mail: a test credential neither sees nor changes them.

mod change;
pub mod create;
pub mod get;
pub mod list;
pub mod readiness;
pub mod records;
pub mod remove;
pub mod reports;
pub mod rotate;
pub mod update;
pub mod verify;

use crate::api::Api;
use crate::api::auth::Authed;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::domain::access::{Caller, Mode, Scope};
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::DomainId;
use crate::identity::{ChangeError, DomainInFull};
use crate::store::accounts::domains::StoredDomain;

/// Whoever may do something with domains, for the project that the query names or their own.
pub(super) async fn caller(api: &Api, authed: Authed, mut params: Params) -> Result<Caller, Problem> {
    let project = params.project();
    params.finish()?;
    authed.acting(Scope::Domains, api, project).await
}

/// Refuses whoever has no live mail.
pub(super) fn live(caller: Caller) -> Result<Caller, Problem> {
    if caller.mode == Mode::Test { Err(Problem::live_only()) } else { Ok(caller) }
}

/// The caller's domain named in a path. Malformed, absent and foreign are the same 404.
async fn find(api: &Api, caller: &Caller, id: &str) -> Result<StoredDomain, Problem> {
    if caller.mode == Mode::Test {
        return Err(Problem::not_found());
    }
    let id = DomainId::parse(id).ok_or_else(Problem::not_found)?;
    api.store.list_domains(caller.project, Some(id), None, 1).await?.pop().ok_or_else(Problem::not_found)
}

/// The same, with its keys and its records.
async fn find_in_full(api: &Api, caller: &Caller, id: &str) -> Result<DomainInFull, Problem> {
    Ok(api.domains.in_full(find(api, caller, id).await?).await?)
}

fn refused(error: ChangeError) -> Problem {
    let detail = error.to_string();
    let (pointer, code) = match error {
        ChangeError::Exists | ChangeError::Taken => ("/name", FaultCode::Conflict),
        ChangeError::TooSoon(_) => ("", FaultCode::Conflict),
        ChangeError::TooMany(_) => ("", FaultCode::TooMany),
        ChangeError::Key(why) => {
            tracing::error!(why, "a DKIM key could not be made");
            return Problem::internal();
        }
        ChangeError::Store(error) => return error.into(),
    };
    Problem::validation(vec![Fault::new(pointer, code, detail)])
}
