//! Leases, removal, sweeping.

use std::thread::sleep;
use std::time::Duration;

use vouchd_net::{
    AddressCommand, AddressError, AddressKeeper, CommandKind, Lifetime, Receiver, Report, Time, VirtualAddress, sweep,
};

use crate::namespace::{
    PATIENCE, PRIMARY, VIRTUAL, held, holds, in_namespace, instance, ip, virtual_address, virtual_addresses, wait_for,
};

fn install(lifetime: Lifetime) -> AddressCommand {
    AddressCommand::Install { instance: instance(), addresses: virtual_addresses(), lifetime }
}

fn lease(seconds: u64) -> Lifetime {
    Lifetime::Until(Time::now() + Duration::from_secs(seconds))
}

fn remove() -> AddressCommand {
    AddressCommand::Remove { instance: instance(), addresses: virtual_addresses() }
}

/// The one report of a command.
fn report(keeper: &AddressKeeper, reports: &Receiver<Report>, command: AddressCommand) -> Report {
    keeper.command(command).unwrap();
    let mut reports = wait_for(reports);
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0)
}

fn assert_new(report: &Report, expected: bool) {
    let Report::Installed { new, taken_over, failed: 0, .. } = report else { panic!("{report:?}") };
    assert_eq!(new.len(), usize::from(expected), "{report:?}");
    assert!(taken_over.is_empty(), "{report:?}");
}

#[test]
fn a_lease_that_is_not_renewed_ends() {
    in_namespace(|| {
        let (keeper, reports) = AddressKeeper::start().unwrap();
        let start = Time::now();
        assert_new(&report(&keeper, &reports, install(lease(1))), true);
        assert!(holds(VIRTUAL));
        while holds(VIRTUAL) {
            assert!(Time::now().saturating_since(start) < Duration::from_secs(3), "{}", held("near"));
            sleep(Duration::from_millis(20));
        }
        assert!(Time::now().saturating_since(start) >= Duration::from_millis(900));
        assert!(holds(PRIMARY));
        assert_new(&report(&keeper, &reports, install(lease(1))), true);
    });
}

#[test]
fn a_renewed_lease_stays_until_it_is_removed() {
    in_namespace(|| {
        let (keeper, reports) = AddressKeeper::start().unwrap();
        assert_new(&report(&keeper, &reports, install(lease(2))), true);
        for _ in 0..10 {
            sleep(Duration::from_millis(400));
            assert_new(&report(&keeper, &reports, install(lease(2))), false);
        }
        assert!(matches!(report(&keeper, &reports, remove()), Report::Removed { failed: 0, .. }));
        assert!(!holds(VIRTUAL));
        let again = report(&keeper, &reports, remove());
        assert!(matches!(again, Report::Removed { failed: 0, .. }), "what is gone is removed: {again:?}");
    });
}

#[test]
fn an_address_without_a_lease_stays() {
    in_namespace(|| {
        let (keeper, reports) = AddressKeeper::start().unwrap();
        let start_before = Time::now() + Duration::from_secs(3);
        assert_new(&report(&keeper, &reports, install(Lifetime::Forever { start_before })), true);
        assert!(
            held("near").contains("192.0.2.100/32 scope global near\\       valid_lft forever"),
            "{}",
            held("near")
        );
    });
}

#[test]
fn a_command_whose_time_is_over_is_not_carried_out() {
    in_namespace(|| {
        let (keeper, reports) = AddressKeeper::start().unwrap();
        let past = Time::now();
        sleep(Duration::from_millis(120));
        for lifetime in [Lifetime::Until(past), Lifetime::Forever { start_before: past }] {
            let found = report(&keeper, &reports, install(lifetime));
            assert!(matches!(&found, Report::Late { command: CommandKind::Install, .. }), "{found:?}");
            assert!(!holds(VIRTUAL));
        }
    });
}

#[test]
fn an_address_of_somebody_else_is_taken_over_with_our_lease() {
    in_namespace(|| {
        ip("address add 192.0.2.100/32 dev near");
        let (keeper, reports) = AddressKeeper::start().unwrap();
        let first = report(&keeper, &reports, install(lease(2)));
        let Report::Installed { new, taken_over, failed: 0, .. } = &first else { panic!("{first:?}") };
        assert_eq!((new.len(), taken_over.as_slice()), (0, [virtual_address()].as_slice()));
        assert_new(&report(&keeper, &reports, install(lease(2))), false);
        assert!(held("near").contains("dynamic"), "{}", held("near"));
        assert_eq!(sweep(None).unwrap(), [virtual_address()], "it carries our mark now");
    });
}

#[test]
fn our_own_address_of_an_earlier_run_is_renewed_and_not_taken_over() {
    in_namespace(|| {
        let (earlier, reports) = AddressKeeper::start().unwrap();
        report(&earlier, &reports, install(lease(5)));
        assert!(earlier.finish(PATIENCE));
        let (keeper, reports) = AddressKeeper::start().unwrap();
        assert_new(&report(&keeper, &reports, install(lease(5))), false);
    });
}

#[test]
fn a_missing_interface_fails_alone() {
    in_namespace(|| {
        let (keeper, reports) = AddressKeeper::start().unwrap();
        let elsewhere = VirtualAddress { interface: "nowhere".into(), ..virtual_address() };
        let addresses = [elsewhere.clone(), virtual_address()].into();
        keeper.command(AddressCommand::Install { instance: instance(), addresses, lifetime: lease(5) }).unwrap();
        let mut found = wait_for(&reports);
        while found.len() < 2 {
            found.extend(wait_for(&reports));
        }
        assert!(
            matches!(&found[0], Report::InstallFailed { address, error: AddressError::NoInterface(_), .. } if *address == elsewhere),
            "{found:?}"
        );
        assert!(matches!(&found[1], Report::Installed { failed: 1, .. }), "{found:?}");
        assert!(holds(VIRTUAL));
        let removed = AddressCommand::Remove { instance: instance(), addresses: [elsewhere].into() };
        assert!(matches!(report(&keeper, &reports, removed), Report::Removed { failed: 0, .. }));
    });
}

#[test]
fn sweeping_removes_what_carries_our_mark_and_nothing_else() {
    in_namespace(|| {
        ip("address add 192.0.2.50/32 dev near");
        let (keeper, reports) = AddressKeeper::start().unwrap();
        report(&keeper, &reports, install(lease(30)));
        assert_eq!(sweep(Some(&["far"])).unwrap(), [], "another interface");
        assert!(holds(VIRTUAL));
        assert_eq!(sweep(Some(&["near"])).unwrap(), [virtual_address()]);
        assert!(!holds(VIRTUAL));
        assert!(holds(PRIMARY) && held("near").contains("192.0.2.50/"), "{}", held("near"));
        assert_eq!(sweep(None).unwrap(), []);
    });
}

#[test]
fn finishing_waits_for_what_was_ordered() {
    in_namespace(|| {
        let (keeper, _reports) = AddressKeeper::start().unwrap();
        for _ in 0..100 {
            keeper.command(install(lease(30))).unwrap();
        }
        keeper.command(remove()).unwrap();
        assert!(keeper.finish(PATIENCE));
        assert!(!holds(VIRTUAL));
    });
}
