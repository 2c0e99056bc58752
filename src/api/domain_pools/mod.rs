//! Pools of the domains that a project sends from. They concern live mail, as domains do.

pub mod get;
pub mod list;
pub mod put;
pub mod remove;

use crate::api::domains::caller;
use crate::api::problem::Problem;
use crate::domain::draft::PoolName;

/// The name of a pool in a path: one that cannot be a name names nothing.
fn named(text: String) -> Result<PoolName, Problem> {
    PoolName::parse(text).map_err(|_| Problem::not_found())
}
