//! Rows 97 to 100: version 2 and version 3 at the same time, for the time in which a group of routers moves to version 3.

use vouchd_vrrp::wire::{Advertisement, Version};
use vouchd_vrrp::{Action, Config, ConfigError, ProtocolEvent, State};

use crate::bench::*;

fn dual(priority: u8) -> Config {
    Config { also_version_2: true, ..config(priority) }
}

/// The version and the priority of each advertisement.
fn sent(actions: &[Action]) -> Vec<(u8, u8)> {
    let version = |action: &Action| match action {
        Action::Send(sent) => Some((sent.version.number(), sent.priority.get())),
        _ => None,
    };
    actions.iter().filter_map(version).collect()
}

/// The bench hears an advertisement of this version.
fn hear(bench: &mut Bench, version: Version, priority: u8) -> Vec<Action> {
    let advertisement = Advertisement { version, ..bench.advertisement(priority) };
    bench.hear_this(HIGHER, &advertisement)
}

#[test]
fn row_97_active_router_sends_both_versions_each_time() {
    let mut bench = Bench::started(dual(100));
    assert_eq!(sent(&bench.run_to_deadline()), [(3, 100), (2, 100)]);
    assert_eq!(sent(&bench.run_to_deadline()), [(3, 100), (2, 100)]);
    assert_eq!(sent(&hear(&mut bench, Version::V2, 0)), [(3, 100), (2, 100)], "an answer");
    assert_eq!(sent(&bench.fit(60)), [(3, 60), (2, 60), (3, 0), (2, 0)], "an election");
    assert_eq!(sent(&bench.fault()), [(3, 0), (2, 0)]);
    let packets = bench.router.packets(&Advertisement { version: Version::V2, ..bench.advertisement(100) });
    let [(destination, payload)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!((*destination, payload[0], payload[4], payload[5]), (GROUP, 0x21, 0, 1));
}

#[test]
fn row_98_backup_accepts_both_versions_and_ignores_version_2_of_a_source_of_version_3() {
    for version in [Version::V2, Version::V3] {
        let mut bench = Bench::started(dual(100));
        bench.wait(seconds(3.0));
        hear(&mut bench, version, 200);
        assert_eq!(bench.until_deadline(), seconds(3.609_375), "{version:?}");
    }
    let mut bench = Bench::started(dual(100));
    hear(&mut bench, Version::V3, 200);
    bench.wait(seconds(1.0));
    assert!(hear(&mut bench, Version::V2, 0).is_empty());
    assert_eq!(bench.until_deadline(), seconds(2.609_375));
    assert_eq!(bench.router.counters().received, 1);
}

#[test]
fn row_98_version_2_counts_again_after_a_down_interval_without_version_3() {
    let mut bench = Bench::started(dual(100));
    hear(&mut bench, Version::V3, 200);
    bench.run(seconds(10.0));
    assert_eq!(bench.state(), State::Active);
    hear(&mut bench, Version::V2, 200);
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn row_99_seconds_of_version_2_become_the_learned_interval() {
    let mut bench = Bench::started(dual(100));
    let slow = Advertisement { version: Version::V2, interval: interval(300), ..bench.advertisement(200) };
    bench.hear_this(HIGHER, &slow);
    // 3 s are 300 cs, and Skew_Time is that of version 3.
    assert_eq!(bench.until_deadline(), seconds(3.0 * 3.609_375));
}

#[test]
fn row_100_active_router_that_sends_version_3_only_is_reported_once() {
    let told = |actions: &[Action]| {
        events(actions).iter().filter(|event| matches!(event, ProtocolEvent::NoVersion2 { .. })).count()
    };
    let mut bench = Bench::started(dual(100));
    let mut all = 0;
    for _ in 0..20 {
        all += told(&hear(&mut bench, Version::V3, 200));
        bench.run(seconds(1.0));
    }
    assert_eq!(all, 1);
    let mut bench = Bench::started(dual(100));
    for turn in 0..20 {
        assert_eq!(told(&hear(&mut bench, Version::V3, 200)), 0);
        // Half of its version 2 is lost.
        if turn % 2 == 0 {
            hear(&mut bench, Version::V2, 200);
        }
        bench.run(seconds(1.0));
    }
}

#[test]
fn dual_operation_needs_version_3_over_ipv4_at_whole_seconds() {
    let v6 = "fe80::1".parse().expect("an address");
    for wrong in [
        Config { also_version_2: true, ..v2(100) },
        Config { interval: interval(150), ..dual(100) },
        Config { addresses: vec![v6], ..dual(100) },
    ] {
        assert_eq!(wrong.check(), Err(ConfigError::AlsoVersion2));
    }
    assert_eq!(dual(100).check(), Ok(()));
}

#[test]
fn version_2_is_discarded_without_dual_operation() {
    let mut bench = Bench::started(config(100));
    hear(&mut bench, Version::V2, 200);
    assert_eq!(bench.router.counters().discarded(vouchd_vrrp::DiscardReason::Version), 1);
}
