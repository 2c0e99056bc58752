//! What a process is to do: its roles.

use std::str::FromStr;

/// A part that a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Api,
    Delivery,
    Webhooks,
    Upkeep,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Api, Self::Delivery, Self::Webhooks, Self::Upkeep];
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "api" => Ok(Self::Api),
            "delivery" => Ok(Self::Delivery),
            "webhooks" => Ok(Self::Webhooks),
            "upkeep" => Ok(Self::Upkeep),
            "submission" | "inbound" => Err(format!("the role '{name}' is not in this version")),
            other => Err(format!("'{other}' is not a role: api, delivery, webhooks, upkeep")),
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
