//! The model of virtual addresses: what this daemon installed on which interface, and what its instances want there.
//!
//! Commands change what is wanted, the kernel's notifications what is there, and [`Reconciler::plan`] is the difference:
//! an address that stays is never touched, an IPv4 address whose prefix changes is there with the new one before the old one
//! goes (the kernel can't do that for IPv6), and an address that nobody wants any more goes, wherever it is. Pure: the keeper's thread carries the plan out.
//!
//! An address is ours if this daemon installed it and nobody has replaced it since. A mark ([`OUR_PROTOCOL`]) alone may be
//! another daemon's. An address that is neither ours nor marked is the host's: it is never removed, marked or given a
//! lifetime, unless the instance adopts it, and an interface's own address not even then.

mod copies;
mod outcome;
mod plan;
mod states;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use vouchd_wire::Time;

use crate::addresses::attributes::AddressAttributes;
use crate::addresses::command::{Claim, InstanceKey, VirtualAddress, is_in_subnet};
use crate::addresses::lease::Lifetime;
use crate::addresses::report::{AddressChange, AddressError};
use crate::netlink::{Change, HeldAddress, KernelState, Link, OUR_PROTOCOL};

/// Minimum gap between two renewals of a lease. A lease counts whole seconds, so a shorter gap would gain nothing.
const RENEWAL_PAUSE: Duration = Duration::from_millis(250);

/// An address with its interface and prefix, as the kernel identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Placement {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

impl Placement {
    fn is_in_subnet(&self) -> bool {
        is_in_subnet(self.address, self.prefix)
    }

    /// The kernel could have the same address with several peers. It is one here.
    fn of(held: &HeldAddress) -> Self {
        Self { index: held.index, address: held.address, prefix: held.prefix }
    }
}

/// One step towards what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Set `promote_secondaries`, so that the other addresses of a subnet outlive its primary one.
    Promote { placement: Placement },
    /// Add an address that is not there.
    Add { placement: Placement, seconds: u32 },
    /// Renew an address of ours, or make one ours that is there.
    Renew { placement: Placement, seconds: u32 },
    /// Remove an address of ours, or an adopted copy.
    Remove { placement: Placement },
}

impl Operation {
    pub(crate) fn placement(&self) -> Placement {
        match *self {
            Self::Promote { placement }
            | Self::Add { placement, .. }
            | Self::Renew { placement, .. }
            | Self::Remove { placement } => placement,
        }
    }
}

/// An address of ours.
#[derive(Debug, Clone)]
struct Installed {
    /// The instance for which it was installed or renewed last.
    instance: InstanceKey,
    /// The latest time at which the kernel can have added it.
    added: Time,
    /// The latest time at which its lifetime can have started.
    renewed: Time,
    /// Its lifetime; `u32::MAX` is forever.
    seconds: u32,
    attributes: Arc<AddressAttributes>,
}

/// A claim and how far it is carried out.
#[derive(Debug)]
struct ClaimState {
    claim: Claim,
    /// Active, and the first Install is carried out: addresses added from now on have to be announced by the keeper.
    settled: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Reconciler {
    kernel: KernelState,
    ours: BTreeMap<Placement, Installed>,
    claims: BTreeMap<InstanceKey, ClaimState>,
    /// The instances that claim each address, and on which interface: there may be thousands of addresses.
    claimants: BTreeMap<IpAddr, Vec<(InstanceKey, Arc<str>)>>,
    /// Whether this kernel keeps marks; `None` until it has notified of an address of ours.
    keeps_marks: Option<bool>,
    /// Addresses that went without a command while they were wanted: they are announced when they are back.
    missing: BTreeSet<Placement>,
    /// Addresses that came back or were added late, to be announced.
    returned: BTreeSet<Placement>,
    /// The last error for an address, until an operation on it succeeds.
    errors: BTreeMap<VirtualAddress, AddressError>,
    /// Addresses whose operation failed: not tried again before the next command or notification.
    refused: BTreeSet<Placement>,
    /// Interfaces whose `promote_secondaries` was checked since the last command or notification, and whether it is set.
    promoting: BTreeMap<u32, bool>,
    changes: BTreeMap<InstanceKey, Vec<AddressChange>>,
}

impl Reconciler {
    /// Replaces all claims.
    pub(crate) fn configure(&mut self, claims: Vec<Claim>) {
        let mut before = std::mem::take(&mut self.claims);
        for claim in claims {
            let was = before.remove(&claim.instance);
            // The instance announces an address that a reload adds to it, too. Announcing it twice does no harm.
            let settled = claim.lifetime.is_some() && was.is_some_and(|was| was.settled);
            self.claims.insert(claim.instance.clone(), ClaimState { claim, settled });
        }
        self.claimants.clear();
        for claim in self.claims.values().map(|claimed| &claimed.claim) {
            for address in claim.addresses.iter() {
                let claimant = (claim.instance.clone(), Arc::clone(&address.interface));
                self.claimants.entry(address.address).or_default().push(claimant);
            }
        }
        let wanted: BTreeSet<_> =
            self.claims.values().flat_map(|claimed| claimed.claim.addresses.iter()).cloned().collect();
        self.errors.retain(|address, _| wanted.contains(address));
    }

    /// Marks the instance as active. Returns whether it was not before; `None` if there is no such instance.
    pub(crate) fn serve(&mut self, instance: &InstanceKey, lifetime: Lifetime) -> Option<bool> {
        let claimed = self.claims.get_mut(instance)?;
        claimed.claim.lifetime = Some(lifetime);
        Some(!claimed.settled)
    }

    /// Marks the instance as not active.
    pub(crate) fn release(&mut self, instance: &InstanceKey) {
        if let Some(claimed) = self.claims.get_mut(instance) {
            claimed.claim.lifetime = None;
            claimed.settled = false;
            let addresses = &claimed.claim.addresses;
            self.missing.retain(|placement| !addresses.iter().any(|address| address.address == placement.address));
        }
    }

    /// Drops all claims.
    pub(crate) fn release_all(&mut self) {
        self.claims.clear();
        self.claimants.clear();
    }

    /// Starts anew after a command or a notification: operations that failed are tried again.
    pub(crate) fn begin(&mut self) {
        self.refused.clear();
        self.promoting.clear();
    }

    /// Notes that the plan is carried out as far as possible.
    pub(crate) fn settled(&mut self) {
        for claimed in self.claims.values_mut() {
            claimed.settled = claimed.claim.lifetime.is_some();
        }
    }

    /// Takes in a notification; `by_us` if our own request caused it. Returns whether it may change the plan.
    pub(crate) fn apply(&mut self, change: Change, by_us: bool) -> bool {
        let mut matters = !by_us && !self.is_known(&change);
        match &change {
            Change::Address(held) => {
                matters |= self.saw(Placement::of(held), held, by_us);
            }
            Change::AddressGone(held) => {
                matters |= self.lost(Placement::of(held));
            }
            Change::LinkGone { index } => {
                let placements: Vec<_> =
                    self.ours.keys().filter(|placement| placement.index == *index).copied().collect();
                for placement in placements {
                    self.lost(placement);
                }
            }
            Change::Link(_) => {}
        }
        self.kernel.apply(change);
        matters
    }

    /// Whether a notification repeats what is known: of a lease that was renewed, the kernel notifies as of a new address, and
    /// of an IPv6 address it does so by itself.
    fn is_known(&self, change: &Change) -> bool {
        match change {
            Change::Link(link) => self.kernel.link(link.index) == Some(link),
            Change::Address(held) => {
                let placement = Placement::of(held);
                self.ours.contains_key(&placement) && self.held(placement) == Some(held)
            }
            Change::LinkGone { .. } | Change::AddressGone(_) => false,
        }
    }

    /// Takes in a full dump, at the start and after notifications were lost.
    pub(crate) fn replace(&mut self, links: Vec<Link>, addresses: Vec<HeldAddress>) {
        let there: BTreeSet<_> = addresses
            .iter()
            .map(|held| (Placement::of(held), held))
            .filter(|(placement, held)| self.may_be_ours(held, placement))
            .map(|(placement, _)| placement)
            .collect();
        let gone: Vec<_> = self.ours.keys().filter(|placement| !there.contains(placement)).copied().collect();
        for placement in gone {
            self.lost(placement);
        }
        self.kernel.replace(links, addresses);
    }

    /// Takes in that an address is there. Returns whether it was ours and is the host's now.
    fn saw(&mut self, placement: Placement, held: &HeldAddress, by_us: bool) -> bool {
        if held.protocol == OUR_PROTOCOL {
            // Whoever caused it: the kernel notifies of an IPv6 address of ours by itself.
            self.keeps_marks = Some(true);
        } else if by_us {
            self.keeps_marks = Some(false);
        } else if self.ours.contains_key(&placement) && !self.may_be_ours(held, &placement) {
            self.ours.remove(&placement);
            self.missing.remove(&placement);
            return true;
        }
        false
    }

    /// Whether an address of ours can still be ours as the kernel shows it now. Somebody may have replaced it.
    fn may_be_ours(&self, held: &HeldAddress, placement: &Placement) -> bool {
        match self.keeps_marks {
            Some(true) => held.protocol == OUR_PROTOCOL,
            // A lease that became permanent is not ours any more.
            Some(false) | None => {
                !held.permanent || self.ours.get(placement).is_some_and(|installed| installed.seconds == u32::MAX)
            }
        }
    }

    /// Takes in that an address is gone. Returns whether it was ours.
    fn lost(&mut self, placement: Placement) -> bool {
        let Some(installed) = self.ours.remove(&placement) else { return false };
        let address = self.name(placement);
        self.errors.remove(&address);
        self.missing.insert(placement);
        // The kernel removes all IPv6 addresses of an interface that is switched off. That is the interface's news.
        let is_off = self.kernel.link(placement.index).is_some_and(|link| !link.enabled);
        if !(is_off && placement.address.is_ipv6()) {
            self.note(&installed.instance, AddressChange::Lost(address));
        }
        true
    }

    /// The instance that claims the address; an active one if there is one.
    fn claimant(&self, placement: Placement) -> Option<InstanceKey> {
        self.claims_on(placement).first().map(|claim| claim.instance.clone())
    }

    /// The claims on the address, with whatever prefix; those of active instances first.
    fn claims_on(&self, placement: Placement) -> Vec<&Claim> {
        let name = self.kernel.link(placement.index).map(|link| link.name.as_str());
        let claimants = self.claimants.get(&placement.address).into_iter().flatten();
        let on_it = claimants.filter(|(_, interface)| Some(&**interface) == name);
        let mut claims: Vec<_> = on_it.filter_map(|(instance, _)| self.claim(instance)).collect();
        claims.sort_by_key(|claim| claim.lifetime.is_none());
        claims
    }

    /// The address with the present name of its interface.
    pub(crate) fn name(&self, placement: Placement) -> VirtualAddress {
        let interface = match self.kernel.link(placement.index) {
            Some(link) => link.name.as_str().into(),
            None => format!("interface {}", placement.index).into(),
        };
        VirtualAddress { interface, address: placement.address, prefix: placement.prefix }
    }

    fn held(&self, placement: Placement) -> Option<&HeldAddress> {
        self.kernel.copies(placement.address).find(|held| Placement::of(held) == placement)
    }

    /// Whether the kernel can't add an IPv6 address: it has it with another prefix, which does not make it another address
    /// there, or the interface is switched off, where the kernel would not keep it.
    fn is_blocked(&self, placement: Placement) -> bool {
        let is_off = self.kernel.link(placement.index).is_some_and(|link| !link.enabled);
        let is_same = |held: &HeldAddress| held.index == placement.index && held.prefix != placement.prefix;
        placement.address.is_ipv6() && (is_off || self.kernel.copies(placement.address).any(is_same))
    }

    pub(crate) fn is_there(&self, placement: Placement) -> bool {
        self.held(placement).is_some()
    }

    pub(crate) fn placement(&self, address: &VirtualAddress) -> Option<Placement> {
        let index = self.kernel.link_named(&address.interface)?.index;
        Some(Placement { index, address: address.address, prefix: address.prefix })
    }

    /// The attributes that an address shall have: those of an active claim if there is one.
    pub(crate) fn attributes(&self, placement: Placement) -> Arc<AddressAttributes> {
        let address = self.name(placement);
        let found = self.claims_on(placement).into_iter().find_map(|claim| claim.attributes.get(&address).cloned());
        found.unwrap_or_else(|| Arc::new(AddressAttributes::usual(placement.address, placement.prefix)))
    }

    /// The peer that an address has now.
    pub(crate) fn peer(&self, placement: Placement) -> Option<IpAddr> {
        self.held(placement).and_then(|held| held.peer)
    }

    /// The index of an interface.
    pub(crate) fn index_of(&self, interface: &str) -> Option<u32> {
        self.kernel.link_named(interface).map(|link| link.index)
    }

    pub(crate) fn claim(&self, instance: &InstanceKey) -> Option<&Claim> {
        self.claims.get(instance).map(|claimed| &claimed.claim)
    }

    pub(crate) fn kernel(&self) -> &KernelState {
        &self.kernel
    }

    /// The claims, by instance.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.values().map(|claimed| &claimed.claim)
    }

    pub(crate) fn instances(&self) -> Vec<InstanceKey> {
        self.claims.keys().cloned().collect()
    }
}
