//! Rows 89 to 96: version 2 only.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::reception::{accepts, discards};
use crate::lab::Lab;
use crate::plan::Plan;

fn with_password(lab: &Lab) -> Plan {
    Plan { password: Some("1234".to_owned()), ..lab.plan() }
}

pub(super) fn other_authentication(lab: &Lab) -> anyhow::Result<()> {
    let bad = [1, 2, 7].map(|kind: u16| lab.peer(200).with(|packet| packet.interval |= kind << 8));
    discards(lab, &lab.plan(), bad.to_vec())
}

pub(super) fn wrong_password(lab: &Lab) -> anyhow::Result<()> {
    let plan = with_password(lab);
    let good = lab.peer_of(&plan, 200);
    let bad = vec![
        good.with(|packet| packet.trailer = b"1235\0\0\0\0".to_vec()),
        good.with(|packet| packet.trailer = b"12345\0\0\0".to_vec()),
        good.with(|packet| packet.trailer = b"1234\0\0\0x".to_vec()),
        // No authentication.
        lab.peer(200),
    ];
    discards(lab, &plan, bad)
}

pub(super) fn another_interval(lab: &Lab) -> anyhow::Result<()> {
    discards(lab, &lab.plan(), vec![lab.peer(200).with(|packet| packet.interval = 2)])
}

pub(super) fn one_address_in_common_is_enough(lab: &Lab) -> anyhow::Result<()> {
    let fewer = lab.peer(200).with(|packet| packet.addresses.truncate(1));
    accepts(lab, &lab.plan(), vec![("one of two addresses", fewer)])
}

pub(super) fn authentication_data_is_ignored(lab: &Lab) -> anyhow::Result<()> {
    let first = lab.start_active(&lab.plan())?;
    ensure!(first.trailer() == [0; 8], "sends authentication data {:02x?}", first.trailer());
    lab.with_router(|router| router.stop())?;
    let data = lab.peer(200).with(|packet| packet.trailer = b"whatever".to_vec());
    accepts(lab, &lab.plan(), vec![("authentication data with type 0", data)])
}

pub(super) fn ipv6_is_refused(lab: &Lab) -> anyhow::Result<()> {
    let plan = Plan { version: 2, ..lab.plan() };
    let start = lab.start(&plan)?;
    let Ok(found) = lab.advertisement(start, Duration::from_secs(8)) else { return Ok(()) };
    ensure!(found.version() == 3, "sends version {} over IPv6", found.version());
    Ok(())
}

pub(super) fn interval_below_a_second_is_refused(lab: &Lab) -> anyhow::Result<()> {
    let plan = Plan { interval: Duration::from_millis(500), ..lab.plan() };
    let start = lab.start(&plan)?;
    let Ok(found) = lab.advertisement(start, Duration::from_secs(8)) else { return Ok(()) };
    ensure!(found.interval() & 0xff >= 1, "sends an interval of {}", found.interval() & 0xff);
    let next = lab.advertisement(found.at + Duration::from_millis(100), Duration::from_secs(4))?;
    let gap = next.at - found.at;
    ensure!(gap >= Duration::from_millis(950), "sends every {gap:?}");
    Ok(())
}

pub(super) fn owner_discards(lab: &Lab) -> anyhow::Result<()> {
    let plan = Plan { priority: 255, ..lab.plan() };
    discards(lab, &plan, vec![lab.peer(200), lab.peer(254)]).context("as the owner")
}
