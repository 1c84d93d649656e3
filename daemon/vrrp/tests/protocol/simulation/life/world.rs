//! A pair of routers with a kernel each, an outsider, and a third host that learns from announcements and asks now and then.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::wire::{Advertisement, ChecksumForm, Priority};
use vouchd_vrrp::{Action, Config, Health, Input, Instant, Link, Packet, Router, State, Why};

use super::watch::Watch;
use crate::bench::{GROUP, millis, seconds};
use crate::simulation::random::Random;

/// What the keeper of the addresses takes for an order.
const KERNEL: Duration = Duration::from_micros(500);

/// The longest way of a frame.
pub const DELAY: Duration = Duration::from_millis(20);

pub struct Node {
    pub address: IpAddr,
    pub config: Config,
    pub router: Router,
    /// What a failing check takes from the priority.
    pub penalty: i16,
    pub fault: bool,
    pub cable: bool,
    /// Its kernel takes no address that it does not have.
    pub refuses: bool,
    pub frozen_until: Instant,
    /// Its kernel does nothing before.
    pub busy_until: Instant,
    /// It was active, and nobody could hear that it is no more.
    unheard: bool,
    /// Its keeper has reported what became of the first order since it gave the addresses up.
    reported: bool,
    /// By address, until when.
    pub kernel: BTreeMap<IpAddr, Instant>,
}

/// What does not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    None,
    /// The routers don't hear each other, and the third host only one of them.
    Split {
        host_with: usize,
    },
    /// The other one does not hear this one.
    OneWay {
        from: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Install { until: Instant },
    Remove,
    Withdraw(Vec<IpAddr>),
    Announce { not_after: Instant },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Packet {
        source: IpAddr,
        payload: Vec<u8>,
    },
    Kernel(Order),
    /// The third host hears the announcement.
    Announced {
        address: IpAddr,
    },
}

pub struct World {
    pub now: Instant,
    pub random: Random,
    pub nodes: Vec<Node>,
    pub cut: Cut,
    pub loss_percent: u64,
    pub watch: Watch,
    /// The third host's neighbours.
    pub neighbours: BTreeMap<IpAddr, usize>,
    asks_at: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64, usize, Happening)>>,
    created: u64,
    last_arrival: BTreeMap<(usize, usize), Instant>,
    last_announced: Instant,
}

impl World {
    pub fn new(seed: u64, configs: [Config; 2]) -> Self {
        let now = Instant::from_nanos(1_000_000_000_000);
        let mut world = Self {
            now,
            random: Random::new(seed),
            nodes: Vec::new(),
            cut: Cut::None,
            loss_percent: 0,
            watch: Watch::new(seed, now),
            neighbours: BTreeMap::new(),
            asks_at: now,
            queue: BinaryHeap::new(),
            created: 0,
            last_arrival: BTreeMap::new(),
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
                unheard: false,
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
        loop {
            self.put_off_what_waits_for_the_frozen();
            let arrival = self.queue.peek().map(|Reverse((at, ..))| *at);
            let timer = (0..self.nodes.len()).filter_map(|node| Some((self.deadline(node)?, node))).min();
            match (arrival, timer) {
                (Some(at), timer) if at <= end && timer.is_none_or(|(due, _)| at <= due) => {
                    let Some(Reverse((_, _, node, happening))) = self.queue.pop() else { break };
                    self.pass(at);
                    self.happen(node, happening);
                }
                (_, Some((due, node))) if due <= end => {
                    self.pass(due);
                    self.give(node, Input::Timer);
                }
                _ => break,
            }
            Watch::look(self);
        }
        self.pass(end);
        Watch::look(self);
    }

    /// Time goes on: leases end, and the third host asks who has an address.
    fn pass(&mut self, to: Instant) {
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
                Watch::lease_ended(self, node);
            }
            let due = self.nodes[node].router.overdue(self.now);
            self.act(node, due);
        }
        if self.cut != Cut::None {
            // Nobody hears who gives an address up meanwhile: the third host has to find out by itself.
            let holds = |node: usize, address: &IpAddr| self.nodes[node].kernel.contains_key(address);
            self.neighbours.retain(|address, node| holds(*node, address));
        }
        while self.asks_at <= self.now {
            self.asks_at = self.asks_at + self.random.duration(millis(50), millis(900));
            self.ask();
        }
    }

    /// Asks everybody, or only whom it knows: then nothing changes, not even if that one does not answer any more. To find
    /// that out takes a host many seconds, in which its packets are lost.
    fn ask(&mut self) {
        let everything: BTreeSet<IpAddr> = self.nodes.iter().flat_map(|node| node.kernel.keys().copied()).collect();
        for address in everything {
            if self.neighbours.contains_key(&address) && self.random.percent(80) {
                continue;
            }
            let answers = |node: usize| self.reaches_host(node) && self.nodes[node].kernel.contains_key(&address);
            let mut heard: Vec<usize> = (0..self.nodes.len()).filter(|node| answers(*node)).collect();
            if self.random.percent(50) {
                heard.reverse();
            }
            // The last answer counts.
            if let Some(node) = heard.pop() {
                self.neighbours.insert(address, node);
            }
        }
    }

    /// Who stops while nobody can hear it leaves no trace: the third host has to find out by itself. Nor does one that was
    /// stalled, for whom its kernel answered meanwhile: it may not say a word.
    fn stopped_unheard(&mut self, node: usize) {
        let stalled = matches!(self.nodes[node].router.why(), Why::Stalled { .. });
        if stalled
            || !self.reaches(node)
            || !self.nodes[1 - node].cable
            || !self.nodes[node].cable
            || self.loss_percent > 0
        {
            self.nodes[node].unheard = true;
            self.neighbours.retain(|_, known| *known != node);
        }
    }

    fn deadline(&self, node: usize) -> Option<Instant> {
        let node = &self.nodes[node];
        node.router.deadline().map(|deadline| deadline.max(node.frozen_until))
    }

    /// What reaches a frozen node waits, in order, until it runs again. The third host, at the end, never freezes.
    fn put_off_what_waits_for_the_frozen(&mut self) {
        while let Some(Reverse((at, _, node, happening))) = self.queue.peek() {
            let awake = self.nodes[*node].frozen_until;
            if *at >= awake || matches!(happening, Happening::Announced { .. }) {
                return;
            }
            let Some(Reverse((_, created, node, happening))) = self.queue.pop() else { return };
            self.queue.push(Reverse((awake, created, node, happening)));
        }
    }

    fn happen(&mut self, node: usize, happening: Happening) {
        match happening {
            Happening::Packet { source, payload } => {
                let packet = Packet { source, destination: GROUP, ttl: 255, payload: &payload };
                self.give(node, Input::Packet(packet));
            }
            Happening::Kernel(order) => self.carry_out(node, order),
            Happening::Announced { address } => {
                if self.reaches_host(node) && !self.nodes[node].unheard {
                    self.neighbours.insert(address, node);
                    if self.random.percent(10) {
                        self.asks_at = self.now + self.random.duration(Duration::ZERO, millis(5));
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, node: usize, order: Order) {
        let now = self.now;
        let it = &mut self.nodes[node];
        match order {
            // Too late for a lease of a second.
            Order::Install { until } if until < now + seconds(0.9) => {}
            Order::Install { until } => {
                let mut refused = None;
                let mut news = !std::mem::replace(&mut it.reported, true);
                for address in &it.config.addresses {
                    if it.refuses && !it.kernel.contains_key(address) {
                        refused = Some(format!("{address}: refused"));
                    } else {
                        news |= it.kernel.insert(*address, until).is_none();
                    }
                }
                match refused {
                    Some(reason) => self.give(node, Input::AddressesFailed { reason }),
                    None if news => self.give(node, Input::AddressesInstalled),
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
                    let delay = self.random.duration(Duration::ZERO, DELAY);
                    self.last_announced = self.last_announced.max(now + delay);
                    self.push(self.last_announced, node, Happening::Announced { address });
                }
            }
        }
    }

    fn push(&mut self, at: Instant, node: usize, happening: Happening) {
        self.created += 1;
        self.queue.push(Reverse((at, self.created, node, happening)));
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
                self.nodes[node].unheard = false;
                Watch::became_active(self, node);
            }
            (State::Active, State::Initialize | State::Backup) => self.stopped_unheard(node),
            (State::Initialize | State::Backup | State::Active, _) => {}
        }
    }

    fn act(&mut self, node: usize, actions: Vec<Action>) {
        Watch::acted(self, node, &actions);
        for action in actions {
            let order = match action {
                Action::Send(advertisement) => {
                    let to = 1 - node;
                    self.send(node, to, self.nodes[node].address, &advertisement);
                    continue;
                }
                Action::Install { lease } => {
                    // 0.1 s: the slack of the keeper, without which a lease always loses one of its whole seconds.
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
            self.push(at, node, Happening::Kernel(order));
        }
    }

    fn send(&mut self, from: usize, to: usize, source: IpAddr, advertisement: &Advertisement) {
        let cable = self.nodes[from].cable && self.nodes[to].cable;
        if !cable || !self.reaches(from) || self.random.percent(self.loss_percent) {
            return;
        }
        let payload = advertisement.encode(source, GROUP, ChecksumForm::PseudoHeader).expect("encodes");
        let delay = self.random.duration(Duration::ZERO, DELAY);
        let last = self.last_arrival.entry((from, to)).or_default();
        let arrival = (self.now + delay).max(*last);
        *last = arrival;
        self.push(arrival, to, Happening::Packet { source, payload });
    }

    /// What an outsider sends to both.
    pub fn inject(&mut self, advertisement: &Advertisement) {
        let source = IpAddr::from([192, 0, 2, 66]);
        let payload = advertisement.encode(source, GROUP, ChecksumForm::PseudoHeader).expect("encodes");
        for node in (0..self.nodes.len()).filter(|node| self.nodes[*node].cable).collect::<Vec<_>>() {
            self.push(self.now, node, Happening::Packet { source, payload: payload.clone() });
        }
    }

    fn reaches(&self, from: usize) -> bool {
        match self.cut {
            Cut::None => true,
            Cut::Split { .. } => false,
            Cut::OneWay { from: lost } => from != lost,
        }
    }

    fn reaches_host(&self, node: usize) -> bool {
        let cut = match self.cut {
            Cut::None | Cut::OneWay { .. } => false,
            Cut::Split { host_with } => node != host_with,
        };
        !cut && self.nodes[node].cable
    }

    pub fn cable(&mut self, node: usize, plugged: bool) {
        self.nodes[node].cable = plugged;
        let source = self.nodes[node].address;
        let down = Link::Down { reason: "no carrier".to_owned() };
        self.give(node, Input::Link(if plugged { Link::Up { source } } else { down }));
    }

    /// What the checks of a node say now.
    pub fn checks(&mut self, node: usize) {
        let health = self.nodes[node].health();
        self.give(node, Input::Health(health));
    }

    pub fn reload(&mut self, node: usize, config: Config) {
        self.watch.reloaded();
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

    /// What the priority has to be.
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
