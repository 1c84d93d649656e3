//! One virtual router: the state machine, its configuration, and what the kernel did for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::debug;
use vouchd_config::Instance;
use vouchd_net::{
    AddressCommand, CommandKind, InstanceKey, Lifetime, LinkState, Network, Report, Time, VirtualAddress,
};
use vouchd_vrrp::limit::LeftOut;
use vouchd_vrrp::{
    Action, Announcements, ConfigError, Discard, Event, Health, Input, Instant, Link, Router, State, Why,
};
use vouchd_wire::{Advertisement, Priority};

use super::log::{Line, Log, Subject};
use crate::status;

pub struct VirtualRouter {
    config: Instance,
    router: Router,
    key: InstanceKey,
    /// The virtual addresses, without those that an owner (priority 255) has anyway: these are the host's, not ours to
    /// lease or to take away.
    addresses: Arc<[VirtualAddress]>,
    /// What the interface has beside our addresses.
    host_addresses: Vec<Ipv4Addr>,
    /// Those that the kernel holds because of us, as far as reported.
    installed: BTreeSet<Ipv4Addr>,
    address_errors: BTreeMap<Ipv4Addr, String>,
    send_errors: u64,
    /// The last error of sending to each destination, so that one that stays is logged once.
    failing: BTreeMap<IpAddr, String>,
    log: Log,
}

impl VirtualRouter {
    pub fn new(now: Time, config: &Instance) -> Result<Self, ConfigError> {
        Ok(VirtualRouter {
            router: Router::new(instant(now), protocol_config(config))?,
            key: InstanceKey::from(config.name.as_str()),
            addresses: virtual_addresses(config, &[]),
            host_addresses: Vec::new(),
            config: config.clone(),
            installed: BTreeSet::new(),
            address_errors: BTreeMap::new(),
            send_errors: 0,
            failing: BTreeMap::new(),
            log: Log::default(),
        })
    }

    pub fn interface(&self) -> &str {
        &self.config.interface
    }

    pub fn vrid(&self) -> u8 {
        self.config.vrid.get()
    }

    pub fn uses_multicast(&self) -> bool {
        self.config.unicast.is_none()
    }

    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.addresses.iter().map(|address| address.address)
    }

    pub fn deadline(&self) -> Option<Time> {
        self.router.deadline().map(|deadline| Time::from_nanos(deadline.as_nanos()))
    }

    /// Goes on with another configuration, under which the checks say `health`. False if that takes a new router.
    pub fn reconfigure(&mut self, now: Time, config: &Instance, health: Health, network: &mut impl Network) -> bool {
        if self.config == *config {
            self.handle(now, Input::Health(health), network);
            return true;
        }
        // Another source or interface is another link; that it is up is not known yet.
        let source = |config: &Instance| config.unicast.as_ref().map(|unicast| unicast.source);
        if self.config.interface != config.interface || source(&self.config) != source(config) {
            return false;
        }
        let Ok(actions) = self.router.reconfigure(instant(now), protocol_config(config), health) else { return false };
        self.config = config.clone();
        self.say(now, "configuration", Line::info, "configuration changed");
        let before = std::mem::replace(&mut self.addresses, virtual_addresses(config, &self.host_addresses));
        self.carry_out(now, actions, &before, network);
        true
    }

    pub fn handle(&mut self, now: Time, input: Input<'_>, network: &mut impl Network) {
        let actions = self.router.handle(instant(now), input);
        let addresses = Arc::clone(&self.addresses);
        self.carry_out(now, actions, &addresses, network);
    }

    /// What an interface's state means for this router.
    pub fn link(&mut self, state: &LinkState) -> Link {
        let LinkState::Up { source, addresses, .. } = state else {
            return Link::Down { reason: format!("{}: {state}", self.config.interface) };
        };
        self.host_addresses.clone_from(addresses);
        self.addresses = virtual_addresses(&self.config, addresses);
        match self.config.unicast.as_ref().map(|unicast| unicast.source) {
            None => Link::Up { source: IpAddr::V4(*source) },
            Some(IpAddr::V4(wanted)) if addresses.contains(&wanted) => Link::Up { source: IpAddr::V4(wanted) },
            Some(wanted) => {
                Link::Down { reason: format!("{} does not have the address {wanted}", self.config.interface) }
            }
        }
    }

    /// `before`: the addresses as they were until now, which is where withdrawn ones are found.
    fn carry_out(
        &mut self,
        now: Time,
        actions: Vec<Action>,
        before: &Arc<[VirtualAddress]>,
        network: &mut impl Network,
    ) {
        for action in actions {
            match action {
                Action::Send(advertisement) => self.send(now, &advertisement, network),
                Action::Install { lease } => {
                    let lifetime = match lease {
                        Some(lease) => Lifetime::Until(now + lease),
                        None => Lifetime::Forever { start_before: now + self.router.down_interval() },
                    };
                    let (instance, addresses) = self.subject();
                    self.order(now, AddressCommand::Install { instance, addresses, lifetime }, network);
                }
                Action::Remove => {
                    let (instance, addresses) = self.subject();
                    self.order(now, AddressCommand::Remove { instance, addresses }, network);
                }
                Action::Withdraw { addresses } => {
                    let withdrawn = before.iter().filter(|known| addresses.contains(&IpAddr::V4(known.address)));
                    let (instance, addresses) = (self.key.clone(), withdrawn.cloned().collect());
                    self.order(now, AddressCommand::Remove { instance, addresses }, network);
                }
                Action::Announce { repeat } => {
                    let (instance, addresses) = self.subject();
                    let not_after = now + self.router.down_interval();
                    self.order(now, AddressCommand::Announce { instance, addresses, repeat, not_after }, network);
                }
                Action::Event { event, left_out } => self.tell(&event, left_out),
            }
        }
    }

    /// What was left out of the log and may be told by now.
    pub fn overdue(&mut self, now: Time) {
        for action in self.router.overdue(instant(now)) {
            if let Action::Event { event, left_out } = action {
                self.tell(&event, left_out);
            }
        }
        self.log.overdue(now);
    }

    /// A line of the log about this instance; `level` makes it.
    fn say(&mut self, now: Time, reason: &'static str, level: fn(Subject, String) -> Line, text: impl Display) {
        let line = self.line(level, text);
        self.log.say(now, reason, line);
    }

    fn line(&self, level: fn(Subject, String) -> Line, text: impl Display) -> Line {
        let name = &self.config.name;
        level(Subject::Instance(name.clone()), format!("instance {name}: {text}"))
    }

    fn subject(&self) -> (InstanceKey, Arc<[VirtualAddress]>) {
        (self.key.clone(), Arc::clone(&self.addresses))
    }

    fn order(&mut self, now: Time, command: AddressCommand, network: &mut impl Network) {
        // Made good by the next order, or by the end of the lease.
        if let Err(refused) = network.address(command) {
            self.say(now, "order", Line::warn, refused);
        }
    }

    fn send(&mut self, now: Time, advertisement: &Advertisement, network: &mut impl Network) {
        let Some(IpAddr::V4(source)) = self.router.source() else { return };
        for (destination, bytes) in self.router.packets(advertisement) {
            let IpAddr::V4(destination) = destination else { continue };
            let Err(error) = network.send(&self.config.interface, source, destination, &bytes) else {
                self.failing.remove(&IpAddr::V4(destination));
                continue;
            };
            self.send_errors += 1;
            let error = format!("could not send an advertisement to {destination}: {error}");
            if self.failing.insert(IpAddr::V4(destination), error.clone()).as_ref() != Some(&error) {
                self.say(now, "send", Line::warn, error);
            }
        }
    }

    pub fn report(&mut self, now: Time, report: Report, network: &mut impl Network) {
        match report {
            Report::Installed { new, taken_over, failed: _, .. } => {
                if let Some(held) = list(new.iter().chain(&taken_over)) {
                    let line = self.line(Line::info, format_args!("holds {held}"));
                    self.log.say_state(now, "held", "held", line);
                }
                for address in new.iter().chain(&taken_over) {
                    self.address_errors.remove(&address.address);
                    self.installed.insert(address.address);
                }
                if let Some(taken) = list(taken_over.iter()) {
                    self.say(
                        now,
                        "taken over",
                        Line::warn,
                        format_args!("was there already and is vouchd's now: {taken}"),
                    );
                }
            }
            Report::InstallFailed { address, error, .. } => {
                self.say(now, "install", Line::error, format_args!("{address} could not be installed: {error}"));
                self.address_errors.insert(address.address, error.to_string());
                // One that is there already only was not renewed; the next advertisement tries again.
                if !self.installed.contains(&address.address) {
                    let reason = format!("{address}: {error}");
                    self.handle(now, Input::AddressesFailed { reason }, network);
                }
            }
            Report::Removed { failed: 0, .. } => {
                if let Some(given_up) = list(std::mem::take(&mut self.installed).iter()) {
                    let line = self.line(Line::info, format_args!("gave up {given_up}"));
                    self.log.say_state(now, "held", "given up", line);
                }
            }
            Report::Removed { .. } => {}
            Report::RemoveFailed { address, error, .. } => {
                let text = format!("{address} could not be removed: {error}; its lease ends it");
                self.say(now, "remove", Line::error, text);
                self.address_errors.insert(address.address, error.to_string());
            }
            Report::Announced { frames, .. } => debug!(instance = self.config.name, frames, "announced"),
            Report::AnnounceFailed { address, error, .. } => {
                self.say(now, "announce", Line::warn, format_args!("{address} could not be announced: {error}"));
            }
            Report::Late { command, late, .. } => {
                let what = match command {
                    CommandKind::Install => "installing the addresses",
                    CommandKind::Announce => "announcing the addresses",
                };
                self.say(now, "late", Line::warn, format_args!("not {what}: {late}"));
            }
        }
    }

    /// An address went from the interface: by our order, by the end of its lease, or by somebody's hand. While this
    /// router is active it puts it back.
    pub fn address_gone(&mut self, now: Time, address: Ipv4Addr, network: &mut impl Network) {
        if !self.installed.remove(&address) {
            return;
        }
        match self.router.state() {
            State::Initialize | State::Backup => self.say(now, "gone", Line::info, format_args!("{address} is gone")),
            State::Active => {
                self.say(now, "gone", Line::warn, format_args!("somebody removed {address}; putting it back"));
                let lease = self.config.lease.then(|| vouchd_vrrp::lease(self.config.advert_interval));
                let actions = vec![Action::Install { lease }, Action::Announce { repeat: 1 }];
                let addresses = Arc::clone(&self.addresses);
                self.carry_out(now, actions, &addresses, network);
            }
        }
    }

    fn tell(&self, event: &Event, left_out: LeftOut) {
        match event {
            Event::Transition { from, to, why } => {
                let text = format!("{from} -> {to}: {}", self.reason(why));
                self.line(Line::info, text).change(from.name(), to.name()).write(left_out);
                if let Why::HealthFault(reason) = why {
                    self.line(Line::warn, format_args!("hard fault: {reason}")).write(LeftOut::default());
                }
            }
            Event::Held { .. } | Event::Priority { .. } | Event::ElectionCalled { .. } | Event::ElectionWon { .. } => {
                self.line(Line::info, event).write(left_out);
            }
            Event::Discarded { .. }
            | Event::OtherActive { .. }
            | Event::Stalled { .. }
            | Event::PeerInterval { .. }
            | Event::PeerChecksum { .. }
            | Event::PeerAddresses { .. } => self.line(Line::warn, event).write(left_out),
        }
    }

    /// Why, with the interface that it is about.
    fn reason(&self, why: &Why) -> String {
        let interface = &self.config.interface;
        match why {
            Why::Starting => format!("{why} {interface}"),
            // These name it, or have nothing to do with it.
            Why::LinkDown(_)
            | Why::HealthWaiting(_)
            | Why::HealthFault(_)
            | Why::AddressesFailed(_)
            | Why::ShutDown
            | Why::Stalled { .. } => why.to_string(),
            Why::Ready
            | Why::Better { .. }
            | Why::Owner
            | Why::Silence
            | Why::Resigned { .. }
            | Why::Preempted { .. } => {
                format!("{why} on {interface}")
            }
        }
    }

    pub fn status(&self, now: Time) -> status::Instance {
        let Instance { name, interface, version, priority, preempt, .. } = &self.config;
        let counters = self.router.counters();
        let state = self.router.state();
        let since = SystemTime::now() - now.saturating_since(Time::from_nanos(self.router.since().as_nanos()));
        let discarded = Discard::ALL
            .into_iter()
            .map(|reason| (reason.name().to_owned(), counters.discarded(reason)))
            .filter(|(_, count)| *count > 0)
            .collect();
        status::Instance {
            name: name.clone(),
            interface: interface.clone(),
            virtual_router_id: self.vrid(),
            version: version.number(),
            state: state.name().to_owned(),
            reason: self.reason(self.router.why()),
            cause: self.router.why().name().to_owned(),
            since: status::time(since),
            preempt: *preempt,
            priority: status::Priority {
                base: priority.get(),
                effective: (state != State::Initialize).then(|| self.router.priority().get()),
                terms: Vec::new(),
            },
            source: self.router.source().map(|source| source.to_string()),
            active: self.active_router(state),
            peers: Vec::new(),
            addresses: self.addresses.iter().map(|address| self.address_status(address)).collect(),
            advertisements: status::Advertisements {
                sent: counters.sent,
                sent_priority_zero: counters.priority_zero_sent,
                send_errors: self.send_errors,
                send_error: self.failing.values().next().cloned(),
                received: counters.received,
                received_priority_zero: counters.priority_zero_received,
                discarded,
            },
            transitions: counters.transitions,
            elections_called: counters.elections,
        }
    }

    fn active_router(&self, state: State) -> Option<status::Active> {
        match state {
            State::Active => Some(status::Active {
                address: self.router.source()?.to_string(),
                priority: self.router.priority().get(),
                checksum: None,
            }),
            State::Initialize | State::Backup => self.router.active_peer().map(|peer| status::Active {
                address: peer.address.to_string(),
                priority: peer.priority.get(),
                checksum: peer.checksum_form.map(|form| form.name().to_owned()),
            }),
        }
    }

    fn address_status(&self, address: &VirtualAddress) -> status::Address {
        status::Address {
            address: address.address.to_string(),
            installed: self.installed.contains(&address.address),
            error: self.address_errors.get(&address.address).cloned(),
        }
    }
}

/// With commas; none for none.
fn list(addresses: impl Iterator<Item: Display>) -> Option<String> {
    let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
    (!addresses.is_empty()).then(|| addresses.join(", "))
}

fn instant(time: Time) -> Instant {
    Instant::from_nanos(time.as_nanos())
}

fn protocol_config(instance: &Instance) -> vouchd_vrrp::Config {
    vouchd_vrrp::Config {
        vrid: instance.vrid,
        version: instance.version,
        priority: instance.priority,
        interval: instance.advert_interval,
        preempt: instance.preempt,
        addresses: instance.addresses.iter().map(|address| address.ip).collect(),
        auth: instance.auth,
        peers: instance.unicast.as_ref().map(|unicast| unicast.peers.clone()),
        checksum: instance.checksum,
        lease: instance.lease,
        announce: Announcements {
            repeat: instance.garp.repeat,
            delay: instance.garp.delay,
            refresh: instance.garp.refresh,
            refresh_repeat: instance.garp.refresh_repeat,
        },
    }
}

/// What the kernel is to hold for this instance; an owner's own addresses are there without us. The configuration has only
/// IPv4 addresses so far.
fn virtual_addresses(instance: &Instance, host_addresses: &[Ipv4Addr]) -> Arc<[VirtualAddress]> {
    let interface: Arc<str> = instance.interface.as_str().into();
    let is_owner = instance.priority == Priority::OWNER;
    let v4 = instance.addresses.iter().filter_map(|address| match address.ip {
        IpAddr::V4(ip) if is_owner && host_addresses.contains(&ip) => None,
        IpAddr::V4(ip) => {
            Some(VirtualAddress { interface: Arc::clone(&interface), address: ip, prefix: address.prefix })
        }
        IpAddr::V6(_) => None,
    });
    v4.collect()
}
