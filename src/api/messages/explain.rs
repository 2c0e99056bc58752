//! `GET /v1/messages/{id}/explain`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Api, Shared, ok_json};
use crate::domain::access::{Caller, Scope};
use crate::domain::class::Class;
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::hold::HoldReason;
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::lane::{LanePhase, LaneState};
use crate::domain::outcome::OutcomeKind;
use crate::domain::recipient::RecipientStatus;
use crate::domain::route::SANDBOX_LANE;
use crate::domain::stage::Stage;
use crate::routing::{RouteQuery, RouteView};
use crate::store::fleet::lane_states::StoredLane;
use crate::store::mail::attempts::StoredAttempt;
use crate::store::mail::owed::OwedDelivery;
use crate::store::mail::recipients::StoredRecipient;

/// Recipients of a message that are explained; the others are in the same places.
const RECIPIENTS_MAX: usize = 50;

/// The schema `Explanation`.
#[derive(Serialize)]
struct ExplanationView<'m> {
    id: MessageId,
    rules: String,
    recipients: Vec<RecipientView<'m>>,
    recipients_left_out: usize,
}

/// The schema `RecipientExplanation`.
#[derive(Serialize)]
struct RecipientView<'m> {
    id: RecipientId,
    email: &'m str,
    status: RecipientStatus,
    reason: String,
    next_attempt_at: Option<String>,
    expires_at: Option<String>,
    attempts: i32,
    held: Option<HoldReason>,
    route: Option<RouteOrError>,
    lanes: Vec<LaneView>,
    last_attempt: Option<LastAttemptView<'m>>,
}

/// The schemas `Route` and `NoRoute`.
#[derive(Serialize)]
#[serde(untagged)]
enum RouteOrError {
    Route(Box<RouteView>),
    NoRoute { error: String },
}

/// The schema `Lane`.
#[derive(Serialize)]
struct LaneView {
    /// For operators: a lane is shared by all projects, and what others have in it is theirs to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<String>,
    updated_at: String,
    state: LaneStateView,
}

/// The schema `LaneState`.
#[derive(Serialize)]
#[serde(untagged)]
enum LaneStateView {
    Whole(LaneState),
    /// What concerns whoever waits.
    Outline {
        provider: Option<String>,
        #[serde(rename = "state")]
        phase: LanePhase,
        paused_for_ms: Option<u64>,
    },
}

/// The schema `LastAttempt`.
#[derive(Serialize)]
struct LastAttemptView<'a> {
    number: i32,
    started_at: String,
    outcome: OutcomeKind,
    class: &'a Class,
    meaning: Option<String>,
    stage: Option<Stage>,
    host: Option<&'a str>,
    ip: Option<&'a str>,
    source_ip: Option<&'a str>,
    tls: Option<&'a str>,
    rule: Option<&'a str>,
    confidence: Option<i16>,
    action: Option<&'a str>,
    text: Option<&'a str>,
}

/// Why every recipient is where it is: route, hosts, TLS policy, lane, last reply, next attempt, in words and in parts.
pub async fn explain(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let message = super::find(&api, &caller, &id).await?;
    let recipients = super::recipients_of(&api, &message).await?;
    let shown = &recipients[..recipients.len().min(RECIPIENTS_MAX)];
    let ids: Vec<_> = shown.iter().map(|recipient| recipient.id).collect();
    let owed = api.store.list_owed(message.id, &ids).await?;
    let last = api.store.list_last_attempts(message.id).await?;
    let mut explained = Vec::with_capacity(shown.len());
    for recipient in shown {
        let owed = owed.iter().find(|delivery| delivery.recipient == recipient.id);
        let last = last.iter().find(|attempt| attempt.recipient == recipient.id);
        explained.push(one(&api, &caller, recipient, owed, last).await?);
    }
    Ok(ok_json(&ExplanationView {
        id: message.id,
        rules: api.router.traffic.plan().classifier.version(),
        recipients: explained,
        recipients_left_out: recipients.len() - shown.len(),
    }))
}

async fn one<'m>(
    api: &Api,
    caller: &Caller,
    recipient: &'m StoredRecipient,
    owed: Option<&'m OwedDelivery>,
    last: Option<&'m StoredAttempt>,
) -> Result<RecipientView<'m>, Problem> {
    let now = api.clock.now();
    let (mut route, mut lanes) = (None, Vec::new());
    if let Some(owed) = owed.filter(|owed| owed.next_hop != SANDBOX_LANE) {
        let domain = recipient.address.rsplit('@').next().unwrap_or_default();
        let ask = RouteQuery { project: caller.project, domain, tls: owed.demand.tls };
        match api.router.route(ask).await {
            Ok(routed) => {
                lanes = api.store.list_lane_states(&routed.group).await?;
                route = Some(RouteOrError::Route(Box::new(RouteView::of(&routed))));
            }
            Err(no_route) => route = Some(RouteOrError::NoRoute { error: no_route.to_string() }),
        }
    }
    Ok(RecipientView {
        id: recipient.id,
        email: &recipient.address,
        status: recipient.status,
        reason: match &caller.suspension {
            Some(suspension) if owed.is_some_and(|owed| !owed.is_leased) => {
                format!("the project is suspended since {}: {}", rfc3339(suspension.at), suspension.reason)
            }
            _ => reason(recipient, owed, last, &lanes, now),
        },
        next_attempt_at: recipient.next_attempt_at.map(rfc3339),
        expires_at: owed.map(|owed| rfc3339(owed.expires_at)),
        attempts: recipient.attempts,
        held: owed.and_then(|owed| owed.held),
        route,
        lanes: lanes.into_iter().map(|lane| LaneView::of(lane, caller.is_operator)).collect(),
        last_attempt: last.map(|last| LastAttemptView::of(api, last)),
    })
}

impl LaneView {
    fn of(lane: StoredLane, is_operator: bool) -> Self {
        let StoredLane { process, updated_at, state } = lane;
        let updated_at = rfc3339(updated_at);
        if is_operator {
            return Self { process: Some(process.to_string()), updated_at, state: LaneStateView::Whole(state) };
        }
        let LaneState { provider, phase, paused_for_ms, .. } = state;
        Self { process: None, updated_at, state: LaneStateView::Outline { provider, phase, paused_for_ms } }
    }
}

impl<'a> LastAttemptView<'a> {
    fn of(api: &Api, last: &'a StoredAttempt) -> Self {
        Self {
            number: last.number,
            started_at: rfc3339(last.started_at),
            outcome: last.outcome,
            class: &last.reply.class,
            meaning: api.router.traffic.plan().classifier.about(last.reply.class.name()).map(str::to_owned),
            stage: last.stage,
            host: last.reply.host.as_deref(),
            ip: last.ip.as_deref(),
            source_ip: last.source_ip.as_deref(),
            tls: last.tls.as_deref(),
            rule: last.rule.as_deref(),
            confidence: last.confidence,
            action: last.action.as_deref(),
            text: last.reply.text.as_deref(),
        }
    }
}

/// One sentence.
fn reason(
    recipient: &StoredRecipient,
    owed: Option<&OwedDelivery>,
    last: Option<&StoredAttempt>,
    lanes: &[StoredLane],
    now: Timestamp,
) -> String {
    let said = last.map_or_else(String::new, |last| {
        let host = last.reply.host.as_deref().map_or_else(String::new, |host| format!(" at {host}"));
        let text = last.reply.text.as_deref().unwrap_or_default();
        let class = &last.reply.class;
        let class = if class.name() == last.outcome.name() { String::new() } else { format!(" ({class})") };
        format!("try {}{host} ended {}{class}: {text}", last.number, last.outcome)
    });
    let Some(owed) = owed else {
        // One that was never tried says why on its own.
        let born = || recipient.last_reply.as_ref().and_then(|reply| reply.text.clone()).unwrap_or_default();
        let said = if said.is_empty() { born() } else { said };
        return format!("it is {}: {said}", recipient.status.name());
    };
    if owed.is_leased {
        return format!(
            "a process has it in hand (try {}): it is being sent, or waits for a session of its lane",
            owed.attempt
        );
    }
    let paused = lanes
        .iter()
        .find(|lane| matches!(lane.state.phase, LanePhase::Paused | LanePhase::Probing | LanePhase::Shared));
    let lane =
        paused.map_or_else(String::new, |lane| format!("; the lane {} is {}", lane.state.name(), lane.state.phase));
    let when = if owed.due_at > now {
        format!("it waits until {}", rfc3339(owed.due_at))
    } else {
        "it is due and waits for its turn".to_owned()
    };
    match (&owed.held, said.is_empty()) {
        (Some(held), _) => format!("{when}: {}{lane}", held.in_words()),
        (None, true) => format!("{when}{lane}"),
        (None, false) => format!("{when}, since {said}{lane}"),
    }
}
