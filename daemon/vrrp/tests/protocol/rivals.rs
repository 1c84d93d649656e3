//! A router that claims to be active beside the active one is known and reported, and changes nothing.

use std::net::{IpAddr, Ipv4Addr};

use vouchd_vrrp::wire::{Advertisement, Auth, ChecksumForm, Priority, Version, Vrid};
use vouchd_vrrp::{Action, Config, DiscardReason, Packet, ProtocolEvent, Rival, RivalReason, State};

use crate::bench::*;

fn password(password: &'static [u8]) -> Config {
    Config { auth: Auth::simple(password), ..v2(100) }
}

/// Lets the router hear one with the configuration `other`, every second for this long, and returns its actions.
fn beside(bench: &mut Bench, other: &Config, seconds_long: u32) -> Vec<Action> {
    let advertisement = Bench::new(other.clone()).advertisement(other.priority.get());
    let mut actions = Vec::new();
    for _ in 0..seconds_long {
        actions.extend(bench.run(seconds(1.0)));
        actions.extend(bench.hear_this(LOWER, &advertisement));
    }
    actions
}

fn rivals(bench: &Bench) -> Vec<Rival> {
    bench.router.rivals(bench.now)
}

fn reported(actions: &[Action]) -> Vec<&ProtocolEvent> {
    events(actions).into_iter().filter(|event| matches!(event, ProtocolEvent::Rival(_))).collect()
}

#[test]
fn discarded_advertisements_of_an_active_router_are_a_claim_with_a_remedy() {
    let one_second = |config: Config| Config { interval: interval(100), ..config };
    let table = [
        (password(b"1234"), password(b"4321"), DiscardReason::AuthPassword, "set the same password on both"),
        (password(b"1234"), v2(100), DiscardReason::AuthType, "set the same auth on both"),
        (one_second(v2(100)), one_second(config(100)), DiscardReason::Version, "set the same version on both"),
        (
            v2(100),
            Config { interval: interval(200), ..v2(100) },
            DiscardReason::Interval,
            "set the same advert_interval",
        ),
        (Config { peers: Some(vec![HIGHER]), ..config(100) }, config(100), DiscardReason::Destination, "multicast"),
    ];
    for (own, other, reason, remedy) in table {
        let mut bench = Bench::active(own);
        let actions = beside(&mut bench, &other, 7);
        assert_eq!(bench.state(), State::Active, "{reason:?}");
        let found = rivals(&bench);
        let [rival] = &found[..] else { panic!("{reason:?}: {found:?}") };
        assert_eq!((rival.peer, rival.count, &rival.reason), (LOWER, 7, &RivalReason::Discarded(reason)));
        let text = rival.to_string();
        assert!(text.contains(remedy) && text.contains("7 of its advertisements"), "{text}");
        assert!(text.contains(&format!("discarded ({}), the last 0.0 s ago: ", reason.name())), "{text}");
        assert_eq!(reported(&actions).len(), 1, "{reason:?}: once is enough");
    }
}

#[test]
fn other_addresses_under_the_same_vrid_are_named_whatever_else_differs() {
    let one_second = |config: Config| Config { interval: interval(100), ..config };
    let table = [
        (config(100), config(100), DiscardReason::Addresses),
        (password(b"1234"), password(b"4321"), DiscardReason::AuthPassword),
        (password(b"1234"), v2(100), DiscardReason::AuthType),
        (one_second(v2(100)), one_second(config(100)), DiscardReason::Version),
        (v2(100), Config { interval: interval(200), ..v2(100) }, DiscardReason::Interval),
        (Config { peers: Some(vec![HIGHER]), ..config(100) }, config(100), DiscardReason::Destination),
    ];
    for (own, other, reason) in table {
        let mut bench = Bench::active(own);
        beside(&mut bench, &Config { addresses: vec![HIGHER], ..other.clone() }, 3);
        let found = rivals(&bench);
        let [rival] = &found[..] else { panic!("{reason:?}: {found:?}") };
        assert_eq!((rival.count, &rival.reason), (3, &RivalReason::OtherAddresses(reason)));
        let text = rival.to_string();
        assert!(text.contains("is active for other addresses under the same virtual router id"), "{text}");
        assert!(text.contains(&format!("({}), the last ", reason.name())), "{text}");
        assert!(text.contains("give one of the two another virtual_router_id"), "{text}");
        // With one shared address, two machines answer for it.
        if reason != DiscardReason::Addresses {
            beside(&mut bench, &Config { addresses: vec![HIGHER, VIP], ..other }, 1);
            assert_eq!(rivals(&bench)[0].reason, RivalReason::Discarded(reason));
        }
    }
}

#[test]
fn claim_ends_with_the_advertisements_and_with_a_resignation() {
    let mut bench = Bench::active(password(b"1234"));
    beside(&mut bench, &password(b"4321"), 3);
    // It may send rarely while it receives what it discards.
    for _ in 0..3 {
        bench.run(seconds(20.0));
        assert_eq!(rivals(&bench).len(), 1);
        beside(&mut bench, &password(b"4321"), 1);
    }
    bench.run(seconds(60.1));
    assert_eq!(rivals(&bench), []);

    // A router whose advertisements are accepted counts as gone sooner.
    beside(&mut bench, &Config { priority: Priority::new(80), ..password(b"1234") }, 5);
    assert!(matches!(&rivals(&bench)[..], [Rival { reason: RivalReason::Unheard { .. }, .. }]), "{:?}", rivals(&bench));
    bench.run(seconds(3.1));
    assert_eq!(rivals(&bench), []);

    // The password is corrected.
    beside(&mut bench, &password(b"4321"), 3);
    assert_eq!(rivals(&bench).len(), 1);
    beside(&mut bench, &Config { priority: Priority::new(80), ..password(b"1234") }, 1);
    assert_eq!(rivals(&bench), []);

    beside(&mut bench, &password(b"4321"), 3);
    assert_eq!(rivals(&bench).len(), 1);
    beside(&mut bench, &Config { priority: Priority::new(1), ..password(b"4321") }, 0);
    let resigning = Advertisement { priority: Priority::RESIGN, ..Bench::new(password(b"4321")).advertisement(1) };
    bench.hear_this(LOWER, &resigning);
    assert_eq!(rivals(&bench), []);
}

#[test]
fn single_packet_is_no_claim() {
    let mut bench = Bench::active(password(b"1234"));
    beside(&mut bench, &password(b"4321"), 1);
    assert_eq!(rivals(&bench), []);
    assert_eq!(bench.router.sources().len(), 1);
}

#[test]
fn worse_router_that_keeps_advertising_is_reported_as_not_hearing_this_one() {
    let mut bench = Bench::active(config(100));
    // When two routers meet, the worse one advertises once or twice and steps back.
    beside(&mut bench, &config(80), 2);
    assert_eq!(rivals(&bench), []);
    beside(&mut bench, &config(80), 3);
    let found = rivals(&bench);
    assert!(matches!(&found[..], [Rival { reason: RivalReason::Unheard { .. }, peer: LOWER, .. }]), "{found:?}");
    let text = found[0].to_string();
    assert!(text.contains("it does not receive what 192.0.2.10 sends, or discards it"), "{text}");
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn backup_reports_two_active_routers_but_no_rival_in_an_ordinary_takeover() {
    let mut bench = Bench::started(config(50));
    for _ in 0..5 {
        bench.run(seconds(1.0));
        bench.hear(LOWER, 100);
    }
    // HIGHER takes over: LOWER hears it and falls silent.
    for _ in 0..6 {
        bench.run(seconds(1.0));
        bench.hear(HIGHER, 200);
        assert_eq!(rivals(&bench), []);
    }
    for _ in 0..4 {
        bench.run(seconds(0.5));
        bench.hear(LOWER, 100);
        bench.run(seconds(0.5));
        bench.hear(HIGHER, 200);
    }
    let found = rivals(&bench);
    assert!(matches!(&found[..], [Rival { peer: LOWER, reason: RivalReason::TwoActive(HIGHER), .. }]), "{found:?}");
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn our_addresses_under_another_vrid_are_overheard() {
    let mut bench = Bench::active(config(100));
    let overhear = |bench: &mut Bench, addresses: Vec<IpAddr>| {
        let other = Config { vrid: Vrid::new(52).expect("not 0"), addresses, ..config(100) };
        let payload = Bench::new(other).advertisement(100).encode(LOWER, GROUP, ChecksumForm::PseudoHeader);
        let payload = payload.expect("encodes");
        bench.wait(seconds(1.0));
        let packet = Packet { source: LOWER, destination: GROUP, ttl: 255, payload: &payload };
        bench.router.overhear(bench.now, &packet)
    };
    let counted = bench.router.counters().discarded_total();
    assert_eq!(overhear(&mut bench, vec![HIGHER]), []);
    assert!(bench.router.sources().is_empty(), "another virtual router");
    let deadline = bench.router.deadline();
    let mut actions = overhear(&mut bench, vec![VIP]);
    actions.extend(overhear(&mut bench, vec![HIGHER, VIP]));
    let found = rivals(&bench);
    assert!(
        matches!(&found[..], [Rival { reason: RivalReason::OtherVrid { vrid: 52, address: VIP }, .. }]),
        "{found:?}"
    );
    assert!(found[0].to_string().contains("set the same virtual_router_id on both"), "{}", found[0]);
    assert_eq!((actions.len(), reported(&actions).len()), (1, 1), "{actions:?}");
    assert_eq!((bench.state(), bench.router.deadline()), (State::Active, deadline));
    assert_eq!(bench.router.counters().discarded_total(), counted);
}

#[test]
fn rivals_discarded_packet_touches_no_timer_and_no_state() {
    for state in [State::Active, State::Backup] {
        let mut bench = match state {
            State::Active => Bench::active(password(b"1234")),
            _ => Bench::started(password(b"1234")),
        };
        let before = (bench.state(), bench.router.deadline(), bench.router.priority(), bench.router.why().clone());
        let other = Bench::new(password(b"4321")).advertisement(200);
        for _ in 0..50 {
            bench.wait(millis(10));
            let actions = bench.hear_this(HIGHER, &other);
            assert_eq!(done(&actions), [""; 0], "{actions:?}");
        }
        assert_eq!(rivals(&bench).len(), 1);
        let after = (bench.state(), bench.router.deadline(), bench.router.priority(), bench.router.why().clone());
        assert_eq!(before, after);
    }
}

#[test]
fn sixty_thousand_forged_sources_neither_fill_memory_nor_evict_a_peer() {
    let peers = vec![LOWER, HIGHER];
    let mut bench = Bench::active(Config { peers: Some(peers), ..v2(100) });
    let advertisement = bench.advertisement(80);
    for peer in [LOWER, HIGHER] {
        let payload = advertisement.encode(peer, OWN, ChecksumForm::PseudoHeader).expect("encodes");
        bench.hear_bytes(peer, OWN, 255, &payload);
    }
    let mut reported = 0;
    for number in 0..60_000u32 {
        let source = IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + number));
        let payload = advertisement.encode(source, OWN, ChecksumForm::PseudoHeader).expect("encodes");
        if number % 60 == 0 {
            bench.wait(millis(1));
        }
        reported += events(&bench.hear_bytes(source, OWN, 255, &payload)).len();
    }
    let sources = bench.router.sources();
    assert!(sources.len() <= 66, "{}", sources.len());
    for peer in [LOWER, HIGHER] {
        assert!(sources.iter().any(|source| source.address == peer && source.accepted == 1), "{peer} was pushed out");
    }
    assert!(reported <= 4, "{reported} lines in a second");
    assert_eq!(bench.router.counters().discarded(DiscardReason::UnknownPeer), 60_000);
}

#[test]
fn accepted_router_stays_known_among_discarded_ones() {
    let mut bench = Bench::active(v2(100));
    bench.hear(LOWER, 80);
    let wrong = Advertisement { version: Version::V3, ..bench.advertisement(80) };
    for number in 0..1_000u32 {
        bench.wait(millis(1));
        let source = IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + number));
        bench.hear_this(source, &wrong);
        bench.hear_this(source, &wrong);
    }
    assert!(bench.router.sources().iter().any(|source| source.address == LOWER && source.accepted == 1));
}
