//! `POST /v1/suppressions/import`

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use tokio::sync::mpsc;

use super::REASONS;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::{Caller, Scope};
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::suppression::{Added, ListFormat, NewSuppression, SuppressionReason};
use crate::suppress::dialects::{Context, Left, Listed, Record, entries, is_ours, read};

/// Entries that are stored at once.
const BATCH: usize = 1000;
/// Lines that were not stored, and are told.
const TOLD_MAX: usize = 100;
/// Fields that were not taken over, and are told.
const FIELDS_MAX: usize = 20;

/// The schema `SuppressionImport`.
#[derive(Serialize)]
struct ImportView {
    format: Option<ListFormat>,
    /// Everything was read.
    complete: bool,
    #[serde(flatten)]
    added: Added,
    skipped: u64,
    refused: u64,
    ignored_fields: BTreeSet<String>,
    lines: Vec<LineView>,
}

/// The schema `SuppressionImportLine`.
#[derive(Serialize)]
struct LineView {
    line: usize,
    outcome: &'static str,
    detail: String,
}

/// Takes over a list, of our own or of another service.
pub async fn import(
    State(api): Shared,
    authed: Authed,
    mut params: Params,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Suppressions)?;
    let names: Vec<_> = ListFormat::ALL.iter().map(|format| format.name()).collect();
    let format = params.parsed("format", &format!("auto, {}", names.join(", ")), |text| {
        if text == "auto" { Some(None) } else { ListFormat::parse(text).map(Some) }
    });
    let reason = params.parsed("reason", REASONS, SuppressionReason::parse);
    params.finish()?;
    let (bytes, grant) = body.bytes(&api, api.http.body_limit.0).await?;
    if bytes.is_empty() {
        let fault = Fault::new("", FaultCode::Required, "the list must be given as the body");
        return Err(Problem::validation(vec![fault]));
    }
    let plan = api.router.traffic.plan();
    let (batches, mut incoming) = mpsc::channel(1);
    let (format, now) = (format.flatten(), api.clock.now());
    let reading = tokio::task::spawn_blocking(move || {
        let mut reading =
            Reading { format, is_json: false, batches, batch: Vec::new(), view: ImportView::new(), caller };
        let context = |format| Context { format, reason, classifier: &plan.classifier, now };
        reading.read(&bytes, context);
        drop(grant);
        reading.view
    });
    let mut added = Added::default();
    while let Some(batch) = incoming.recv().await {
        // The reader ends with this, when nobody takes what it reads.
        added += api.suppressions.add(batch).await?;
    }
    let view = reading.await.map_err(|_| Problem::internal())?;
    Ok(ok_json(&ImportView { added, ..view }))
}

impl ImportView {
    fn new() -> Self {
        Self {
            format: None,
            complete: true,
            added: Added::default(),
            skipped: 0,
            refused: 0,
            ignored_fields: BTreeSet::new(),
            lines: Vec::new(),
        }
    }

    fn leave(&mut self, line: usize, left: Left) {
        let (outcome, detail) = match left {
            Left::Skipped(detail) => {
                self.skipped += 1;
                ("skipped", detail)
            }
            Left::Refused(detail) => {
                self.refused += 1;
                ("refused", detail)
            }
        };
        if self.lines.len() < TOLD_MAX {
            self.lines.push(LineView { line, outcome, detail });
        }
    }
}

/// A list that is being read.
struct Reading {
    format: Option<ListFormat>,
    is_json: bool,
    batches: mpsc::Sender<Vec<NewSuppression>>,
    batch: Vec<NewSuppression>,
    view: ImportView,
    caller: Caller,
}

impl Reading {
    fn read<'c>(&mut self, bytes: &[u8], context: impl Fn(ListFormat) -> Context<'c>) {
        let wanted = self.format;
        self.is_json = bytes.trim_ascii_start().starts_with(b"{") || bytes.trim_ascii_start().starts_with(b"[");
        let mut last = 0;
        let mut each = |line: usize, record: Result<Record, String>| {
            last = line;
            self.take(line, record, &context)
        };
        if let Err(why) = read(bytes, wanted, &mut each) {
            self.view.complete = false;
            self.view.leave(last + 1, Left::Refused(format!("{why}; nothing after it was read")));
        }
        if !self.batch.is_empty() {
            let _ = self.batches.blocking_send(std::mem::take(&mut self.batch));
        }
        self.view.format = self.format;
    }

    /// Takes one entry; `false` when nobody waits for it any more.
    fn take<'c>(
        &mut self,
        line: usize,
        record: Result<Record, String>,
        context: &impl Fn(ListFormat) -> Context<'c>,
    ) -> bool {
        let meant = record.map_err(Left::Refused).and_then(|record| {
            let format = *self.format.get_or_insert_with(|| record.format(self.is_json));
            if matches!(format, ListFormat::Csv | ListFormat::Ndjson) && self.view.ignored_fields.len() < FIELDS_MAX {
                let unknown = record.names().filter(|name| !is_ours(name)).map(str::to_owned);
                self.view.ignored_fields.extend(unknown);
            }
            entries(&record, &context(format))
        });
        match meant {
            Ok(listed) => self.batch.extend(listed.into_iter().map(|entry| of_listed(entry, &self.caller))),
            Err(left) => self.view.leave(line, left),
        }
        if self.batch.len() < BATCH {
            return true;
        }
        self.batches.blocking_send(std::mem::take(&mut self.batch)).is_ok()
    }
}

fn of_listed(entry: Listed, caller: &Caller) -> NewSuppression {
    NewSuppression {
        project: caller.project,
        mode: caller.mode,
        address: entry.address,
        scope: entry.scope,
        reason: entry.reason,
        class: entry.class,
        evidence: entry.evidence,
        note: entry.note,
        created_at: entry.created_at,
        expires_at: entry.expires_at,
    }
}
