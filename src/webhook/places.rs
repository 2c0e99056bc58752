//! How many calls may be under way: of an endpoint as many as it has shown to answer, of a project a share that falls as others
//! come. Pure; who claims asks first what is full.

use std::collections::HashMap;

use crate::domain::id::{EndpointId, ProjectId};

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
}

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

    /// Endpoints that may have no more.
    pub fn full_endpoints(&self) -> Vec<EndpointId> {
        self.endpoints.iter().filter(|(_, standing)| standing.under_way >= standing.limit).map(|(id, _)| *id).collect()
    }

    /// Projects that may have no more.
    pub fn full_projects(&self) -> Vec<ProjectId> {
        let share = self.share(self.projects.len());
        self.projects.iter().filter(|(_, count)| **count >= share).map(|(id, _)| *id).collect()
    }

    /// How many more calls each endpoint of a claim may have at most: as long as nobody is full there is room for these.
    pub fn each(&self) -> usize {
        self.unproven.min(self.available()).max(1)
    }

    /// A call begins; `false`: there is no place for it.
    pub fn begin(&mut self, endpoint: EndpointId, project: ProjectId) -> bool {
        let projects = self.projects.len() + usize::from(!self.projects.contains_key(&project));
        let share = self.share(projects);
        let limit = self.unproven;
        let of_project = self.projects.get(&project).copied().unwrap_or_default();
        let standing = self.endpoints.entry(endpoint).or_insert(Standing { under_way: 0, limit });
        if self.total >= self.most || of_project >= share || standing.under_way >= standing.limit {
            return false;
        }
        standing.under_way += 1;
        *self.projects.entry(project).or_default() += 1;
        self.total += 1;
        true
    }

    /// A call ended; `succeeded`: as it should, or not, or nobody knows.
    pub fn end(&mut self, endpoint: EndpointId, project: ProjectId, succeeded: Option<bool>) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.projects.get_mut(&project) {
            *count -= 1;
            if *count == 0 {
                self.projects.remove(&project);
            }
        }
        if let Some(standing) = self.endpoints.get_mut(&endpoint) {
            standing.under_way = standing.under_way.saturating_sub(1);
            standing.limit = match succeeded {
                Some(true) => (standing.limit + 1).min(self.most),
                Some(false) => (standing.limit / 2).max(1),
                None => standing.limit,
            };
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
        assert_eq!(places.full_endpoints(), [endpoint(1)]);
        for _ in 0..4 {
            places.end(endpoint(1), project(1), Some(true));
        }
        assert_eq!(begin(&mut places, 1), 8);
        for _ in 0..8 {
            places.end(endpoint(1), project(1), Some(false));
        }
        assert_eq!((begin(&mut places, 1), places.busy().len()), (1, 1));
    }

    #[test]
    fn a_project_has_a_share_that_falls_as_others_come() {
        let mut places = Places::new(64, 8);
        let fill = |places: &mut Places, n: u128| {
            (0..50).map(|e| (0..8).filter(|_| places.begin(endpoint(n * 100 + e), project(n))).count()).sum::<usize>()
        };
        assert_eq!(fill(&mut places, 1), 32, "half while it is alone");
        assert_eq!(places.full_projects(), [project(1)]);
        assert_eq!(fill(&mut places, 2), 21, "a third beside one");
        assert!(places.available() > 0, "there is always room for who comes next");
        assert!(places.begin(endpoint(300), project(3)));
    }
}
