//! `preempt_delay`, `startup_delay` and `down_timer_adverts`.

use std::time::Duration;

use vouchd_vrrp::wire::Priority;
use vouchd_vrrp::{Config, ConfigError, State, Why};

use crate::bench::*;

const SKEW_100: f64 = 0.609_375;

fn patient(delay: f64) -> Config {
    Config { preempt_delay: seconds(delay), ..config(100) }
}

/// Hears `priority` every second for this long; the number of seconds after which the router became active.
fn beside(bench: &mut Bench, priority: u8, length: u32) -> Option<Duration> {
    let start = bench.now;
    for _ in 0..length {
        bench.hear(LOWER, priority);
        bench.run(seconds(1.0));
        if bench.state() == State::Active {
            return Some(bench.router.since().since(start));
        }
    }
    None
}

#[test]
fn backup_follows_a_worse_router_until_preempt_delay_and_its_skew_time_are_over() {
    let mut bench = Bench::started(patient(20.0));
    assert_eq!(bench.router.preempt_at(), None);
    assert_eq!(beside(&mut bench, 90, 60), Some(seconds(20.0 + SKEW_100)));
    assert_eq!(bench.router.why(), &Why::Preempted { peer: LOWER, priority: Priority::new(90) });
}

#[test]
fn preempt_delay_is_never_shorter_than_a_down_interval() {
    let mut bench = Bench::started(patient(0.5));
    assert_eq!(beside(&mut bench, 90, 60), Some(seconds(3.0 + SKEW_100)));
}

#[test]
fn silence_and_resignation_end_the_wait_by_their_own_rules() {
    let mut bench = Bench::started(patient(60.0));
    beside(&mut bench, 90, 5);
    bench.hear(LOWER, 90);
    assert_eq!(bench.until_deadline(), seconds(3.0 + SKEW_100), "it restarts the timer, as without preemption");
    bench.run_to_deadline();
    assert_eq!(bench.router.why(), &Why::Silence);

    let mut bench = Bench::started(patient(60.0));
    beside(&mut bench, 90, 5);
    bench.hear(LOWER, 0);
    assert_eq!(bench.router.preempt_at(), None);
    bench.run_to_deadline();
    assert_eq!((bench.state(), bench.router.why()), (State::Active, &Why::Resigned { peer: LOWER }));
}

#[test]
fn better_router_starts_preempt_delay_again() {
    let mut bench = Bench::started(patient(20.0));
    beside(&mut bench, 90, 15);
    bench.hear(LOWER, 150);
    assert_eq!(bench.router.preempt_at(), None);
    assert_eq!(beside(&mut bench, 90, 60), Some(seconds(20.0 + SKEW_100)));
}

#[test]
fn backup_whose_priority_fell_meanwhile_does_not_preempt() {
    let mut bench = Bench::started(patient(20.0));
    beside(&mut bench, 90, 18);
    bench.fit(50);
    assert_eq!(beside(&mut bench, 90, 60), None);
}

#[test]
fn owner_does_not_wait_for_preempt_delay() {
    let mut bench = Bench::started(Config { preempt_delay: seconds(60.0), ..config(255) });
    assert_eq!(bench.state(), State::Active);
    bench.hear(HIGHER, 255);
    assert_eq!(bench.state(), State::Backup, "an equal owner with a higher address");
    assert!(beside(&mut bench, 90, 60).is_some_and(|after| after <= seconds(3.01)));
}

#[test]
fn startup_delay_holds_a_new_router_in_initialize() {
    let mut bench = Bench::started(Config { startup_delay: seconds(30.0), ..config(100) });
    assert_eq!(bench.router.why(), &Why::StartupDelay(seconds(30.0)));
    assert_eq!((bench.until_deadline(), bench.router.starts_at().is_some()), (seconds(30.0), true));
    bench.run(seconds(29.9));
    assert_eq!(bench.state(), State::Initialize);
    bench.run(seconds(0.1));
    assert_eq!((bench.state(), bench.router.starts_at()), (State::Backup, None));
    bench.input(vouchd_vrrp::Input::Link(vouchd_vrrp::Link::Down { reason: "cut".to_owned() }));
    bench.link_up(OWN);
    assert_eq!(bench.state(), State::Backup, "only after the start");
}

#[test]
fn startup_delay_holds_an_owner_and_leaves_another_obstacle_in_force() {
    let mut bench = Bench::started(Config { startup_delay: seconds(30.0), ..config(255) });
    bench.fault();
    assert_eq!(bench.router.why().name(), "health_fault");
    bench.run(seconds(40.0));
    assert_eq!((bench.state(), bench.router.deadline()), (State::Initialize, None));
    bench.fit(255);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn reload_changes_the_rest_of_startup_delay() {
    let mut bench = Bench::started(Config { startup_delay: seconds(30.0), ..config(100) });
    bench.run(seconds(10.0));
    let shorter = Config { startup_delay: seconds(15.0), ..config(100) };
    bench.router.reconfigure(bench.now, shorter, fit(100)).expect("a good configuration");
    assert_eq!(bench.until_deadline(), seconds(5.0));
    bench.router.reconfigure(bench.now, config(100), fit(100)).expect("a good configuration");
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn down_timer_adverts_replaces_the_three_intervals_of_silence() {
    for (adverts, lease) in [(1, 1), (2, 2), (3, 3), (10, 3), (100, 3)] {
        let config = Config { down_timer_adverts: adverts, ..config(100) };
        let mut bench = Bench::started(config);
        assert_eq!(bench.until_deadline(), seconds(f64::from(adverts) + SKEW_100));
        bench.hear(HIGHER, 200);
        bench.run(seconds(f64::from(adverts) + SKEW_100 - 0.001));
        assert_eq!(bench.state(), State::Backup);
        assert!(done(&bench.run(millis(1))).contains(&format!("install for {lease}")), "{adverts}");
        assert_eq!(bench.state(), State::Active);
    }
}

#[test]
fn down_timer_adverts_of_0_and_101_are_rejected() {
    for adverts in [0, 101] {
        let check = Config { down_timer_adverts: adverts, ..config(100) }.check();
        assert_eq!(check, Err(ConfigError::DownTimerAdverts(adverts)));
    }
}

#[test]
fn active_router_that_counts_many_intervals_still_gives_up_after_a_stall_of_three() {
    let mut bench = Bench::active(Config { down_timer_adverts: 100, ..config(100) });
    bench.wait(seconds(5.0));
    assert_eq!(done(&bench.timer()), ["remove"], "its peers may count three");
    assert_eq!(bench.state(), State::Backup);
}
