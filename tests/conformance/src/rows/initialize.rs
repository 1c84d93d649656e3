//! Rows 38 to 41: how a router starts.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::lab::{Lab, shown};
use crate::plan::Plan;

pub(super) fn owner_is_active_at_once(lab: &Lab) -> anyhow::Result<()> {
    let plan = Plan { priority: 255, interval: Duration::from_secs(5), ..lab.plan() };
    let first = lab.start_active(&plan)?;
    // The start of the programs themselves, on a machine that is busy.
    let start = lab.host().sh("true").map(|_| first.at)?;
    sleep(Duration::from_secs(1));
    for address in &plan.addresses {
        let announced = lab.announcements(*address, start - Duration::from_millis(200));
        ensure!(!announced.is_empty(), "{address} was not announced within 1 s of the first advertisement");
    }
    Ok(())
}

pub(super) fn others_listen_first(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let start = lab.start(&plan)?;
    let first = lab.advertisement(start, plan.down_interval() + Duration::from_secs(10))?;
    let listened = first.at - start;
    let least = plan.down_interval().mul_f64(0.97);
    ensure!(listened >= least, "advertised {} after its start, expected at least {}", shown(listened), shown(least));
    Ok(())
}

pub(super) fn returning_link_starts_anew(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    lab.start_active(&plan)?;
    lab.plug(false)?;
    sleep(Duration::from_millis(1500));
    let up = Instant::now();
    lab.plug(true)?;
    let first = lab.advertisement(up, plan.down_interval() + Duration::from_secs(10))?;
    let listened = first.at - up;
    let least = plan.down_interval().mul_f64(0.97);
    ensure!(
        listened >= least,
        "advertised {} after its link came back, expected at least {}",
        shown(listened),
        shown(least)
    );
    Ok(())
}
