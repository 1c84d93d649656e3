//! The difference between what is wanted and what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::copies::network;
use super::{Form, Holdings, Operation, Put, RENEWAL_PAUSE};
use crate::address::{Claim, Lifetime};
use crate::clock::Time;
use crate::netlink::{HeldAddress, OUR_PROTOCOL};

/// An address that active instances want.
struct Want {
    lifetimes: Vec<Lifetime>,
    /// Of an instance that takes over copies.
    adopt: bool,
}

impl Want {
    /// The longest of its lifetimes, as `seconds` reads it.
    fn longest(&self, seconds: impl Fn(&Lifetime) -> Option<u32>) -> Option<u32> {
        self.lifetimes.iter().filter_map(seconds).max()
    }

    fn is_exceeded(&self, put: &Put) -> bool {
        let late = |lifetime: &Lifetime| match lifetime {
            Lifetime::Until(_) => lifetime.is_exceeded(put.renewed, put.seconds),
            Lifetime::Forever { start_before } => put.added > *start_before,
        };
        self.lifetimes.iter().all(late)
    }
}

impl Holdings {
    /// What to do next. Empty when everything is as wanted, or refused; else to be carried out, and asked for again.
    pub(crate) fn plan(&self, now: Time) -> Vec<Operation> {
        let wants = self.wants();
        let mut operations = self.additions(now, &wants);
        operations.extend(self.removals(now, &wants));
        operations.extend(self.adopted_removals(&wants));
        operations.retain(|operation| !self.refused.contains(&operation.form()));
        let mut promotions = self.promotions(&operations);
        promotions.extend(operations);
        promotions
    }

    /// The forms that active instances want added. Not those that the host has anyway, nor what is its own.
    fn wants(&self) -> BTreeMap<Form, Want> {
        let mut wants: BTreeMap<Form, Want> = BTreeMap::new();
        for claimed in self.claims.values() {
            let claim = &claimed.claim;
            let Some(lifetime) = claim.lifetime else { continue };
            for address in claim.addresses.iter() {
                let Some(form) = self.form(address) else { continue };
                let copies = self.copies(address);
                let own = !claim.owner && copies.iter().any(|copy| copy.own);
                if own || self.is_served_by_host(claim, form, &copies) {
                    continue;
                }
                let want = wants.entry(form).or_insert(Want { lifetimes: Vec::new(), adopt: false });
                want.lifetimes.push(lifetime);
                want.adopt |= claim.adopt;
            }
        }
        wants
    }

    fn additions(&self, now: Time, wants: &BTreeMap<Form, Want>) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (form, want) in wants {
            let form = *form;
            match (self.ours.get(&form), self.held(form)) {
                (Some(put), _) => operations.extend(renewal(now, form, put, want)),
                (None, Some(held)) => {
                    // Marked: of an earlier run. Else it is the host's.
                    let take = held.protocol == OUR_PROTOCOL || want.adopt;
                    let seconds = want.longest(|lifetime| lifetime.seconds_left(now).ok());
                    operations.extend(seconds.filter(|_| take).map(|seconds| Operation::Renew { form, seconds }));
                }
                (None, None) => {
                    let seconds = want.longest(|lifetime| lifetime.seconds_left(now).ok());
                    operations.extend(seconds.map(|seconds| Operation::Add { form, seconds }));
                }
            }
        }
        operations
    }

    fn removals(&self, now: Time, wants: &BTreeMap<Form, Want>) -> Vec<Operation> {
        let is_surplus = |form: &Form, put: &Put| match wants.get(form) {
            // Added too late, since the kernel took its time.
            Some(want) => want.is_exceeded(put) && want.longest(|lifetime| lifetime.seconds_left(now).ok()).is_none(),
            // What is wanted in another form stays until that is there: there is no moment without the address.
            None => {
                let mut others = wants.keys().filter(|w| w.index == form.index && w.address == form.address).peekable();
                others.peek().is_none() || others.any(|other| self.is_there(*other))
            }
        };
        let surplus = self.ours.iter().filter(|(form, put)| is_surplus(form, put));
        surplus.map(|(form, _)| Operation::Remove { form: *form }).collect()
    }

    /// Copies that are not vouchd's, of instances that adopt them.
    fn adopted_removals(&self, wants: &BTreeMap<Form, Want>) -> Vec<Operation> {
        let adopting = self.claims.values().map(|claimed| &claimed.claim).filter(|claim| claim.adopt && !claim.owner);
        let mut operations = Vec::new();
        for (claim, address) in adopting.flat_map(|claim| claim.addresses.iter().map(move |address| (claim, address))) {
            let Some(wanted) = self.form(address) else { continue };
            // As active, only when the address is there in our form.
            let may = !is_serving(claim) || (wants.contains_key(&wanted) && self.ours.contains_key(&wanted));
            for copy in self.copies(address).iter().filter(|copy| may && !copy.own) {
                let form = Form { prefix: copy.at.prefix, ..wanted };
                if self.is_there(form) {
                    operations.push(Operation::Remove { form });
                }
            }
        }
        operations
    }

    /// Where the kernel would remove the host's addresses with ours.
    fn promotions(&self, operations: &[Operation]) -> Vec<Operation> {
        let touches = |operation: &&Operation| match operation {
            Operation::Add { form, .. } | Operation::Remove { form } => form.prefix < 32,
            Operation::Renew { form, .. } => form.prefix < 32 && self.endangers(form),
            Operation::Promote { .. } => false,
        };
        let touched = operations.iter().filter(touches).map(Operation::form);
        let unsafe_already =
            self.ours.keys().filter(|form| self.endangers(form) && !self.is_known_to_promote(form.index));
        let mut seen = BTreeSet::new();
        touched
            .chain(unsafe_already.copied())
            .filter(|form| !self.promoting.contains_key(&form.index) && seen.insert(form.index))
            .map(|form| Operation::Promote { form })
            .collect()
    }

    fn is_known_to_promote(&self, index: u32) -> bool {
        self.mirror.link(index).is_some_and(|link| link.promotes)
    }

    /// Whether the kernel counts an address of ours as primary in a subnet where the host has addresses of its own: without
    /// `promote_secondaries` these go with it.
    fn endangers(&self, form: &Form) -> bool {
        let is_primary = self.held(*form).is_some_and(|held| !held.secondary);
        let is_at_risk = |held: &HeldAddress| {
            held.secondary
                && held.prefix == form.prefix
                && self.is_the_hosts(held)
                && network(held.address, form.prefix) == network(form.address, form.prefix)
        };
        is_primary && self.mirror.on(form.index).iter().any(is_at_risk)
    }
}

fn is_serving(claim: &Claim) -> bool {
    claim.lifetime.is_some()
}

/// A new lifetime for what is ours, if it needs one.
fn renewal(now: Time, form: Form, put: &Put, want: &Want) -> Option<Operation> {
    if want.is_exceeded(put) {
        let seconds = want.longest(|lifetime| lifetime.seconds_left(now).ok())?;
        return Some(Operation::Renew { form, seconds });
    }
    let seconds = want.longest(|lifetime| lifetime.seconds(now).ok())?;
    if seconds == u32::MAX || put.seconds == u32::MAX {
        return (seconds != put.seconds).then_some(Operation::Renew { form, seconds });
    }
    let end = |start: Time, seconds: u32| start + std::time::Duration::from_secs(u64::from(seconds));
    let is_due =
        now.saturating_since(put.renewed) >= RENEWAL_PAUSE && end(now, seconds) > end(put.renewed, put.seconds);
    is_due.then_some(Operation::Renew { form, seconds })
}
