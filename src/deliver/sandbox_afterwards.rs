//! What comes back after deliveries to the sandbox, when its time has come: an event, and where it speaks of the address, a
//! suppression.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::classify;
use crate::domain::address::Address;
use crate::domain::clock::{Clock, Rng};
use crate::domain::outcome::Outcome;
use crate::domain::reply::Reply;
use crate::domain::script::{CameBack, Script};
use crate::domain::stage::Stage;
use crate::domain::suppression::{Evidence, NewSuppression, SuppressionReason};
use crate::routing::Router;
use crate::shutdown::Shutdown;
use crate::store::mail::sandbox_afterwards::ComingBack;
use crate::store::{Store, StoreError};
use crate::suppress::Suppressions;
use crate::wake::Wake;

/// How often it is looked for what is due.
const TICK: Duration = Duration::from_millis(500);
/// How many come back in one step.
const BATCH: i64 = 200;
/// Ticks between two looks for what belongs to messages that are gone.
const FORGET: u32 = 1200;

/// What makes events of what comes back.
pub struct Returns {
    pub store: Store,
    pub suppressions: Arc<Suppressions>,
    pub router: Arc<Router>,
    /// Rung for events.
    pub events: Arc<Wake>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
}

impl Returns {
    /// Looks until the service stops.
    pub async fn run(self, shutdown: Shutdown) {
        let mut ticks = 0;
        while shutdown.pause(TICK).await {
            if let Err(error) = self.step().await {
                tracing::debug!(%error, "what comes back in the sandbox comes later");
            }
            ticks += 1;
            if ticks % FORGET == 0
                && let Err(error) = self.store.forget_afterwards().await
            {
                tracing::debug!(%error, "what would come back of messages that are gone is forgotten later");
            }
        }
    }

    async fn step(&self) -> Result<(), StoreError> {
        for coming in self.store.due_afterwards(BATCH).await? {
            match self.tell(&coming).await {
                Err(error) if error.is_away() => return Err(error),
                // What the store refuses of one keeps no other.
                Err(error) => tracing::error!(message.id = %coming.message, %error, "what comes back cannot be told"),
                Ok(()) => self.events.ring(coming.shard),
            }
        }
        Ok(())
    }

    async fn tell(&self, coming: &ComingBack) -> Result<(), StoreError> {
        let (data, suppression) = self.meaning(coming);
        // Before the event that says so: a crash in between leads to another look, which says it again.
        if let Some(suppression) = suppression {
            self.suppressions.add(vec![suppression]).await?;
        }
        self.store.settle_afterwards(coming, &data, &*self.rng).await?;
        Ok(())
    }

    /// What it says, and whether nothing more should be sent to the address.
    fn meaning(&self, coming: &ComingBack) -> (Value, Option<NewSuppression>) {
        let host = "sandbox";
        let CameBack::Report(enhanced) = coming.what else {
            let evidence = Evidence { source: Some("report".to_owned()), ..Self::evidence(coming) };
            return (json!({}), self.suppression(coming, SuppressionReason::Complaint, None, evidence));
        };
        let code = if enhanced.class == 5 { 550 } else { 450 };
        let reply = Reply { code, enhanced: Some(enhanced), text: "a report, as the script says".to_owned() };
        let plan = self.router.traffic.plan();
        let outcome = classify::of_refusal(&plan.classifier, None, Stage::Rcpt, reply.clone());
        let data = json!({"reply": {
            "code": code, "enhanced": enhanced.to_string(), "text": reply.text, "host": host, "class": outcome.class(),
        }});
        let speaks_of_address = matches!(outcome, Outcome::Rejected(_)) && outcome.condemns_address();
        let evidence = Evidence {
            source: Some("report".to_owned()),
            code: Some(i32::from(code)),
            enhanced: Some(enhanced.to_string()),
            text: Some(reply.text),
            host: Some(host.to_owned()),
            ..Self::evidence(coming)
        };
        let class = Some(outcome.class().to_owned());
        let bounce = || self.suppression(coming, SuppressionReason::Bounce, class, evidence);
        (data, speaks_of_address.then(bounce).flatten())
    }

    fn evidence(coming: &ComingBack) -> Evidence {
        Evidence { message_id: Some(coming.message.to_string()), ..Evidence::default() }
    }

    fn suppression(
        &self,
        coming: &ComingBack,
        reason: SuppressionReason,
        class: Option<String>,
        evidence: Evidence,
    ) -> Option<NewSuppression> {
        let address = Address::parse(&coming.address).ok()?;
        // An address that is a script by its name is there to be used again.
        if Script::of_address(&address).is_some() {
            return None;
        }
        let whose = (coming.project, coming.mode);
        Some(NewSuppression::learnt(whose, address.folded(), reason, class, evidence, self.clock.now()))
    }
}
