//! One virtual router: its state machine, its configuration, and the state of its addresses in the kernel.

mod config;
mod conflict_detector;
mod events;
mod link;
mod peers;
mod status;
mod virtual_mac;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tracing::debug;
use vouchd_config::Instance;
use vouchd_health::Debounced;
use vouchd_net::{
    AddressCommand, AddressError, AddressState, Claim, CommandKind, HostCopy, InstanceKey, Lifetime, LinkState,
    NeighbourClaim, Network, Presence, Received, Report, RoutingState, Sender, VirtualAddress,
};
use vouchd_vrrp::{Action, ConfigError, Health, Input, Packet, Router, State, Time};
use vouchd_wire::{Advertisement, Family, Priority};

use self::config::protocol_config;
use self::conflict_detector::{ConflictDetector, Finding, Mac, Situation};
use self::virtual_mac::VirtualMacReport;
use crate::address_log;
use crate::engine::Startup;
use crate::log::{Line, Log, Subject};
use crate::routing_log;
use crate::virtual_addresses;
use crate::virtual_macs;

/// A virtual router of this node.
pub(crate) struct VirtualRouter {
    config: Instance,
    router: Router,
    subject: Subject,
    key: InstanceKey,
    addresses: Arc<[VirtualAddress]>,
    /// How long the kernel may hold the addresses; `None` while this router is not active.
    lifetime: Option<Lifetime>,
    /// The newest report about each address.
    states: Vec<AddressState>,
    /// The newest report about each route and rule.
    routing: Vec<RoutingState>,
    /// When this was made, which `startup_delay` counts from.
    made: Time,
    /// The newest state of the interface with its virtual MAC.
    virtual_mac: VirtualMacReport,
    /// Why packets to the addresses are accepted although they should not be.
    not_dropped: Option<AddressError>,
    /// The newest state of the interface.
    link: Option<LinkState>,
    /// Whether the interface counts as able to carry packets: `link_delay` leaves out flaps. `None` until it is known.
    carrier: Option<Debounced<bool>>,
    /// Whether a virtual address is the interface's own address, so that this router can't use the interface.
    is_shut_out: bool,
    conflicts: ConflictDetector,
    send_errors: u64,
    /// The last error of sending to each destination, so that a lasting error is logged once.
    failing: BTreeMap<IpAddr, String>,
    log: Log,
}

impl VirtualRouter {
    /// `startup`: what decides from when on it takes part. `grouped`: whether a group decides when it is active.
    pub(crate) fn new(now: Time, config: &Instance, startup: Startup, grouped: bool) -> Result<Self, ConfigError> {
        Ok(VirtualRouter {
            router: Router::new(now, protocol_config(config, startup.delay(now, config), grouped))?,
            made: now,
            carrier: None,
            subject: Subject::virtual_router(&virtual_addresses::key(config)),
            key: virtual_addresses::key(config),
            addresses: virtual_addresses::of(config),
            lifetime: None,
            states: Vec::new(),
            routing: Vec::new(),
            virtual_mac: VirtualMacReport::default(),
            not_dropped: None,
            link: None,
            is_shut_out: false,
            conflicts: ConflictDetector::default(),
            config: config.clone(),
            send_errors: 0,
            failing: BTreeMap::new(),
            log: Log::default(),
        })
    }

    /// Its state machine, for its group.
    pub(crate) fn protocol(&self) -> &Router {
        &self.router
    }

    pub(crate) fn interface(&self) -> &str {
        &self.config.interface
    }

    pub(crate) fn vrid(&self) -> u8 {
        self.config.vrid.get()
    }

    fn uses_multicast(&self) -> bool {
        self.config.unicast.is_none()
    }

    pub(crate) fn family(&self) -> Family {
        self.key.family()
    }

    /// The addresses that concern an interface: those on it, and all if it is this router's own.
    pub(crate) fn addresses_on(&self, interface: &str) -> impl Iterator<Item = IpAddr> + '_ {
        let is_own = self.interface() == interface;
        let interface = interface.to_owned();
        let all = self.addresses.iter().filter(move |address| is_own || *address.interface == *interface);
        all.map(|address| address.address)
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().map(|address| address.address)
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let router = self.router.deadline();
        let carrier = self.carrier.as_ref().and_then(Debounced::deadline);
        router.into_iter().chain(self.conflicts.deadline()).chain(carrier).min()
    }

    /// The addresses that it wants on its interface.
    pub(crate) fn claim(&self) -> Claim {
        Claim { lifetime: self.lifetime, ..virtual_addresses::claim(&self.config) }
    }

    /// Continues with another configuration, perhaps under another name. `health` is the result of the checks under it.
    /// Returns false if the change needs a new router.
    pub(crate) fn reconfigure(
        &mut self,
        now: Time,
        config: &Instance,
        startup: Startup,
        grouped: bool,
        health: Health,
        network: &mut impl Network,
    ) -> bool {
        if self.config == *config && self.router.config().grouped == grouped {
            self.handle(now, Input::Health(health), network);
            return true;
        }
        // Another source or interface is another link, whose state is not known yet.
        let source = |config: &Instance| {
            (config.unicast.as_ref().map(|unicast| unicast.sources.clone()), config.multicast.clone())
        };
        if self.config.interface != config.interface || source(&self.config) != source(config) {
            return false;
        }
        let protocol = protocol_config(config, startup.delay(self.made, config), grouped);
        if config.hmac.is_some() {
            self.router.set_wall_clock(vouchd_net::wall_clock());
        }
        let Ok(actions) = self.router.reconfigure(now, protocol, health) else { return false };
        let judges_link_anew = self.config.track_link != config.track_link;
        self.config = config.clone();
        self.subject = Subject::virtual_router(&virtual_addresses::key(config));
        self.log_event(now, "configuration", Line::info, "configuration changed");
        self.key = virtual_addresses::key(config);
        self.addresses = virtual_addresses::of(config);
        // With another prefix length it is the same address, with the same copies.
        self.states.retain(|state| self.addresses.iter().any(|address| address.address == state.address.address));
        self.conflicts.retain(&self.addresses().collect::<Vec<_>>());
        if self.config.virtual_mac.is_none() {
            self.virtual_mac = VirtualMacReport::default();
        }
        if self.config.accept {
            self.not_dropped = None;
        }
        self.carry_out(now, actions, network);
        if judges_link_anew {
            self.apply_link(now, network);
        }
        self.judge_link(now, network);
        true
    }

    /// Authenticated packets carry the time.
    fn read_wall_clock(&mut self) {
        if self.router.config().hmac.is_some() {
            self.router.set_wall_clock(vouchd_net::wall_clock());
        }
    }

    pub(crate) fn handle(&mut self, now: Time, input: Input<'_>, network: &mut impl Network) {
        let was_active = self.router.state() == State::Active;
        self.read_wall_clock();
        let actions = self.router.handle(now, input);
        let is_active = self.router.state() == State::Active;
        if was_active != is_active {
            self.conflicts.record_transition(now, is_active);
        }
        self.carry_out(now, actions, network);
    }

    /// A packet that arrived on the interface for this virtual router.
    pub(crate) fn packet(&mut self, now: Time, received: &Received, payload: &[u8], network: &mut impl Network) {
        if self.is_for_another_host(received) || self.is_own(received) {
            return;
        }
        self.handle(now, Input::Packet(packet(received, payload)), network);
        // Not by the counters: in Initialize a router counts nothing, but knows who advertises.
        let mut sources = self.router.sources().iter();
        let accepted = sources.any(|source| source.address == received.source && source.last_accepted == Some(now));
        // A router that resigns no longer has a right to the addresses, so its advertisement explains no ARP claim.
        let resigns = payload.get(2) == Some(&Priority::RESIGN.get());
        if let (Sender::Ethernet(mac), true, false) = (received.sender, accepted, resigns) {
            let active = self.router.active_peer().map(|peer| peer.address);
            let is_active = active == Some(received.source);
            let finding = self.conflicts.record_advertisement(now, received.source, Mac(mac), is_active);
            finding.into_iter().for_each(|finding| self.log_finding(now, &finding));
        }
    }

    /// Takes an ARP packet in which another machine claims an address.
    pub(crate) fn claimed(&mut self, now: Time, claim: &NeighbourClaim) {
        if self.addresses().any(|address| address == claim.address) {
            self.conflicts.record_claim(now, claim.address, Mac(claim.mac), claim.count);
        }
    }

    /// Judges the claims of other machines to the addresses, and acts on the findings.
    pub(crate) fn judge_claims(&mut self, now: Time, network: &mut impl Network) {
        let active = self.router.state() == State::Active;
        let situation = Situation { active, down_interval: self.router.down_interval() };
        for finding in self.conflicts.judge(now, situation) {
            self.log_finding(now, &finding);
            match finding {
                Finding::Defend => self.carry_out(now, vec![Action::Announce { repeat: 1 }], network),
                Finding::Ask => self.ask(now, network),
                Finding::Conflict { .. } | Finding::Moved { .. } | Finding::RouterMoved { .. } => {}
            }
        }
    }

    /// Asks by ARP who else has the addresses. If the source is one of them (an owner), the request has no sender address.
    fn ask(&mut self, now: Time, network: &mut impl Network) {
        let Some(source) = self.router.source() else { return };
        let unspecified = match source {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let sender = if self.addresses().any(|address| address == source) { unspecified } else { source };
        let not_after = now + self.router.down_interval();
        self.order(now, AddressCommand::Ask { instance: self.key.clone(), sender, not_after }, network);
    }

    fn log_finding(&mut self, now: Time, finding: &Finding) {
        if let Some((reason, text)) = finding.log_text(&self.config.interface) {
            self.log_event(now, reason, Line::warn, format_args!("{reason}: {text}"));
        }
    }

    /// A packet of another virtual router on the same interface.
    pub(crate) fn overhear(&mut self, now: Time, received: &Received, payload: &[u8], network: &mut impl Network) {
        if !self.is_for_another_host(received) && !self.is_own(received) {
            let actions = self.router.overhear(now, &packet(received, payload));
            self.carry_out(now, actions, network);
        }
    }

    /// Whether the destination is not an address of this host. The IP layer would drop such a packet (RFC 1122 section 3.2.1.3),
    /// but a packet socket delivers it. A router that uses multicast needs no such rule: it discards and counts every
    /// destination but the group.
    fn is_for_another_host(&self, received: &Received) -> bool {
        let Received { destination, .. } = received;
        let is_local = match &self.link {
            Some(LinkState::Up { addresses, .. } | LinkState::Down { addresses, .. }) => {
                addresses.contains(destination)
            }
            Some(LinkState::Missing) | None => false,
        };
        let is_broadcast = matches!(destination, IpAddr::V4(v4) if v4.is_broadcast());
        !self.uses_multicast() && !destination.is_multicast() && !is_broadcast && !is_local
    }

    /// Whether this router sent the packet itself and something on the link sent it back. The MAC address distinguishes it from
    /// a packet of another machine with the same source address.
    fn is_own(&self, received: &Received) -> bool {
        let from_here = match received.sender {
            Sender::Ethernet(sender) => {
                matches!(&self.link, Some(LinkState::Up { mac: Some(mac), .. }) if *mac == sender)
                    // Another router that sends from it has another address.
                    || virtual_macs::of(&self.config).is_some_and(|virtual_mac| virtual_mac.mac() == sender)
            }
            Sender::Loopback => true,
            Sender::Unknown => false,
        };
        from_here && self.router.source() == Some(received.source)
    }

    /// Why a copy of a virtual address that the host has keeps this router out.
    fn shut_out(&self) -> Option<String> {
        let mut copies = self.states.iter().flat_map(|state| &state.copies);
        if let Some(virtual_mac) = virtual_macs::of(&self.config) {
            // RFC 9568 section 8.1.2, also for an owner.
            let HostCopy { at, .. } = copies.find(|copy| copy.at.interface == virtual_mac.parent)?;
            return Some(format!(
                "{at} is this host's own, so {} answers for it with its own MAC address: remove it there; vouchd adds it to \
                 {} while this router is active",
                virtual_mac.parent, virtual_mac.name
            ));
        }
        if self.config.priority == Priority::OWNER {
            return None;
        }
        let HostCopy { at, .. } = copies.find(|copy| copy.own)?;
        Some(format!("{at} is this host's own address: to make this router its owner, set priority = 255"))
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
                // Only a reload causes it, and the claims of all instances then say the same.
                Action::Withdraw { .. } => {}
                Action::Announce { repeat } => {
                    let not_after = now + self.router.down_interval();
                    self.order(
                        now,
                        AddressCommand::Announce { instance: self.key.clone(), repeat, not_after },
                        network,
                    );
                }
                Action::Event { event, left_out } => self.log_protocol_event(now, &event, left_out),
            }
        }
    }

    /// Writes the suppressed log lines whose time has come.
    pub(crate) fn write_overdue(&mut self, now: Time) {
        for action in self.router.overdue(now) {
            if let Action::Event { event, left_out } = action {
                self.log_protocol_event(now, &event, left_out);
            }
        }
        self.log.write_overdue(now);
    }

    /// Logs an event of this instance. `level` makes the line: [`Line::info`] and its like.
    fn log_event(&mut self, now: Time, reason: &'static str, level: fn(&Subject, String) -> Line, text: impl Display) {
        self.log.event(now, reason, level(&self.subject, text.to_string()));
    }

    fn order(&mut self, now: Time, command: AddressCommand, network: &mut impl Network) {
        // The next order, or the end of the lease, makes up for it.
        if let Err(refused) = network.address(command) {
            self.log_event(now, "order", Line::warn, refused);
        }
    }

    fn send(&mut self, now: Time, advertisement: &Advertisement, network: &mut impl Network) {
        let Some(source) = self.router.source() else { return };
        for (destination, bytes) in self.router.packets(advertisement) {
            let interface = &self.config.interface;
            // RFC 9568 section 7.2. By unicast nobody learns from it where the virtual MAC is.
            let sent = match virtual_macs::of(&self.config).filter(|_| destination.is_multicast()) {
                Some(virtual_mac) => network.send_from(virtual_mac.mac(), interface, source, destination, &bytes),
                None => network.send(interface, source, destination, &bytes),
            };
            let Err(error) = sent else {
                self.failing.remove(&destination);
                continue;
            };
            self.send_errors += 1;
            let error = format!("could not send an advertisement to {destination}: {error}");
            if self.failing.insert(destination, error.clone()).as_ref() != Some(&error) {
                self.log_event(now, "send", Line::warn, error);
            }
        }
    }

    pub(crate) fn report(&mut self, now: Time, report: Report, network: &mut impl Network) {
        match report {
            Report::Addresses { active, states, changes, .. } => {
                let state = self.router.state();
                for (reason, kind, line) in address_log::lines(&self.subject, &changes, state) {
                    self.log.state(now, reason, kind, line);
                }
                self.take_states(now, active, states, network);
            }
            Report::Routing { states, changes, .. } => {
                for (reason, kind, line) in routing_log::lines(&self.subject, &changes) {
                    self.log.state(now, reason, kind, line);
                }
                self.routing = states;
            }
            Report::VirtualMac { state, .. } => self.take_virtual_mac(now, state, network),
            Report::Dropping { error, .. } => {
                if let Some(error) = &error {
                    let text = format_args!("accepts packets to its addresses although accept = false: {error}");
                    self.log_event(now, "accept", Line::warn, text);
                }
                self.not_dropped = error;
            }
            Report::Announced { frames, .. } => self.subject.in_scope(|| debug!(frames, "announced the addresses")),
            Report::AnnounceFailed { address, error, .. } => {
                self.log_event(now, "announce", Line::warn, format_args!("could not announce {address}: {error}"));
            }
            Report::Late { command, late, .. } => {
                let what = match command {
                    CommandKind::Install => "installing the addresses",
                    CommandKind::Announce => "announcing the addresses",
                };
                self.log_event(now, "late", Line::warn, format_args!("skipped {what}: {late}"));
            }
        }
    }

    /// Whether the configuration places the address on another interface than the others.
    fn is_elsewhere(&self, address: &VirtualAddress) -> bool {
        let configured = self.config.addresses.iter().chain(&self.config.extra_addresses);
        let own = &self.config.interface;
        configured.filter(|it| it.ip == address.address).any(|it| {
            it.interface.as_ref().is_some_and(|interface| interface != own && **interface == *address.interface)
        })
    }

    /// Takes new states of the addresses. Some may have failed, or be the host's own.
    fn take_states(&mut self, now: Time, active: bool, states: Vec<AddressState>, network: &mut impl Network) {
        let before = std::mem::replace(&mut self.states, states);
        let copies = |states: &[AddressState]| -> Vec<VirtualAddress> {
            // The interface's own address is not a copy; the instance's reason reports it.
            states.iter().flat_map(|state| &state.copies).filter(|copy| !copy.own).map(|copy| copy.at.clone()).collect()
        };
        let (known, found) = (copies(&before), copies(&self.states));
        if self.config.priority != Priority::OWNER {
            for copy in found.iter().filter(|copy| !known.contains(copy)) {
                let line = Line::warn(&self.subject, address_log::not_ours(copy, self.router.state()).to_string());
                self.log.state(now, "copy", &copy.to_string(), line);
            }
            for copy in known.iter().filter(|copy| !found.contains(copy)) {
                let line = Line::info(&self.subject, format!("{copy}, which was not vouchd's, is gone"));
                self.log.state(now, "copy", &copy.to_string(), line);
            }
        }
        self.judge_link(now, network);
        // An address that is present was only not renewed; the next advertisement tries again.
        // Addresses on other interfaces follow this one's state, and do not decide it.
        let elsewhere = |state: &AddressState| self.is_elsewhere(&state.address);
        let missing = |state: &&AddressState| state.presence == Presence::Absent && !elsewhere(state);
        let failed = self.states.iter().filter(missing).find(|state| state.error.is_some());
        let reason = failed.and_then(|state| Some(format!("{}: {}", state.address, state.error.as_ref()?)));
        if !active || self.lifetime.is_none() {
            return;
        }
        if let Some(reason) = reason {
            self.handle(now, Input::AddressesFailed { reason }, network);
        } else if !self.states.iter().any(|state| missing(&state)) {
            self.handle(now, Input::AddressesInstalled, network);
        }
    }
}

fn packet<'a>(received: &Received, payload: &'a [u8]) -> Packet<'a> {
    let Received { source, destination, ttl, .. } = *received;
    Packet { source, destination, ttl, payload }
}
