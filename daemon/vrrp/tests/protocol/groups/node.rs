//! A host with a group: one router on each network, and the group that couples them.

use std::net::IpAddr;

use vouchd_vrrp::wire::{Priority, Vrid};
use vouchd_vrrp::{Action, Config, Group, Health, Input, Link, Member, Packet, Router, State, Time};

use crate::bench::{GROUP, VIP, config};

pub const NAMES: [&str; 3] = ["inside", "outside", "third"];

pub struct Node {
    pub members: Vec<Router>,
    pub group: Group,
    /// Whether the kernel has the addresses of each member.
    pub holds: Vec<bool>,
    /// Whether a trial is answered at once.
    pub answers: bool,
}

/// The configuration of a member: each network has its own virtual router.
pub fn member(network: usize, priority: u8) -> Config {
    Config { vrid: Vrid::new(51 + network as u8).expect("not 0"), grouped: true, ..config(priority) }
}

/// An advertisement of priority `priority` on `network`.
pub fn frame(config: &Config, source: IpAddr, priority: u8) -> Vec<u8> {
    let bench = crate::bench::Bench::new(config.clone());
    bench.advertisement(priority).encode(source, GROUP, config.checksum).expect("encodes")
}

impl Node {
    /// In Initialize.
    pub fn new(now: Time, configs: Vec<Config>) -> Self {
        let holds = vec![false; configs.len()];
        let members = configs.into_iter().map(|config| Router::new(now, config).expect("a good configuration"));
        Self { members: members.collect(), group: Group::default(), holds, answers: true }
    }

    /// Brings the link of every member up, and makes it fit. `sources` are their addresses.
    pub fn start(&mut self, now: Time, sources: &[IpAddr]) -> Vec<(usize, Action)> {
        let mut actions = Vec::new();
        for (network, source) in sources.iter().enumerate() {
            actions.extend(self.input(now, network, Input::Link(Link::Up { source: *source })));
            let priority = self.members[network].config().priority.get();
            actions.extend(self.fit(now, network, priority));
        }
        actions
    }

    pub fn fit(&mut self, now: Time, network: usize, priority: u8) -> Vec<(usize, Action)> {
        let reason = format!("checks say {priority}");
        self.input(now, network, Input::Health(Health::Fit { priority: Priority::new(priority), reason }))
    }

    pub fn hear(&mut self, now: Time, network: usize, source: IpAddr, payload: &[u8]) -> Vec<(usize, Action)> {
        let packet = Packet { source, destination: GROUP, ttl: 255, payload };
        self.input(now, network, Input::Packet(packet))
    }

    /// Gives an input to a member, and lets the group decide until all agree. Returns what each member did.
    pub fn input(&mut self, now: Time, network: usize, input: Input<'_>) -> Vec<(usize, Action)> {
        let mut all = self.give(now, network, input);
        self.settle(now, &mut all);
        all
    }

    pub fn settle(&mut self, now: Time, all: &mut Vec<(usize, Action)>) {
        for _ in 0..Group::MAX_ROUNDS {
            let members: Vec<_> =
                self.members.iter().zip(NAMES).map(|(router, name)| Member { name, router }).collect();
            let orders = self.group.decide(now, &members);
            if orders.is_empty() {
                return self.agree();
            }
            for (network, order) in orders {
                all.extend(self.give(now, network, Input::Group(order)));
            }
        }
        panic!("no agreement: {:?}", self.states());
    }

    /// What holds whenever the group has decided.
    fn agree(&self) {
        let states = self.states();
        let active = states.iter().filter(|state| **state == State::Active).count();
        assert!(active == 0 || active == states.len(), "one state: {states:?}");
        for (router, holds) in self.members.iter().zip(&self.holds) {
            assert!(*holds || router.state() != State::Active, "an active router holds its addresses");
            let tries = router.is_in_trial() || states.contains(&State::Backup);
            assert!(!*holds || router.state() == State::Active || tries);
        }
    }

    fn give(&mut self, now: Time, network: usize, input: Input<'_>) -> Vec<(usize, Action)> {
        let was_in_trial = self.members[network].is_in_trial();
        let mut actions = self.members[network].handle(now, input);
        if self.answers && !was_in_trial && self.members[network].is_in_trial() {
            actions.extend(self.members[network].handle(now, Input::AddressesInstalled));
        }
        for action in &actions {
            match action {
                Action::Install { .. } => self.holds[network] = true,
                Action::Remove => self.holds[network] = false,
                Action::Announce { .. } => assert!(self.holds[network], "announced before installed"),
                Action::Send(_) | Action::Withdraw { .. } | Action::Event { .. } => {}
            }
        }
        actions.into_iter().map(|action| (network, action)).collect()
    }

    pub fn deadline(&self) -> Option<Time> {
        self.members.iter().filter_map(Router::deadline).chain(self.group.deadline()).min()
    }

    pub fn timer(&mut self, now: Time) -> Vec<(usize, Action)> {
        let mut all = Vec::new();
        for network in 0..self.members.len() {
            if self.members[network].deadline().is_some_and(|at| at <= now) {
                all.extend(self.input(now, network, Input::Timer));
            }
        }
        self.settle(now, &mut all);
        all
    }

    /// On time at every deadline until `end`.
    pub fn run(&mut self, end: Time) -> Vec<(usize, Action)> {
        let mut all = Vec::new();
        while let Some(at) = self.deadline().filter(|at| *at <= end) {
            all.extend(self.timer(at));
        }
        all
    }

    pub fn states(&self) -> Vec<State> {
        self.members.iter().map(Router::state).collect()
    }

    pub fn is_active(&self) -> bool {
        self.states().iter().all(|state| *state == State::Active)
    }
}

/// What the members did, in short words: `1: send 0`.
pub fn done(actions: &[(usize, Action)]) -> Vec<String> {
    let words = actions.iter().flat_map(|(network, action)| {
        crate::bench::done(std::slice::from_ref(action)).into_iter().map(move |word| format!("{network}: {word}"))
    });
    words.collect()
}

/// The address of a host on a network.
pub fn address(host: u8, network: usize) -> IpAddr {
    let IpAddr::V4(vip) = VIP else { unreachable!("IPv4") };
    let [a, b, ..] = vip.octets();
    IpAddr::from([a, b, 2 + network as u8, host])
}
