//! Row 66: a running router gets another configuration without a flap.

use vouchd_vrrp::wire::{Advertisement, Auth, Priority, Version, Vrid};
use vouchd_vrrp::{Action, Announcements, Config, ConfigError, Health, Input, State, Why};

use crate::bench::*;

/// Reloads with checks that leave the configured priority alone.
fn reload(bench: &mut Bench, config: Config) -> Vec<String> {
    let health = fit(config.priority.get());
    reload_with(bench, config, health)
}

fn reload_with(bench: &mut Bench, config: Config, health: Health) -> Vec<String> {
    done(&bench.router.reconfigure(bench.now, config, health).expect("a good configuration"))
}

#[test]
fn row_66_reloaded_active_router_advertises_its_new_values_at_once_and_stays_active() {
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
fn priority_lowered_by_a_reload_calls_no_election() {
    let mut bench = Bench::active(config(100));
    bench.fit(60);
    bench.run(seconds(1.0));
    reload_with(&mut bench, config(90), fit(50));
    assert_eq!(bench.router.priority().get(), 50);
    assert!(bench.fit(50).is_empty(), "the checks say the same as before");
    assert_eq!(bench.router.counters().elections, 1);
    // Still below the configured priority because of the failing check, so elections go on.
    assert!(done(&bench.run(seconds(10.0))).contains(&"send 0".to_owned()));
    bench.fit(90);
    assert!(!done(&bench.run(seconds(100.0))).contains(&"send 0".to_owned()));
}

#[test]
fn version_2_backup_waits_by_its_new_interval() {
    let mut bench = Bench::started(v2(100));
    bench.wait(seconds(3.0));
    reload(&mut bench, Config { interval: interval(200), ..v2(100) });
    assert_eq!(bench.until_deadline(), seconds(6.609_375));
}

/// Row 71: a reload of this router's interval does not change the learned one.
#[test]
fn version_3_backup_keeps_waiting_by_the_active_routers_interval() {
    let mut bench = Bench::started(config(100));
    bench.hear(HIGHER, 200);
    reload(&mut bench, Config { interval: interval(50), auth: Auth::None, ..config(100) });
    assert_eq!(bench.until_deadline(), seconds(3.609_375));
}

#[test]
fn version_3_backup_that_heard_no_active_router_waits_by_its_new_interval() {
    for (cs, down) in [(50, 1.804_687_5), (1000, 36.093_75)] {
        let mut bench = Bench::started(config(100));
        bench.wait(seconds(3.0));
        reload(&mut bench, Config { interval: interval(cs), ..config(100) });
        assert_eq!(bench.until_deadline(), seconds(down));
        bench.run_to_deadline();
        assert_eq!(bench.state(), State::Active, "{cs} cs");
    }
    // After priority 0 it still takes over, after the new skew time.
    let mut bench = Bench::started(config(100));
    bench.hear(HIGHER, 0);
    reload(&mut bench, Config { interval: interval(50), ..config(100) });
    assert_eq!(bench.until_deadline(), seconds(0.304_687_5));
}

#[test]
fn shorter_interval_is_no_stall_whenever_it_is_set() {
    for version in [config(100), v2(100)] {
        let slow = Config { interval: interval(1000), ..version.clone() };
        let fast = Config { interval: interval(100), ..version };
        let fast = if fast.version == Version::V3 { Config { interval: interval(10), ..fast } } else { fast };
        for electing in [false, true] {
            for waited in [0.1, 0.5, 5.0] {
                let mut bench = Bench::active(slow.clone());
                bench.wait(millis(100));
                if electing {
                    bench.fit(60);
                }
                bench.run(seconds(waited));
                let priority = if electing { 60 } else { 100 };
                let actions = reload_with(&mut bench, fast.clone(), fit(priority));
                assert_eq!(actions[0], format!("send {priority}"));
                let all = bench.run(seconds(20.0));
                let what = format!("{:?}, electing {electing}, after {waited} s", fast.version);
                assert_eq!(bench.router.counters().stalls, 0, "{what}");
                assert!(!done(&all).contains(&"remove".to_owned()), "{what}");
                assert_eq!(bench.state(), State::Active, "{what}");
            }
        }
    }
}

/// Peers wait for their turn in the election, so it is called again with the new interval, and each turn counts from it.
#[test]
fn running_election_is_called_again_with_the_new_interval() {
    let mut bench = Bench::active(Config { interval: interval(1000), ..config(100) });
    bench.fit(60);
    bench.wait(seconds(1.0));
    let actions = reload_with(&mut bench, Config { interval: interval(10), ..config(100) }, fit(60));
    assert_eq!(actions, ["send 60", "send 0", "install for 1"]);
    assert!(bench.until_deadline() < seconds(0.076_563), "{:?}", bench.until_deadline());
    // An election ends if the reload restores the priority.
    let mut bench = Bench::active(config(100));
    bench.fit(60);
    assert_eq!(reload(&mut bench, config(100)), ["send 100", "install for 3"]);
    assert_eq!(bench.until_deadline(), seconds(1.0));
}

/// Only an active router advertises, so the router that was changed first has to report the difference.
#[test]
fn difference_that_a_reload_causes_is_reported_with_the_peers_next_advertisement() {
    let mut bench = Bench::started(config(100));
    assert!(events(&bench.hear(HIGHER, 200)).is_empty());
    let other = "192.0.2.101".parse().expect("an address");
    reload(&mut bench, Config { addresses: vec![VIP, other], interval: interval(50), ..config(100) });
    let theirs = Advertisement { addresses: vec![VIP], interval: interval(100), ..bench.advertisement(200) };
    let actions = bench.hear_this(HIGHER, &theirs);
    let reported: Vec<_> = events(&actions).into_iter().map(ToString::to_string).collect();
    assert!(reported.iter().any(|text| text.contains("lacks 192.0.2.101")), "{reported:?}");
    assert!(reported.iter().any(|text| text.contains("advertises every")), "{reported:?}");
    bench.wait(seconds(2.0));
    assert!(bench.hear_this(HIGHER, &theirs).is_empty(), "once");
}

#[test]
fn refreshes_follow_a_changed_configuration() {
    let every = |refresh| Announcements { refresh: seconds(refresh), ..Announcements::default() };
    let mut bench = Bench::active(config(100));
    bench.run(seconds(30.0));
    let count = |actions: &[Action]| done(actions).iter().filter(|word| word.starts_with("announce")).count();
    reload(&mut bench, Config { announce: every(10.0), ..config(100) });
    assert_eq!(count(&bench.run(seconds(35.0))), 3);
    reload(&mut bench, Config { announce: every(1.0), ..config(100) });
    assert_eq!(count(&bench.run(seconds(3.5))), 3);
    reload(&mut bench, Config { announce: every(0.0), ..config(100) });
    assert_eq!(count(&bench.run(seconds(30.0))), 0);
}

#[test]
fn identity_can_not_change_and_a_bad_configuration_changes_nothing() {
    let mut bench = Bench::active(config(100));
    let v6 = "fe80::1".parse().expect("an address");
    for (bad, expected) in [
        (Config { vrid: Vrid::new(52).expect("not 0"), ..config(100) }, "the virtual router id"),
        (Config { addresses: vec![v6], ..config(100) }, "the family of the addresses"),
    ] {
        let result = bench.router.reconfigure(bench.now, bad, fit(100));
        assert_eq!(result, Err(ConfigError::Identity(expected)));
    }
    let silent = Config { down_timer_adverts: 0, ..config(100) };
    assert!(bench.router.reconfigure(bench.now, silent, fit(100)).is_err());
    assert_eq!(bench.router.config(), &config(100));
    assert_eq!(done(&bench.input(Input::Shutdown)), ["send 0", "remove"]);
}

/// The way from version 2 over both to version 3, and back.
#[test]
fn row_66_change_of_version_keeps_the_state_and_is_sent_at_once() {
    let both = |priority| Config { also_version_2: true, ..config(priority) };
    for steps in [[v2(100), both(100), config(100)], [config(100), both(100), v2(100)]] {
        let [first, rest @ ..] = steps;
        let mut bench = Bench::active(first);
        for next in rest {
            let versions = if next.also_version_2 { 2 } else { 1 };
            let expected = [vec!["send 100"; versions], vec!["install for 3"]].concat();
            assert_eq!(reload(&mut bench, next), expected);
            assert_eq!(bench.state(), State::Active);
        }
    }
    let mut backup = Bench::started(v2(100));
    backup.run(seconds(1.0));
    reload(&mut backup, both(100));
    assert_eq!(backup.state(), State::Backup);
}

#[test]
fn effective_priority_is_recomputed_from_the_new_base() {
    // A check that fails with -200 holds the priority at 1 whatever the base is.
    let mut bench = Bench::active(config(100));
    bench.fit(1);
    bench.run(seconds(1.0));
    assert_eq!(reload_with(&mut bench, config(150), fit(1)), Vec::<String>::new(), "nothing new to advertise");
    assert_eq!(bench.router.priority().get(), 1);
    assert_eq!(bench.router.counters().elections, 1);
    // Another weight with the same base gives another priority, advertised at once and without an election.
    assert_eq!(reload_with(&mut bench, config(150), fit(110)), ["send 110", "install for 3"]);
    assert_eq!(bench.router.counters().elections, 1);
    // The failing check is gone.
    assert_eq!(reload_with(&mut bench, config(150), fit(150)), ["send 150", "install for 3"]);
    assert!(!done(&bench.run(seconds(100.0))).contains(&"send 0".to_owned()), "no further election");
}

#[test]
fn reload_in_backup_or_initialize_applies_the_priority_of_the_checks() {
    let mut bench = Bench::started(config(100));
    bench.fit(1);
    reload_with(&mut bench, config(150), fit(1));
    assert_eq!(bench.router.priority().get(), 1);
    let mut bench = Bench::new(config(100));
    bench.link_up(OWN);
    reload_with(&mut bench, config(150), waiting("site", 110));
    assert_eq!((bench.state(), bench.router.priority().get()), (State::Initialize, 110));
    reload_with(&mut bench, config(150), fit(120));
    assert_eq!((bench.state(), bench.router.priority().get()), (State::Backup, 120));
}

#[test]
fn other_checks_count_while_an_added_check_has_no_result() {
    let mut bench = Bench::active(config(100));
    bench.fit(60);
    bench.run(seconds(5.0));
    reload_with(&mut bench, config(150), waiting("site", 110));
    assert_eq!((bench.state(), bench.router.priority().get()), (State::Active, 110));
    let elections = bench.router.counters().elections;
    bench.wait(seconds(0.5));
    // Another check fails while the new one has no result.
    let actions = bench.input(Input::Health(waiting("site", 70)));
    assert_eq!(bench.router.priority().get(), 70);
    assert!(
        bench.router.counters().elections > elections || done(&bench.run(seconds(5.0))).contains(&"send 0".to_owned())
    );
    assert!(transitions(&actions).is_empty());
    // After a lost link it waits until the new check has a result.
    bench.input(Input::Link(vouchd_vrrp::Link::Down { reason: "cable".to_owned() }));
    bench.link_up(OWN);
    assert_eq!(bench.router.why(), &Why::HealthWaiting("site".to_owned()));
}

#[test]
fn reload_to_a_hard_fault_resigns_and_a_reload_without_it_starts() {
    let mut bench = Bench::active(config(100));
    bench.fit(60);
    bench.run(seconds(1.0));
    let other = "192.0.2.101".parse().expect("an address");
    let fault = || Health::Fault { reason: "nginx is gone".to_owned() };
    let actions = reload_with(&mut bench, Config { addresses: vec![other], ..config(100) }, fault());
    assert_eq!(actions, ["withdraw [192.0.2.100]", "send 0", "remove"]);
    assert_eq!(bench.router.why(), &Why::HealthFault("nginx is gone".to_owned()));
    reload_with(&mut bench, config(90), fit(90));
    assert_eq!((bench.state(), bench.router.priority().get()), (State::Backup, 90));
}

#[test]
fn reload_gains_and_loses_ownership() {
    let mut bench = Bench::started(config(100));
    assert_eq!(reload(&mut bench, config(255)), ["send 255", "install for 3", "announce 5"], "an owner does not wait");
    assert_eq!(bench.router.priority(), Priority::OWNER);
    assert_eq!(reload_with(&mut bench, config(100), fit(60)), ["send 60", "install for 3"]);
    assert_eq!((bench.state(), bench.router.counters().elections), (State::Active, 0));
    assert_eq!(reload_with(&mut bench, config(255), fit(60)), ["send 255", "install for 3"]);
}
