//! The plan: the difference between what is wanted and what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::copies::network;
use super::{Installed, Operation, Placement, RENEWAL_PAUSE, Reconciler};
use vouchd_wire::Time;

use crate::addresses::attributes::AddressAttributes;
use crate::addresses::command::{Claim, InstanceKey};
use crate::addresses::lease::Lifetime;
use crate::netlink::OUR_PROTOCOL;

/// What active instances want of one address.
struct Wanted {
    lifetimes: Vec<Lifetime>,
    /// One of the instances takes over copies.
    adopt: bool,
    attributes: Arc<AddressAttributes>,
}

impl Wanted {
    /// Whether an address of ours has other attributes and can only be removed and added again.
    fn has_to_be_replaced(&self, placement: Placement, installed: &Installed) -> bool {
        !installed.attributes.change_in_place(&self.attributes, placement.address)
    }

    /// The longest of the lifetimes, as `seconds` converts them.
    fn longest(&self, seconds: impl Fn(&Lifetime) -> Option<u32>) -> Option<u32> {
        self.lifetimes.iter().filter_map(seconds).max()
    }

    fn is_exceeded(&self, installed: &Installed) -> bool {
        let late = |lifetime: &Lifetime| match lifetime {
            Lifetime::Until(_) => lifetime.is_exceeded(installed.renewed, installed.seconds),
            Lifetime::Forever { start_before } => installed.added > *start_before,
        };
        self.lifetimes.iter().all(late)
    }
}

impl Reconciler {
    /// Returns the next operations. The caller carries them out and asks again, until there are none: then everything is as
    /// wanted, or was refused.
    pub(crate) fn plan(&self, now: Time) -> Vec<Operation> {
        let wants = self.wants();
        let mut operations = self.additions(now, &wants);
        operations.extend(self.removals(now, &wants));
        operations.extend(self.adopted_removals(&wants));
        operations.retain(|operation| !self.refused.contains(&operation.placement()));
        let mut promotions = self.promotions(&operations);
        promotions.extend(operations);
        promotions
    }

    /// What an instance needs whose lease is renewed, if nothing else is to be done for it: its addresses are there, and ours.
    /// `None` if that takes a [`plan`](Self::plan).
    pub(crate) fn renewals(&self, now: Time, instance: &InstanceKey) -> Option<Vec<Operation>> {
        let claim = self.claims.get(instance).filter(|claimed| claimed.settled).map(|claimed| &claimed.claim)?;
        let lifetime = claim.lifetime?;
        let mut operations = Vec::new();
        for address in claim.addresses.iter() {
            let placement = self.placement(address)?;
            let attributes = self.attributes(placement);
            let want = Wanted { lifetimes: vec![lifetime], adopt: claim.adopt, attributes };
            let is_as_wanted =
                |installed: &&Installed| !want.is_exceeded(installed) && installed.attributes == want.attributes;
            let installed = self.ours.get(&placement).filter(is_as_wanted)?;
            operations.extend(renewal(now, placement, installed, &want));
        }
        Some(operations)
    }

    /// The addresses that active instances want added, without those that the host has itself.
    fn wants(&self) -> BTreeMap<Placement, Wanted> {
        let mut wants: BTreeMap<Placement, Wanted> = BTreeMap::new();
        for claimed in self.claims.values() {
            let claim = &claimed.claim;
            let Some(lifetime) = claim.lifetime else { continue };
            for address in claim.addresses.iter() {
                let Some(placement) = self.placement(address) else { continue };
                let copies = self.copies(address);
                let own = !claim.owner && copies.iter().any(|copy| copy.own);
                if own || self.is_served_by_host(claim, placement, &copies) {
                    continue;
                }
                let want = wants.entry(placement).or_insert_with(|| {
                    let attributes = self.attributes(placement);
                    Wanted { lifetimes: Vec::new(), adopt: false, attributes }
                });
                want.lifetimes.push(lifetime);
                want.adopt |= claim.adopt;
            }
        }
        wants
    }

    fn additions(&self, now: Time, wants: &BTreeMap<Placement, Wanted>) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (placement, want) in wants {
            let placement = *placement;
            match (self.ours.get(&placement), self.held(placement)) {
                (Some(installed), _) if want.has_to_be_replaced(placement, installed) => {}
                (Some(installed), _) if *installed.attributes != *want.attributes => {
                    let seconds = want.longest(|lifetime| lifetime.seconds_left(now).ok());
                    operations.extend(seconds.map(|seconds| Operation::Renew { placement, seconds }));
                }
                (Some(installed), _) => operations.extend(renewal(now, placement, installed, want)),
                (None, Some(held)) => {
                    // A marked one is of an earlier run. Any other is the host's.
                    let take = held.protocol == OUR_PROTOCOL || want.adopt;
                    let seconds = want.longest(|lifetime| lifetime.seconds_left(now).ok());
                    operations.extend(seconds.filter(|_| take).map(|seconds| Operation::Renew { placement, seconds }));
                }
                // The next round adds it, once what blocks it is removed.
                (None, None) if self.is_blocked(placement) => {}
                (None, None) => {
                    let seconds = want.longest(|lifetime| lifetime.seconds_left(now).ok());
                    operations.extend(seconds.map(|seconds| Operation::Add { placement, seconds }));
                }
            }
        }
        operations
    }

    fn removals(&self, now: Time, wants: &BTreeMap<Placement, Wanted>) -> Vec<Operation> {
        let is_surplus = |placement: &Placement, installed: &Installed| match wants.get(placement) {
            // The kernel has no other way to change them. The next round adds it again.
            Some(want) if want.has_to_be_replaced(*placement, installed) => true,
            // The kernel added it too late.
            Some(want) => {
                want.is_exceeded(installed) && want.longest(|lifetime| lifetime.seconds_left(now).ok()).is_none()
            }
            None if placement.address.is_ipv6() => true,
            // An address that is wanted with another prefix stays until that is there: it is never off the interface.
            None => {
                let mut others =
                    wants.keys().filter(|w| w.index == placement.index && w.address == placement.address).peekable();
                others.peek().is_none() || others.any(|other| self.is_there(*other))
            }
        };
        let surplus = self.ours.iter().filter(|(placement, installed)| is_surplus(placement, installed));
        surplus.map(|(placement, _)| Operation::Remove { placement: *placement }).collect()
    }

    /// Copies that are not vouchd's, of instances that adopt them.
    fn adopted_removals(&self, wants: &BTreeMap<Placement, Wanted>) -> Vec<Operation> {
        let adopting = self.claims.values().map(|claimed| &claimed.claim).filter(|claim| claim.adopt && !claim.owner);
        let mut operations = Vec::new();
        for (claim, address) in adopting.flat_map(|claim| claim.addresses.iter().map(move |address| (claim, address))) {
            let Some(wanted) = self.placement(address) else { continue };
            // While active, only when our own is there, or can't be there before the copy is gone.
            let may = |prefix| {
                let is_in_the_way = wanted.address.is_ipv6() && prefix != wanted.prefix;
                !is_serving(claim) || wants.contains_key(&wanted) && (self.ours.contains_key(&wanted) || is_in_the_way)
            };
            for copy in self.copies(address).iter().filter(|copy| !copy.own && may(copy.at.prefix)) {
                let placement = Placement { prefix: copy.at.prefix, ..wanted };
                if self.is_there(placement) {
                    operations.push(Operation::Remove { placement });
                }
            }
        }
        operations
    }

    /// Promotions for interfaces where the kernel would remove the host's addresses together with ours.
    fn promotions(&self, operations: &[Operation]) -> Vec<Operation> {
        let at_risk = self.at_risk();
        let endangers = |placement: &Placement| {
            let is_primary = || self.held(*placement).is_some_and(|held| !held.secondary);
            at_risk.contains(&subnet(placement)) && is_primary()
        };
        let touches = |operation: &&Operation| match operation {
            Operation::Add { placement, .. } | Operation::Remove { placement } => placement.is_in_subnet(),
            Operation::Renew { placement, .. } => placement.is_in_subnet() && endangers(placement),
            Operation::Promote { .. } => false,
        };
        let touched = operations.iter().filter(touches).map(Operation::placement);
        let unsafe_already =
            self.ours.keys().filter(|placement| endangers(placement) && !self.is_known_to_promote(placement.index));
        let mut seen = BTreeSet::new();
        touched
            .chain(unsafe_already.copied())
            .filter(|placement| !self.promoting.contains_key(&placement.index) && seen.insert(placement.index))
            .map(|placement| Operation::Promote { placement })
            .collect()
    }

    fn is_known_to_promote(&self, index: u32) -> bool {
        self.kernel.link(index).is_some_and(|link| link.promotes)
    }

    /// The subnets in which the host has secondary addresses. If an address of ours is the primary one there, they go with it
    /// unless `promote_secondaries` is set.
    fn at_risk(&self) -> BTreeSet<(u32, u8, IpAddr)> {
        let secondary = self.kernel.addresses().filter(|held| held.secondary && self.is_the_hosts(held));
        secondary.map(|held| subnet(&Placement::of(held))).collect()
    }
}

fn subnet(placement: &Placement) -> (u32, u8, IpAddr) {
    (placement.index, placement.prefix, network(placement.address, placement.prefix))
}

fn is_serving(claim: &Claim) -> bool {
    claim.lifetime.is_some()
}

/// The renewal of an address of ours, if it is due.
fn renewal(now: Time, placement: Placement, installed: &Installed, want: &Wanted) -> Option<Operation> {
    if want.is_exceeded(installed) {
        let seconds = want.longest(|lifetime| lifetime.seconds_left(now).ok())?;
        return Some(Operation::Renew { placement, seconds });
    }
    let seconds = want.longest(|lifetime| lifetime.seconds(now).ok())?;
    if seconds == u32::MAX || installed.seconds == u32::MAX {
        return (seconds != installed.seconds).then_some(Operation::Renew { placement, seconds });
    }
    let end = |start: Time, seconds: u32| start + std::time::Duration::from_secs(u64::from(seconds));
    let is_due =
        now.since(installed.renewed) >= RENEWAL_PAUSE && end(now, seconds) > end(installed.renewed, installed.seconds);
    is_due.then_some(Operation::Renew { placement, seconds })
}
