//! Rows 54 to 59, 66 to 68, 33 and 37: the rules of Active.

use std::time::Duration;

use vouchd_vrrp::wire::{Advertisement, Priority};
use vouchd_vrrp::{Action, Announcements, Config, Input, ProtocolEvent, State, Time, Why};

use crate::bench::*;

fn sent_at(bench: &mut Bench, duration: Duration) -> Vec<Time> {
    let end = bench.now + duration;
    let mut times = Vec::new();
    while let Some(deadline) = bench.router.deadline().filter(|deadline| *deadline <= end) {
        bench.now = deadline;
        let sent = done(&bench.timer()).iter().filter(|word| word.starts_with("send")).count();
        times.extend(std::iter::repeat_n(bench.now, sent));
    }
    bench.now = end;
    times
}

#[test]
fn row_54_advertisements_keep_the_interval_without_drift() {
    let mut bench = Bench::active(config(100));
    let start = bench.now;
    for _ in 0..100 {
        // Late each time, as a scheduler may be; what counts is when each one was due.
        bench.wait(bench.until_deadline() + millis(20));
        bench.timer();
    }
    let next = bench.router.deadline().expect("a deadline");
    assert_eq!(next.since(start), seconds(101.0));
}

#[test]
fn every_advertisement_renews_the_lease() {
    let mut bench = Bench::active(config(100));
    let actions = done(&bench.run_to_deadline());
    assert_eq!(actions, ["send 100", "install for 3"]);
    let mut bench = Bench::active(Config { lease: false, ..config(100) });
    assert_eq!(done(&bench.run_to_deadline()), ["send 100", "install"]);
}

#[test]
fn row_55_active_router_answers_priority_0_at_once_and_restarts_its_timer() {
    let mut bench = Bench::active(config(100));
    bench.wait(seconds(0.9));
    assert_eq!(done(&bench.hear(HIGHER, 0)), ["send 100", "install for 3", "announce 5"]);
    assert_eq!(bench.until_deadline(), seconds(1.0));
}

#[test]
fn row_56_active_router_advertises_once_more_and_steps_back_for_a_better_one() {
    for (config, source, priority) in [
        (config(100), LOWER, 101),
        (config(100), HIGHER, 100),
        (Config { preempt: false, ..config(100) }, LOWER, 101),
        (v2(100), LOWER, 255),
    ] {
        let mut bench = Bench::active(config);
        let actions = bench.hear(source, priority);
        // Row 81: the better one may not know of this router; if it hears it, it announces again.
        assert_eq!(done(&actions), ["send 100", "remove"]);
        let why = Why::Better { peer: source, priority: Priority::new(priority) };
        assert_eq!(transitions(&actions), [(State::Active, State::Backup, why)]);
        assert_eq!(bench.until_deadline(), seconds(3.609_375));
    }
}

#[test]
fn row_56_addresses_are_compared_as_unsigned_numbers_in_network_order() {
    for (own, peer, gives_way) in [
        ("10.0.0.9", "10.0.0.10", true),
        ("10.0.0.10", "10.0.0.9", false),
        ("127.0.0.1", "128.0.0.1", true),
        ("128.0.0.1", "127.255.255.255", false),
        ("1.0.0.2", "2.0.0.1", true),
        ("2.0.0.1", "1.0.0.2", false),
    ] {
        let mut bench = Bench::active(config(100));
        bench.link_up(own.parse().expect("an address"));
        bench.hear(peer.parse().expect("an address"), 100);
        assert_eq!(bench.state() == State::Backup, gives_way, "{own} hears {peer}");
    }
}

#[test]
fn row_56_ipv6_addresses_are_compared_too() {
    let group = "ff02::12".parse().expect("an address");
    let address = |text: &str| text.parse::<std::net::IpAddr>().expect("an address");
    for (peer, gives_way) in [("fe80::c9", true), ("fe80::c7", false)] {
        let config = Config { addresses: vec![address("fe80::1"), address("2001:db8::1")], ..config(100) };
        let mut bench = Bench::new(config);
        bench.link_up(address("fe80::c8"));
        bench.fit(100);
        bench.run_to_deadline();
        let advertisement = bench.advertisement(100);
        let bytes = advertisement.encode(address(peer), group, bench.router.config().checksum).expect("encodes");
        bench.hear_bytes(address(peer), group, 255, &bytes);
        assert_eq!(bench.state() == State::Backup, gives_way, "{peer}");
    }
}

#[test]
fn row_56_router_that_steps_back_learns_the_better_ones_interval() {
    let mut bench = Bench::active(config(100));
    let slow = Advertisement { interval: interval(300), ..bench.advertisement(200) };
    bench.hear_this(HIGHER, &slow);
    assert_eq!(bench.until_deadline(), seconds(9.0 + 1.828_125));
}

#[test]
fn row_57_active_router_answers_a_worse_one_at_once_and_keeps_its_timer() {
    for (source, priority) in [(HIGHER, 99), (LOWER, 100), (HIGHER, 1)] {
        let mut bench = Bench::active(config(100));
        bench.wait(seconds(0.4));
        let actions = bench.hear(source, priority);
        // Row 81: it has announced the addresses, so the winner announces them again.
        assert_eq!(done(&actions), ["send 100", "install for 3", "announce 5"]);
        assert_eq!(bench.until_deadline(), seconds(0.6));
        assert_eq!(done(&bench.hear(source, priority)), ["send 100", "install for 3"], "it announces once an interval");
    }
}

#[test]
fn row_37_flood_of_worse_advertisements_gets_few_answers_and_leaves_the_interval_alone() {
    let mut bench = Bench::active(config(100));
    let (mut sent, mut announced) = (0, 0);
    let mut regular = Vec::new();
    for _ in 0..20_000 {
        if bench.until_deadline() == Duration::ZERO {
            let actions = done(&bench.timer());
            regular.extend(actions.iter().any(|word| word == "send 100").then_some(bench.now));
        }
        let actions = done(&bench.hear(HIGHER, 50));
        sent += actions.iter().filter(|word| *word == "send 100").count();
        announced += actions.iter().filter(|word| *word == "announce 5").count();
        bench.wait(Duration::from_micros(500));
    }
    assert!(sent <= 10 * 11, "{sent} answers in 10 s");
    assert!(announced <= 11, "{announced} announcements in 10 s");
    assert_eq!(regular.len(), 9);
    assert!(regular.windows(2).all(|pair| pair[1].since(pair[0]) == seconds(1.0)));
}

#[test]
fn flood_of_priority_0_neither_stops_nor_multiplies_advertisements() {
    let mut bench = Bench::active(config(100));
    let mut sent = vec![bench.now];
    for _ in 0..10_000 {
        let mut actions = done(&bench.hear(HIGHER, 0));
        if bench.until_deadline() == Duration::ZERO {
            actions.extend(done(&bench.timer()));
        }
        sent.extend(actions.iter().any(|word| word == "send 100").then_some(bench.now));
        bench.wait(millis(1));
    }
    assert!(sent.len() <= 112, "{}", sent.len());
    assert!(sent.windows(2).all(|pair| pair[1].since(pair[0]) <= seconds(1.0)));
}

/// The lease of a router that advertises never ends, whatever makes it advertise.
#[test]
fn every_advertisement_renews_the_lease_whatever_others_send() {
    for config in [config(100), Config { interval: interval(10), ..config(100) }, v2(100)] {
        for (priority, every) in [(0, 1), (0, 90), (0, 300), (50, 1), (50, 500), (100, 700)] {
            let lease = vouchd_vrrp::lease(config.interval, 3);
            let mut bench = Bench::active(config.clone());
            let mut renewed = bench.now;
            for millisecond in 0..20_000 {
                let mut actions = bench.run(millis(1));
                if millisecond % every == 0 {
                    actions.extend(bench.hear(LOWER, priority));
                }
                let words = done(&actions);
                let sent = words.iter().filter(|word| **word == "send 100").count();
                let installed = words.iter().filter(|word| word.starts_with("install")).count();
                assert_eq!(sent, installed, "{words:?}");
                if installed > 0 {
                    renewed = bench.now;
                }
                assert!(bench.now.since(renewed) < lease, "priority {priority} every {every} ms");
            }
            assert_eq!(bench.state(), State::Active);
        }
    }
}

#[test]
fn row_81_second_active_router_makes_this_one_announce_at_once_and_an_interval_later() {
    for priority in [0, 50] {
        let mut bench = Bench::active(config(100));
        bench.wait(millis(300));
        assert!(done(&bench.hear(LOWER, priority)).contains(&"announce 5".to_owned()), "{priority}");
        let later = done(&bench.run(seconds(1.0)));
        assert_eq!(later.iter().filter(|word| *word == "announce 5").count(), 1, "{priority}: {later:?}");
        assert!(!done(&bench.run(seconds(3.0))).contains(&"announce 5".to_owned()), "{priority}");
    }
}

#[test]
fn version_2_owner_announces_again_with_its_next_advertisement() {
    let mut bench = Bench::active(v2(255));
    bench.wait(millis(300));
    assert!(done(&bench.hear(LOWER, 100)).is_empty(), "row 96: discarded and not answered");
    assert_eq!(bench.until_deadline(), millis(700));
    assert_eq!(done(&bench.run_to_deadline()), ["send 255", "install for 3", "announce 5"]);
    assert_eq!(
        done(&bench.run(seconds(1.0))),
        ["send 255", "install for 3", "announce 5"],
        "once more an interval later"
    );
    assert_eq!(done(&bench.run(seconds(1.0))), ["send 255", "install for 3"]);
}

#[test]
fn last_advertisement_of_a_preempted_router_is_answered_but_not_reported() {
    for before in [50, 0] {
        let mut bench = Bench::started(config(100));
        bench.hear(LOWER, before);
        bench.run_to_deadline();
        assert_eq!(bench.state(), State::Active);
        let is_reported =
            |actions: &[Action]| events(actions).iter().any(|event| matches!(event, ProtocolEvent::OtherActive { .. }));
        let actions = bench.hear(LOWER, 50);
        assert!(!is_reported(&actions) && done(&actions).contains(&"send 100".to_owned()));
        bench.wait(millis(100));
        assert!(is_reported(&bench.hear(LOWER, 50)), "it keeps advertising");
    }
}

#[test]
fn repeated_stepping_back_sends_a_bounded_number_of_advertisements() {
    let mut bench = Bench::active(Config { interval: interval(1), ..config(100) });
    let mut last_advertisements = 0;
    for _ in 0..500 {
        let words = done(&bench.hear(HIGHER, 200));
        last_advertisements += words.iter().filter(|word| word.starts_with("send")).count();
        bench.hear(HIGHER, 0);
        bench.run(millis(10));
    }
    assert!((40..=60).contains(&last_advertisements), "{last_advertisements} in 5 s");
}

#[test]
fn row_58_packet_from_our_own_address_changes_nothing() {
    let mut bench = Bench::active(config(100));
    let actions = bench.hear(OWN, 200);
    assert_eq!(done(&actions), Vec::<String>::new());
    assert!(matches!(events(&actions)[..], [ProtocolEvent::Discarded { .. }]));
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn row_59_shutdown_sends_priority_0_before_it_removes_the_addresses() {
    let mut bench = Bench::active(config(100));
    let actions = bench.input(Input::Shutdown);
    assert_eq!(done(&actions), ["send 0", "remove"]);
    assert_eq!((bench.router.why(), bench.router.deadline()), (&Why::ShutDown, None));
}

#[test]
fn row_67_recovered_router_takes_the_addresses_back() {
    let mut bench = Bench::active(config(100));
    bench.fit(60);
    bench.hear(LOWER, 80);
    assert_eq!(bench.state(), State::Backup);
    bench.fit(100);
    // The other router keeps advertising at 80, which no longer restarts the timer.
    for _ in 0..3 {
        bench.wait(seconds(1.0));
        bench.hear(LOWER, 80);
    }
    assert_eq!(bench.until_deadline(), seconds(0.609_375));
    bench.run_to_deadline();
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn row_68_hard_fault_resigns_and_recovers_through_backup() {
    let mut bench = Bench::active(config(100));
    let actions = bench.fault();
    assert_eq!(done(&actions), ["send 0", "remove"]);
    assert_eq!(bench.router.why(), &Why::HealthFault("nginx is gone".to_owned()));
    assert!(bench.hear(HIGHER, 0).is_empty(), "no part in elections");
    bench.fit(100);
    assert_eq!((bench.state(), bench.until_deadline()), (State::Backup, seconds(3.609_375)));
}

#[test]
fn row_33_two_owners_elect_by_address() {
    for config in [config(255), crate::bench::v2(255)] {
        let mut bench = Bench::active(config);
        assert_eq!(done(&bench.hear(LOWER, 255)), ["send 255", "install for 3", "announce 5"]);
        assert_eq!(done(&bench.hear(HIGHER, 255)), ["send 255", "remove"]);
    }
}

#[test]
fn owner_keeps_its_priority_but_obeys_a_hard_fault() {
    let mut bench = Bench::active(config(255));
    assert!(bench.fit(60).is_empty());
    assert_eq!(bench.router.priority(), Priority::OWNER);
    assert_eq!(done(&bench.fault()), ["send 0", "remove"]);
    bench.fit(60);
    assert_eq!(bench.state(), State::Active, "an owner is active at once");
}

#[test]
fn effective_priority_stays_between_1_and_254() {
    let mut bench = Bench::started(config(100));
    for (asked, effective) in [(0, 1), (255, 254), (1, 1), (254, 254)] {
        bench.fit(asked);
        assert_eq!(bench.router.priority().get(), effective);
    }
}

#[test]
fn addresses_are_announced_again_after_the_delay_and_at_every_refresh() {
    let announce = Announcements { repeat: 3, delay: seconds(2.5), refresh: seconds(10.0), refresh_repeat: 2 };
    let mut bench = Bench::active(Config { announce, ..config(100) });
    let start = bench.now;
    let mut announced = Vec::new();
    while bench.now.since(start) < seconds(33.0) {
        for action in bench.run_to_deadline() {
            if let Action::Announce { repeat } = action {
                announced.push((bench.now.since(start), repeat));
            }
        }
    }
    let expected = [(2.5, 3), (12.5, 2), (22.5, 2), (32.5, 2)].map(|(at, repeat)| (seconds(at), repeat));
    assert_eq!(announced, expected);
    let never = Announcements { delay: Duration::ZERO, ..Announcements::default() };
    let mut bench = Bench::active(Config { announce: never, ..config(100) });
    assert!(!done(&bench.run(seconds(60.0))).iter().any(|word| word.starts_with("announce")));
}

#[test]
fn row_36_discarded_packets_leave_the_advertisements_as_they_are() {
    let mut quiet = Bench::active(config(100));
    let expected: Vec<_> = sent_at(&mut quiet, seconds(12.0));
    let mut bench = Bench::active(config(100));
    let mut found = Vec::new();
    for _ in 0..24 {
        bench.hear_bytes(HIGHER, GROUP, 64, b"junk");
        found.extend(sent_at(&mut bench, millis(500)));
    }
    assert_eq!((found.len(), &found), (12, &expected));
}
