//! Requests that are made up to the point of being stored, and no further.

use super::content::NotMade;
use super::making::{self, Making, Rehearsed};
use super::submission::{AcceptedItem, Refusal, Strictness, Submission, SubmitError};
use super::{Door, answers, shard_of_turn};
use crate::domain::access::Caller;

impl Door {
    /// What would become of a request: everything is checked and composed, and nothing is stored.
    pub async fn rehearse(
        &self,
        caller: &Caller,
        submission: Submission,
    ) -> Result<Vec<Result<(AcceptedItem, Vec<Rehearsed>), Refusal>>, SubmitError> {
        let (now, mode) = (self.parts.clock.now(), submission.mode);
        let (mut rehearsed, mut bytes) = (Vec::with_capacity(submission.items.len()), 0);
        for (index, item) in submission.items.into_iter().enumerate() {
            let made = match item.wanted {
                Ok(wanted) => self.make_item(caller, wanted, &Making::rehearsal(shard_of_turn(now), now)).await,
                Err(faults) => Err(NotMade::Refused(Refusal::Faulty(faults))),
            };
            match made {
                Ok(mut made) => {
                    bytes += made.iter().map(|made| made.message.raw.len()).sum::<usize>();
                    if bytes > self.batch_limit {
                        return Err(SubmitError::TooLarge(bytes, self.batch_limit));
                    }
                    let messages = made.iter_mut().map(|made| &mut made.message);
                    self.mark_suppressed(caller, messages.collect()).await?;
                    let shown = made.iter().map(|made| Rehearsed::of(&made.message)).collect();
                    rehearsed.push(Ok((answers::of_item(&making::item_of(made, None).0), shown)));
                }
                Err(NotMade::Failed(error)) => return Err(error.into()),
                Err(NotMade::Refused(refusal)) if mode == Strictness::Strict => {
                    return Err(SubmitError::Refused(index, refusal));
                }
                Err(NotMade::Refused(refusal)) => rehearsed.push(Err(refusal)),
            }
        }
        Ok(rehearsed)
    }
}
