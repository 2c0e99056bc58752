//! Calls that begin as they are made: the feeder has read what they send, and this process has a place for them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::calls::{self, Call, Calls, Destination, Letter};
use super::feeder::Feeder;
use crate::domain::id::{EndpointId, ProjectId};
use crate::store::mail::log::ProjectEvent;
use crate::store::queue::webhook_feed::{Birth, NewJob};
use crate::store::queue::webhook_jobs::LeasedJob;
use crate::store::{StoreError, by_shard};

/// This process's own hands: calls that it has a place for begin as they are made, without a claim.
pub struct AtHand {
    pub calls: Arc<Calls>,
    pub begun: UnboundedSender<Call>,
    /// How long the lease of a call lasts.
    pub lease: Duration,
}

impl Feeder {
    /// Writes the jobs that tell these events. Those that there is a place for begin at once, unless something of their
    /// endpoint has to wait. Gives how many of each endpoint do not.
    pub(super) async fn make_jobs(
        &self,
        project: ProjectId,
        told: Vec<(EndpointId, &ProjectEvent)>,
        mut held: HashSet<EndpointId>,
    ) -> Result<HashMap<EndpointId, usize>, StoreError> {
        let jobs: Vec<_> = told
            .into_iter()
            .map(|(endpoint, event)| {
                let turn =
                    if held.contains(&endpoint) { None } else { self.at_hand.calls.begin_soon(endpoint, project) };
                if turn.is_none() {
                    held.insert(endpoint);
                }
                (endpoint, event, turn)
            })
            .collect();
        let beginning: HashSet<_> = jobs.iter().filter(|(.., turn)| turn.is_some()).map(|(id, ..)| *id).collect();
        let destinations = Destination::load(&self.store, &Vec::from_iter(beginning)).await?;
        let (mut bodies, mut due) = (HashMap::new(), HashMap::new());
        for run in by_shard(jobs, self.store.max_shards_per_tx(), |(_, event, _)| event.id.shard()) {
            let rows: Vec<_> = run
                .iter()
                .map(|(endpoint, event, turn)| {
                    (NewJob { endpoint: *endpoint, message: event.message, event: event.id }, turn.is_some())
                })
                .collect();
            let birth = Birth { owner: self.owner, token: self.rng.token(), span: self.at_hand.lease };
            let leases = self.store.bear_jobs(&rows, birth).await?;
            self.ring(rows.iter().filter(|(_, is_leased)| !is_leased).map(|(job, _)| job));
            let mut left = Vec::new();
            for (endpoint, event, turn) in run {
                if turn.is_none() {
                    *due.entry(endpoint).or_default() += 1;
                }
                let (Some(turn), Some(lease)) = (turn, leases.get(&(endpoint, event.id))) else { continue };
                let letter = destinations.get(&endpoint).and_then(|to| {
                    let body = bodies.entry((event.id, to.form)).or_insert_with(|| calls::body(to.form, event)).clone();
                    Some(Letter { to: Arc::clone(to), body: body? })
                });
                let job =
                    LeasedJob { lease: *lease, endpoint, project, message: event.message, event: event.id, rescued: 0 };
                // Nobody takes it any more only when the service stops.
                if let Err(unsent) = self.at_hand.begun.send(Call { job, turn, letter }) {
                    left.push(unsent.0.job.lease);
                }
            }
            self.store.connection().put_back_jobs(&left).await?;
        }
        Ok(due)
    }
}
