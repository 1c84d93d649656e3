//! "Yield, not only advertise": the elections of an active router whose own checks lower its priority.

use vouchd_vrrp::wire::{Priority, Version};
use vouchd_vrrp::{Action, Config, ProtocolEvent, State, Time, Why, election_wait};

use crate::bench::*;

const DOWN_60: f64 = 3.765_625;

fn called(actions: &[Action]) -> bool {
    events(actions).iter().any(|event| matches!(event, ProtocolEvent::ElectionCalled { .. }))
}

/// Runs for `duration`, and returns when elections were called, counted from `start`.
fn calls(bench: &mut Bench, start: Time, duration: std::time::Duration) -> Vec<std::time::Duration> {
    let end = bench.now + duration;
    let mut calls = Vec::new();
    while let Some(deadline) = bench.router.deadline().filter(|deadline| *deadline <= end) {
        bench.now = deadline;
        calls.extend(called(&bench.timer()).then(|| bench.now.since(start)));
    }
    bench.now = end;
    calls
}

#[test]
fn lowered_router_advertises_then_resigns_and_keeps_the_addresses() {
    for (config, wait) in [
        (config(100), 0.765_625 - 0.001_953_125),
        (v2(100), 0.765_625 - 0.001_953_125),
        (Config { interval: interval(10), ..config(100) }, 0.076_562_5 - 0.000_195_312),
    ] {
        let lease = vouchd_vrrp::lease(config.interval, 3).as_secs();
        let mut bench = Bench::active(config);
        bench.wait(millis(30));
        let actions = bench.fit(60);
        assert_eq!(done(&actions), ["send 60".to_owned(), "send 0".to_owned(), format!("install for {lease}")]);
        assert_eq!(bench.state(), State::Active);
        assert!(bench.until_deadline().abs_diff(seconds(wait)) < std::time::Duration::from_micros(1));
    }
}

#[test]
fn lone_router_wins_its_election_and_never_removes_the_addresses() {
    let mut bench = Bench::active(config(100));
    let mut all = bench.fit(60);
    all.extend(bench.run(seconds(600.0)));
    assert!(!done(&all).contains(&"remove".to_owned()));
    assert!(transitions(&all).is_empty());
    assert!(events(&all).contains(&&ProtocolEvent::ElectionWon { against: None }));
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn lease_is_renewed_throughout_an_election() {
    let mut bench = Bench::active(config(100));
    let mut installed = bench.now;
    let mut longest = std::time::Duration::ZERO;
    bench.run(millis(900));
    bench.fit(1);
    for _ in 0..200 {
        let actions = bench.run_to_deadline();
        if done(&actions).iter().any(|word| word.starts_with("install")) {
            longest = longest.max(bench.now.since(installed));
            installed = bench.now;
        }
    }
    assert!(longest <= seconds(1.9), "{longest:?}");
}

#[test]
fn better_router_that_is_heard_first_takes_over() {
    for (source, priority) in [(LOWER, 61), (HIGHER, 60), (HIGHER, 254)] {
        let mut bench = Bench::active(config(100));
        bench.fit(60);
        bench.wait(seconds(0.76));
        let actions = bench.hear(source, priority);
        // The better one may not know of this router.
        assert_eq!(done(&actions), ["send 60", "remove"]);
        let why = Why::Better { peer: source, priority: Priority::new(priority) };
        assert_eq!(transitions(&actions), [(State::Active, State::Backup, why)]);
    }
}

#[test]
fn worse_router_that_took_over_is_answered_and_the_election_is_won() {
    let mut bench = Bench::active(config(100));
    bench.fit(60);
    bench.wait(seconds(0.76));
    let actions = bench.hear(HIGHER, 40);
    // It has announced the addresses, so this router announces them again.
    assert_eq!(done(&actions), ["send 60", "install for 3", "announce 5"]);
    assert!(events(&actions).contains(&&ProtocolEvent::ElectionWon { against: Some(HIGHER) }));
    assert_eq!(bench.until_deadline(), seconds(1.0), "the usual interval again");
}

#[test]
fn election_turn_comes_after_every_better_router_and_before_every_equal_one() {
    for version in [Version::V2, Version::V3] {
        for cs in [100, 200, 4000] {
            for own in 2..=253 {
                let wait = |priority| election_wait(version, Priority::new(priority), interval(cs));
                let skew = |priority| vouchd_vrrp::skew(version, Priority::new(priority), interval(cs));
                assert!(skew(own + 1) < wait(own) && wait(own) < skew(own));
            }
        }
    }
}

#[test]
fn one_election_per_down_interval_and_a_second_fall_is_remembered() {
    let mut bench = Bench::active(config(100));
    let start = bench.now;
    bench.fit(60);
    bench.wait(seconds(1.0));
    bench.timer();
    assert!(!called(&bench.fit(30)), "too early");
    // At priority 30 the down interval is 3 s + 226/256 s.
    let found = calls(&mut bench, start, seconds(3.0));
    assert_eq!(found, [seconds(3.882_812_5)]);
}

#[test]
fn flapping_check_calls_at_most_one_election_per_down_interval() {
    let mut bench = Bench::active(config(100));
    let mut called_at = Vec::new();
    for turn in 0..400u32 {
        let actions = bench.fit(if turn.is_multiple_of(2) { 60 } else { 100 });
        called_at.extend(called(&actions).then_some(bench.now));
        let start = bench.now;
        called_at.extend(calls(&mut bench, start, millis(150)).into_iter().map(|after| start + after));
    }
    assert!(called_at.len() > 5);
    assert!(called_at.windows(2).all(|pair| pair[1].since(pair[0]) >= seconds(DOWN_60)));
}

#[test]
fn election_is_repeated_with_growing_pauses_while_the_priority_stays_low() {
    let mut bench = Bench::active(config(100));
    let start = bench.now;
    bench.fit(60);
    let found = calls(&mut bench, start, seconds(DOWN_60 * 64.0));
    let expected = [1, 3, 7, 15, 31, 47, 63].map(|downs| seconds(DOWN_60) * downs);
    assert_eq!(found, expected);
}

#[test]
fn recovered_priority_ends_the_elections() {
    let mut bench = Bench::active(config(100));
    bench.fit(60);
    bench.run(seconds(1.0));
    bench.fit(80);
    let start = bench.now;
    assert_eq!(calls(&mut bench, start, seconds(12.0)).len(), 2, "80 is still lower than before");
    bench.fit(100);
    assert_eq!(calls(&mut bench, start, seconds(300.0)).len(), 0);
    assert_eq!(bench.router.counters().elections, 3);
}

#[test]
fn raised_priority_calls_no_election() {
    let mut bench = Bench::active(config(100));
    let actions = bench.fit(140);
    assert_eq!(done(&actions), Vec::<String>::new());
    assert!(matches!(events(&actions)[..], [ProtocolEvent::Priority { .. }]));
    assert_eq!(done(&bench.run_to_deadline()), ["send 140", "install for 3"]);
}

#[test]
fn fall_in_backup_or_initialize_calls_no_election() {
    let mut bench = Bench::started(config(100));
    assert_eq!(done(&bench.fit(60)), Vec::<String>::new());
    bench.run_to_deadline();
    let start = bench.now;
    assert_eq!(calls(&mut bench, start, seconds(60.0)).len(), 0, "it became active with this priority");
}

#[test]
fn lost_election_is_not_repeated() {
    let mut bench = Bench::active(config(100));
    bench.fit(60);
    bench.hear(HIGHER, 80);
    bench.run_to_deadline();
    assert_eq!(bench.state(), State::Active, "the other router is gone");
    let start = bench.now;
    assert_eq!(calls(&mut bench, start, seconds(60.0)).len(), 0);
}

#[test]
fn priority_change_during_an_election_moves_the_turn() {
    let mut bench = Bench::active(config(100));
    bench.fit(60);
    let turn = bench.until_deadline();
    bench.fit(188);
    assert_eq!(bench.until_deadline(), turn - seconds(0.5));
    bench.fit(60);
    assert_eq!(bench.until_deadline(), turn);
}

/// A backup without preemption that follows HIGHER, a failing router with priority 20.
fn follower() -> Bench {
    let mut bench = Bench::started(Config { preempt: false, ..config(80) });
    bench.hear(HIGHER, 100);
    bench.wait(seconds(1.0));
    bench.hear(HIGHER, 20);
    bench
}

#[test]
fn worse_router_that_is_faster_after_priority_0_does_not_end_the_election() {
    for source in [LOWER, HIGHER] {
        let mut bench = follower();
        bench.hear(HIGHER, 0);
        bench.wait(seconds(0.1));
        assert!(done(&bench.hear(source, 60)).is_empty());
        assert_eq!(bench.until_deadline(), seconds(0.587_5), "its turn stays");
        let actions = bench.run_to_deadline();
        let why = Why::Claimed { peer: source, priority: Priority::new(60) };
        assert_eq!(transitions(&actions), [(State::Backup, State::Active, why)]);
    }
}

#[test]
fn backup_that_missed_an_election_takes_over_a_down_interval_after_the_router_that_it_followed() {
    let mut bench = follower();
    let last = bench.now;
    bench.wait(seconds(0.8));
    while bench.state() == State::Backup {
        bench.hear(LOWER, 60);
        bench.run(seconds(1.0));
    }
    assert_eq!(bench.router.since().since(last), seconds(3.687_5));
    assert_eq!(bench.router.why(), &Why::Claimed { peer: LOWER, priority: Priority::new(60) });
}

#[test]
fn router_that_is_heard_again_is_followed_again_in_spite_of_a_worse_one() {
    let mut bench = follower();
    for _ in 0..20 {
        bench.hear(LOWER, 10);
        bench.run(seconds(1.0));
        bench.hear(HIGHER, 20);
        assert_eq!(bench.until_deadline(), seconds(3.687_5));
    }
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn router_that_comes_back_without_preemption_follows_whoever_is_active() {
    let mut bench = follower();
    bench.fault();
    bench.fit(80);
    for _ in 0..20 {
        bench.hear(LOWER, 60);
        bench.run(seconds(1.0));
    }
    assert_eq!(bench.state(), State::Backup);
}
