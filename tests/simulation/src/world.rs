//! The machines, the network between them, a third host, and the clock that jumps from event to event.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use vouchd_vrrp::wire::{Advertisement, ChecksumForm, GROUP_V4, Priority, parse};
use vouchd_vrrp::{Action, Input, Packet, ProtocolEvent, Router, State, Why};

use crate::bounds::{Longest, MAX_DELAY};
use crate::coverage::{Coverage, Kind as InputKind};
use crate::foreign::{Foreign, Heard};
use crate::node::{Device, Node, virtual_addresses};
use crate::random::Random;
use crate::scenario::{Kind, Scenario};
use crate::schedule::Schedule;

pub(crate) const GROUP: IpAddr = IpAddr::V4(GROUP_V4);

/// What the address keeper has to do.
pub(crate) enum Order {
    Install { until: Duration },
    Remove,
    Withdraw(Vec<IpAddr>),
    Announce { not_after: Duration },
}

pub(crate) enum Happening {
    Packet {
        source: IpAddr,
        destination: IpAddr,
        ttl: u8,
        payload: Rc<[u8]>,
        stray: bool,
    },
    Kernel(Order),
    /// An announcement reaches the third host.
    Announced,
}

/// Figures of a run.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Decisions about who is active: takeovers, and elections called.
    pub elections: u64,
    /// Times that a router became active.
    pub takeovers: u64,
    /// Elections that an active router called because its priority fell.
    pub called: u64,
    /// Frames that arrived.
    pub frames: u64,
    /// Inputs of vouchd's state machine.
    pub inputs: u64,
    /// Simulated time.
    pub time: Duration,
    /// The transitions of vouchd's state machine, by their reason.
    pub transitions: std::collections::BTreeMap<(State, State, &'static str), u64>,
}

/// The state of a simulation.
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Net,
    pub(crate) queue: Schedule<Happening>,
    /// Whom the third host sends packets to.
    pub(crate) believes: Option<usize>,
    pub(crate) calm_since: Duration,
    /// Since when more than one router, and since when none is active.
    pub(crate) many_since: Option<Duration>,
    pub(crate) none_since: Option<Duration>,
    /// Whether each node is able to be active.
    pub(crate) able: Vec<bool>,
    pub(crate) longest: Longest,
    /// A kernel was too busy for an order; what follows from that is no fault of a router.
    pub(crate) excused_until: Duration,
    pub(crate) figures: Figures,
    pub(crate) coverage: Coverage,
    pub(crate) failure: Option<String>,
    /// What happened, if it is wanted.
    pub(crate) trace: Option<Vec<String>>,
    last_announced: Duration,
    seed: u64,
    /// When the last frame was sent, and how many were sent before it at that time.
    last_sent: (Duration, u64),
}

/// What the network does to frames.
#[derive(Default)]
pub(crate) struct Net {
    pub(crate) loss: u8,
    pub(crate) reorder: u8,
    pub(crate) duplicate: u8,
    /// Who is not heard by whom.
    pub(crate) cuts: Vec<(usize, usize)>,
    /// On which side of a split each router is.
    pub(crate) side: Vec<bool>,
}

impl Net {
    pub(crate) fn carries(&self, from: usize, to: usize) -> bool {
        !self.cuts.contains(&(from, to)) && self.side.get(from) == self.side.get(to)
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.loss == 0
            && self.reorder == 0
            && self.duplicate == 0
            && self.cuts.is_empty()
            && self.side.iter().all(|side| *side == self.side[0])
    }

    pub(crate) fn heal(&mut self) {
        let routers = self.side.len();
        *self = Self { side: vec![false; routers], ..Self::default() };
    }
}

impl World {
    pub(crate) fn new(scenario: &Scenario, traced: bool) -> Self {
        let nodes: Vec<Node> = scenario.routers.iter().map(|spec| Node::new(*spec, scenario.version)).collect();
        let mut world = Self {
            now: Duration::ZERO,
            net: Net { side: vec![false; nodes.len()], ..Net::default() },
            queue: Schedule::new(),
            believes: None,
            calm_since: Duration::ZERO,
            many_since: None,
            none_since: Some(Duration::ZERO),
            able: vec![false; nodes.len()],
            longest: Longest::default(),
            excused_until: Duration::ZERO,
            nodes,
            figures: Figures::default(),
            coverage: Coverage::default(),
            failure: None,
            trace: traced.then(Vec::new),
            last_announced: Duration::ZERO,
            seed: scenario.seed,
            last_sent: (Duration::ZERO, 0),
        };
        for node in 0..world.nodes.len() {
            world.longest.add(&world.nodes[node]);
            world.start(node, true);
        }
        world
    }

    /// Notes what happened, if it is wanted.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:12.6} {}", now.as_secs_f64(), what()));
        }
    }

    /// Ends the simulation: an invariant is broken.
    pub(crate) fn fail(&mut self, why: impl Into<String>) {
        if self.failure.is_none() {
            let states =
                self.nodes.iter().enumerate().map(|(index, node)| format!("r{}: {}", index + 1, node.describe()));
            let states = states.collect::<Vec<_>>().join("\n  ");
            self.failure = Some(format!("after {:?}: {}\n  {states}", self.now, why.into()));
        }
    }

    pub(crate) fn disturb(&mut self) {
        self.calm_since = self.now;
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        // A run that does not come to rest must end, too.
        let mut idle = 0;
        while self.failure.is_none() {
            let before = self.now;
            if !self.step(end) {
                break;
            }
            idle = if self.now > before { 0 } else { idle + 1 };
            if idle > 20_000 {
                self.fail("20,000 steps without a moment passing");
            }
        }
        if self.failure.is_none() {
            self.pass(end);
            self.look();
        }
    }

    /// The next event or timer up to `end`. An event comes before a timer of the same time, as packets come before timers.
    fn step(&mut self, end: Duration) -> bool {
        let nodes = &self.nodes;
        self.queue.postpone(|node, happening| match happening {
            // The third host never freezes.
            Happening::Announced => None,
            Happening::Packet { .. } | Happening::Kernel(_) => Some(nodes[node].frozen_until),
        });
        let timer = (0..nodes.len()).filter_map(|node| Some((nodes[node].deadline()?, node))).min();
        match (self.queue.next_at(), timer) {
            (Some(at), timer) if at <= end && timer.is_none_or(|(due, _)| at <= due) => {
                let Some((at, node, happening)) = self.queue.pop() else { return false };
                self.pass(at);
                self.happen(node, happening);
            }
            (_, Some((at, node))) if at <= end => {
                self.pass(at);
                self.fire(node);
            }
            _ => return false,
        }
        self.look();
        self.poke_armed();
        true
    }

    /// Lets time pass: leases end.
    fn pass(&mut self, to: Duration) {
        self.now = self.now.max(to);
        let now = self.now;
        for node in 0..self.nodes.len() {
            let before = self.nodes[node].kernel.addresses.len();
            self.nodes[node].kernel.addresses.retain(|_, end| *end > now);
            if self.nodes[node].kernel.addresses.len() < before {
                self.lease_ended(node);
            }
        }
    }

    fn happen(&mut self, node: usize, happening: Happening) {
        match happening {
            Happening::Packet { source, destination, ttl, payload, stray } => {
                self.figures.frames += 1;
                let packet = Packet { source, destination, ttl, payload: &payload };
                self.hear(node, &packet, stray);
            }
            Happening::Kernel(order) => self.carry_out(node, order),
            Happening::Announced => {
                // It hears those on the side of the first router.
                if self.net.side[node] == self.net.side[0] && !self.nodes[node].stopped_unheard {
                    self.believes = Some(node);
                    self.nodes[node].announced_late = false;
                }
            }
        }
    }

    fn fire(&mut self, node: usize) {
        let now = self.nodes[node].local(self.now);
        match &mut self.nodes[node].device {
            Device::Vouchd(_) => self.give(node, Input::Timer),
            Device::Foreign(foreign) => {
                let was_active = foreign.is_active();
                let sent = foreign.timer(now);
                if !was_active {
                    self.took_over(node);
                }
                self.send_priorities(node, &sent);
            }
            Device::Down => {}
        }
    }

    pub(crate) fn hear(&mut self, node: usize, packet: &Packet<'_>, stray: bool) {
        let now = self.nodes[node].local(self.now);
        match &mut self.nodes[node].device {
            Device::Vouchd(_) if stray => self.give_stray(node, packet),
            Device::Vouchd(_) => self.give(node, Input::Packet(*packet)),
            Device::Foreign(foreign) if stray => foreign.discard(now),
            Device::Foreign(foreign) => {
                let Ok(parsed) = parse(packet.payload, packet.source, packet.destination) else { return };
                let Advertisement { priority, interval, .. } = parsed.advertisement;
                let heard = Heard { source: packet.source, priority: priority.get(), interval };
                let before = (foreign.is_active(), foreign.priority());
                let sent = foreign.hear(now, &heard);
                let after = (foreign.is_active(), foreign.priority());
                if before != after {
                    self.note(|| format!("r{}: active {} priority {}", node + 1, after.0, after.1));
                    self.stopped(node, before.0);
                }
                self.send_priorities(node, &sent);
            }
            Device::Down => {}
        }
    }

    /// Gives an input to a router of vouchd and carries out its actions.
    pub(crate) fn give(&mut self, node: usize, input: Input<'_>) {
        let kind = self.classify(node, &input);
        self.change(node, kind, |router, now| router.handle(now, input));
    }

    /// Changes a router of vouchd and carries out its actions.
    pub(crate) fn change(
        &mut self,
        node: usize,
        kind: InputKind,
        change: impl FnOnce(&mut Router, vouchd_vrrp::Time) -> Vec<Action>,
    ) {
        let now = self.nodes[node].local(self.now);
        let due = self.nodes[node].overdue_at <= self.now;
        let Device::Vouchd(router) = &mut self.nodes[node].device else { return };
        self.figures.inputs += 1;
        let mut actions = if due { router.overdue(now) } else { Vec::new() };
        let late = router.counters().stalls;
        let (before, called, stage) = (router.state(), router.counters().elections, router.stage());
        actions.extend(change(router, now));
        self.coverage.note(stage, kind);
        if router.counters().stalls > late {
            self.coverage.note(stage, InputKind::Late);
        }
        let called = router.counters().elections - called;
        self.figures.called += called;
        self.figures.elections += called;
        let after = router.state();
        if due {
            self.nodes[node].overdue_at = self.now + Duration::from_secs(1);
        }
        self.acted(node, before, &actions);
        match (before, after) {
            (State::Initialize | State::Backup, State::Active) => {
                self.nodes[node].peak = 0;
                self.took_over(node);
            }
            (State::Active, _) => self.stopped(node, true),
            _ => {}
        }
        let (priority, it) = (self.nodes[node].priority(), &mut self.nodes[node]);
        it.peak = if after == State::Active { it.peak.max(priority) } else { 0 };
        for action in actions {
            self.act(node, action);
        }
    }

    fn took_over(&mut self, node: usize) {
        self.note(|| format!("r{}: takes over", node + 1));
        self.nodes[node].stopped_unheard = false;
        self.figures.takeovers += 1;
        self.figures.elections += 1;
        self.look();
    }

    /// A router that stops being active unheard leaves the third host to find out by itself. So does one that stalled, for
    /// which its kernel answered meanwhile: it must not send anything.
    pub(crate) fn stopped(&mut self, node: usize, was_active: bool) {
        if !was_active || self.nodes[node].is_active() {
            return;
        }
        let it = &self.nodes[node];
        let silent = match &it.device {
            Device::Vouchd(router) => matches!(router.why(), Why::Stalled { .. }),
            Device::Foreign(_) | Device::Down => true,
        };
        let refused = it.is_refused();
        if refused {
            // Its kernel did that, at a time that no step names.
            self.disturb();
        }
        let it = &self.nodes[node];
        if silent || !it.link || !self.net.is_clean() {
            self.nodes[node].stopped_unheard = true;
            self.believes = self.believes.filter(|believed| *believed != node);
        }
        self.note(|| format!("r{}: is no longer active", node + 1));
        self.look();
    }

    fn act(&mut self, node: usize, action: Action) {
        let order = match action {
            Action::Send(advertisement) => return self.send(node, &advertisement),
            Action::Install { lease } => {
                // The address keeper adds 0.1 s, without which a lease always loses one of its whole seconds.
                Order::Install { until: self.now + lease.unwrap_or(Duration::MAX / 4) + Duration::from_millis(100) }
            }
            Action::Remove => Order::Remove,
            Action::Withdraw { addresses } => Order::Withdraw(addresses),
            Action::Announce { .. } => {
                let Device::Vouchd(router) = &self.nodes[node].device else { return };
                Order::Announce { not_after: self.now + router.down_interval() }
            }
            Action::Event { event, .. } => {
                if let ProtocolEvent::Transition { from, to, why } = &event {
                    *self.figures.transitions.entry((*from, *to, why.name())).or_default() += 1;
                }
                return self.note(|| format!("r{}: {event}", node + 1));
            }
        };
        let at = self.nodes[node].kernel.busy_until.max(self.now + self.nodes[node].latency());
        self.queue.push(at, node, Happening::Kernel(order));
    }

    fn carry_out(&mut self, node: usize, order: Order) {
        let now = self.now;
        let config_addresses = virtual_addresses(self.nodes[node].count);
        let it = &mut self.nodes[node].kernel;
        match order {
            // Too late to be worth a lease of a second.
            Order::Install { until } if until < now + Duration::from_millis(900) => {
                // A trial that waits for this order ends unanswered, after two seconds or a down interval.
                self.excused_until = now + self.longest.late();
            }
            Order::Install { until } => {
                let mut refused = None;
                let mut is_news = !std::mem::replace(&mut it.reported, true);
                for address in config_addresses {
                    if it.refuses && !it.addresses.contains_key(&address) {
                        refused = Some(format!("{address}: refused"));
                    } else {
                        is_news |= it.addresses.insert(address, until).is_none();
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
                it.addresses.clear();
            }
            Order::Withdraw(addresses) => it.addresses.retain(|address, _| !addresses.contains(address)),
            Order::Announce { not_after } if not_after < now => {
                // Its kernel was busy for a down interval: the third host learns from the second round, seconds later.
                self.nodes[node].announced_late = true;
                self.believes = None;
            }
            // The address keeper looks at what was ordered meanwhile.
            Order::Announce { .. }
                if self.queue.any(|at, it| at == node && matches!(it, Happening::Kernel(Order::Remove))) => {}
            Order::Announce { .. } => {
                let it = &mut self.nodes[node].kernel;
                if it.addresses.contains_key(&config_addresses[0]) {
                    // A segment keeps the order in which frames are sent to one host.
                    let delay = Random::of([self.seed, 1, node as u64, now.as_nanos() as u64])
                        .duration(Duration::ZERO, MAX_DELAY);
                    self.last_announced = self.last_announced.max(now + delay);
                    self.queue.push(self.last_announced, node, Happening::Announced);
                } else {
                    // The order that installs them came too late.
                    self.nodes[node].announced_late = true;
                    self.believes = None;
                }
            }
        }
    }

    pub(crate) fn send_priorities(&mut self, node: usize, priorities: &[u8]) {
        let config = self.nodes[node].config();
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
        self.note(|| format!("r{}: sends {}", from + 1, advertisement.priority));
        if !self.nodes[from].link {
            return;
        }
        let source = self.nodes[from].address();
        let Ok(payload) = advertisement.encode(source, GROUP, ChecksumForm::PseudoHeader) else {
            return self.fail(format!("r{} sends what can't be encoded: {advertisement:?}", from + 1));
        };
        let payload: Rc<[u8]> = payload.into();
        let turn = if self.last_sent.0 == self.now { self.last_sent.1 + 1 } else { 0 };
        self.last_sent = (self.now, turn);
        let place = 2 + from as u64 + turn * 1_000;
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            // Each frame's fate depends on nothing but the seed, when it is sent and by whom: a shorter script keeps it.
            let mut random = Random::of([self.seed, place, to as u64, self.now.as_nanos() as u64]);
            if !self.nodes[to].link || !self.net.carries(from, to) || random.percent(self.net.loss.into()) {
                continue;
            }
            let copies = 1 + u32::from(random.percent(self.net.duplicate.into()));
            for _ in 0..copies {
                let reordered = random.percent(self.net.reorder.into());
                let at = self.now + random.duration(Duration::ZERO, MAX_DELAY);
                let payload = Rc::clone(&payload);
                let packet = Happening::Packet { source, destination: GROUP, ttl: 255, payload, stray: false };
                self.queue.push_frame(at, (from, to), reordered, packet);
            }
        }
    }

    /// Starts a process that does not run. It may not hear of its link and its checks yet.
    pub(crate) fn start(&mut self, node: usize, reported: bool) {
        let now = self.nodes[node].local(self.now);
        let it = &mut self.nodes[node];
        if !matches!(it.device, Device::Down) {
            return;
        }
        if it.spec.kind == Kind::Vouchd {
            // It removes what an earlier process left behind.
            it.kernel.addresses.clear();
            it.kernel.reported = false;
            let router = Router::new(now, it.config());
            it.intends = false;
            match router {
                Ok(router) => it.device = Device::Vouchd(Box::new(router)),
                Err(error) => return self.fail(format!("r{} does not start: {error}", node + 1)),
            }
            if !reported {
                return;
            }
            self.nodes[node].reporting = true;
            self.report_link(node);
            self.nodes[node].reporting = false;
            self.report_health(node);
        } else {
            let foreign = Foreign::new(now, it.spec.kind, it.version, it.address(), it.interval());
            it.device = Device::Foreign(Box::new(foreign));
            self.report_health(node);
        }
    }
}
