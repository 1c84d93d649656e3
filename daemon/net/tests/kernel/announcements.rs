//! Gratuitous ARP, seen from the other end of the wire.

use std::time::Duration;

use vouchd_net::{AddressCommand, AddressError, AddressKeeper, CommandKind, Lifetime, Receiver, Report};
use vouchd_wire::{Time, arp};

use crate::namespace::{VIRTUAL, Wire, claim, in_namespace, instance, ip, mac, virtual_address, wait_until};

const ETH_P_ARP: u16 = 0x0806;

fn announce(repeat: u32, not_after: Time) -> AddressCommand {
    AddressCommand::Announce { instance: instance(), repeat, not_after }
}

fn soon() -> Time {
    vouchd_net::now() + Duration::from_secs(5)
}

fn install(keeper: &AddressKeeper) {
    keeper.command(AddressCommand::Configure(vec![claim()])).unwrap();
    keeper.command(AddressCommand::Install { instance: instance(), lifetime: Lifetime::Until(soon()) }).unwrap();
}

fn announced(reports: &Receiver<Report>) -> Vec<Report> {
    wait_until(reports, |report| matches!(report, Report::Announced { .. }))
}

#[test]
fn row_82_installed_address_is_announced_repeat_times() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (keeper, reports) = AddressKeeper::start().unwrap();
        install(&keeper);
        keeper.command(announce(3, soon())).unwrap();
        let found = announced(&reports);
        assert!(matches!(found.last(), Some(Report::Announced { frames: 3, .. })), "{found:?}");
        for _ in 0..3 {
            let frame = wire.next(Duration::from_secs(2)).expect("an announcement");
            assert_eq!(frame, arp::gratuitous(mac("near"), VIRTUAL));
        }
        assert_eq!(wire.next(Duration::from_millis(300)), None, "three, not more");
    });
}

#[test]
fn installed_address_is_asked_for_once() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (keeper, reports) = AddressKeeper::start().unwrap();
        let own = std::net::Ipv4Addr::new(192, 0, 2, 7);
        let ask = |not_after| AddressCommand::Ask { instance: instance(), sender: own.into(), not_after };
        keeper.command(AddressCommand::Configure(vec![claim()])).unwrap();
        keeper.command(ask(soon())).unwrap();
        install(&keeper);
        keeper.command(ask(vouchd_net::now())).unwrap();
        keeper.command(ask(soon())).unwrap();
        keeper.command(announce(1, soon())).unwrap();
        announced(&reports);
        let frames: Vec<_> = std::iter::from_fn(|| wire.next(Duration::from_millis(300))).collect();
        let near = mac("near");
        assert_eq!(frames, [arp::request(near, own, VIRTUAL), arp::gratuitous(near, VIRTUAL)]);
    });
}

#[test]
fn row_84_address_is_never_announced_before_it_is_installed_or_after_it_is_removed() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (keeper, reports) = AddressKeeper::start().unwrap();
        let refused = |found: Vec<Report>| {
            assert!(
                found.iter().any(|report| matches!(
                    report,
                    Report::AnnounceFailed { address, error: AddressError::NotInstalled, .. } if *address == virtual_address()
                )),
                "{found:?}"
            );
        };
        keeper.command(AddressCommand::Configure(vec![claim()])).unwrap();
        keeper.command(announce(1, soon())).unwrap();
        refused(announced(&reports));
        install(&keeper);
        keeper.command(AddressCommand::Remove { instance: instance() }).unwrap();
        keeper.command(announce(1, soon())).unwrap();
        refused(announced(&reports));
        assert_eq!(wire.next(Duration::from_millis(300)), None);
    });
}

#[test]
fn announcement_whose_time_is_over_is_not_sent() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (keeper, reports) = AddressKeeper::start().unwrap();
        install(&keeper);
        keeper.command(announce(1, Time::from_nanos(1))).unwrap();
        let late = |report: &Report| matches!(report, Report::Late { command: CommandKind::Announce, .. });
        wait_until(&reports, late);
        assert_eq!(wire.next(Duration::from_millis(300)), None);
    });
}

#[test]
fn address_that_comes_back_is_announced_and_a_copy_of_the_hosts_is_not_while_inactive() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (keeper, reports) = AddressKeeper::start().unwrap();
        install(&keeper);
        wait_until(&reports, |report| matches!(report, Report::Addresses { active: true, .. }));
        assert_eq!(wire.next(Duration::from_millis(300)), None, "not ordered");
        ip("address del 192.0.2.100/32 dev near");
        let frame = wire.next(Duration::from_secs(2)).expect("an announcement of the address that is back");
        assert_eq!(frame, arp::gratuitous(mac("near"), VIRTUAL));
        // However often it is deleted: at most ten announcements a second.
        let start = std::time::Instant::now();
        for _ in 0..30 {
            ip("address del 192.0.2.100/32 dev near");
            while !crate::namespace::holds(VIRTUAL) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let allowed = 1 + start.elapsed().as_millis() / 100;
        let announced_now = std::iter::from_fn(|| wire.next(Duration::from_millis(300))).count();
        assert!((announced_now as u128) <= allowed, "{announced_now}, {allowed} allowed");
        keeper.command(AddressCommand::Remove { instance: instance() }).unwrap();
        while crate::namespace::holds(VIRTUAL) {
            std::thread::sleep(Duration::from_millis(1));
        }
        ip("address add 192.0.2.100/32 dev near");
        keeper.command(announce(1, soon())).unwrap();
        announced(&reports);
        assert_eq!(wire.next(Duration::from_millis(300)), None);
    });
}
