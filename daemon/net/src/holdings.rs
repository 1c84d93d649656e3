//! What this daemon put on which interface (by index) and in which form, and what its instances want there.
//!
//! One model for everything that is done to addresses. Orders change what is wanted, the kernel's own news say what is
//! there, and [`Holdings::plan`] is the difference: what stays is never touched, a new form is there before the old one
//! goes, and what nobody wants any more goes wherever it is. Pure: the keeper's thread carries the plan out.
//!
//! An address is ours if this daemon put it there and nobody has replaced it since: a mark ([`OUR_PROTOCOL`]) alone may be
//! another daemon's. What is neither ours nor marked is the host's. It is never removed, marked or given a lifetime, unless
//! the instance adopts it, and an interface's own address not even then.

mod copies;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::address::{
    AddressChange, AddressError, AddressState, Claim, HostCopy, InstanceKey, Lifetime, Presence, VirtualAddress,
};
use crate::clock::Time;
use crate::mirror::Mirror;
use crate::netlink::{Change, HeldAddress, Link, OUR_PROTOCOL};

/// A lease is renewed no more often than this: it has whole seconds, so more would only cost.
const RENEWAL_PAUSE: Duration = Duration::from_millis(250);

/// An address as it is on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Form {
    pub index: u32,
    pub address: Ipv4Addr,
    pub prefix: u8,
}

impl Form {
    /// `None` for the end of a point-to-point link, which is never a virtual address.
    fn of(held: &HeldAddress) -> Option<Self> {
        held.peer.is_none().then_some(Self { index: held.index, address: held.address, prefix: held.prefix })
    }
}

/// One step towards what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Make sure that removing the primary address of a subnet does not remove the others of it.
    Promote { form: Form },
    /// Add what is not there.
    Add { form: Form, seconds: u32 },
    /// Renew what is ours, or make ours what is there.
    Renew { form: Form, seconds: u32 },
    /// Remove what is ours, or an adopted copy.
    Remove { form: Form },
}

impl Operation {
    pub(crate) fn form(&self) -> Form {
        match *self {
            Self::Promote { form } | Self::Add { form, .. } | Self::Renew { form, .. } | Self::Remove { form } => form,
        }
    }
}

/// An address of ours.
#[derive(Debug, Clone)]
struct Put {
    /// For whom it was put there last.
    instance: InstanceKey,
    /// When the kernel had added it, at the latest.
    added: Time,
    /// When its lifetime started, at the latest.
    renewed: Time,
    /// Its lifetime.
    seconds: u32,
}

#[derive(Debug)]
struct Claimed {
    claim: Claim,
    /// Active, and the first Install has been worked off: what is added from now on has to be announced by us.
    settled: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Holdings {
    mirror: Mirror,
    ours: BTreeMap<Form, Put>,
    claims: BTreeMap<InstanceKey, Claimed>,
    /// Whether this kernel keeps marks; known as soon as it has notified of an address of ours.
    keeps_marks: Option<bool>,
    /// What went by nobody's order while it was wanted, and is to be announced when it is back.
    missing: BTreeSet<Form>,
    /// What came back or was added late, to be announced.
    returned: BTreeSet<Form>,
    /// Of operations that failed last, until one succeeds.
    errors: BTreeMap<VirtualAddress, AddressError>,
    /// Not tried again before the next order or news.
    refused: BTreeSet<Form>,
    /// Interfaces on which `promote_secondaries` was seen to since the last order or news, and whether it is set.
    promoting: BTreeMap<u32, bool>,
    changes: BTreeMap<InstanceKey, Vec<AddressChange>>,
}

impl Holdings {
    /// These are all claims from now on.
    pub(crate) fn configure(&mut self, claims: Vec<Claim>) {
        let mut before = std::mem::take(&mut self.claims);
        for claim in claims {
            let was = before.remove(&claim.instance);
            // An address that a reload adds to an active instance is announced by the instance as well; no harm.
            let settled = claim.lifetime.is_some() && was.is_some_and(|was| was.settled);
            self.claims.insert(claim.instance.clone(), Claimed { claim, settled });
        }
        let wanted: BTreeSet<_> =
            self.claims.values().flat_map(|claimed| claimed.claim.addresses.iter()).cloned().collect();
        self.errors.retain(|address, _| wanted.contains(address));
    }

    /// The instance is active. Whether it was not before; `None` if there is no such instance.
    pub(crate) fn serve(&mut self, instance: &InstanceKey, lifetime: Lifetime) -> Option<bool> {
        let claimed = self.claims.get_mut(instance)?;
        claimed.claim.lifetime = Some(lifetime);
        Some(!claimed.settled)
    }

    /// The instance is not active any more.
    pub(crate) fn release(&mut self, instance: &InstanceKey) {
        if let Some(claimed) = self.claims.get_mut(instance) {
            claimed.claim.lifetime = None;
            claimed.settled = false;
            let addresses = &claimed.claim.addresses;
            self.missing.retain(|form| !addresses.iter().any(|address| address.address == form.address));
        }
    }

    /// Nobody wants anything any more.
    pub(crate) fn release_all(&mut self) {
        self.claims.clear();
    }

    /// A new order or news: what was refused is tried again.
    pub(crate) fn begin(&mut self) {
        self.refused.clear();
        self.promoting.clear();
    }

    /// The plan is carried out as far as it can be.
    pub(crate) fn settled(&mut self) {
        for claimed in self.claims.values_mut() {
            claimed.settled = claimed.claim.lifetime.is_some();
        }
    }

    /// Takes in a notification; `by_us`: of something that we asked the kernel for. Whether it may change anything.
    pub(crate) fn apply(&mut self, change: Change, by_us: bool) -> bool {
        let mut matters = !by_us;
        match &change {
            Change::Address(held) => {
                if let Some(form) = Form::of(held) {
                    matters |= self.saw(form, held, by_us);
                }
            }
            Change::AddressGone(held) => {
                if let Some(form) = Form::of(held) {
                    matters |= self.lost(form);
                }
            }
            Change::LinkGone { index } => {
                let forms: Vec<_> = self.ours.keys().filter(|form| form.index == *index).copied().collect();
                for form in forms {
                    self.lost(form);
                }
            }
            Change::Link(_) => {}
        }
        self.mirror.apply(change);
        matters
    }

    /// Takes in a full dump, at the start and when notifications were lost.
    pub(crate) fn replace(&mut self, links: Vec<Link>, addresses: Vec<HeldAddress>) {
        let gone: Vec<_> = self
            .ours
            .keys()
            .filter(|form| !addresses.iter().any(|held| Form::of(held) == Some(**form) && self.may_be_ours(held, form)))
            .copied()
            .collect();
        for form in gone {
            self.lost(form);
        }
        self.mirror.replace(links, addresses);
    }

    /// A notification of an address that is there. Whether it says that it is the host's now.
    fn saw(&mut self, form: Form, held: &HeldAddress, by_us: bool) -> bool {
        if by_us {
            self.keeps_marks = Some(held.protocol == OUR_PROTOCOL);
        } else if self.ours.contains_key(&form) && !self.may_be_ours(held, &form) {
            self.ours.remove(&form);
            self.missing.remove(&form);
            return true;
        }
        false
    }

    /// Whether an address of ours still is, as the kernel shows it now: somebody may have replaced it by his own.
    fn may_be_ours(&self, held: &HeldAddress, form: &Form) -> bool {
        match self.keeps_marks {
            Some(true) => held.protocol == OUR_PROTOCOL,
            // A lease that has become permanent is none of ours.
            Some(false) | None => !held.permanent || self.ours.get(form).is_some_and(|put| put.seconds == u32::MAX),
        }
    }

    /// It is not there any more. Whether it was ours.
    fn lost(&mut self, form: Form) -> bool {
        let Some(put) = self.ours.remove(&form) else { return false };
        let address = self.name(form);
        self.errors.remove(&address);
        self.missing.insert(form);
        self.note(&put.instance, AddressChange::Lost(address));
        true
    }

    /// The kernel has carried it out, no later than `now`.
    pub(crate) fn done(&mut self, now: Time, operation: Operation) {
        let form = operation.form();
        match operation {
            Operation::Promote { .. } => {}
            Operation::Add { seconds, .. } => {
                let Some(instance) = self.claimant(form) else { return };
                let settled = self.claims.get(&instance).is_some_and(|claimed| claimed.settled);
                let back = self.missing.remove(&form);
                self.ours.insert(form, Put { instance: instance.clone(), added: now, renewed: now, seconds });
                if back || settled {
                    self.returned.insert(form);
                }
                self.healed(form, &instance);
                let address = self.name(form);
                let change = if back && settled { AddressChange::PutBack } else { AddressChange::Added };
                self.note(&instance, change(address));
            }
            Operation::Renew { seconds, .. } => {
                let Some(instance) = self.claimant(form) else { return };
                match self.ours.get_mut(&form) {
                    Some(put) => (put.instance, put.renewed, put.seconds) = (instance.clone(), now, seconds),
                    None => {
                        let put = Put { instance: instance.clone(), added: now, renewed: now, seconds };
                        self.ours.insert(form, put);
                        let was_host = self.held(form).is_some_and(|held| held.protocol != OUR_PROTOCOL);
                        let address = self.name(form);
                        let change = if was_host { AddressChange::Adopted } else { AddressChange::Added };
                        self.note(&instance, change(address));
                    }
                }
                self.healed(form, &instance);
            }
            Operation::Remove { .. } => {
                let address = self.name(form);
                match self.ours.remove(&form) {
                    Some(put) => {
                        self.errors.remove(&address);
                        self.note(&put.instance, AddressChange::Removed(address));
                    }
                    None => {
                        if let Some(instance) = self.claimant(form) {
                            self.note(&instance, AddressChange::CopyRemoved(address));
                        }
                    }
                }
            }
        }
    }

    /// The kernel has refused it.
    pub(crate) fn failed(&mut self, operation: Operation, error: AddressError) {
        let form = operation.form();
        let address = self.name(form);
        let instance = self.ours.get(&form).map(|put| put.instance.clone()).or_else(|| self.claimant(form));
        let change = match operation {
            Operation::Promote { .. } => AddressChange::NotPromoting(address.clone(), error.clone()),
            Operation::Add { .. } | Operation::Renew { .. } => {
                self.refused.insert(form);
                AddressChange::InstallFailed(address.clone(), error.clone())
            }
            Operation::Remove { .. } => {
                self.refused.insert(form);
                AddressChange::RemoveFailed(address.clone(), error.clone())
            }
        };
        // Said once, until it is another error or has healed.
        let known = self.errors.insert(address, error.clone()) == Some(error);
        if let (Some(instance), false) = (instance, known) {
            self.note(&instance, change);
        }
    }

    /// The outcome of [`Operation::Promote`], when it was no failure; `changed`: it had to be set.
    pub(crate) fn promotes(&mut self, form: Form, changed: bool) {
        self.promoting.insert(form.index, true);
        if changed {
            let address = self.name(form);
            let instance = self.ours.get(&form).map(|put| put.instance.clone()).or_else(|| self.claimant(form));
            if let Some(instance) = instance {
                self.note(&instance, AddressChange::Promoting(address));
            }
        }
    }

    pub(crate) fn does_not_promote(&mut self, form: Form, error: AddressError) {
        self.promoting.insert(form.index, false);
        // With the interface went all that was to be saved.
        if !matches!(error, AddressError::NoInterface(_)) {
            self.failed(Operation::Promote { form }, error);
        }
    }

    fn healed(&mut self, form: Form, instance: &InstanceKey) {
        let address = self.name(form);
        self.errors.remove(&address);
        // Under the name that the configuration knows.
        if let Some(claimed) = self.claims.get(instance) {
            for address in claimed.claim.addresses.iter().filter(|wanted| wanted.address == form.address) {
                self.errors.remove(address);
            }
        }
    }

    fn note(&mut self, instance: &InstanceKey, change: AddressChange) {
        self.changes.entry(instance.clone()).or_default().push(change);
    }

    /// Whose address it is: of an instance that is active, if there is one.
    fn claimant(&self, form: Form) -> Option<InstanceKey> {
        let name = self.mirror.link(form.index).map(|link| link.name.as_str());
        let claims = |claimed: &&Claimed| {
            claimed
                .claim
                .addresses
                .iter()
                .any(|address| address.address == form.address && Some(&*address.interface) == name)
        };
        let mut found: Vec<_> = self.claims.values().filter(claims).collect();
        found.sort_by_key(|claimed| claimed.claim.lifetime.is_none());
        found.first().map(|claimed| claimed.claim.instance.clone())
    }

    /// With the name that its interface has now.
    pub(crate) fn name(&self, form: Form) -> VirtualAddress {
        let interface = match self.mirror.link(form.index) {
            Some(link) => link.name.as_str().into(),
            None => format!("interface {}", form.index).into(),
        };
        VirtualAddress { interface, address: form.address, prefix: form.prefix }
    }

    fn held(&self, form: Form) -> Option<&HeldAddress> {
        self.mirror.on(form.index).iter().find(|held| Form::of(held) == Some(form))
    }

    pub(crate) fn is_there(&self, form: Form) -> bool {
        self.held(form).is_some()
    }

    pub(crate) fn form(&self, address: &VirtualAddress) -> Option<Form> {
        let index = self.mirror.link_named(&address.interface)?.index;
        Some(Form { index, address: address.address, prefix: address.prefix })
    }

    pub(crate) fn claim(&self, instance: &InstanceKey) -> Option<&Claim> {
        self.claims.get(instance).map(|claimed| &claimed.claim)
    }

    pub(crate) fn instances(&self) -> Vec<InstanceKey> {
        self.claims.keys().cloned().collect()
    }

    /// All that is known of an instance's addresses.
    pub(crate) fn states(&self, instance: &InstanceKey) -> Vec<AddressState> {
        let Some(claim) = self.claim(instance) else { return Vec::new() };
        claim.addresses.iter().map(|address| self.state(claim, address)).collect()
    }

    fn state(&self, claim: &Claim, address: &VirtualAddress) -> AddressState {
        let copies = self.copies(address);
        let form = self.form(address);
        let presence = match form {
            Some(form) if self.ours.contains_key(&form) => Presence::Ours,
            Some(form) if self.is_served_by_host(claim, form, &copies) => Presence::Host,
            Some(_) | None => Presence::Absent,
        };
        let error = match (form, copies.iter().find(|copy| copy.own)) {
            (None, _) if claim.lifetime.is_some() => {
                Some(AddressError::NoInterface(std::sync::Arc::clone(&address.interface)))
            }
            (Some(_), Some(copy)) if !claim.owner => Some(AddressError::OwnAddress(copy.at.clone())),
            (Some(_) | None, _) => self.errors.get(address).cloned(),
        };
        let copies = [copies, self.copies_elsewhere(address)].concat();
        AddressState { address: address.clone(), presence, error, copies }
    }

    /// Whether the host has the address anyway, so that nothing has to be added.
    fn is_served_by_host(&self, claim: &Claim, form: Form, copies: &[HostCopy]) -> bool {
        if claim.owner {
            return !copies.is_empty();
        }
        !claim.adopt
            && copies.iter().any(|copy| copy.at.prefix == form.prefix)
            && self.held(form).is_some_and(|held| self.is_the_hosts(held))
    }

    /// What happened since the last call, by instance; also of instances that are gone.
    pub(crate) fn take_changes(&mut self) -> BTreeMap<InstanceKey, Vec<AddressChange>> {
        std::mem::take(&mut self.changes)
    }

    /// What was added without an announcement following, and is there: the interface's index and MAC address.
    pub(crate) fn take_returned(&mut self) -> Vec<(Form, [u8; 6])> {
        let returned = std::mem::take(&mut self.returned);
        let target = |form: Form| Some((form, self.mirror.link(form.index)?.mac?));
        returned.into_iter().filter(|form| self.is_there(*form)).filter_map(target).collect()
    }

    /// Where to announce an address from: the interface's index and, if it is an Ethernet, MAC address.
    pub(crate) fn target(&self, address: &VirtualAddress) -> Result<(u32, Option<[u8; 6]>), AddressError> {
        let link = self
            .mirror
            .link_named(&address.interface)
            .ok_or_else(|| AddressError::NoInterface(std::sync::Arc::clone(&address.interface)))?;
        let is_there = self.mirror.on(link.index).iter().any(|held| held.address == address.address);
        if is_there { Ok((link.index, link.mac)) } else { Err(AddressError::NotInstalled) }
    }
}
