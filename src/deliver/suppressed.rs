//! Whether a delivery is still to be tried, or its address was suppressed since it was accepted; and what a refusal of an
//! address leaves behind.

use std::sync::Arc;
use std::time::Duration;

use super::stopped::Stopped;
use crate::domain::address::Address;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::delivery::LeasedDelivery;
use crate::domain::outcome::AttemptReport;
use crate::domain::suppression::{Evidence, NewSuppression, Suppression, SuppressionReason};
use crate::store::patience::until_it_answers;
use crate::store::{Store, StoreError};
use crate::suppress::Suppressions;

/// Wait before the store is asked again when it was away.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// For so long after it was accepted a first try goes by what was found then.
const YOUNG: Duration = Duration::from_secs(5);

/// Looks a delivery's address up before each try.
#[derive(Clone)]
pub struct SuppressionCheck {
    suppressions: Arc<Suppressions>,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl SuppressionCheck {
    pub fn new(suppressions: &Arc<Suppressions>, store: &Store, clock: &Arc<dyn Clock>) -> Self {
        Self { suppressions: Arc::clone(suppressions), store: store.clone(), clock: Arc::clone(clock) }
    }

    /// Whether a try may go by what was found when the message was accepted.
    pub fn is_young(&self, delivery: &LeasedDelivery) -> bool {
        // One that was scheduled for later, and sent before, is as old as nobody knows.
        let age = self.clock.now() - delivery.message.made_at();
        delivery.lease.attempt == 1 && !age.is_negative() && age < YOUNG
    }

    /// Stops a delivery whose address is suppressed. Waits for a store that does not answer: that is not a no.
    pub async fn not_suppressed(&self, delivery: &LeasedDelivery, address: &Address) -> Result<(), Stopped> {
        let folded = address.folded();
        if self.is_young(delivery) || self.suppressions.has_surely_none(delivery.project, &folded) {
            return Ok(());
        }
        let asked = [folded];
        match until_it_answers!(STORE_PAUSE, "whether an address is suppressed", self.find(delivery, &asked)) {
            Ok(None) => Ok(()),
            Ok(Some(entry)) => Err(Stopped::suppressed(entry.verdict())),
            Err(error) => {
                tracing::error!(message.id = %delivery.message, %error, "suppressions cannot be read; its lease will run out");
                Err(Stopped::NotOurs)
            }
        }
    }

    /// The weightiest suppression that stops it.
    async fn find(&self, delivery: &LeasedDelivery, asked: &[String]) -> Result<Option<Suppression>, StoreError> {
        let found = self.suppressions.find(delivery.project, None, asked).await?;
        if found.is_empty() {
            return Ok(None);
        }
        // One that is gone says so itself when it is read.
        let Some(labels) = self.store.message_labels(delivery.message).await? else { return Ok(None) };
        let stops = |entry: &Suppression| {
            entry.mode == labels.mode
                && entry.scope.covers(labels.tags.iter().map(String::as_str), labels.stream.as_deref())
                && !entry.follows_from(delivery.message)
        };
        Ok(found.into_iter().filter(stops).max_by_key(|entry| entry.reason))
    }
}

/// The suppression that follows from a try, if a server refused the address itself.
pub fn of_report(delivery: &LeasedDelivery, report: &AttemptReport, now: Timestamp) -> Option<Box<NewSuppression>> {
    let condemned = report.condemned.as_ref()?;
    let trouble = report.outcome.trouble()?;
    let reply = trouble.reply.as_ref()?;
    let evidence = Evidence {
        source: Some("reply".to_owned()),
        code: Some(i32::from(reply.code)),
        enhanced: reply.enhanced.map(|status| status.to_string()),
        text: Some(reply.text.clone()),
        host: report.host.clone(),
        message_id: Some(delivery.message.to_string()),
        rule: trouble.rule.as_ref().map(|(rule, _)| rule.to_string()),
    };
    let (whose, class) = ((delivery.project, condemned.mode), Some(trouble.class.name().to_owned()));
    let reason = SuppressionReason::Bounce;
    Some(Box::new(NewSuppression::learnt(whose, condemned.address.folded(), reason, class, evidence, now)))
}
