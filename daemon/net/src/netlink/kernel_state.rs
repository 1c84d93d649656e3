//! The kernel's links and addresses, as its dumps and notifications report them. Pure.

use std::collections::BTreeMap;

use crate::netlink::{Change, HeldAddress, Link};

/// A copy of the kernel's links and addresses.
#[derive(Debug, Default)]
pub(crate) struct KernelState {
    links: BTreeMap<u32, Link>,
    /// The index of each name: a host may have a thousand interfaces.
    names: BTreeMap<String, u32>,
    /// In the kernel's order, oldest first.
    addresses: BTreeMap<u32, Vec<HeldAddress>>,
}

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
                self.addresses.remove(&index);
                self.links.remove(&index);
            }
            Change::Address(address) => {
                let held = self.addresses.entry(address.index).or_default();
                match held.iter_mut().find(|other| other.is_same(&address)) {
                    // Its lease was renewed, or it became the primary address of its subnet.
                    Some(other) => *other = address,
                    None => held.push(address),
                }
            }
            Change::AddressGone(address) => {
                if let Some(held) = self.addresses.get_mut(&address.index) {
                    held.retain(|other| !other.is_same(&address));
                }
            }
        }
    }

    /// Takes in a full dump, at the start and after notifications were lost.
    pub(crate) fn replace(&mut self, links: Vec<Link>, addresses: Vec<HeldAddress>) {
        self.names = links.iter().map(|link| (link.name.clone(), link.index)).collect();
        self.links = links.into_iter().map(|link| (link.index, link)).collect();
        self.addresses.clear();
        for address in addresses {
            self.addresses.entry(address.index).or_default().push(address);
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
        self.addresses.values().flatten()
    }

    /// The addresses on an interface, oldest first.
    pub(crate) fn on(&self, index: u32) -> &[HeldAddress] {
        self.addresses.get(&index).map_or(&[], Vec::as_slice)
    }
}
