//! The virtual routers of this host: passes input to the routers that it concerns.
//!
//! It has no clock and no sockets: the caller passes the time, and a [`Network`] does the rest, so that tests can record it.

mod couples;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tracing::{debug, error, warn};
use vouchd_config::{Group, Instance};
use vouchd_net::{
    AddressChange, AddressCommand, Claim, CommandRefused, Groups, InstanceKey, LinkState, NeighbourClaim, Network,
    Received, Report, Watched,
};
use vouchd_vrrp::{Health, Input, Link, Time};
use vouchd_wire::Family;

use self::couples::Couples;
use crate::address_log::log_of_removed;
use crate::log::Subject;
use crate::routing_log;
use crate::virtual_addresses;
use crate::virtual_macs;
use crate::virtual_router::VirtualRouter;
use vouchd_ipc::status;

/// The virtual routers and their interfaces.
pub(crate) struct Engine<N> {
    network: N,
    /// One for each family of each instance.
    routers: BTreeMap<InstanceKey, VirtualRouter>,
    /// Virtual routers with one state.
    couples: Couples,
    interfaces: BTreeMap<String, Interface>,
    /// The newest health of each instance, also of those that could not be started.
    health: BTreeMap<String, Health>,
    startup: Startup,
}

/// From when on virtual routers take part.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Startup {
    /// When the daemon started: what `startup_delay` counts from.
    pub(crate) daemon: Time,
    /// `delay_after_boot`. The zero of the clock is the boot.
    pub(crate) after_boot: Duration,
}

impl Startup {
    /// How long an instance that is made now waits, by the later of both delays.
    pub(crate) fn delay(&self, now: Time, instance: &Instance) -> Duration {
        let after_start = self.daemon + instance.startup_delay;
        let after_boot = Time::from_nanos(0) + self.after_boot;
        after_start.max(after_boot).since(now)
    }
}

struct Interface {
    state: Option<LinkState>,
    /// The result of setting `promote_secondaries`, if that was needed.
    promote_secondaries: Option<String>,
    /// Packets of virtual routers that are not configured here.
    other_virtual_routers: u64,
}

impl<N: Network> Engine<N> {
    pub(crate) fn new(network: N, startup: Startup) -> Self {
        Engine {
            network,
            routers: BTreeMap::new(),
            couples: Couples::default(),
            interfaces: BTreeMap::new(),
            health: BTreeMap::new(),
            startup,
        }
    }

    pub(crate) fn network(&mut self) -> &mut N {
        &mut self.network
    }

    pub(crate) fn network_ref(&self) -> &N {
        &self.network
    }

    pub(crate) fn into_network(self) -> N {
        self.network
    }

    /// When to call [`Engine::timers`].
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.routers.values().filter_map(VirtualRouter::deadline).chain(self.couples.deadline()).min()
    }

    /// Replaces the instances. Unchanged ones are left alone; the others change in place if they can, or else resign and
    /// start again. One order for all addresses follows, so that an address that moves from one instance to another never
    /// leaves the interface. `health` has the result of the checks for each instance under the new configuration, or nothing
    /// if its checks have not reported yet. `groups` names the instances that have one state.
    pub(crate) fn configure(
        &mut self,
        now: Time,
        instances: &[Instance],
        groups: &[Group],
        health: BTreeMap<String, Health>,
    ) {
        self.health = health;
        self.couples = Couples::new(instances, groups);
        let mut instances: Vec<_> = instances.iter().flat_map(virtual_addresses::by_family).collect();
        virtual_macs::name_all(&mut instances);
        let watched: BTreeSet<_> = self.routers.values().map(|it| (it.interface().to_owned(), it.family())).collect();
        let mut before = std::mem::take(&mut self.routers);
        let mut network = Batch::new(&mut self.network);
        // Interface, virtual router id and family identify a virtual router; the name may change.
        let taken: Vec<_> = instances
            .iter()
            .map(|instance| {
                let same = |router: &VirtualRouter| {
                    router.interface() == instance.interface
                        && router.vrid() == instance.vrid.get()
                        && router.family() == virtual_addresses::family(instance)
                };
                let key = before
                    .iter()
                    .filter(|(_, router)| same(router))
                    // Two may differ only in their peers or groups.
                    .min_by_key(|(key, _)| key.as_str() != instance.name)
                    .map(|(key, _)| key.clone())?;
                before.remove(&key)
            })
            .collect();
        for mut router in before.into_values() {
            router.handle(now, Input::Shutdown, &mut network);
        }
        let mut started = Vec::new();
        for (instance, taken) in instances.iter().zip(taken) {
            let Some(mut router) = taken else {
                started.push(instance);
                continue;
            };
            let health = self.health.get(&instance.name).cloned().unwrap_or_else(|| Health::Waiting {
                reason: "no check has reported yet".to_owned(),
                priority: instance.priority,
            });
            let grouped = self.couples.contain(&virtual_addresses::key(instance));
            if !router.reconfigure(now, instance, self.startup, grouped, health, &mut network) {
                router.handle(now, Input::Shutdown, &mut network);
                started.push(instance);
                continue;
            }
            self.routers.insert(virtual_addresses::key(instance), router);
        }
        for instance in started {
            let (interfaces, health) = (&self.interfaces, &self.health);
            let grouped = self.couples.contain(&virtual_addresses::key(instance));
            // The newest state says nothing about a family that was not watched. The next report will, and until then the
            // instance is starting, which holds up no group that is active.
            let is_known = watched.contains(&(instance.interface.clone(), virtual_addresses::family(instance)));
            let interfaces = if is_known { interfaces } else { &BTreeMap::new() };
            if let Some(router) = start(now, instance, self.startup, grouped, interfaces, health, &mut network) {
                self.routers.insert(virtual_addresses::key(instance), router);
            }
        }
        for place in self.couples.places() {
            self.couples.settle(now, place, &mut self.routers, &mut network);
        }
        network.finish(self.routers.values().map(VirtualRouter::claim).collect());
        let used: BTreeSet<_> = instances.iter().map(|instance| instance.interface.clone()).collect();
        self.interfaces.retain(|name, _| used.contains(name));
        for name in used {
            self.interfaces.entry(name).or_insert(Interface {
                state: None,
                promote_secondaries: None,
                other_virtual_routers: 0,
            });
        }
    }

    /// Resigns and removes the addresses of all instances, for good.
    pub(crate) fn shutdown(&mut self, now: Time) {
        for router in self.routers.values_mut() {
            router.handle(now, Input::Shutdown, &mut self.network);
        }
    }

    /// Gives an input to some virtual routers, and lets their groups decide.
    fn input(
        &mut self,
        now: Time,
        concerns: impl Fn(&InstanceKey, &VirtualRouter) -> bool,
        mut give: impl FnMut(&mut VirtualRouter, &mut N),
    ) {
        let mut touched = Vec::new();
        for (key, router) in self.routers.iter_mut().filter(|(key, router)| concerns(key, router)) {
            give(router, &mut self.network);
            touched.extend(self.couples.place(key));
        }
        self.settle(now, touched);
    }

    fn settle(&mut self, now: Time, places: impl IntoIterator<Item = usize>) {
        for place in places.into_iter().collect::<BTreeSet<_>>() {
            self.couples.settle(now, place, &mut self.routers, &mut self.network);
        }
    }

    /// Takes a new state of an interface.
    pub(crate) fn link(&mut self, now: Time, name: &str, state: LinkState) {
        self.input(now, |_, router| router.interface() == name, |router, network| router.link(now, &state, network));
        if let Some(interface) = self.interfaces.get_mut(name) {
            if state == LinkState::Missing {
                interface.promote_secondaries = None;
            }
            interface.state = Some(state);
        }
    }

    /// Treats the interface as down for one family because its socket could not be opened.
    pub(crate) fn link_unusable(&mut self, now: Time, name: &str, family: Family, reason: &str) {
        let on_it = |_: &InstanceKey, router: &VirtualRouter| router.interface() == name && router.family() == family;
        let down = Link::Down { reason: reason.to_owned() };
        self.input(now, on_it, |router, network| router.handle(now, Input::Link(down.clone()), network));
    }

    /// Takes a packet that arrived on the interface. `buffer` is as the socket filled it.
    pub(crate) fn packet(&mut self, now: Time, interface: &str, received: &Received, buffer: &[u8]) {
        let payload = buffer.get(received.payload.clone()).unwrap_or_default();
        // Without a virtual router id, every instance on the interface discards the packet and counts it.
        let vrid = payload.get(1).copied();
        let family = Family::of(received.source);
        // Two with the same VRID have other peers or another group, and each must not discard what is for the other.
        let concerned = |router: &VirtualRouter| {
            router.interface() == interface && router.family() == family && Some(router.vrid()) == vrid
        };
        let among_several = self.routers.values().filter(|router| concerned(router)).nth(1).is_some();
        let addressed =
            among_several && self.routers.values().any(|router| concerned(router) && router.expects(received));
        let mut known = false;
        let on_it =
            |_: &InstanceKey, router: &VirtualRouter| router.interface() == interface && router.family() == family;
        self.input(now, on_it, |router, network| {
            if vrid.is_none_or(|vrid| vrid == router.vrid()) {
                known = true;
                if addressed && !router.expects(received) {
                    return;
                }
                router.packet(now, received, payload, network);
            } else {
                router.overhear(now, received, payload, network);
            }
        });
        if !known && let Some(interface) = self.interfaces.get_mut(interface) {
            interface.other_virtual_routers += 1;
        }
    }

    /// Takes an ARP packet in which another machine claims an address.
    pub(crate) fn claimed(&mut self, now: Time, claim: &NeighbourClaim) {
        for router in self.routers.values_mut().filter(|router| router.interface() == claim.interface) {
            router.claimed(now, claim);
        }
    }

    /// Takes a new health of an instance.
    pub(crate) fn health(&mut self, now: Time, instance: &str, health: Health) {
        let of_it = |key: &InstanceKey, _: &VirtualRouter| key.as_str() == instance;
        self.input(now, of_it, |router, network| router.handle(now, Input::Health(health.clone()), network));
        self.health.insert(instance.to_owned(), health);
    }

    /// Takes a report of the address keeper.
    pub(crate) fn report(&mut self, now: Time, report: Report) {
        let instance = subject(&report).clone();
        if let Report::Addresses { changes, .. } = &report {
            self.note_promotion(changes);
        }
        match self.routers.get_mut(&instance) {
            Some(router) => {
                router.report(now, report, &mut self.network);
                self.settle(now, self.couples.place(&instance));
            }
            None => {
                match &report {
                    Report::Addresses { changes, .. } => log_of_removed(&instance, changes),
                    Report::Routing { changes, .. } => routing_log::log_of_removed(&instance, changes),
                    Report::Announced { .. }
                    | Report::AnnounceFailed { .. }
                    | Report::VirtualMac { .. }
                    | Report::Dropping { .. }
                    | Report::Late { .. } => {}
                }
                Subject::virtual_router(&instance)
                    .in_scope(|| debug!("ignored a report for a removed instance: {report:?}"));
            }
        }
    }

    fn note_promotion(&mut self, changes: &[AddressChange]) {
        for change in changes {
            let (address, outcome) = match change {
                AddressChange::Promoting(address) => (address, "was 0, set to 1 by vouchd".to_owned()),
                AddressChange::NotPromoting(address, error) => (address, format!("is 0 and could not be set: {error}")),
                _ => continue,
            };
            if let Some(interface) = self.interfaces.get_mut(&*address.interface) {
                interface.promote_secondaries = Some(outcome);
            }
        }
    }

    /// Runs all timers that are due. Call it once all packets received so far were taken, and at least once a second.
    pub(crate) fn timers(&mut self, now: Time) {
        let mut fired = self.couples.due(now);
        for (key, router) in &mut self.routers {
            if router.deadline().is_some_and(|deadline| deadline <= now) {
                fired.extend(self.couples.place(key));
            }
            router.settle_link(now, &mut self.network);
            // Bounded, in case a timer stays due.
            for _ in 0..4 {
                if router.deadline().is_none_or(|deadline| deadline > now) {
                    break;
                }
                router.handle(now, Input::Timer, &mut self.network);
            }
            router.judge_claims(now, &mut self.network);
            router.write_overdue(now);
        }
        self.settle(now, fired);
    }

    /// The interfaces in use and the virtual addresses on them.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        let watched = |name: &String| {
            let on_it = || self.routers.values().filter(|router| router.interface() == name);
            Watched {
                interface: name.clone(),
                families: on_it().map(VirtualRouter::family).collect(),
                addresses: self.routers.values().flat_map(|router| router.addresses_on(name)).collect(),
                sources: on_it().filter_map(VirtualRouter::configured_source).collect(),
            }
        };
        self.interfaces.keys().map(watched).collect()
    }

    /// The families of the virtual routers on an interface.
    pub(crate) fn families(&self, interface: &str) -> BTreeSet<Family> {
        let on_it = self.routers.values().filter(|router| router.interface() == interface);
        on_it.map(VirtualRouter::family).collect()
    }

    /// The multicast groups of the virtual routers on an interface. The usual ones are among them, also with unicast, so that a
    /// router that advertises the same addresses to them is noticed.
    pub(crate) fn groups(&self, interface: &str) -> Groups {
        let mut groups = Groups::vrrp();
        let on_it = self.routers.values().filter(|router| router.interface() == interface);
        groups.extend(on_it.filter_map(VirtualRouter::group));
        groups
    }

    /// The known states of the interfaces in use.
    pub(crate) fn known_links(&self) -> Vec<(String, LinkState)> {
        let known =
            self.interfaces.iter().filter_map(|(name, interface)| Some((name.clone(), interface.state.clone()?)));
        known.collect()
    }

    /// The instances and interfaces for `vouchd status`.
    pub(crate) fn snapshot(&self, now: Time) -> (Vec<status::Instance>, Vec<status::Interface>) {
        let status = |(key, router): (&InstanceKey, &VirtualRouter)| router.status(now, self.couples.status(key));
        let instances = self.routers.iter().map(status).collect();
        let interfaces = self
            .interfaces
            .iter()
            .map(|(name, interface)| status::Interface {
                name: name.clone(),
                state: interface.state.as_ref().map_or("not examined yet".to_owned(), ToString::to_string),
                source: match &interface.state {
                    Some(LinkState::Up { sources, .. }) => {
                        sources.of(Family::V4).or(sources.of(Family::V6)).map(|source| source.to_string())
                    }
                    Some(LinkState::Down { .. } | LinkState::Missing) | None => None,
                },
                promote_secondaries: interface.promote_secondaries.clone(),
                other_virtual_routers: interface.other_virtual_routers,
            })
            .collect();
        (instances, interfaces)
    }
}

fn start<N: Network>(
    now: Time,
    instance: &Instance,
    startup: Startup,
    grouped: bool,
    interfaces: &BTreeMap<String, Interface>,
    health: &BTreeMap<String, Health>,
    network: &mut Batch<'_, N>,
) -> Option<VirtualRouter> {
    let name = &instance.name;
    let mut router = match VirtualRouter::new(now, instance, startup, grouped) {
        Ok(router) => router,
        Err(error) => {
            let subject = Subject::virtual_router(&virtual_addresses::key(instance));
            subject.in_scope(|| error!("could not start: {error}"));
            return None;
        }
    };
    if let Some(state) = interfaces.get(&instance.interface).and_then(|interface| interface.state.as_ref()) {
        router.link(now, state, network);
    }
    if let Some(health) = health.get(name) {
        router.handle(now, Input::Health(health.clone()), network);
    }
    Some(router)
}

/// The network during a reload: sends advertisements at once, and collects the orders about addresses into one.
struct Batch<'n, N> {
    network: &'n mut N,
    announcements: Vec<AddressCommand>,
}

impl<'n, N: Network> Batch<'n, N> {
    fn new(network: &'n mut N) -> Self {
        Batch { network, announcements: Vec::new() }
    }

    /// Gives the collected order.
    fn finish(self, claims: Vec<Claim>) {
        let orders = std::iter::once(AddressCommand::Configure(claims)).chain(self.announcements);
        for refused in orders.filter_map(|order| self.network.address(order).err()) {
            warn!("could not order the addresses after a reload: {refused}");
        }
    }
}

impl<N: Network> Network for Batch<'_, N> {
    fn send_from(
        &mut self,
        mac: [u8; 6],
        interface: &str,
        source: IpAddr,
        destination: IpAddr,
        payload: &[u8],
    ) -> io::Result<()> {
        self.network.send_from(mac, interface, source, destination, payload)
    }

    fn send(&mut self, interface: &str, source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()> {
        self.network.send(interface, source, destination, payload)
    }

    fn address(&mut self, command: AddressCommand) -> Result<(), CommandRefused> {
        match command {
            AddressCommand::Announce { .. } | AddressCommand::Ask { .. } => self.announcements.push(command),
            // The claims contain these.
            AddressCommand::Install { .. } | AddressCommand::Remove { .. } | AddressCommand::Configure(_) => {}
        }
        Ok(())
    }
}

fn subject(report: &Report) -> &InstanceKey {
    match report {
        Report::Addresses { instance, .. }
        | Report::Routing { instance, .. }
        | Report::Announced { instance, .. }
        | Report::AnnounceFailed { instance, .. }
        | Report::VirtualMac { instance, .. }
        | Report::Dropping { instance, .. }
        | Report::Late { instance, .. } => instance,
    }
}

#[cfg(test)]
mod tests;
