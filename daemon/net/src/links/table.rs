//! The links and addresses of this host, and which changes of them to report. Pure: the watcher's thread feeds it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vouchd_wire::Family;

use crate::links::{Carrier, CarrierEvent, DownReason, LinkEvent, LinkState, Sources, Watched};
use crate::netlink::{Change, HeldAddress, KernelState, Link, OUR_PROTOCOL};

/// All links and addresses, and the states of watched links that were reported last.
#[derive(Debug, Default)]
pub(crate) struct LinkTable {
    kernel: KernelState,
    /// The interfaces by name, each with its state that was reported last.
    watched: BTreeMap<String, (Watched, Option<LinkState>)>,
    /// The states of all interfaces that were reported last.
    carriers: BTreeMap<String, Carrier>,
    changed: Changed,
}

/// The names of the interfaces that may have changed since the last report. Every advertisement of an active router renews a
/// lease, of which the kernel notifies, so all interfaces must not be examined each time.
#[derive(Debug, Default)]
struct Changed {
    all: bool,
    names: BTreeSet<String>,
}

impl LinkTable {
    /// Watches these interfaces instead of those before. An interface that was watched before is reported again only if its
    /// state changes, or if it is watched for other families or sources than before.
    pub(crate) fn watch(&mut self, list: Vec<Watched>) {
        let mut before = std::mem::take(&mut self.watched);
        for watched in list {
            let looks_at = |watched: &Watched| (watched.families.clone(), watched.sources.clone());
            let same = before.remove(&watched.interface).filter(|(old, _)| looks_at(old) == looks_at(&watched));
            let reported = same.and_then(|(_, reported)| reported);
            self.watched.insert(watched.interface.clone(), (watched, reported));
        }
        self.changed.all = true;
    }

    /// Takes in one notification; [`LinkTable::news`] returns what it changed.
    pub(crate) fn apply(&mut self, change: Change) {
        let (index, address) = match &change {
            Change::Link(link) => {
                self.changed.names.insert(link.name.clone());
                (link.index, None)
            }
            Change::LinkGone { index } => {
                // Its addresses go with it, and one of them may be a source of another.
                self.changed.all = true;
                (*index, None)
            }
            Change::Address(held) | Change::AddressGone(held) => (held.index, Some(held.address)),
        };
        // After a new name, under its old one.
        self.changed.names.extend(self.kernel.link(index).map(|link| link.name.clone()));
        if let Some(address) = address {
            let uses_it = self.watched.values().filter(|(watched, _)| watched.sources.contains(&address));
            self.changed.names.extend(uses_it.map(|(watched, _)| watched.interface.clone()));
        }
        self.kernel.apply(change);
    }

    /// Takes in a full dump, at the start and after notifications were lost.
    pub(crate) fn replace(&mut self, links: Vec<Link>, addresses: Vec<HeldAddress>) {
        self.kernel.replace(links, addresses);
        self.changed.all = true;
    }

    /// Returns the states that differ from those reported last: of watched interfaces, and of all. Call it when no more
    /// notifications are queued, so that states that are over already are not reported.
    pub(crate) fn news(&mut self) -> (Vec<LinkEvent>, Vec<CarrierEvent>) {
        let Changed { all, mut names } = std::mem::take(&mut self.changed);
        if all {
            names.extend(self.watched.keys().chain(self.carriers.keys()).cloned());
            names.extend(self.kernel.links().map(|link| link.name.clone()));
        }
        let (mut states, mut carriers) = (Vec::new(), Vec::new());
        for interface in names {
            let link = self.kernel.link_named(&interface);
            if let Some((watched, reported)) = self.watched.get_mut(&interface) {
                let state = state(link, &self.kernel, watched);
                if reported.as_ref() != Some(&state) {
                    *reported = Some(state.clone());
                    states.push(LinkEvent { interface: interface.clone(), state });
                }
            }
            let carrier = link.map_or(Carrier::Missing, carrier);
            let before = match carrier {
                Carrier::Missing => self.carriers.remove(&interface),
                Carrier::Up | Carrier::Down(_) => self.carriers.insert(interface.clone(), carrier),
            };
            if before.unwrap_or(Carrier::Missing) != carrier {
                carriers.push(CarrierEvent { interface, carrier });
            }
        }
        (states, carriers)
    }
}

fn carrier(link: &Link) -> Carrier {
    match (link.running, link.enabled) {
        (true, _) => Carrier::Up,
        (false, true) => Carrier::Down(DownReason::NoCarrier),
        (false, false) => Carrier::Down(DownReason::SwitchedOff),
    }
}

fn state(link: Option<&Link>, kernel: &KernelState, watched: &Watched) -> LinkState {
    let Some(link) = link else { return LinkState::Missing };
    let (index, mac) = (link.index, link.mac);
    let is_usable = |held: &&HeldAddress| {
        held.protocol != OUR_PROTOCOL && !held.tentative && watched.families.contains(&Family::of(held.address))
    };
    let mut own: Vec<_> = kernel.on(index).filter(is_usable).collect();
    // A virtual address without our mark is the address owner's, or on a kernel that keeps no marks. A secondary address,
    // or one of link scope, is not the primary one while there is another. The sort is stable.
    own.sort_by_key(|address| (watched.addresses.contains(&address.address), address.secondary, address.scope));
    let mut addresses: Vec<_> = own.iter().map(|address| address.address).collect();
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
    let elsewhere = |source: &&IpAddr| {
        !addresses.contains(source) && kernel.addresses().filter(is_usable).any(|held| held.address == **source)
    };
    let elsewhere: Vec<_> = watched.sources.iter().filter(elsewhere).copied().collect();
    addresses.extend(elsewhere);
    match carrier(link) {
        Carrier::Down(reason) => LinkState::Down { index, reason, mac, sources, addresses },
        Carrier::Up | Carrier::Missing => LinkState::Up { index, mac, sources, addresses },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const MAC: Option<[u8; 6]> = Some([2, 0, 0, 0, 0, 1]);
    const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
    const PRIMARY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    const GLOBAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

    fn link(index: u32, enabled: bool, running: bool) -> Link {
        Link { index, name: "eth0".into(), enabled, running, mac: MAC, promotes: false, ..Link::default() }
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
        table.news().0
    }

    fn replace(table: &mut LinkTable, links: Vec<Link>, addresses: Vec<HeldAddress>) -> Vec<LinkEvent> {
        table.replace(links, addresses);
        table.news().0
    }

    fn watching() -> LinkTable {
        watching_for(&[Family::V4], VIRTUAL)
    }

    fn watching_for(families: &[Family], address: IpAddr) -> LinkTable {
        let mut table = LinkTable::default();
        let families = families.iter().copied().collect();
        let list = vec![Watched {
            interface: "eth0".into(),
            families,
            addresses: BTreeSet::from([address]),
            sources: BTreeSet::new(),
        }];
        table.watch(list);
        assert_eq!(table.news().0, [state_event(LinkState::Missing)]);
        table
    }

    #[test]
    fn interface_is_reported_at_each_step_of_coming_up() {
        let mut table = watching();
        let down = |reason| {
            let (sources, addresses) = (Sources::default(), Vec::new());
            state_event(LinkState::Down { index: 5, reason, mac: MAC, sources, addresses })
        };
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
            sources: BTreeSet::new(),
        };
        table.watch(vec![watched("eth0"), watched("eth1")]);
        assert_eq!(table.news().0, [LinkEvent { interface: "eth1".into(), state: LinkState::Missing }]);
    }

    #[test]
    fn state_that_is_over_already_is_not_reported() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        table.apply(Change::AddressGone(held(PRIMARY)));
        table.apply(Change::Address(held(PRIMARY)));
        assert_eq!(table.news().0, []);
    }

    #[test]
    fn address_of_an_interface_that_is_down_is_reported() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        let events = apply(&mut table, Change::Link(link(5, true, false)));
        let [LinkEvent { state: LinkState::Down { sources, addresses, .. }, .. }] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!((sources.of(Family::V4), addresses.as_slice()), (Some(PRIMARY), &[PRIMARY][..]));
    }

    #[test]
    fn configured_source_on_another_interface_is_reported_when_it_comes_and_goes() {
        let source = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
        let mut table = LinkTable::default();
        table.watch(vec![Watched {
            interface: "eth0".into(),
            families: BTreeSet::from([Family::V4]),
            addresses: BTreeSet::new(),
            sources: BTreeSet::from([source]),
        }]);
        let loopback = Link { name: "lo".into(), ..link(1, true, true) };
        replace(&mut table, vec![loopback, link(5, true, true)], vec![held(PRIMARY)]);
        let on_loopback = HeldAddress { index: 1, ..held(source) };
        assert_eq!(apply(&mut table, Change::Address(on_loopback.clone())), [up(&[PRIMARY, source])]);
        assert_eq!(apply(&mut table, Change::AddressGone(on_loopback.clone())), [up(&[PRIMARY])]);
        assert_eq!(apply(&mut table, Change::Address(on_loopback)), [up(&[PRIMARY, source])]);
        assert_eq!(apply(&mut table, Change::LinkGone { index: 1 }), [up(&[PRIMARY])]);
    }

    #[test]
    fn carrier_of_every_interface_is_reported_once_under_its_present_name() {
        let event = |interface: &str, carrier| CarrierEvent { interface: interface.into(), carrier };
        let mut table = LinkTable::default();
        table.replace(vec![link(5, true, true)], vec![held(PRIMARY)]);
        assert_eq!(table.news().1, [event("eth0", Carrier::Up)]);
        table.apply(Change::Address(held(OTHER)));
        assert_eq!(table.news().1, []);
        table.apply(Change::Link(link(5, true, false)));
        assert_eq!(table.news().1, [event("eth0", Carrier::Down(DownReason::NoCarrier))]);
        table.apply(Change::Link(Link { name: "lan".into(), ..link(5, false, false) }));
        let renamed = [event("eth0", Carrier::Missing), event("lan", Carrier::Down(DownReason::SwitchedOff))];
        assert_eq!(table.news().1, renamed);
        // Another interface takes the old name before the first one goes.
        table.apply(Change::Link(link(6, true, true)));
        table.apply(Change::LinkGone { index: 5 });
        assert_eq!(table.news().1, [event("eth0", Carrier::Up), event("lan", Carrier::Missing)]);
        table.replace(vec![], vec![]);
        assert_eq!(table.news().1, [event("eth0", Carrier::Missing)]);
    }
}
