//! Rows 15 to 36: what a router accepts, and that a packet which it discards changes no state and no timer.

use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::lab::{Lab, ROUTER, shown};
use crate::packet::{Packet, Sum};
use crate::plan::{Plan, Setup};

/// How often a bad packet comes: more often than any timer of the rows fires.
const BAD: Duration = Duration::from_millis(240);

/// Packets that a router must discard change nothing. While they come, an active router advertises at its interval; and a
/// backup whose active router has gone takes over as if they did not come.
pub(super) fn discards(lab: &Lab, plan: &Plan, bad: Vec<Packet>) -> anyhow::Result<()> {
    let first = lab.start_active(plan)?;
    let noise = lab.beat(bad, BAD)?;
    let until = first.at + 5 * plan.interval;
    lab.cadence(first.at, until, plan.interval).context("while active")?;
    if plan.priority == 255 {
        return Ok(());
    }
    // Back to Backup by a better router, which then goes silent.
    let better = lab.peer_of(plan, 200);
    let mut last = lab.send(&better)?;
    for _ in 0..2 {
        sleep(plan.interval);
        last = lab.send(&better)?;
    }
    let settled = last - plan.interval / 2;
    let found = lab.advertisement_after(last.max(settled), plan.down_interval()).context("while backup")?;
    ensure!(found.priority() != 0, "the router gave up: it sent priority 0");
    drop(noise);
    Ok(())
}

/// A router gives way to each of these packets of a better router.
pub(super) fn accepts(lab: &Lab, plan: &Plan, good: Vec<(&str, Packet)>) -> anyhow::Result<()> {
    lab.start_active(plan)?;
    for (what, packet) in good {
        for _ in 0..3 {
            lab.send(&packet)?;
            sleep(plan.interval / 2);
        }
        let since = Instant::now() - plan.interval / 2;
        lab.silent(since, plan.interval).with_context(|| what.to_owned())?;
        let again = lab.advertisement(since, 2 * plan.down_interval() + Duration::from_secs(12));
        again.with_context(|| format!("{what}: the router never came back"))?;
    }
    Ok(())
}

fn better(lab: &Lab) -> Packet {
    lab.peer(200)
}

pub(super) fn ttl_below_255(lab: &Lab) -> anyhow::Result<()> {
    let bad = [254, 64, 1].map(|ttl| better(lab).with(|packet| packet.ttl = ttl));
    discards(lab, &lab.plan(), bad.to_vec())
}

pub(super) fn other_versions(lab: &Lab) -> anyhow::Result<()> {
    let mut bad: Vec<_> =
        [0, 1, 4, 15].into_iter().map(|version| better(lab).with(|packet| packet.version = version)).collect();
    // A whole advertisement of the other version.
    match lab.setup() {
        Setup::V2 => bad.push(lab.peer_of(&Setup::V3.plan(), 200)),
        Setup::V3 => bad.push(lab.peer_of(&Setup::V2.plan(), 200)),
        Setup::V6 | Setup::V3Mac | Setup::V6Mac | Setup::Dual => {}
    }
    discards(lab, &lab.plan(), bad)
}

pub(super) fn other_types(lab: &Lab) -> anyhow::Result<()> {
    let bad = [0, 2, 15].map(|kind| better(lab).with(|packet| packet.kind = kind));
    discards(lab, &lab.plan(), bad.to_vec())
}

pub(super) fn truncated(lab: &Lab) -> anyhow::Result<()> {
    let whole = better(lab).message().len();
    // Faster than other packets, so that each length comes in both halves of the row.
    let bad: Vec<_> =
        (0..whole).rev().step_by(1 + whole / 24).map(|cut| better(lab).with(|packet| packet.cut = Some(cut))).collect();
    discards(lab, &lab.plan(), bad)
}

pub(super) fn trailing_bytes(lab: &Lab) -> anyhow::Result<()> {
    let bad = [1, 4, 8].map(|more| better(lab).with(|packet| packet.trailer.resize(packet.trailer.len() + more, 0)));
    discards(lab, &lab.plan(), bad.to_vec())
}

pub(super) fn padding_does_not_count(lab: &Lab) -> anyhow::Result<()> {
    accepts(lab, &lab.plan(), vec![("padded by 14 bytes", better(lab).with(|packet| packet.padding = 14))])
}

pub(super) fn wrong_checksum(lab: &Lab) -> anyhow::Result<()> {
    discards(lab, &lab.plan(), vec![better(lab).with(|packet| packet.sum = Sum::Wrong)])
}

pub(super) fn any_bit_flipped(lab: &Lab) -> anyhow::Result<()> {
    let bits = better(lab).message().len() * 8;
    // 41 has no factor in common with the number of bits: all parts of the message come soon.
    let bad: Vec<_> = (0..bits).map(|index| better(lab).with(|packet| packet.flip = Some(index * 41 % bits))).collect();
    discards(lab, &lab.plan(), bad)
}

pub(super) fn both_checksum_forms_are_accepted(lab: &Lab) -> anyhow::Result<()> {
    let alone = better(lab).with(|packet| packet.sum = Sum::MessageOnly);
    accepts(lab, &lab.plan(), vec![("with the pseudo-header", better(lab)), ("over the message alone", alone)])
}

pub(super) fn checksum_without_pseudo_header(lab: &Lab) -> anyhow::Result<()> {
    discards(lab, &lab.plan(), vec![better(lab).with(|packet| packet.sum = Sum::MessageOnly)])
}

pub(super) fn another_virtual_router(lab: &Lab) -> anyhow::Result<()> {
    let bad = [56, 54, 255].map(|vrid| better(lab).with(|packet| packet.vrid = vrid));
    discards(lab, &lab.plan(), bad.to_vec())
}

pub(super) fn no_addresses(lab: &Lab) -> anyhow::Result<()> {
    let none = better(lab).with(|packet| packet.addresses.clear());
    discards(lab, &lab.plan(), vec![none, better(lab).with(|packet| packet.count = Some(0))])
}

pub(super) fn interval_of_zero(lab: &Lab) -> anyhow::Result<()> {
    discards(lab, &lab.plan(), vec![better(lab).with(|packet| packet.interval = 0)])
}

pub(super) fn first_address_is_global(lab: &Lab) -> anyhow::Result<()> {
    discards(lab, &lab.plan(), vec![better(lab).with(|packet| packet.addresses.reverse())])
}

pub(super) fn another_interval_is_accepted(lab: &Lab) -> anyhow::Result<()> {
    accepts(lab, &lab.plan(), vec![("interval 3 s", better(lab).with(|packet| packet.interval = 300))])
}

pub(super) fn one_address_in_common_is_enough(lab: &Lab) -> anyhow::Result<()> {
    let fewer = better(lab).with(|packet| packet.addresses.truncate(1));
    accepts(lab, &lab.plan(), vec![("one of two addresses", fewer)])
}

pub(super) fn reserved_bits_are_ignored(lab: &Lab) -> anyhow::Result<()> {
    accepts(lab, &lab.plan(), vec![("reserved bits set", better(lab).with(|packet| packet.interval |= 0xf000))])
}

pub(super) fn options_are_accepted(lab: &Lab) -> anyhow::Result<()> {
    // No operation, and end of the list.
    let options = |words: usize| better(lab).with(|packet| packet.options = [1, 1, 1, 0].repeat(words));
    accepts(lab, &lab.plan(), vec![("one word of options", options(1)), ("ten words of options", options(10))])
}

pub(super) fn two_owners_elect_by_address(lab: &Lab) -> anyhow::Result<()> {
    let plan = Plan { priority: 255, ..lab.plan() };
    let first = lab.start_active(&plan)?;
    let lower = lab.peer_of(&plan, 255).with(|packet| packet.source = lower_than(first.ip.0));
    let beat = lab.beat(vec![lower], plan.interval)?;
    sleep(2 * plan.interval);
    let since = Instant::now();
    sleep(2 * plan.interval);
    drop(beat);
    let found = lab.advertisements(since);
    ensure!(!found.is_empty(), "gave way to an owner with a lower address");
    let lowered = found.iter().find(|found| found.priority() != 255).map(|found| found.priority());
    ensure!(lowered.is_none(), "lowered its priority to {}", lowered.unwrap_or_default());
    let _beat = lab.beat(vec![lab.peer_of(&plan, 255)], plan.interval)?;
    sleep(2 * plan.interval);
    lab.silent(Instant::now(), 2 * plan.interval).context("against an owner with a higher address")
}

/// An address that loses the tie against this one.
pub(super) fn lower_than(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => crate::lab::LOWER.0.into(),
        IpAddr::V6(_) => crate::lab::LOWER.1.into(),
    }
}

pub(super) fn impossible_sources(lab: &Lab) -> anyhow::Result<()> {
    let sources = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 9), ROUTER.0];
    let bad = sources.map(|source| better(lab).with(|packet| packet.source = source.into()));
    discards(lab, &lab.plan(), bad.to_vec())
}

pub(super) fn carp(lab: &Lab) -> anyhow::Result<()> {
    // CARP's header: version 2, type 1, VHID, advskew, length of the authentication in words, demotion, interval, checksum;
    // then a counter of 8 bytes and an HMAC of 20 bytes.
    let carp = better(lab).with(|packet| {
        packet.version = 2;
        packet.priority = 200;
        packet.count = Some(7);
        packet.interval = 1;
        packet.addresses.clear();
        packet.trailer = vec![0xa5; 28];
    });
    discards(lab, &lab.plan(), vec![carp])
}

pub(super) fn everything_at_once(lab: &Lab) -> anyhow::Result<()> {
    let packet = better(lab);
    let mut bad = vec![
        packet.with(|packet| packet.ttl = 64),
        packet.with(|packet| packet.version = 4),
        packet.with(|packet| packet.kind = 2),
        packet.with(|packet| packet.cut = Some(7)),
        packet.with(|packet| packet.trailer.extend([0; 8])),
        packet.with(|packet| packet.sum = Sum::Wrong),
        packet.with(|packet| packet.vrid = 56),
        packet.with(|packet| packet.count = Some(0)),
    ];
    if lab.plan().version == 3 {
        bad.push(packet.with(|packet| packet.interval = 0));
    }
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    let noise = lab.beat(bad.clone(), Duration::from_millis(500))?;
    lab.cadence(first.at, first.at + Duration::from_secs(12), plan.interval).context("while active")?;
    drop(noise);
    // And a backup of a router that goes on never promotes.
    let peer = lab.beat(vec![lab.peer(200)], plan.interval)?;
    sleep(2 * plan.interval);
    let _noise = lab.beat(bad, Duration::from_millis(500))?;
    let since = Instant::now();
    lab.silent(since, Duration::from_secs(12))
        .with_context(|| format!("as a backup, for {}", shown(since.elapsed())))?;
    drop(peer);
    Ok(())
}
