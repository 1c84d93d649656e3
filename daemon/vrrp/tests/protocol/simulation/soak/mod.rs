//! Soak tests: hours of a pair with partitions, lost frames, floods, reloads, flapping checks, kernels that refuse, and stalls.
//! [`invariants`] says what must hold; a failure names its seed.

mod invariants;
mod third_host;
mod world;

use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::Config;
use vouchd_vrrp::wire::{Advertisement, Priority, Version};

use self::invariants::Invariants;
use self::world::{Cut, World};
use crate::bench::{VIP, config, interval, millis, seconds, v2};

const THREE_HOURS: Duration = Duration::from_secs(3 * 3_600);

fn second_vip(last: u8) -> IpAddr {
    [192, 0, 2, 100 + last].into()
}

fn trouble(world: &mut World) {
    let node = world.random.between(0, 1) as usize;
    let other = 1 - node;
    let kind = world.random.between(0, 14);
    if kind > 4 {
        awake(world, node);
    }
    match kind {
        0 => cut(world, Cut::Split { host_with: node }),
        1 => cut(world, Cut::OneWay { from: node }),
        2 => {
            world.loss_percent = world.random.between(5, 40);
            world.invariants.disturb(world.now, "loss");
        }
        3 | 4 => flood(world),
        5 => {
            let priority = world.random.between(1, 254) as u8;
            reload(world, node, "another base", |config, _| config.priority = Priority::new(priority));
        }
        6 if world.nodes[node].config.version == Version::V3 => {
            // Also in the middle of an election.
            if world.random.percent(50) {
                world.nodes[node].penalty = -(world.random.between(1, 99) as i16);
                world.invariants.disturb(world.now, "a check");
                world.checks(node);
                let pause = world.random.duration(Duration::ZERO, millis(300));
                world.run(pause);
            }
            let cs = [5, 10, 30, 100, 400, 1000][world.random.between(0, 5) as usize];
            reload(world, node, "another interval", |config, _| config.interval = interval(cs));
        }
        6 | 7 => {
            let more = world.random.between(0, 3) as u8;
            reload(world, node, "other addresses", |config, _| {
                config.addresses = [VIP].into_iter().chain((1..=more).map(second_vip)).collect();
            });
        }
        8 => reload(world, node, "preemption", |config, _| config.preempt = !config.preempt),
        9 => {
            let is_free = !world.nodes[other].config.is_owner();
            reload(world, node, "ownership", |config, base| {
                config.priority = if config.is_owner() || !is_free { base } else { Priority::OWNER };
            });
        }
        10 => flap(world, node),
        11 => {
            // At most one kernel of the two refuses.
            let refuses = !world.nodes[node].refuses && !world.nodes[other].refuses;
            world.nodes[node].refuses = refuses;
            world.invariants.disturb(world.now, "the kernel starts or stops refusing");
            if world.nodes[node].cable {
                world.cable(node, true);
            }
        }
        12 => {
            let duration = world.random.duration(millis(50), seconds(8.0));
            world.nodes[node].frozen_until = world.now + duration;
            world.invariants.thaws(node, world.now + duration);
            world.invariants.disturb(world.now, "a stall");
        }
        13 => {
            world.nodes[node].busy_until = world.now + world.random.duration(millis(1), millis(700));
            world.invariants.disturb(world.now, "a busy kernel");
        }
        _ => {
            let plugged = !world.nodes[node].cable;
            world.invariants.disturb(world.now, "a cable");
            world.cable(node, plugged);
        }
    }
}

/// Waits until a frozen node runs again.
fn awake(world: &mut World, node: usize) {
    let pause = world.nodes[node].frozen_until.since(world.now);
    world.run(pause);
}

fn cut(world: &mut World, cut: Cut) {
    world.cut = cut;
    world.invariants.disturb(world.now, if matches!(cut, Cut::Split { .. }) { "a partition" } else { "one-way loss" });
}

fn reload(world: &mut World, node: usize, what: &'static str, change: impl FnOnce(&mut Config, Priority)) {
    let mut config = world.nodes[node].config.clone();
    let base = Priority::new(world.random.between(1, 254) as u8);
    change(&mut config, base);
    world.invariants.disturb(world.now, what);
    world.reload(node, config);
}

/// A flapping check.
fn flap(world: &mut World, node: usize) {
    for _ in 0..world.random.between(1, 12) {
        let penalty = [0, -20, -60, -250][world.random.between(0, 3) as usize];
        world.nodes[node].penalty = penalty;
        world.nodes[node].fault = world.random.percent(10);
        world.invariants.disturb(world.now, "a check");
        world.checks(node);
        let pause = world.random.duration(millis(1), millis(700));
        world.run(pause);
    }
    world.nodes[node].fault = false;
    world.invariants.disturb(world.now, "a check");
    world.checks(node);
}

/// Valid and other frames of an outsider.
fn flood(world: &mut World) {
    let kind = world.random.between(0, 4);
    let model = world.nodes[0].config.clone();
    let pause = millis([5, 20][world.random.between(0, 1) as usize]);
    for turn in 0..world.random.between(50, 400) {
        let mut advertisement = Advertisement {
            version: model.version,
            vrid: model.vrid,
            priority: Priority::new(1),
            interval: model.interval,
            addresses: vec![VIP],
            auth: model.auth,
        };
        match kind {
            0 => advertisement.priority = Priority::RESIGN,
            1 => advertisement.addresses = vec![second_vip(150)],
            2 if model.version == Version::V3 => advertisement.interval = interval(50 + (turn % 2) as u16),
            3 => advertisement.addresses = vec![VIP, second_vip((turn % 100) as u8)],
            _ => {}
        }
        world.invariants.disturb(world.now, "a frame of a flood");
        world.inject(&advertisement);
        world.run(pause);
    }
}

/// Ends all trouble except what was configured, for a while.
fn quiet(world: &mut World) {
    world.cut = Cut::None;
    world.loss_percent = 0;
    world.invariants.disturb(world.now, "peace");
    for node in 0..2 {
        awake(world, node);
        if !world.nodes[node].cable {
            world.cable(node, true);
        }
    }
    let down = world.nodes.iter().map(|node| node.config.interval.duration() * 4).max().unwrap_or_default();
    world.run(down * 3 + seconds(10.0));
    for _ in 0..5 {
        Invariants::settled(world);
        world.run(seconds(1.0));
    }
}

fn soak(seed: u64, model: Config, length: Duration) -> World {
    let second = Config { priority: Priority::new(80), ..model.clone() };
    let mut world = World::new(seed, [model, second]);
    let end = world.now + length;
    while world.now < end {
        for _ in 0..world.random.between(1, 4) {
            trouble(&mut world);
            let pause = world.random.duration(millis(1), seconds(12.0));
            world.run(pause);
            // Some trouble ends in the middle of other trouble.
            if world.random.percent(50) {
                world.cut = Cut::None;
                world.loss_percent = 0;
                world.invariants.disturb(world.now, "healed");
            }
        }
        quiet(&mut world);
    }
    world
}

#[test]
fn version_3_pair_survives_three_hours_of_every_kind_of_trouble() {
    let world = soak(9568, config(100), THREE_HOURS);
    assert!(world.invariants.counted.values().all(|count| *count >= 10), "{:?}", world.invariants.counted);
}

#[test]
fn version_2_pair_survives_three_hours_of_every_kind_of_trouble() {
    soak(3768, v2(100), THREE_HOURS);
}

#[test]
fn pair_survives_shorter_runs_of_other_seeds() {
    for seed in 0..24 {
        let model = if seed % 3 == 0 { v2(100) } else { Config { preempt: seed % 2 == 0, ..config(100) } };
        soak(seed, model, Duration::from_secs(600));
    }
}

/// Gives `node` these addresses, and returns the longest time for which none or both of the pair were active.
fn step(world: &mut World, node: usize, addresses: &[IpAddr]) -> Duration {
    reload(world, node, "a step", |config, _| config.addresses = addresses.to_vec());
    let mut longest = Duration::ZERO;
    let mut since = world.now;
    for _ in 0..1_000 {
        world.run(millis(10));
        match world.nodes.iter().filter(|node| node.is_active()).count() {
            1 => since = world.now,
            _ => longest = longest.max(world.now.since(since)),
        }
    }
    longest
}

#[test]
fn addresses_change_node_by_node_with_one_active_router_throughout() {
    let (old, new) = (VIP, second_vip(1));
    for model in [config(100), v2(100), Config { preempt: false, ..config(100) }] {
        for first in 0..2 {
            let second = Config { priority: Priority::new(80), ..model.clone() };
            let mut world = World::new(1, [model.clone(), second]);
            world.run(seconds(10.0));
            assert!(world.nodes[0].is_active());
            for addresses in [vec![old, new], vec![new]] {
                for node in [first, 1 - first] {
                    let what = format!("{:?}, node {node} of {first} to {addresses:?}", model.version);
                    assert_eq!(step(&mut world, node, &addresses), Duration::ZERO, "{what}");
                    let holders =
                        |address| world.nodes.iter().filter(|node| node.kernel.contains_key(&address)).count();
                    assert!(holders(old) <= 1 && holders(new) <= 1, "{what}");
                    let active = &world.nodes[0];
                    assert!(active.config.addresses.iter().all(|address| holders(*address) == 1), "{what}");
                }
            }
        }
    }
}

/// Without a shared address they are two virtual routers meanwhile: each address has one holder, and the last step makes them
/// one again within an interval.
#[test]
fn addresses_replaced_at_once_have_one_holder_each_meanwhile() {
    for model in [config(100), v2(100)] {
        for first in 0..2 {
            let second = Config { priority: Priority::new(80), ..model.clone() };
            let mut world = World::new(1, [model.clone(), second]);
            world.run(seconds(10.0));
            let new = second_vip(1);
            reload(&mut world, first, "a step", |config, _| config.addresses = vec![new]);
            world.run(seconds(10.0));
            for address in [VIP, new] {
                let holders = world.nodes.iter().filter(|node| node.kernel.contains_key(&address)).count();
                assert_eq!(holders, 1, "{address}");
            }
            assert!(step(&mut world, 1 - first, &[new]) <= seconds(1.1));
            assert!(world.nodes[0].is_active() && !world.nodes[1].is_active());
        }
    }
}

/// In version 3 the backup learns the interval from the active router, whichever changes first.
#[test]
fn version_3_interval_changes_node_by_node_with_one_active_router_throughout() {
    for (from, to) in [(100, 20), (20, 100), (100, 1000), (1000, 10)] {
        for first in 0..2 {
            let model = Config { interval: interval(from), ..config(100) };
            let second = Config { priority: Priority::new(80), ..model.clone() };
            let mut world = World::new(1, [model, second]);
            world.run(seconds(60.0));
            for node in [first, 1 - first] {
                reload(&mut world, node, "a step", |config, _| config.interval = interval(to));
                for _ in 0..2_000 {
                    world.run(millis(20));
                    let active: Vec<_> = world.nodes.iter().map(|node| node.is_active()).collect();
                    assert_eq!(active, [true, false], "{from} to {to} cs, node {node} of {first}");
                }
            }
        }
    }
}
