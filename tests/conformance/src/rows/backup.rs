//! Rows 42 to 53: what a backup does and does not.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::lab::{CLIENT, Lab, shown};
use crate::packet::{arp_request, echo_request, neighbour_solicitation};
use crate::plan::Plan;
use crate::seen::Ip;

/// How long an answer may take.
pub(super) const ANSWER: Duration = Duration::from_millis(500);

/// Asks who has the address, and returns the MAC addresses of the answers.
pub(super) fn ask(lab: &Lab, address: IpAddr) -> anyhow::Result<Vec<[u8; 6]>> {
    match address {
        IpAddr::V4(address) => {
            let at = lab.send_frame(&arp_request(CLIENT.0, address))?;
            sleep(ANSWER);
            let answers = lab.arp(at).into_iter().filter(|arp| arp.operation == 2 && arp.sender.1 == address);
            Ok(answers.map(|arp| arp.sender.0).collect())
        }
        IpAddr::V6(address) => {
            let at = lab.send_frame(&neighbour_solicitation(CLIENT.1, address))?;
            sleep(ANSWER);
            let answers = lab.neighbour_advertisements(at).into_iter();
            let answers = answers.filter(|answer| answer.target == address && answer.flags & 0x40 != 0);
            Ok(answers.filter_map(|answer| answer.link_layer).collect())
        }
    }
}

/// Whether an echo request to the address, sent to a MAC address, is answered.
pub(super) fn echo(lab: &Lab, mac: [u8; 6], address: IpAddr) -> anyhow::Result<bool> {
    let source: IpAddr = if address.is_ipv6() { CLIENT.1.into() } else { CLIENT.0.into() };
    let at = lab.send_frame(&echo_request(mac, source, address))?;
    sleep(ANSWER);
    Ok(lab.has_echo_reply(at))
}

pub(super) fn does_not_answer_for_the_address(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let _peer = lab.start_backup(&plan)?;
    for address in &plan.addresses {
        let answers = ask(lab, *address)?;
        ensure!(answers.is_empty(), "the backup answered for {address}");
    }
    Ok(())
}

pub(super) fn sends_no_router_advertisements(lab: &Lab) -> anyhow::Result<()> {
    let since = Instant::now();
    let _peer = lab.start_backup(&lab.plan())?;
    sleep(Duration::from_secs(3));
    let found = lab.frames(since);
    let advertises = |frame: &crate::wire::Frame| Ip::read(&frame.bytes).is_some_and(|ip| ip.is_router_advertisement());
    ensure!(!found.iter().any(advertises), "the backup sent a router advertisement");
    Ok(())
}

pub(super) fn discards_frames_to_the_virtual_mac(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let _peer = lab.start_backup(&plan)?;
    // To an address that the router has: only the MAC address can make it discard this.
    let own: IpAddr = if plan.is_ipv6() { "2001:db8::100".parse()? } else { crate::lab::ROUTER.0.into() };
    ensure!(echo(lab, lab.physical_mac()?, own)?, "the router's own address does not answer");
    ensure!(!echo(lab, lab.virtual_mac(), own)?, "the backup received a frame to the virtual MAC");
    Ok(())
}

pub(super) fn accepts_no_packet_to_the_address(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let _peer = lab.start_backup(&plan)?;
    for address in plan.addresses.iter().filter(|address| !is_link_local(address)) {
        ensure!(!echo(lab, lab.physical_mac()?, *address)?, "the backup answered an echo request to {address}");
    }
    Ok(())
}

/// The client has no link-local address.
pub(super) fn is_link_local(address: &&IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

pub(super) fn shutdown_sends_nothing(lab: &Lab) -> anyhow::Result<()> {
    let _peer = lab.start_backup(&lab.plan())?;
    let since = Instant::now();
    lab.with_router(|router| router.stop())?;
    sleep(Duration::from_millis(500));
    let found = lab.advertisements(since);
    ensure!(found.is_empty(), "sent an advertisement of priority {}", found[0].priority());
    Ok(())
}

/// The last advertisement of the peer before it goes silent.
fn last_of_peer(lab: &Lab, plan: &Plan, priority: u8) -> anyhow::Result<Instant> {
    drop(lab.start_backup(plan)?);
    sleep(plan.interval / 4);
    lab.send(&lab.peer_of(plan, priority))
}

pub(super) fn silence_makes_it_active(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let last = last_of_peer(lab, &plan, 200)?;
    let first = lab.advertisement_after(last, plan.down_interval())?;
    sleep(Duration::from_secs(1));
    for address in &plan.addresses {
        let announced = lab.announcements(*address, last);
        ensure!(!announced.is_empty(), "{address} was not announced within 1 s of the first advertisement");
        let early = announced[0] + Duration::from_millis(20) < first.at;
        ensure!(!early, "{address} was announced {} before the first advertisement", shown(first.at - announced[0]));
    }
    Ok(())
}

pub(super) fn priority_0_leaves_one_skew_time(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let last = last_of_peer(lab, &plan, 0)?;
    lab.advertisement_after(last, plan.skew()).map(drop)
}

pub(super) fn better_router_restarts_the_timer(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    drop(lab.start_backup(&plan)?);
    // Of equal priority: the address does not matter.
    let peer = lab.peer(plan.priority).with(|packet| packet.source = super::reception::lower_than(packet.source));
    let mut last = Instant::now();
    for _ in 0..2 {
        sleep(2 * plan.interval);
        last = lab.send(&peer)?;
    }
    lab.advertisement_after(last, plan.down_interval()).map(drop)
}

pub(super) fn worse_router_leaves_the_timer_alone(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let last = last_of_peer(lab, &plan, 200)?;
    let _worse = lab.beat(vec![lab.peer(50)], plan.interval / 2)?;
    lab.advertisement_after(last, plan.down_interval()).map(drop)
}

pub(super) fn down_interval_is_of_the_learned_interval(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    drop(lab.start_backup(&plan)?);
    let slow = Duration::from_secs(3);
    let last = lab.send(&lab.peer(200).with(|packet| packet.interval = 300))?;
    lab.advertisement_after(last, plan.down_interval_at(slow)).map(drop)
}

pub(super) fn advertisement_after_priority_0_restores_the_down_interval(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = last_of_peer(lab, &plan, 0)?;
    sleep(plan.skew() / 2);
    let again = lab.send(&lab.peer(0))?;
    sleep(plan.skew() / 2);
    let last = lab.send(&lab.peer(200))?;
    ensure!(lab.advertisements(first).is_empty(), "the second priority 0 did not restart the timer");
    let found = lab.advertisement_after(last, plan.down_interval());
    if found.is_err() && lab.advertisements(again).is_empty() {
        bail!("never became active");
    }
    found.map(drop).context("a valid advertisement after priority 0")
}
