//! The virtual routers of this host: hands each what concerns it and carries out what it answers.
//!
//! No clock and no socket of its own: time comes in, and [`Network`] does the rest, so that tests can look on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

use tracing::{debug, error, warn};
use vouchd_config::Instance;
use vouchd_net::{
    AddressChange, AddressCommand, ArpClaim, Claim, CommandRefused, InstanceKey, LinkState, Network, Received, Report,
    Watched,
};
use vouchd_vrrp::{Health, Input, Link, Time};

use super::address_log::log_left;
use super::virtual_router::VirtualRouter;
use vouchd_ipc::status;

pub struct Engine<N> {
    network: N,
    routers: BTreeMap<String, VirtualRouter>,
    interfaces: BTreeMap<String, Interface>,
    /// What the health thread said last, by instance; also of instances that are not there yet.
    health: BTreeMap<String, Health>,
}

struct Interface {
    state: Option<LinkState>,
    /// What became of `promote_secondaries`, if it had to be set.
    promote_secondaries: Option<String>,
    /// Packets of virtual routers that are not configured here.
    other_virtual_routers: u64,
}

impl<N: Network> Engine<N> {
    pub fn new(network: N) -> Self {
        Engine { network, routers: BTreeMap::new(), interfaces: BTreeMap::new(), health: BTreeMap::new() }
    }

    pub fn network(&mut self) -> &mut N {
        &mut self.network
    }

    pub fn network_ref(&self) -> &N {
        &self.network
    }

    pub fn into_network(self) -> N {
        self.network
    }

    /// When to call [`Engine::timers`].
    pub fn deadline(&self) -> Option<Time> {
        self.routers.values().filter_map(VirtualRouter::deadline).min()
    }

    /// Makes these the instances: what is unchanged goes on untouched, what can change while it runs does, the rest
    /// resigns and starts again. What becomes of the addresses is decided when all have changed: one that moves from an
    /// instance to another is never off the interface. `health` is what the checks say of each under this configuration;
    /// of one that is missing they have said nothing yet.
    pub fn configure(&mut self, now: Time, instances: &[Instance], health: BTreeMap<String, Health>) {
        self.health = health;
        let mut before = std::mem::take(&mut self.routers);
        let mut network = Together::new(&mut self.network);
        // A virtual router is known by interface and number; the name is ours.
        let taken: Vec<_> = instances
            .iter()
            .map(|instance| {
                let same = |router: &VirtualRouter| {
                    router.interface() == instance.interface && router.vrid() == instance.vrid.get()
                };
                let name = before.iter().find(|(_, router)| same(router)).map(|(name, _)| name.clone())?;
                before.remove(&name)
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
            if !router.reconfigure(now, instance, health, &mut network) {
                router.handle(now, Input::Shutdown, &mut network);
                started.push(instance);
                continue;
            }
            self.routers.insert(instance.name.clone(), router);
        }
        for instance in started {
            let (interfaces, health) = (&self.interfaces, &self.health);
            if let Some(router) = start(now, instance, interfaces, health, &mut network) {
                self.routers.insert(instance.name.clone(), router);
            }
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

    /// Priority 0 and no addresses, for all of them, for ever.
    pub fn shutdown(&mut self, now: Time) {
        for router in self.routers.values_mut() {
            router.handle(now, Input::Shutdown, &mut self.network);
        }
    }

    pub fn link(&mut self, now: Time, name: &str, state: LinkState) {
        for router in self.routers.values_mut().filter(|router| router.interface() == name) {
            router.link(now, &state, &mut self.network);
        }
        if let Some(interface) = self.interfaces.get_mut(name) {
            if state == LinkState::Missing {
                interface.promote_secondaries = None;
            }
            interface.state = Some(state);
        }
    }

    /// The interface can't be used although it is up, because its socket could not be opened.
    pub fn link_unusable(&mut self, now: Time, name: &str, reason: &str) {
        for router in self.routers.values_mut().filter(|router| router.interface() == name) {
            router.handle(now, Input::Link(Link::Down { reason: reason.to_owned() }), &mut self.network);
        }
    }

    /// A packet that arrived on the interface, `buffer` as it came from the socket.
    pub fn packet(&mut self, now: Time, interface: &str, received: &Received, buffer: &[u8]) {
        let payload = buffer.get(received.payload.clone()).unwrap_or_default();
        // Too short for a virtual router id: everybody on the interface discards it, and counts it.
        let vrid = payload.get(1).copied();
        let mut known = false;
        for router in self.routers.values_mut().filter(|router| router.interface() == interface) {
            if vrid.is_none_or(|vrid| vrid == router.vrid()) {
                known = true;
                router.packet(now, received, payload, &mut self.network);
            } else {
                router.overhear(now, received, payload, &mut self.network);
            }
        }
        if !known && let Some(interface) = self.interfaces.get_mut(interface) {
            interface.other_virtual_routers += 1;
        }
    }

    /// Another machine says that it has an address.
    pub fn claimed(&mut self, now: Time, claim: &ArpClaim) {
        for router in self.routers.values_mut().filter(|router| router.interface() == claim.interface) {
            router.claimed(now, claim);
        }
    }

    pub fn health(&mut self, now: Time, instance: &str, health: Health) {
        if let Some(router) = self.routers.get_mut(instance) {
            router.handle(now, Input::Health(health.clone()), &mut self.network);
        }
        self.health.insert(instance.to_owned(), health);
    }

    /// What became of an order to the keeper of the addresses.
    pub fn report(&mut self, now: Time, report: Report) {
        let instance = subject(&report).as_str().to_owned();
        if let Report::Addresses { changes, .. } = &report {
            self.note_promotion(changes);
        }
        match self.routers.get_mut(&instance) {
            Some(router) => router.report(now, report, &mut self.network),
            None => {
                if let Report::Addresses { changes, .. } = &report {
                    log_left(&instance, changes);
                }
                debug!(instance, "a report for an instance that is gone: {report:?}");
            }
        }
    }

    fn note_promotion(&mut self, changes: &[AddressChange]) {
        for change in changes {
            let (address, outcome) = match change {
                AddressChange::Promoting(address) => (address, "was 0, set to 1 by vouchd".to_owned()),
                AddressChange::NotPromoting(address, error) => (address, format!("is 0 and can't be set: {error}")),
                _ => continue,
            };
            if let Some(interface) = self.interfaces.get_mut(&*address.interface) {
                interface.promote_secondaries = Some(outcome);
            }
        }
    }

    /// To be called after all packets that have arrived were handed over, and at least once a second.
    pub fn timers(&mut self, now: Time) {
        for router in self.routers.values_mut() {
            // Once for each timer that is due; bounded, should one of them never be satisfied.
            for _ in 0..4 {
                if router.deadline().is_none_or(|deadline| deadline > now) {
                    break;
                }
                router.handle(now, Input::Timer, &mut self.network);
            }
            router.judge_neighbours(now, &mut self.network);
            router.overdue(now);
        }
    }

    /// The interfaces in use and the virtual addresses on them.
    pub fn watched(&self) -> Vec<Watched> {
        let addresses_on = |name: &str| {
            self.routers
                .values()
                .filter(|router| router.interface() == name)
                .flat_map(VirtualRouter::addresses)
                .collect()
        };
        self.interfaces.keys().map(|name| Watched { interface: name.clone(), addresses: addresses_on(name) }).collect()
    }

    /// What is known of the interfaces in use.
    pub fn known_links(&self) -> Vec<(String, LinkState)> {
        let known =
            self.interfaces.iter().filter_map(|(name, interface)| Some((name.clone(), interface.state.clone()?)));
        known.collect()
    }

    pub fn snapshot(&self, now: Time) -> (Vec<status::Instance>, Vec<status::Interface>) {
        let instances = self.routers.values().map(|router| router.status(now)).collect();
        let interfaces = self
            .interfaces
            .iter()
            .map(|(name, interface)| status::Interface {
                name: name.clone(),
                state: interface.state.as_ref().map_or("not looked at yet".to_owned(), ToString::to_string),
                source: match &interface.state {
                    Some(LinkState::Up { source, .. }) => Some(source.to_string()),
                    Some(LinkState::NoAddress { .. } | LinkState::Down { .. } | LinkState::Missing) | None => None,
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
    interfaces: &BTreeMap<String, Interface>,
    health: &BTreeMap<String, Health>,
    network: &mut Together<'_, N>,
) -> Option<VirtualRouter> {
    let name = &instance.name;
    let mut router = match VirtualRouter::new(now, instance) {
        Ok(router) => router,
        Err(error) => {
            error!(instance = name, "instance {name} can't run: {error}");
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

/// The network during a reload: advertisements are sent at once, orders about addresses become one.
struct Together<'n, N> {
    network: &'n mut N,
    announcements: Vec<AddressCommand>,
}

impl<'n, N: Network> Together<'n, N> {
    fn new(network: &'n mut N) -> Self {
        Together { network, announcements: Vec::new() }
    }

    /// All that is wanted after the reload.
    fn finish(self, claims: Vec<Claim>) {
        let orders = std::iter::once(AddressCommand::Configure(claims)).chain(self.announcements);
        for refused in orders.filter_map(|order| self.network.address(order).err()) {
            warn!("addresses after a reload: {refused}");
        }
    }
}

impl<N: Network> Network for Together<'_, N> {
    fn send(&mut self, interface: &str, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        self.network.send(interface, source, destination, payload)
    }

    fn address(&mut self, command: AddressCommand) -> Result<(), CommandRefused> {
        match command {
            AddressCommand::Announce { .. } | AddressCommand::Ask { .. } => self.announcements.push(command),
            // The claims say the same.
            AddressCommand::Install { .. } | AddressCommand::Remove { .. } | AddressCommand::Configure(_) => {}
        }
        Ok(())
    }
}

fn subject(report: &Report) -> &InstanceKey {
    match report {
        Report::Addresses { instance, .. }
        | Report::Announced { instance, .. }
        | Report::AnnounceFailed { instance, .. }
        | Report::Late { instance, .. } => instance,
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
