//! Mail that is asked back before it leaves: cancelled, edited, or tried at once, by whoever asked for it.
//!
//! A delivery is in its row, or in the hands of a process until MAIL leaves. What is in its row is changed at once; a process
//! that has it in hand puts it back, if it has not begun. The answer is what happened: [`Done::TooLate`] is said of what was
//! not changed, and of nothing else. Knows the queue and the store, and nothing of HTTP or SMTP.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::clock::{Clock, Rng};
use crate::domain::delivery::Hold;
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::lease::Lease;
use crate::domain::recipient::RecipientStatus;
use crate::queue::{InHand, Revocation};
use crate::shutdown::Shutdown;
use crate::store::mail::scheduled::StoredScheduled;
use crate::store::mail::unsent::Unsent;
use crate::store::queue::recall::Recall;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// How long a process is waited for that has a delivery in hand.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at what others have in hand.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a process looks whether something in its hands is asked back.
const LOOK: Duration = Duration::from_millis(250);
/// How long what was put back waits for whoever asked: longer, and it goes its way.
const PUT_BACK: Duration = Duration::from_secs(5);

/// What became of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// As it was asked for.
    Done,
    /// It has begun, or ended.
    TooLate,
}

/// What asks deliveries back, and what answers.
pub struct Recaller {
    pub store: Store,
    pub in_hand: Arc<InHand>,
    pub owner: Uuid,
    pub deliveries: Arc<Wake>,
    pub events: Arc<Wake>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Recaller {
    /// Changes a message's deliveries, as far as they have not begun; says what became of each.
    pub async fn recall(
        &self,
        message: MessageId,
        recipients: &[RecipientId],
        recall: Recall,
    ) -> Result<Vec<(RecipientId, Done)>, StoreError> {
        let mut open = recipients.to_vec();
        let mut done = Vec::with_capacity(recipients.len());
        let end = Instant::now() + PATIENCE;
        loop {
            self.change(message, &mut open, recall, &mut done).await?;
            // What is in hand is being tried already.
            if open.is_empty() || recall == Recall::Retry {
                break;
            }
            let was_put_back = self.ask_back(message, &mut open).await?;
            if open.is_empty() {
                break;
            }
            if was_put_back {
                continue;
            }
            if Instant::now() >= end {
                self.store.ask_no_more(message, &open).await?;
                // What was put back at the last moment is in its row.
                self.change(message, &mut open, recall, &mut done).await?;
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        done.extend(open.into_iter().map(|recipient| (recipient, Done::TooLate)));
        Ok(done)
    }

    /// Cancels a message that waits for its time; `false`: it does not any more.
    pub async fn cancel_scheduled(&self, message: &StoredScheduled) -> Result<bool, StoreError> {
        let ended = self.store.end_scheduled(&[message], &Unsent::Cancelled, &*self.rng).await?;
        self.events.ring(message.id.shard());
        self.count_cancelled(ended.recipients);
        Ok(!ended.messages.is_empty())
    }

    fn count_cancelled(&self, recipients: u64) {
        self.metrics.settled.with_label_values(&[RecipientStatus::Cancelled.name()]).inc_by(recipients);
    }

    /// Changes what nobody has in hand: it goes from `open` to `done`.
    async fn change(
        &self,
        message: MessageId,
        open: &mut Vec<RecipientId>,
        recall: Recall,
        done: &mut Vec<(RecipientId, Done)>,
    ) -> Result<(), StoreError> {
        let changed = self.store.recall_unleased(message, open, recall, &*self.rng).await?;
        if recall == Recall::Cancel {
            self.events.ring(message.shard());
            self.count_cancelled(changed.len() as u64);
        } else if !changed.is_empty() {
            self.deliveries.ring(message.shard());
        }
        open.retain(|recipient| !changed.contains(recipient));
        done.extend(changed.into_iter().map(|recipient| (recipient, Done::Done)));
        Ok(())
    }

    /// Asks back what is in hand; what has begun, or is nowhere any more, leaves `open`. Says whether something was put back
    /// here, so that there is no need to wait.
    async fn ask_back(&self, message: MessageId, open: &mut Vec<RecipientId>) -> Result<bool, StoreError> {
        let held = self.store.ask_back(message, open).await?;
        // What has no row ended; what has one without a lease was put back between the two questions.
        let mut still_open = Vec::with_capacity(held.len());
        let mut put_back = false;
        for other in held {
            let recipient = RecipientId::from_uuid(other.lease.id);
            if other.has_begun {
                continue;
            }
            let revocation =
                if other.owner == self.owner { self.in_hand.revoke(other.lease.id) } else { Revocation::NotHere };
            match revocation {
                Revocation::Begun => continue,
                Revocation::Revoked => {
                    self.put_back(other.lease).await?;
                    put_back = true;
                }
                Revocation::NotHere => {}
            }
            still_open.push(recipient);
        }
        let rows = self.store.list_owed(message, open).await?;
        for owed in rows.iter().filter(|owed| !owed.is_leased) {
            if !still_open.contains(&owed.recipient) {
                still_open.push(owed.recipient);
                put_back = true;
            }
        }
        *open = still_open;
        Ok(put_back)
    }

    /// Puts back a delivery that will not begin; it waits a moment for whoever asked for it.
    async fn put_back(&self, lease: Lease) -> Result<(), StoreError> {
        self.store.hold_delivery(Hold { lease, until: self.clock.now() + PUT_BACK, why: None }).await
    }

    /// Answers those who ask back what this process has in hand, until the soft token falls.
    pub async fn answer(self: Arc<Self>, shutdown: Shutdown) {
        while shutdown.pause(LOOK).await {
            if let Err(error) = self.answer_once().await {
                tracing::debug!(%error, "who asks deliveries back is answered later");
            }
        }
    }

    async fn answer_once(&self) -> Result<(), StoreError> {
        let mut begun = Vec::new();
        for lease in self.store.list_asked_back(self.owner).await? {
            match self.in_hand.revoke(lease.id) {
                Revocation::Begun => begun.push(lease),
                Revocation::Revoked => self.put_back(lease).await?,
                // It is on its way into these hands: the next look meets it.
                Revocation::NotHere => {}
            }
        }
        if begun.is_empty() { Ok(()) } else { self.store.tell_begun(&begun).await }
    }
}
