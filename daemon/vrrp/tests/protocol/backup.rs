//! Rows 47 to 53 and 69 to 79: the rules of Backup.

use vouchd_vrrp::wire::Advertisement;
use vouchd_vrrp::{Config, Input, State, Why};

use crate::bench::*;

const DOWN_100: f64 = 3.609_375;
const SKEW_100: f64 = 0.609_375;

#[test]
fn row_47_shutdown_in_backup_sends_nothing() {
    let mut bench = Bench::started(config(100));
    let actions = bench.input(Input::Shutdown);
    assert_eq!(done(&actions), Vec::<String>::new());
    assert_eq!((bench.router.why(), bench.router.deadline()), (&Why::ShutDown, None));
}

#[test]
fn row_48_backup_becomes_active_after_a_down_interval_of_silence() {
    let mut bench = Bench::started(config(100));
    bench.wait(seconds(DOWN_100) - millis(1));
    assert!(bench.timer().is_empty(), "not before");
    bench.wait(millis(1));
    let actions = bench.timer();
    // The advertisement comes first, because peers act on it; the announcement after the addresses (row 84).
    assert_eq!(done(&actions), ["send 100", "install for 3", "announce 5"]);
    assert_eq!(transitions(&actions), [(State::Backup, State::Active, Why::Silence)]);
    assert_eq!(bench.until_deadline(), seconds(1.0));
}

#[test]
fn row_49_priority_0_shortens_the_wait_to_one_skew_time() {
    for (config, skew) in [
        (config(100), 0.609_375),
        (v2(80), 0.687_5),
        (v2(254), 0.007_812_5),
        (Config { interval: interval(20), ..config(100) }, 0.121_875),
    ] {
        let mut bench = Bench::started(config);
        let priority = bench.router.priority().get();
        bench.hear(HIGHER, 200.max(priority));
        assert!(bench.hear(HIGHER, 0).is_empty());
        assert_eq!(bench.until_deadline(), seconds(skew));
        let actions = bench.run_to_deadline();
        assert_eq!(transitions(&actions), [(State::Backup, State::Active, Why::Resigned { peer: HIGHER })]);
    }
}

#[test]
fn row_49_skew_time_scales_with_the_active_routers_interval() {
    let mut bench = Bench::started(config(100));
    let slow = Advertisement { interval: interval(300), ..bench.advertisement(200) };
    bench.hear_this(HIGHER, &slow);
    bench.hear(HIGHER, 0);
    assert_eq!(bench.until_deadline(), seconds(3.0 * SKEW_100));
}

#[test]
fn row_50_equal_or_better_router_restarts_the_timer_whatever_its_address() {
    for (source, priority) in [(LOWER, 100), (HIGHER, 100), (LOWER, 101), (HIGHER, 255)] {
        let mut bench = Bench::started(config(100));
        bench.wait(seconds(3.0));
        assert!(bench.hear(source, priority).is_empty());
        assert_eq!(bench.until_deadline(), seconds(DOWN_100), "{source}, {priority}");
        assert_eq!(bench.router.active_peer().map(|peer| peer.address), Some(source));
    }
}

#[test]
fn row_50_worse_router_restarts_the_timer_without_preemption() {
    let mut bench = Bench::started(Config { preempt: false, ..config(100) });
    bench.wait(seconds(3.0));
    bench.hear(HIGHER, 1);
    assert_eq!(bench.until_deadline(), seconds(DOWN_100));
}

#[test]
fn row_51_worse_router_leaves_the_timer_running_with_preemption() {
    let mut bench = Bench::started(config(100));
    bench.wait(seconds(3.0));
    assert!(bench.hear(HIGHER, 99).is_empty());
    assert_eq!(bench.until_deadline(), seconds(SKEW_100), "the timer runs on");
    let actions = bench.run_to_deadline();
    let priority = vouchd_vrrp::wire::Priority::new(99);
    assert_eq!(transitions(&actions), [(State::Backup, State::Active, Why::Preempted { peer: HIGHER, priority })]);
}

#[test]
fn row_52_backup_learns_the_active_routers_interval() {
    let mut bench = Bench::started(config(100));
    let slow = Advertisement { interval: interval(300), ..bench.advertisement(200) };
    bench.hear_this(HIGHER, &slow);
    assert_eq!(bench.until_deadline(), seconds(9.0 + 3.0 * SKEW_100));
    bench.run_to_deadline();
    // Row 71: it advertises at its own interval.
    assert_eq!(bench.until_deadline(), seconds(1.0));
}

#[test]
fn row_53_second_priority_0_restarts_the_skew_time_and_an_advertisement_restores_the_down_interval() {
    let mut bench = Bench::started(config(100));
    bench.hear(HIGHER, 0);
    bench.wait(seconds(0.5));
    bench.hear(HIGHER, 0);
    assert_eq!(bench.until_deadline(), seconds(SKEW_100));
    bench.hear(HIGHER, 200);
    assert_eq!(bench.until_deadline(), seconds(DOWN_100));
}

#[test]
fn changed_priority_moves_the_pending_timer_by_the_change_in_skew() {
    let mut bench = Bench::started(config(100));
    bench.wait(seconds(2.0));
    let before = bench.until_deadline();
    bench.fit(228);
    assert_eq!(bench.until_deadline(), before - seconds(0.5));
    bench.fit(100);
    assert_eq!(bench.until_deadline(), before);
    bench.wait(before - millis(1));
    bench.fit(228);
    assert_eq!(bench.until_deadline(), millis(0), "not in the past");
}

#[test]
fn row_76_stale_timer_has_no_effect() {
    let mut bench = Bench::started(config(100));
    bench.wait(seconds(3.5));
    bench.hear(HIGHER, 200);
    bench.wait(seconds(0.2));
    assert!(bench.timer().is_empty());
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn row_79_owner_preempts_whatever_is_configured() {
    let mut bench = Bench::started(Config { preempt: false, ..config(255) });
    // Only another owner with a higher address makes an owner a backup.
    bench.hear(HIGHER, 255);
    assert_eq!(bench.state(), State::Backup);
    let before = bench.until_deadline();
    bench.wait(seconds(1.0));
    bench.hear(HIGHER, 254);
    assert_eq!(bench.until_deadline(), before - seconds(1.0));
}

#[test]
fn status_names_the_active_peer_until_it_resigns() {
    let mut bench = Bench::started(config(100));
    assert!(bench.router.active_peer().is_none());
    bench.hear(HIGHER, 200);
    bench.hear(LOWER, 50);
    let peer = bench.router.active_peer().expect("heard");
    assert_eq!((peer.address, peer.priority.get()), (HIGHER, 200));
    assert_eq!(bench.router.peers().len(), 2);
    bench.hear(HIGHER, 0);
    assert!(bench.router.active_peer().is_none());
}
