//! Attributes of addresses, addresses on several interfaces, and very many addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vouchd_net::{
    AddressAttributes, AddressCommand, AddressKeeper, AddressState, Claim, Lifetime, Presence, Receiver, Report,
    VirtualAddress,
};

use crate::monitor::Monitor;
use crate::namespace::{claim, in_namespace, instance, ip, until, wait_until};

fn address(interface: &str, text: &str) -> VirtualAddress {
    let (address, prefix) = text.split_once('/').unwrap();
    VirtualAddress { interface: interface.into(), address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn claim_of(addresses: Vec<(VirtualAddress, AddressAttributes)>) -> Claim {
    let attributes: BTreeMap<_, _> =
        addresses.iter().map(|(address, attributes)| (address.clone(), Arc::new(attributes.clone()))).collect();
    let addresses: Vec<_> = addresses.into_iter().map(|(address, _)| address).collect();
    Claim { addresses: addresses.into(), attributes: Arc::new(attributes), ..claim() }
}

fn lease(seconds: u64) -> Lifetime {
    Lifetime::Until(vouchd_net::now() + Duration::from_secs(seconds))
}

fn install(keeper: &AddressKeeper, lifetime: Lifetime) {
    keeper.command(AddressCommand::Install { instance: instance(), lifetime }).unwrap();
}

fn wait_states(reports: &Receiver<Report>, wanted: impl Fn(&[AddressState]) -> bool) -> Vec<AddressState> {
    let is_it = |report: &Report| matches!(report, Report::Addresses { states, .. } if wanted(states));
    let found = wait_until(reports, is_it).into_iter().find(is_it);
    let Some(Report::Addresses { states, .. }) = found else { unreachable!("it was found") };
    states
}

fn all_ours(states: &[AddressState]) -> bool {
    states.iter().all(|state| state.presence == Presence::Ours && state.error.is_none())
}

fn start(claim: Claim) -> (AddressKeeper, Receiver<Report>) {
    let (keeper, reports) = AddressKeeper::start().unwrap();
    keeper.command(AddressCommand::Configure(vec![claim])).unwrap();
    install(&keeper, lease(60));
    (keeper, reports)
}

/// One of the objects that `ip -j address show` prints about an interface's addresses, as text.
fn shown(interface: &str, local: &str) -> Option<String> {
    let all = ip(&format!("-j address show dev {interface}"));
    let list = all.split("\"addr_info\":[").nth(1)?;
    list.split("},{").find(|one| one.contains(&format!("\"local\":\"{local}\""))).map(str::to_owned)
}

#[test]
fn ip_shows_what_was_configured() {
    in_namespace(|| {
        let attributes = AddressAttributes::default;
        let v4: IpAddr = "198.51.100.9".parse().unwrap();
        let claim = claim_of(vec![
            (
                address("near", "198.51.100.1/24"),
                AddressAttributes {
                    label: Some("near:web".to_owned()),
                    broadcast: Some("198.51.100.255".parse().unwrap()),
                    ..attributes()
                },
            ),
            (
                address("near", "198.51.101.1/24"),
                AddressAttributes { scope: 253, no_prefix_route: true, ..attributes() },
            ),
            (address("near", "198.51.102.1/32"), AddressAttributes { peer: Some(v4), ..attributes() }),
            (address("near", "198.51.103.1/32"), AddressAttributes { deprecated: true, ..attributes() }),
            (
                address("near", "2001:db8::1/64"),
                AddressAttributes { home: true, manage_temporary: true, no_prefix_route: true, ..attributes() },
            ),
            (address("near", "2001:db8::2/128"), AddressAttributes { deprecated: true, ..attributes() }),
            (address("far", "203.0.113.1/32"), attributes()),
        ]);
        let (keeper, reports) = start(claim.clone());
        wait_states(&reports, all_ours);
        for (interface, local, words) in [
            ("near", "198.51.100.1", &["\"label\":\"near:web\"", "\"broadcast\":\"198.51.100.255\""][..]),
            ("near", "198.51.101.1", &["\"scope\":\"link\"", "\"noprefixroute\":true"]),
            ("near", "198.51.102.1", &["\"address\":\"198.51.100.9\""]),
            ("near", "198.51.103.1", &["\"deprecated\":true", "\"preferred_life_time\":0"]),
            (
                "near",
                "2001:db8::1",
                &["\"home\":true", "\"mngtmpaddr\":true", "\"noprefixroute\":true", "\"nodad\":true"],
            ),
            ("near", "2001:db8::2", &["\"deprecated\":true"]),
            ("far", "203.0.113.1", &["\"prefixlen\":32"]),
        ] {
            let found = shown(interface, local).unwrap_or_else(|| panic!("{local} on {interface}"));
            for word in words {
                assert!(found.contains(word), "{word} in {found}");
            }
        }
        // A renewal changes none of them.
        std::thread::sleep(Duration::from_millis(300));
        install(&keeper, lease(600));
        until("the renewal", || {
            shown("near", "198.51.100.1")
                .is_some_and(|it| it.contains("\"valid_life_time\":6") || it.contains("\"valid_life_time\":5"))
        });
        assert!(shown("near", "198.51.100.1").unwrap().contains("near:web"));
        assert!(shown("near", "198.51.102.1").unwrap().contains("198.51.100.9"));
        keeper.command(AddressCommand::Remove { instance: instance() }).unwrap();
        wait_states(&reports, |states| states.iter().all(|state| state.presence == Presence::Absent));
        for address in claim.addresses.iter() {
            assert_eq!(shown(&address.interface, &address.address.to_string()), None);
        }
    });
}

#[test]
fn changed_attribute_replaces_only_that_address() {
    in_namespace(|| {
        let plain = AddressAttributes::default;
        let v6 = address("near", "2001:db8::1/64");
        let (keeper, reports) = start(claim_of(vec![
            (address("near", "198.51.100.1/32"), plain()),
            (address("near", "198.51.100.2/32"), plain()),
            (v6.clone(), plain()),
        ]));
        wait_states(&reports, all_ours);
        let monitor = Monitor::of("address");
        let changed = claim_of(vec![
            (address("near", "198.51.100.1/32"), plain()),
            (address("near", "198.51.100.2/32"), AddressAttributes { label: Some("near:x".to_owned()), ..plain() }),
            (v6, AddressAttributes { deprecated: true, ..plain() }),
        ]);
        keeper.command(AddressCommand::Configure(vec![Claim { lifetime: Some(lease(60)), ..changed }])).unwrap();
        wait_states(&reports, all_ours);
        until("the label", || shown("near", "198.51.100.2").is_some_and(|it| it.contains("near:x")));
        until("the flag", || shown("near", "2001:db8::1").is_some_and(|it| it.contains("\"deprecated\":true")));
        let events = monitor.end().join("\n");
        assert!(!events.contains("198.51.100.1/32"), "{events}");
        assert!(events.contains("Deleted") && events.contains("near:x"), "the kernel can't change a label: {events}");
    });
}

#[test]
fn address_waits_for_its_interface() {
    in_namespace(|| {
        let plain = AddressAttributes::default;
        let (keeper, reports) = start(claim_of(vec![
            (address("near", "198.51.100.1/32"), plain()),
            (address("later", "203.0.113.1/24"), plain()),
        ]));
        let states = wait_states(&reports, |states| states[0].presence == Presence::Ours);
        assert_eq!(states[1].presence, Presence::Absent);
        assert!(states[1].error.as_ref().unwrap().to_string().contains("later does not exist"), "{states:?}");
        ip("link add later type veth peer name other");
        ip("link set later up");
        wait_states(&reports, all_ours);
        assert!(shown("later", "203.0.113.1").is_some());
        assert!(keeper.finish(Duration::from_secs(10)));
        assert_eq!(shown("later", "203.0.113.1"), None);
    });
}

/// Takeover and renewal of very many addresses; the figures are printed.
#[test]
fn two_thousand_addresses_are_installed_and_renewed_in_time() {
    in_namespace(|| {
        let addresses: Vec<_> = (0..2000_u32)
            .map(|n| (address("near", &format!("10.{}.{}.1/32", n / 256, n % 256)), AddressAttributes::default()))
            .collect();
        let (keeper, reports) = AddressKeeper::start().unwrap();
        keeper.command(AddressCommand::Configure(vec![claim_of(addresses)])).unwrap();
        wait_states(&reports, |states| states.len() == 2000);
        let begin = Instant::now();
        install(&keeper, lease(3));
        wait_states(&reports, all_ours);
        println!("2000 addresses: installed in {:?}", begin.elapsed());
        // The leases of a router with an interval of one second.
        let end = Instant::now() + Duration::from_secs(6);
        let mut slowest = Duration::ZERO;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_secs(1));
            let begin = Instant::now();
            install(&keeper, lease(3));
            // It is done when the keeper answers the next command.
            keeper
                .command(AddressCommand::Announce {
                    instance: instance(),
                    repeat: 0,
                    not_after: vouchd_net::now() + Duration::from_secs(5),
                })
                .unwrap();
            wait_until(&reports, |report| matches!(report, Report::Announced { .. }));
            slowest = slowest.max(begin.elapsed());
            let held = ip("-4 -o address show dev near").lines().count();
            assert_eq!(held, 2001, "none was lost");
        }
        println!("2000 addresses: the slowest renewal took {slowest:?}");
        let begin = Instant::now();
        keeper.command(AddressCommand::Remove { instance: instance() }).unwrap();
        wait_states(&reports, |states| states.iter().all(|state| state.presence == Presence::Absent));
        println!("2000 addresses: removed in {:?}", begin.elapsed());
        assert!(slowest < Duration::from_secs(3), "a lease of 3 s has to be renewed in time: {slowest:?}");
    });
}
