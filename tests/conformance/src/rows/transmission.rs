//! Rows 1 to 14: what an active router sends.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::lab::{Lab, ROUTER, hex, shown};
use crate::packet::{GROUP_V4, GROUP_V6};
use crate::plan::{INTERFACE, Plan, VRID};
use crate::seen::Advertisement;

fn active(lab: &Lab) -> anyhow::Result<Advertisement> {
    lab.start_active(&lab.plan())
}

pub(super) fn ttl_is_255(lab: &Lab) -> anyhow::Result<()> {
    let found = active(lab)?;
    ensure!(found.ttl == 255, "TTL {}", found.ttl);
    Ok(())
}

pub(super) fn goes_to_the_group(lab: &Lab) -> anyhow::Result<()> {
    let found = active(lab)?;
    let (group, mac): (IpAddr, _) = if lab.plan().is_ipv6() {
        (GROUP_V6.into(), [0x33, 0x33, 0, 0, 0, 0x12])
    } else {
        (GROUP_V4.into(), [0x01, 0, 0x5e, 0, 0, 0x12])
    };
    ensure!((found.ip.1, found.mac.0) == (group, mac), "sent to {} at {}", found.ip.1, hex(found.mac.0));
    Ok(())
}

pub(super) fn ethernet_source_is_the_virtual_mac(lab: &Lab) -> anyhow::Result<()> {
    let found = active(lab)?;
    ensure!(found.mac.1 == lab.virtual_mac(), "sent from {}, expected {}", hex(found.mac.1), hex(lab.virtual_mac()));
    Ok(())
}

pub(super) fn source_is_the_primary_address(lab: &Lab) -> anyhow::Result<()> {
    let found = active(lab)?;
    ensure!(found.ip.0 == ROUTER.0, "the source is {}, expected {}", found.ip.0, ROUTER.0);
    // Another primary address: the old one goes.
    lab.host().sh(&format!(
        "ip address add 192.0.2.77/24 dev {INTERFACE}; ip address del {}/24 dev {INTERFACE}
         ip address add 192.0.2.77/24 dev {INTERFACE} 2> /dev/null || true",
        ROUTER.0
    ))?;
    let changed = Instant::now() + Duration::from_millis(100);
    let next = lab.advertisement(changed, Duration::from_secs(8));
    let next = next.map_err(|error| error.context("after a change of the primary address"))?;
    ensure!(next.ip.0.to_string() == "192.0.2.77", "after a change of the primary address the source is {}", next.ip.0);
    Ok(())
}

pub(super) fn source_is_link_local(lab: &Lab) -> anyhow::Result<()> {
    let found = active(lab)?;
    let IpAddr::V6(source) = found.ip.0 else { anyhow::bail!("the source is {}", found.ip.0) };
    ensure!(source.is_unicast_link_local(), "the source is {source}");
    Ok(())
}

pub(super) fn fields_follow_the_configuration(lab: &Lab) -> anyhow::Result<()> {
    let mut plan = lab.plan();
    plan.priority = 173;
    plan.interval = Duration::from_secs(2);
    let found = lab.start_active(&plan)?;
    let expected = (plan.version, VRID, 173, 2);
    let fields = (found.version(), found.vrid(), found.priority(), found.count());
    ensure!(fields == expected, "version, VRID, priority, count are {fields:?}, expected {expected:?}");
    ensure!(found.interval() & 0xfff == plan.interval_field(), "the interval field is {:#06x}", found.interval());
    ensure!(found.addresses() == plan.addresses, "the addresses are {:?}", found.addresses());
    let trailer = if plan.version == 2 { 8 } else { 0 };
    ensure!(found.trailer().len() == trailer, "{} bytes after the addresses", found.trailer().len());
    Ok(())
}

pub(super) fn reserved_bits_are_zero(lab: &Lab) -> anyhow::Result<()> {
    for interval in [10, 2_550] {
        let plan = Plan { interval: Duration::from_millis(interval), ..lab.plan() };
        let found = lab.start_active(&plan)?;
        ensure!(found.interval() == plan.interval_field(), "at {interval} ms the field is {:#06x}", found.interval());
        lab.with_router(|router| router.stop())?;
    }
    Ok(())
}

pub(super) fn checksum_can_cover_the_message_alone(lab: &Lab) -> anyhow::Result<()> {
    let plan = Plan { message_only: true, ..lab.plan() };
    let found = lab.start_active(&plan)?;
    ensure!(found.sum_of_message_is_right(), "the checksum does not cover the message alone");
    Ok(())
}

pub(super) fn checksum_covers_the_pseudo_header(lab: &Lab) -> anyhow::Result<()> {
    let found = active(lab)?;
    ensure!(found.sum_with_pseudo_header_is_right(), "the checksum with the pseudo-header is wrong");
    Ok(())
}

pub(super) fn checksum_covers_the_message_alone(lab: &Lab) -> anyhow::Result<()> {
    let found = active(lab)?;
    ensure!(found.sum_of_message_is_right(), "the checksum over the message is wrong");
    Ok(())
}

pub(super) fn first_address_is_link_local(lab: &Lab) -> anyhow::Result<()> {
    // Without one in the configuration it is refused, or put in front.
    let mut plan = lab.plan();
    plan.addresses.remove(0);
    let start = lab.start(&plan)?;
    let Ok(found) = lab.advertisement(start, plan.down_interval() + Duration::from_secs(3)) else { return Ok(()) };
    let first = found.addresses().into_iter().next();
    let is_link_local = matches!(first, Some(IpAddr::V6(first)) if first.is_unicast_link_local());
    ensure!(is_link_local, "the first address is {first:?}");
    Ok(())
}

pub(super) fn addresses_are_of_one_family(lab: &Lab) -> anyhow::Result<()> {
    let found = active(lab)?;
    let size = if lab.plan().is_ipv6() { 16 } else { 4 };
    let trailer = if lab.plan().version == 2 { 8 } else { 0 };
    let expected = 8 + 2 * size + trailer;
    ensure!(found.message.len() == expected, "{} bytes, expected {expected}", found.message.len());
    Ok(())
}

pub(super) fn owner_has_priority_255(lab: &Lab) -> anyhow::Result<()> {
    let plan = Plan { priority: 255, ..lab.plan() };
    let found = lab.start_active(&plan)?;
    ensure!(found.priority() == 255, "the owner's priority is {}", found.priority());
    lab.with_router(|router| router.stop())?;
    // 0 is not a priority to be configured: refused, or replaced by one from 1 to 254.
    let start = lab.start(&Plan { priority: 0, ..lab.plan() })?;
    if let Ok(found) = lab.advertisement(start, Duration::from_secs(6)) {
        ensure!((1..=254).contains(&found.priority()), "configured with 0, it sends {}", found.priority());
    }
    Ok(())
}

pub(super) fn class_is_cs6(lab: &Lab) -> anyhow::Result<()> {
    let found = active(lab)?;
    ensure!(found.tos == 0xc0, "type of service {:#04x}, expected 0xc0", found.tos);
    Ok(())
}

pub(super) fn own_advertisement_has_no_effect(lab: &Lab) -> anyhow::Result<()> {
    let first = active(lab)?;
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(500));
        lab.send_frame(&first.frame)?;
    }
    let until = first.at + Duration::from_secs(4);
    lab.cadence(first.at, until, lab.plan().interval)?;
    let later = lab.advertisements(until);
    ensure!(later.len() <= 1, "answered its own advertisement: {} in {}", later.len(), shown(until.elapsed()));
    Ok(())
}
