//! What a store holds before a measurement: keys, suppressions, a backlog, an endpoint.

use std::time::Duration;

use super::args::{BenchArgs, Dkim, Waiting, Way};
use super::sink::STUCK_DOMAIN;
use crate::accounts::{Vouched, add_dkim_keys, ensure_project};
use crate::ambient::{SystemClock, SystemRng};
use crate::domain::access::Mode;
use crate::domain::clock::Clock;
use crate::domain::dkim::Algorithm;
use crate::domain::event::EventType;
use crate::domain::id::{EndpointId, ProjectId};
use crate::domain::suppression::{Evidence, NewSuppression, SuppressionReason, SuppressionScope};
use crate::domain::webhook::{EndpointMode, PayloadForm, Secret};
use crate::store::Store;
use crate::store::accounts::endpoints::Endpoint;
use crate::store::fleet::stats::Backlog;
use crate::terminal::{CommandError, out};

/// The project that the load sends for.
pub const PROJECT: &str = "bench";
const FROM_DOMAIN: &str = "bench.example";

/// Suppressions that one statement writes.
const SUPPRESSIONS_AT_ONCE: usize = 5000;

/// A key for the domain that the load sends from.
pub async fn sign(dkim: Dkim, store: &Store) -> Result<(), CommandError> {
    let algorithm = match dkim {
        Dkim::None => return Ok(()),
        Dkim::Ed25519 => Algorithm::Ed25519Sha256,
        Dkim::Rsa => Algorithm::RsaSha256,
    };
    let now = SystemClock.now();
    let project = ensure_project(store, (PROJECT, false), now, &SystemRng).await.map_err(CommandError::new)?;
    let wanted = [(algorithm, "bench".to_owned())];
    let made = add_dkim_keys(store, Vouched { project, domain: FROM_DOMAIN }, &wanted, now, &SystemRng).await;
    made.map(|_| ()).map_err(CommandError::new)
}

/// Addresses that nobody sends to.
pub async fn suppress(count: usize, store: &Store) -> Result<(), CommandError> {
    let now = SystemClock.now();
    let project = ensure_project(store, (PROJECT, false), now, &SystemRng).await.map_err(CommandError::new)?;
    let entry = |number| NewSuppression {
        project,
        mode: Mode::Live,
        address: format!("s{number}@suppressed.example"),
        scope: SuppressionScope::Project,
        reason: SuppressionReason::Bounce,
        class: Some("bad_mailbox".to_owned()),
        evidence: Evidence { text: Some("550 5.1.1 no such user".to_owned()), ..Evidence::default() },
        note: String::new(),
        created_at: now,
        expires_at: SuppressionReason::Bounce.expiry(now),
    };
    for first in (0..count).step_by(SUPPRESSIONS_AT_ONCE) {
        let entries = (first..count.min(first + SUPPRESSIONS_AT_ONCE)).map(entry).collect();
        store.put_suppressions(entries, &SystemRng).await.map_err(CommandError::new)?;
    }
    Ok(())
}

pub async fn preload(args: &BenchArgs, store: &Store) -> Result<(), CommandError> {
    if args.backlog == 0 {
        return Ok(());
    }
    out::note(&format!("writing a backlog of {} deliveries", args.backlog));
    let now = SystemClock.now();
    let project = store
        .ensure_project(ProjectId::new(now, &SystemRng), "backlog", false, now)
        .await
        .map_err(CommandError::new)?;
    let week = Duration::from_hours(24 * 7);
    let lane = |domain| if args.route == Way::Mx { domain } else { crate::domain::route::SMARTHOST_LANE };
    let (next_hop, domain, due_at) = match args.waiting {
        Waiting::Deferred => (lane("later.example"), "later.example", now + week),
        // A lane of its own, whatever the route.
        Waiting::Stuck => (STUCK_DOMAIN, STUCK_DOMAIN, now),
        Waiting::Rival => (lane("inbox.example"), "inbox.example", now),
    };
    let backlog =
        Backlog { project, rows: args.backlog, next_hop, domain, due_at, expires_at: now + 2 * week, created_at: now };
    store.preload(&backlog).await.map_err(CommandError::new)
}

/// An endpoint that hears of deliveries.
pub async fn endpoint(url: String, store: &Store) -> Result<(), CommandError> {
    let now = SystemClock.now();
    let project = ensure_project(store, (PROJECT, false), now, &SystemRng).await.map_err(CommandError::new)?;
    let secret = Secret::new(&SystemRng);
    let endpoint = Endpoint {
        form: PayloadForm::Standard,
        id: EndpointId::new(now, &SystemRng),
        mode: EndpointMode::Live,
        url,
        events: vec![EventType::Delivered.name().to_owned()],
        tags: Vec::new(),
        description: String::new(),
        enabled: true,
        disabled_reason: None,
        failing_since: None,
        stalled_at: None,
        signing_seed: secret.seed.clone(),
        created_at: now,
    };
    store.insert_endpoint(project, &endpoint, &secret, 1).await.map_err(CommandError::new)?;
    Ok(())
}
