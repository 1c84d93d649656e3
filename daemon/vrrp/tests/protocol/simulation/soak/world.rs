//! A pair of routers with a kernel each, an outsider, and a third host ([`super::third_host`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::wire::{Advertisement, ChecksumForm, Priority};
use vouchd_vrrp::{Action, Config, Health, Input, Link, Packet, Router, State, Time};

use super::invariants::Invariants;
use crate::bench::{GROUP, millis, seconds};
use crate::simulation::random::Random;
use crate::simulation::schedule::{Schedule, Step};

/// How long the address keeper takes for an order.
const KERNEL: Duration = Duration::from_micros(500);

/// The longest delay of a frame.
pub const MAX_DELAY: Duration = Duration::from_millis(20);

pub struct Node {
    pub address: IpAddr,
    pub config: Config,
    pub router: Router,
    /// What failing checks add to the priority; 0 or less.
    pub penalty: i16,
    pub fault: bool,
    pub cable: bool,
    /// Its kernel refuses every address that it does not have yet.
    pub refuses: bool,
    pub frozen_until: Time,
    /// Its kernel carries nothing out before this.
    pub busy_until: Time,
    /// It was active, and the third host could not learn that it no longer is.
    pub(super) stopped_unheard: bool,
    /// Its address keeper has reported the result of the first order since the addresses were removed.
    reported: bool,
    /// The addresses in its kernel, and when their leases end.
    pub kernel: BTreeMap<IpAddr, Time>,
}

/// Which frames are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    None,
    /// The routers don't hear each other, and the third host hears only one of them.
    Split {
        host_with: usize,
    },
    /// The other router does not hear this one.
    OneWay {
        from: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Install { until: Time },
    Remove,
    Withdraw(Vec<IpAddr>),
    Announce { not_after: Time },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happening {
    Packet {
        source: IpAddr,
        payload: Vec<u8>,
    },
    Kernel(Order),
    /// An announcement reaches the third host.
    Announced {
        address: IpAddr,
    },
}

pub struct World {
    pub now: Time,
    pub random: Random,
    pub nodes: Vec<Node>,
    pub cut: Cut,
    pub loss_percent: u64,
    pub invariants: Invariants,
    /// The third host's ARP table: the node that it believes to have each address.
    pub neighbours: BTreeMap<IpAddr, usize>,
    /// When the third host next asks who has an address.
    pub(super) asks_at: Time,
    schedule: Schedule<Happening>,
    last_announced: Time,
}

impl World {
    pub fn new(seed: u64, configs: [Config; 2]) -> Self {
        let now = Time::from_nanos(1_000_000_000_000);
        let mut world = Self {
            now,
            random: Random::new(seed),
            nodes: Vec::new(),
            cut: Cut::None,
            loss_percent: 0,
            invariants: Invariants::new(seed, now),
            neighbours: BTreeMap::new(),
            asks_at: now,
            schedule: Schedule::new(),
            last_announced: now,
        };
        for (config, last) in configs.into_iter().zip([10, 11]) {
            let node = Node {
                address: [192, 0, 2, last].into(),
                router: Router::new(now, config.clone()).expect("a good configuration"),
                config,
                penalty: 0,
                fault: false,
                cable: true,
                refuses: false,
                frozen_until: now,
                busy_until: now,
                stopped_unheard: false,
                reported: false,
                kernel: BTreeMap::new(),
            };
            world.nodes.push(node);
            let node = world.nodes.len() - 1;
            world.cable(node, true);
            world.checks(node);
        }
        world
    }

    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(step) = self.next_step(end) {
            match step {
                Step::Event { at, node, event } => {
                    self.pass(at);
                    self.happen(node, event);
                }
                Step::Timer { at, node } => {
                    self.pass(at);
                    self.give(node, Input::Timer);
                }
            }
            Invariants::look(self);
        }
        self.pass(end);
        Invariants::look(self);
    }

    fn next_step(&mut self, end: Time) -> Option<Step<Happening>> {
        let timer = (0..self.nodes.len()).filter_map(|node| Some((self.deadline(node)?, node))).min();
        self.schedule.next(end, timer, |node, happening| match happening {
            // The third host never freezes.
            Happening::Announced { .. } => None,
            Happening::Packet { .. } | Happening::Kernel(_) => Some(self.nodes[node].frozen_until),
        })
    }

    /// Lets time pass: leases end, and the third host asks who has an address.
    fn pass(&mut self, to: Time) {
        self.now = self.now.max(to);
        for node in 0..self.nodes.len() {
            let ended: Vec<_> = self.nodes[node]
                .kernel
                .iter()
                .filter(|(_, end)| **end <= self.now)
                .map(|(address, _)| *address)
                .collect();
            for address in ended {
                self.nodes[node].kernel.remove(&address);
                Invariants::lease_ended(self, node);
            }
            let due = self.nodes[node].router.overdue(self.now);
            self.act(node, due);
        }
        if self.cut != Cut::None {
            // Meanwhile the third host can't learn who removed an address: it has to find out by itself.
            let holds = |node: usize, address: &IpAddr| self.nodes[node].kernel.contains_key(address);
            self.neighbours.retain(|address, node| holds(*node, address));
        }
        while self.asks_at <= self.now {
            self.asks_at = self.asks_at + self.random.duration(millis(50), millis(900));
            self.ask();
        }
    }

    fn deadline(&self, node: usize) -> Option<Time> {
        let node = &self.nodes[node];
        node.router.deadline().map(|deadline| deadline.max(node.frozen_until))
    }

    fn happen(&mut self, node: usize, happening: Happening) {
        match happening {
            Happening::Packet { source, payload } => {
                let packet = Packet { source, destination: GROUP, ttl: 255, payload: &payload };
                self.give(node, Input::Packet(packet));
            }
            Happening::Kernel(order) => self.carry_out(node, order),
            Happening::Announced { address } => self.hear_announcement(node, address),
        }
    }

    fn carry_out(&mut self, node: usize, order: Order) {
        let now = self.now;
        let it = &mut self.nodes[node];
        match order {
            // Too late to be worth a lease of a second.
            Order::Install { until } if until < now + seconds(0.9) => {}
            Order::Install { until } => {
                let mut refused = None;
                let mut is_news = !std::mem::replace(&mut it.reported, true);
                for address in &it.config.addresses {
                    if it.refuses && !it.kernel.contains_key(address) {
                        refused = Some(format!("{address}: refused"));
                    } else {
                        is_news |= it.kernel.insert(*address, until).is_none();
                    }
                }
                match refused {
                    Some(reason) => self.give(node, Input::AddressesFailed { reason }),
                    None if is_news => self.give(node, Input::AddressesInstalled),
                    None => {}
                }
            }
            Order::Remove => {
                it.reported = false;
                it.kernel.clear();
            }
            Order::Withdraw(addresses) => it.kernel.retain(|address, _| !addresses.contains(address)),
            Order::Announce { not_after } if not_after < now => {}
            Order::Announce { .. } => {
                let held: Vec<_> = it.kernel.keys().copied().collect();
                for address in held {
                    // A segment keeps the order in which frames are sent to one host.
                    let delay = self.random.duration(Duration::ZERO, MAX_DELAY);
                    self.last_announced = self.last_announced.max(now + delay);
                    self.schedule.push(self.last_announced, node, Happening::Announced { address });
                }
            }
        }
    }

    pub fn give(&mut self, node: usize, input: Input<'_>) {
        let before = self.nodes[node].router.state();
        let actions = self.nodes[node].router.handle(self.now, input);
        self.changed_state(node, before);
        self.act(node, actions);
    }

    fn changed_state(&mut self, node: usize, before: State) {
        match (before, self.nodes[node].router.state()) {
            (State::Initialize | State::Backup, State::Active) => {
                self.nodes[node].stopped_unheard = false;
                Invariants::became_active(self, node);
            }
            (State::Active, State::Initialize | State::Backup) => self.forget_if_unheard(node),
            (State::Initialize | State::Backup | State::Active, _) => {}
        }
    }

    fn act(&mut self, node: usize, actions: Vec<Action>) {
        Invariants::acted(self, node, &actions);
        for action in actions {
            let order = match action {
                Action::Send(advertisement) => {
                    let to = 1 - node;
                    self.send(node, to, self.nodes[node].address, &advertisement);
                    continue;
                }
                Action::Install { lease } => {
                    // The address keeper adds 0.1 s, without which a lease always loses one of its whole seconds.
                    let lease = lease.expect("leases") + millis(100);
                    Order::Install { until: self.now + lease }
                }
                Action::Remove => Order::Remove,
                Action::Withdraw { addresses } => Order::Withdraw(addresses),
                Action::Announce { .. } => {
                    Order::Announce { not_after: self.now + self.nodes[node].router.down_interval() }
                }
                Action::Event { .. } => continue,
            };
            let at = self.nodes[node].busy_until.max(self.now + KERNEL);
            self.schedule.push(at, node, Happening::Kernel(order));
        }
    }

    fn send(&mut self, from: usize, to: usize, source: IpAddr, advertisement: &Advertisement) {
        let cable = self.nodes[from].cable && self.nodes[to].cable;
        if !cable || !self.reaches(from) || self.random.percent(self.loss_percent) {
            return;
        }
        let payload = advertisement.encode(source, GROUP, ChecksumForm::PseudoHeader).expect("encodes");
        let delay = self.random.duration(Duration::ZERO, MAX_DELAY);
        self.schedule.push_frame(self.now + delay, from, to, Happening::Packet { source, payload });
    }

    /// An outsider sends to both routers.
    pub fn inject(&mut self, advertisement: &Advertisement) {
        let source = IpAddr::from([192, 0, 2, 66]);
        let payload = advertisement.encode(source, GROUP, ChecksumForm::PseudoHeader).expect("encodes");
        for node in (0..self.nodes.len()).filter(|node| self.nodes[*node].cable).collect::<Vec<_>>() {
            self.schedule.push(self.now, node, Happening::Packet { source, payload: payload.clone() });
        }
    }

    pub(super) fn reaches(&self, from: usize) -> bool {
        match self.cut {
            Cut::None => true,
            Cut::Split { .. } => false,
            Cut::OneWay { from: lost } => from != lost,
        }
    }

    pub fn cable(&mut self, node: usize, plugged: bool) {
        self.nodes[node].cable = plugged;
        let source = self.nodes[node].address;
        let down = Link::Down { reason: "no carrier".to_owned() };
        self.give(node, Input::Link(if plugged { Link::Up { source } } else { down }));
    }

    /// Gives a node the current result of its checks.
    pub fn checks(&mut self, node: usize) {
        let health = self.nodes[node].health();
        self.give(node, Input::Health(health));
    }

    pub fn reload(&mut self, node: usize, config: Config) {
        self.invariants.reloaded();
        let it = &mut self.nodes[node];
        it.config = config.clone();
        let health = it.health();
        let before = it.router.state();
        let actions = it.router.reconfigure(self.now, config, health).expect("a good configuration");
        self.changed_state(node, before);
        self.act(node, actions);
    }
}

impl Node {
    pub fn is_active(&self) -> bool {
        self.router.state() == State::Active
    }

    /// The effective priority that the router must have.
    pub fn expected_priority(&self) -> Priority {
        if self.config.is_owner() {
            return Priority::OWNER;
        }
        let sum = (i16::from(self.config.priority.get()) + self.penalty).clamp(1, 254);
        Priority::new(u8::try_from(sum).expect("in range"))
    }

    fn health(&self) -> Health {
        match self.fault {
            true => Health::Fault { reason: "simulated".to_owned() },
            false => Health::Fit { priority: self.expected_priority(), reason: "simulated".to_owned() },
        }
    }
}
