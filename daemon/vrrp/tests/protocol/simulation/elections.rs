//! What becomes of elections whose frames are lost.

use std::net::IpAddr;

use super::network::{Change, Network};
use super::random::Random;
use crate::bench::{config, millis, seconds, v2};
use vouchd_vrrp::Config;
use vouchd_vrrp::wire::Priority;

/// Three routers without preemption. The active one fails, and at 30 % loss the worse backup often wins.
///
/// The better backup takes over at the latest 3.69 s, an Active_Down_Interval, after the last advertisement of the failing
/// router. That one may win its first election, if both backups lose its priority 0, and calls the next ones after 1, 2, 4, …
/// down intervals. So the first call decides with a probability of 0.7 at least, and four calls, 15 down intervals, are enough
/// in all but 1 % of the runs; at 16 more intervals each, the rest follows.
#[test]
fn yield_election_under_loss_never_ends_at_the_worse_backup() {
    let mut moved_twice = 0;
    for seed in 0..600 {
        let mut network = Network::new(Random::new(seed));
        let base = Config { preempt: false, ..if seed % 2 == 0 { config(100) } else { v2(100) } };
        for (last, priority) in [(10, 100), (11, 80), (12, 60)] {
            let config = Config { priority: Priority::new(priority), ..base.clone() };
            network.add(IpAddr::from([192, 0, 2, last]), config, true);
        }
        network.run(network.now + seconds(5.0), |_| ());
        assert!(network.nodes[0].is_active(), "seed {seed}");
        network.loss_percent = 30;
        network.plan(network.now + millis(500), 0, Change::Priority(20));
        let (start, mut worse, mut better_at) = (network.now, false, None);
        network.run(start + seconds(60.0), |network| {
            worse |= network.nodes[2].is_active();
            if network.nodes[1].is_active() {
                better_at.get_or_insert(network.now);
            }
        });
        moved_twice += u32::from(worse);
        let bound = seconds(0.5 + 15.0 * 3.92 + 3.69);
        assert!(better_at.is_some_and(|at| at.since(start) <= bound), "seed {seed}: {better_at:?}");
        // At rest there is one, the better backup.
        network.loss_percent = 0;
        network.run(network.now + seconds(10.0), |_| ());
        let active: Vec<_> = network.nodes.iter().map(|node| node.is_active()).collect();
        assert_eq!(active, [false, true, false], "seed {seed}");
    }
    assert!(moved_twice > 60, "the worse backup was faster in {moved_twice} runs only");
}

/// A pair with any loss, duplication by repeated calls, and a third router that joins: never two holders that stay, and the
/// better one wins.
#[test]
fn pair_hands_over_at_once_and_settles_after_any_loss() {
    for seed in 0..600 {
        let mut network = Network::new(Random::new(seed));
        let preempt = network.random.percent(50);
        let base = Config { pair: true, preempt, ..if seed % 2 == 0 { config(100) } else { v2(100) } };
        let routers = 2 + u64::from(network.random.percent(20));
        for node in 0..routers {
            let config = Config { priority: Priority::new(100 - 20 * node as u8), ..base.clone() };
            network.add(IpAddr::from([192, 0, 2, 10 + node as u8]), config, true);
        }
        network.run(network.now + seconds(5.0), |_| ());
        network.loss_percent = network.random.between(0, 40);
        let lowered = [99, 81, 80, 79, 40][network.random.between(0, 4) as usize];
        network.plan(network.now + millis(500), 0, Change::Priority(lowered));
        let start = network.now;
        network.run(start + seconds(70.0), |_| ());
        network.loss_percent = 0;
        // Two may be active until the frames of the better one have arrived.
        network.run(network.now + seconds(70.0), |_| ());
        let mut both_since = None;
        let longest = network.longest_delay * 3;
        network.run(network.now + seconds(70.0), |network| {
            let active = network.nodes.iter().filter(|node| node.is_active()).count();
            if active == 1 {
                both_since = None;
            } else {
                let since = *both_since.get_or_insert(network.now);
                assert!(network.now.since(since) <= longest, "seed {seed}: {active} are active");
            }
        });
        let better = usize::from(lowered < 80);
        // An equal router that is active stays.
        assert!(network.nodes[better].is_active() || lowered == 80, "seed {seed}: lowered to {lowered}");
    }
}
