//! How a lane stands, as its process tells the others and those who ask.

use serde::Serialize;

use super::words::words;

words! {
    /// What a lane lets through.
    pub enum LanePhase {
        Open = "open",
        /// Its next hop asked for less: it does not grow for a while.
        Slowed = "slowed",
        /// Other processes hold all of its connections.
        Shared = "shared",
        /// One delivery finds out whether its next hop answers again.
        Probing = "probing",
        /// Nothing.
        Paused = "paused",
    }
}

/// One lane of one process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaneState {
    /// The MX group, or the smarthosts.
    pub group: String,
    /// The source address's name.
    pub source: String,
    pub provider: Option<String>,
    #[serde(rename = "state")]
    pub phase: LanePhase,
    pub paused_for_ms: Option<u64>,
    pub sessions: LaneSessions,
    /// Deliveries that wait in memory for a session.
    pub waiting: u32,
    pub message_rate_per_second: Option<f64>,
    pub connection_rate_per_second: Option<f64>,
}

/// The sessions of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LaneSessions {
    pub in_use: u32,
    pub idle: u32,
    /// How many may be in use at present.
    pub window: u32,
    /// How many connections may be open.
    pub limit: u32,
}

impl LaneState {
    /// Its name for people.
    pub fn name(&self) -> String {
        format!("{} from {}", self.group, self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_told_in_the_form_that_readers_know() {
        let state = LaneState {
            group: "mx.example".to_owned(),
            source: "system".to_owned(),
            provider: None,
            phase: LanePhase::Paused,
            paused_for_ms: Some(1500),
            sessions: LaneSessions { in_use: 1, idle: 0, window: 1, limit: 20 },
            waiting: 3,
            message_rate_per_second: Some(0.5),
            connection_rate_per_second: None,
        };
        let wanted = serde_json::json!({
            "group": "mx.example", "source": "system", "provider": null, "state": "paused", "paused_for_ms": 1500,
            "sessions": { "in_use": 1, "idle": 0, "window": 1, "limit": 20 }, "waiting": 3,
            "message_rate_per_second": 0.5, "connection_rate_per_second": null,
        });
        assert_eq!(serde_json::to_value(&state).unwrap(), wanted);
    }
}
