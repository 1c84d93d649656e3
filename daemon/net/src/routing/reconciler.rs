//! The model of routes and rules: what this daemon has installed, and what its instances want. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use vouchd_iproute::{Family, Route, RouteId, RouteKind, Rule};
use vouchd_wire::Time;

use super::Routing;
use super::report::{RoutingChange, RoutingError, RoutingItem, RoutingState};
use crate::addresses::{InstanceKey, Lifetime};

/// Minimum gap between two attempts to install what the kernel refuses.
const RETRY: Duration = Duration::from_secs(1);

/// Minimum gap between two renewals of a lifetime.
const RENEWAL_PAUSE: Duration = Duration::from_millis(250);

/// One step towards what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Add what is not there. `expires` is the lifetime in seconds, for routes that have one.
    Add { item: RoutingItem, expires: Option<u32> },
    /// Put a route in place of one of ours, without a gap.
    Replace { old: RoutingItem, item: RoutingItem, expires: Option<u32> },
    /// Give a route of ours a new lifetime.
    Renew { item: RoutingItem, expires: u32 },
    /// Remove one of ours.
    Remove { item: RoutingItem },
}

#[derive(Debug)]
struct Installed {
    instance: InstanceKey,
    /// When its lifetime began, and its seconds; `None` if it has none.
    lifetime: Option<(Time, u32)>,
}

#[derive(Debug)]
struct Claim {
    routing: Arc<Routing>,
    lifetime: Option<Lifetime>,
}

impl Claim {
    /// Whether its items may be there at `now`.
    fn holds(&self, now: Time) -> bool {
        match self.lifetime {
            Some(Lifetime::Until(end)) => now <= end,
            Some(Lifetime::Forever { .. }) => true,
            None => false,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Reconciler {
    claims: BTreeMap<InstanceKey, Claim>,
    ours: BTreeMap<RoutingItem, Installed>,
    /// The last error of an item and when it happened, until a step for it succeeds.
    errors: BTreeMap<RoutingItem, (RoutingError, Time)>,
    /// Items that went without a command while they were wanted.
    missing: BTreeSet<RoutingItem>,
    changes: BTreeMap<InstanceKey, Vec<RoutingChange>>,
}

impl Reconciler {
    /// Replaces all claims: an instance, what it wants, and how long if it is active.
    pub(crate) fn configure(&mut self, claims: impl Iterator<Item = (InstanceKey, Arc<Routing>, Option<Lifetime>)>) {
        self.claims = claims.map(|(instance, routing, lifetime)| (instance, Claim { routing, lifetime })).collect();
        let wanted: BTreeSet<_> = self.claims.values().flat_map(|claim| claim.routing.items()).collect();
        self.errors.retain(|item, _| wanted.contains(item) || self.ours.contains_key(item));
        self.missing.retain(|item| wanted.contains(item));
    }

    /// Marks the instance as active.
    pub(crate) fn serve(&mut self, instance: &InstanceKey, lifetime: Lifetime) {
        if let Some(claim) = self.claims.get_mut(instance) {
            claim.lifetime = Some(lifetime);
        }
    }

    /// Marks the instance as not active.
    pub(crate) fn release(&mut self, instance: &InstanceKey) {
        if let Some(claim) = self.claims.get_mut(instance) {
            claim.lifetime = None;
            let routing = Arc::clone(&claim.routing);
            for item in routing.items() {
                self.missing.remove(&item);
                if !self.ours.contains_key(&item) {
                    self.errors.remove(&item);
                }
            }
        }
    }

    /// Drops all claims.
    pub(crate) fn release_all(&mut self) {
        self.claims.clear();
    }

    /// Whether there is nothing to install, to keep or to remove.
    pub(crate) fn is_idle(&self) -> bool {
        self.ours.is_empty() && self.claims.values().all(|claim| claim.lifetime.is_none() || claim.routing.is_empty())
    }

    /// Whether it installed a route to this prefix, in any table.
    pub(crate) fn has_route_to(&self, ip: IpAddr, length: u8) -> bool {
        self.ours.keys().any(|item| match item {
            RoutingItem::Route(route) => (route.destination.address, route.destination.length) == (ip, length),
            RoutingItem::Rule(_) => false,
        })
    }

    /// Whether any instance has routes or rules.
    pub(crate) fn has_any(&self) -> bool {
        self.claims.values().any(|claim| !claim.routing.is_empty())
    }

    /// When the next lease ends, after which its items have to go.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let used = self.claims.values().filter(|claim| !claim.routing.is_empty());
        let ends = used.filter_map(|claim| match claim.lifetime? {
            Lifetime::Until(end) => Some(end),
            Lifetime::Forever { .. } => None,
        });
        ends.min().filter(|_| !self.ours.is_empty())
    }

    /// Takes in which of ours the kernel still has.
    pub(crate) fn saw(&mut self, routes: &BTreeSet<RouteId>, rules: &[Rule]) {
        let is_there = |item: &RoutingItem| match item {
            RoutingItem::Route(route) => routes.contains(&route.id()),
            RoutingItem::Rule(rule) => rules.contains(rule),
        };
        let gone: Vec<_> = self.ours.keys().filter(|item| !is_there(item)).cloned().collect();
        for item in gone {
            self.ours.remove(&item);
            self.missing.insert(item);
        }
    }

    /// Tries at once again what failed: a link or an address has changed.
    pub(crate) fn retry(&mut self) {
        self.errors.values_mut().for_each(|(_, at)| *at = Time::from_nanos(0));
    }

    /// The items to remove: rules first, then routes, each in the opposite order of their addition.
    pub(crate) fn removals(&self, now: Time) -> Vec<Step> {
        let wanted = self.wanted(now);
        let ids: BTreeSet<RouteId> = wanted.iter().filter_map(|(item, _)| id(item)).collect();
        let wanted: BTreeSet<&RoutingItem> = wanted.iter().map(|(item, _)| item).collect();
        let surplus = self.ours.keys().filter(|item| {
            // A route that is only changed is replaced.
            !wanted.contains(item) && id(item).is_none_or(|id| !ids.contains(&id)) && !self.is_refused(now, item)
        });
        let mut steps: Vec<_> = surplus.map(|item| Step::Remove { item: item.clone() }).collect();
        steps.reverse();
        steps
    }

    /// The items to add, to replace and to renew, in the order of the configuration.
    pub(crate) fn additions(&self, now: Time) -> Vec<Step> {
        let mut steps = Vec::new();
        let wanted = self.wanted(now);
        let kept: BTreeSet<&RoutingItem> = wanted.iter().map(|(item, _)| item).collect();
        // Not those that another instance wants: of two such routes the first stays.
        let changed: BTreeMap<RouteId, &RoutingItem> =
            self.ours.keys().filter(|item| !kept.contains(item)).filter_map(|item| Some((id(item)?, item))).collect();
        for (item, lifetime) in &wanted {
            let lifetime = *lifetime;
            if let Some(installed) = self.ours.get(item) {
                steps.extend(renewal(now, item, installed, lifetime));
                continue;
            }
            if self.is_refused(now, item) || lifetime.seconds_left(now).is_err() {
                continue;
            }
            let expires = expires(item, lifetime, now);
            let old = id(item).and_then(|id| changed.get(&id));
            let item = item.clone();
            steps.push(match old {
                Some(old) => Step::Replace { old: (*old).clone(), item, expires },
                None => Step::Add { item, expires },
            });
        }
        steps
    }

    /// What active instances want, each item once with the longest of its lifetimes.
    fn wanted(&self, now: Time) -> Vec<(RoutingItem, Lifetime)> {
        let mut seen = BTreeSet::new();
        let mut wanted = Vec::new();
        let mut active: Vec<_> = self
            .claims
            .values()
            .filter(|claim| claim.holds(now))
            .filter_map(|claim| Some((claim, claim.lifetime?)))
            .collect();
        active.sort_by_key(|(_, lifetime)| match lifetime {
            Lifetime::Forever { .. } => std::cmp::Reverse(None),
            Lifetime::Until(end) => std::cmp::Reverse(Some(*end)),
        });
        for (claim, lifetime) in active {
            wanted.extend(claim.routing.items().filter(|item| seen.insert(item.clone())).map(|item| (item, lifetime)));
        }
        wanted.sort_by_key(|(item, _)| matches!(item, RoutingItem::Rule(_)));
        wanted
    }

    fn is_refused(&self, now: Time, item: &RoutingItem) -> bool {
        self.errors.get(item).is_some_and(|(_, at)| now.since(*at) < RETRY)
    }

    fn claimant(&self, item: &RoutingItem, now: Time) -> Option<InstanceKey> {
        let has = |claim: &Claim| claim.routing.items().any(|other| other == *item);
        let mut found: Vec<_> = self.claims.iter().filter(|(_, claim)| has(claim)).collect();
        found.sort_by_key(|(_, claim)| !claim.holds(now));
        found.first().map(|(instance, _)| (*instance).clone())
    }

    /// Notes that the kernel has carried out a step. `start` is when its lifetime began at the latest.
    pub(crate) fn done(&mut self, step: Step, start: Time) {
        match step {
            Step::Add { item, expires } => self.installed(item, expires, start),
            Step::Replace { old, item, expires } => {
                if let Some(installed) = self.ours.remove(&old) {
                    self.errors.remove(&old);
                    self.note(&installed.instance, RoutingChange::Removed(old));
                }
                self.installed(item, expires, start);
            }
            Step::Renew { item, expires } => {
                self.errors.remove(&item);
                if let Some(installed) = self.ours.get_mut(&item) {
                    installed.lifetime = Some((start, expires));
                }
            }
            Step::Remove { item } => {
                self.errors.remove(&item);
                if let Some(installed) = self.ours.remove(&item) {
                    self.note(&installed.instance, RoutingChange::Removed(item));
                }
            }
        }
    }

    fn installed(&mut self, item: RoutingItem, expires: Option<u32>, start: Time) {
        let Some(instance) = self.claimant(&item, start) else { return };
        self.errors.remove(&item);
        let lifetime = expires.map(|seconds| (start, seconds));
        self.ours.insert(item.clone(), Installed { instance: instance.clone(), lifetime });
        let change = if self.missing.remove(&item) { RoutingChange::PutBack } else { RoutingChange::Added };
        self.note(&instance, change(item));
    }

    /// Notes that the kernel has refused a step.
    pub(crate) fn failed(&mut self, step: &Step, error: RoutingError, now: Time) {
        let (item, change): (_, fn(RoutingItem, RoutingError) -> RoutingChange) = match step {
            Step::Add { item, .. } | Step::Replace { item, .. } | Step::Renew { item, .. } => {
                (item, RoutingChange::InstallFailed)
            }
            Step::Remove { item } => (item, RoutingChange::RemoveFailed),
        };
        let known = self.errors.insert(item.clone(), (error.clone(), now)).is_some_and(|(before, _)| before == error);
        let instance = self.ours.get(item).map(|installed| installed.instance.clone());
        if let (Some(instance), false) = (instance.or_else(|| self.claimant(item, now)), known) {
            self.note(&instance, change(item.clone(), error));
        }
    }

    fn note(&mut self, instance: &InstanceKey, change: RoutingChange) {
        self.changes.entry(instance.clone()).or_default().push(change);
    }

    /// Takes the changes since the last call, by instance; instances that are gone included.
    pub(crate) fn take_changes(&mut self) -> BTreeMap<InstanceKey, Vec<RoutingChange>> {
        std::mem::take(&mut self.changes)
    }

    /// The states of all items of all instances that have any. An item that is there for another instance does not count
    /// as one of an instance that is not active.
    pub(crate) fn states(&self) -> BTreeMap<InstanceKey, Vec<RoutingState>> {
        let active = self.claims.values().filter(|claim| claim.lifetime.is_some());
        let served: BTreeSet<RoutingItem> = active.flat_map(|claim| claim.routing.items()).collect();
        let used = self.claims.iter().filter(|(_, claim)| !claim.routing.is_empty());
        used.map(|(instance, claim)| {
            let is_active = claim.lifetime.is_some();
            let counts = |item: &RoutingItem| is_active || !served.contains(item);
            let state = |item: RoutingItem| RoutingState {
                installed: self.ours.contains_key(&item) && counts(&item),
                error: self.errors.get(&item).filter(|_| counts(&item)).map(|(error, _)| error.clone()),
                item,
            };
            (instance.clone(), claim.routing.items().map(state).collect())
        })
        .collect()
    }
}

fn id(item: &RoutingItem) -> Option<RouteId> {
    match item {
        RoutingItem::Route(route) => Some(route.id()),
        RoutingItem::Rule(_) => None,
    }
}

/// Whether the kernel can limit the lifetime of the route.
fn has_lifetime(route: &Route) -> bool {
    route.family() == Family::V6 && route.kind == RouteKind::Unicast && route.next_hops.len() == 1
}

/// The lifetime to give an item, if it has one.
fn expires(item: &RoutingItem, lifetime: Lifetime, now: Time) -> Option<u32> {
    match item {
        RoutingItem::Route(route) if has_lifetime(route) => {
            lifetime.seconds_left(now).ok().filter(|seconds| *seconds != u32::MAX)
        }
        RoutingItem::Route(_) | RoutingItem::Rule(_) => None,
    }
}

/// The renewal of an item of ours, if it is due.
fn renewal(now: Time, item: &RoutingItem, installed: &Installed, lifetime: Lifetime) -> Option<Step> {
    let (start, seconds) = installed.lifetime?;
    let expires = lifetime.seconds(now).ok()?;
    let end = |start: Time, seconds: u32| start + Duration::from_secs(u64::from(seconds));
    let is_due = now.since(start) >= RENEWAL_PAUSE && end(now, expires) > end(start, seconds);
    is_due.then(|| Step::Renew { item: item.clone(), expires })
}

#[cfg(test)]
mod tests;
