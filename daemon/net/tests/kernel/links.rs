//! News about links and addresses.

use std::collections::BTreeSet;
use std::time::Duration;

use vouchd_net::{
    AddressChange, AddressCommand, AddressKeeper, DownReason, Lifetime, LinkEvent, LinkState, LinkWatcher, Receiver,
    Report, Watched,
};
use vouchd_wire::Family;

use crate::namespace::{PRIMARY, VIRTUAL, claim, in_namespace, instance, ip, mac, virtual_address, wait_until};

fn watch() -> (LinkWatcher, Receiver<LinkEvent>) {
    let (watcher, events) = LinkWatcher::start(vec![watched("near")]).unwrap();
    (watcher, events.states)
}

fn watched(interface: &str) -> Watched {
    Watched {
        interface: interface.into(),
        families: [Family::V4].into(),
        addresses: BTreeSet::from([VIRTUAL.into()]),
        sources: BTreeSet::new(),
    }
}

/// Waits until a state of an interface is reported for which `found` holds.
fn wait_for_state(events: &Receiver<LinkEvent>, name: &str, found: impl Fn(&LinkState) -> bool) {
    wait_until(events, |LinkEvent { interface, state }| interface == name && found(state));
}

fn is_up(state: &LinkState) -> bool {
    matches!(state, LinkState::Up { sources, .. } if sources.v4 == Some(PRIMARY))
}

fn has_no_address(state: &LinkState) -> bool {
    matches!(state, LinkState::Up { addresses, .. } if addresses.is_empty())
}

#[test]
fn row_41_interface_that_goes_and_comes_is_reported() {
    in_namespace(|| {
        let (_watcher, events) = watch();
        let near = mac("near");
        wait_for_state(&events, "near", |state| {
            is_up(state) && matches!(state, LinkState::Up { mac, .. } if *mac == Some(near))
        });
        ip("link set far down");
        wait_for_state(&events, "near", |state| matches!(state, LinkState::Down { reason: DownReason::NoCarrier, .. }));
        ip("link set far up");
        wait_for_state(&events, "near", is_up);
        ip("link set near down");
        wait_for_state(&events, "near", |state| {
            matches!(state, LinkState::Down { reason: DownReason::SwitchedOff, .. })
        });
        ip("link set near up");
        wait_for_state(&events, "near", is_up);
        ip("address del 192.0.2.1/24 dev near");
        wait_for_state(&events, "near", has_no_address);
        ip("address add 192.0.2.1/24 dev near");
        wait_for_state(&events, "near", is_up);
        ip("link delete near");
        wait_for_state(&events, "near", |state| *state == LinkState::Missing);
    });
}

#[test]
fn interface_that_does_not_exist_yet_is_reported_when_it_comes() {
    in_namespace(|| {
        let (watcher, events) = watch();
        wait_for_state(&events, "near", is_up);
        watcher.watch(vec![watched("near"), watched("later")]);
        wait_for_state(&events, "later", |state| *state == LinkState::Missing);
        ip("link add later type veth peer name other");
        ip("link set later up");
        ip("link set other up");
        ip("address add 192.0.2.1/24 dev later");
        wait_for_state(&events, "later", is_up);
    });
}

#[test]
fn our_addresses_are_neither_a_source_nor_news_of_the_link() {
    in_namespace(|| {
        let (_watcher, events) = watch();
        wait_for_state(&events, "near", is_up);
        let (keeper, reports) = AddressKeeper::start().unwrap();
        keeper.command(AddressCommand::Configure(vec![claim()])).unwrap();
        let lifetime = Lifetime::Until(vouchd_net::now() + Duration::from_secs(30));
        keeper.command(AddressCommand::Install { instance: instance(), lifetime }).unwrap();
        wait_until(&reports, |report| matches!(report, Report::Addresses { active: true, .. }));
        ip("address del 192.0.2.100/32 dev near");
        wait_until(
            &reports,
            |report| matches!(report, Report::Addresses { changes, .. } if changes.contains(&AddressChange::PutBack(virtual_address()))),
        );
        keeper.command(AddressCommand::Remove { instance: instance() }).unwrap();
        ip("link set near down");
        let reported = wait_until(&events, |event| matches!(event.state, LinkState::Down { .. }));
        assert_eq!(reported.len(), 1, "nothing before was news: {reported:?}");
    });
}

#[test]
fn storm_of_changes_ends_in_the_right_state() {
    in_namespace(|| {
        let (_watcher, events) = watch();
        wait_for_state(&events, "near", is_up);
        let (path, mut batch) =
            (std::env::temp_dir().join(format!("vouchd-net-{}", std::process::id())), String::new());
        for round in 0..3 {
            for last in 1..=250 {
                let verb = if round % 2 == 0 { "add" } else { "del" };
                batch.push_str(&format!("address {verb} 198.51.100.{last}/32 dev far\n"));
            }
        }
        batch.push_str("address del 192.0.2.1/24 dev near\n");
        std::fs::write(&path, batch).unwrap();
        ip(&format!("-batch {}", path.display()));
        std::fs::remove_file(&path).unwrap();
        wait_for_state(&events, "near", has_no_address);
    });
}
