//! Who may have how many places, as tables of what is taken.

use uuid::Uuid;

use super::*;

const S: Shard = Shard::of_low_bits(7);

fn project(n: u128) -> ProjectId {
    ProjectId::from_uuid(Uuid::from_u128(n))
}

fn places(total: usize) -> (Arc<Places>, Arc<Wake>) {
    let wake = Arc::<Wake>::default();
    let places = Arc::new(Places::new(total, 20, Arc::clone(&wake)));
    places.open();
    (places, wake)
}

fn fill(places: &Arc<Places>, lane: &str, of: u128) -> Vec<Place> {
    std::iter::from_fn(|| places.reserve(lane, project(of))).collect()
}

/// Shows that a lane finishes what it is given.
fn prove(places: &Arc<Places>, lane: &str, of: u128) {
    drop(places.reserve(lane, project(of)));
}

#[test]
fn two_hundred_stuck_lanes_leave_room_for_the_next() {
    let (places, _) = places(4096);
    let held: Vec<_> = (0..200).map(|n| fill(&places, &format!("stuck{n}"), 1)).collect();
    assert!(held.iter().all(|held| held.len() == 5), "what a lane may try that has shown nothing");
    assert_eq!(fill(&places, "fresh", 1).len(), 5, "of the same project");
    prove(&places, "healthy", 1);
    assert_eq!(fill(&places, "healthy", 1).len(), 21, "what its sessions can work at, and what it did this second");
}

#[test]
fn two_thousand_stuck_lanes_leave_room_for_one_that_is_proven() {
    let (places, _) = places(4096);
    prove(&places, "healthy", 1);
    let held: Vec<_> = (0..2000).flat_map(|n| fill(&places, &format!("stuck{n}"), 1)).collect();
    assert!((2030..=2050).contains(&held.len()), "half of all: {}", held.len());
    assert!(fill(&places, "fresh", 1).is_empty());
    assert_eq!(fill(&places, "healthy", 1).len(), 21);
    assert_eq!(fill(&places, "fresh", 2).len(), 5, "of another project");
}

#[test]
fn what_is_put_off_proves_nothing() {
    let (places, _) = places(4096);
    places.reserve("a", project(1)).unwrap().give_up();
    assert_eq!(fill(&places, "a", 1).len(), 5);
}

#[test]
fn a_claim_that_overtakes_the_last_place_leaves_the_count_right() {
    let (places, _) = places(2);
    let held: Vec<_> = (0..4).map(|n| places.take(&format!("l{n}"), project(n))).collect();
    assert_eq!(places.free(), 0);
    drop(held);
    assert_eq!(places.free(), 2);
}

#[test]
fn a_project_without_room_takes_no_lane_from_another() {
    let (places, _) = places(100);
    let _held: Vec<_> = (0..60).map(|n| places.take(&format!("l{n}"), project(1))).collect();
    let group = |of| Group { shard: S, priority: 1, project: project(of), next_hop: "shared".into() };
    let rooms = places.rooms(&[group(2), group(1)], &[S]);
    assert!(rooms.lanes["shared"] > 0 && rooms.projects[&project(2)] > 0);
    assert_eq!(rooms.projects[&project(1)], 0);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_finished_nothing_for_long_must_prove_itself_again() {
    let (places, _) = places(4096);
    prove(&places, "a", 1);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(fill(&places, "a", 1).len(), 20);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(fill(&places, "a", 1).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_curbed_lane_takes_nothing_then_one_and_then_as_usual() {
    let (places, wake) = places(4096);
    places.curb("dead", Instant::now() + Duration::from_secs(1));
    assert!(places.reserve("dead", project(1)).is_none());
    places.left_waiting(S, "dead", project(1));
    assert!(wake.take().is_empty(), "nobody need look");
    assert!(places.reserve("other", project(1)).is_some());
    tokio::time::advance(Duration::from_secs(2)).await;
    let rooms = places.rooms(&[Group { shard: S, priority: 1, project: project(1), next_hop: "dead".into() }], &[S]);
    assert_eq!(rooms.lanes["dead"], 1, "a probe");
    places.left_waiting(S, "dead", project(1));
    wake.take();
    let probe = places.take("dead", project(1));
    places.left_waiting(S, "dead", project(1));
    places.uncurb("dead");
    assert_eq!(wake.take(), [S], "its rows are looked for");
    drop(probe);
}

#[test]
fn a_lane_that_finishes_much_may_have_much_but_never_all() {
    let (places, _) = places(1000);
    for _ in 0..5000 {
        drop(places.reserve("fast", project(1)));
    }
    let held = fill(&places, "fast", 1);
    assert!((370..=390).contains(&held.len()), "{}", held.len());
    assert_eq!(fill(&places, "other", 2).len(), 5);
}

#[test]
fn a_project_with_many_lanes_leaves_half() {
    let (places, _) = places(1000);
    let held: Vec<_> = (0..500).flat_map(|n| fill(&places, &format!("d{n}"), 1)).collect();
    assert!((490..=510).contains(&held.len()), "{}", held.len());
    assert_eq!(fill(&places, "other", 2).len(), 5);
}

#[test]
fn fresh_deliveries_do_not_overtake_rows_that_wait() {
    let (places, wake) = places(10);
    let mut held = fill(&places, "a", 1);
    places.left_waiting(S, "a", project(1));
    assert!(wake.take().is_empty(), "there is no room yet");
    held.truncate(1);
    assert_eq!(wake.take(), [S], "room came");
    assert!(places.reserve("a", project(1)).is_none(), "the row goes first");
    let group = Group { shard: S, priority: 1, project: project(1), next_hop: "a".into() };
    assert!(places.rooms(&[group], &[S]).lanes["a"] > 0);
    assert!(places.reserve("a", project(1)).is_some());
}

#[test]
fn marks_that_no_row_stands_for_any_more_are_forgotten() {
    let (places, _) = places(10);
    let held = fill(&places, "a", 1);
    places.left_waiting(S, "a", project(1));
    drop(held);
    assert!(places.reserve("a", project(1)).is_none());
    places.only_ready(&[]);
    assert!(places.reserve("a", project(1)).is_some());
}

#[test]
fn closed_places_take_nothing_fresh() {
    let (places, wake) = places(10);
    places.close();
    assert!(places.reserve("a", project(1)).is_none());
    places.left_waiting(S, "a", project(1));
    assert_eq!(wake.take(), [S]);
}
