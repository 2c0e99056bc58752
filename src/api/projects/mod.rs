//! Projects. Operators make, limit and suspend them; everyone else sees their own.

mod change;
pub mod create;
pub mod get;
pub mod list;
pub mod update;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::domain::access::Caller;
use crate::domain::id::ProjectId;
use crate::store::accounts::projects::StoredProject;

/// The project named in a path, if the caller may see it. Malformed, absent and foreign are the same 404.
async fn find(api: &Api, caller: &Caller, id: &str) -> Result<StoredProject, Problem> {
    let id = ProjectId::parse(id).ok_or_else(Problem::not_found)?;
    if !caller.is_operator && id != caller.project {
        return Err(Problem::not_found());
    }
    api.store.list_projects(Some(id), None, 1).await?.pop().ok_or_else(Problem::not_found)
}
