//! How many calls may be under way: of an endpoint as many as it has shown to answer, of a project a share that falls as others
//! come. Pure; who claims asks first what is full.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::id::{EndpointId, ProjectId};
use crate::store::queue::webhook_claims::Rooms;

/// Calls under way, and what endpoints have shown.
#[derive(Debug)]
pub struct Places {
    /// Most calls at once, of all.
    most: usize,
    /// Most calls to an endpoint that has shown nothing.
    unproven: usize,
    total: usize,
    projects: HashMap<ProjectId, usize>,
    endpoints: HashMap<EndpointId, Standing>,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    under_way: usize,
    /// Most calls at once: one more with each that succeeds, half as many with each that does not.
    limit: usize,
    /// Calls in a row that did not succeed; `None`: none ever did.
    failed: Option<usize>,
    /// How long a call that succeeds holds its place, about.
    span: Duration,
}

impl Standing {
    /// How many calls it will have places for within [`SOON`], of so many at once; none, unless one of its last calls succeeded.
    fn soon(&self, most: usize) -> usize {
        if self.failed.is_none_or(|failed| failed >= FAILING) {
            return 0;
        }
        let at_once = self.limit.min(most) as u128;
        usize::try_from((SOON.as_nanos() / self.span.as_nanos().max(1)).saturating_mul(at_once)).unwrap_or(usize::MAX)
    }
}

/// Calls that find a place within this time may wait for it here, without being claimed once more.
pub const SOON: Duration = Duration::from_millis(200);
/// After so many calls in a row that do not succeed none waits here.
const FAILING: usize = 3;
/// One call in so many says how long the next will take.
const NEWS: u32 = 10;

/// One of which a call succeeded among the last so many has as many places as one that has shown nothing: what fails now and
/// then is told as well.
const DOUBT: usize = 32;

/// Calls of a project that may wait for one of its places.
const WAITING: usize = 16;

/// Endpoints whose standing is remembered.
const REMEMBERED: usize = 10_000;

impl Places {
    pub fn new(most: usize, unproven: usize) -> Self {
        Self { most, unproven, total: 0, projects: HashMap::new(), endpoints: HashMap::new() }
    }

    /// Calls that may be begun now.
    pub const fn available(&self) -> usize {
        self.most.saturating_sub(self.total)
    }

    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// What one project may have: half of all while it is alone, less as others come.
    fn share(&self, projects: usize) -> usize {
        (self.most / (projects + 1)).max(1)
    }

    /// How many more calls each endpoint may have.
    pub fn of_endpoints(&self) -> Rooms {
        let is_named = |standing: &Standing| standing.under_way > 0 || standing.limit < self.unproven;
        let named = self.endpoints.iter().filter(|(_, standing)| is_named(standing));
        let room = |standing: &Standing| standing.limit.saturating_sub(standing.under_way);
        Rooms { named: named.map(|(id, standing)| (id.uuid(), room(standing))).collect(), of_others: self.unproven }
    }

    /// How many more calls each project may have.
    pub fn of_projects(&self) -> Rooms {
        let share = self.share(self.projects.len());
        let named = self.projects.iter().map(|(id, count)| (id.uuid(), share.saturating_sub(*count)));
        Rooms { named: named.collect(), of_others: self.share(self.projects.len() + 1) }
    }

    /// Calls under way to an endpoint.
    pub fn under_way(&self, endpoint: EndpointId) -> usize {
        self.endpoints.get(&endpoint).map_or(0, |standing| standing.under_way)
    }

    /// A call begins that was not claimed; `false`: there is no place for it. A quarter of its project's share is left to those
    /// that are: what is tried again, and endpoints that have shown nothing.
    pub fn begin_unclaimed(&mut self, endpoint: EndpointId, project: ProjectId) -> bool {
        let projects = self.projects.len() + usize::from(!self.projects.contains_key(&project));
        let share = self.share(projects);
        let of_project = self.projects.get(&project).copied().unwrap_or_default();
        of_project < (share - share / 4).max(1) && self.begin(endpoint, project)
    }

    /// A call begins; `false`: there is no place for it.
    pub fn begin(&mut self, endpoint: EndpointId, project: ProjectId) -> bool {
        let projects = self.projects.len() + usize::from(!self.projects.contains_key(&project));
        let share = self.share(projects);
        let limit = self.unproven;
        let of_project = self.projects.get(&project).copied().unwrap_or_default();
        let standing = self.endpoints.entry(endpoint).or_insert(Standing {
            under_way: 0,
            limit,
            failed: None,
            span: Duration::ZERO,
        });
        if self.total >= self.most || of_project >= share || standing.under_way >= standing.limit {
            return false;
        }
        standing.under_way += 1;
        *self.projects.entry(project).or_default() += 1;
        self.total += 1;
        true
    }

    /// How many calls of an endpoint may wait for a place, beside how many of its project.
    pub fn soon(&self, endpoint: EndpointId, project: ProjectId) -> (usize, usize) {
        let projects = self.projects.len() + usize::from(!self.projects.contains_key(&project));
        let share = self.share(projects);
        let of_project = WAITING * share;
        let of_endpoint = self.endpoints.get(&endpoint).map_or(0, |standing| standing.soon(share));
        (of_endpoint.min(of_project), of_project)
    }

    /// A call ended that held its place for this long; `succeeded`: as it should, or not, or nobody knows.
    pub fn end(&mut self, endpoint: EndpointId, project: ProjectId, succeeded: Option<bool>, held: Duration) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.projects.get_mut(&project) {
            *count -= 1;
            if *count == 0 {
                self.projects.remove(&project);
            }
        }
        if let Some(standing) = self.endpoints.get_mut(&endpoint) {
            standing.under_way = standing.under_way.saturating_sub(1);
            match succeeded {
                Some(true) => {
                    let news = if standing.failed.is_none() { 1 } else { NEWS };
                    standing.span = (standing.span * (news - 1) + held) / news;
                    standing.limit = (standing.limit + 1).min(self.most);
                    standing.failed = Some(0);
                }
                Some(false) => {
                    standing.failed = standing.failed.map(|failed| failed + 1);
                    let least = if standing.failed.is_some_and(|failed| failed < DOUBT) { self.unproven } else { 1 };
                    standing.limit = (standing.limit / 2).max(least.min(standing.limit)).max(1);
                }
                None => {}
            }
        }
        if self.endpoints.len() > REMEMBERED {
            self.endpoints.retain(|_, standing| standing.under_way > 0);
        }
    }

    /// Endpoints with a call under way.
    #[cfg(test)]
    fn busy(&self) -> std::collections::HashSet<EndpointId> {
        self.endpoints.iter().filter(|(_, standing)| standing.under_way > 0).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn endpoint(n: u128) -> EndpointId {
        EndpointId::from_uuid(Uuid::from_u128(n))
    }

    fn project(n: u128) -> ProjectId {
        ProjectId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn an_endpoint_that_answers_gets_more_and_one_that_does_not_gets_one() {
        let mut places = Places::new(64, 4);
        let begin = |places: &mut Places, n: u128| (0..64).filter(|_| places.begin(endpoint(n), project(1))).count();
        assert_eq!(begin(&mut places, 1), 4);
        assert_eq!(places.of_endpoints().named, [(endpoint(1).uuid(), 0)]);
        for _ in 0..4 {
            places.end(endpoint(1), project(1), Some(true), Duration::from_millis(10));
        }
        assert_eq!(begin(&mut places, 1), 8);
        for _ in 0..8 {
            places.end(endpoint(1), project(1), Some(false), Duration::from_millis(10));
        }
        assert_eq!(begin(&mut places, 1), 4, "of one that has answered a few failures say little");
        for _ in 0..DOUBT {
            places.end(endpoint(1), project(1), Some(false), Duration::from_millis(10));
        }
        assert_eq!((begin(&mut places, 1), places.busy().len()), (1, 1));
        assert_eq!(begin(&mut places, 2), 4);
        for _ in 0..4 {
            places.end(endpoint(2), project(1), Some(false), Duration::from_millis(10));
        }
        assert_eq!(begin(&mut places, 2), 1, "one that never answered has to begin with it");
        assert_eq!(places.of_endpoints().of_others, 4);
    }

    #[test]
    fn as_many_may_wait_as_find_a_place_soon() {
        let mut places = Places::new(64, 4);
        assert_eq!(places.soon(endpoint(1), project(1)).0, 0, "it has shown nothing");
        let mut call = |n: u128, succeeded, held| {
            assert!(places.begin(endpoint(n), project(1)));
            places.end(endpoint(n), project(1), Some(succeeded), held);
            places.soon(endpoint(n), project(1)).0
        };
        assert_eq!(call(1, true, Duration::from_millis(10)), 100, "five places for twenty times ten milliseconds");
        assert!(call(1, false, Duration::from_millis(10)) > 0, "one failure says little");
        assert!(call(1, false, Duration::from_millis(10)) > 0);
        assert_eq!(call(1, false, Duration::from_millis(10)), 0, "it fails");
        assert_eq!(call(2, true, Duration::from_secs(10)), 0, "none of them would be called soon");
        assert_eq!(call(3, true, Duration::ZERO), WAITING * 32, "a project's share bounds that");
    }

    #[test]
    fn a_project_has_a_share_that_falls_as_others_come() {
        let mut places = Places::new(64, 8);
        let fill = |places: &mut Places, n: u128| {
            (0..50).map(|e| (0..8).filter(|_| places.begin(endpoint(n * 100 + e), project(n))).count()).sum::<usize>()
        };
        assert_eq!(fill(&mut places, 1), 32, "half while it is alone");
        assert_eq!(places.of_projects().named, [(project(1).uuid(), 0)]);
        assert_eq!(fill(&mut places, 2), 21, "a third beside one");
        assert!(places.available() > 0, "there is always room for who comes next");
        assert!(places.begin(endpoint(300), project(3)));
    }
}
