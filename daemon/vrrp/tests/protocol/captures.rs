//! Recorded packets of keepalived, FRR and others, replayed into a router at their recorded times. The recordings of other
//! projects are not part of this repository; without them the tests that need them are skipped, and say so.
#![expect(clippy::disallowed_methods, reason = "a test may read its data")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vouchd_vrrp::wire::{
    Advertisement, Auth, ChecksumForm, IP_PROTOCOL, ParseError, Priority, Version, Vrid, ipv4, parse,
};
use vouchd_vrrp::{Config, DiscardReason, Health, Input, Link, Packet, Router, State, Time};

use crate::bench;

/// A recorded VRRP packet.
#[derive(Clone)]
struct Recorded {
    at: Duration,
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    payload: Vec<u8>,
}

impl Recorded {
    fn parse(&self) -> Option<Advertisement> {
        parse(&self.payload, self.source, self.destination).ok().map(|parsed| parsed.advertisement)
    }

    fn as_packet(&self) -> Packet<'_> {
        Packet { source: self.source, destination: self.destination, ttl: self.ttl, payload: &self.payload }
    }
}

/// The folder of the recordings made for these tests.
fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures")
}

/// Names the folder with other projects' recordings (`vrrp.pcap` and those of PcapPlusPlus and tcpdump), if it is not in its
/// usual place beside the repository.
const FOREIGN: &str = "VOUCHD_FOREIGN_CAPTURES";

/// The folder with other projects' recordings. `None`: the test is skipped.
fn foreign_recordings() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/captures");
    let folder = std::env::var_os(FOREIGN).map(PathBuf::from).or_else(|| beside.is_dir().then_some(beside));
    if folder.is_none() {
        let what = format!("they are not part of this repository; set {FOREIGN} to their folder");
        vouchd_skip::skip_even_if_strict("no recordings of other projects", &what);
    }
    folder
}

fn file(folder: &Path, name: &str) -> Vec<Recorded> {
    let bytes = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    recorded(&bytes)
}

/// The VRRP packets of a capture file with Ethernet frames (pcap, microseconds, either byte order).
fn recorded(file: &[u8]) -> Vec<Recorded> {
    let big_endian = file[..4] == [0xa1, 0xb2, 0xc3, 0xd4];
    let number = |at: usize| {
        let bytes = file[at..at + 4].try_into().expect("four bytes");
        if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    const ETHERNET: u32 = 1;
    let mut packets = Vec::new();
    let mut at = 24;
    while number(20) == ETHERNET && at + 16 <= file.len() {
        let time = Duration::new(u64::from(number(at)), number(at + 4) * 1_000);
        let length = number(at + 8) as usize;
        packets.extend(vrrp(time, &file[at + 16..at + 16 + length]));
        at += 16 + length;
    }
    packets
}

fn vrrp(at: Duration, frame: &[u8]) -> Option<Recorded> {
    let packet = frame.get(14..)?;
    match frame[12..14] {
        [0x08, 0x00] => {
            let (header, payload) = ipv4::Header::parse(packet).ok()?;
            let ipv4::Header { source, destination, ttl, protocol, .. } = header;
            let (source, destination, payload) = (source.into(), destination.into(), payload.to_vec());
            (protocol == IP_PROTOCOL).then_some(Recorded { at, source, destination, ttl, payload })
        }
        [0x86, 0xdd] if packet[6] == IP_PROTOCOL => {
            let address = |from: usize| -> IpAddr {
                Ipv6Addr::from(<[u8; 16]>::try_from(&packet[from..from + 16]).expect("16 bytes")).into()
            };
            let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            let payload = packet[40..40 + length].to_vec();
            Some(Recorded { at, source: address(8), destination: address(24), ttl: packet[7], payload })
        }
        _ => None,
    }
}

/// A router of the lowest priority in the virtual router of a recording.
fn backup_for(first: &Advertisement, peers: Option<Vec<IpAddr>>, start: Time) -> Router {
    let config = Config {
        vrid: first.vrid,
        version: first.version,
        priority: Priority::LOWEST,
        interval: first.interval,
        addresses: first.addresses.clone(),
        auth: first.auth,
        peers,
        ..bench::config(1)
    };
    let source = match first.addresses[0] {
        IpAddr::V4(_) => IpAddr::from([192, 0, 2, 50]),
        IpAddr::V6(_) => "fe80::50".parse().expect("an address"),
    };
    let mut router = Router::new(start, config).expect("a good configuration");
    router.handle(start, Input::Link(Link::Up { source }));
    let reason = "test".to_owned();
    router.handle(start, Input::Health(Health::Fit { priority: Priority::LOWEST, reason }));
    assert_eq!(router.state(), State::Backup);
    router
}

fn instant(at: Duration) -> Time {
    Time::default() + at
}

/// Replays the packets of one virtual router. The backup must follow every handover and never become active.
fn replay(name: &str, packets: &[Recorded]) {
    let first = packets[0].parse().unwrap_or_else(|| panic!("{name}: not an advertisement"));
    let unicast = !packets[0].destination.is_multicast();
    let peers = unicast.then(|| packets.iter().map(|packet| packet.source).collect());
    let mut router = backup_for(&first, peers, instant(packets[0].at));
    for packet in packets {
        let now = instant(packet.at);
        while let Some(deadline) = router.deadline().filter(|deadline| *deadline < now) {
            router.handle(deadline, Input::Timer);
        }
        router.handle(now, Input::Packet(packet.as_packet()));
        assert_eq!(router.state(), State::Backup, "{name}, at {:?}", packet.at);
    }
    let counters = router.counters();
    assert_eq!((counters.received, counters.discarded_total()), (packets.len() as u64, 0), "{name}");
}

/// The packets of each virtual router, by family, version and VRID.
fn by_router(packets: &[Recorded]) -> BTreeMap<(bool, u8, u8), Vec<Recorded>> {
    let mut routers = BTreeMap::<_, Vec<Recorded>>::new();
    for packet in packets {
        let key = (packet.source.is_ipv4(), packet.payload[0] >> 4, packet.payload[1]);
        routers.entry(key).or_default().push(packet.clone());
    }
    routers
}

/// Two routers of keepalived or FRR that hand over to each other, and the number of their packets.
const HANDOVERS: [(&str, usize); 9] = [
    ("keepalived-2.2.7-v2-ipv4-auth-pass.pcap", 17),
    ("keepalived-2.2.7-v2-ipv4.pcap", 19),
    ("keepalived-2.2.7-v3-ipv4-pseudohdr.pcap", 19),
    ("keepalived-2.2.7-v3-ipv4-subsecond.pcap", 67),
    ("keepalived-2.2.7-v3-ipv4-unicast.pcap", 18),
    ("keepalived-2.2.7-v3-ipv4-vmac.pcap", 19),
    ("keepalived-2.2.7-v3-ipv6-vmac.pcap", 19),
    ("keepalived-2.2.7-v3-ipv6.pcap", 18),
    ("frr-8.4.4-v3-dualstack.pcap", 25),
];

#[test]
fn recorded_handovers_never_make_a_backup_active() {
    for (name, count) in HANDOVERS {
        replay_all(&recordings(), name, count);
    }
}

#[test]
fn foreign_handovers_never_make_a_backup_active() {
    let Some(folder) = foreign_recordings() else { return };
    replay_all(&folder, "vrrp.pcap", 165);
}

/// Replays every virtual router of a recording that has `count` packets.
fn replay_all(folder: &Path, name: &str, count: usize) {
    let packets = file(folder, name);
    assert_eq!(packets.len(), count, "{name}");
    for packets in by_router(&packets).into_values() {
        if packets.iter().all(|packet| !first_address_is_global(packet)) {
            replay(name, &packets);
        }
    }
}

/// FRR advertises over IPv6 only the configured addresses, here one global address, which RFC 9568 erratum 8300 forbids.
fn first_address_is_global(packet: &Recorded) -> bool {
    let parsed = parse(&packet.payload, packet.source, packet.destination);
    matches!(parsed, Err(ParseError::FirstAddressNotLinkLocal(_)))
}

#[test]
fn row_27_ipv6_advertisements_without_a_link_local_first_address_are_discarded() {
    let packets = file(&recordings(), "frr-8.4.4-v3-dualstack.pcap");
    let refused: Vec<_> = packets.iter().filter(|packet| first_address_is_global(packet)).collect();
    assert_eq!(refused.len(), 10);
    assert!(refused.iter().all(|packet| packet.source.is_ipv6()));
}

#[test]
fn foreign_recording_parses_as_documented() {
    let Some(folder) = foreign_recordings() else { return };
    let routers = by_router(&file(&folder, "vrrp.pcap"));
    let keys: Vec<_> = routers.keys().copied().collect();
    assert_eq!(keys, [(false, 3, 45), (false, 3, 46), (true, 2, 42), (true, 2, 43), (true, 3, 44)]);
    for ((ipv4, version, vrid), packets) in routers {
        for packet in packets {
            let parsed = parse(&packet.payload, packet.source, packet.destination).expect("a real advertisement");
            let Advertisement { interval, auth, .. } = parsed.advertisement;
            assert_eq!(interval.duration(), Duration::from_secs(10));
            assert_eq!(matches!(auth, Auth::Simple(_)), vrid == 42);
            let form = (ipv4 && version == 3).then_some(ChecksumForm::PseudoHeader);
            assert_eq!(parsed.checksum_form, form);
        }
    }
}

#[test]
fn single_frames_of_another_library_parse() {
    let Some(folder) = foreign_recordings() else { return };
    for (name, count) in [("pcpp-VRRP-V3-IPv4.pcap", 2), ("pcpp-VRRP-V3-IPv6.pcap", 3)] {
        let packets = file(&folder, name);
        let advertisement = packets[0].parse().unwrap_or_else(|| panic!("{name}: not an advertisement"));
        assert_eq!((advertisement.version, advertisement.addresses.len()), (Version::V3, count), "{name}");
        assert_eq!(advertisement.vrid, Vrid::new(1).expect("not 0"));
    }
    // That library leaves out the authentication data, which version 2 always has (RFC 3768 section 5.1).
    let packet = &file(&folder, "pcpp-VRRP-V2.pcap")[0];
    let parsed = parse(&packet.payload, packet.source, packet.destination);
    assert_eq!(parsed, Err(ParseError::Length { expected: 28, found: 20 }));
}

#[test]
fn fuzzed_packets_are_rejected() {
    let Some(folder) = foreign_recordings() else { return };
    let packets = file(&folder, "vrrp-vrrp_print-oobr-2.pcap");
    assert!(packets.iter().all(|packet| packet.parse().is_none()));
}

/// The injected frames of each recording, and why they are discarded.
const DISCARDED: [(&str, Version, DiscardReason, usize); 24] = [
    ("probe-rejected-badck.pcap", Version::V3, DiscardReason::Checksum, 24),
    ("probe-rejected-other-vrid.pcap", Version::V3, DiscardReason::Vrid, 24),
    ("probe-rejected-ttl64.pcap", Version::V3, DiscardReason::Ttl, 24),
    ("probe-rejected-v2-on-v3.pcap", Version::V3, DiscardReason::Version, 24),
    ("probe-v2-addrlist-mismatch.pcap", Version::V2, DiscardReason::Addresses, 6),
    ("probe-v2-adver2-mismatch.pcap", Version::V2, DiscardReason::Interval, 6),
    ("probe-v2-auth1-vs-none.pcap", Version::V2, DiscardReason::AuthType, 6),
    // None of its addresses is the victim's: another virtual router.
    ("probe-v3-addrlist-mismatch.pcap", Version::V3, DiscardReason::Addresses, 6),
    ("probe-v3-adver0.pcap", Version::V3, DiscardReason::ZeroInterval, 6),
    ("probe-v3-badck-prio200.pcap", Version::V3, DiscardReason::Checksum, 5),
    ("probe-v3-count0.pcap", Version::V3, DiscardReason::NoAddresses, 6),
    ("probe-v3-gets-v2.pcap", Version::V3, DiscardReason::Version, 6),
    ("probe-v3-other-vrid.pcap", Version::V3, DiscardReason::Vrid, 6),
    ("probe-v3-ttl64.pcap", Version::V3, DiscardReason::Ttl, 5),
    ("probe-v3-type2.pcap", Version::V3, DiscardReason::Type, 6),
    ("probe-v3-v2-trailer.pcap", Version::V3, DiscardReason::Length, 6),
    ("frrprobe-adver0.pcap", Version::V3, DiscardReason::ZeroInterval, 6),
    ("frrprobe-badck-12s.pcap", Version::V3, DiscardReason::Checksum, 24),
    ("frrprobe-count0.pcap", Version::V3, DiscardReason::NoAddresses, 6),
    ("frrprobe-trailer.pcap", Version::V3, DiscardReason::Length, 6),
    ("frrprobe-ttl64.pcap", Version::V3, DiscardReason::Ttl, 6),
    ("frrprobe-v2-adver2.pcap", Version::V2, DiscardReason::Interval, 6),
    ("frrprobe-addrlist.pcap", Version::V3, DiscardReason::Addresses, 6),
    ("frrprobe-v2-addrlist.pcap", Version::V2, DiscardReason::Addresses, 6),
];

const INJECTOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 253));

/// What the routers of the recordings advertised.
fn victim(version: Version) -> Config {
    Config {
        vrid: Vrid::new(10).expect("not 0"),
        version,
        addresses: vec![IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])],
        ..bench::config(100)
    }
}

#[test]
fn frames_that_disturb_other_implementations_are_discarded_and_touch_no_timer() {
    for (name, version, reason, count) in DISCARDED {
        let injected: Vec<_> =
            file(&recordings(), name).into_iter().filter(|packet| packet.source == INJECTOR).collect();
        assert_eq!(injected.len(), count, "{name}");
        for mut router in [bench::Bench::started(victim(version)), bench::Bench::active(victim(version))] {
            let before = (router.state(), router.router.deadline());
            for packet in &injected {
                router.input(Input::Packet(packet.as_packet()));
                router.wait(bench::millis(10));
            }
            assert_eq!((router.state(), router.router.deadline()), before, "{name}");
            assert_eq!(router.router.counters().discarded(reason), count as u64, "{name}");
        }
    }
}

/// Better routers, each in its own way.
const BETTER: [(&str, Version); 14] = [
    ("probe-v3-ipopts.pcap", Version::V3),
    ("probe-v3-resv-nibble.pcap", Version::V3),
    ("probe-v3-msgonly-prio200.pcap", Version::V3),
    ("probe-v3-pseudo-prio200.pcap", Version::V3),
    ("probe-v3-physmac-src.pcap", Version::V3),
    ("probe-v3-adver300.pcap", Version::V3),
    ("probe-v3-equal-higher-ip.pcap", Version::V3),
    ("probe-v2-prio200.pcap", Version::V2),
    ("frrprobe-msgonly200.pcap", Version::V3),
    ("frrprobe-pseudo200.pcap", Version::V3),
    ("frrprobe-ipopts.pcap", Version::V3),
    ("frrprobe-adver300.pcap", Version::V3),
    ("frrprobe-equal-higher-ip.pcap", Version::V3),
    ("frrprobe-v2-ok.pcap", Version::V2),
];

#[test]
fn unusual_but_valid_frames_are_accepted() {
    for (name, version) in BETTER {
        let mut router = bench::Bench::active(victim(version));
        for packet in file(&recordings(), name).iter().filter(|packet| packet.source == INJECTOR) {
            router.input(Input::Packet(packet.as_packet()));
        }
        assert_eq!(router.state(), State::Backup, "{name}: it is better");
        assert_eq!(router.router.counters().discarded_total(), 0, "{name}");
    }
}

/// Worse routers and those that resign. An active router stays, whoever sends them.
const WORSE: [(&str, Version); 6] = [
    ("probe-v2-lower-prio50.pcap", Version::V2),
    ("probe-v3-lower-prio50.pcap", Version::V3),
    ("probe-v3-equal-lower-ip.pcap", Version::V3),
    ("probe-v3-prio0.pcap", Version::V3),
    ("frrprobe-lower50.pcap", Version::V3),
    ("frrprobe-prio0.pcap", Version::V3),
];

#[test]
fn worse_routers_and_resignations_leave_an_active_router_active() {
    for (name, version) in WORSE {
        let mut router = bench::Bench::active(victim(version));
        // The bench's address must be above 192.0.2.9, from where an equal one comes.
        let injected = [INJECTOR, bench::LOWER];
        let packets = file(&recordings(), name);
        let packets: Vec<_> = packets.iter().filter(|packet| injected.contains(&packet.source)).collect();
        assert_eq!(packets.len(), 5, "{name}");
        for packet in packets {
            router.input(Input::Packet(packet.as_packet()));
            router.wait(bench::millis(10));
            assert_eq!(router.state(), State::Active, "{name}");
        }
        assert_eq!(router.router.counters().discarded_total(), 0, "{name}");
    }
}

/// Row 33: an owner with a higher address.
const OWNER: &str = "probe-v3-owner255-vs-255higherip.pcap";

#[test]
fn row_33_recorded_owner_with_a_higher_address_stays() {
    let mut router = bench::Bench::active(Config { priority: Priority::OWNER, ..victim(Version::V3) });
    for packet in file(&recordings(), OWNER).iter().filter(|packet| packet.source == INJECTOR) {
        router.input(Input::Packet(packet.as_packet()));
    }
    assert_eq!(router.state(), State::Backup);
}

/// keepalived alone, for comparison with what the others disturb.
const UNDISTURBED: &str = "probe-rejected-baseline-none.pcap";

#[test]
fn every_recording_is_replayed() {
    let mut named: Vec<_> = HANDOVERS.iter().map(|(name, _)| *name).collect();
    named.extend(DISCARDED.iter().map(|(name, ..)| *name));
    named.extend(BETTER.iter().chain(&WORSE).map(|(name, _)| *name));
    named.extend([OWNER, UNDISTURBED]);
    named.sort_unstable();
    let mut present: Vec<_> = std::fs::read_dir(recordings())
        .expect("the recordings")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8"))
        .filter(|name| name.ends_with(".pcap"))
        .collect();
    present.sort_unstable();
    assert_eq!(named, present);
}
