//! What the kernel did with an operation: carried it out or refused it.

use super::{Installed, Operation, Placement, Reconciler};
use vouchd_wire::Time;

use crate::addresses::command::InstanceKey;
use crate::addresses::report::{AddressChange, AddressError};
use crate::netlink::{Change, HeldAddress, OUR_PROTOCOL};

impl Reconciler {
    /// Notes that the kernel has carried out an operation, no later than at `now`.
    pub(crate) fn done(&mut self, now: Time, operation: Operation) {
        let placement = operation.placement();
        match operation {
            Operation::Promote { .. } => {}
            Operation::Add { seconds, .. } => {
                self.note_ipv6(placement, seconds);
                let Some(instance) = self.claimant(placement) else { return };
                let settled = self.claims.get(&instance).is_some_and(|claimed| claimed.settled);
                let back = self.missing.remove(&placement);
                let attributes = self.attributes(placement);
                let installed = Installed { instance: instance.clone(), added: now, renewed: now, seconds, attributes };
                self.ours.insert(placement, installed);
                if back || settled {
                    self.returned.insert(placement);
                }
                self.healed(placement, &instance);
                let address = self.name(placement);
                let change = if back && settled { AddressChange::PutBack } else { AddressChange::Added };
                self.note(&instance, change(address));
            }
            Operation::Renew { seconds, .. } => {
                let Some(instance) = self.claimant(placement) else { return };
                let attributes = self.attributes(placement);
                match self.ours.get_mut(&placement) {
                    Some(installed) => {
                        let added = installed.added;
                        *installed = Installed { instance: instance.clone(), added, renewed: now, seconds, attributes };
                    }
                    None => {
                        let installed =
                            Installed { instance: instance.clone(), added: now, renewed: now, seconds, attributes };
                        self.ours.insert(placement, installed);
                        let was_host = self.held(placement).is_some_and(|held| held.protocol != OUR_PROTOCOL);
                        let address = self.name(placement);
                        let change = if was_host { AddressChange::Adopted } else { AddressChange::Added };
                        self.note(&instance, change(address));
                    }
                }
                self.healed(placement, &instance);
            }
            Operation::Remove { .. } => {
                let address = self.name(placement);
                match self.ours.remove(&placement) {
                    Some(installed) => {
                        self.errors.remove(&address);
                        self.note(&installed.instance, AddressChange::Removed(address));
                    }
                    None => {
                        if let Some(instance) = self.claimant(placement) {
                            self.note(&instance, AddressChange::CopyRemoved(address));
                        }
                    }
                }
            }
        }
    }

    /// Notes an IPv6 address that the kernel has added. It notifies of one in a thread of its own, later than it answers.
    fn note_ipv6(&mut self, placement: Placement, seconds: u32) {
        let Placement { index, address, prefix } = placement;
        if address.is_ipv4() || self.is_there(placement) {
            return;
        }
        self.kernel.apply(Change::Address(HeldAddress {
            index,
            address,
            prefix,
            peer: None,
            scope: 0,
            secondary: false,
            tentative: false,
            permanent: seconds == u32::MAX,
            protocol: OUR_PROTOCOL,
        }));
    }

    /// Notes that the kernel has refused an operation.
    pub(crate) fn failed(&mut self, operation: Operation, error: AddressError) {
        let placement = operation.placement();
        let address = self.name(placement);
        let instance =
            self.ours.get(&placement).map(|installed| installed.instance.clone()).or_else(|| self.claimant(placement));
        let change = match operation {
            Operation::Promote { .. } => AddressChange::NotPromoting(address.clone(), error.clone()),
            Operation::Add { .. } | Operation::Renew { .. } => {
                self.refused.insert(placement);
                AddressChange::InstallFailed(address.clone(), error.clone())
            }
            Operation::Remove { .. } => {
                self.refused.insert(placement);
                AddressChange::RemoveFailed(address.clone(), error.clone())
            }
        };
        // Reported once, until the error changes or has healed.
        let known = self.errors.insert(address, error.clone()) == Some(error);
        if let (Some(instance), false) = (instance, known) {
            self.note(&instance, change);
        }
    }

    /// Notes that `promote_secondaries` is set; `changed` if it was not set before.
    pub(crate) fn promotes(&mut self, placement: Placement, changed: bool) {
        self.promoting.insert(placement.index, true);
        if changed {
            let address = self.name(placement);
            let instance = self
                .ours
                .get(&placement)
                .map(|installed| installed.instance.clone())
                .or_else(|| self.claimant(placement));
            if let Some(instance) = instance {
                self.note(&instance, AddressChange::Promoting(address));
            }
        }
    }

    /// Notes that `promote_secondaries` could not be set.
    pub(crate) fn does_not_promote(&mut self, placement: Placement, error: AddressError) {
        self.promoting.insert(placement.index, false);
        // With the interface, all addresses that it should have saved are gone.
        if !matches!(error, AddressError::NoInterface(_)) {
            self.failed(Operation::Promote { placement }, error);
        }
    }

    fn healed(&mut self, placement: Placement, instance: &InstanceKey) {
        let address = self.name(placement);
        self.errors.remove(&address);
        // There is nearly always none, and a claim may have thousands of addresses.
        if self.errors.is_empty() {
            return;
        }
        // And under the name and prefix that the configuration uses.
        if let Some(claimed) = self.claims.get(instance) {
            for address in claimed.claim.addresses.iter().filter(|wanted| wanted.address == placement.address) {
                self.errors.remove(address);
            }
        }
    }

    /// Keeps a change for the next report.
    pub(super) fn note(&mut self, instance: &InstanceKey, change: AddressChange) {
        self.changes.entry(instance.clone()).or_default().push(change);
    }
}
