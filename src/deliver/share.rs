//! Whose turn it is: how many deliveries of each group one claim takes, over all the shards that it looks at.
//! Priorities strictly; within one, projects in turn; within a project, its groups in turn. Pure.

use std::collections::HashMap;

use crate::domain::delivery::Group;
use crate::domain::id::ProjectId;
use crate::handover::Allowances;

/// Shares of `limit`, in order of `groups`. No lane and no project gets more than its room.
pub fn allot(groups: &[Group], mut allowances: Allowances, limit: usize) -> Vec<usize> {
    let mut shares = vec![0; groups.len()];
    let mut left = limit;
    let mut priorities: Vec<_> = groups.iter().map(|group| group.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    for priority in priorities {
        let mut rotations = rotations(groups, priority);
        while left > 0 && !rotations.is_empty() {
            // One round: each project takes one delivery of the group whose turn it is.
            rotations
                .retain_mut(|rotation| left > 0 && rotation.take_one(groups, &mut allowances, &mut shares, &mut left));
        }
    }
    shares
}

/// A project's groups of one priority, and which is next.
struct ProjectRotation {
    project: ProjectId,
    groups: Vec<usize>,
    next: usize,
}

fn rotations(groups: &[Group], priority: i16) -> Vec<ProjectRotation> {
    let mut rotations: Vec<ProjectRotation> = Vec::new();
    let mut places: HashMap<ProjectId, usize> = HashMap::new();
    for (index, group) in groups.iter().enumerate().filter(|(_, group)| group.priority == priority) {
        let place = *places.entry(group.project).or_insert_with(|| {
            rotations.push(ProjectRotation { project: group.project, groups: Vec::new(), next: 0 });
            rotations.len() - 1
        });
        rotations[place].groups.push(index);
    }
    rotations
}

impl ProjectRotation {
    /// Allots one delivery to the next group that has room; `false` when none has.
    fn take_one(
        &mut self,
        groups: &[Group],
        allowances: &mut Allowances,
        shares: &mut [usize],
        left: &mut usize,
    ) -> bool {
        let Some(of_project) = allowances.projects.get_mut(&self.project).filter(|available| **available > 0) else {
            return false;
        };
        for _ in 0..self.groups.len() {
            let index = self.groups[self.next % self.groups.len()];
            self.next += 1;
            let Group { next_hop, priority, .. } = &groups[index];
            if let Some(of_lane) = allowances.lanes.get_mut(next_hop).filter(|room| room.left(*priority) > 0) {
                of_lane.take();
                *of_project -= 1;
                shares[index] += 1;
                *left -= 1;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::shard::Shard;
    use crate::handover::Room;

    fn group(priority: i16, project: u128, hop: &str) -> Group {
        Group {
            shard: Shard::of_low_bits(0),
            priority,
            project: ProjectId::from_uuid(Uuid::from_u128(project)),
            next_hop: hop.to_owned(),
        }
    }

    fn room(available: usize) -> Room {
        Room { urgent: available, other: available }
    }

    fn allowances(groups: &[Group], available: usize) -> Allowances {
        Allowances {
            lanes: groups.iter().map(|g| (g.next_hop.clone(), room(available))).collect(),
            projects: groups.iter().map(|g| (g.project, available)).collect(),
        }
    }

    #[test]
    fn projects_share_evenly_however_many_next_hops_they_have() {
        let mut groups: Vec<_> = (0..9).map(|n| group(1, 1, &format!("d{n}"))).collect();
        groups.push(group(1, 2, "x"));
        let shares = allot(&groups, allowances(&groups, 1000), 90);
        assert_eq!(shares, [5, 5, 5, 5, 5, 5, 5, 5, 5, 45]);
    }

    #[test]
    fn what_a_person_waits_for_goes_first() {
        let groups = [group(0, 1, "a"), group(1, 2, "b"), group(2, 3, "c")];
        assert_eq!(allot(&groups, allowances(&groups, 6), 10), [6, 4, 0]);
    }

    #[test]
    fn what_a_person_waits_for_finds_room_in_a_lane_that_is_full_of_other_mail() {
        let groups = [group(0, 1, "a"), group(1, 1, "a"), group(1, 1, "b")];
        let mut allowances = allowances(&groups, 9);
        allowances.lanes.insert("a".into(), Room { urgent: 5, other: 2 });
        assert_eq!(allot(&groups, allowances, 8), [5, 0, 3], "and what it takes the others do not");
    }

    #[test]
    fn a_full_lane_gives_its_turn_to_the_next() {
        let groups = [group(1, 1, "full"), group(1, 1, "open"), group(1, 2, "full")];
        let mut allowances = allowances(&groups, 50);
        allowances.lanes.insert("full".into(), room(0));
        assert_eq!(allot(&groups, allowances, 10), [0, 10, 0]);
    }

    proptest::proptest! {
        #[test]
        fn no_bound_is_passed_and_nothing_is_left_over(
            given in proptest::collection::vec((0..3_i16, 0..4_u128, 0..5_u8), 0..30), available in 0..20_usize, limit in 0..100_usize,
        ) {
            let mut groups: Vec<_> = given.iter().map(|(p, o, h)| group(*p, *o, &h.to_string())).collect();
            groups.sort_by(|a, b| (a.priority, a.project, &a.next_hop).cmp(&(b.priority, b.project, &b.next_hop)));
            groups.dedup();
            let shares = allot(&groups, allowances(&groups, available), limit);
            let total: usize = shares.iter().sum();
            proptest::prop_assert!(total <= limit);
            let sum = |wanted: &dyn Fn(&Group) -> bool| -> usize {
                groups.iter().zip(&shares).filter(|(g, _)| wanted(g)).map(|(_, s)| s).sum()
            };
            for g in &groups {
                let (lane, project) = (sum(&|o| o.next_hop == g.next_hop), sum(&|o| o.project == g.project));
                proptest::prop_assert!(lane <= available && project <= available);
                // A group that could still have one was stopped by the limit alone.
                proptest::prop_assert!(total == limit || lane == available || project == available);
            }
        }
    }
}
