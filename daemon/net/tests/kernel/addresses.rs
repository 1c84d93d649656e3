//! Leases, removal, sweeping, and what the host has itself.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use vouchd_net::{
    AddressChange, AddressCommand, AddressError, AddressKeeper, AddressState, Claim, CommandKind, Lifetime, Presence,
    Receiver, Report, VirtualAddress, sweep,
};

use crate::monitor::Monitor;
use crate::namespace::{
    PATIENCE, PRIMARY, VIRTUAL, claim, claim_of, held, holds, in_namespace, instance, ip, left_behind, until,
    virtual_address, wait_for, wait_until,
};

fn install(lifetime: Lifetime) -> AddressCommand {
    AddressCommand::Install { instance: instance(), lifetime }
}

fn lease(seconds: u64) -> Lifetime {
    Lifetime::Until(vouchd_net::now() + Duration::from_secs(seconds))
}

fn remove() -> AddressCommand {
    AddressCommand::Remove { instance: instance() }
}

/// A keeper with one instance that wants one address.
fn start() -> (AddressKeeper, Receiver<Report>) {
    start_with(claim())
}

fn start_with(claim: Claim) -> (AddressKeeper, Receiver<Report>) {
    let (keeper, reports) = AddressKeeper::start().unwrap();
    report(&keeper, &reports, AddressCommand::Configure(vec![claim]));
    (keeper, reports)
}

/// Gives a command and returns its only report.
fn report(keeper: &AddressKeeper, reports: &Receiver<Report>, command: AddressCommand) -> Report {
    keeper.command(command).unwrap();
    let mut reports = wait_for(reports);
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0)
}

/// The states and the changes in a report.
fn addresses(report: &Report) -> (&[AddressState], &[AddressChange]) {
    let Report::Addresses { states, changes, .. } = report else { panic!("{report:?}") };
    (states, changes)
}

/// Asserts that the instance has its address; `new` if this command added it.
fn assert_held(report: &Report, new: bool) {
    let (states, changes) = addresses(report);
    assert_eq!(states.len(), 1, "{report:?}");
    assert_eq!((states[0].presence, &states[0].error), (Presence::Ours, &None), "{report:?}");
    assert_eq!(changes.contains(&AddressChange::Added(virtual_address())), new, "{report:?}");
}

/// Waits for a report with this presence of the first address.
fn wait_presence(reports: &Receiver<Report>, presence: Presence) {
    wait_until(reports, |report| addresses(report).0.first().is_some_and(|state| state.presence == presence));
}

#[test]
fn lease_that_is_not_renewed_ends() {
    in_namespace(|| {
        let (keeper, reports) = start();
        let start = vouchd_net::now();
        assert_held(&report(&keeper, &reports, install(lease(1))), true);
        assert!(holds(VIRTUAL));
        while holds(VIRTUAL) {
            assert!(vouchd_net::now().since(start) < Duration::from_secs(3), "{}", held("near"));
            sleep(Duration::from_millis(20));
        }
        assert!(vouchd_net::now().since(start) >= Duration::from_millis(900));
        assert!(holds(PRIMARY));
        wait_presence(&reports, Presence::Absent);
        keeper.command(install(lease(1))).unwrap();
        wait_presence(&reports, Presence::Ours);
    });
}

#[test]
fn renewed_lease_stays_until_it_is_removed() {
    in_namespace(|| {
        let (keeper, reports) = start();
        assert_held(&report(&keeper, &reports, install(lease(2))), true);
        for _ in 0..10 {
            sleep(Duration::from_millis(400));
            keeper.command(install(lease(2))).unwrap();
        }
        let removed = report(&keeper, &reports, remove());
        assert_eq!(addresses(&removed).1, [AddressChange::Removed(virtual_address())], "no renewal was news");
        assert!(!holds(VIRTUAL));
        let again = report(&keeper, &reports, remove());
        assert!(addresses(&again).1.is_empty(), "what is gone is removed: {again:?}");
    });
}

#[test]
fn address_without_a_lease_stays() {
    in_namespace(|| {
        let (keeper, reports) = start();
        let start_before = vouchd_net::now() + Duration::from_secs(3);
        assert_held(&report(&keeper, &reports, install(Lifetime::Forever { start_before })), true);
        assert!(
            held("near").contains("192.0.2.100/32 scope global near\\       valid_lft forever"),
            "{}",
            held("near")
        );
    });
}

#[test]
fn command_whose_time_is_over_is_not_carried_out() {
    in_namespace(|| {
        let (keeper, reports) = start();
        let past = vouchd_net::now();
        sleep(Duration::from_millis(120));
        for lifetime in [Lifetime::Until(past), Lifetime::Forever { start_before: past }] {
            let found = report(&keeper, &reports, install(lifetime));
            assert!(matches!(&found, Report::Late { command: CommandKind::Install, .. }), "{found:?}");
            assert!(!holds(VIRTUAL));
        }
    });
}

#[test]
fn address_that_the_host_has_with_the_same_prefix_is_used_unchanged() {
    in_namespace(|| {
        ip("address add 192.0.2.100/32 dev near");
        let (keeper, reports) = start();
        let first = report(&keeper, &reports, install(lease(2)));
        let (states, changes) = addresses(&first);
        assert_eq!((states[0].presence, states[0].copies.len()), (Presence::Host, 1));
        assert!(changes.is_empty(), "{changes:?}");
        assert!(
            held("near").contains("192.0.2.100/32 scope global near\\       valid_lft forever"),
            "{}",
            held("near")
        );
        assert_eq!(sweep(None, |_| false).unwrap(), [], "it does not carry our mark");
        // It goes while the instance is active: ours takes its place.
        ip("address del 192.0.2.100/32 dev near");
        wait_presence(&reports, Presence::Ours);
        assert!(held("near").contains("dynamic"), "{}", held("near"));
        // Somebody replaces ours: from now on it is the host's.
        ip("address replace 192.0.2.100/32 dev near");
        wait_presence(&reports, Presence::Host);
        report(&keeper, &reports, remove());
        assert!(keeper.finish(PATIENCE));
        assert!(holds(VIRTUAL), "it stays");
    });
}

#[test]
fn copy_of_the_host_is_reported_whenever_it_comes_and_goes() {
    in_namespace(|| {
        let (keeper, reports) = start();
        let wait_copies = |expected: &[(u8, bool)]| {
            wait_until(&reports, |report| {
                let found = addresses(report).0.iter().flat_map(|state| &state.copies);
                found.map(|copy| (copy.at.prefix, copy.own)).collect::<Vec<_>>() == expected
            });
        };
        ip("address add 192.0.2.100/24 dev near");
        wait_copies(&[(24, false)]);
        ip("address del 192.0.2.1/24 dev near");
        wait_copies(&[]);
        ip("address add 192.0.2.100/24 dev near");
        wait_copies(&[(24, true)]);
        keeper.command(install(lease(5))).unwrap();
        let refused = wait_until(&reports, |report| addresses(report).0.iter().any(|state| state.error.is_some()));
        let (states, _) = addresses(refused.last().unwrap());
        assert!(matches!(states[0].error, Some(AddressError::OwnAddress(_))), "{states:?}");
        assert!(
            held("near").contains("192.0.2.100/24 scope global near\\       valid_lft forever"),
            "{}",
            held("near")
        );
    });
}

#[test]
fn copy_on_another_interface_is_reported_if_this_host_answers_for_it() {
    in_namespace(|| {
        let (keeper, reports) = start_with(Claim { adopt: true, ..claim() });
        let wait_copies = |expected: &[&str]| {
            wait_until(&reports, |report| {
                let found = addresses(report).0.iter().flat_map(|state| &state.copies);
                found.map(|copy| copy.at.interface.to_string()).collect::<Vec<_>>() == expected
            });
        };
        ip("address add 192.0.2.100/32 dev lo");
        wait_copies(&["lo"]);
        std::fs::write("/proc/sys/net/ipv4/conf/near/arp_ignore", "1").unwrap();
        keeper.command(install(lease(30))).unwrap();
        wait_copies(&[]);
        report(&keeper, &reports, remove());
        assert!(held("lo").contains("192.0.2.100/32"), "only what is on the instance's interface is adopted");
        assert!(!holds(VIRTUAL));
    });
}

#[test]
fn adopted_copy_is_removed_while_inactive_and_replaced_while_active() {
    in_namespace(|| {
        let (keeper, reports) = start_with(Claim { adopt: true, ..claim() });
        for form in ["192.0.2.100/24", "192.0.2.100/32"] {
            ip(&format!("address add {form} dev near"));
            until("an adopted copy to go", || !holds(VIRTUAL));
        }
        keeper.command(install(lease(30))).unwrap();
        wait_presence(&reports, Presence::Ours);
        ip("address replace 192.0.2.100/32 dev near");
        until("ours in its place", || held("near").contains("192.0.2.100/32 scope global dynamic"));
        ip("address add 192.0.2.100/24 dev near");
        until("the other form to go", || !held("near").contains("192.0.2.100/24"));
        assert!(held("near").contains("192.0.2.100/32") && holds(PRIMARY), "{}", held("near"));
    });
}

#[test]
fn address_of_an_earlier_run_is_renewed() {
    in_namespace(|| {
        left_behind("near", VIRTUAL, 32, 5);
        let (keeper, reports) = start();
        assert_held(&report(&keeper, &reports, install(lease(30))), true);
        let seconds = held("near")
            .split("192.0.2.100/32")
            .nth(1)
            .and_then(|rest| rest.split("valid_lft ").nth(1)?.split("sec").next()?.parse::<u32>().ok());
        assert!(seconds > Some(20), "{}", held("near"));
    });
}

#[test]
fn missing_interface_fails_alone() {
    in_namespace(|| {
        let elsewhere = VirtualAddress { interface: "nowhere".into(), ..virtual_address() };
        let claim = Claim { addresses: [elsewhere.clone(), virtual_address()].into(), ..claim() };
        let (keeper, reports) = start_with(claim);
        let found = report(&keeper, &reports, install(lease(5)));
        let (states, _) = addresses(&found);
        assert!(matches!(states[0].error, Some(AddressError::NoInterface(_))), "{found:?}");
        assert_eq!((states[1].presence, &states[1].error), (Presence::Ours, &None), "{found:?}");
        assert!(holds(VIRTUAL));
        report(&keeper, &reports, remove());
        assert!(!holds(VIRTUAL));
    });
}

#[test]
fn sweeping_removes_addresses_with_our_mark_and_no_others() {
    in_namespace(|| {
        ip("address add 192.0.2.50/32 dev near");
        left_behind("near", VIRTUAL, 32, 30);
        assert_eq!(sweep(Some(&["far"]), |_| false).unwrap(), [], "another interface");
        assert!(holds(VIRTUAL));
        let is_kept = |found: &VirtualAddress| *found == virtual_address();
        assert_eq!(sweep(Some(&["near"]), is_kept).unwrap(), [], "another daemon that lives keeps it");
        assert_eq!(sweep(Some(&["near"]), |_| false).unwrap(), [virtual_address()]);
        assert!(!holds(VIRTUAL));
        assert!(holds(PRIMARY) && held("near").contains("192.0.2.50/"), "{}", held("near"));
        assert_eq!(sweep(None, |_| false).unwrap(), []);
    });
}

#[test]
fn sweeping_leaves_the_hosts_secondary_addresses() {
    in_namespace(|| {
        for interface in ["all", "near"] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/promote_secondaries"), "0").unwrap();
        }
        left_behind("near", VIRTUAL, 25, 30);
        ip("address add 192.0.2.101/25 dev near");
        assert!(held("near").contains("192.0.2.101/25 scope global secondary"), "{}", held("near"));
        assert_eq!(sweep(None, |_| false).unwrap().len(), 1);
        assert!(held("near").contains("192.0.2.101/25 scope global near"), "{}", held("near"));
    });
}

#[test]
fn finishing_waits_for_queued_commands() {
    in_namespace(|| {
        let (keeper, _reports) = start();
        for _ in 0..100 {
            keeper.command(install(lease(30))).unwrap();
        }
        keeper.command(remove()).unwrap();
        assert!(keeper.finish(PATIENCE));
        assert!(!holds(VIRTUAL));
    });
}

#[test]
fn addresses_are_removed_when_the_keeper_ends() {
    in_namespace(|| {
        let (keeper, reports) = start();
        assert_held(&report(&keeper, &reports, install(lease(30))), true);
        assert!(keeper.finish(PATIENCE));
        assert!(!holds(VIRTUAL));
    });
}

#[test]
fn renamed_interface_loses_our_address() {
    in_namespace(|| {
        let (keeper, reports) = start();
        let forever = Lifetime::Forever { start_before: vouchd_net::now() + Duration::from_secs(60) };
        assert_held(&report(&keeper, &reports, install(forever)), true);
        ip("link set near down");
        ip("link set near name lan");
        ip("link set lan up");
        until("the address to go from it", || !ip("-4 -o address show dev lan").contains("192.0.2.100"));
        ip("link set lan down");
        ip("link set lan name near");
        ip("link set near up");
        until("the address to be back", || holds(VIRTUAL));
    });
}

#[test]
fn recreated_interface_gets_the_address_again() {
    in_namespace(|| {
        let (keeper, reports) = start();
        assert_held(&report(&keeper, &reports, install(lease(60))), true);
        ip("link delete near");
        ip("link add near type veth peer name far");
        until("the address to be back", || holds(VIRTUAL));
    });
}

#[test]
fn hosts_secondary_addresses_outlive_ours() {
    in_namespace(|| {
        ip("link set near down");
        let setting = std::path::Path::new("/proc/sys/net/ipv4/conf/near/promote_secondaries");
        let is_set = || std::fs::read_to_string(setting).unwrap().trim() == "1";
        std::fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", "0").unwrap();
        std::fs::write(setting, "0").unwrap();
        let (keeper, reports) = start_with(claim_of(&instance(), "near", &[(VIRTUAL, 24)]));
        keeper.command(install(lease(30))).unwrap();
        wait_presence(&reports, Presence::Ours);
        assert!(is_set());
        // A change of the host's netmask makes ours the primary address of the subnet.
        ip("address del 192.0.2.1/24 dev near");
        ip("address add 192.0.2.1/24 dev near");
        assert!(held("near").contains("192.0.2.1/24 scope global secondary"), "{}", held("near"));
        std::fs::write(setting, "0").unwrap();
        report(&keeper, &reports, remove());
        assert!(holds(PRIMARY) && !holds(VIRTUAL), "{}", held("near"));
        assert!(is_set());
    });
}

#[test]
fn reload_changes_only_the_difference() {
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);
    in_namespace(|| {
        let other = vouchd_net::InstanceKey::from("dns");
        let active = |claim: Claim| Claim { lifetime: Some(lease(60)), ..claim };
        let configure = |first: &[(Ipv4Addr, u8)], second: &[(Ipv4Addr, u8)]| {
            let claims = [claim_of(&instance(), "near", first), claim_of(&other, "near", second)];
            AddressCommand::Configure(claims.map(active).to_vec())
        };
        let (keeper, reports) = start();
        keeper.command(configure(&[(VIRTUAL, 32), (OTHER, 32)], &[])).unwrap();
        until("both", || holds(VIRTUAL) && holds(OTHER));
        let monitor = Monitor::start();
        keeper.command(configure(&[(VIRTUAL, 24)], &[(OTHER, 32)])).unwrap();
        until("the new prefix", || held("near").contains("192.0.2.100/24") && !held("near").contains("192.0.2.100/32"));
        let seen = monitor.end();
        let of = |address: &str| seen.iter().filter(|line| line.contains(address)).cloned().collect::<Vec<_>>();
        let changes = of("192.0.2.100/");
        assert!(changes.len() == 2 && changes[0].contains("/24") && changes[1].starts_with("Deleted"), "{seen:?}");
        assert_eq!(of("192.0.2.101/"), [""; 0], "what moves from one instance to another stays");
        drop(reports);
    });
}
