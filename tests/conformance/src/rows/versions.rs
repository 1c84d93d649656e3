//! Rows 97 to 99: both versions at once (RFC 9568 section 8.4).

use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;

use crate::lab::Lab;
use crate::plan::Setup;

pub(super) fn active_router_sends_both(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    sleep(4 * plan.interval + plan.interval / 2);
    for version in [2, 3] {
        let count = lab.advertisements(first.at).iter().filter(|found| found.version() == version).count();
        ensure!((4..=6).contains(&count), "{count} advertisements of version {version} in 4.5 intervals");
    }
    Ok(())
}

pub(super) fn version_2_of_the_same_source_is_ignored(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    drop(lab.start_backup(&plan)?);
    // Version 3 is silent from now on: what follows of version 2 from the same source restarts no timer.
    let last = lab.send(&lab.peer(200))?;
    let ignored = lab.peer_of(&Setup::V2.plan(), 200);
    for _ in 0..4 {
        sleep(Duration::from_millis(500));
        lab.send(&ignored)?;
    }
    lab.advertisement_after(last, plan.down_interval()).map(drop)
}

pub(super) fn seconds_become_centiseconds(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    // A router that speaks version 2 only, with another interval.
    let slow = lab.peer_of(&Setup::V2.plan(), 200).with(|packet| packet.interval = 2);
    let peer = lab.beat(vec![slow.clone()], Duration::from_secs(2))?;
    lab.start(&plan)?;
    sleep(Duration::from_secs(5));
    drop(peer);
    let last = lab.send(&slow)?;
    lab.advertisement_after(last, plan.down_interval_at(Duration::from_secs(2))).map(drop)
}
