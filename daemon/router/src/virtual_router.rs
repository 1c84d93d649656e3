//! One virtual router: the state machine, its configuration, and what the kernel did for it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::debug;
use vouchd_config::Instance;
use vouchd_net::{
    AddressCommand, AddressState, ArpClaim, Claim, CommandKind, HostCopy, InstanceKey, Lifetime, LinkState, Network,
    Presence, Received, Report, Sender, VirtualAddress,
};
use vouchd_vrrp::limit::LeftOut;
use vouchd_vrrp::{
    Action, Announcements, ConfigError, DiscardReason, Health, Input, Link, Packet, ProtocolEvent, Router, Source,
    State, Time, Why,
};
use vouchd_wire::{Advertisement, Priority};

use super::address_log;
use super::log::{Line, Log, Subject};
use super::neighbours::{Finding, Mac, Neighbours, Situation};
use super::peers::peers;
use super::virtual_addresses;
use vouchd_ipc::status;

/// So many of those who claim to be active are named in the reason; `peers` has the others.
const RIVALS: usize = 3;

pub struct VirtualRouter {
    config: Instance,
    router: Router,
    key: InstanceKey,
    addresses: Arc<[VirtualAddress]>,
    /// Until when the kernel may hold them; `None` while this router is not active.
    lifetime: Option<Lifetime>,
    /// What is known of each of them, as far as reported.
    states: Vec<AddressState>,
    /// The interface, as it was told last.
    link: Option<LinkState>,
    /// One of them is the interface's own address, so that the interface is of no use.
    is_shut_out: bool,
    /// Who else answers for the addresses.
    neighbours: Neighbours,
    send_errors: u64,
    /// The last error of sending to each destination, so that one that stays is logged once.
    failing: BTreeMap<IpAddr, String>,
    log: Log,
}

impl VirtualRouter {
    pub fn new(now: Time, config: &Instance) -> Result<Self, ConfigError> {
        Ok(VirtualRouter {
            router: Router::new(now, protocol_config(config))?,
            key: InstanceKey::from(config.name.as_str()),
            addresses: virtual_addresses::of(config),
            lifetime: None,
            states: Vec::new(),
            link: None,
            is_shut_out: false,
            neighbours: Neighbours::default(),
            config: config.clone(),
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

    fn uses_multicast(&self) -> bool {
        self.config.unicast.is_none()
    }

    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.addresses.iter().map(|address| address.address)
    }

    pub fn deadline(&self) -> Option<Time> {
        let router = self.router.deadline();
        router.into_iter().chain(self.neighbours.deadline()).min()
    }

    /// What it wants on its interface.
    pub fn claim(&self) -> Claim {
        Claim { lifetime: self.lifetime, ..virtual_addresses::claim(&self.config) }
    }

    /// Goes on with another configuration, perhaps under another name, under which the checks say `health`. False if that
    /// takes a new router.
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
        let Ok(actions) = self.router.reconfigure(now, protocol_config(config), health) else { return false };
        self.config = config.clone();
        self.say(now, "configuration", Line::info, "configuration changed");
        self.key = InstanceKey::from(config.name.as_str());
        self.addresses = virtual_addresses::of(config);
        // In another form it is the same address, with the same copies.
        self.states.retain(|state| self.addresses.iter().any(|address| address.address == state.address.address));
        self.neighbours.keep(&self.addresses().collect::<Vec<_>>());
        self.carry_out(now, actions, network);
        self.judge_link(now, network);
        true
    }

    pub fn handle(&mut self, now: Time, input: Input<'_>, network: &mut impl Network) {
        let was_active = self.router.state() == State::Active;
        let actions = self.router.handle(now, input);
        let is_active = self.router.state() == State::Active;
        if was_active != is_active {
            self.neighbours.changed(now, is_active);
        }
        self.carry_out(now, actions, network);
    }

    /// A packet that arrived on the interface for this virtual router.
    pub fn packet(&mut self, now: Time, received: &Received, payload: &[u8], network: &mut impl Network) {
        if self.is_not_ours(received) || self.is_own(received) {
            return;
        }
        let before = self.router.counters().received;
        self.handle(now, Input::Packet(packet(received, payload)), network);
        let accepted = self.router.counters().received > before;
        // Who resigns has no claim to the addresses that an ARP announcement of its could be explained by.
        let resigns = payload.get(2) == Some(&Priority::RESIGN.get());
        if let (Sender::Ethernet(mac), true, false) = (received.sender, accepted, resigns) {
            let active = self.router.active_peer().map(|peer| peer.address);
            let followed = active == Some(IpAddr::V4(received.source));
            let finding = self.neighbours.advertised(now, received.source, Mac(mac), followed);
            finding.into_iter().for_each(|finding| self.tell_finding(now, &finding));
        }
    }

    /// Another machine says that it has an address.
    pub fn claimed(&mut self, now: Time, claim: &ArpClaim) {
        if self.addresses().any(|address| address == claim.address) {
            self.neighbours.claimed(now, claim.address, Mac(claim.mac), claim.count);
        }
    }

    /// Whether what was said of our addresses is a conflict, and what to do about it.
    pub fn judge_neighbours(&mut self, now: Time, network: &mut impl Network) {
        let active = self.router.state() == State::Active;
        let situation = Situation { active, down_interval: self.router.down_interval() };
        for finding in self.neighbours.judge(now, situation) {
            self.tell_finding(now, &finding);
            match finding {
                Finding::Defend => self.carry_out(now, vec![Action::Announce { repeat: 1 }], network),
                Finding::Ask => self.ask(now, network),
                Finding::Conflict { .. } | Finding::Moved { .. } | Finding::RouterMoved { .. } => {}
            }
        }
    }

    /// Asks who else has the addresses. An owner has no address but them, so it asks without one.
    fn ask(&mut self, now: Time, network: &mut impl Network) {
        let Some(IpAddr::V4(source)) = self.router.source() else { return };
        let sender = if self.addresses().any(|address| address == source) { Ipv4Addr::UNSPECIFIED } else { source };
        let not_after = now + self.router.down_interval();
        self.order(now, AddressCommand::Ask { instance: self.key.clone(), sender, not_after }, network);
    }

    fn tell_finding(&mut self, now: Time, finding: &Finding) {
        if let Some((reason, text)) = finding.words(&self.config.interface) {
            self.say(now, reason, Line::warn, format_args!("{reason}: {text}"));
        }
    }

    /// A packet of another virtual router on the same interface.
    pub fn overhear(&mut self, now: Time, received: &Received, payload: &[u8], network: &mut impl Network) {
        if !self.is_not_ours(received) && !self.is_own(received) {
            let actions = self.router.overhear(now, &packet(received, payload));
            self.carry_out(now, actions, network);
        }
    }

    /// To an address that this host does not have: what the IP layer drops, a packet socket delivers (RFC 1122 section
    /// 3.2.1.3). A router that uses multicast discards every other destination by name.
    fn is_not_ours(&self, received: &Received) -> bool {
        let Received { destination, .. } = received;
        let is_local = match &self.link {
            Some(LinkState::Up { addresses, .. }) => addresses.contains(destination),
            Some(LinkState::NoAddress { .. } | LinkState::Down { .. } | LinkState::Missing) | None => false,
        };
        !self.uses_multicast() && !destination.is_multicast() && !destination.is_broadcast() && !is_local
    }

    /// This router's own packet, which something on the link sent back. From another machine that has our address it
    /// differs by the MAC address.
    fn is_own(&self, received: &Received) -> bool {
        let from_here = match received.sender {
            Sender::Ethernet(sender) => {
                matches!(&self.link, Some(LinkState::Up { mac: Some(mac), .. }) if *mac == sender)
            }
            Sender::Loopback => true,
            Sender::Unknown => false,
        };
        from_here && self.router.source() == Some(IpAddr::V4(received.source))
    }

    /// Takes in the interface's state.
    pub fn link(&mut self, now: Time, state: &LinkState, network: &mut impl Network) {
        self.link = Some(state.clone());
        self.is_shut_out = self.own_address().is_some();
        let link = self.usable(state);
        self.handle(now, Input::Link(link), network);
    }

    /// Looks at the interface again if a virtual address has become its own address, or is it no more.
    fn judge_link(&mut self, now: Time, network: &mut impl Network) {
        if let Some(link) = self.link.clone()
            && self.is_shut_out != self.own_address().is_some()
        {
            self.link(now, &link, network);
        }
    }

    /// What the interface's state means for this router.
    fn usable(&self, state: &LinkState) -> Link {
        let LinkState::Up { source, addresses, .. } = state else {
            return Link::Down { reason: format!("{}: {state}", self.config.interface) };
        };
        if let Some(copy) = self.own_address() {
            return Link::Down { reason: format!("{} is this host's own address: for that, priority = 255", copy.at) };
        }
        match self.config.unicast.as_ref().map(|unicast| unicast.source) {
            None => Link::Up { source: IpAddr::V4(*source) },
            Some(IpAddr::V4(wanted)) if addresses.contains(&wanted) => Link::Up { source: IpAddr::V4(wanted) },
            Some(wanted) => {
                Link::Down { reason: format!("{} does not have the address {wanted}", self.config.interface) }
            }
        }
    }

    /// A virtual address that is the interface's own address, if this router does not own it.
    fn own_address(&self) -> Option<&HostCopy> {
        if self.config.priority == Priority::OWNER {
            return None;
        }
        self.states.iter().flat_map(|state| &state.copies).find(|copy| copy.own)
    }

    fn carry_out(&mut self, now: Time, actions: Vec<Action>, network: &mut impl Network) {
        for action in actions {
            match action {
                Action::Send(advertisement) => self.send(now, &advertisement, network),
                Action::Install { lease } => {
                    let lifetime = match lease {
                        Some(lease) => Lifetime::Until(now + lease),
                        None => Lifetime::Forever { start_before: now + self.router.down_interval() },
                    };
                    self.lifetime = Some(lifetime);
                    self.order(now, AddressCommand::Install { instance: self.key.clone(), lifetime }, network);
                }
                Action::Remove => {
                    self.lifetime = None;
                    self.order(now, AddressCommand::Remove { instance: self.key.clone() }, network);
                }
                // Comes of a reload only, and goes with the claims of all instances.
                Action::Withdraw { .. } => {}
                Action::Announce { repeat } => {
                    let not_after = now + self.router.down_interval();
                    self.order(
                        now,
                        AddressCommand::Announce { instance: self.key.clone(), repeat, not_after },
                        network,
                    );
                }
                Action::Event { event, left_out } => self.tell(now, &event, left_out),
            }
        }
    }

    /// Reports what was left out of the log, where its time has come.
    pub fn overdue(&mut self, now: Time) {
        for action in self.router.overdue(now) {
            if let Action::Event { event, left_out } = action {
                self.tell(now, &event, left_out);
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
            Report::Addresses { active, states, changes, .. } => {
                let state = self.router.state();
                for (reason, kind, line) in address_log::lines(&self.config.name, &changes, state) {
                    self.log.say_state(now, reason, kind, line);
                }
                self.take_states(now, active, states, network);
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

    /// What is known of the addresses now. Some may have failed, or turned out to be the host's own.
    fn take_states(&mut self, now: Time, active: bool, states: Vec<AddressState>, network: &mut impl Network) {
        let before = std::mem::replace(&mut self.states, states);
        let copies = |states: &[AddressState]| -> Vec<VirtualAddress> {
            // The interface's own address is no copy; the reason for staying out says what it is.
            states.iter().flat_map(|state| &state.copies).filter(|copy| !copy.own).map(|copy| copy.at.clone()).collect()
        };
        let (known, found) = (copies(&before), copies(&self.states));
        if self.config.priority != Priority::OWNER {
            for copy in found.iter().filter(|copy| !known.contains(copy)) {
                let line = self.line(Line::warn, address_log::not_ours(copy, self.router.state()));
                self.log.say_state(now, "copy", &copy.to_string(), line);
            }
            for copy in known.iter().filter(|copy| !found.contains(copy)) {
                let line = self.line(Line::info, format_args!("{copy} is gone, which was not vouchd's"));
                self.log.say_state(now, "copy", &copy.to_string(), line);
            }
        }
        self.judge_link(now, network);
        // One that is there already only was not renewed; the next advertisement tries again.
        let failed = self.states.iter().find(|state| state.presence == Presence::Absent && state.error.is_some());
        let reason = failed.and_then(|state| Some(format!("{}: {}", state.address, state.error.as_ref()?)));
        if !active || self.lifetime.is_none() {
            return;
        }
        if let Some(reason) = reason {
            self.handle(now, Input::AddressesFailed { reason }, network);
        } else if self.states.iter().all(|state| state.presence != Presence::Absent) {
            self.handle(now, Input::AddressesInstalled, network);
        }
    }

    fn tell(&self, now: Time, event: &ProtocolEvent, left_out: LeftOut) {
        match event {
            ProtocolEvent::Transition { from, to, why } => {
                let text = format!("{from} -> {to}: {}", self.reason(why, now));
                self.line(Line::info, text).change(from.name(), to.name()).write(left_out);
                if let Why::HealthFault(reason) = why {
                    self.line(Line::warn, format_args!("hard fault: {reason}")).write(LeftOut::default());
                }
            }
            ProtocolEvent::Held { .. }
            | ProtocolEvent::Priority { .. }
            | ProtocolEvent::ElectionCalled { .. }
            | ProtocolEvent::ElectionWon { .. } => {
                self.line(Line::info, event).write(left_out);
            }
            ProtocolEvent::Discarded { .. }
            | ProtocolEvent::OtherActive { .. }
            | ProtocolEvent::Rival(_)
            | ProtocolEvent::Stalled { .. }
            | ProtocolEvent::PeerInterval { .. }
            | ProtocolEvent::PeerChecksum { .. }
            | ProtocolEvent::PeerAddresses { .. } => self.line(Line::warn, event).write(left_out),
        }
    }

    /// Why, with the interface that it is about, and with those that claim to be what this router is.
    fn reason(&self, why: &Why, now: Time) -> String {
        let interface = &self.config.interface;
        let rivals: Vec<_> = self.router.rivals(now).iter().map(ToString::to_string).collect();
        let why = match why {
            Why::Silence if !rivals.is_empty() => {
                format!("no active router that this one could believe was heard on {interface}")
            }
            Why::Starting => format!("{why} {interface}"),
            // These name it, or have nothing to do with it.
            Why::LinkDown(_)
            | Why::HealthWaiting(_)
            | Why::HealthFault(_)
            | Why::AddressesFailed(_)
            | Why::Refused(_)
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
        };
        // Nobody else's word is needed to know that hosts reach another machine.
        let contested = self.neighbours.contested(now).filter(|_| self.router.state() == State::Active);
        let why = match contested {
            Some((address, mac)) if rivals.is_empty() => {
                format!("{why}, but {mac} answers for {address}{}", self.suspect(now))
            }
            Some((address, mac)) => format!("{why}, but {mac} answers for {address}"),
            None => why,
        };
        // A flood of made-up claims must not hide the first ones.
        let more = rivals.len().saturating_sub(RIVALS);
        let more = (more > 0).then(|| format!("{more} more claim to be active"));
        [why].into_iter().chain(rivals.into_iter().take(RIVALS)).chain(more).collect::<Vec<_>>().join("; ")
    }

    /// Who may be the one that answers: a single advertisement is no claim by itself, but together with the answer it is.
    fn suspect(&self, now: Time) -> String {
        let discarded_claim = |source: &Source| Some((source.address, source.discarded_claim(now)?));
        self.router.sources().iter().find_map(discarded_claim).map_or_else(String::new, |(address, reason)| {
            format!(
                "; {address} may be that router, what it sends is discarded ({}): {}",
                reason.name(),
                reason.remedy()
            )
        })
    }

    pub fn status(&self, now: Time) -> status::Instance {
        let Instance { name, interface, version, priority, preempt, .. } = &self.config;
        let counters = self.router.counters();
        let state = self.router.state();
        let since = SystemTime::now() - now.since(self.router.since());
        let discarded = DiscardReason::ALL
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
            reason: self.reason(self.router.why(), now),
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
            peers: peers(&self.router, now),
            addresses: self.addresses.iter().map(|address| self.address_status(now, address)).collect(),
            adopt: self.config.adopt,
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
                mac: None,
            }),
            State::Initialize | State::Backup => self.router.active_peer().map(|peer| status::Active {
                address: peer.address.to_string(),
                priority: peer.priority.get(),
                checksum: peer.checksum_form.map(|form| form.name().to_owned()),
                mac: self.neighbours.active_mac().map(|mac| mac.to_string()),
            }),
        }
    }

    fn address_status(&self, now: Time, address: &VirtualAddress) -> status::Address {
        let conflict = self.neighbours.conflict(now, address.address);
        let state = self.states.iter().find(|state| state.address == *address);
        let copies = state.filter(|_| self.config.priority != Priority::OWNER).map(|state| &state.copies);
        status::Address {
            address: address.address.to_string(),
            prefix: address.prefix,
            installed: state.is_some_and(|state| state.presence == Presence::Ours),
            host: state.is_some_and(|state| state.presence == Presence::Host),
            error: state.and_then(|state| state.error.as_ref()).map(ToString::to_string),
            answered_by: self.neighbours.holder(address.address).map(|mac| mac.to_string()),
            conflict: conflict.map(|conflict| status::Conflict {
                mac: conflict.mac.to_string(),
                count: conflict.count,
                last: status::time(SystemTime::now() - now.since(conflict.last)),
                since: conflict.since.map(|since| status::time(SystemTime::now() - now.since(since))),
            }),
            copies: copies
                .into_iter()
                .flatten()
                .map(|copy| status::Copy {
                    interface: copy.at.interface.to_string(),
                    address: format!("{}/{}", copy.at.address, copy.at.prefix),
                    own: copy.own,
                })
                .collect(),
        }
    }
}

fn packet<'a>(received: &Received, payload: &'a [u8]) -> Packet<'a> {
    let Received { source, destination, ttl, .. } = *received;
    Packet { source: IpAddr::V4(source), destination: IpAddr::V4(destination), ttl, payload }
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
