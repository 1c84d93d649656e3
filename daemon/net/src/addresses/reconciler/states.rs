//! What is reported of addresses: their states, what happened to them, and where to announce them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Placement, Reconciler};
use crate::addresses::command::{Claim, InstanceKey, VirtualAddress};
use crate::addresses::report::{AddressChange, AddressError, AddressState, HostCopy, Presence};

impl Reconciler {
    /// The states of all addresses of an instance, in the order of its claim.
    pub(crate) fn states(&self, instance: &InstanceKey) -> Vec<AddressState> {
        let Some(claim) = self.claim(instance) else { return Vec::new() };
        claim.addresses.iter().map(|address| self.state(claim, address)).collect()
    }

    fn state(&self, claim: &Claim, address: &VirtualAddress) -> AddressState {
        let copies = self.copies(address);
        let placement = self.placement(address);
        let presence = match placement {
            Some(placement) if self.ours.contains_key(&placement) => Presence::Ours,
            Some(placement) if self.is_served_by_host(claim, placement, &copies) => Presence::Host,
            Some(_) | None => Presence::Absent,
        };
        let error = match (placement, copies.iter().find(|copy| copy.own)) {
            (None, _) if claim.lifetime.is_some() => Some(AddressError::NoInterface(Arc::clone(&address.interface))),
            (Some(_), Some(copy)) if !claim.owner => Some(AddressError::OwnAddress(copy.at.clone())),
            (Some(_) | None, _) => self.errors.get(address).cloned(),
        };
        let copies = [copies, self.copies_elsewhere(claim, address)].concat();
        AddressState { address: address.clone(), presence, error, copies }
    }

    /// Whether the host has the address itself, so that nothing has to be added.
    pub(super) fn is_served_by_host(&self, claim: &Claim, placement: Placement, copies: &[HostCopy]) -> bool {
        if claim.owner {
            return !copies.is_empty();
        }
        if placement.address.is_ipv6() {
            // To the kernel it is the same address with any prefix.
            return !claim.adopt && !copies.is_empty();
        }
        !claim.adopt
            && copies.iter().any(|copy| copy.at.prefix == placement.prefix)
            && self.held(placement).is_some_and(|held| self.is_the_hosts(held))
    }

    /// Whether there are changes to take.
    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Takes the changes since the last call, by instance; instances that are gone included.
    pub(crate) fn take_changes(&mut self) -> BTreeMap<InstanceKey, Vec<AddressChange>> {
        std::mem::take(&mut self.changes)
    }

    /// Takes the addresses that the keeper has to announce and that are there, with the MAC address of their interface.
    pub(crate) fn take_returned(&mut self) -> Vec<(Placement, [u8; 6])> {
        let returned = std::mem::take(&mut self.returned);
        let target = |placement: Placement| Some((placement, self.kernel.link(placement.index)?.mac?));
        returned.into_iter().filter(|placement| self.is_there(*placement)).filter_map(target).collect()
    }

    /// The interface from which to announce an address: its index and, for Ethernet, its MAC address.
    pub(crate) fn target(&self, address: &VirtualAddress) -> Result<(u32, Option<[u8; 6]>), AddressError> {
        let link = self
            .kernel
            .link_named(&address.interface)
            .ok_or_else(|| AddressError::NoInterface(Arc::clone(&address.interface)))?;
        let is_there = self.kernel.copies(address.address).any(|held| held.index == link.index);
        if is_there { Ok((link.index, link.mac)) } else { Err(AddressError::NotInstalled) }
    }
}
