//! The kernel's links and addresses, as its dumps and notifications report them. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::netlink::{Change, HeldAddress, Link};

/// A copy of the kernel's links and addresses.
#[derive(Debug, Default)]
pub(crate) struct KernelState {
    links: BTreeMap<u32, Link>,
    /// The index of each name: a host may have a thousand interfaces.
    names: BTreeMap<String, u32>,
    /// By interface and in the kernel's order, oldest first.
    addresses: BTreeMap<Slot, HeldAddress>,
    /// Where each address is: an interface may have thousands.
    slots: BTreeMap<IpAddr, Vec<Slot>>,
    /// How many addresses were ever added.
    count: u64,
}

/// An interface's index, and a number that grows with each address.
type Slot = (u32, u64);

impl KernelState {
    /// Takes in one notification.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Link(link) => {
                self.forget_name(link.index);
                self.names.insert(link.name.clone(), link.index);
                self.links.insert(link.index, link);
            }
            Change::LinkGone { index } => {
                self.forget_name(index);
                let gone: Vec<_> = self.on(index).cloned().collect();
                gone.iter().for_each(|address| self.forget(address));
                self.links.remove(&index);
            }
            Change::Address(address) => {
                let slot = self.slot(&address).unwrap_or_else(|| self.new_slot(&address));
                // Its lease was renewed, or it became the primary address of its subnet, or it is new.
                self.addresses.insert(slot, address);
            }
            Change::AddressGone(address) => self.forget(&address),
        }
    }

    /// Takes in a full dump, at the start and after notifications were lost.
    pub(crate) fn replace(&mut self, links: Vec<Link>, addresses: Vec<HeldAddress>) {
        self.names = links.iter().map(|link| (link.name.clone(), link.index)).collect();
        self.links = links.into_iter().map(|link| (link.index, link)).collect();
        self.addresses.clear();
        self.slots.clear();
        for address in addresses {
            let slot = self.new_slot(&address);
            self.addresses.insert(slot, address);
        }
    }

    /// Where an address is that the kernel takes for the same.
    fn slot(&self, address: &HeldAddress) -> Option<Slot> {
        let is_it = |slot: &&Slot| self.addresses.get(slot).is_some_and(|other| other.is_same(address));
        self.slots.get(&address.address)?.iter().find(is_it).copied()
    }

    /// A place behind the other addresses of the interface.
    fn new_slot(&mut self, address: &HeldAddress) -> Slot {
        self.count += 1;
        let slot = (address.index, self.count);
        self.slots.entry(address.address).or_default().push(slot);
        slot
    }

    fn forget(&mut self, address: &HeldAddress) {
        let Some(gone) = self.slot(address) else { return };
        self.addresses.remove(&gone);
        if let Some(slots) = self.slots.get_mut(&address.address) {
            slots.retain(|slot| *slot != gone);
            if slots.is_empty() {
                self.slots.remove(&address.address);
            }
        }
    }

    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    pub(crate) fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.get(self.names.get(name)?)
    }

    /// Forgets the name of a link that is gone or renamed, unless another link has it by now.
    fn forget_name(&mut self, index: u32) {
        if let Some(link) = self.links.get(&index)
            && self.names.get(&link.name) == Some(&index)
        {
            self.names.remove(&link.name);
        }
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The addresses of all interfaces.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &HeldAddress> {
        self.addresses.values()
    }

    /// The addresses on an interface, oldest first.
    pub(crate) fn on(&self, index: u32) -> impl Iterator<Item = &HeldAddress> {
        self.addresses.range((index, 0)..=(index, u64::MAX)).map(|(_, address)| address)
    }

    /// The copies of one address, on whatever interfaces and with whatever prefixes.
    pub(crate) fn copies(&self, address: IpAddr) -> impl Iterator<Item = &HeldAddress> {
        self.slots.get(&address).into_iter().flatten().filter_map(|slot| self.addresses.get(slot))
    }
}
