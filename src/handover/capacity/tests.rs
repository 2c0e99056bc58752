//! Who may have how many permits, as tables of what is taken.

use uuid::Uuid;

use super::*;

const S: Shard = Shard::of_low_bits(7);

fn project(n: u128) -> ProjectId {
    ProjectId::from_uuid(Uuid::from_u128(n))
}

fn capacity(total: usize) -> (Arc<Capacity>, Arc<Wake>) {
    let wake = Arc::<Wake>::default();
    let capacity = Arc::new(Capacity::new(total, 20, Arc::clone(&wake)));
    capacity.open();
    (capacity, wake)
}

fn fill(capacity: &Arc<Capacity>, lane: &str, of: u128) -> Vec<Permit> {
    std::iter::from_fn(|| capacity.reserve(lane, project(of), 1)).collect()
}

/// Shows that a lane finishes what it is given.
fn prove(capacity: &Arc<Capacity>, lane: &str, of: u128) {
    drop(capacity.reserve(lane, project(of), 1));
}

#[test]
fn two_hundred_stuck_lanes_leave_room_for_the_next() {
    let (capacity, _) = capacity(4096);
    let held: Vec<_> = (0..200).map(|n| fill(&capacity, &format!("stuck{n}"), 1)).collect();
    assert!(held.iter().all(|held| held.len() == 5), "what a lane may try that has shown nothing");
    assert_eq!(fill(&capacity, "fresh", 1).len(), 5, "of the same project");
    prove(&capacity, "healthy", 1);
    assert_eq!(fill(&capacity, "healthy", 1).len(), 21, "what its sessions can work at, and what it did this second");
}

#[test]
fn two_thousand_stuck_lanes_leave_room_for_one_that_is_proven() {
    let (capacity, _) = capacity(4096);
    prove(&capacity, "healthy", 1);
    let held: Vec<_> = (0..2000).flat_map(|n| fill(&capacity, &format!("stuck{n}"), 1)).collect();
    assert!((2030..=2050).contains(&held.len()), "half of all: {}", held.len());
    assert!(fill(&capacity, "fresh", 1).is_empty());
    assert_eq!(fill(&capacity, "healthy", 1).len(), 21);
    assert_eq!(fill(&capacity, "fresh", 2).len(), 5, "of another project");
}

#[test]
fn what_is_put_off_proves_nothing() {
    let (capacity, _) = capacity(4096);
    capacity.reserve("a", project(1), 1).unwrap().give_up();
    assert_eq!(fill(&capacity, "a", 1).len(), 5);
}

#[test]
fn a_claim_that_overtakes_the_last_place_leaves_the_count_right() {
    let (capacity, _) = capacity(2);
    let held: Vec<_> = (0..4).map(|n| capacity.take(&format!("l{n}"), project(n))).collect();
    assert_eq!(capacity.free(), 0);
    drop(held);
    assert_eq!(capacity.free(), 2);
}

#[test]
fn a_project_without_room_takes_no_lane_from_another() {
    let (capacity, _) = capacity(100);
    let _held: Vec<_> = (0..60).map(|n| capacity.take(&format!("l{n}"), project(1))).collect();
    let group = |of| Group { shard: S, priority: 1, project: project(of), next_hop: "shared".into() };
    let allowances = capacity.allowances(&[group(2), group(1)], &[S]);
    assert!(allowances.lanes["shared"].other > 0 && allowances.projects[&project(2)] > 0);
    assert_eq!(allowances.projects[&project(1)], 0);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_finished_nothing_for_long_must_prove_itself_again() {
    let (capacity, _) = capacity(4096);
    prove(&capacity, "a", 1);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(fill(&capacity, "a", 1).len(), 20);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(fill(&capacity, "a", 1).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_curbed_lane_takes_nothing_then_one_and_then_as_usual() {
    let (capacity, wake) = capacity(4096);
    capacity.suspend("dead", Instant::now() + Duration::from_secs(1));
    assert!(capacity.reserve("dead", project(1), 1).is_none());
    capacity.left_waiting(S, "dead", project(1), 1);
    assert!(wake.take().is_empty(), "nobody need look");
    assert!(capacity.reserve("other", project(1), 1).is_some());
    tokio::time::advance(Duration::from_secs(2)).await;
    let allowances =
        capacity.allowances(&[Group { shard: S, priority: 1, project: project(1), next_hop: "dead".into() }], &[S]);
    assert_eq!(allowances.lanes["dead"], Room { urgent: 1, other: 1 }, "a probe");
    capacity.left_waiting(S, "dead", project(1), 1);
    wake.take();
    let probe = capacity.take("dead", project(1));
    capacity.left_waiting(S, "dead", project(1), 1);
    capacity.resume("dead");
    assert_eq!(wake.take(), [S], "its rows are looked for");
    drop(probe);
}

#[test]
fn a_lane_that_finishes_much_may_have_much_but_never_all() {
    let (capacity, _) = capacity(1000);
    for _ in 0..5000 {
        drop(capacity.reserve("fast", project(1), 1));
    }
    let held = fill(&capacity, "fast", 1);
    assert!((370..=390).contains(&held.len()), "{}", held.len());
    assert_eq!(fill(&capacity, "other", 2).len(), 5);
}

#[test]
fn a_project_with_many_lanes_leaves_half() {
    let (capacity, _) = capacity(1000);
    let held: Vec<_> = (0..500).flat_map(|n| fill(&capacity, &format!("d{n}"), 1)).collect();
    assert!((490..=510).contains(&held.len()), "{}", held.len());
    assert_eq!(fill(&capacity, "other", 2).len(), 5);
}

#[test]
fn fresh_deliveries_do_not_overtake_rows_that_wait() {
    let (capacity, wake) = capacity(10);
    let mut held = fill(&capacity, "a", 1);
    capacity.left_waiting(S, "a", project(1), 1);
    assert!(wake.take().is_empty(), "there is no room yet");
    held.truncate(1);
    assert_eq!(wake.take(), [S], "room came");
    assert!(capacity.reserve("a", project(1), 1).is_none(), "the row goes first");
    let group = Group { shard: S, priority: 1, project: project(1), next_hop: "a".into() };
    assert!(capacity.allowances(&[group], &[S]).lanes["a"].other > 0);
    assert!(capacity.reserve("a", project(1), 1).is_some());
}

#[test]
fn marks_that_no_row_stands_for_any_more_are_forgotten() {
    let (capacity, _) = capacity(10);
    let held = fill(&capacity, "a", 1);
    capacity.left_waiting(S, "a", project(1), 1);
    drop(held);
    assert!(capacity.reserve("a", project(1), 1).is_none());
    capacity.only_ready(&[]);
    assert!(capacity.reserve("a", project(1), 1).is_some());
}

#[test]
fn closed_places_take_nothing_fresh() {
    let (capacity, wake) = capacity(10);
    capacity.close();
    assert!(capacity.reserve("a", project(1), 1).is_none());
    capacity.left_waiting(S, "a", project(1), 1);
    assert_eq!(wake.take(), [S]);
}

#[test]
fn what_a_person_waits_for_has_places_in_a_lane_that_is_full_and_goes_before_what_waits() {
    let (capacity, wake) = capacity(4096);
    capacity.fit("narrow", 1);
    prove(&capacity, "narrow", 1);
    let held = fill(&capacity, "narrow", 1);
    assert_eq!(held.len(), 3, "twice its connections, and what it did this second");
    capacity.left_waiting(S, "narrow", project(1), 1);
    let high = capacity.reserve("narrow", project(2), 0).expect("a place");
    assert!(capacity.reserve("narrow", project(2), 1).is_none());
    let _more: Vec<_> = std::iter::from_fn(|| capacity.reserve("narrow", project(2), 0)).collect();
    capacity.left_waiting(S, "narrow", project(2), 0);
    assert!(wake.take().is_empty());
    drop(high);
    assert_eq!(wake.take(), [S], "at once, and not when half of the lane is free");
    drop(held);
}

#[test]
fn a_project_that_is_full_of_dead_lanes_has_a_place_for_what_a_person_waits_for() {
    let (capacity, _) = capacity(4096);
    let _held: Vec<_> = (0..2000).flat_map(|n| fill(&capacity, &format!("stuck{n}"), 1)).collect();
    assert!(fill(&capacity, "fresh", 1).is_empty());
    assert!(capacity.reserve("fresh", project(1), 0).is_some());
}

#[test]
fn what_is_left_to_others_is_let_in_when_connections_are_shared_out_anew() {
    let (capacity, wake) = capacity(4096);
    capacity.leave_to_others("one", Instant::now() + Duration::from_mins(1));
    capacity.suspend("dead", Instant::now() + Duration::from_mins(1));
    for priority in [0, 1] {
        assert!(capacity.reserve("one", project(1), priority).is_none());
        capacity.left_waiting(S, "one", project(1), priority);
    }
    assert!(wake.take().is_empty());
    capacity.resume_left_to_others();
    assert_eq!(wake.take(), [S]);
    assert!(capacity.reserve("dead", project(1), 0).is_none(), "which is another matter");
}
