//! Rows 38 to 41: the way in and out of Initialize, and trials.

use vouchd_vrrp::wire::Priority;
use vouchd_vrrp::{Config, ConfigError, Input, Link, Router, State, Why};

use crate::bench::*;

#[test]
fn row_11_configured_priority_0_is_rejected() {
    let config = Config { priority: Priority::RESIGN, ..config(100) };
    let now = vouchd_vrrp::Time::default();
    assert_eq!(Router::new(now, config).map(|_| ()), Err(ConfigError::PriorityZero));
}

#[test]
fn unicast_needs_usable_peers() {
    let with = |peers| Config { peers: Some(peers), ..config(100) }.check();
    assert_eq!(with(vec![]), Err(ConfigError::NoPeers));
    let v6 = "fe80::1".parse().expect("an address");
    assert_eq!(with(vec![HIGHER, v6]), Err(ConfigError::Peer(v6)));
    assert_eq!(with(vec![GROUP]), Err(ConfigError::Peer(GROUP)));
    assert_eq!(with(vec![HIGHER]), Ok(()));
}

#[test]
fn row_38_owner_is_active_at_once() {
    let mut bench = Bench::new(config(255));
    assert_eq!(done(&bench.link_up(OWN)), Vec::<String>::new());
    let actions = bench.fit(255);
    assert_eq!(done(&actions), ["send 255", "install for 3", "announce 5"]);
    assert_eq!(transitions(&actions), [(State::Initialize, State::Active, Why::Owner)]);
    assert_eq!(bench.until_deadline(), seconds(1.0));
}

#[test]
fn row_39_other_routers_listen_first_and_send_nothing() {
    for (config, down) in [(config(100), 3.609_375), (v2(80), 3.687_5)] {
        let bench = Bench::started(config);
        assert_eq!(bench.state(), State::Backup);
        assert_eq!(bench.until_deadline(), seconds(down));
        assert_eq!(bench.router.counters().sent, 0);
    }
}

#[test]
fn row_40_nothing_has_an_effect_in_initialize() {
    let mut bench = Bench::new(config(100));
    assert!(bench.timer().is_empty());
    assert!(bench.hear(HIGHER, 200).is_empty());
    assert!(bench.hear(HIGHER, 0).is_empty());
    assert!(bench.hear_bytes(HIGHER, GROUP, 64, b"junk").is_empty());
    assert_eq!(bench.router.deadline(), None);
    assert_eq!(bench.state(), State::Initialize);
}

#[test]
fn row_41_lost_link_removes_the_addresses_and_its_return_starts_anew() {
    let mut bench = Bench::active(config(100));
    let down = Link::Down { reason: "carrier lost".to_owned() };
    let actions = bench.input(Input::Link(down));
    assert_eq!(done(&actions), ["remove"], "nothing can be sent");
    assert_eq!(bench.router.why(), &Why::LinkDown("carrier lost".to_owned()));
    bench.link_up(OWN);
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.until_deadline(), seconds(3.609_375));
}

#[test]
fn router_starts_only_with_link_and_health() {
    let mut bench = Bench::new(config(100));
    bench.fit(100);
    assert_eq!(bench.router.why(), &Why::Starting);
    bench.input(Input::Health(waiting("site", 100)));
    bench.link_up(OWN);
    assert_eq!(bench.router.why(), &Why::HealthWaiting("site".to_owned()));
    bench.fault();
    assert_eq!(bench.router.why(), &Why::HealthFault("nginx is gone".to_owned()));
    bench.fit(100);
    assert_eq!((bench.state(), bench.router.why()), (State::Backup, &Why::Ready));
}

#[test]
fn added_check_without_a_result_does_not_cost_the_addresses() {
    let mut bench = Bench::active(config(100));
    assert!(bench.input(Input::Health(waiting("new check", 100))).is_empty());
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn source_of_the_other_family_counts_as_link_down() {
    let mut bench = Bench::started(config(100));
    bench.link_up("fe80::1".parse().expect("an address"));
    assert!(matches!(bench.router.why(), Why::LinkDown(_)));
}

#[test]
fn row_4_new_primary_address_is_the_source_of_the_next_packet() {
    let mut bench = Bench::active(config(100));
    let advertisement = bench.advertisement(100);
    let expected = |source| advertisement.encode(source, GROUP, bench.router.config().checksum).expect("encodes");
    let (before, after) = (expected(OWN), expected(LOWER));
    assert_eq!(bench.router.packets(&advertisement), [(GROUP, before)]);
    assert!(bench.link_up(LOWER).is_empty());
    assert_eq!(bench.router.packets(&advertisement), [(GROUP, after)]);
}

#[test]
fn unicast_packets_go_to_every_peer() {
    let mut bench = Bench::started(Config { peers: Some(vec![LOWER, HIGHER]), ..config(100) });
    let advertisement = bench.advertisement(100);
    let packets = bench.router.packets(&advertisement);
    assert_eq!(packets.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [LOWER, HIGHER]);
    assert_ne!(packets[0].1, packets[1].1, "the pseudo-header has the destination");
}

#[test]
fn shutdown_is_final() {
    let mut bench = Bench::active(config(100));
    bench.input(Input::Shutdown);
    assert!(bench.link_up(OWN).is_empty());
    assert!(bench.fit(100).is_empty());
    assert!(bench.hear(HIGHER, 200).is_empty());
    assert_eq!((bench.state(), bench.router.deadline()), (State::Initialize, None));
}

fn refuse(bench: &mut Bench) -> Vec<String> {
    done(&bench.input(Input::AddressesFailed { reason: "no buffer space".to_owned() }))
}

#[test]
fn refused_addresses_are_removed_and_retried_with_growing_pauses() {
    let mut bench = Bench::active(config(100));
    let down = seconds(3.609_375);
    assert_eq!(refuse(&mut bench), ["send 0", "remove"]);
    for pause in [1, 2, 4, 8, 16, 32, 64, 64] {
        assert_eq!(bench.router.why(), &Why::AddressesFailed("no buffer space".to_owned()));
        assert_eq!(bench.until_deadline(), down * pause);
        // A repeated result of the checks does not shorten the pause.
        bench.fit(100);
        assert_eq!(bench.state(), State::Initialize);
        bench.run_to_deadline();
        assert_eq!((bench.state(), bench.router.why()), (State::Backup, &Why::Refused("no buffer space".to_owned())));
        // From here on it asks the kernel before it sends anything.
        assert_eq!(done(&bench.run_to_deadline()), ["install for 3"]);
        assert_eq!(bench.state(), State::Backup);
        assert_eq!(refuse(&mut bench), ["remove"]);
    }
    bench.run_to_deadline();
    bench.run_to_deadline();
    let actions = bench.input(Input::AddressesInstalled);
    assert_eq!(done(&actions), ["send 100", "install for 3", "announce 5"]);
    assert_eq!(transitions(&actions), [(State::Backup, State::Active, Why::Silence)]);
    refuse(&mut bench);
    assert_eq!(bench.until_deadline(), down, "addresses that are in place forget the failures");
}

#[test]
fn router_that_can_not_install_never_disturbs_the_one_that_it_would_preempt() {
    let mut bench = Bench::new(config(200));
    bench.input(Input::Link(Link::Up { source: OWN }));
    bench.fit(200);
    let mut tries = 0;
    for _ in 0..6_000 {
        let mut actions = bench.run(millis(100));
        actions.extend(bench.hear(HIGHER, 100));
        let mut words = done(&actions);
        if words == ["install for 3"] {
            tries += 1;
            words = refuse(&mut bench);
            assert_eq!(words, ["remove"]);
        }
        assert!(!words.iter().any(|word| word.starts_with("send") || word.starts_with("announce")), "{words:?}");
    }
    assert_eq!((tries, bench.router.counters().sent), (8, 0), "in ten minutes");
    // From now on the kernel accepts them; the next trial finds out, while the other router is active.
    let mut actions = Vec::new();
    while bench.state() != State::Active {
        actions = bench.run(millis(100));
        if bench.router.is_in_trial() {
            actions = bench.input(Input::AddressesInstalled);
        }
        bench.hear(HIGHER, 100);
    }
    assert!(matches!(transitions(&actions)[..], [(State::Backup, State::Active, Why::Preempted { .. })]));
    assert_eq!(done(&actions), ["send 200", "install for 3", "announce 5"]);
}

/// A router in a trial, after a down interval of silence.
fn in_trial(config: Config) -> Bench {
    let mut bench = Bench::new(config);
    bench.input(Input::Link(Link::Up { source: OWN }));
    bench.fit(100);
    let actions = done(&bench.run_to_deadline());
    assert!(actions.len() == 1 && actions[0].starts_with("install"), "{actions:?}");
    assert!(bench.router.is_in_trial());
    bench
}

#[test]
fn trial_ends_silently_for_a_better_router_or_when_the_router_leaves() {
    let ends: [fn(&mut Bench) -> Vec<vouchd_vrrp::Action>; 5] = [
        |bench| bench.hear(HIGHER, 200),
        |bench| bench.fault(),
        |bench| bench.input(Input::Link(Link::Down { reason: "cable".to_owned() })),
        |bench| bench.input(Input::Shutdown),
        |bench| {
            bench.wait(seconds(8.0));
            bench.timer()
        },
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let mut bench = in_trial(config(100));
        assert_eq!(done(&end(&mut bench)), ["remove"], "{number}");
        assert!(!bench.router.is_in_trial());
        assert!(bench.input(Input::AddressesInstalled).is_empty(), "too late, {number}");
        assert_ne!(bench.state(), State::Active, "{number}");
    }
    let mut bench = in_trial(config(100));
    assert!(done(&bench.hear(LOWER, 50)).is_empty() && done(&bench.hear(LOWER, 0)).is_empty());
    bench.input(Input::AddressesInstalled);
    assert_eq!(bench.state(), State::Active, "a worse router, or one that resigns, ends no trial");
}

#[test]
fn unanswered_trial_counts_as_refused() {
    let mut bench = in_trial(config(100));
    assert_eq!(done(&bench.run_to_deadline()), ["remove"]);
    assert_eq!(bench.router.why(), &Why::AddressesFailed("the kernel does not answer".to_owned()));
}

#[test]
fn trial_waits_longer_than_a_short_down_interval() {
    let mut bench = in_trial(Config { interval: interval(1), ..config(100) });
    bench.run(seconds(1.9));
    let actions = bench.input(Input::AddressesInstalled);
    assert_eq!(done(&actions), ["send 100", "install for 1", "announce 5"]);
}

#[test]
fn changed_addresses_or_interface_end_the_pause_after_a_refusal() {
    for failures in [1, 5] {
        let refused = || {
            let mut bench = in_trial(config(100));
            for _ in 1..failures {
                refuse(&mut bench);
                bench.run_to_deadline();
                bench.run_to_deadline();
            }
            refuse(&mut bench);
            assert_eq!(bench.state(), State::Initialize);
            bench
        };
        let mut bench = refused();
        bench.input(Input::Link(Link::Up { source: OWN }));
        assert_eq!(bench.state(), State::Backup);
        let mut bench = refused();
        let other = Config { addresses: vec!["192.0.2.101".parse().expect("an address")], ..config(100) };
        bench.router.reconfigure(bench.now, other, fit(100)).expect("a good configuration");
        assert_eq!(bench.state(), State::Backup);
    }
    // The addresses were proven before, and no longer are.
    let mut bench = Bench::started(config(100));
    bench.input(Input::Link(Link::Up { source: OWN }));
    assert_eq!(done(&bench.run_to_deadline()), ["install for 3"]);
    // Other addresses during a trial start a new one.
    let both = Config { addresses: vec![VIP, "192.0.2.101".parse().expect("an address")], ..config(100) };
    let one = Config { addresses: vec![VIP], ..config(100) };
    let mut bench = in_trial(both);
    let actions = bench.router.reconfigure(bench.now, one, fit(100)).expect("a good configuration");
    assert_eq!(done(&actions), ["withdraw [192.0.2.101]", "remove"]);
    assert_eq!(done(&bench.timer()), ["install for 3"]);
}

#[test]
fn owner_makes_a_trial_before_it_is_active() {
    let mut bench = Bench::new(config(255));
    bench.input(Input::Link(Link::Up { source: OWN }));
    assert_eq!(done(&bench.fit(255)), ["install for 3"]);
    assert!(bench.fit(255).is_empty(), "one trial at a time");
    assert_eq!(refuse(&mut bench), ["remove"]);
    assert_eq!(done(&bench.run_to_deadline()), ["install for 3"]);
    let actions = bench.input(Input::AddressesInstalled);
    assert_eq!(done(&actions), ["send 255", "install for 3", "announce 5"]);
    assert_eq!(transitions(&actions), [(State::Initialize, State::Active, Why::Owner)]);
}
