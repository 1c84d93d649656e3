//! "Never act late on stale knowledge" (rows 74, 75): a router that was not called for a down interval listens first.

use vouchd_vrrp::{Input, ProtocolEvent, State, Why};

use crate::bench::*;

const DOWN_100: f64 = 3.609_375;

#[test]
fn active_router_stalled_for_a_down_interval_removes_the_addresses_before_it_handles_input() {
    let inputs: [fn(&mut Bench) -> Vec<vouchd_vrrp::Action>; 4] = [
        |bench| bench.timer(),
        |bench| bench.fit(50),
        |bench| bench.hear(LOWER, 50),
        |bench| bench.input(Input::Shutdown),
    ];
    for input in inputs {
        let mut bench = Bench::active(config(100));
        bench.wait(seconds(DOWN_100) + millis(1));
        let actions = input(&mut bench);
        assert_eq!(done(&actions), ["remove"], "nothing is sent");
        let late = seconds(DOWN_100 - 1.0) + millis(1);
        assert!(events(&actions).contains(&&ProtocolEvent::Stalled { late }));
        assert_eq!(transitions(&actions)[0], (State::Active, State::Backup, Why::Stalled { late }));
        assert_eq!(bench.router.counters().stalls, 1);
    }
}

#[test]
fn stalled_router_listens_for_a_full_down_interval() {
    let mut bench = Bench::active(config(100));
    bench.wait(seconds(60.0));
    bench.timer();
    assert_eq!((bench.state(), bench.until_deadline()), (State::Backup, seconds(DOWN_100)));
    bench.run_to_deadline();
    assert_eq!(bench.state(), State::Active, "no other router was active");
}

#[test]
fn shorter_stall_of_an_active_router_costs_nothing() {
    let mut bench = Bench::active(config(100));
    bench.wait(seconds(DOWN_100));
    assert_eq!(done(&bench.timer())[..2], ["send 100", "install for 3"]);
    assert_eq!(bench.until_deadline(), seconds(1.0), "missed advertisements are not sent later");
}

#[test]
fn row_75_waiting_packets_are_handled_before_the_timer() {
    let mut bench = Bench::started(config(100));
    bench.hear(HIGHER, 200);
    // Stopped for longer than the rest of its timer, while the active router kept advertising.
    bench.wait(seconds(5.0));
    bench.hear(HIGHER, 200);
    assert!(bench.timer().is_empty());
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn row_75_backup_stalled_for_a_further_down_interval_listens_once_more() {
    let mut bench = Bench::started(config(100));
    bench.wait(seconds(2.0 * DOWN_100) + millis(1));
    let actions = bench.timer();
    assert_eq!(done(&actions), Vec::<String>::new());
    assert_eq!(events(&actions), [&ProtocolEvent::Stalled { late: seconds(DOWN_100) + millis(1) }]);
    assert_eq!((bench.state(), bench.until_deadline()), (State::Backup, seconds(DOWN_100)));
    bench.run_to_deadline();
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn initialize_detects_no_stall() {
    let mut bench = Bench::new(config(100));
    bench.wait(seconds(3600.0));
    assert!(bench.timer().is_empty());
    assert_eq!(bench.router.counters().stalls, 0);
}
