//! Rows 82 to 88: ARP and neighbour discovery.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::backup::{ask, echo, is_link_local};
use crate::lab::{Lab, hex, shown};
use crate::packet::BROADCAST;
use crate::seen::Advertisement;

/// How long after its first advertisement a router is watched.
const SETTLED: Duration = Duration::from_millis(1500);

/// The MAC address that the virtual addresses must have: the virtual one, or without it that of the advertisements.
fn expected_mac(lab: &Lab, first: &Advertisement) -> [u8; 6] {
    if lab.plan().virtual_mac { lab.virtual_mac() } else { first.mac.1 }
}

pub(super) fn gratuitous_arp(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    sleep(SETTLED);
    let mac = expected_mac(lab, &first);
    let all = lab.arp(first.at - Duration::from_millis(200));
    for address in &plan.addresses {
        let found = all.iter().find(|arp| arp.is_announcement() && IpAddr::V4(arp.sender.1) == *address);
        let found = found.with_context(|| format!("no gratuitous ARP for {address}"))?;
        ensure!(found.mac == (BROADCAST, mac), "sent to {} from {}", hex(found.mac.0), hex(found.mac.1));
        ensure!(found.operation == 1, "operation {}, expected a request", found.operation);
        ensure!(found.sender.0 == mac, "the sender is {}, expected {}", hex(found.sender.0), hex(mac));
        // Errata 7947 and 7949.
        ensure!(found.target.0 == mac, "the target's MAC address is {}, expected {}", hex(found.target.0), hex(mac));
    }
    Ok(())
}

pub(super) fn unsolicited_neighbour_advertisement(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    sleep(SETTLED);
    let mac = expected_mac(lab, &first);
    let all = lab.neighbour_advertisements(first.at - Duration::from_millis(200));
    for address in &plan.addresses {
        let found = all.iter().find(|found| IpAddr::V6(found.target) == *address);
        let found = found.with_context(|| format!("no neighbour advertisement for {address}"))?;
        ensure!(found.destination.to_string() == "ff02::1", "sent to {}", found.destination);
        ensure!(found.flags == 0xa0, "flags {:#04x}, expected 0xa0 (R and O)", found.flags);
        let option = found.link_layer.map_or("missing".to_owned(), hex);
        ensure!(found.link_layer == Some(mac), "the target link-layer option is {option}, expected {}", hex(mac));
        ensure!(found.hop_limit == 255 && found.sum_is_right, "hop limit {}, or a wrong checksum", found.hop_limit);
    }
    Ok(())
}

pub(super) fn announces_addresses_that_answer(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    let since = first.at - Duration::from_millis(200);
    let asked = Instant::now();
    for address in &plan.addresses {
        let answers = ask(lab, *address)?;
        ensure!(
            !answers.is_empty(),
            "{address} does not answer {} after the first advertisement",
            shown(asked - first.at)
        );
        ensure!(!lab.announcements(*address, since).is_empty(), "{address} was not announced");
    }
    Ok(())
}

pub(super) fn physical_mac_never_shows(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    for address in &plan.addresses {
        ask(lab, *address)?;
    }
    sleep(Duration::from_secs(6));
    let physical = lab.physical_mac()?;
    let since = first.at - Duration::from_secs(1);
    for arp in lab.arp(since) {
        let about = plan.addresses.contains(&arp.sender.1.into());
        ensure!(
            !about || arp.sender.0 != physical,
            "ARP shows {} with the physical MAC {}",
            arp.sender.1,
            hex(physical)
        );
    }
    for found in lab.neighbour_advertisements(since) {
        let about = plan.addresses.contains(&found.target.into());
        let shows = found.link_layer == Some(physical) || found.mac.1 == physical;
        ensure!(!about || !shows, "a neighbour advertisement shows {} with the physical MAC", found.target);
    }
    Ok(())
}

pub(super) fn duplicate_detection_delays_nothing(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    let mac = expected_mac(lab, &first);
    sleep(Duration::from_millis(150));
    for address in plan.addresses.iter().filter(|address| !is_link_local(address)) {
        let answers = if plan.virtual_mac { !ask(lab, *address)?.is_empty() } else { echo(lab, mac, *address)? };
        ensure!(answers, "{address} does not answer {} after the first advertisement", shown(first.at.elapsed()));
    }
    Ok(())
}

pub(super) fn virtual_mac_makes_no_identifier(lab: &Lab) -> anyhow::Result<()> {
    let first = lab.start_active(&lab.plan())?;
    let [a, b, c, d, e, f] = lab.virtual_mac();
    let made = format!(
        "fe80::{:x}:{:x}:{:x}:{:x}",
        u16::from_be_bytes([a ^ 2, b]),
        u16::from_be_bytes([c, 0xff]),
        u16::from_be_bytes([0xfe, d]),
        u16::from_be_bytes([e, f])
    );
    ensure!(first.ip.0 != made.parse::<IpAddr>()?, "the source {} is made of the virtual MAC", first.ip.0);
    Ok(())
}
