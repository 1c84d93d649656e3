//! Instant hand-over in a pair: priority 0 makes the backup active at once, unless a better router calls an election.

use vouchd_vrrp::{Action, Config, HandOver, Input, ProtocolEvent, State, Why};

use crate::bench::*;

fn pair(priority: u8) -> Config {
    Config { pair: true, ..config(priority) }
}

fn third_routers(actions: &[Action]) -> usize {
    events(actions).iter().filter(|event| matches!(event, ProtocolEvent::ThirdRouter { .. })).count()
}

#[test]
fn resignation_makes_the_backup_active_at_once_whatever_its_preemption_and_version() {
    for (preempt, base) in [(true, config(80)), (false, config(80)), (true, v2(80)), (false, v2(80))] {
        let mut bench = Bench::started(Config { pair: true, preempt, ..base });
        bench.hear(HIGHER, 100);
        bench.wait(millis(11));
        let actions = bench.hear(HIGHER, 0);
        assert_eq!(done(&actions), ["send 80", "install for 3", "announce 5"]);
        assert_eq!(transitions(&actions), [(State::Backup, State::Active, Why::Resigned { peer: HIGHER })]);
    }
}

#[test]
fn worse_router_that_calls_an_election_hands_over_at_once() {
    for (preempt, source, priority) in [(true, HIGHER, 60), (false, HIGHER, 60), (true, LOWER, 80), (false, LOWER, 80)]
    {
        let mut bench = Bench::started(Config { preempt, ..pair(80) });
        bench.hear(source, 100);
        bench.wait(millis(500));
        bench.hear(source, priority);
        assert_eq!(transitions(&bench.hear(source, 0)).len(), 1, "{priority} from {source}");
        assert_eq!(bench.state(), State::Active);
    }
}

#[test]
fn better_router_that_calls_an_election_is_given_its_skew_time() {
    for (source, priority) in [(LOWER, 81), (HIGHER, 80), (HIGHER, 100)] {
        for preempt in [true, false] {
            let mut bench = Bench::started(Config { preempt, ..pair(80) });
            bench.hear(source, 200);
            bench.wait(millis(500));
            bench.hear(source, priority);
            bench.wait(millis(10));
            assert_eq!(done(&bench.hear(source, 0)), Vec::<String>::new(), "{priority} from {source}");
            assert_eq!(bench.until_deadline(), seconds(0.687_5));
            bench.run_to_deadline();
            assert_eq!(bench.state(), State::Active, "it did not come back");
        }
    }
}

#[test]
fn better_priority_of_another_router_or_of_long_ago_is_not_part_of_the_burst() {
    let mut bench = Bench::started(pair(80));
    bench.hear(HIGHER, 100);
    bench.wait(millis(11));
    bench.hear(HIGHER, 0);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn first_takeover_of_a_pair_is_tried_first() {
    let mut bench = Bench::new(pair(80));
    bench.input(Input::Link(vouchd_vrrp::Link::Up { source: OWN }));
    bench.fit(80);
    bench.hear(HIGHER, 100);
    bench.wait(seconds(1.0));
    assert_eq!(done(&bench.hear(HIGHER, 0)), ["install for 3"]);
    assert_eq!(bench.state(), State::Backup);
    let actions = bench.input(Input::AddressesInstalled);
    assert_eq!(done(&actions), ["send 80", "install for 3", "announce 5"]);
}

#[test]
fn lost_first_frame_of_a_burst_costs_a_moment_and_no_second_holder_stays() {
    let mut bench = Bench::started(pair(80));
    bench.hear(HIGHER, 200);
    bench.wait(seconds(0.5));
    bench.hear(HIGHER, 0);
    assert_eq!(bench.state(), State::Active, "its priority of 100 was lost");
    let actions = bench.hear(HIGHER, 100);
    assert_eq!(done(&actions), ["send 80", "remove"], "its answer");
    assert_eq!(bench.state(), State::Backup);
}

/// 500 forged frames of priority 0 a second: the active router answers the first ten of a second, and advertises.
#[test]
fn flood_of_forged_resignations_costs_one_takeover_in_a_down_interval() {
    let mut bench = Bench::started(pair(80));
    bench.hear(HIGHER, 200);
    let mut takeovers = 0;
    for frame in 0..6_000_u32 {
        bench.wait(millis(2));
        let was_active = bench.state() == State::Active;
        bench.hear(HIGHER, 0);
        takeovers += u32::from(!was_active && bench.state() == State::Active);
        // At once while answers are left, else with the next advertisement.
        if frame % 500 < 10 {
            bench.hear(HIGHER, 200);
        }
    }
    assert!((1..=4).contains(&takeovers), "{takeovers} takeovers in 12 s");
    assert_eq!(bench.state(), State::Backup);
    bench.wait(seconds(4.0));
    bench.hear(HIGHER, 200);
    bench.wait(millis(11));
    bench.hear(HIGHER, 0);
    assert_eq!(bench.state(), State::Active, "later the hand-over is instant again");
}

#[test]
fn router_that_is_not_of_a_pair_waits_for_its_skew_time() {
    let mut bench = Bench::started(config(80));
    assert_eq!(bench.router.hand_over(bench.now), None);
    bench.hear(HIGHER, 100);
    bench.wait(millis(500));
    bench.hear(HIGHER, 0);
    assert_eq!(bench.until_deadline(), seconds(0.687_5));
}

#[test]
fn third_router_ends_instant_hand_over_until_it_was_silent_for_60_down_intervals() {
    let mut bench = Bench::started(pair(80));
    assert_eq!(bench.router.hand_over(bench.now), Some(HandOver::Instant));
    assert_eq!(third_routers(&bench.hear(HIGHER, 100)), 0);
    assert_eq!(third_routers(&bench.hear(LOWER, 90)), 1);
    assert_eq!(bench.router.hand_over(bench.now), Some(HandOver::Off { third: LOWER }));
    let mut actions = bench.hear(LOWER, 90);
    let down = bench.router.down_interval();
    let third_heard = bench.now;
    bench.hear(HIGHER, 100);
    bench.wait(millis(500));
    bench.hear(HIGHER, 0);
    assert_eq!(bench.until_deadline(), seconds(0.687_5), "three routers have an order");
    while bench.now.since(third_heard) <= down * 60 {
        assert_ne!(bench.router.hand_over(bench.now), Some(HandOver::Instant));
        actions.extend(bench.hear(HIGHER, 100));
        bench.wait(seconds(1.0));
    }
    assert_eq!(third_routers(&actions), 0, "reported once");
    assert_eq!(bench.router.hand_over(bench.now), Some(HandOver::Instant));
    let again = bench.hear(HIGHER, 100);
    assert!(events(&again).contains(&&ProtocolEvent::PairAgain { gone: LOWER }));
    bench.wait(millis(500));
    bench.hear(HIGHER, 0);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn peer_that_is_replaced_is_forgotten_and_the_new_one_makes_a_pair() {
    let mut bench = Bench::started(pair(80));
    bench.hear(HIGHER, 100);
    bench.hear(LOWER, 100);
    let down = bench.router.down_interval();
    let start = bench.now;
    while bench.now.since(start) <= down * 60 {
        bench.wait(seconds(1.0));
        bench.hear(LOWER, 100);
    }
    assert_eq!(bench.router.hand_over(bench.now), Some(HandOver::Instant));
    bench.wait(seconds(0.5));
    bench.hear(LOWER, 0);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn discarded_packet_of_a_third_router_does_not_end_instant_hand_over() {
    let mut bench = Bench::started(pair(80));
    bench.hear(HIGHER, 100);
    let payload = bench.advertisement(90).encode(LOWER, GROUP, bench.router.config().checksum).expect("encodes");
    bench.hear_bytes(LOWER, GROUP, 254, &payload);
    assert_eq!(bench.router.hand_over(bench.now), Some(HandOver::Instant));
}
