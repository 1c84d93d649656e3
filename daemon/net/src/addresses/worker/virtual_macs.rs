//! The virtual MACs' interfaces around the addresses: they are there before an address is added, and go after it.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use super::{ROUNDS, Worker};
use crate::addresses::command::{Claim, VirtualAddress};
use crate::addresses::report::{AddressError, Report};
use crate::netlink::Change;
use crate::virtual_mac::Wanted;

impl Worker {
    fn wanted(&self) -> Vec<Wanted> {
        let wanted = |claim: &Claim| {
            let virtual_mac = claim.virtual_mac.clone()?;
            Some(Wanted { instance: claim.instance.clone(), virtual_mac, active: claim.lifetime.is_some() })
        };
        self.reconciler.claims().filter_map(wanted).collect()
    }

    /// Before the addresses: makes the interfaces, and switches on those of active instances.
    pub(super) fn raise_virtual_macs(&mut self) {
        if !self.virtual_macs.begin() {
            return;
        }
        let wanted = self.wanted();
        for _ in 0..ROUNDS {
            if !self.virtual_macs.raise(&mut self.requests, self.reconciler.kernel(), &wanted) {
                break;
            }
            self.follow();
            for link in self.virtual_macs.take_made() {
                self.reconciler.apply(Change::Link(link), true);
            }
        }
    }

    /// After the addresses: switches off the interfaces of instances that are not active, and removes those that nobody
    /// wants any more.
    pub(super) fn lower_virtual_macs(&mut self) {
        if !self.virtual_macs.is_suspected() {
            return;
        }
        let wanted = self.wanted();
        if self.virtual_macs.lower(&mut self.requests, self.reconciler.kernel(), &wanted) {
            self.follow();
        }
    }

    pub(super) fn report_virtual_macs(&mut self) {
        if !self.virtual_macs.end() {
            return;
        }
        for wanted in self.wanted() {
            let state = self.virtual_macs.state(self.reconciler.kernel(), &wanted);
            if self.reported_macs.get(&wanted.instance) != Some(&state) {
                self.reported_macs.insert(wanted.instance.clone(), state.clone());
                self.report(Report::VirtualMac { instance: wanted.instance, state });
            }
        }
    }

    /// Drops packets to the addresses of instances that do not accept them.
    pub(super) fn filter(&mut self) {
        let closed: Vec<_> = self.reconciler.claims().filter(|claim| !claim.accept && !claim.owner).cloned().collect();
        let addresses: BTreeSet<IpAddr> =
            closed.iter().flat_map(|claim| claim.addresses.iter()).map(|address| address.address).collect();
        let error = self.accept.set(addresses).err().map(not_dropped);
        for claim in closed {
            self.report(Report::Dropping { instance: claim.instance, error: error.clone() });
        }
    }

    /// From where to ask who else has an address: never from the virtual MAC, which belongs to the virtual address alone.
    pub(super) fn asker(&self, claim: &Claim, address: &VirtualAddress) -> Option<(u32, [u8; 6])> {
        let (index, mac) = self.reconciler.target(address).ok()?;
        match claim.virtual_mac.as_ref().filter(|virtual_mac| virtual_mac.name == address.interface) {
            None => Some((index, mac?)),
            Some(virtual_mac) => {
                let parent = self.reconciler.kernel().link_named(&virtual_mac.parent)?;
                Some((parent.index, parent.mac?))
            }
        }
    }
}

fn not_dropped(error: io::Error) -> AddressError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => AddressError::NotPermitted { capability: "CAP_NET_ADMIN" },
        Some(libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => AddressError::NoFilter,
        _ => AddressError::Kernel(Arc::new(error)),
    }
}
