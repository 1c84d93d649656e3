//! Rows 77 to 81: preemption, owners, ties.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::reception::lower_than;
use crate::lab::{Lab, shown};
use crate::plan::Plan;

pub(super) fn better_router_takes_over(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let _worse = lab.beat(vec![lab.peer(50)], plan.interval)?;
    let start = lab.start(&plan)?;
    let first = lab.advertisement(start, plan.down_interval() + Duration::from_secs(10));
    let first = first.context("did not take over from a router of priority 50")?;
    let least = plan.down_interval().mul_f64(0.97);
    ensure!(
        first.at - start >= least,
        "took over {} after its start, expected at least {}",
        shown(first.at - start),
        shown(least)
    );
    Ok(())
}

pub(super) fn without_preemption_it_does_not(lab: &Lab) -> anyhow::Result<()> {
    let plan = Plan { preempt: false, ..lab.plan() };
    let _worse = lab.beat(vec![lab.peer(50)], plan.interval)?;
    let start = lab.start(&plan)?;
    lab.silent(start, 2 * plan.down_interval() + Duration::from_secs(2)).context("with a router of priority 50 active")
}

pub(super) fn owner_always_does(lab: &Lab) -> anyhow::Result<()> {
    let plan = Plan { preempt: false, priority: 255, ..lab.plan() };
    let _worse = lab.beat(vec![lab.peer_of(&plan, 200)], plan.interval)?;
    let start = lab.start(&plan)?;
    let first = lab.advertisement(start, Duration::from_secs(8));
    let first = first.context("the owner did not take over from a router of priority 200")?;
    ensure!(first.priority() == 255, "the owner advertises priority {}", first.priority());
    Ok(())
}

pub(super) fn equals_that_start_together(lab: &Lab) -> anyhow::Result<()> {
    // The peer becomes active at the same time, and each hears the other's first advertisement.
    for higher in [false, true] {
        let plan = lab.plan();
        let first = lab.start_active(&plan)?;
        let equal = lab.peer(plan.priority).with(|packet| {
            if !higher {
                packet.source = lower_than(first.ip.0);
            }
        });
        lab.send(&equal)?;
        if higher {
            let beat = lab.beat(vec![equal], plan.interval)?;
            sleep(2 * plan.interval);
            lab.silent(Instant::now(), 2 * plan.interval).context("against an equal with a higher address")?;
            drop(beat);
        } else {
            let since = Instant::now();
            sleep(3 * plan.interval);
            ensure!(lab.advertisements(since).len() >= 2, "gave way to an equal with a lower address");
        }
        lab.with_router(|router| router.stop())?;
    }
    Ok(())
}

pub(super) fn remaining_router_announces_again(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    lab.start_active(&plan)?;
    // What it announces after its election is over.
    sleep(Duration::from_secs(7));
    let healed = lab.send(&lab.peer(50))?;
    sleep(Duration::from_millis(1500));
    ensure!(!lab.advertisements(healed).is_empty(), "gave way to a worse router");
    for address in &plan.addresses {
        ensure!(!lab.announcements(*address, healed).is_empty(), "{address} was not announced again within 1.5 s");
    }
    Ok(())
}
