//! What a process is to do: its roles.

use std::str::FromStr;

/// A part that a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Api,
    Delivery,
    Webhooks,
    Submission,
    Inbound,
    Upkeep,
}

impl Role {
    pub const ALL: [Self; 6] =
        [Self::Api, Self::Delivery, Self::Webhooks, Self::Submission, Self::Inbound, Self::Upkeep];
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "api" => Ok(Self::Api),
            "delivery" => Ok(Self::Delivery),
            "webhooks" => Ok(Self::Webhooks),
            "inbound" => Ok(Self::Inbound),
            "upkeep" => Ok(Self::Upkeep),
            "submission" => Ok(Self::Submission),
            other => Err(format!("'{other}' is not a role: api, delivery, webhooks, submission, inbound, upkeep")),
        }
    }
}

/// What a process is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    pub roles: Vec<Role>,
    /// Accept, but claim nothing.
    pub paused: bool,
}
