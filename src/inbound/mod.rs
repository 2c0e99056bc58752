//! What comes back by mail: taken by SMTP, over HTTP, or from a maildir, charged to whose it is, and told.
//!
//! `letter → whose (a token that only we can make) → what it means (feedback) → report, event, suppression`
//!
//! Nothing else is taken, nothing is passed on and nobody is answered: no relay, no backscatter.

mod charge;
mod inbox;
pub mod listener;
pub mod maildir;
mod tokens;

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use charge::Charge;
pub use inbox::Inbox;
pub use tokens::Tokens;

use crate::compose::return_path;
use crate::domain::clock::{Clock, Rng};
use crate::domain::id::{MessageId, ProjectId, RecipientId, ReportId};
use crate::domain::report_kept::{ReportOutcome, ReportSource};
use crate::feedback::{self, Meaning};
use crate::net::dns::Resolver;
use crate::routing::Router;
use crate::store::mail::reports::{Attributed, KeptReport, NewReport, ReportStored};
use crate::store::{Store, StoreError};
use crate::suppress::Suppressions;
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Octets of a letter that are kept as evidence.
const EVIDENCE_MAX: usize = 64 << 10;

/// What takes letters.
pub struct Intake {
    pub store: Store,
    pub tokens: Arc<Tokens>,
    pub suppressions: Arc<Suppressions>,
    pub router: Arc<Router>,
    pub resolver: Resolver,
    /// The host that addresses of reports are at; empty: none.
    pub host: String,
    /// Octets of one letter.
    pub limit: usize,
    /// Rung for events.
    pub events: Arc<Wake>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

/// A letter that came.
#[derive(Debug, Clone)]
pub struct Letter {
    pub source: ReportSource,
    /// The envelope's sender; empty for the null path, or when it is not known.
    pub from: String,
    /// The envelope's recipient; `None` when it is not known.
    pub to: Option<String>,
    pub raw: Arc<Vec<u8>>,
    /// Whoever brings it may speak of this project's mail alone.
    pub only: Option<ProjectId>,
}

/// What became of a letter.
#[derive(Debug, Clone)]
pub struct Taken {
    pub report: ReportId,
    pub meaning: Meaning,
    pub outcome: ReportOutcome,
    /// It came before.
    pub is_repeated: bool,
    pub about: Option<(MessageId, RecipientId)>,
}

/// Why a letter was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    #[error("this is no message")]
    Unreadable,
    #[error("it names no message of the project")]
    NotTheirs,
    /// So many that nobody knows of came in the last hour.
    #[error("too many reports that nobody can be charged with: try again later")]
    Full,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Intake {
    /// Where mail to that address goes; `None`: there is no such address here.
    pub async fn inbox(&self, address: &str) -> Result<Option<Inbox>, StoreError> {
        Ok(inbox::of(address, &self.host, &*self.tokens.ring().await?))
    }

    /// Takes a letter: once it is on disk, with what follows from it. Twice is once.
    pub async fn take(&self, letter: Letter) -> Result<Taken, NotTaken> {
        if letter.raw.trim_ascii().is_empty() {
            return Err(NotTaken::Unreadable);
        }
        let raw = Arc::clone(&letter.raw);
        // Hostile letters are read, and long ones.
        let read = tokio::task::spawn_blocking(move || (feedback::read(&raw), return_path::tokens_in(&raw))).await;
        let (reading, mentioned) = read.map_err(|_| NotTaken::Unreadable)?;
        let reading = reading.ok_or(NotTaken::Unreadable)?;
        let ring = self.tokens.ring().await?;
        let inbox = letter.to.as_deref().and_then(|to| inbox::of(to, &self.host, &ring));
        // The envelope says whose it is; else what the letter holds of ours.
        let token = match &inbox {
            Some(Inbox::Token(token)) => Some(*token),
            _ => mentioned.iter().find_map(|text| return_path::open(text, &ring)),
        };
        let attributed = match token {
            Some(token) => self.store.attribute(token.message, token.position, &reported(&reading)).await?,
            None => None,
        };
        if let Some(only) = letter.only
            && attributed.as_ref().is_none_or(|about| about.project != only)
        {
            return Err(NotTaken::NotTheirs);
        }
        let charge = match &attributed {
            Some(about) => self.charge(about, &reading, &letter).await?,
            None => Charge::nobody(&reading),
        };
        let report = self.report(&letter, &reading, attributed.clone(), &charge);
        // Before the event that says so: a crash in between leads to another letter, which says it again.
        if let Some(suppression) = charge.suppression {
            self.suppressions.add(vec![suppression]).await?;
        }
        let stored = self.store.put_report(&report, charge.event.as_ref(), &*self.rng).await?;
        let outcome = charge.outcome;
        self.metrics
            .inbound_letters
            .with_label_values(&[letter.source.name(), reading.meaning.name(), outcome.name()])
            .inc();
        let is_repeated = match stored {
            ReportStored::Full => return Err(NotTaken::Full),
            ReportStored::New => false,
            ReportStored::Repeated => true,
        };
        if let Some(about) = attributed.as_ref().filter(|_| charge.event.is_some() && !is_repeated) {
            self.events.ring(about.shard);
        }
        let about = attributed.map(|about| (about.message, about.recipient));
        Ok(Taken { report: report.id, meaning: reading.meaning, outcome, is_repeated, about })
    }

    fn report(
        &self,
        letter: &Letter,
        reading: &feedback::Reading,
        about: Option<Attributed>,
        charge: &Charge,
    ) -> NewReport {
        let mut digest = Context::new(&SHA256);
        digest.update(letter.to.as_deref().unwrap_or_default().as_bytes());
        digest.update(b"\0");
        digest.update(&letter.raw);
        let now = self.clock.now();
        NewReport {
            id: ReportId::new(now, &*self.rng),
            digest: digest.finish().as_ref().to_vec(),
            about,
            kept: KeptReport {
                received_at: now,
                source: letter.source,
                envelope_from: letter.from.clone(),
                envelope_to: letter.to.clone().unwrap_or_default(),
                meaning: reading.meaning.name().to_owned(),
                outcome: charge.outcome,
                detail: charge.detail.clone(),
                raw: letter.raw[..letter.raw.len().min(EVIDENCE_MAX)].to_vec(),
            },
        }
    }
}

/// Addresses that a report speaks of, in lower case.
fn reported(reading: &feedback::Reading) -> Vec<String> {
    let named = reading.recipients.iter().flat_map(|one| one.original.iter().chain([&one.address]));
    named.chain(&reading.mentioned).map(|address| address.to_lowercase()).collect()
}
