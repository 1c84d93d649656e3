//! The links and addresses of this host, and which changes of them to report. Pure: the watcher's thread feeds it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vouchd_wire::Family;

use crate::links::{DownReason, LinkEvent, LinkState, Sources, Watched};
use crate::netlink::{Change, HeldAddress, KernelState, Link, OUR_PROTOCOL};

/// All links and addresses, and the states of watched links that were reported last.
#[derive(Debug, Default)]
pub(crate) struct LinkTable {
    kernel: KernelState,
    /// The interfaces by name, each with its state that was reported last.
    watched: BTreeMap<String, (Watched, Option<LinkState>)>,
}

impl LinkTable {
    /// Watches these interfaces instead of those before. An interface that was watched before is reported again only if its
    /// state changes.
    pub(crate) fn watch(&mut self, list: Vec<Watched>) {
        let mut before = std::mem::take(&mut self.watched);
        for watched in list {
            let reported = before.remove(&watched.interface).and_then(|(_, reported)| reported);
            self.watched.insert(watched.interface.clone(), (watched, reported));
        }
    }

    /// Takes in one notification; [`LinkTable::news`] returns what it changed.
    pub(crate) fn apply(&mut self, change: Change) {
        self.kernel.apply(change);
    }

    /// Takes in a full dump, at the start and after notifications were lost.
    pub(crate) fn replace(&mut self, links: Vec<Link>, addresses: Vec<HeldAddress>) {
        self.kernel.replace(links, addresses);
    }

    /// Returns the states that differ from those reported last. Call it when no more notifications are queued, so that
    /// states that are over already are not reported.
    pub(crate) fn news(&mut self) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        let Self { kernel, watched } = self;
        for (interface, (watched, reported)) in watched {
            let link = kernel.link_named(interface);
            let held = link.map_or(&[][..], |link| kernel.on(link.index));
            let state = state(link, held, watched);
            if reported.as_ref() != Some(&state) {
                *reported = Some(state.clone());
                events.push(LinkEvent { interface: interface.clone(), state });
            }
        }
        events
    }
}

fn state(link: Option<&Link>, held: &[HeldAddress], watched: &Watched) -> LinkState {
    let Some(link) = link else { return LinkState::Missing };
    let (index, mac) = (link.index, link.mac);
    if !link.running {
        let reason = if link.enabled { DownReason::NoCarrier } else { DownReason::SwitchedOff };
        return LinkState::Down { index, reason };
    }
    let is_usable = |held: &&HeldAddress| {
        held.protocol != OUR_PROTOCOL && !held.tentative && watched.families.contains(&Family::of(held.address))
    };
    let mut own: Vec<_> = held.iter().filter(is_usable).collect();
    // A virtual address without our mark is the address owner's, or on a kernel that keeps no marks. A secondary address,
    // or one of link scope, is not the primary one while there is another. The sort is stable.
    own.sort_by_key(|address| (watched.addresses.contains(&address.address), address.secondary, address.scope));
    let addresses: Vec<_> = own.iter().map(|address| address.address).collect();
    let sources = Sources {
        v4: addresses.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        }),
        v6: addresses.iter().find_map(|address| match address {
            IpAddr::V6(v6) => v6.is_unicast_link_local().then_some(*v6),
            IpAddr::V4(_) => None,
        }),
    };
    LinkState::Up { index, mac, sources, addresses }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const MAC: Option<[u8; 6]> = Some([2, 0, 0, 0, 0, 1]);
    const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
    const PRIMARY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    const GLOBAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

    fn link(index: u32, enabled: bool, running: bool) -> Link {
        Link { index, name: "eth0".into(), enabled, running, mac: MAC, promotes: false }
    }

    fn held(address: IpAddr) -> HeldAddress {
        HeldAddress {
            index: 5,
            address,
            prefix: 24,
            peer: None,
            scope: 0,
            secondary: false,
            tentative: false,
            permanent: true,
            protocol: 0,
        }
    }

    fn up(addresses: &[IpAddr]) -> LinkEvent {
        let mut sources = Sources::default();
        for address in addresses {
            match address {
                IpAddr::V4(v4) => sources.v4 = sources.v4.or(Some(*v4)),
                IpAddr::V6(v6) => sources.v6 = sources.v6.or(Some(*v6).filter(Ipv6Addr::is_unicast_link_local)),
            }
        }
        state_event(LinkState::Up { index: 5, mac: MAC, sources, addresses: addresses.to_vec() })
    }

    fn state_event(state: LinkState) -> LinkEvent {
        LinkEvent { interface: "eth0".into(), state }
    }

    fn apply(table: &mut LinkTable, change: Change) -> Vec<LinkEvent> {
        table.apply(change);
        table.news()
    }

    fn replace(table: &mut LinkTable, links: Vec<Link>, addresses: Vec<HeldAddress>) -> Vec<LinkEvent> {
        table.replace(links, addresses);
        table.news()
    }

    fn watching() -> LinkTable {
        watching_for(&[Family::V4], VIRTUAL)
    }

    fn watching_for(families: &[Family], address: IpAddr) -> LinkTable {
        let mut table = LinkTable::default();
        let families = families.iter().copied().collect();
        let list = vec![Watched { interface: "eth0".into(), families, addresses: BTreeSet::from([address]) }];
        table.watch(list);
        assert_eq!(table.news(), [state_event(LinkState::Missing)]);
        table
    }

    #[test]
    fn interface_is_reported_at_each_step_of_coming_up() {
        let mut table = watching();
        let down = |reason| state_event(LinkState::Down { index: 5, reason });
        assert_eq!(apply(&mut table, Change::Link(link(5, false, false))), [down(DownReason::SwitchedOff)]);
        assert_eq!(apply(&mut table, Change::Link(link(5, true, false))), [down(DownReason::NoCarrier)]);
        assert_eq!(apply(&mut table, Change::Link(link(5, true, true))), [up(&[])]);
        assert_eq!(apply(&mut table, Change::Address(held(PRIMARY))), [up(&[PRIMARY])]);
        assert_eq!(apply(&mut table, Change::LinkGone { index: 5 }), [state_event(LinkState::Missing)]);
    }

    #[test]
    fn renewed_lease_is_not_reported() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        let ours = HeldAddress { protocol: OUR_PROTOCOL, prefix: 32, ..held(VIRTUAL) };
        assert_eq!(apply(&mut table, Change::Address(ours.clone())), []);
        assert_eq!(apply(&mut table, Change::Address(ours)), []);
    }

    #[test]
    fn source_is_the_primary_address_and_not_one_of_ours() {
        let marked = |address| HeldAddress { protocol: OUR_PROTOCOL, ..held(address) };
        let cases = [
            (vec![marked(OTHER), held(PRIMARY)], vec![PRIMARY]),
            (vec![held(VIRTUAL), held(PRIMARY)], vec![PRIMARY, VIRTUAL]),
            (vec![HeldAddress { secondary: true, ..held(OTHER) }, held(PRIMARY)], vec![PRIMARY, OTHER]),
            (vec![HeldAddress { scope: 253, ..held(OTHER) }, held(PRIMARY)], vec![PRIMARY, OTHER]),
            (vec![held(VIRTUAL)], vec![VIRTUAL]),
        ];
        for (addresses, expected) in cases {
            assert_eq!(replace(&mut watching(), vec![link(5, true, true)], addresses), [up(&expected)]);
        }
    }

    #[test]
    fn row_1_source_over_ipv6_is_a_usable_link_local_address_and_not_one_of_ours() {
        let virtual_link_local = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100));
        let ours = HeldAddress { protocol: OUR_PROTOCOL, ..held(virtual_link_local) };
        let tentative = HeldAddress { tentative: true, ..held(LINK_LOCAL) };
        let watching = || watching_for(&[Family::V6], virtual_link_local);
        for (addresses, expected) in [
            (vec![held(GLOBAL), held(LINK_LOCAL)], vec![GLOBAL, LINK_LOCAL]),
            (vec![ours.clone(), held(LINK_LOCAL)], vec![LINK_LOCAL]),
            (vec![held(virtual_link_local), held(LINK_LOCAL)], vec![LINK_LOCAL, virtual_link_local]),
            (vec![ours, held(GLOBAL)], vec![GLOBAL]),
            (vec![tentative, held(GLOBAL)], vec![GLOBAL]),
            (vec![held(PRIMARY)], vec![]),
        ] {
            assert_eq!(replace(&mut watching(), vec![link(5, true, true)], addresses), [up(&expected)]);
        }
        let mut table = watching_for(&[Family::V4, Family::V6], virtual_link_local);
        let addresses = vec![held(PRIMARY), held(LINK_LOCAL)];
        assert_eq!(replace(&mut table, vec![link(5, true, true)], addresses), [up(&[PRIMARY, LINK_LOCAL])]);
    }

    #[test]
    fn row_4_new_primary_address_is_reported() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY), held(OTHER)]);
        assert_eq!(apply(&mut table, Change::AddressGone(held(PRIMARY))), [up(&[OTHER])]);
    }

    #[test]
    fn renamed_interface_is_missing_under_its_old_name() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        let renamed = Link { name: "lan".into(), ..link(5, true, true) };
        assert_eq!(apply(&mut table, Change::Link(renamed)), [state_event(LinkState::Missing)]);
        assert_eq!(apply(&mut table, Change::Link(link(5, true, true))), [up(&[PRIMARY])]);
    }

    #[test]
    fn recreated_interface_has_a_new_index() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        apply(&mut table, Change::LinkGone { index: 5 });
        let (sources, addresses) = (Sources::default(), Vec::new());
        let expected = LinkState::Up { index: 6, mac: MAC, sources, addresses };
        assert_eq!(apply(&mut table, Change::Link(link(6, true, true))), [state_event(expected)]);
    }

    #[test]
    fn new_list_reports_only_new_interfaces() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        let watched = |interface: &str| Watched {
            interface: interface.into(),
            families: BTreeSet::from([Family::V4]),
            addresses: BTreeSet::new(),
        };
        table.watch(vec![watched("eth0"), watched("eth1")]);
        assert_eq!(table.news(), [LinkEvent { interface: "eth1".into(), state: LinkState::Missing }]);
    }

    #[test]
    fn state_that_is_over_already_is_not_reported() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        table.apply(Change::AddressGone(held(PRIMARY)));
        table.apply(Change::Address(held(PRIMARY)));
        assert_eq!(table.news(), []);
    }
}
