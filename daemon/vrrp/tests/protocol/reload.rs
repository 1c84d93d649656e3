//! Row 66: another configuration for a running router, without a flap.

use vouchd_vrrp::wire::{Auth, Priority, Vrid};
use vouchd_vrrp::{Config, ConfigError, Input, State};

use crate::bench::*;

fn reload(bench: &mut Bench, config: Config) -> Vec<String> {
    done(&bench.router.reconfigure(bench.now, config).expect("a good configuration"))
}

#[test]
fn row_66_an_active_router_advertises_its_new_values_at_once_and_stays() {
    let other = "192.0.2.101".parse().expect("an address");
    for (config, expected) in [
        (Config { priority: Priority::new(90), ..config(100) }, vec!["send 90", "install for 3"]),
        (Config { interval: interval(50), ..config(100) }, vec!["send 100", "install for 1"]),
        (Config { addresses: vec![VIP, other], ..config(100) }, vec!["send 100", "install for 3", "announce 5"]),
        (Config { lease: false, ..config(100) }, vec!["send 100", "install"]),
        (Config { preempt: false, ..config(100) }, vec![]),
        (
            Config { addresses: vec![other], ..config(100) },
            vec!["withdraw [192.0.2.100]", "send 100", "install for 3", "announce 5"],
        ),
    ] {
        let mut bench = Bench::active(crate::bench::config(100));
        bench.wait(millis(300));
        assert_eq!(reload(&mut bench, config.clone()), expected);
        assert_eq!((bench.state(), bench.router.config()), (State::Active, &config));
    }
}

#[test]
fn the_effective_priority_moves_with_the_configured_one_and_no_election_is_called() {
    let mut bench = Bench::active(config(100));
    bench.fit(60);
    bench.run(seconds(1.0));
    reload(&mut bench, config(90));
    assert_eq!(bench.router.priority().get(), 50);
    assert!(bench.fit(50).is_empty(), "the checks say the same as before");
    assert_eq!(bench.router.counters().elections, 1);
    // Still below what it would be without the failing check: the election goes on being called.
    assert!(done(&bench.run(seconds(10.0))).contains(&"send 0".to_owned()));
    bench.fit(90);
    assert!(!done(&bench.run(seconds(100.0))).contains(&"send 0".to_owned()));
}

#[test]
fn a_backup_with_another_interval_in_version_2_listens_at_the_new_pace() {
    let mut bench = Bench::started(v2(100));
    bench.wait(seconds(3.0));
    reload(&mut bench, Config { interval: interval(200), ..v2(100) });
    assert_eq!(bench.until_deadline(), seconds(6.609_375));
}

#[test]
fn a_backup_in_version_3_goes_on_at_the_pace_of_the_active_router() {
    let mut bench = Bench::started(config(100));
    bench.hear(HIGHER, 200);
    reload(&mut bench, Config { interval: interval(50), auth: Auth::None, ..config(100) });
    assert_eq!(bench.until_deadline(), seconds(3.609_375));
}

#[test]
fn identity_does_not_change_and_a_bad_configuration_leaves_everything_as_it_was() {
    let mut bench = Bench::active(config(100));
    let v6 = "fe80::1".parse().expect("an address");
    for (bad, expected) in [
        (Config { vrid: Vrid::new(52).expect("not 0"), ..config(100) }, "the virtual router id"),
        (v2(100), "the version"),
        (Config { addresses: vec![v6], ..config(100) }, "the family of the addresses"),
    ] {
        let result = bench.router.reconfigure(bench.now, bad);
        assert_eq!(result, Err(ConfigError::Identity(expected)));
    }
    assert!(bench.router.reconfigure(bench.now, Config { addresses: vec![], ..config(100) }).is_err());
    assert_eq!(bench.router.config(), &config(100));
    assert_eq!(done(&bench.input(Input::Shutdown)), ["send 0", "remove"]);
}
