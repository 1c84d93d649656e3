//! What must hold at every moment of a soak test, whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use vouchd_vrrp::{Action, ProtocolEvent, State, Time, Why};

use super::world::{Cut, MAX_DELAY, World};
use crate::bench::seconds;

/// Time for frames to cross, and for the kernel.
const SLACK: Duration = Duration::from_millis(100);

pub struct Invariants {
    seed: u64,
    start: Time,
    /// When something last happened to the pair.
    calm_since: Time,
    /// The active nodes at the last look, and since when they are.
    active: (Vec<usize>, Time),
    /// When each kind of event of each node was last reported.
    reported: BTreeMap<(usize, String), Time>,
    /// When each node sent its advertisements and announcements of the last second.
    sent: [Vec<Time>; 2],
    announced: [Vec<Time>; 2],
    thawed: [Time; 2],
    stalls: [u64; 2],
    pub counted: BTreeMap<&'static str, u64>,
}

impl Invariants {
    pub fn new(seed: u64, now: Time) -> Self {
        Self {
            seed,
            start: now,
            calm_since: now,
            active: (Vec::new(), now),
            reported: BTreeMap::new(),
            sent: [Vec::new(), Vec::new()],
            announced: [Vec::new(), Vec::new()],
            thawed: [now; 2],
            stalls: [0; 2],
            counted: BTreeMap::new(),
        }
    }

    /// Notes that something happened to the pair.
    pub fn disturb(&mut self, now: Time, what: &'static str) {
        self.calm_since = now;
        *self.counted.entry(what).or_default() += 1;
    }

    pub fn thaws(&mut self, node: usize, at: Time) {
        self.thawed[node] = at;
    }

    /// Forgets what was sent until now, perhaps at another interval.
    pub fn reloaded(&mut self) {
        self.sent.iter_mut().for_each(Vec::clear);
    }

    fn fail(&self, now: Time, why: &str) -> ! {
        panic!("seed {}, after {:?}: {why}", self.seed, now.since(self.start))
    }

    /// Checks that a lease ends only if its router stopped advertising.
    pub fn lease_ended(world: &World, node: usize) {
        let it = &world.nodes[node];
        let ran = world.invariants.thawed[node] + seconds(0.2) < world.now;
        if it.is_active() && ran {
            world.invariants.fail(world.now, &format!("node {node} advertises, and the lease of an address ended"));
        }
    }

    /// Checks that only a router that can hold the addresses becomes active.
    pub fn became_active(world: &World, node: usize) {
        let it = &world.nodes[node];
        let held = it.config.addresses.iter().all(|address| it.kernel.contains_key(address));
        if it.refuses && !held {
            world.invariants.fail(world.now, &format!("node {node} became active without its addresses"));
        }
    }

    /// Checks the limits per second.
    pub fn acted(world: &mut World, node: usize, actions: &[Action]) {
        let now = world.now;
        let interval = world.nodes.iter().map(|node| node.config.interval.duration()).min().unwrap_or_default();
        let invariants = &mut world.invariants;
        for action in actions {
            match action {
                Action::Send(_) => invariants.sent[node].push(now),
                Action::Announce { .. } => invariants.announced[node].push(now),
                Action::Event { event, .. } => {
                    let kind = match event {
                        ProtocolEvent::Transition { from, to, .. } => format!("{from} -> {to}"),
                        ProtocolEvent::Discarded { rejection, .. } => rejection.reason().name().to_owned(),
                        other => format!("{:?}", std::mem::discriminant(other)),
                    };
                    let before = invariants.reported.insert((node, kind.clone()), now);
                    if before.is_some_and(|before| now.since(before) < seconds(1.0)) {
                        invariants.fail(now, &format!("node {node} reported this twice in a second: {kind}"));
                    }
                }
                Action::Install { .. } | Action::Remove | Action::Withdraw { .. } => {}
            }
        }
        for times in [&mut invariants.sent[node], &mut invariants.announced[node]] {
            times.retain(|time| now.since(*time) < seconds(1.0));
        }
        // Its own advertisements and, if the other router resigns all the time, those that follow each return; ten answers or
        // last advertisements; and what elections and reloads add.
        let beats = (seconds(1.0).as_nanos() / interval.as_nanos()) as usize;
        let (sent, announced) = (invariants.sent[node].len(), invariants.announced[node].len());
        if sent > 2 * beats + 30 || announced > 5 + 4 {
            invariants
                .fail(now, &format!("node {node} in one second: {sent} advertisements, {announced} announcements"));
        }
    }

    pub fn look(world: &mut World) {
        let now = world.now;
        for (number, node) in world.nodes.iter().enumerate() {
            let (found, expected) = (node.router.priority(), node.expected_priority());
            if !node.fault && found != expected && node.router.state() != State::Initialize {
                world.invariants.fail(now, &format!("node {number} has priority {found} instead of {expected}"));
            }
        }
        for (number, node) in world.nodes.iter().enumerate() {
            let stalls = std::mem::replace(&mut world.invariants.stalls[number], node.router.counters().stalls);
            if world.invariants.stalls[number] > stalls && now.since(world.invariants.thawed[number]) > seconds(10.0) {
                world.invariants.fail(now, &format!("node {number} reports a stall"));
            }
        }
        let active: Vec<usize> = (0..2).filter(|node| world.nodes[*node].is_active()).collect();
        if active != world.invariants.active.0 {
            world.invariants.active = (active.clone(), now);
        }
        let frozen = world.nodes.iter().any(|node| node.frozen_until > now);
        if world.cut != Cut::None || world.loss_percent > 0 || frozen {
            world.invariants.calm_since = now;
            return;
        }
        let interval = world.nodes.iter().map(|node| node.config.interval.duration()).max().unwrap_or_default();
        let bound = interval.max(seconds(1.0)) + SLACK;
        let (calm, stable) = (now.since(world.invariants.calm_since), now.since(world.invariants.active.1));
        if calm > bound && active.len() > 1 && Self::is_one_virtual_router(world) && stable > bound.min(MAX_DELAY * 4) {
            world.invariants.fail(now, "two nodes are active an interval after all trouble ended");
        }
        if let [one] = active[..]
            && calm > bound
            && stable > bound
        {
            Self::third_host_knows(world, one);
        }
    }

    fn is_one_virtual_router(world: &World) -> bool {
        let [one, other] = &world.nodes[..] else { return false };
        one.config.addresses.iter().any(|address| other.config.addresses.contains(address))
    }

    /// Checks that the third host sends packets for the virtual addresses to the active node.
    fn third_host_knows(world: &World, active: usize) {
        for address in &world.nodes[active].config.addresses {
            match world.neighbours.get(address) {
                Some(node) if *node != active && world.nodes[*node].kernel.contains_key(address) => {
                    let why = format!("node {active} is active, and {node} has and answers for {address}");
                    world.invariants.fail(world.now, &why);
                }
                Some(node) if *node != active => {
                    let why = format!("node {active} is active, and the third host believes in {node} for {address}");
                    world.invariants.fail(world.now, &why);
                }
                Some(_) | None => {}
            }
        }
    }

    /// Checks, after a while without trouble, that one node is active if one can be.
    pub fn settled(world: &World) {
        let able = |node: &super::world::Node| {
            let refused = matches!(node.router.why(), Why::AddressesFailed(_) | Why::Refused(_));
            !node.fault && node.cable && !node.refuses && !refused
        };
        let able = world.nodes.iter().filter(|node| able(node)).count();
        let active: Vec<_> = world.nodes.iter().filter(|node| node.is_active()).collect();
        if active.len() > 1 || (able > 0 && active.is_empty()) {
            let states: Vec<_> =
                world.nodes.iter().map(|node| format!("{} ({})", node.router.state(), node.router.why())).collect();
            world.invariants.fail(world.now, &format!("{} of {able} able nodes are active: {states:?}", active.len()));
        }
        for node in active {
            if !node.config.addresses.iter().all(|address| node.kernel.contains_key(address)) {
                world.invariants.fail(world.now, "the active node does not have its addresses");
            }
        }
    }
}
