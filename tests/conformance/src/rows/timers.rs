//! Rows 69 to 75: the times.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;

use crate::lab::Lab;
use crate::plan::Plan;

pub(super) fn skew_follows_priority_and_interval(lab: &Lab) -> anyhow::Result<()> {
    let intervals: &[u64] = if lab.plan().version == 2 { &[1000, 2000] } else { &[200, 1000] };
    for (priority, interval) in [(1, intervals[0]), (254, intervals[1])] {
        let plan = Plan { priority, interval: Duration::from_millis(interval), ..lab.plan() };
        let what = format!("priority {priority}, interval {interval} ms");
        let peer = lab.beat(vec![lab.peer_of(&plan, 255)], plan.interval)?;
        lab.start(&plan)?;
        sleep((3 * plan.interval).max(Duration::from_secs(3)));
        drop(peer);
        sleep(plan.interval / 4);
        let resigned = lab.send(&lab.peer_of(&plan, 0))?;
        lab.advertisement_after(resigned, plan.skew()).with_context(|| format!("Skew_Time, {what}"))?;
        let better = lab.peer_of(&plan, 255);
        lab.send(&better)?;
        sleep(plan.interval);
        let last = lab.send(&better)?;
        lab.advertisement_after(last, plan.down_interval()).with_context(|| format!("Active_Down_Interval, {what}"))?;
        lab.with_router(|router| router.stop())?;
    }
    Ok(())
}

pub(super) fn own_advertisements_keep_the_own_interval(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    drop(lab.start_backup(&plan)?);
    let fast = lab.peer(200).with(|packet| packet.interval = 20);
    lab.send(&fast)?;
    let last = lab.send(&fast)?;
    let first = lab.advertisement_after(last, plan.down_interval_at(Duration::from_millis(200)))?;
    lab.cadence(first.at, first.at + 4 * plan.interval, plan.interval)
}

pub(super) fn stalled_backup_handles_waiting_packets_first(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let _peer = lab.start_backup(&plan)?;
    for stall in [2, 5] {
        let since = Instant::now();
        lab.with_router(|router| {
            router.process()?.signal_all(Signal::SIGSTOP);
            sleep(Duration::from_secs(stall));
            router.process()?.signal_all(Signal::SIGCONT);
            Ok(())
        })?;
        lab.silent(since, 2 * plan.interval).with_context(|| format!("a backup that was stopped for {stall} s"))?;
    }
    Ok(())
}
