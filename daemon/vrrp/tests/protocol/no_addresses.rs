//! A virtual router without addresses: it has a state, and advertises no address.

use vouchd_vrrp::wire::{Advertisement, Family, Version};
use vouchd_vrrp::{Config, ConfigError, DiscardReason, Input, Link, State};

use crate::bench::*;

fn none(priority: u8) -> Config {
    Config { addresses: vec![], ..config(priority) }
}

#[test]
fn row_12_router_without_addresses_elects_and_advertises_none_without_a_trial() {
    for base in [none(100), Config { version: Version::V2, ..none(100) }] {
        let mut bench = Bench::new(base);
        bench.input(Input::Link(Link::Up { source: OWN }));
        bench.fit(100);
        let actions = bench.run_to_deadline();
        assert_eq!(bench.state(), State::Active, "nothing to try");
        // Whatever else the caller holds with the state comes and goes with these.
        assert_eq!(done(&actions), ["send 100", "install for 3", "announce 5"]);
        let packets = bench.router.packets(&bench.advertisement(100));
        assert_eq!(packets[0].1[3], 0, "the count");
        assert_eq!(done(&bench.hear(HIGHER, 150)), ["send 100", "remove"]);
    }
}

#[test]
fn row_25_only_a_router_without_addresses_accepts_an_advertisement_without_addresses() {
    let mut bench = Bench::started(none(100));
    let with = Advertisement { addresses: vec![VIP], ..bench.advertisement(200) };
    bench.hear_this(HIGHER, &with);
    assert_eq!(bench.router.counters().discarded(DiscardReason::Addresses), 1);
    bench.hear(HIGHER, 200);
    assert_eq!(bench.router.counters().received, 1);

    for (base, owner) in [(config(100), 200), (v2(100), 200), (v2(100), 255)] {
        let mut bench = Bench::started(base);
        let without = Advertisement { addresses: vec![], ..bench.advertisement(owner) };
        bench.hear_this(HIGHER, &without);
        assert_eq!(bench.router.counters().discarded(DiscardReason::NoAddresses), 1);
        assert_eq!(bench.router.counters().received, 0);
    }
}

#[test]
fn router_without_addresses_has_the_configured_family() {
    let v6 = Config { family: Family::V6, ..none(100) };
    let mut bench = Bench::new(v6.clone());
    bench.input(Input::Link(Link::Up { source: OWN }));
    assert_eq!(bench.router.why().name(), "link_down");
    bench.input(Input::Link(Link::Up { source: "fe80::10".parse().expect("an address") }));
    assert_eq!(bench.router.why().name(), "health_waiting");
    assert_eq!(Config { version: Version::V2, ..v6 }.check(), Err(ConfigError::Ipv6NeedsV3));
}
