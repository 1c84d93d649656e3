//! Rows 15 to 36 and 89 to 96: which packets are accepted. Every discarded one is counted under its reason, and touches neither
//! state nor timer.

use vouchd_vrrp::wire::{Advertisement, Auth, ChecksumForm, Priority};
use vouchd_vrrp::{Config, DiscardReason, Input, Packet, ProtocolEvent, State};

use crate::bench::*;

/// A packet as it arrives.
struct Arrival {
    source: std::net::IpAddr,
    destination: std::net::IpAddr,
    ttl: u8,
    payload: Vec<u8>,
}

/// A valid packet of a better router, for a router with `config`.
fn good(config: &Config) -> Arrival {
    let destination = match config.peers {
        Some(_) => OWN,
        None => GROUP,
    };
    let payload = better(config).encode(HIGHER, destination, ChecksumForm::PseudoHeader).expect("encodes");
    Arrival { source: HIGHER, destination, ttl: 255, payload }
}

fn better(config: &Config) -> Advertisement {
    Bench::new(Config { priority: Priority::new(100), ..config.clone() }).advertisement(200)
}

/// A [`good`] packet after `edit`, with a correct checksum.
fn with_bytes(config: &Config, edit: impl FnOnce(&mut Vec<u8>)) -> Arrival {
    let mut arrival = good(config);
    edit(&mut arrival.payload);
    fix_checksum(&mut arrival.payload);
    arrival
}

/// Sets the checksum over the message only, which version 3 over IPv4 accepts too.
fn fix_checksum(payload: &mut [u8]) {
    payload[6..8].fill(0);
    let mut sum: u32 =
        payload.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    payload[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn with(config: &Config, advertisement: &Advertisement) -> Arrival {
    let payload = advertisement.encode(HIGHER, GROUP, ChecksumForm::PseudoHeader).expect("encodes");
    Arrival { payload, ..good(config) }
}

fn password(config: Config) -> Config {
    Config { auth: Auth::simple(b"1234"), ..config }
}

fn unicast() -> Config {
    Config { peers: Some(vec![HIGHER]), ..config(100) }
}

/// Packets for every reason to discard one, with the row of the checklist.
fn discarded() -> Vec<(&'static str, Config, Arrival, DiscardReason)> {
    let (v3, v2, secret) = (config(100), v2(100), password(v2(100)));
    let other_vip = "192.0.2.101".parse().expect("an address");
    let third_vip = "192.0.2.102".parse().expect("an address");
    let mut cases = vec![
        ("15 TTL 254", v3.clone(), Arrival { ttl: 254, ..good(&v3) }, DiscardReason::Ttl),
        ("15 TTL 1", v2.clone(), Arrival { ttl: 1, ..good(&v2) }, DiscardReason::Ttl),
        ("15 TTL 64, unicast", unicast(), Arrival { ttl: 64, ..good(&unicast()) }, DiscardReason::Ttl),
        ("17 version 2 on 3", v3.clone(), good(&v2), DiscardReason::Version),
        ("17 version 3 on 2", v2.clone(), good(&v3), DiscardReason::Version),
        ("18 type 0", v3.clone(), with_bytes(&v3, |p| p[0] = 0x30), DiscardReason::Type),
        ("18 type 2", v3.clone(), with_bytes(&v3, |p| p[0] = 0x32), DiscardReason::Type),
        ("18 type 15", v3.clone(), with_bytes(&v3, |p| p[0] = 0x3f), DiscardReason::Type),
        (
            "20 a version 2 trailer in version 3",
            v3.clone(),
            with_bytes(&v3, |p| p.extend([0; 8])),
            DiscardReason::Length,
        ),
        ("24 another virtual router", v3.clone(), with_bytes(&v3, |p| p[1] = 52), DiscardReason::Vrid),
        ("24 virtual router 0", v3.clone(), with_bytes(&v3, |p| p[1] = 0), DiscardReason::Vrid),
        (
            "25 no addresses",
            v3.clone(),
            with_bytes(&v3, |p| {
                p[3] = 0;
                p.truncate(8);
            }),
            DiscardReason::NoAddresses,
        ),
        ("26 interval 0", v3.clone(), with_bytes(&v3, |p| p[4..6].fill(0)), DiscardReason::ZeroInterval),
        ("34 source 0.0.0.0", v3.clone(), Arrival { source: [0, 0, 0, 0].into(), ..good(&v3) }, DiscardReason::Source),
        ("34 source broadcast", v3.clone(), Arrival { source: [255; 4].into(), ..good(&v3) }, DiscardReason::Source),
        ("34 source multicast", v3.clone(), Arrival { source: GROUP, ..good(&v3) }, DiscardReason::Source),
        ("14, 34 own source", v3.clone(), Arrival { source: OWN, ..good(&v3) }, DiscardReason::OwnAddress),
        (
            "35 CARP",
            v2.clone(),
            with_bytes(&v2, |p| {
                p[3] = 7;
                p.resize(36, 0x5a);
            }),
            DiscardReason::Carp,
        ),
        ("89 a password but none is configured", v2.clone(), good(&secret), DiscardReason::AuthType),
        ("89 no password but one is configured", secret.clone(), good(&v2), DiscardReason::AuthType),
        ("89 type 7", v2.clone(), with_bytes(&v2, |p| p[4] = 7), DiscardReason::AuthType),
        (
            "89 another password",
            secret.clone(),
            good(&Config { auth: Auth::simple(b"12345"), ..v2.clone() }),
            DiscardReason::AuthPassword,
        ),
        (
            "90 another interval in version 2",
            v2.clone(),
            with(&v2, &Advertisement { interval: interval(200), ..better(&v2) }),
            DiscardReason::Interval,
        ),
        (
            "91 another virtual router's addresses in version 2",
            v2.clone(),
            with(&v2, &Advertisement { addresses: vec![other_vip], ..better(&v2) }),
            DiscardReason::Addresses,
        ),
        (
            "29 another virtual router's addresses in version 3",
            v3.clone(),
            with(&v3, &Advertisement { addresses: vec![other_vip, third_vip], ..better(&v3) }),
            DiscardReason::Addresses,
        ),
        (
            "29 another virtual router that resigns",
            v3.clone(),
            with(&v3, &Advertisement { addresses: vec![other_vip], priority: Priority::RESIGN, ..better(&v3) }),
            DiscardReason::Addresses,
        ),
        (
            "29 another virtual router's owner",
            v3.clone(),
            with(&v3, &Advertisement { addresses: vec![other_vip], priority: Priority::OWNER, ..better(&v3) }),
            DiscardReason::Addresses,
        ),
        ("96 the owner receives in version 2", crate::bench::v2(255), good(&v2), DiscardReason::OwnerReceives),
        (
            "multicast to a unicast router",
            unicast(),
            Arrival { destination: GROUP, ..good(&unicast()) },
            DiscardReason::Destination,
        ),
        (
            "unicast to a multicast router",
            v3.clone(),
            Arrival { destination: OWN, ..good(&v3) },
            DiscardReason::Destination,
        ),
        ("a stranger's unicast", unicast(), Arrival { source: LOWER, ..good(&unicast()) }, DiscardReason::UnknownPeer),
    ];
    for version in [0, 1, 4, 15] {
        let packet = with_bytes(&v3, |p| p[0] = version << 4 | 1);
        cases.push(("17 a version that does not exist", v3.clone(), packet, DiscardReason::Version));
    }
    for config in [&v2, &v3] {
        let whole = good(config);
        for length in 0..whole.payload.len() {
            let payload = whole.payload[..length].to_vec();
            cases.push(("19 cut short", config.clone(), Arrival { payload, ..good(config) }, DiscardReason::Length));
        }
        // Flips a single bit after version, type and VRID, whose checks come first.
        for bit in 16..whole.payload.len() * 8 {
            // The address count is part of the length check.
            if (24..32).contains(&bit) {
                continue;
            }
            let mut packet = good(config);
            packet.payload[bit / 8] ^= 1 << (bit % 8);
            cases.push(("21 one bit flipped", config.clone(), packet, DiscardReason::Checksum));
        }
    }
    cases
}

#[test]
fn row_15_peer_with_a_hop_limit_may_be_that_many_routers_away() {
    let routed = Config { hop_limits: [(HIGHER, 250)].into(), ..unicast() };
    for (ttl, accepted) in [(255, 1), (250, 1), (249, 0), (1, 0), (0, 0)] {
        let mut bench = Bench::started(routed.clone());
        let packet = good(&routed);
        bench.hear_bytes(packet.source, packet.destination, ttl, &packet.payload);
        let counters = bench.router.counters();
        assert_eq!((counters.received, counters.discarded(DiscardReason::Ttl)), (accepted, 1 - accepted), "TTL {ttl}");
    }
    // The other peers have to be on the link.
    let both = Config { peers: Some(vec![LOWER, HIGHER]), hop_limits: [(LOWER, 250)].into(), ..config(100) };
    let mut bench = Bench::started(both.clone());
    let packet = good(&both);
    bench.hear_bytes(packet.source, packet.destination, 254, &packet.payload);
    assert_eq!(bench.router.counters().discarded(DiscardReason::Ttl), 1);
}

/// Rows 15, 17, 18, 19, 20, 21, 24, 25, 26, 29, 34, 35, 36, 89, 90, 91 and 96: as the cases are numbered.
#[test]
fn rows_15_to_35_discarded_packet_touches_no_state_and_no_timer_and_is_counted_by_reason() {
    for (row, config, packet, reason) in discarded() {
        for mut bench in [Bench::started(config.clone()), Bench::active(config)] {
            bench.wait(millis(700));
            let before = (bench.state(), bench.router.deadline(), bench.router.priority(), bench.router.since());
            let sent = bench.router.counters().sent;
            let actions = bench.hear_bytes(packet.source, packet.destination, packet.ttl, &packet.payload);
            let after = (bench.state(), bench.router.deadline(), bench.router.priority(), bench.router.since());
            assert_eq!(after, before, "row {row}");
            assert_eq!(done(&actions), Vec::<String>::new(), "row {row}");
            match events(&actions)[..] {
                [ProtocolEvent::Discarded { rejection, total: 1, .. }] => {
                    assert_eq!(rejection.reason(), reason, "row {row}")
                }
                ref other => panic!("row {row}: {other:?}"),
            }
            let counters = bench.router.counters();
            assert_eq!((counters.discarded(reason), counters.discarded_total()), (1, 1), "row {row}");
            assert_eq!((counters.received, counters.sent), (0, sent), "row {row}");
            assert!(bench.router.peers().is_empty(), "row {row}");
        }
    }
}

#[test]
fn packets_that_the_discarded_ones_are_made_from_are_accepted() {
    for config in [config(100), v2(100), password(v2(100)), unicast()] {
        let mut bench = Bench::active(config.clone());
        let packet = good(&config);
        bench.hear_bytes(packet.source, packet.destination, packet.ttl, &packet.payload);
        assert_eq!(bench.state(), State::Backup);
    }
}

/// Rows 16, 23 and 27: over IPv6.
#[test]
fn rows_23_and_27_ipv6_needs_a_pseudo_header_and_a_link_local_first_address() {
    let address = |text: &str| text.parse::<std::net::IpAddr>().expect("an address");
    let (own, peer, group) = (address("fe80::1:1"), address("fe80::1:2"), address("ff02::12"));
    let config = Config { addresses: vec![address("fe80::1"), address("2001:db8::1")], ..config(100) };
    let mut bench = Bench::new(config.clone());
    bench.link_up(own);
    bench.fit(100);
    let packet = better(&config).encode(peer, group, ChecksumForm::PseudoHeader).expect("encodes");
    let mut message_only = packet.clone();
    fix_checksum(&mut message_only);
    let mut hear = |source, payload: &[u8]| bench.hear_bytes(source, group, 255, payload);
    assert!(matches!(events(&hear(peer, &message_only))[..], [ProtocolEvent::Discarded { .. }]));
    hear(address("fe80::1:3"), &packet);
    assert_eq!(bench.router.counters().discarded(DiscardReason::Checksum), 2, "the checksum covers the actual source");
    bench.hear_bytes(peer, group, 64, &packet);
    assert_eq!(bench.router.counters().discarded(DiscardReason::Ttl), 1, "row 16");
    bench.hear_bytes(peer, group, 255, &packet);
    assert_eq!(bench.router.counters().received, 1);
}

#[test]
fn row_22_both_checksum_forms_are_accepted_and_a_differing_one_is_reported_once() {
    for own in [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly] {
        for form in [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly] {
            let mut bench = Bench::started(Config { checksum: own, ..config(100) });
            let payload = bench.advertisement(200).encode(HIGHER, GROUP, form).expect("encodes");
            let actions = bench.hear_bytes(HIGHER, GROUP, 255, &payload);
            let reported = events(&actions).iter().any(|event| matches!(event, ProtocolEvent::PeerChecksum { .. }));
            assert_eq!(reported, own != form);
            assert_eq!(bench.router.active_peer().and_then(|peer| peer.checksum_form), Some(form));
            assert!(bench.hear_bytes(HIGHER, GROUP, 255, &payload).is_empty(), "reported once");
        }
    }
}

#[test]
fn row_28_version_3_accepts_another_interval_and_reports_it_once() {
    let mut bench = Bench::started(config(100));
    let other = Advertisement { interval: interval(50), ..bench.advertisement(200) };
    assert!(matches!(events(&bench.hear_this(HIGHER, &other))[..], [ProtocolEvent::PeerInterval { .. }]));
    assert!(bench.hear_this(HIGHER, &other).is_empty());
    assert_eq!(bench.router.active_peer().map(|peer| peer.interval), Some(interval(50)));
}

#[test]
fn rows_29_and_91_one_shared_address_is_enough_and_the_difference_is_reported_once() {
    for config in [config(100), v2(100)] {
        let mut bench = Bench::active(config);
        let addresses = vec![VIP, "192.0.2.101".parse().expect("an address")];
        let other = Advertisement { addresses, ..bench.advertisement(200) };
        let actions = bench.hear_this(HIGHER, &other);
        let reported = events(&actions).into_iter().find(|event| matches!(event, ProtocolEvent::PeerAddresses { .. }));
        let text = reported.expect("the difference").to_string();
        assert!(text.contains("192.0.2.11 has 192.0.2.101 too, which this router does not have"), "{text}");
        assert_eq!(bench.state(), State::Backup);
        assert!(bench.hear_this(HIGHER, &other).is_empty());
    }
}

#[test]
fn virtual_router_with_the_same_vrid_but_other_addresses_does_not_affect_ours() {
    let other = "192.0.2.101".parse().expect("an address");
    for config in [config(100), v2(100)] {
        let mut bench = Bench::started(config);
        let theirs = Advertisement { addresses: vec![other], ..bench.advertisement(200) };
        let reported = bench.hear_this(HIGHER, &theirs);
        let text = events(&reported)[0].to_string();
        assert!(text.contains("another virtual router with the same id") && text.contains("192.0.2.101"), "{text}");
        for _ in 0..4 {
            bench.hear_this(HIGHER, &theirs);
            bench.run(seconds(1.0));
        }
        assert_eq!(bench.state(), State::Active);
        for _ in 0..20 {
            assert!(done(&bench.hear_this(HIGHER, &theirs)).is_empty());
            bench.run(seconds(0.5));
        }
        assert_eq!(bench.state(), State::Active);
    }
}

#[test]
fn row_91_version_2_ignores_the_order_of_addresses_and_accepts_an_owners_list() {
    let other = "192.0.2.101".parse().expect("an address");
    let config = Config { addresses: vec![VIP, other], ..v2(100) };
    let mut bench = Bench::started(config);
    let turned = Advertisement { addresses: vec![other, VIP], ..bench.advertisement(200) };
    assert!(bench.hear_this(HIGHER, &turned).is_empty());
    let owner = Advertisement { addresses: vec![other], ..bench.advertisement(255) };
    bench.hear_this(HIGHER, &owner);
    assert_eq!(bench.router.counters().received, 2);
}

#[test]
fn row_17_version_mismatch_names_both_versions() {
    let mut bench = Bench::started(config(100));
    let packet = good(&v2(100));
    let actions = bench.hear_bytes(packet.source, packet.destination, packet.ttl, &packet.payload);
    let text = events(&actions)[0].to_string();
    assert!(text.contains("speaks VRRP version 2") && text.contains("version 3"), "{text}");
}

#[test]
fn row_103_discards_are_reported_once_a_second_for_each_reason() {
    let mut bench = Bench::active(config(100));
    let mut reported = Vec::new();
    for _ in 0..300 {
        for ttl in [64, 255] {
            let actions = bench.hear_bytes(HIGHER, GROUP, ttl, &[0x31, 51]);
            reported.extend(events(&actions).into_iter().cloned());
        }
        bench.wait(millis(10));
    }
    assert_eq!(reported.len(), 6);
    assert_eq!(bench.router.counters().discarded(DiscardReason::Ttl), 300);
    assert_eq!(bench.router.counters().discarded(DiscardReason::Length), 300);
    assert!(matches!(reported[2], ProtocolEvent::Discarded { total: 101, .. }));
}

#[test]
fn forged_sources_do_not_fill_memory() {
    let mut bench = Bench::started(config(100));
    for last in 0..2_000u16 {
        let [high, low] = last.to_be_bytes();
        bench.hear([198, 18, high, low].into(), 200);
    }
    assert_eq!(bench.router.peers().len(), 32);
    assert!(bench.router.active_peer().is_some(), "the newest are kept");
}

proptest::proptest! {
    #[test]
    fn bytes_that_are_no_advertisement_neither_panic_nor_change_anything(
        payload in proptest::collection::vec(proptest::num::u8::ANY, 0..64),
        ttl in proptest::sample::select(vec![64u8, 255]),
        active in proptest::bool::ANY,
    ) {
        let mut bench = if active { Bench::active(config(100)) } else { Bench::started(config(100)) };
        let before = (bench.state(), bench.router.deadline());
        bench.input(Input::Packet(Packet { source: HIGHER, destination: GROUP, ttl, payload: &payload }));
        if bench.router.counters().received == 0 {
            proptest::prop_assert_eq!((bench.state(), bench.router.deadline()), before);
            proptest::prop_assert_eq!(bench.router.counters().discarded_total(), 1);
        }
    }
}
