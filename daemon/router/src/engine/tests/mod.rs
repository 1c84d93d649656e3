//! The engine with a recording network: which calls, in which order, follow from which input.

mod counters;
mod groups;
mod links;
mod reload;
mod virtual_mac;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use vouchd_config::Config;
use vouchd_net::double::{Call, Recorder};
use vouchd_net::{
    AddressCommand, AddressError, AddressState, Claim, DownReason, HostCopy, Lifetime, LinkState, NeighbourClaim,
    Presence, Report, Sender, Sources, VirtualAddress,
};
use vouchd_vrrp::{Health, Time};
use vouchd_wire::{AdvertInterval, Advertisement, Auth, ChecksumForm, Priority, Version, Vrid};

use super::{Engine, Startup};
use vouchd_console::capture;

const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));

fn at(milliseconds: u64) -> Time {
    Time::from_nanos((1_000_000 + milliseconds) * 1_000_000)
}

fn config(instance: &str) -> Config {
    vouchd_config::resolve(vec![(PathBuf::from("vouchd.toml"), instance.to_owned())]).unwrap()
}

fn web(extra: &str) -> Config {
    config(&format!(
        "[instance.web]\ninterface = \"eth0\"\nvirtual_router_id = 7\naddresses = [\"192.0.2.100\"]\n{extra}"
    ))
}

fn up() -> LinkState {
    link_with(None, &[SOURCE])
}

fn down() -> LinkState {
    let (sources, addresses) = (Sources { v4: Some(SOURCE), v6: None }, vec![IpAddr::V4(SOURCE)]);
    LinkState::Down { index: 2, reason: DownReason::NoCarrier, mac: None, sources, addresses }
}

/// The interface with these addresses, the first of them primary.
fn link_with(mac: Option<[u8; 6]>, addresses: &[Ipv4Addr]) -> LinkState {
    let sources = Sources { v4: addresses.first().copied(), v6: None };
    LinkState::Up { index: 2, mac, sources, addresses: addresses.iter().copied().map(IpAddr::V4).collect() }
}

fn fit(priority: u8) -> Health {
    Health::Fit { priority: Priority::new(priority), reason: String::new() }
}

/// The health at a reload.
fn healthy(priority: u8) -> BTreeMap<String, Health> {
    BTreeMap::from([("web".to_owned(), fit(priority))])
}

fn started(config: &Config) -> Engine<Recorder> {
    let mut engine = Engine::new(Recorder::default(), Startup::default());
    engine.configure(at(0), &config.instances, &config.groups, BTreeMap::new());
    engine.link(at(0), "eth0", up());
    engine.health(at(0), "web", fit(100));
    engine
}

/// `started`, active, and the kernel has installed the addresses. Nothing was recorded before that.
fn becoming_active(config: &Config, now: Time) -> Engine<Recorder> {
    let mut engine = started(config);
    engine.network().take();
    engine.timers(now);
    assert_eq!(words(&engine.network().take()), ["install web"]);
    engine.report(now, reported(true, Presence::Ours, None, Vec::new()));
    engine
}

/// Active since 3.7 s, with nothing recorded yet.
fn active(config: &Config) -> Engine<Recorder> {
    let mut engine = becoming_active(config, at(3_700));
    assert_eq!(state(&engine), "active");
    engine.network().take();
    engine
}

fn state(engine: &Engine<Recorder>) -> String {
    engine.snapshot(at(60_000)).0[0].state.clone()
}

/// Describes each call: the priority of an advertisement, or the order.
fn words(calls: &[Call]) -> Vec<String> {
    calls
        .iter()
        .map(|call| match call {
            Call::Send { payload, destination, .. } => format!("priority {} to {destination}", payload[2]),
            Call::Address(AddressCommand::Install { instance, .. }) => format!("install {instance}"),
            Call::Address(AddressCommand::Remove { instance }) => format!("remove {instance}"),
            Call::Address(AddressCommand::Configure(claims)) => claims.iter().map(claim_in_words).collect(),
            Call::Address(AddressCommand::Announce { repeat, .. }) => format!("announce {repeat} times"),
            Call::Address(AddressCommand::Ask { sender, .. }) => format!("ask as {sender}"),
        })
        .collect()
}

/// ` web: 192.0.2.100/32`, and ` active` if it may hold them now.
fn claim_in_words(claim: &Claim) -> String {
    let addresses: Vec<_> = claim.addresses.iter().map(|it| format!("{}/{}", it.address, it.prefix)).collect();
    let owner = if claim.owner { " owned" } else { "" };
    let active = if claim.lifetime.is_some() { " active" } else { "" };
    format!(" {}: {}{owner}{active}", claim.instance, addresses.join(" "))
}

/// The keeper's report about the address of `web`.
fn reported(active: bool, presence: Presence, error: Option<AddressError>, copies: Vec<HostCopy>) -> Report {
    let address = VirtualAddress { interface: "eth0".into(), address: VIP, prefix: 32 };
    let states = vec![AddressState { address, presence, error, copies }];
    Report::Addresses { instance: "web".into(), active, states, changes: Vec::new() }
}

/// The keeper's report that all addresses of `instance` are installed.
fn installed(instance: &str, addresses: &[[u8; 4]]) -> Report {
    let state = |address: &[u8; 4]| AddressState {
        address: VirtualAddress { interface: "eth0".into(), address: IpAddr::from(*address), prefix: 32 },
        presence: Presence::Ours,
        error: None,
        copies: Vec::new(),
    };
    let states = addresses.iter().map(state).collect();
    Report::Addresses { instance: instance.into(), active: true, states, changes: Vec::new() }
}

fn copy(prefix: u8, own: bool) -> HostCopy {
    HostCopy { at: VirtualAddress { interface: "eth0".into(), address: VIP, prefix }, own }
}

#[test]
fn becoming_active_advertises_then_installs_then_announces() {
    let mut engine = started(&web(""));
    assert_eq!(words(&engine.network().take()), [" web: 192.0.2.100/32"]);
    let mut engine = becoming_active(&web(""), engine.deadline().unwrap());
    let calls = engine.network().take();
    assert_eq!(words(&calls), ["priority 100 to 224.0.0.18", "install web", "announce 5 times"]);
    let Call::Address(AddressCommand::Install { lifetime, .. }) = &calls[1] else { panic!("{calls:?}") };
    assert!(matches!(lifetime, Lifetime::Until(end) if end.since(at(0)) > Duration::from_secs(6)));
}

#[test]
fn without_leases_an_address_stays_until_it_is_removed() {
    let mut engine = becoming_active(&web("lease = \"off\"\n"), at(3_700));
    let calls = engine.network().take();
    let Call::Address(AddressCommand::Install { lifetime, .. }) = &calls[1] else { panic!("{calls:?}") };
    assert!(matches!(lifetime, Lifetime::Forever { .. }));
}

#[test]
fn hard_fault_sends_priority_zero_before_the_address_is_removed() {
    let mut engine = active(&web(""));
    engine.health(at(4_000), "web", Health::Fault { reason: "check site: fail".to_owned() });
    assert_eq!(words(&engine.network().take()), ["priority 0 to 224.0.0.18", "remove web"]);
    let (instances, _) = engine.snapshot(at(4_000));
    assert_eq!((instances[0].state.as_str(), instances[0].priority.effective), ("initialize", None));
    assert!(instances[0].reason.contains("check site: fail"), "{}", instances[0].reason);
}

#[test]
fn lowered_priority_calls_an_election_and_keeps_the_address() {
    let mut engine = active(&web(""));
    engine.health(at(4_000), "web", fit(60));
    let words = words(&engine.network().take());
    assert_eq!(words[..2], ["priority 60 to 224.0.0.18", "priority 0 to 224.0.0.18"]);
    assert!(words.iter().all(|word| !word.starts_with("remove")), "{words:?}");
    assert_eq!(state(&engine), "active");
}

#[test]
fn each_unicast_peer_gets_an_advertisement_of_its_own() {
    let config = web("unicast = { source = \"192.0.2.1\", peers = [\"192.0.2.2\", \"192.0.2.3\"] }\nversion = 3\n");
    let mut engine = becoming_active(&config, at(3_700));
    let calls = engine.network().take();
    assert_eq!(words(&calls)[..2], ["priority 100 to 192.0.2.2", "priority 100 to 192.0.2.3"]);
    let (Call::Send { payload: one, .. }, Call::Send { payload: other, .. }) = (&calls[0], &calls[1]) else { panic!() };
    assert_ne!(one, other, "the checksum covers the destination");
}

#[test]
fn interface_without_the_unicast_source_is_down() {
    let mut engine = started(&web("unicast = { source = \"192.0.2.9\", peers = [\"192.0.2.2\"] }\n"));
    assert_eq!(state(&engine), "initialize");
    let has_it = link_with(None, &[SOURCE, [192, 0, 2, 9].into()]);
    engine.link(at(10), "eth0", has_it);
    assert_eq!(state(&engine), "backup");
}

#[test]
fn link_down_removes_the_address_and_link_up_starts_as_backup() {
    let mut engine = active(&web(""));
    engine.link(at(4_000), "eth0", down());
    assert!(words(&engine.network().take()).contains(&"remove web".to_owned()));
    engine.link(at(5_000), "eth0", up());
    assert_eq!(state(&engine), "backup");
}

#[test]
fn status_shows_the_newest_report_of_the_keeper() {
    let mut engine = active(&web(""));
    let address = |engine: &Engine<Recorder>| {
        let address = engine.snapshot(at(4_000)).0[0].addresses[0].clone();
        (address.installed, address.error.is_some())
    };
    engine.report(at(3_701), reported(true, Presence::Ours, None, Vec::new()));
    assert_eq!(address(&engine), (true, false));
    let refused = AddressError::NotPermitted { capability: "CAP_NET_ADMIN" };
    engine.report(at(3_800), reported(true, Presence::Ours, Some(refused), Vec::new()));
    assert_eq!((address(&engine), state(&engine).as_str()), ((true, true), "active"), "only not renewed");
    engine.report(at(3_900), reported(true, Presence::Ours, None, Vec::new()));
    assert_eq!(address(&engine), (true, false), "it healed");
    engine.report(at(4_000), reported(true, Presence::Absent, None, Vec::new()));
    assert_eq!(address(&engine), (false, false));
}

#[test]
fn router_that_does_not_own_the_hosts_own_address_stays_out() {
    let mut engine = started(&web(""));
    engine.report(at(1_000), reported(false, Presence::Absent, None, vec![copy(24, true)]));
    let instance = engine.snapshot(at(1_000)).0[0].clone();
    assert_eq!(instance.state, "initialize");
    assert!(instance.reason.contains("192.0.2.100/24 on eth0 is this host's own address"), "{}", instance.reason);
    assert!(instance.reason.contains("priority = 255"), "{}", instance.reason);
    engine.configure(at(1_500), &web("priority = 255\n").instances, &[], healthy(255));
    engine.report(at(1_501), reported(true, Presence::Host, None, vec![copy(24, true)]));
    assert_eq!(state(&engine), "active", "it owns the address now");
    engine.configure(at(1_600), &web("").instances, &[], healthy(100));
    assert_eq!(state(&engine), "initialize");
    engine.report(at(2_000), reported(false, Presence::Absent, None, vec![copy(24, false)]));
    let instance = engine.snapshot(at(2_000)).0[0].clone();
    assert_eq!((instance.state.as_str(), instance.addresses[0].copies.len()), ("backup", 1));
}

#[test]
fn failure_reported_before_the_activation_is_ignored() {
    let mut engine = active(&web(""));
    let refused = || Some(AddressError::NotPermitted { capability: "CAP_NET_ADMIN" });
    engine.report(at(3_701), reported(false, Presence::Absent, refused(), Vec::new()));
    assert_eq!(state(&engine), "active");
    engine.report(at(3_702), reported(true, Presence::Absent, refused(), Vec::new()));
    assert_eq!(state(&engine), "initialize");
}

#[test]
fn address_that_cannot_be_installed_makes_the_router_step_down_with_the_reason() {
    let mut engine = active(&web(""));
    let error = AddressError::NotPermitted { capability: "CAP_NET_ADMIN" };
    engine.report(at(3_701), reported(true, Presence::Absent, Some(error), Vec::new()));
    let (instances, _) = engine.snapshot(at(3_701));
    assert_eq!(instances[0].state, "initialize");
    assert!(instances[0].reason.contains("CAP_NET_ADMIN"), "{}", instances[0].reason);
    assert!(instances[0].addresses[0].error.is_some());
}

#[test]
fn owner_leaves_the_hosts_own_addresses_alone() {
    let config = web("priority = 255\n");
    let mut engine = Engine::new(Recorder::default(), Startup::default());
    engine.configure(at(0), &config.instances, &config.groups, BTreeMap::new());
    let owned = link_with(None, &[Ipv4Addr::new(192, 0, 2, 100)]);
    engine.link(at(0), "eth0", owned);
    engine.health(at(0), "web", fit(255));
    engine.report(at(0), reported(true, Presence::Host, None, Vec::new()));
    assert_eq!(state(&engine), "active");
    engine.shutdown(at(100));
    let calls = engine.network().take();
    // For an owner, the keeper leaves the host's addresses alone.
    assert_eq!(words(&calls)[0], " web: 192.0.2.100/32 owned");
}

#[test]
fn packets_of_other_virtual_routers_are_counted_and_change_nothing() {
    let mut engine = started(&web(""));
    let deadline = engine.deadline();
    let mut packet = vec![0x31, 8, 200, 1, 0, 100, 0, 0, 192, 0, 2, 100];
    let received = vouchd_net::Received {
        source: IpAddr::from([192, 0, 2, 2]),
        destination: IpAddr::from([224, 0, 0, 18]),
        ttl: 255,
        sender: Sender::Ethernet([2, 0, 0, 0, 0, 2]),
        payload: 0..packet.len(),
    };
    engine.packet(at(100), "eth0", &received, &packet);
    assert_eq!(engine.deadline(), deadline);
    assert_eq!(engine.snapshot(at(100)).1[0].other_virtual_routers, 1);
    packet[1] = 7;
    engine.packet(at(200), "eth0", &received, &packet);
    assert_eq!(engine.deadline(), deadline, "a discarded packet touches no timer");
    assert_eq!(engine.snapshot(at(200)).0[0].advertisements.discarded.values().sum::<u64>(), 1);
}

/// The reasons for which the router discards a damaged packet received like this. Empty if it ignores the packet.
fn discarded(extra: &str, source: Ipv4Addr, destination: Ipv4Addr, sender: Sender) -> Vec<String> {
    let (source, destination) = (IpAddr::V4(source), IpAddr::V4(destination));
    let mac = [2, 0, 0, 0, 0, 1];
    let mut engine = started(&web(extra));
    engine.link(at(0), "eth0", link_with(Some(mac), &[SOURCE]));
    let packet = [0x31, 7, 200, 1, 0, 100, 0, 0, 192, 0, 2, 100];
    let received = vouchd_net::Received { source, destination, ttl: 255, sender, payload: 0..packet.len() };
    engine.packet(at(100), "eth0", &received, &packet);
    engine.snapshot(at(100)).0[0].advertisements.discarded.keys().cloned().collect()
}

#[test]
fn an_own_packet_that_comes_back_is_not_another_machine_with_our_address() {
    let (group, own, other) = (Ipv4Addr::new(224, 0, 0, 18), [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let nothing: [&str; 0] = [];
    assert_eq!(discarded("version = 3\n", SOURCE, group, Sender::Ethernet(other)), ["own_address"]);
    assert_eq!(discarded("version = 3\n", SOURCE, group, Sender::Ethernet(own)), nothing);
    assert_eq!(discarded("version = 3\n", SOURCE, group, Sender::Loopback), nothing);
    let peer = Ipv4Addr::new(192, 0, 2, 2);
    assert_eq!(
        discarded("version = 3\n", peer, group, Sender::Ethernet(own)),
        ["checksum"],
        "of an ipvlan beside ours"
    );
}

#[test]
fn a_unicast_router_looks_only_at_what_was_sent_to_this_host() {
    let unicast = "version = 3\nunicast = { source = \"192.0.2.1\", peers = [\"192.0.2.2\"] }\n";
    let (peer, sender) = (Ipv4Addr::new(192, 0, 2, 2), Sender::Ethernet([2, 0, 0, 0, 0, 2]));
    let nothing: [&str; 0] = [];
    assert_eq!(discarded(unicast, peer, SOURCE, sender), ["checksum"]);
    assert_eq!(discarded(unicast, peer, Ipv4Addr::new(192, 0, 2, 9), sender), nothing);
    assert_eq!(discarded(unicast, peer, Ipv4Addr::BROADCAST, sender), ["destination"]);
}

#[test]
fn failure_of_every_advertisement_is_logged_once_and_a_changing_one_once_a_second() {
    let config = web("version = 3\nadvert_interval = \"10ms\"\n");
    let lines = capture::text(|| {
        let mut engine = becoming_active(&config, at(37));
        for millisecond in 37..3_037 {
            engine.network().send_error = Some(match millisecond / 100 % 2 {
                0 => std::io::ErrorKind::NetworkUnreachable,
                _ => std::io::ErrorKind::PermissionDenied,
            });
            engine.network().refuse = Some(vouchd_net::CommandRefused::Stopped);
            engine.timers(at(millisecond));
        }
    });
    for text in ["could not send", "has ended"] {
        let count = lines.iter().filter(|line| line.contains(text)).count();
        assert!((2..=4).contains(&count), "{text}: {lines:#?}");
    }
    let counted = lines.iter().any(|line| line.contains("more in the last 1 s"));
    assert!(counted, "{lines:#?}");
}

#[test]
fn router_that_cannot_install_its_address_sends_nothing_and_has_the_reason_in_its_status() {
    let mut engine = started(&web(""));
    engine.network().take();
    for _ in 0..5 {
        while !words(&engine.network().take()).contains(&"install web".to_owned()) {
            let deadline = engine.deadline().unwrap();
            engine.timers(deadline);
        }
        let now = engine.deadline().unwrap();
        let error = AddressError::NotPermitted { capability: "CAP_NET_ADMIN" };
        engine.report(now, reported(true, Presence::Absent, Some(error), Vec::new()));
        assert_eq!(words(&engine.network().take()), ["remove web"]);
        let (instances, _) = engine.snapshot(now);
        assert!(instances[0].reason.contains("CAP_NET_ADMIN"), "{}", instances[0].reason);
        assert_eq!(instances[0].advertisements.sent, 0);
    }
}

#[test]
fn router_in_fault_knows_that_the_machine_that_answers_advertises() {
    let (peer, group, mac) = (IpAddr::from([192, 0, 2, 2]), IpAddr::from([224, 0, 0, 18]), [2, 0, 0, 0, 0, 2]);
    let advertisement = Advertisement {
        version: Version::V3,
        vrid: Vrid::new(7).unwrap(),
        priority: Priority::DEFAULT,
        interval: AdvertInterval::ONE_SECOND,
        addresses: vec![VIP],
        auth: Auth::None,
    };
    let payload = advertisement.encode(peer, group, ChecksumForm::PseudoHeader).unwrap();
    let received = vouchd_net::Received {
        source: peer,
        destination: group,
        ttl: 255,
        sender: Sender::Ethernet(mac),
        payload: 0..payload.len(),
    };
    let claim = NeighbourClaim { interface: "eth0".into(), address: VIP, mac, count: 1 };
    for (advertises, expected) in [(true, 0), (false, 1)] {
        let lines = capture::text(|| {
            let mut engine = active(&web("version = 3\n"));
            engine.health(at(4_000), "web", Health::Fault { reason: "check site: fail".to_owned() });
            if advertises {
                engine.packet(at(4_600), "eth0", &received, &payload);
            }
            engine.claimed(at(4_650), &claim);
            engine.timers(at(5_000));
        });
        assert_eq!(lines.iter().filter(|line| line.contains("arp_moved")).count(), expected, "{lines:?}");
    }
}
