//! What is known about links and addresses, and which news of it matter to a router. Pure: fed by the watcher's thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use crate::mirror::Mirror;
use crate::netlink::{Change, HeldAddress, Link, OUR_PROTOCOL};

/// An interface of interest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name. It need not exist yet.
    pub interface: String,
    /// The virtual addresses of all instances on it: never taken as the interface's own address while it has another.
    pub addresses: BTreeSet<Ipv4Addr>,
}

/// What an interface can do for a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// It works.
    Up {
        /// Interface index; another one means that the interface was deleted and created again: re-open its socket.
        index: u32,
        /// MAC address, `None` for what is no Ethernet (loopback, tunnels).
        mac: Option<[u8; 6]>,
        /// The primary address: what advertisements are sent from.
        source: Ipv4Addr,
        /// All addresses that are not ours, the primary first: a configured source must be one of them.
        addresses: Vec<Ipv4Addr>,
    },
    /// It is up but has no IPv4 address of its own.
    NoAddress {
        /// As in `Up`.
        index: u32,
        /// As in `Up`.
        mac: Option<[u8; 6]>,
    },
    /// It exists but can't carry anything.
    Down {
        /// As in `Up`.
        index: u32,
        /// Why.
        reason: DownReason,
    },
    /// There is no interface of that name.
    Missing,
}

/// Why an interface is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    /// It is switched off (`ip link set … down`).
    SwitchedOff,
    /// It is on, but there is no carrier: cable, switch port, or the device below it.
    NoCarrier,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { source, .. } => write!(f, "up, address {source}"),
            Self::NoAddress { .. } => f.write_str("up, but without an IPv4 address of its own"),
            Self::Down { reason: DownReason::SwitchedOff, .. } => f.write_str("switched off"),
            Self::Down { reason: DownReason::NoCarrier, .. } => f.write_str("no carrier"),
            Self::Missing => f.write_str("does not exist"),
        }
    }
}

/// News about a watched interface: its state is now this. The first one comes for every interface as soon as it is
/// watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkEvent {
    /// Its name.
    pub interface: String,
    /// What it can do now.
    pub state: LinkState,
}

/// All links and IPv4 addresses, and what was last told about the watched ones.
#[derive(Debug, Default)]
pub(crate) struct LinkTable {
    mirror: Mirror,
    watched: BTreeMap<String, (BTreeSet<Ipv4Addr>, Option<LinkState>)>,
}

impl LinkTable {
    /// Watches these interfaces instead of those before. Those that go on being watched are told again only if what is
    /// known of them changes by it.
    pub(crate) fn watch(&mut self, list: Vec<Watched>) {
        let mut before = std::mem::take(&mut self.watched);
        for Watched { interface, addresses } in list {
            let told = before.remove(&interface).and_then(|(_, told)| told);
            self.watched.insert(interface, (addresses, told));
        }
    }

    /// Takes in one notification; [`LinkTable::news`] tells what it changed.
    pub(crate) fn apply(&mut self, change: Change) {
        self.mirror.apply(change);
    }

    /// Takes in a full dump, at the start and when notifications were lost.
    pub(crate) fn replace(&mut self, links: Vec<Link>, addresses: Vec<HeldAddress>) {
        self.mirror.replace(links, addresses);
    }

    /// What differs from what was told last. Asked for when nothing more is queued, so that states which are over
    /// already are not told.
    pub(crate) fn news(&mut self) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        let Self { mirror, watched } = self;
        for (interface, (virtual_addresses, told)) in watched {
            let link = mirror.link_named(interface);
            let held = link.map_or(&[][..], |link| mirror.on(link.index));
            let state = state(link, held, virtual_addresses);
            if told.as_ref() != Some(&state) {
                *told = Some(state.clone());
                events.push(LinkEvent { interface: interface.clone(), state });
            }
        }
        events
    }
}

fn state(link: Option<&Link>, held: &[HeldAddress], virtual_addresses: &BTreeSet<Ipv4Addr>) -> LinkState {
    let Some(link) = link else { return LinkState::Missing };
    let (index, mac) = (link.index, link.mac);
    if !link.running {
        let reason = if link.enabled { DownReason::NoCarrier } else { DownReason::SwitchedOff };
        return LinkState::Down { index, reason };
    }
    let mut own: Vec<_> = held.iter().filter(|address| address.protocol != OUR_PROTOCOL).collect();
    // A virtual address without our mark is the address owner's, or of a kernel that keeps no mark. A secondary address
    // is never the primary one while there is another; nor is one that is valid on this link only. The sort is stable.
    own.sort_by_key(|address| (virtual_addresses.contains(&address.address), address.secondary, address.scope));
    let addresses: Vec<_> = own.iter().map(|address| address.address).collect();
    match addresses.first() {
        Some(&source) => LinkState::Up { index, mac, source, addresses },
        None => LinkState::NoAddress { index, mac },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Option<[u8; 6]> = Some([2, 0, 0, 0, 0, 1]);
    const VIRTUAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
    const PRIMARY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    fn link(index: u32, enabled: bool, running: bool) -> Link {
        Link { index, name: "eth0".into(), enabled, running, mac: MAC, promotes: false }
    }

    fn held(address: Ipv4Addr) -> HeldAddress {
        HeldAddress {
            index: 5,
            address,
            prefix: 24,
            peer: None,
            scope: 0,
            secondary: false,
            permanent: true,
            protocol: 0,
        }
    }

    fn up(addresses: &[Ipv4Addr]) -> LinkEvent {
        state_event(LinkState::Up { index: 5, mac: MAC, source: addresses[0], addresses: addresses.to_vec() })
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
        let mut table = LinkTable::default();
        let list = vec![Watched { interface: "eth0".into(), addresses: BTreeSet::from([VIRTUAL]) }];
        table.watch(list);
        assert_eq!(table.news(), [state_event(LinkState::Missing)]);
        table
    }

    #[test]
    fn an_interface_is_told_as_it_comes_up_step_by_step() {
        let mut table = watching();
        let down = |reason| state_event(LinkState::Down { index: 5, reason });
        assert_eq!(apply(&mut table, Change::Link(link(5, false, false))), [down(DownReason::SwitchedOff)]);
        assert_eq!(apply(&mut table, Change::Link(link(5, true, false))), [down(DownReason::NoCarrier)]);
        assert_eq!(
            apply(&mut table, Change::Link(link(5, true, true))),
            [state_event(LinkState::NoAddress { index: 5, mac: MAC })]
        );
        assert_eq!(apply(&mut table, Change::Address(held(PRIMARY))), [up(&[PRIMARY])]);
        assert_eq!(apply(&mut table, Change::LinkGone { index: 5 }), [state_event(LinkState::Missing)]);
    }

    #[test]
    fn a_renewed_lease_is_no_news() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        let ours = HeldAddress { protocol: OUR_PROTOCOL, prefix: 32, ..held(VIRTUAL) };
        assert_eq!(apply(&mut table, Change::Address(ours.clone())), []);
        assert_eq!(apply(&mut table, Change::Address(ours)), []);
    }

    #[test]
    fn the_source_is_the_primary_address_and_none_of_ours() {
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
    fn row_4_another_primary_address_is_told() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY), held(OTHER)]);
        assert_eq!(apply(&mut table, Change::AddressGone(held(PRIMARY))), [up(&[OTHER])]);
    }

    #[test]
    fn a_renamed_interface_is_missing_under_its_old_name() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        let renamed = Link { name: "lan".into(), ..link(5, true, true) };
        assert_eq!(apply(&mut table, Change::Link(renamed)), [state_event(LinkState::Missing)]);
        assert_eq!(apply(&mut table, Change::Link(link(5, true, true))), [up(&[PRIMARY])]);
    }

    #[test]
    fn a_recreated_interface_shows_its_new_index() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        apply(&mut table, Change::LinkGone { index: 5 });
        let expected = LinkState::NoAddress { index: 6, mac: MAC };
        assert_eq!(apply(&mut table, Change::Link(link(6, true, true))), [state_event(expected)]);
    }

    #[test]
    fn watching_another_list_tells_only_what_is_new() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        let watched = |interface: &str| Watched { interface: interface.into(), addresses: BTreeSet::new() };
        table.watch(vec![watched("eth0"), watched("eth1")]);
        assert_eq!(table.news(), [LinkEvent { interface: "eth1".into(), state: LinkState::Missing }]);
    }

    #[test]
    fn a_state_that_is_over_already_is_not_told() {
        let mut table = watching();
        replace(&mut table, vec![link(5, true, true)], vec![held(PRIMARY)]);
        table.apply(Change::AddressGone(held(PRIMARY)));
        table.apply(Change::Address(held(PRIMARY)));
        assert_eq!(table.news(), []);
    }
}
