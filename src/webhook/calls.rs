//! Calls in hand: each holds a place, or waits for one that is free soon, and has what it sends once that is known.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::forms;
use super::places::Places;
use super::post::Target;
use super::sign::Signers;
use crate::domain::id::{EndpointId, ProjectId};
use crate::domain::webhook::PayloadForm;
use crate::store::mail::log::ProjectEvent;
use crate::store::queue::webhook_calls::Callee;
use crate::store::queue::webhook_claims::Rooms;
use crate::store::queue::webhook_jobs::LeasedJob;
use crate::store::{Store, StoreError};
use crate::wake::Wake;

/// The calls of one process.
#[derive(Debug)]
pub struct Calls {
    state: Mutex<State>,
    ended: Notify,
    /// Nudged when a place is free again.
    wake: Arc<Wake>,
}

#[derive(Debug)]
struct State {
    places: Places,
    waiting: HashMap<EndpointId, Queue>,
    of_projects: HashMap<ProjectId, usize>,
    is_closed: bool,
}

/// Calls of one endpoint that wait for a place, in their order.
#[derive(Debug)]
struct Queue {
    project: ProjectId,
    turns: VecDeque<oneshot::Sender<Place>>,
}

/// Where a call stands.
#[derive(Debug)]
pub enum Turn {
    Now(Place),
    /// A place comes, or an end: its endpoint fails, or the service stops.
    Soon(oneshot::Receiver<Place>),
}

/// A place of an endpoint and its project; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    calls: Arc<Calls>,
    endpoint: EndpointId,
    project: ProjectId,
    since: Instant,
    /// What its endpoint has shown; `None`: nothing.
    pub succeeded: Option<bool>,
}

/// A job under our lease, and its turn.
#[derive(Debug)]
pub struct Call {
    pub job: LeasedJob,
    pub turn: Turn,
    /// `None`: it is to be loaded.
    pub letter: Option<Letter>,
}

/// What a call sends, and where.
#[derive(Debug, Clone)]
pub struct Letter {
    pub to: Arc<Destination>,
    pub body: Bytes,
}

/// An endpoint, ready to be called.
#[derive(Debug)]
pub struct Destination {
    /// `None`: the URL cannot be used.
    pub target: Option<Target>,
    pub signers: Signers,
    pub form: PayloadForm,
    pub enabled: bool,
}

impl Destination {
    fn of(callee: &Callee) -> Self {
        Self {
            target: Target::parse(&callee.url).ok(),
            signers: Signers::of(&callee.secrets),
            form: callee.form,
            enabled: callee.enabled,
        }
    }

    /// Those of these endpoints that are there.
    pub async fn load(store: &Store, endpoints: &[EndpointId]) -> Result<HashMap<EndpointId, Arc<Self>>, StoreError> {
        let callees = store.load_callees(endpoints).await?;
        Ok(callees.into_iter().map(|(id, callee)| (id, Arc::new(Self::of(&callee)))).collect())
    }
}

/// The body that tells an event, but for what signs it; `None`: there is no word for it in that form.
pub fn body(form: PayloadForm, event: &ProjectEvent) -> Option<Bytes> {
    forms::body(form, event).map(Bytes::from)
}

impl Calls {
    pub fn new(most: usize, unproven: usize, wake: Arc<Wake>) -> Self {
        let places = Places::new(most, unproven);
        let state = State { places, waiting: HashMap::new(), of_projects: HashMap::new(), is_closed: false };
        Self { state: Mutex::new(state), ended: Notify::new(), wake }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls that may be begun now.
    pub fn available(&self) -> usize {
        self.state().places.available()
    }

    /// How many more calls may be begun now, and how many of each endpoint and of each project.
    pub fn rooms(&self) -> (usize, Rooms, Rooms) {
        let state = self.state();
        (state.places.available(), state.places.of_endpoints(), state.places.of_projects())
    }

    /// A place, if there is one.
    pub fn begin(self: &Arc<Self>, endpoint: EndpointId, project: ProjectId) -> Option<Place> {
        let has_begun = self.state().places.begin(endpoint, project);
        has_begun.then(|| self.place(endpoint, project))
    }

    /// How many more calls of an endpoint may wait for a place, if that is a number that is worth a reading.
    pub fn room(&self, endpoint: EndpointId, project: ProjectId, worth: usize) -> Option<usize> {
        let state = self.state();
        let (of_endpoint, _) = state.places.soon(endpoint, project);
        let waiting = state.waiting.get(&endpoint).map_or(0, |queue| queue.turns.len());
        (of_endpoint >= worth).then(|| of_endpoint.saturating_sub(waiting))
    }

    /// A place, or a turn if there will be one soon.
    pub fn begin_soon(self: &Arc<Self>, endpoint: EndpointId, project: ProjectId) -> Option<Turn> {
        let mut state = self.state();
        if state.is_closed {
            return None;
        }
        if !state.waiting.contains_key(&endpoint) && state.places.begin_unclaimed(endpoint, project) {
            return Some(Turn::Now(self.place(endpoint, project)));
        }
        state.wait(endpoint, project).map(Turn::Soon)
    }

    fn place(self: &Arc<Self>, endpoint: EndpointId, project: ProjectId) -> Place {
        Place { calls: Arc::clone(self), endpoint, project, since: Instant::now(), succeeded: None }
    }

    /// Nobody waits for a place any more.
    pub fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.of_projects.clear();
        let ended = std::mem::take(&mut state.waiting);
        drop(state);
        drop(ended);
    }

    /// Waits until no place is taken.
    pub async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            if self.state().places.is_empty() {
                return;
            }
            ended.await;
        }
    }
}

impl State {
    fn wait(&mut self, endpoint: EndpointId, project: ProjectId) -> Option<oneshot::Receiver<Place>> {
        let (of_endpoint, of_project) = self.places.soon(endpoint, project);
        let waiting = self.waiting.get(&endpoint).map_or(0, |queue| queue.turns.len());
        if waiting >= of_endpoint || self.of_projects.get(&project).is_some_and(|count| *count >= of_project) {
            return None;
        }
        let (turn, place) = oneshot::channel();
        let queue = self.waiting.entry(endpoint).or_insert_with(|| Queue { project, turns: VecDeque::new() });
        queue.turns.push_back(turn);
        *self.of_projects.entry(project).or_default() += 1;
        Some(place)
    }

    /// Takes these of an endpoint's turns, as far as there are so many.
    fn take(&mut self, endpoint: EndpointId, which: Range<usize>) -> Vec<oneshot::Sender<Place>> {
        let Some(queue) = self.waiting.get_mut(&endpoint) else { return Vec::new() };
        let count = queue.turns.len();
        let taken: Vec<_> = queue.turns.drain(which.start.min(count)..which.end.min(count)).collect();
        let project = queue.project;
        if queue.turns.is_empty() {
            self.waiting.remove(&endpoint);
        }
        if let Some(count) = self.of_projects.get_mut(&project) {
            *count = count.saturating_sub(taken.len());
            if *count == 0 {
                self.of_projects.remove(&project);
            }
        }
        taken
    }

    /// Whose turn it is, with the places that they were given: the endpoint with the fewest calls first.
    fn next(&mut self) -> Vec<(EndpointId, ProjectId, oneshot::Sender<Place>)> {
        let mut next = Vec::new();
        let mut waiting: Vec<_> = self.waiting.iter().map(|(endpoint, queue)| (*endpoint, queue.project)).collect();
        while !waiting.is_empty() {
            waiting.sort_unstable_by_key(|(endpoint, _)| self.places.under_way(*endpoint));
            waiting.retain(|(endpoint, project)| {
                let has_begun = self.waiting.contains_key(endpoint) && self.places.begin_unclaimed(*endpoint, *project);
                if has_begun {
                    next.extend(self.take(*endpoint, 0..1).into_iter().map(|turn| (*endpoint, *project, turn)));
                }
                has_begun
            });
        }
        next
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (refused, next) = {
            let mut state = self.calls.state();
            state.places.end(self.endpoint, self.project, self.succeeded, self.since.elapsed());
            // Of what fails no more wait here than will have places soon: other processes may have some.
            let refused = if self.succeeded == Some(false) {
                let (soon, _) = state.places.soon(self.endpoint, self.project);
                state.take(self.endpoint, soon..usize::MAX)
            } else {
                Vec::new()
            };
            (refused, state.next())
        };
        drop(refused);
        for (endpoint, project, turn) in next {
            // Whoever waited may be gone: then the place is free again.
            drop(turn.send(self.calls.place(endpoint, project)));
        }
        self.calls.ended.notify_waiters();
        self.calls.wake.nudge();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;
    use uuid::Uuid;

    use super::*;

    const ENDPOINT: EndpointId = EndpointId::from_uuid(Uuid::from_u128(1));
    const PROJECT: ProjectId = ProjectId::from_uuid(Uuid::from_u128(2));

    fn begin(calls: &Arc<Calls>) -> Option<Turn> {
        calls.begin_soon(ENDPOINT, PROJECT)
    }

    fn place(calls: &Arc<Calls>) -> Place {
        match begin(calls) {
            Some(Turn::Now(place)) => place,
            other => panic!("{other:?}"),
        }
    }

    fn turn(calls: &Arc<Calls>) -> oneshot::Receiver<Place> {
        match begin(calls) {
            Some(Turn::Soon(turn)) => turn,
            other => panic!("{other:?}"),
        }
    }

    /// One place, whose endpoint has shown to answer at once.
    fn calls() -> Arc<Calls> {
        let calls = Arc::new(Calls::new(2, 1, Arc::default()));
        place(&calls).succeeded = Some(true);
        calls
    }

    #[test]
    fn who_waits_gets_the_place_that_is_free_in_turn() {
        let calls = Arc::new(Calls::new(2, 1, Arc::default()));
        let mut first = place(&calls);
        assert!(begin(&calls).is_none(), "it has shown nothing: its calls wait in the queue");
        first.succeeded = Some(true);
        drop(first);
        let first = place(&calls);
        let (mut second, third, mut fourth) = (turn(&calls), turn(&calls), turn(&calls));
        assert_eq!(second.try_recv().unwrap_err(), TryRecvError::Empty);
        drop(first);
        let second = second.try_recv().unwrap();
        drop(third);
        drop(second);
        let _fourth = fourth.try_recv().expect("one that is gone is passed over");
        assert_eq!(calls.available(), 1, "one of two was taken");
    }

    #[test]
    fn who_waits_for_an_endpoint_that_fails_goes_back() {
        let calls = calls();
        let mut first = place(&calls);
        let mut last = turn(&calls);
        for is_last in [false, false, true] {
            first.succeeded = Some(false);
            drop(first);
            if is_last {
                break;
            }
            first = last.try_recv().expect("one failure says little");
            last = turn(&calls);
        }
        assert_eq!(last.try_recv().unwrap_err(), TryRecvError::Closed);
        let _first = place(&calls);
        assert!(begin(&calls).is_none(), "and nobody waits for it any more");
    }

    #[test]
    fn endpoints_take_turns_and_leave_places_to_what_is_claimed() {
        const OTHER: EndpointId = EndpointId::from_uuid(Uuid::from_u128(3));
        let calls = Arc::new(Calls::new(16, 8, Arc::default()));
        for endpoint in [ENDPOINT, OTHER] {
            let mut shown = calls.begin(endpoint, PROJECT).unwrap();
            shown.succeeded = Some(true);
        }
        let mut under_way: Vec<_> = (0..6).map(|_| place(&calls)).collect();
        let mut own: Vec<_> = (0..4).map(|_| turn(&calls)).collect();
        let mut others: Vec<_> = (0..4)
            .map(|_| match calls.begin_soon(OTHER, PROJECT) {
                Some(Turn::Soon(turn)) => turn,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(calls.begin(OTHER, PROJECT).is_some(), "what is claimed finds a place: a quarter is left to it");
        under_way.truncate(2);
        let taken = |turns: &mut Vec<oneshot::Receiver<Place>>| {
            turns.iter_mut().filter_map(|turn| turn.try_recv().ok()).collect::<Vec<_>>()
        };
        let (own, others) = (taken(&mut own), taken(&mut others));
        assert_eq!((own.len(), others.len()), (1, 3), "the one with fewer calls under way first");
    }

    #[test]
    fn nobody_waits_in_a_process_that_stops() {
        let calls = calls();
        let first = place(&calls);
        let mut second = turn(&calls);
        calls.close();
        assert_eq!(second.try_recv().unwrap_err(), TryRecvError::Closed);
        drop(first);
        assert!(begin(&calls).is_none());
    }
}
