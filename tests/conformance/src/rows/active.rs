//! Rows 54 to 66: what an active router does.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::backup::{ask, echo, is_link_local};
use super::reception::lower_than;
use crate::lab::{CLIENT, Lab, hex, shown, timely};
use crate::packet::{arp_request, neighbour_solicitation};
use crate::plan::Plan;
use crate::seen::Ip;

/// An answer that is sent at once.
const AT_ONCE: Duration = Duration::from_millis(60);

pub(super) fn interval_has_no_drift(lab: &Lab) -> anyhow::Result<()> {
    const COUNT: usize = 12;
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    sleep(plan.interval * COUNT as u32 + plan.interval / 2);
    let found = lab.advertisements(first.at);
    ensure!(found.len() > COUNT, "{} advertisements in {COUNT} intervals", found.len() - 1);
    let taken = found[COUNT].at - found[0].at;
    let expected = plan.interval * COUNT as u32;
    ensure!(
        taken.abs_diff(expected) <= expected / 100,
        "{COUNT} intervals took {}, expected {} ± 1 %",
        shown(taken),
        shown(expected)
    );
    Ok(())
}

/// Waits until an active router is in the middle between two advertisements, and returns when it sent the last one.
fn between(lab: &Lab, interval: Duration) -> anyhow::Result<Instant> {
    let next = lab.advertisement(Instant::now(), 3 * interval)?;
    vouchd_tests::wait::sleep_until(next.at + interval / 2);
    Ok(next.at)
}

pub(super) fn priority_0_is_answered_at_once(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    lab.start_active(&plan)?;
    between(lab, plan.interval)?;
    let sent = lab.send(&lab.peer(0))?;
    let answer = lab.advertisement(sent, plan.interval)?;
    ensure!(answer.at - sent <= AT_ONCE, "answered after {}", shown(answer.at - sent));
    let next = lab.advertisement(answer.at + AT_ONCE, 2 * plan.interval)?;
    timely("the next advertisement", next.at - answer.at, plan.interval)
}

/// Sends a packet for two intervals, and then waits that the router is silent: that it is a backup now.
fn gives_way(lab: &Lab, packet: &crate::packet::Packet) -> anyhow::Result<()> {
    let interval = lab.plan().interval;
    for _ in 0..4 {
        lab.send(packet)?;
        sleep(interval / 2);
    }
    let since = Instant::now() - interval;
    lab.silent(since, interval)
}

pub(super) fn gives_way_to_a_better_router(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    // Its address is lower: that does not matter.
    let better = lab.peer(101).with(|packet| packet.source = lower_than(first.ip.0));
    gives_way(lab, &better)?;
    let _peer = lab.beat(vec![better], plan.interval)?;
    for address in &plan.addresses {
        ensure!(ask(lab, *address)?.is_empty(), "still answers for {address}");
    }
    Ok(())
}

pub(super) fn gives_way_to_an_equal_router_with_a_higher_address(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    lab.start_active(&plan)?;
    gives_way(lab, &lab.peer(plan.priority))
}

pub(super) fn stays_against_an_equal_router_with_a_lower_address(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    let equal = lab.peer(plan.priority).with(|packet| packet.source = lower_than(first.ip.0));
    let _peer = lab.beat(vec![equal], plan.interval)?;
    sleep(2 * plan.interval);
    let since = Instant::now();
    sleep(3 * plan.interval);
    let found = lab.advertisements(since).len();
    ensure!(found >= 2, "{found} advertisements in 3 intervals");
    Ok(())
}

pub(super) fn worse_router_is_answered_at_once(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    lab.start_active(&plan)?;
    let before = between(lab, plan.interval)?;
    let sent = lab.send(&lab.peer(50))?;
    let answer = lab.advertisement(sent, 2 * plan.interval)?;
    ensure!(
        answer.at - sent <= AT_ONCE,
        "no answer; the next advertisement came at its time, after {}",
        shown(answer.at - sent)
    );
    // Adver_Timer is not reset.
    let next = lab.advertisement(answer.at + AT_ONCE, 2 * plan.interval)?;
    timely("the next advertisement", next.at - before, plan.interval)
}

pub(super) fn own_address_changes_nothing(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    let own = lab.peer(200).with(|packet| packet.source = first.ip.0);
    let equal = own.with(|packet| packet.priority = plan.priority);
    let _noise = lab.beat(vec![own, equal], Duration::from_millis(300))?;
    lab.cadence(first.at, first.at + 6 * plan.interval, plan.interval)
}

pub(super) fn shutdown_resigns_before_the_addresses_go(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    lab.start_active(&plan)?;
    sleep(plan.interval / 2);
    // A client that asks all the time: after the address has gone there is no answer.
    let (asked, questions) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let asking = scope.spawn(|| -> anyhow::Result<Vec<Instant>> {
            let until = Instant::now() + Duration::from_millis(1500);
            let mut questions = Vec::new();
            while Instant::now() < until {
                questions.push(match plan.addresses[plan.addresses.len() - 1] {
                    IpAddr::V4(address) => lab.send_frame(&arp_request(CLIENT.0, address))?,
                    IpAddr::V6(address) => lab.send_frame(&neighbour_solicitation(CLIENT.1, address))?,
                });
                sleep(Duration::from_millis(1));
            }
            Ok(questions)
        });
        sleep(Duration::from_millis(300));
        let stop = Instant::now();
        lab.with_router(|router| router.stop())?;
        Ok((stop, asking.join().expect("the thread does not panic")?))
    })?;
    let resigned = lab.advertisements(asked).into_iter().find(|found| found.priority() == 0);
    let resigned = resigned.context("no advertisement of priority 0")?;
    let last = match plan.addresses[plan.addresses.len() - 1] {
        IpAddr::V4(address) => {
            lab.arp(asked).iter().filter(|arp| arp.operation == 2 && arp.sender.1 == address).map(|arp| arp.at).max()
        }
        IpAddr::V6(address) => {
            let found = lab.neighbour_advertisements(asked);
            found.iter().filter(|found| found.target == address && found.flags & 0x40 != 0).map(|found| found.at).max()
        }
    };
    // Two questions without an answer, asked well before priority 0.
    let last = last.unwrap_or(asked);
    let unanswered = |at: &&Instant| **at > last && **at + Duration::from_millis(2) < resigned.at;
    ensure!(questions.iter().filter(unanswered).count() < 2, "the addresses went before priority 0 was sent");
    let answers = ask(lab, plan.addresses[0])?;
    ensure!(answers.is_empty(), "answers for {} after its end", plan.addresses[0]);
    Ok(())
}

pub(super) fn arp_is_answered_with_the_virtual_mac(lab: &Lab) -> anyhow::Result<()> {
    answered_with_the_virtual_mac(lab)
}

pub(super) fn solicitation_is_answered_with_the_virtual_mac(lab: &Lab) -> anyhow::Result<()> {
    answered_with_the_virtual_mac(lab)?;
    let address = lab.plan().addresses[1];
    let IpAddr::V6(asked) = address else { anyhow::bail!("no IPv6 address") };
    let at = lab.send_frame(&neighbour_solicitation(CLIENT.1, asked))?;
    sleep(super::backup::ANSWER);
    let answers = lab.neighbour_advertisements(at);
    let answer =
        answers.iter().find(|answer| answer.target == asked && answer.flags & 0x40 != 0).context("no answer")?;
    ensure!(answer.flags & 0x80 != 0, "the answer does not have the router flag: flags {:#04x}", answer.flags);
    Ok(())
}

fn answered_with_the_virtual_mac(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    lab.start_active(&plan)?;
    sleep(Duration::from_millis(500));
    for address in &plan.addresses {
        // Several times: the answer may depend on what the kernel has learned meanwhile.
        for _ in 0..3 {
            let answers = ask(lab, *address)?;
            ensure!(!answers.is_empty(), "no answer for {address}");
            let wrong = answers.iter().find(|mac| **mac != lab.virtual_mac());
            ensure!(wrong.is_none(), "{address} is answered with {}", hex(*wrong.expect("it is one")));
        }
    }
    Ok(())
}

pub(super) fn joins_the_solicited_node_groups(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    lab.start_active(&plan)?;
    sleep(Duration::from_millis(500));
    // A solicitation goes to the group: without membership there would be no answer.
    for address in &plan.addresses {
        ensure!(!ask(lab, *address)?.is_empty(), "a solicitation to the group of {address} is not answered");
    }
    Ok(())
}

pub(super) fn without_accept_mode_packets_are_dropped(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    lab.start_active(&plan)?;
    sleep(Duration::from_millis(500));
    for address in plan.addresses.iter().filter(|address| !is_link_local(address)) {
        ensure!(!echo(lab, lab.virtual_mac(), *address)?, "accepted an echo request to {address}");
        ensure!(!ask(lab, *address)?.is_empty(), "does not answer for {address} either");
    }
    Ok(())
}

pub(super) fn reload_changes_the_next_advertisement(lab: &Lab) -> anyhow::Result<()> {
    let plan = lab.plan();
    let first = lab.start_active(&plan)?;
    sleep(plan.interval / 2);
    let changed = Plan { priority: 120, ..plan.clone() };
    lab.with_router(|router| router.reload(changed))?;
    let reloaded = Instant::now();
    sleep(Duration::from_secs(5));
    lab.must_run()?;
    let all = lab.advertisements(first.at);
    ensure!(all.iter().all(|found| found.priority() != 0), "the reload made it resign");
    let times: Vec<_> = all.iter().map(|found| found.at).collect();
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    ensure!(gap <= plan.interval.mul_f64(1.3), "the reload left a gap of {}", shown(gap));
    let new = all.iter().filter(|found| found.at > reloaded + plan.interval.mul_f64(1.5));
    let old = new.map(super::super::seen::Advertisement::priority).find(|priority| *priority != 120);
    ensure!(old.is_none(), "still advertises priority {}", old.unwrap_or_default());
    let announced = lab.frames(reloaded).iter().any(|frame| Ip::read(&frame.bytes).is_some());
    ensure!(announced, "silent after the reload");
    Ok(())
}
