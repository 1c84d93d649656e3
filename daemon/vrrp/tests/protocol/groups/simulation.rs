//! Two or three hosts with a group each, on two or three networks that lose, delay and cut.

use std::time::Duration;

use vouchd_vrrp::wire::Priority;
use vouchd_vrrp::{Action, Config, Health, Input, State, Time};

use super::START;
use super::node::{Node, address, member};
use crate::bench::{GROUP, millis, seconds};
use crate::simulation::random::Random;
use crate::simulation::schedule::{Schedule, Step};

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Frame { from: usize, network: usize, payload: Vec<u8> },
    Health { network: usize, priority: Option<u8> },
}

struct World {
    now: Time,
    random: Random,
    hosts: Vec<Node>,
    schedule: Schedule<Event>,
    loss_percent: u64,
    /// How long a frame takes at least, and at most.
    delay: (Duration, Duration),
    /// Networks whose frames all vanish.
    cut: Vec<bool>,
}

impl World {
    /// `priorities` of each host, by network.
    fn new(seed: u64, priorities: &[Vec<u8>], base: impl Fn(Config) -> Config) -> Self {
        let networks = priorities[0].len();
        let mut world = Self {
            now: START,
            random: Random::new(seed),
            hosts: Vec::new(),
            schedule: Schedule::new(),
            loss_percent: 0,
            delay: (Duration::ZERO, millis(20)),
            cut: vec![false; networks],
        };
        for (host, priorities) in priorities.iter().enumerate() {
            let configs = priorities.iter().enumerate().map(|(network, priority)| base(member(network, *priority)));
            world.hosts.push(Node::new(START, configs.collect()));
            let sources: Vec<_> = (0..networks).map(|network| world.source(host, network)).collect();
            let actions = world.hosts[host].start(START, &sources);
            world.carry_out(host, actions);
        }
        world
    }

    /// Odd networks number the hosts in the other direction.
    fn source(&self, host: usize, network: usize) -> std::net::IpAddr {
        let last = if network.is_multiple_of(2) { 10 + host } else { 30 - host };
        address(last as u8, network)
    }

    fn carry_out(&mut self, from: usize, actions: Vec<(usize, Action)>) {
        for (network, action) in actions {
            let Action::Send(advertisement) = action else { continue };
            let source = self.source(from, network);
            let checksum = self.hosts[from].members[network].config().checksum;
            let payload = advertisement.encode(source, GROUP, checksum).expect("encodes");
            for to in (0..self.hosts.len()).filter(|to| *to != from) {
                if self.cut[network] || self.random.percent(self.loss_percent) {
                    continue;
                }
                let at = self.now + self.random.duration(self.delay.0, self.delay.1);
                let link = |host: usize| host * 8 + network;
                let frame = Event::Frame { from, network, payload: payload.clone() };
                // A network keeps the order of a host's frames; two networks do not.
                self.schedule.push_frame_to(at, link(from), link(to), to, frame);
            }
        }
    }

    fn run(&mut self, length: Duration, mut watch: impl FnMut(&Self)) {
        let end = self.now + length;
        loop {
            let timer = (0..self.hosts.len()).filter_map(|host| Some((self.hosts[host].deadline()?, host))).min();
            let (host, actions) = match self.schedule.next(end, timer, |_, _| None) {
                Some(Step::Event { at, node, event }) => {
                    self.now = self.now.max(at);
                    (node, self.happen(node, event))
                }
                Some(Step::Timer { at, node }) => {
                    self.now = self.now.max(at);
                    (node, self.hosts[node].timer(self.now))
                }
                None => break,
            };
            self.carry_out(host, actions);
            watch(self);
        }
        self.now = end;
    }

    fn happen(&mut self, host: usize, event: Event) -> Vec<(usize, Action)> {
        let now = self.now;
        match event {
            Event::Frame { from, network, payload } => {
                let source = self.source(from, network);
                self.hosts[host].hear(now, network, source, &payload)
            }
            Event::Health { network, priority } => {
                let reason = "simulated".to_owned();
                let health = match priority {
                    Some(priority) => Health::Fit { priority: Priority::new(priority), reason },
                    None => Health::Fault { reason },
                };
                self.hosts[host].input(now, network, Input::Health(health))
            }
        }
    }

    fn active(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|host| self.hosts[*host].is_active()).collect()
    }

    /// Runs until the frames have settled everything, and asserts that then one group is active for good.
    fn settle(&mut self, what: &str) -> usize {
        self.run(seconds(90.0), |_| ());
        let mut wrong_since = None;
        self.run(seconds(60.0), |world| match world.active().len() {
            1 => wrong_since = None,
            count => {
                let since = *wrong_since.get_or_insert(world.now);
                assert!(world.now.since(since) <= millis(80), "{what}: {count} groups are active");
            }
        });
        let [active] = self.active()[..] else { panic!("{what}: {:?} are active", self.active()) };
        active
    }
}

fn preempts(preempt: bool) -> impl Fn(Config) -> Config {
    move |config| Config { preempt, ..config }
}

/// Equal priorities, and the addresses decide differently on the two networks: without a rule for ties both groups would step
/// back and take over together for ever.
#[test]
fn contrary_ties_end_with_one_active_group() {
    for seed in 0..80 {
        let pair = seed % 3 == 0;
        let base = |config| Config { pair, preempt: seed % 2 == 0, ..config };
        let mut world = World::new(seed, &[vec![100, 100], vec![100, 100]], base);
        world.settle(&format!("seed {seed}"));
    }
    for (delay, priorities) in
        [(0, [[100, 100], [100, 100]]), (5, [[100, 100], [100, 100]]), (5, [[100, 90], [90, 100]])]
    {
        // Nothing but a rule breaks this tie: both hosts do the same at the same time.
        let mut world = World::new(0, &priorities.map(|host| host.to_vec()), preempts(true));
        world.delay = (millis(delay), millis(delay));
        world.settle(&format!("{delay} ms, {priorities:?}"));
    }
    for seed in 0..80 {
        // The priorities themselves are contrary.
        let mut world = World::new(seed, &[vec![100, 90], vec![90, 100]], preempts(true));
        world.settle(&format!("seed {seed}, contrary priorities"));
    }
}

/// The groups were separated on every network, so both are active, and meet again.
#[test]
fn groups_that_meet_again_agree_on_one() {
    for seed in 0..80 {
        let networks = 2 + seed as usize % 2;
        let mut world = World::new(seed, &[vec![100; networks], vec![100; networks]], preempts(seed % 4 < 2));
        world.cut = vec![true; networks];
        world.run(seconds(10.0), |_| ());
        assert_eq!(world.active(), [0, 1], "seed {seed}: cut on every network");
        // The networks heal one after the other.
        for network in 0..networks {
            world.cut[network] = false;
            let pause = world.random.duration(Duration::ZERO, seconds(8.0));
            world.run(pause, |_| ());
        }
        world.settle(&format!("seed {seed}"));
    }
}

/// A cut on some but not all networks makes no second holder.
#[test]
fn cut_of_one_network_moves_nothing() {
    for seed in 0..100 {
        let mut world = World::new(seed, &[vec![100; 3], vec![90; 3], vec![80; 3]], preempts(seed % 2 == 0));
        let first = world.settle(&format!("seed {seed}"));
        world.cut[seed as usize % 3] = true;
        world.run(seconds(60.0), |world| assert_eq!(world.active(), [first], "seed {seed}"));
    }
}

/// Failing checks of single members, faults and loss: in the end the best healthy group is active, on all networks.
#[test]
fn best_group_ends_up_active_whatever_its_members_suffer() {
    for seed in 0..200 {
        let mut random = Random::new(seed ^ 0xface);
        let hosts = 2 + random.between(0, 1) as usize;
        let networks = 2 + random.between(0, 1) as usize;
        let bases: Vec<u8> = (0..hosts).map(|host| 200 - 40 * host as u8).collect();
        let priorities: Vec<_> = bases.iter().map(|base| vec![*base; networks]).collect();
        let pair = hosts == 2 && random.percent(50);
        let mut world = World::new(seed, &priorities, |config| Config { pair, ..config });
        world.loss_percent = random.between(0, 20);
        world.run(seconds(5.0), |_| ());
        // What each member's checks say in the end.
        let mut asked: Vec<Vec<Option<u8>>> =
            priorities.iter().map(|host| host.iter().map(|base| Some(*base)).collect()).collect();
        let mut at = world.now;
        for _ in 0..random.between(1, 12) {
            at = at + random.duration(millis(1), seconds(6.0));
            let (host, network) =
                (random.between(0, hosts as u64 - 1) as usize, random.between(0, networks as u64 - 1) as usize);
            let priority = match random.between(0, 5) {
                0 => None,
                1..=2 => Some(bases[host]),
                _ => Some(bases[host] - random.between(1, 100) as u8),
            };
            asked[host][network] = priority;
            world.schedule.push(at, host, Event::Health { network, priority });
        }
        world.run(at.since(world.now) + seconds(1.0), |_| ());
        world.loss_percent = 0;
        let lowest = |host: &Vec<Option<u8>>| host.iter().copied().min().flatten();
        let best = asked.iter().map(lowest).enumerate().filter_map(|(host, lowest)| Some((lowest?, host))).max();
        world.run(seconds(90.0), |_| ());
        match best {
            None => assert!(world.active().is_empty(), "seed {seed}: all are in fault"),
            Some((priority, _)) => {
                let active = world.settle(&format!("seed {seed}"));
                assert_eq!(lowest(&asked[active]), Some(priority), "seed {seed}: {active} is active");
                for router in &world.hosts[active].members {
                    assert_eq!((router.state(), router.priority().get()), (State::Active, priority), "seed {seed}");
                }
            }
        }
    }
}

/// A group in a pair hands over in one burst.
#[test]
fn resigning_group_hands_over_as_fast_as_one_router() {
    for (pair, bound) in [(true, 0.021), (false, 0.71)] {
        for seed in 0..100 {
            let mut world = World::new(seed, &[vec![100; 2], vec![80; 2]], |config| Config { pair, ..config });
            assert_eq!(world.settle(&format!("seed {seed}")), 0);
            // Well apart from its periodic advertisements.
            let next = world.hosts[0].members[0].deadline().expect("it advertises");
            world.run(next.since(world.now) + millis(500), |_| ());
            let start = world.now;
            world.schedule.push(start, 0, Event::Health { network: 0, priority: None });
            let mut taken = None;
            world.run(seconds(5.0), |world| {
                if world.hosts[1].is_active() {
                    taken.get_or_insert(world.now);
                }
            });
            let taken = taken.expect("it took over").since(start);
            assert!(taken <= seconds(bound), "seed {seed}: {taken:?}");
        }
    }
}
