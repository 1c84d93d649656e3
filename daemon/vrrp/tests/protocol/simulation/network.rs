//! Routers on one segment that delays and loses packets, with a clock that jumps from event to event.

use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::wire::{Advertisement, ChecksumForm, Priority, parse};
use vouchd_vrrp::{Action, Config, Health, Input, Link, Packet, Router, State, Time};

use super::random::Random;
use super::rfc::RfcRouter;
use super::schedule::{Schedule, Step};
use crate::bench::GROUP;

pub enum Kind {
    Ours(Box<Router>),
    Rfc(RfcRouter),
}

pub struct Node {
    pub address: IpAddr,
    pub config: Config,
    pub kind: Kind,
    pub healthy: bool,
    /// Its kernel has the addresses.
    pub holds: bool,
    /// The highest priority since it became active.
    peak: u8,
    frozen_until: Time,
}

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Its checks give it this priority.
    Priority(u8),
    /// A check reports a hard fault.
    Fault,
    /// The process is stopped for this long.
    Freeze(Duration),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Packet { source: IpAddr, payload: Vec<u8> },
    Change(Change),
}

pub struct Network {
    pub now: Time,
    pub nodes: Vec<Node>,
    pub random: Random,
    pub loss_percent: u64,
    pub longest_delay: Duration,
    schedule: Schedule<Happening>,
    pub removals: u32,
}

impl Network {
    pub fn new(random: Random) -> Self {
        Self {
            now: Time::from_nanos(1_000_000_000_000),
            nodes: Vec::new(),
            random,
            loss_percent: 0,
            longest_delay: Duration::from_millis(30),
            schedule: Schedule::new(),
            removals: 0,
        }
    }

    pub fn add(&mut self, address: IpAddr, config: Config, ours: bool) {
        let kind = if ours {
            Kind::Ours(Box::new(Router::new(self.now, config.clone()).expect("a good configuration")))
        } else {
            Kind::Rfc(RfcRouter::new(self.now, address, &config))
        };
        let priority = config.priority;
        let frozen_until = self.now;
        self.nodes.push(Node { address, config, kind, healthy: true, holds: false, peak: 0, frozen_until });
        let node = self.nodes.len() - 1;
        self.give(node, Input::Link(Link::Up { source: address }));
        self.give(node, Input::Health(Health::Fit { priority, reason: "start".to_owned() }));
    }

    pub fn plan(&mut self, at: Time, node: usize, change: Change) {
        self.schedule.push(at, node, Happening::Change(change));
    }

    /// Runs until `end`, calling `watch` after every step.
    pub fn run(&mut self, end: Time, mut watch: impl FnMut(&Self)) {
        while let Some(step) = self.next_step(end) {
            match step {
                Step::Event { at, node, event } => self.happen(at, node, event),
                Step::Timer { at, node } => {
                    self.now = self.now.max(at);
                    self.fire_timer(node);
                }
            }
            watch(self);
        }
        self.now = end;
    }

    fn next_step(&mut self, end: Time) -> Option<Step<Happening>> {
        let timer = (0..self.nodes.len()).filter_map(|node| Some((self.deadline(node)?, node))).min();
        self.schedule.next(end, timer, |node, _| Some(self.nodes[node].frozen_until))
    }

    fn happen(&mut self, at: Time, node: usize, happening: Happening) {
        self.now = self.now.max(at);
        match happening {
            Happening::Packet { source, payload } => self.hear(node, source, &payload),
            Happening::Change(change) => self.change(node, change),
        }
    }

    fn deadline(&self, node: usize) -> Option<Time> {
        let node = &self.nodes[node];
        let deadline = match &node.kind {
            Kind::Ours(router) => router.deadline(),
            Kind::Rfc(router) => router.deadline(),
        };
        deadline.map(|deadline| deadline.max(node.frozen_until))
    }

    fn fire_timer(&mut self, node: usize) {
        let now = self.now;
        match &mut self.nodes[node].kind {
            Kind::Ours(_) => self.give(node, Input::Timer),
            Kind::Rfc(router) => {
                let sent = router.timer(now);
                self.send_priorities(node, &sent);
            }
        }
    }

    fn hear(&mut self, node: usize, source: IpAddr, payload: &[u8]) {
        let now = self.now;
        match &mut self.nodes[node].kind {
            Kind::Ours(_) => {
                let packet = Packet { source, destination: GROUP, ttl: 255, payload };
                self.give(node, Input::Packet(packet));
            }
            Kind::Rfc(router) => {
                let heard = parse(payload, source, GROUP).expect("a good packet").advertisement;
                let sent = router.hear(now, source, heard.priority, heard.interval);
                self.send_priorities(node, &sent);
            }
        }
    }

    fn change(&mut self, node: usize, change: Change) {
        let now = self.now;
        self.nodes[node].healthy = match change {
            Change::Priority(_) => true,
            Change::Fault => false,
            Change::Freeze(duration) => {
                self.nodes[node].frozen_until = now + duration;
                return;
            }
        };
        match (&mut self.nodes[node].kind, change) {
            (Kind::Ours(_), Change::Priority(priority)) => {
                let (priority, reason) = (Priority::new(priority), "simulated".to_owned());
                self.give(node, Input::Health(Health::Fit { priority, reason }));
            }
            (Kind::Ours(_), _) => self.give(node, Input::Health(Health::Fault { reason: "simulated".to_owned() })),
            (Kind::Rfc(router), Change::Priority(priority)) => {
                if router.deadline().is_none() {
                    router.recover(now);
                }
                if router.priority() != 255 {
                    router.set_priority(now, priority);
                }
                self.note(node);
            }
            (Kind::Rfc(router), _) => {
                let sent = router.fault();
                self.send_priorities(node, &sent);
            }
        }
    }

    fn give(&mut self, node: usize, input: Input<'_>) {
        let now = self.now;
        let Kind::Ours(router) = &mut self.nodes[node].kind else { return };
        let mut actions = router.handle(now, input);
        if router.is_in_trial() {
            actions.extend(router.handle(now, Input::AddressesInstalled));
        }
        for action in actions {
            match action {
                Action::Send(advertisement) => self.send(node, &advertisement),
                Action::Install { .. } => self.nodes[node].holds = true,
                Action::Remove => {
                    self.nodes[node].holds = false;
                    self.removals += 1;
                }
                Action::Announce { .. } => assert!(self.nodes[node].holds, "announced before installed"),
                Action::Withdraw { .. } | Action::Event { .. } => {}
            }
        }
        self.note(node);
        let node = &self.nodes[node];
        assert_eq!(node.holds, node.is_active(), "exactly the active router holds the addresses");
    }

    fn send_priorities(&mut self, node: usize, priorities: &[u8]) {
        self.note(node);
        self.nodes[node].holds = self.nodes[node].is_active();
        let config = self.nodes[node].config.clone();
        for priority in priorities {
            let advertisement = Advertisement {
                version: config.version,
                vrid: config.vrid,
                priority: Priority::new(*priority),
                interval: config.interval,
                addresses: config.addresses.clone(),
                auth: config.auth,
            };
            self.send(node, &advertisement);
        }
    }

    fn send(&mut self, from: usize, advertisement: &Advertisement) {
        let source = self.nodes[from].address;
        let payload = advertisement.encode(source, GROUP, ChecksumForm::PseudoHeader).expect("encodes");
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            if self.random.percent(self.loss_percent) {
                continue;
            }
            let delay = self.random.duration(Duration::ZERO, self.longest_delay);
            let packet = Happening::Packet { source, payload: payload.clone() };
            self.schedule.push_frame(self.now + delay, from, to, packet);
        }
    }

    fn note(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.peak = if node.is_active() { node.peak.max(node.priority()) } else { 0 };
    }
}

impl Node {
    pub fn is_active(&self) -> bool {
        match &self.kind {
            Kind::Ours(router) => router.state() == State::Active,
            Kind::Rfc(router) => router.is_active(),
        }
    }

    pub fn priority(&self) -> u8 {
        match &self.kind {
            Kind::Ours(router) => router.priority().get(),
            Kind::Rfc(router) => router.priority(),
        }
    }

    /// Whether it is one of ours whose checks lowered its priority while it was active.
    pub fn yields(&self) -> bool {
        match &self.kind {
            Kind::Ours(_) => self.is_active() && self.priority() < self.peak,
            Kind::Rfc(_) => false,
        }
    }
}
