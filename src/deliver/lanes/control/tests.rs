//! The lane's law, second by second.

use super::*;

const LIMITS: Limits = Limits {
    connections: 20,
    connection_rate: None,
    message_rate: None,
    messages_per_connection: 100,
    idle: Duration::from_secs(10),
};
const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_mins(10) };

fn control(limits: Limits, now: Instant) -> Control {
    Control::new(limits, ProcessShare::ALONE, PAUSES, 0, false, now)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_lane_begins_carefully_and_grows_with_success_to_its_limit() {
    let now = Instant::now();
    let mut control = control(LIMITS, now);
    assert_eq!((0..30).filter(|_| control.admit(false, now) == Admission::Go).count(), 5);
    for _ in 0..15 {
        control.learn(Signal::Accepted, false, now);
    }
    assert_eq!((0..30).filter(|_| control.admit(false, now) == Admission::Go).count(), 15);
    assert_eq!(control.admit(false, now), Admission::Full);
}

#[test]
fn a_lane_that_is_told_to_slow_down_halves_once_and_returns_slowly() {
    let now = Instant::now();
    let mut control = Control::new(LIMITS, ProcessShare::ALONE, PAUSES, 0, true, now);
    for _ in 0..10 {
        control.learn(Signal::Slow, false, now);
    }
    assert_eq!(control.window_now(), 10, "ten replies of one moment are one sign");
    control.learn(Signal::Accepted, false, now + seconds(1));
    assert_eq!(control.window_now(), 10, "not yet");
    for _ in 0..10 {
        control.learn(Signal::Accepted, false, now + seconds(11));
    }
    assert_eq!(control.window_now(), 10, "one more a round, not a message");
    control.learn(Signal::Accepted, false, now + seconds(11));
    assert_eq!(control.window_now(), 11);
}

#[test]
fn a_dead_next_hop_is_paused_probed_one_at_a_time_and_ramped_up() {
    let mut now = Instant::now();
    let mut control = control(LIMITS, now);
    for n in 0..FAILURES {
        assert_eq!(control.admit(false, now), Admission::Go);
        let opened = control.learn(Signal::Failed, false, now);
        control.release();
        assert_eq!(opened, n + 1 == FAILURES);
    }
    for pause in [1_000, 1_500, 2_250, 3_375] {
        let Admission::Hold { until, why: HoldReason::Paused } = control.admit(false, now) else { panic!() };
        assert_eq!(until - now, Duration::from_millis(pause));
        now = until;
        assert_eq!(control.admit(false, now), Admission::Go, "one probe");
        assert!(matches!(control.admit(false, now), Admission::Hold { why: HoldReason::Paused, .. }), "and no second");
        assert!(control.learn(Signal::Failed, false, now));
        control.release();
    }
    let Admission::Hold { until, .. } = control.admit(false, now) else { panic!() };
    now = until;
    assert_eq!(control.admit(false, now), Admission::Go);
    control.learn(Signal::Accepted, false, now);
    control.release();
    assert_eq!((0..30).filter(|_| control.admit(false, now) == Admission::Go).count(), 1, "no stampede");
    now += SLOW;
    for _ in 0..40 {
        control.learn(Signal::Accepted, false, now);
    }
    assert!(control.window_now() > 5);
}

#[test]
fn late_failures_of_one_outage_do_not_lengthen_its_pause() {
    let now = Instant::now();
    let mut control = control(LIMITS, now);
    for _ in 0..50 {
        control.learn(Signal::Failed, false, now);
    }
    assert_eq!(control.paused_until(now), Some(now + seconds(1)));
}

#[test]
fn rates_are_kept_and_long_waits_are_not_waited_in_memory() {
    let mut now = Instant::now();
    let limits = Limits { message_rate: Some("10/s".parse().unwrap()), ..LIMITS };
    let mut control = Control::new(limits, ProcessShare::ALONE, PAUSES, 0, true, now);
    let began = now;
    let mut sent = 0;
    while now - began < seconds(10) {
        match control.admit(false, now) {
            Admission::Go => {
                sent += 1;
                control.release();
            }
            Admission::At(at) => now = at,
            other => panic!("{other:?}"),
        }
    }
    assert!((100..=111).contains(&sent), "{sent}");
    let limits = Limits { message_rate: Some("1/h".parse().unwrap()), ..LIMITS };
    let mut slow = Control::new(limits, ProcessShare::ALONE, PAUSES, 0, true, now);
    assert_eq!(slow.admit(false, now), Admission::Go);
    assert!(matches!(slow.admit(false, now), Admission::Hold { why: HoldReason::Rate, .. }));
}

#[test]
fn limits_are_divided_without_remainder_and_without_excess() {
    for of in 1..9 {
        for total in 0..40 {
            for lane in 0..7 {
                let sum: usize = (0..of).map(|rank| ProcessShare { rank, of }.part(total, lane)).sum();
                assert_eq!(sum, total);
            }
        }
    }
    let now = Instant::now();
    let limits = Limits { connections: 1, ..LIMITS };
    let mut nobody = Control::new(limits, ProcessShare { rank: 1, of: 2 }, PAUSES, 0, true, now);
    assert!(matches!(nobody.admit(false, now), Admission::Hold { why: HoldReason::Shared, .. }));
}

#[test]
fn retries_have_a_budget_which_success_gives_back() {
    let now = Instant::now();
    let mut control = Control::new(LIMITS, ProcessShare::ALONE, PAUSES, 0, false, now);
    let mut retry = |signal| match control.admit(true, now) {
        Admission::Go => {
            control.learn(signal, true, now);
            control.release();
            true
        }
        _ => false,
    };
    assert!((0..100).all(|n| retry(if n % 2 == 0 { Signal::Accepted } else { Signal::Refused })), "worth it");
    let failed = (0..200).filter(|_| retry(Signal::Answered)).count();
    assert!(failed <= 100, "{failed}");
    assert!(matches!(control.admit(true, now), Admission::Hold { why: HoldReason::Budget, .. }));
    let until = |control: &mut Control| match control.admit(true, now) {
        Admission::Hold { until, why: HoldReason::Budget } => until - now,
        other => panic!("{other:?}"),
    };
    assert_eq!(until(&mut control), BUDGET_WAIT_MAX, "behind the hundred before, and no longer");
    assert_eq!(control.admit(false, now), Admission::Go, "fresh mail goes on");
    let mut control = Control::new(LIMITS, ProcessShare::ALONE, PAUSES, 0, false, now);
    control.budget.0 = 0.0;
    assert!(until(&mut control) < until(&mut control), "each behind the one before");
}

#[test]
fn a_relay_of_the_operators_own_has_no_budget_of_retries() {
    let now = Instant::now();
    let mut control = Control::new(LIMITS, ProcessShare::ALONE, PAUSES, 0, true, now);
    for _ in 0..1000 {
        assert_eq!(control.admit(true, now), Admission::Go);
        control.learn(Signal::Answered, true, now);
        control.release();
    }
}

#[test]
fn what_fails_for_ever_never_starves_what_would_succeed() {
    let mut now = Instant::now();
    let mut control = Control::new(LIMITS, ProcessShare::ALONE, PAUSES, 0, false, now);
    control.budget.0 = 1.0;
    // Nine of ten retries break the session; all that are put off come back a moment later.
    let mut waiting = 5000;
    let mut taken = 0;
    while taken < 500 {
        assert!(control.affordable(now) < 1000);
        match control.admit(true, now) {
            Admission::Go => {
                let is_taken = waiting % 10 == 0;
                waiting -= 1;
                taken += usize::from(is_taken);
                control.learn(if is_taken { Signal::Accepted } else { Signal::Answered }, true, now);
                control.release();
            }
            Admission::Hold { why: HoldReason::Budget, .. } => now += Duration::from_secs(1),
            other => panic!("{other:?}"),
        }
        assert!(waiting > 0);
    }
}

proptest::proptest! {
    #[test]
    fn whatever_happens_no_more_than_the_limit_is_in_use(
        steps in proptest::collection::vec((0..8_u8, 0..4_u64), 0..400), limit in 1..30_usize, of in 1..4_usize,
    ) {
        let mut now = Instant::now();
        let limits = Limits { connections: limit, ..LIMITS };
        let share = ProcessShare { rank: of - 1, of };
        let mut control = Control::new(limits, share, PAUSES, 3, false, now);
        let mut in_use = 0;
        for (step, wait) in steps {
            now += Duration::from_millis(wait * 700);
            match step {
                0..=2 => in_use += usize::from(control.admit(step == 2, now) == Admission::Go),
                3 if in_use > 0 => {
                    control.release();
                    in_use -= 1;
                }
                4 => { control.learn(Signal::Accepted, false, now); }
                5 => { control.learn(Signal::Failed, false, now); }
                6 => { control.learn(Signal::Slow, false, now); }
                _ => { control.learn(Signal::Answered, true, now); }
            }
            proptest::prop_assert!(in_use <= share.part(limit, 3));
            proptest::prop_assert_eq!(in_use, control.in_use());
        }
    }
}
