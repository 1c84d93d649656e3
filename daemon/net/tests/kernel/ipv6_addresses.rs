//! Virtual IPv6 addresses in a real kernel: leases, marks, duplicate address detection, announcements.

use std::net::{IpAddr, Ipv6Addr};
use std::thread::sleep;
use std::time::Duration;

use vouchd_net::{
    AddressChange, AddressCommand, AddressError, AddressKeeper, Claim, InstanceKey, Lifetime, Presence, Receiver,
    Report, VirtualAddress, sweep,
};
use vouchd_wire::{Family, ndp};

use crate::namespace::{PATIENCE, Wire, in_namespace, ip, mac, wait_until};

const ETH_P_IPV6: u16 = 0x86dd;
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100);
const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);

fn instance() -> InstanceKey {
    InstanceKey::new("web", Family::V6)
}

fn address(address: Ipv6Addr, prefix: u8) -> VirtualAddress {
    VirtualAddress { interface: "near".into(), address: IpAddr::V6(address), prefix }
}

fn claim(global_prefix: u8) -> Claim {
    Claim {
        instance: instance(),
        addresses: [address(LINK_LOCAL, 128), address(GLOBAL, global_prefix)].into(),
        owner: false,
        attributes: Default::default(),
        adopt: false,
        virtual_mac: None,
        accept: true,
        lifetime: None,
        routing: Default::default(),
    }
}

fn lease(seconds: u64) -> Lifetime {
    Lifetime::Until(vouchd_net::now() + Duration::from_secs(seconds))
}

fn install(seconds: u64) -> AddressCommand {
    AddressCommand::Install { instance: instance(), lifetime: lease(seconds) }
}

/// A keeper whose instance is active.
fn active(seconds: u64) -> (AddressKeeper, Receiver<Report>) {
    let (keeper, reports) = AddressKeeper::start().unwrap();
    keeper.command(AddressCommand::Configure(vec![claim(128)])).unwrap();
    keeper.command(install(seconds)).unwrap();
    wait_until(&reports, |report| is_active(report, Presence::Ours));
    (keeper, reports)
}

/// Whether the report says that the instance is active, with this presence of all addresses.
fn is_active(report: &Report, presence: Presence) -> bool {
    matches!(report, Report::Addresses { active: true, states, .. }
        if !states.is_empty() && states.iter().all(|state| state.presence == presence))
}

/// The line about an address of `near`; empty if it is not there.
fn line(address: Ipv6Addr) -> String {
    let all = ip("-6 -o address show dev near");
    all.lines().find(|line| line.contains(&format!("inet6 {address}/"))).unwrap_or_default().to_owned()
}

#[test]
fn row_87_duplicate_address_detection_delays_nothing_and_a_single_address_is_no_source() {
    in_namespace(|| {
        let (_keeper, _reports) = active(10);
        for address in [LINK_LOCAL, GLOBAL] {
            let line = line(address);
            assert!(line.contains("/128") && line.contains("nodad"), "{line}");
            assert!(!line.contains("tentative") && !line.contains("dadfailed"), "{line}");
            assert!(line.contains("deprecated") && line.contains("preferred_lft 0sec"), "{line}");
        }
        // Usable at once.
        std::net::UdpSocket::bind((GLOBAL, 0)).unwrap();
    });
}

#[test]
fn row_62_kernel_joins_the_solicited_node_group_of_each_address_and_leaves_it() {
    in_namespace(|| {
        let groups = || ip("-6 maddress show dev near");
        let wanted = [LINK_LOCAL, GLOBAL].map(|address| ndp::solicited_node(address).to_string());
        let is_member = |group: &String| groups().split_whitespace().any(|word| word == group);
        let (keeper, _reports) = active(10);
        // The kernel joins in a thread of its own.
        let end = std::time::Instant::now() + PATIENCE;
        while !wanted.iter().all(is_member) {
            assert!(std::time::Instant::now() < end, "{}", groups());
            sleep(Duration::from_millis(5));
        }
        assert!(keeper.finish(PATIENCE));
        assert!(!wanted.iter().any(is_member), "{}", groups());
    });
}

#[test]
fn ipv6_lease_that_is_not_renewed_ends_and_one_that_is_renewed_does_not() {
    in_namespace(|| {
        let (keeper, reports) = active(1);
        for _ in 0..8 {
            sleep(Duration::from_millis(250));
            keeper.command(install(1)).unwrap();
            assert!(!line(GLOBAL).is_empty(), "renewed");
        }
        let start = vouchd_net::now();
        while !line(GLOBAL).is_empty() {
            assert!(vouchd_net::now().since(start) < Duration::from_secs(3), "{}", line(GLOBAL));
            sleep(Duration::from_millis(20));
        }
        let held = vouchd_net::now().since(start);
        assert!(held > Duration::from_millis(700) && held < Duration::from_millis(1_600), "{held:?}");
        wait_until(&reports, |report| is_active(report, Presence::Absent));
    });
}

#[test]
fn ipv6_address_goes_by_command_and_a_changed_prefix_is_applied() {
    in_namespace(|| {
        let (keeper, reports) = active(10);
        keeper.command(AddressCommand::Configure(vec![Claim { lifetime: Some(lease(10)), ..claim(64) }])).unwrap();
        let is_there = |change: &AddressChange| *change == AddressChange::Added(address(GLOBAL, 64));
        wait_until(
            &reports,
            |report| matches!(report, Report::Addresses { changes, .. } if changes.iter().any(is_there)),
        );
        assert!(line(GLOBAL).contains("/64") && !line(GLOBAL).contains("deprecated"), "{}", line(GLOBAL));
        keeper.command(AddressCommand::Remove { instance: instance() }).unwrap();
        wait_until(&reports, |report| matches!(report, Report::Addresses { active: false, .. }));
        assert_eq!((line(GLOBAL), line(LINK_LOCAL)), (String::new(), String::new()));
    });
}

#[test]
fn sweep_removes_marked_ipv6_addresses_and_leaves_the_hosts() {
    in_namespace(|| {
        let (keeper, _reports) = active(100);
        // As if it had been killed: nothing is removed.
        std::mem::forget(keeper);
        ip("address add 2001:db8::7/64 dev near nodad");
        let removed = sweep(Some(&["near"]), |_| false).unwrap();
        let mut removed: Vec<_> = removed.into_iter().map(|address| address.address).collect();
        removed.sort();
        assert_eq!(removed, [IpAddr::V6(GLOBAL), IpAddr::V6(LINK_LOCAL)]);
        assert!(!line("2001:db8::7".parse().unwrap()).is_empty());
    });
}

#[test]
fn interface_without_ipv6_is_named_as_the_reason() {
    in_namespace(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/near/disable_ipv6", "1").unwrap();
        let (keeper, reports) = AddressKeeper::start().unwrap();
        keeper.command(AddressCommand::Configure(vec![claim(128)])).unwrap();
        keeper.command(install(10)).unwrap();
        let reports = wait_until(&reports, |report| matches!(report, Report::Addresses { active: true, .. }));
        let Some(Report::Addresses { states, .. }) = reports.last() else { panic!("{reports:?}") };
        assert!(
            matches!(&states[0].error, Some(AddressError::NoIpv6(interface)) if &**interface == "near"),
            "{states:?}"
        );
    });
}

#[test]
fn rows_83_and_84_installed_ipv6_address_is_announced_by_neighbour_advertisements() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IPV6);
        let (keeper, reports) = active(10);
        let not_after = vouchd_net::now() + Duration::from_secs(5);
        keeper.command(AddressCommand::Announce { instance: instance(), repeat: 2, not_after }).unwrap();
        let found = wait_until(&reports, |report| matches!(report, Report::Announced { .. }));
        assert!(matches!(found.last(), Some(Report::Announced { frames: 4, .. })), "{found:?}");
        let announced = |wire: &Wire| -> Vec<Vec<u8>> {
            let frames = std::iter::from_fn(|| wire.next(Duration::from_millis(300)));
            frames.filter(|frame| frame[20] == 58 && frame[54] == 136).collect()
        };
        let near = mac("near");
        let expected = [LINK_LOCAL, GLOBAL].map(|address| ndp::unsolicited(near, address));
        assert_eq!(announced(&wire), [&expected[..], &expected[..]].concat());
        keeper.command(AddressCommand::Remove { instance: instance() }).unwrap();
        keeper.command(AddressCommand::Announce { instance: instance(), repeat: 1, not_after }).unwrap();
        wait_until(&reports, |report| matches!(report, Report::AnnounceFailed { .. }));
        assert_eq!(announced(&wire), Vec::<Vec<u8>>::new(), "not before it is there, nor after it has gone");
    });
}

#[test]
fn ipv6_address_that_somebody_deletes_is_back_and_announced() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IPV6);
        let (_keeper, reports) = active(10);
        ip(&format!("address del {GLOBAL}/128 dev near"));
        let back = |change: &AddressChange| matches!(change, AddressChange::PutBack(_));
        wait_until(&reports, |report| matches!(report, Report::Addresses { changes, .. } if changes.iter().any(back)));
        assert!(!line(GLOBAL).is_empty());
        let expected = ndp::unsolicited(mac("near"), GLOBAL);
        let mut frames = std::iter::from_fn(|| wire.next(Duration::from_secs(2)));
        assert!(frames.any(|frame| frame == expected));
    });
}

#[test]
fn row_86_announcement_moves_the_entry_of_a_neighbour_to_its_sender() {
    in_namespace(|| {
        ip("address add fe80::1/64 dev near nodad");
        let wire = Wire::open("far", ETH_P_IPV6);
        for nud in ["reachable", "stale"] {
            ip(&format!("-6 neighbour replace {LINK_LOCAL} lladdr 02:00:00:00:00:01 dev near nud {nud}"));
            wire.send(&ndp::unsolicited([2, 0, 0, 0, 0, 9], LINK_LOCAL)).unwrap();
            let entry = || ip(&format!("-6 neighbour show {LINK_LOCAL} dev near"));
            let end = std::time::Instant::now() + PATIENCE;
            while !entry().contains("lladdr 02:00:00:00:00:09 router") {
                assert!(std::time::Instant::now() < end, "{nud}: {}", entry());
                sleep(Duration::from_millis(5));
            }
        }
    });
}
