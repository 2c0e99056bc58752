//! What is kept of settled mail, and for how long.

use std::time::Duration;

use super::words::words;

words! {
    /// What a project may keep for less time than the installation does.
    pub enum RetentionKind {
        /// The bytes of messages, and the sandbox inbox.
        Bodies = "bodies",
        Metadata = "metadata",
        /// Of tries.
        Transcripts = "transcripts",
        Events = "events",
    }
}

/// The least that is kept: what was accepted is visible to all, and read by whoever sent it, by then.
pub const RETENTION_MIN: Duration = Duration::from_hours(1);

/// A project's own spans. `None`: as the installation keeps it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProjectRetention {
    pub bodies: Option<Duration>,
    pub metadata: Option<Duration>,
    pub transcripts: Option<Duration>,
    pub events: Option<Duration>,
}

impl ProjectRetention {
    pub const fn of(&self, kind: RetentionKind) -> Option<Duration> {
        match kind {
            RetentionKind::Bodies => self.bodies,
            RetentionKind::Metadata => self.metadata,
            RetentionKind::Transcripts => self.transcripts,
            RetentionKind::Events => self.events,
        }
    }

    pub const fn of_mut(&mut self, kind: RetentionKind) -> &mut Option<Duration> {
        match kind {
            RetentionKind::Bodies => &mut self.bodies,
            RetentionKind::Metadata => &mut self.metadata,
            RetentionKind::Transcripts => &mut self.transcripts,
            RetentionKind::Events => &mut self.events,
        }
    }
}
