//! Interfaces with virtual MACs: made, switched, removed, and swept.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use vouchd_net::{
    AddressCommand, AddressKeeper, Claim, InstanceKey, Lifetime, Receiver, Report, VirtualAddress, VirtualMac,
    VirtualMacError, VirtualMacState, sweep_virtual_macs,
};
use vouchd_wire::{Family, Vrid, arp};

use crate::namespace::{PEER, VIRTUAL, Wire, claim, in_namespace, instance, ip, mac, until, wait_until};

const ETH_P_ARP: u16 = 0x0806;
const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
const NAME: &str = "vrrp4.51";

fn virtual_mac(name: &str, vrid: u8) -> VirtualMac {
    VirtualMac { name: name.into(), parent: "near".into(), family: Family::V4, vrid: Vrid::new(vrid).unwrap() }
}

fn claim_on(name: &str, vrid: u8) -> Claim {
    let address = VirtualAddress { interface: name.into(), address: VIRTUAL.into(), prefix: 32 };
    Claim { addresses: [address].into(), virtual_mac: Some(virtual_mac(name, vrid)), ..claim() }
}

fn start(claims: Vec<Claim>) -> (AddressKeeper, Receiver<Report>) {
    let (keeper, reports) = AddressKeeper::start().unwrap();
    keeper.command(AddressCommand::Configure(claims)).unwrap();
    (keeper, reports)
}

fn install(keeper: &AddressKeeper) {
    let lifetime = Lifetime::Until(vouchd_net::now() + Duration::from_secs(60));
    keeper.command(AddressCommand::Install { instance: instance(), lifetime }).unwrap();
}

/// Waits for a state of the virtual MAC.
fn wait_state(reports: &Receiver<Report>, wanted: impl Fn(&VirtualMacState) -> bool) {
    wait_until(reports, |report| matches!(report, Report::VirtualMac { state, .. } if wanted(state)));
}

fn setting(interface: &str, name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{interface}/{name}")).unwrap().trim().to_owned()
}

fn settings() -> (String, String) {
    (setting("near", "arp_ignore"), setting("near", "arp_announce"))
}

fn exists(interface: &str) -> bool {
    Command::new("ip").args(["link", "show", interface]).output().unwrap().status.success()
}

fn is_up(interface: &str) -> bool {
    ip(&format!("-o link show dev {interface}")).contains(",UP")
}

/// The MAC addresses that answer an ARP request for the virtual address.
fn answers(wire: &Wire) -> Vec<[u8; 6]> {
    wire.send(&arp::request(mac("far"), PEER, VIRTUAL)).unwrap();
    let frames = std::iter::from_fn(|| wire.next(Duration::from_millis(400)));
    // Replies for it, from the sender hardware address; the Ethernet source must say the same.
    let replies = frames.filter(|frame| frame[20..22] == [0, 2] && frame[28..32] == VIRTUAL.octets());
    replies
        .map(|frame| {
            assert_eq!(frame[6..12], frame[22..28]);
            frame[22..28].try_into().unwrap()
        })
        .collect()
}

#[test]
fn rows_42_and_60_only_an_active_instance_answers_arp_and_only_with_its_virtual_mac() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (keeper, reports) = start(vec![claim_on(NAME, 51)]);
        wait_state(&reports, |state| state.exists && !state.up && state.error.is_none());
        assert_eq!(mac(NAME), MAC);
        assert_eq!(answers(&wire), Vec::<[u8; 6]>::new());
        for _ in 0..10 {
            install(&keeper);
            wait_state(&reports, |state| state.up);
            assert_eq!(answers(&wire), [MAC]);
            keeper.command(AddressCommand::Remove { instance: instance() }).unwrap();
            wait_state(&reports, |state| !state.up);
        }
        assert_eq!(answers(&wire), Vec::<[u8; 6]>::new());
    });
}

#[test]
fn rows_82_and_84_announcement_right_after_the_install_carries_the_virtual_mac() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (keeper, reports) = start(vec![claim_on(NAME, 51)]);
        install(&keeper);
        let not_after = vouchd_net::now() + Duration::from_secs(5);
        keeper.command(AddressCommand::Announce { instance: instance(), repeat: 2, not_after }).unwrap();
        wait_until(&reports, |report| matches!(report, Report::Announced { frames: 2, .. }));
        for _ in 0..2 {
            assert_eq!(wire.next(Duration::from_secs(2)).expect("an announcement"), arp::gratuitous(MAC, VIRTUAL));
        }
        // A request is not an announcement: it must not move the parent's own address to the virtual MAC.
        let own = crate::namespace::PRIMARY;
        keeper.command(AddressCommand::Ask { instance: instance(), sender: own.into(), not_after }).unwrap();
        let asked = wire.next(Duration::from_secs(2)).expect("a request");
        assert_eq!(asked, arp::request(mac("near"), own, VIRTUAL));
    });
}

#[test]
fn interface_and_settings_go_with_the_keeper() {
    in_namespace(|| {
        let before = settings();
        let (keeper, reports) = start(vec![claim_on(NAME, 51)]);
        install(&keeper);
        wait_state(&reports, |state| state.up && state.warning.is_none());
        assert_eq!(settings(), ("1".into(), "2".into()));
        assert_eq!((setting(NAME, "arp_ignore"), setting(NAME, "rp_filter")), ("1".into(), "2".into()));
        assert!(ip(&format!("-4 address show dev {NAME}")).contains("192.0.2.100/32"));
        assert!(keeper.finish(Duration::from_secs(5)));
        assert!(!exists(NAME));
        assert_eq!(settings(), before);
    });
}

/// The alias of the interface keeps the settings of its parent, and is gone then.
#[test]
fn settings_are_put_back_although_somebody_deleted_the_interface() {
    in_namespace(|| {
        let before = settings();
        let (keeper, reports) = start(vec![claim_on(NAME, 51)]);
        install(&keeper);
        wait_state(&reports, |state| state.up);
        let index = || nix::net::if_::if_nametoindex(NAME).ok();
        let first = index();
        ip(&format!("link del {NAME}"));
        until("it is made again", || index().is_some_and(|again| Some(again) != first));
        until("it is up again", || ip(&format!("link show dev {NAME}")).contains(",UP"));
        assert!(keeper.finish(Duration::from_secs(5)));
        assert!(!exists(NAME));
        assert_eq!(settings(), before);
    });
}

#[test]
fn row_88_interface_has_no_address_made_from_the_virtual_mac() {
    in_namespace(|| {
        let v6 = VirtualMac { family: Family::V6, ..virtual_mac("vrrp6.51", 51) };
        let address =
            VirtualAddress { interface: "vrrp6.51".into(), address: "fe80::100".parse().unwrap(), prefix: 64 };
        let key = InstanceKey::new("web", Family::V6);
        let claim = Claim { instance: key.clone(), addresses: [address].into(), virtual_mac: Some(v6), ..claim() };
        let (keeper, reports) = start(vec![claim, claim_on(NAME, 51)]);
        let lifetime = Lifetime::Until(vouchd_net::now() + Duration::from_secs(60));
        keeper.command(AddressCommand::Install { instance: key.clone(), lifetime }).unwrap();
        install(&keeper);
        wait_until(
            &reports,
            |report| matches!(report, Report::VirtualMac { instance, state } if *instance == key && state.up),
        );
        until("the address is there", || ip("-6 -o address show dev vrrp6.51").contains("fe80::100/64"));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(ip("-6 -o address show dev vrrp6.51").lines().count(), 1);
        assert_eq!(ip(&format!("-6 -o address show dev {NAME}")), "");
        let accept_ra = fs::read_to_string("/proc/sys/net/ipv6/conf/vrrp6.51/accept_ra").unwrap();
        assert_eq!(accept_ra.trim(), "0");
    });
}

#[test]
fn interface_of_that_name_that_is_not_vouchds_is_an_error_and_stays() {
    in_namespace(|| {
        ip("link add link near name vrrp4.51 address 00:00:5e:00:01:33 type macvlan mode bridge");
        let (keeper, reports) = start(vec![claim_on(NAME, 51)]);
        wait_state(&reports, |state| state.error == Some(VirtualMacError::NameTaken(Arc::from(NAME))));
        assert!(keeper.finish(Duration::from_secs(5)));
        assert!(exists(NAME));
        // It heals as soon as the name is free.
        let (_keeper, reports) = start(vec![claim_on(NAME, 51)]);
        wait_state(&reports, |state| state.error.is_some());
        ip("link del vrrp4.51");
        wait_state(&reports, |state| state.exists && state.error.is_none());
    });
}

#[test]
fn other_macvlan_with_the_mac_address_is_an_error() {
    in_namespace(|| {
        ip("link add link near name other address 00:00:5e:00:01:33 type macvlan mode bridge");
        ip("link set other up");
        let (keeper, reports) = start(vec![claim_on(NAME, 51)]);
        install(&keeper);
        wait_state(&reports, |state| matches!(state.error, Some(VirtualMacError::MacTaken { .. })));
    });
}

#[test]
fn interface_comes_back_with_its_parent() {
    in_namespace(|| {
        let (keeper, reports) = start(vec![claim_on(NAME, 51)]);
        install(&keeper);
        wait_state(&reports, |state| state.up);
        ip("link del near");
        wait_state(&reports, |state| !state.exists && state.error.is_none());
        ip("link add near type veth peer name far");
        wait_state(&reports, |state| state.up);
        // And if somebody removes it.
        ip("link del vrrp4.51");
        until("the interface is back", || exists(NAME) && is_up(NAME));
    });
}

#[test]
fn settings_are_put_back_with_the_last_interface_on_the_parent() {
    in_namespace(|| {
        let before = settings();
        let second = Claim { instance: "db".into(), addresses: [].into(), ..claim_on("vrrp4.52", 52) };
        let (keeper, reports) = start(vec![claim_on(NAME, 51), second.clone()]);
        wait_until(
            &reports,
            |report| matches!(report, Report::VirtualMac { instance, state } if instance.as_str() == "db" && state.exists),
        );
        until("both exist", || exists(NAME) && exists("vrrp4.52"));
        keeper.command(AddressCommand::Configure(vec![second])).unwrap();
        until("one is removed", || !exists(NAME));
        assert_eq!(settings(), ("1".into(), "2".into()));
        keeper.command(AddressCommand::Configure(Vec::new())).unwrap();
        until("the other one is removed", || !exists("vrrp4.52"));
        assert_eq!(settings(), before);
    });
}

#[test]
fn what_a_killed_run_left_behind_is_swept_and_nothing_else() {
    in_namespace(|| {
        // As a killed run leaves them.
        ip("link add link near name vrrp4.51 address 00:00:5e:00:01:33 type macvlan mode bridge");
        Command::new("ip")
            .args(["link", "set", "vrrp4.51", "up", "alias", "vouchd arp_ignore=0 arp_announce=1"])
            .status()
            .unwrap();
        fs::write("/proc/sys/net/ipv4/conf/near/arp_ignore", "1").unwrap();
        // Somebody has changed this one since.
        fs::write("/proc/sys/net/ipv4/conf/near/arp_announce", "0").unwrap();
        ip("link add link near name foreign address 00:00:5e:00:01:34 type macvlan mode bridge");
        ip("link add link near name kept address 00:00:5e:00:01:35 type macvlan mode bridge");
        ip("link set kept alias vouchd");
        let swept = sweep_virtual_macs(|found| found.name == "kept").unwrap();
        assert_eq!(swept.len(), 1, "{swept:?}");
        assert_eq!((swept[0].name.as_str(), swept[0].parent.as_deref(), swept[0].vrid), (NAME, Some("near"), 51));
        assert!(!exists(NAME) && exists("foreign") && exists("kept"));
        assert_eq!(settings(), ("0".into(), "0".into()));
    });
}

#[test]
fn row_65_table_drops_packets_to_addresses_that_are_not_accepted_and_goes_with_the_keeper() {
    in_namespace(|| {
        let ruleset = || {
            let output = Command::new("nft").args(["list", "ruleset"]).output();
            output
                .ok()
                .filter(|output| output.status.success())
                .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        };
        if ruleset().is_none() {
            return vouchd_skip::skip("nft does not work here", "install nftables");
        }
        let closed = Claim { accept: false, ..claim_on(NAME, 51) };
        let (keeper, reports) = start(vec![closed.clone()]);
        wait_until(&reports, |report| matches!(report, Report::Dropping { error: None, .. }));
        let rules = ruleset().unwrap();
        for expected in [
            "flags owner",
            "ip daddr @v4 drop",
            "elements = { 192.0.2.100 }",
            "nd-neighbor-solicit accept",
            "iif \"lo\" accept",
        ] {
            assert!(rules.contains(expected), "{expected} is not in {rules}");
        }
        // A firewall that loads its rules anew leaves it alone.
        assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        assert!(ruleset().unwrap().contains("192.0.2.100"));
        let many = (0..2500u16).map(|n| VirtualAddress {
            interface: NAME.into(),
            address: std::net::IpAddr::from([10, 1, (n >> 8) as u8, n as u8]),
            prefix: 32,
        });
        let many = Claim { addresses: many.collect(), ..closed.clone() };
        keeper.command(AddressCommand::Configure(vec![many])).unwrap();
        until("the addresses are replaced", || {
            let rules = ruleset().unwrap();
            rules.contains("10.1.9.195") && !rules.contains("192.0.2.100")
        });
        keeper.command(AddressCommand::Configure(vec![Claim { accept: true, ..closed }])).unwrap();
        until("the table is gone", || ruleset().unwrap().is_empty());
    });
}

#[test]
fn bridge_may_be_the_parent_and_its_port_may_not() {
    in_namespace(|| {
        ip("link add lan type bridge forward_delay 0 mcast_snooping 0");
        ip("link set near master lan");
        ip("link set lan up");
        let on = |parent: &str| {
            let claim = claim_on(NAME, 51);
            let virtual_mac = VirtualMac { parent: parent.into(), ..virtual_mac(NAME, 51) };
            Claim { virtual_mac: Some(virtual_mac), ..claim }
        };
        let (keeper, reports) = start(vec![on("near")]);
        wait_state(&reports, |state| state.error == Some(VirtualMacError::ParentBusy(Arc::from("near"))));
        keeper.command(AddressCommand::Configure(vec![on("lan")])).unwrap();
        install(&keeper);
        wait_state(&reports, |state| state.up && state.error.is_none());
        let wire = Wire::open("far", ETH_P_ARP);
        until("the bridge forwards", || answers(&wire) == [MAC]);
    });
}

#[test]
fn parents_new_mac_address_changes_nothing() {
    in_namespace(|| {
        let (keeper, reports) = start(vec![claim_on(NAME, 51)]);
        install(&keeper);
        wait_state(&reports, |state| state.up);
        ip("link set near address 02:00:00:00:00:99");
        let wire = Wire::open("far", ETH_P_ARP);
        assert_eq!(answers(&wire), [MAC]);
        assert_eq!(mac(NAME), MAC);
    });
}

#[test]
fn setting_for_all_interfaces_that_does_not_suit_is_a_warning() {
    in_namespace(|| {
        fs::write("/proc/sys/net/ipv4/conf/all/arp_filter", "1").unwrap();
        let (_keeper, reports) = start(vec![claim_on(NAME, 51)]);
        wait_state(&reports, |state| state.warning.as_ref().is_some_and(|text| text.contains("all.arp_filter")));
    });
}

#[test]
fn ipv6_address_on_the_parent_is_a_copy() {
    in_namespace(|| {
        let v6 = VirtualMac { family: Family::V6, ..virtual_mac("vrrp6.51", 51) };
        let address = |interface: &str, prefix| VirtualAddress {
            interface: interface.into(),
            address: "2001:db8::100".parse().unwrap(),
            prefix,
        };
        ip("-6 address add 2001:db8::100/64 dev near nodad");
        ip("-6 address add 2001:db8::100/64 dev far nodad");
        let claim = Claim { addresses: [address("vrrp6.51", 128)].into(), virtual_mac: Some(v6), ..claim() };
        let (_keeper, reports) = start(vec![claim]);
        let on_parent = address("near", 64);
        wait_until(&reports, |report| {
            let Report::Addresses { states, .. } = report else { return false };
            let copies = states.iter().flat_map(|state| &state.copies);
            copies.map(|copy| &copy.at).eq([&on_parent])
        });
    });
}
