//! What must hold at every moment of the pair's life, whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use vouchd_vrrp::{Action, Event, Instant, State, Why};

use super::world::{Cut, DELAY, World};
use crate::bench::seconds;

/// In which there is time for frames to cross, and for the kernel.
const SLACK: Duration = Duration::from_millis(100);

pub struct Watch {
    seed: u64,
    start: Instant,
    /// Since when nothing has been done to the pair, as far as is known.
    calm_since: Instant,
    /// Who was active at the last look, and since when.
    active: (Vec<usize>, Instant),
    /// When each kind of event of each node was told last.
    told: BTreeMap<(usize, String), Instant>,
    /// The times of the last second's advertisements and announcements of each node.
    sent: [Vec<Instant>; 2],
    announced: [Vec<Instant>; 2],
    thawed: [Instant; 2],
    stalls: [u64; 2],
    pub counted: BTreeMap<&'static str, u64>,
}

impl Watch {
    pub fn new(seed: u64, now: Instant) -> Self {
        Self {
            seed,
            start: now,
            calm_since: now,
            active: (Vec::new(), now),
            told: BTreeMap::new(),
            sent: [Vec::new(), Vec::new()],
            announced: [Vec::new(), Vec::new()],
            thawed: [now; 2],
            stalls: [0; 2],
            counted: BTreeMap::new(),
        }
    }

    /// Something was done to the pair.
    pub fn disturb(&mut self, now: Instant, what: &'static str) {
        self.calm_since = now;
        *self.counted.entry(what).or_default() += 1;
    }

    pub fn thaws(&mut self, node: usize, at: Instant) {
        self.thawed[node] = at;
    }

    /// What was sent until now, perhaps at another interval, does not count.
    pub fn reloaded(&mut self) {
        self.sent.iter_mut().for_each(Vec::clear);
    }

    fn fail(&self, now: Instant, why: &str) -> ! {
        panic!("seed {}, after {:?}: {why}", self.seed, now.since(self.start))
    }

    /// A lease ends only if its router does not keep advertising.
    pub fn lease_ended(world: &World, node: usize) {
        let it = &world.nodes[node];
        let ran = world.watch.thawed[node] + seconds(0.2) < world.now;
        if it.is_active() && ran {
            world.watch.fail(world.now, &format!("node {node} advertises, and the lease of an address ended"));
        }
    }

    /// Only who can hold the addresses becomes active.
    pub fn became_active(world: &World, node: usize) {
        let it = &world.nodes[node];
        let held = it.config.addresses.iter().all(|address| it.kernel.contains_key(address));
        if it.refuses && !held {
            world.watch.fail(world.now, &format!("node {node} became active without its addresses"));
        }
    }

    /// Limits are kept.
    pub fn acted(world: &mut World, node: usize, actions: &[Action]) {
        let now = world.now;
        let interval = world.nodes.iter().map(|node| node.config.interval.duration()).min().unwrap_or_default();
        let watch = &mut world.watch;
        for action in actions {
            match action {
                Action::Send(_) => watch.sent[node].push(now),
                Action::Announce { .. } => watch.announced[node].push(now),
                Action::Event { event, .. } => {
                    let kind = match event {
                        Event::Transition { from, to, .. } => format!("{from} -> {to}"),
                        Event::Discarded { rejection, .. } => rejection.reason().name().to_owned(),
                        other => format!("{:?}", std::mem::discriminant(other)),
                    };
                    let before = watch.told.insert((node, kind.clone()), now);
                    if before.is_some_and(|before| now.since(before) < seconds(1.0)) {
                        watch.fail(now, &format!("node {node} told twice in a second: {kind}"));
                    }
                }
                Action::Install { .. } | Action::Remove | Action::Withdraw { .. } => {}
            }
        }
        for times in [&mut watch.sent[node], &mut watch.announced[node]] {
            times.retain(|time| now.since(*time) < seconds(1.0));
        }
        // Its own beat and, where somebody resigns all the time, that of the other, whom it makes place for each time; an
        // answer or last word ten times; and what elections and reloads make of them.
        let beats = (seconds(1.0).as_nanos() / interval.as_nanos()) as usize;
        let (sent, announced) = (watch.sent[node].len(), watch.announced[node].len());
        if sent > 2 * beats + 30 || announced > 5 + 4 {
            watch.fail(now, &format!("node {node} in one second: {sent} advertisements, {announced} announcements"));
        }
    }

    pub fn look(world: &mut World) {
        let now = world.now;
        for (number, node) in world.nodes.iter().enumerate() {
            let (found, expected) = (node.router.priority(), node.expected_priority());
            if !node.fault && found != expected && node.router.state() != State::Initialize {
                world.watch.fail(now, &format!("node {number} has priority {found} instead of {expected}"));
            }
        }
        for (number, node) in world.nodes.iter().enumerate() {
            let stalls = std::mem::replace(&mut world.watch.stalls[number], node.router.counters().stalls);
            if world.watch.stalls[number] > stalls && now.since(world.watch.thawed[number]) > seconds(10.0) {
                world.watch.fail(now, &format!("node {number} believes that it stalled"));
            }
        }
        let active: Vec<usize> = (0..2).filter(|node| world.nodes[*node].is_active()).collect();
        if active != world.watch.active.0 {
            world.watch.active = (active.clone(), now);
        }
        let frozen = world.nodes.iter().any(|node| node.frozen_until > now);
        if world.cut != Cut::None || world.loss_percent > 0 || frozen {
            world.watch.calm_since = now;
            return;
        }
        let interval = world.nodes.iter().map(|node| node.config.interval.duration()).max().unwrap_or_default();
        let bound = interval.max(seconds(1.0)) + SLACK;
        let (calm, stable) = (now.since(world.watch.calm_since), now.since(world.watch.active.1));
        if calm > bound && active.len() > 1 && Self::is_one_virtual_router(world) && stable > bound.min(DELAY * 4) {
            world.watch.fail(now, "two are active an interval after everything was well");
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

    /// Where the third host sends what is for the virtual addresses.
    fn third_host_knows(world: &World, active: usize) {
        for address in &world.nodes[active].config.addresses {
            match world.neighbours.get(address) {
                Some(node) if *node != active && world.nodes[*node].kernel.contains_key(address) => {
                    let why = format!("node {active} is active, and {node} has and answers for {address}");
                    world.watch.fail(world.now, &why);
                }
                Some(node) if *node != active => {
                    let why = format!("node {active} is active, and the third host believes in {node} for {address}");
                    world.watch.fail(world.now, &why);
                }
                Some(_) | None => {}
            }
        }
    }

    /// After a while without trouble: one is active, if one can be.
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
            world.watch.fail(world.now, &format!("{} active of {able} that can be: {states:?}", active.len()));
        }
        for node in active {
            if !node.config.addresses.iter().all(|address| node.kernel.contains_key(address)) {
                world.watch.fail(world.now, "the active one does not have its addresses");
            }
        }
    }
}
