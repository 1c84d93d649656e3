//! Instant hand-over in a pair: the backup takes over without Skew_Time, which would be 0.69 s.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vouchd_tests::capture::Capture;
use vouchd_tests::pair::{Make, Pair, PairPlan, Plan, VRID};
use vouchd_tests::vouchd::INSTANCE;
use vouchd_tests::wait::{eventually, holds};
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const NEEDS: [Need; 2] = [Need::Vouchd, Need::Nginx];

/// Far below Skew_Time, and far above what a loaded machine adds.
const AT_ONCE: Duration = Duration::from_millis(300);

/// nginx is killed on nginx01. Returns when its router sent priority 0.
fn kill(site: &Site, pair: &mut Pair) -> anyhow::Result<Instant> {
    let pair_state = pair.vouchd(Node::Nginx02)?.instance(INSTANCE)?["pair"].clone();
    ensure!(pair_state == "instant", "{pair_state}");
    let capture = Capture::start(site)?;
    let start = Instant::now();
    pair.proxy(Node::Nginx01).kill()?;
    pair.wait_holder(Node::Nginx02, Duration::from_secs(10))?;
    // The capture may be read later than the notifications of the address.
    let zero = eventually("an advertisement of priority 0", Duration::from_secs(2), || {
        capture.advertisements(Node::Nginx01, VRID, start).into_iter().find(|sent| sent.priority() == 0)
    })?;
    let gained = site.holders().gained(Node::Nginx02, VIP).context("nginx02 has the address")?;
    println!("nginx killed to priority 0: {:?}", zero.at.saturating_duration_since(start));
    println!("priority 0 to the address on nginx02: {:?}", gained.saturating_duration_since(zero.at));
    ensure!(gained <= zero.at + AT_ONCE, "{:?} after priority 0", gained - zero.at);
    Ok(zero.at)
}

fn hard_fault(unicast: bool) {
    system_test("hard fault in a pair", &NEEDS, |site| {
        let mut pair = Pair::start(site, PairPlan::new([Make::Vouchd; 2], Plan::instant(unicast, true)))?;
        kill(site, &mut pair)?;
        pair.proxy(Node::Nginx01).start()?;
        pair.wait_holder(Node::Nginx01, Duration::from_secs(15))
    });
}

fn yield_election(unicast: bool) {
    system_test("weight -40 in a pair", &NEEDS, |site| {
        let mut pair = Pair::start(site, PairPlan::new([Make::Vouchd; 2], Plan::instant(unicast, false)))?;
        let zero = kill(site, &mut pair)?;
        let lost = site.holders().lost(Node::Nginx01, VIP, zero).context("nginx01 gave the address up")?;
        let gained = site.holders().gained(Node::Nginx02, VIP).context("nginx02 has the address")?;
        // The two notifications come from two kernels' queues, which may be read in either order.
        ensure!(lost + Duration::from_millis(20) >= gained, "no holder for {:?}", gained - lost);
        pair.proxy(Node::Nginx01).start()?;
        pair.wait_holder(Node::Nginx01, Duration::from_secs(15))
    });
}

#[test]
fn unicast_pair_hands_over_a_hard_fault_at_once() {
    hard_fault(true);
}

#[test]
fn unicast_pair_hands_over_a_lowered_priority_at_once_and_without_a_gap() {
    yield_election(true);
}

#[test]
fn multicast_pair_hands_over_a_hard_fault_at_once() {
    hard_fault(false);
}

#[test]
fn multicast_pair_hands_over_a_lowered_priority_at_once_and_without_a_gap() {
    yield_election(false);
}

/// Its priority falls from 100 to 90, above the peer's 80: the burst of its election must not move the address.
#[test]
fn better_router_of_a_pair_keeps_the_address_in_its_own_election() {
    system_test("weight -10 in a pair", &NEEDS, |site| {
        let mut plan = Plan::instant(true, false);
        plan.check = plan.check.map(|check| vouchd_tests::pair::Check { weight: Some(-10), ..check });
        let mut pair = Pair::start(site, PairPlan::new([Make::Vouchd; 2], plan))?;
        let capture = Capture::start(site)?;
        let start = Instant::now();
        pair.proxy(Node::Nginx01).kill()?;
        let zero = || capture.advertisements(Node::Nginx01, VRID, start).iter().any(|sent| sent.priority() == 0);
        vouchd_tests::wait::until("the election", Duration::from_secs(10), zero)?;
        holds("the address stays", Duration::from_secs(3), || site.holders().now(VIP) == [Node::Nginx01])?;
        ensure!(site.holders().tenures(Node::Nginx02, VIP).is_empty(), "nginx02 had it for a moment");
        Ok(())
    });
}
