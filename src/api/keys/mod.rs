//! API keys of a project. Nobody gives, or takes over, more than they have themselves; operators' keys are made by the
//! command line alone, and seen by operators alone.

mod change;
pub mod create;
pub mod get;
pub mod list;
pub mod remove;
pub mod rotate;
pub mod update;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::domain::access::Caller;
use crate::domain::id::KeyId;
use crate::store::accounts::keys::{KeyFilter, StoredKey};

/// The keys that a caller may see.
fn visible(caller: &Caller) -> KeyFilter {
    KeyFilter {
        project: Some(caller.project),
        mode: caller.sees_only(),
        with_operators: caller.is_operator,
        id: None,
        before: None,
    }
}

/// The key named in a path. Malformed, absent and foreign are the same 404.
async fn find(api: &Api, caller: &Caller, id: &str) -> Result<StoredKey, Problem> {
    let id = KeyId::parse(id).ok_or_else(Problem::not_found)?;
    let filter = KeyFilter { id: Some(id), ..visible(caller) };
    api.store.list_keys(filter, 1).await?.pop().ok_or_else(Problem::not_found)
}
