//! Who waits for a lane, in the order of their turns: by priority, within one project after project, within a project who came first.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::domain::id::ProjectId;

/// Whose turn it is among those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Lower is served first.
    pub priority: i16,
    pub project: ProjectId,
}

/// Those who wait.
pub struct Turns<T> {
    /// By priority; none is empty.
    bands: BTreeMap<i16, Band<T>>,
}

/// Those of one priority.
struct Band<T> {
    /// Projects with somebody who waits; the first has the next turn.
    projects: VecDeque<ProjectId>,
    waiting: HashMap<ProjectId, VecDeque<T>>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { bands: BTreeMap::new() }
    }
}

impl<T> Turns<T> {
    pub fn is_empty(&self) -> bool {
        self.bands.is_empty()
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    pub fn push(&mut self, standing: Standing, one: T) {
        let band = self.bands.entry(standing.priority).or_default();
        let waiting = band.waiting.entry(standing.project).or_default();
        if waiting.is_empty() {
            band.projects.push_back(standing.project);
        }
        waiting.push_back(one);
    }

    /// Whose turn it is.
    pub fn first(&self) -> Option<&T> {
        self.bands.values().next()?.in_turn().next()
    }

    /// Takes the one whose turn it is.
    pub fn take_first(&mut self) -> Option<T> {
        self.take_next(1, |_| true)
    }

    /// Takes the first of the next `look` that fits, of those of the highest priority that waits: none overtakes a higher one.
    pub fn take_next(&mut self, look: usize, fits: impl FnMut(&T) -> bool) -> Option<T> {
        let mut band = self.bands.first_entry()?;
        let place = band.get().in_turn().take(look).position(fits)?;
        let taken = band.get_mut().take(place);
        if band.get().projects.is_empty() {
            band.remove();
        }
        taken
    }

    /// The first of the next `look` that fits, as [`Turns::take_next`] would take it.
    pub fn next(&self, look: usize, mut fits: impl FnMut(&T) -> bool) -> Option<&T> {
        self.bands.values().next()?.in_turn().take(look).find(|one| fits(one))
    }

    /// All, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.bands.values().flat_map(|band| band.waiting.values().flatten())
    }

    /// Takes out all of whom `is_out` says so.
    pub fn take_all(&mut self, mut is_out: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut out = Vec::new();
        for band in self.bands.values_mut() {
            for waiting in band.waiting.values_mut() {
                let (gone, kept): (VecDeque<_>, _) = std::mem::take(waiting).into_iter().partition(&mut is_out);
                out.extend(gone);
                *waiting = kept;
            }
            band.waiting.retain(|_, waiting| !waiting.is_empty());
            band.projects.retain(|project| band.waiting.contains_key(project));
        }
        self.bands.retain(|_, band| !band.projects.is_empty());
        out
    }
}

impl<T> Default for Band<T> {
    fn default() -> Self {
        Self { projects: VecDeque::new(), waiting: HashMap::new() }
    }
}

impl<T> Band<T> {
    /// The project and the place in its queue of every turn to come.
    fn turns(&self) -> impl Iterator<Item = (ProjectId, usize)> {
        let rounds = self.waiting.values().map(VecDeque::len).max().unwrap_or(0);
        (0..rounds).flat_map(|round| self.projects.iter().map(move |project| (*project, round)))
    }

    fn in_turn(&self) -> impl Iterator<Item = &T> {
        self.turns().filter_map(|(project, at)| self.waiting.get(&project)?.get(at))
    }

    /// Takes the one with that place among [`Band::in_turn`]; its project goes behind the others.
    fn take(&mut self, place: usize) -> Option<T> {
        let is_there =
            |(project, at): &(ProjectId, usize)| self.waiting.get(project).is_some_and(|one| *at < one.len());
        let (project, at) = self.turns().filter(is_there).nth(place)?;
        let waiting = self.waiting.get_mut(&project)?;
        let taken = waiting.remove(at);
        self.projects.retain(|other| *other != project);
        if waiting.is_empty() {
            self.waiting.remove(&project);
        } else {
            self.projects.push_back(project);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn standing(priority: i16, project: u128) -> Standing {
        Standing { priority, project: ProjectId::from_uuid(Uuid::from_u128(project)) }
    }

    fn waiting(given: &[(i16, u128, &'static str)]) -> Turns<&'static str> {
        let mut turns = Turns::default();
        for (priority, project, name) in given {
            turns.push(standing(*priority, *project), *name);
        }
        turns
    }

    fn order(mut turns: Turns<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| {
            let next = turns.first().copied();
            assert_eq!(turns.take_first(), next);
            next
        })
        .collect()
    }

    #[test]
    fn what_a_person_waits_for_goes_first_and_projects_take_turns() {
        let turns =
            waiting(&[(2, 1, "a"), (2, 1, "b"), (2, 1, "c"), (2, 2, "x"), (0, 1, "now"), (1, 3, "soon"), (2, 2, "y")]);
        assert_eq!(turns.len(), 7);
        assert_eq!(order(turns), ["now", "soon", "a", "x", "b", "y", "c"]);
    }

    #[test]
    fn none_that_could_follow_overtakes_a_higher_priority() {
        let mut turns = waiting(&[(1, 1, "first"), (1, 2, "fits"), (2, 1, "fits, too")]);
        let fits = |one: &&str| one.starts_with("fits");
        assert_eq!(turns.next(8, fits), Some(&"fits"));
        assert_eq!(turns.take_next(8, fits), Some("fits"));
        assert_eq!(turns.take_next(8, fits), None, "while another is before it");
        assert_eq!(order(turns), ["first", "fits, too"]);
    }

    #[test]
    fn whoever_is_taken_out_leaves_the_others_in_their_order() {
        let mut turns = waiting(&[(0, 1, "a"), (1, 1, "b"), (1, 2, "c"), (1, 1, "d")]);
        let mut out = turns.take_all(|one| ["a", "c"].contains(one));
        out.sort_unstable();
        assert_eq!(out, ["a", "c"]);
        assert_eq!(order(turns), ["b", "d"]);
    }
}
