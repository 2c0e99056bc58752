//! What comes back by mail: taken by SMTP, over HTTP, or from a maildir, charged to whose it is, and told.
//!
//! `letter → whose (a token that only we can make) → what it means (feedback) → report, event, suppression`
//!
//! Nothing else is taken, nothing is passed on and nobody is answered: no relay, no backscatter.

mod aggregate;
mod charge;
mod inbox;
pub mod link_hosts;
pub mod links;
pub mod listener;
pub mod maildir;

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::Value;
use tokio::sync::Semaphore;

use charge::Charge;
pub use inbox::Inbox;

use crate::compose::return_path;
use crate::domain::access::Mode;
use crate::domain::aggregate::AggregateReport;
use crate::domain::clock::{Clock, Rng};
use crate::domain::event::EventType;
use crate::domain::id::{MessageId, ProjectId, RecipientId, ReportId};
use crate::domain::readiness::OutcomeCount;
use crate::domain::report_kept::{ReportOutcome, ReportSource};
use crate::feedback::{self, Meaning, Reading};
use crate::net::dns::Resolver;
use crate::routing::Router;
use crate::store::mail::reports::{Attributed, KeptReport, NewReport, ReportStored};
use crate::store::{Store, StoreError};
use crate::suppress::Suppressions;
use crate::telemetry::metrics::Metrics;
use crate::tokens::Tokens;
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
    /// Turns of those who read: letters may be long, and hostile.
    pub readers: Arc<Semaphore>,
    /// Turns of those who write what links say, and of those who want no more.
    pub recorders: Semaphore,
    pub unsubscribers: Semaphore,
    pub often: links::Often,
    pub hosts: link_hosts::LinkHosts,
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
    /// Whoever brings it may speak of this project's mail alone, and of this mode's.
    pub only: Option<(ProjectId, Option<Mode>)>,
}

/// What a letter says, read once however many it came to.
#[derive(Debug, Clone)]
pub struct ReadLetter {
    reading: Arc<Reading>,
    /// What may be tokens of ours.
    tokens: Arc<Vec<String>>,
    aggregate: Option<Arc<AggregateReport>>,
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
        let found = inbox::of(address, &self.host, &*self.tokens.ring().await?);
        if found.is_none() && inbox::carries_token(address) {
            // Its key may have been made since the keys were read.
            return Ok(inbox::of(address, &self.host, &*self.tokens.ring_anew().await?));
        }
        Ok(found)
    }

    /// Reads a letter.
    pub async fn read(&self, raw: &Arc<Vec<u8>>) -> Result<ReadLetter, NotTaken> {
        if raw.trim_ascii().is_empty() {
            return Err(NotTaken::Unreadable);
        }
        let raw = Arc::clone(raw);
        let away = |why: &str| NotTaken::Store(StoreError::Away(why.to_owned()));
        let turn = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| away("stopping"))?;
        // Reading that breaks off is our fault, and no reason to lose a letter.
        let read = tokio::task::spawn_blocking(move || {
            let read = (feedback::read(&raw), return_path::tokens_in(&raw), feedback::aggregate::read(&raw));
            drop(turn);
            read
        });
        let (reading, tokens, aggregate) = read.await.map_err(|_| away("reading a letter broke off"))?;
        let reading = reading.ok_or(NotTaken::Unreadable)?;
        let aggregate = aggregate.map(Arc::new);
        Ok(ReadLetter { reading: Arc::new(reading), tokens: Arc::new(tokens), aggregate })
    }

    /// Takes a letter that was read: once it is on disk, with what follows from it. Twice is once.
    pub async fn take(&self, letter: &Letter, read: &ReadLetter) -> Result<Taken, NotTaken> {
        let reading = &*read.reading;
        let ring = self.tokens.ring().await?;
        let inbox = letter.to.as_deref().and_then(|to| inbox::of(to, &self.host, &ring));
        // The envelope says whose it is; else what the letter holds of ours.
        let token = match &inbox {
            Some(Inbox::Token(token)) => Some(*token),
            _ => read.tokens.iter().find_map(|text| return_path::open(text, &ring)),
        };
        if let (None, Some(report)) = (token, &read.aggregate) {
            return self.take_aggregate(letter, read, report).await;
        }
        let mut attributed = match token {
            Some(token) => self.store.attribute(token.message, token.position, &reported(reading)).await?,
            None => Vec::new(),
        };
        if let Some((project, mode)) = letter.only {
            attributed.retain(|about| about.project == project && mode.is_none_or(|mode| mode == about.mode));
            if attributed.is_empty() {
                return Err(NotTaken::NotTheirs);
            }
        }
        if attributed.is_empty() {
            return self.keep(letter, reading, None, Charge::nobody(reading)).await;
        }
        let mut first = None;
        for about in attributed {
            let taken = if let Some(report) = self.store.find_report(&digest(letter, Some(&about))).await? {
                let about = Some((about.message, about.recipient));
                Taken { report, meaning: reading.meaning, outcome: ReportOutcome::Noted, is_repeated: true, about }
            } else {
                let charge = self.charge(&about, reading, letter).await?;
                self.keep(letter, reading, Some(about), charge).await?
            };
            first.get_or_insert(taken);
        }
        first.ok_or(NotTaken::Unreadable)
    }

    /// Writes what follows.
    async fn keep(
        &self,
        letter: &Letter,
        reading: &Reading,
        about: Option<Attributed>,
        charge: Charge,
    ) -> Result<Taken, NotTaken> {
        let outcome = charge.outcome;
        let now = self.clock.now();
        let report = NewReport {
            id: ReportId::new(now, &*self.rng),
            digest: digest(letter, about.as_ref()),
            kept: KeptReport {
                received_at: now,
                source: letter.source,
                envelope_from: without_nul(&letter.from),
                envelope_to: without_nul(letter.to.as_deref().unwrap_or_default()),
                meaning: reading.meaning.name().to_owned(),
                outcome,
                detail: sound(charge.detail),
                raw: letter.raw[..letter.raw.len().min(EVIDENCE_MAX)].to_vec(),
            },
            about,
        };
        // Before the event that says so: a crash in between leads to the letter once more, which says it again.
        if let Some(suppression) = charge.suppression {
            self.suppressions.add(vec![suppression]).await?;
        }
        let event = charge.event.map(|(event_type, data)| (event_type, sound(data)));
        let is_repeated = match self.store.put_report(&report, event.as_ref(), &*self.rng).await? {
            ReportStored::Full => return Err(NotTaken::Full),
            ReportStored::New => false,
            ReportStored::Repeated => true,
        };
        if !is_repeated {
            let labels = [letter.source.name(), reading.meaning.name(), outcome.name()];
            self.metrics.inbound_letters.with_label_values(&labels).inc();
            if let (Some(about), Some((event_type, _))) = (&report.about, &event) {
                self.events.ring(about.shard);
                self.count(about, *event_type, reading.meaning.name()).await;
            }
        }
        let about = report.about.map(|about| (about.message, about.recipient));
        Ok(Taken { report: report.id, meaning: reading.meaning, outcome, is_repeated, about })
    }
}

impl Intake {
    /// Counts what was told of a live message among how its domain fares, once for each recipient. What cannot be counted is told all the same.
    async fn count(&self, about: &Attributed, event_type: EventType, meaning: &str) {
        let counted = match event_type {
            EventType::Complained => OutcomeCount { complaints: 1, ..OutcomeCount::default() },
            EventType::BouncedLater => OutcomeCount { rejected: 1, ..OutcomeCount::default() },
            _ => return,
        };
        if about.mode != Mode::Live {
            return;
        }
        let now = self.clock.now();
        let counted = async {
            let whose = (about.project, about.message, about.recipient);
            let key = self.store.outcome_key(whose, meaning, now).await?;
            let counts: Vec<_> = key.into_iter().map(|key| (key, counted)).collect();
            self.store.add_outcomes(&counts).await
        };
        if let Err(error) = counted.await {
            tracing::warn!(%error, "a report is not counted among how mail fares");
        }
    }
}

/// What a letter is known by: one letter about one recipient is charged once, whichever address it came to.
fn digest(letter: &Letter, about: Option<&Attributed>) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    match about {
        Some(about) => {
            digest.update(about.message.uuid().as_bytes());
            digest.update(about.recipient.uuid().as_bytes());
        }
        None => digest.update(letter.to.as_deref().unwrap_or_default().to_ascii_lowercase().as_bytes()),
    }
    digest.update(b"\0");
    digest.update(&letter.raw);
    digest.finish().as_ref().to_vec()
}

/// Addresses that a notice says it could not deliver to, or that another letter speaks of, in lower case.
fn reported(reading: &Reading) -> Vec<String> {
    let is_bounce = reading.meaning == Meaning::Failed;
    let of_machine = reading.recipients.iter().filter(|one| !is_bounce || one.meaning == Meaning::Failed);
    let named = of_machine.flat_map(|one| one.original.iter().chain([&one.address]));
    let words = reading.mentioned.iter().filter(|_| reading.recipients.is_empty());
    named
        .chain(words)
        .filter(|address| !address.contains(char::is_control))
        .map(|address| address.to_lowercase())
        .collect()
}

/// Text that the store can hold.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The same within a value.
fn sound(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(sound).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, sound(value))).collect()),
        other => other,
    }
}
