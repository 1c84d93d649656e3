//! Who gets the virtual address when a service fails and recovers, and how long a client goes without service.

use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::capture::Capture;
use vouchd_tests::client::Client;
use vouchd_tests::nginx::Answer;
use vouchd_tests::pair::{Make, Pair, PairPlan, Plan, Router, VRID, peer};
use vouchd_tests::vouchd::{CHECK, INSTANCE};
use vouchd_tests::wait::{eventually, holds, until};
use vouchd_tests::{Need, Node, VIP, system_test};

const NEEDS: [Need; 3] = [Need::Vouchd, Need::Nginx, Need::Keepalived];
const FAILOVER: Duration = Duration::from_secs(1);
const HANDOVER: Duration = Duration::from_millis(200);
/// Longer than a down interval of version 2 at 1 s, so that a router that wants to take over has done so.
const A_WHILE: Duration = Duration::from_secs(6);

/// The service fails on the active node, and the address moves to the other node within `limit`.
fn fails_over(pair: &mut Pair, from: Node, limit: Duration) -> anyhow::Result<()> {
    pair.alternates()?;
    let client = Client::start(pair.site)?;
    let start = Instant::now();
    pair.proxy(from).stop()?;
    pair.wait_holder(peer(from), Duration::from_secs(10))?;
    client.wait_for_service()?;
    client.outage_at_most(&format!("nginx stopped on {}", from.name()), limit, start)?;
    drop(client);
    pair.alternates()
}

/// The service recovers, and the address comes back within a handover.
fn comes_back(pair: &mut Pair, to: Node) -> anyhow::Result<()> {
    let client = Client::start(pair.site)?;
    let start = Instant::now();
    pair.proxy(to).start()?;
    pair.wait_holder(to, Duration::from_secs(15))?;
    client.wait_for_service()?;
    client.outage_at_most(&format!("nginx back on {}", to.name()), HANDOVER, start)?;
    let overlap = pair.site.holders().longest_overlap(VIP, start);
    ensure!(overlap <= Duration::from_millis(300), "two holders for {overlap:?}");
    drop(client);
    pair.alternates()
}

/// The service recovers, and the address stays where it is.
fn stays_away(pair: &mut Pair, healed: Node) -> anyhow::Result<()> {
    pair.proxy(healed).start()?;
    if let Router::Vouchd(vouchd) = pair.router(healed)? {
        until("the check to pass again", Duration::from_secs(5), || {
            vouchd.check(CHECK).is_ok_and(|check| check["verdict"] == "pass")
        })?;
    }
    holds("the recovered node does not take the address back", A_WHILE, || {
        pair.site.holders().now(VIP) == [peer(healed)]
    })
}

#[test]
fn weighted_process_check_moves_the_address_and_brings_it_back() {
    system_test("process check, weight -40", &NEEDS[..2], |site| {
        let mut pair = Pair::start(site, PairPlan::default())?;
        fails_over(&mut pair, Node::Nginx01, FAILOVER)?;
        comes_back(&mut pair, Node::Nginx01)
    });
}

/// Row 78: without preemption.
#[test]
fn without_preemption_a_healed_router_stays_backup() {
    system_test("preempt = false", &NEEDS[..2], |site| {
        let plan = Plan::default().without_preemption();
        let mut pair = Pair::start(site, PairPlan::new([Make::Vouchd; 2], plan))?;
        fails_over(&mut pair, Node::Nginx01, FAILOVER)?;
        stays_away(&mut pair, Node::Nginx01)?;
        fails_over(&mut pair, Node::Nginx02, FAILOVER)?;
        stays_away(&mut pair, Node::Nginx02)
    });
}

#[test]
fn with_keepalived_as_the_peer_the_address_moves_and_comes_back() {
    system_test("vouchd 100, keepalived 80", &NEEDS, |site| {
        let plan = PairPlan::new([Make::Vouchd, Make::Keepalived], Plan::default());
        let mut pair = Pair::start(site, plan)?;
        fails_over(&mut pair, Node::Nginx01, FAILOVER)?;
        comes_back(&mut pair, Node::Nginx01)
    });
}

#[test]
fn failing_router_gives_way_to_a_nopreempt_keepalived_each_time() {
    system_test("vouchd 100, keepalived 80, no preemption", &NEEDS, |site| {
        let plan = PairPlan::new([Make::Vouchd, Make::Keepalived], Plan::default().without_preemption());
        let mut pair = Pair::start(site, plan)?;
        fails_over(&mut pair, Node::Nginx01, FAILOVER)?;
        stays_away(&mut pair, Node::Nginx01)?;
        // Its weight makes a nopreempt keepalived fail over to nobody here, so it is stopped once.
        pair.stop_router(Node::Nginx02)?;
        pair.wait_holder(Node::Nginx01, Duration::from_secs(5))?;
        pair.start_router(Node::Nginx02)?;
        fails_over(&mut pair, Node::Nginx01, FAILOVER)
    });
}

#[test]
fn lower_priority_router_gives_way_to_a_nopreempt_keepalived_when_it_fails() {
    system_test("keepalived 100, vouchd 80, no preemption", &NEEDS, |site| {
        let plan = PairPlan::new([Make::Keepalived, Make::Vouchd], Plan::default().without_preemption());
        let mut pair = Pair::start(site, plan)?;
        pair.stop_router(Node::Nginx01)?;
        pair.wait_holder(Node::Nginx02, Duration::from_secs(5))?;
        pair.start_router(Node::Nginx01)?;
        holds("keepalived does not preempt", A_WHILE, || site.holders().now(VIP) == [Node::Nginx02])?;
        fails_over(&mut pair, Node::Nginx02, FAILOVER)?;
        stays_away(&mut pair, Node::Nginx02)
    });
}

#[test]
fn unweighted_http_check_faults_and_recovers() {
    system_test("http check, hard fault", &NEEDS[..2], |site| {
        let mut pair = Pair::start(site, PairPlan::new([Make::Vouchd; 2], Plan::http()))?;
        // The check's own fetches take turns at the web servers too.
        let alternates = |pair: &Pair| {
            eventually("four fetches without one of the check between them", Duration::from_secs(5), || {
                pair.alternates().ok()
            })
        };
        alternates(&pair)?;
        let capture = Capture::start(site)?;
        let client = Client::start(site)?;

        let start = Instant::now();
        pair.proxy(Node::Nginx01).answer_with(Answer::Failure)?;
        pair.wait_holder(Node::Nginx02, Duration::from_secs(5))?;
        client.wait_for_service()?;
        client.outage_at_most("nginx answers 500", Duration::from_millis(900), start)?;
        let zero = capture
            .advertisements(Node::Nginx01, VRID, start)
            .into_iter()
            .find(|advertisement| advertisement.priority() == 0);
        let lost = site.holders().lost(Node::Nginx01, VIP, start);
        let (Some(zero), Some(lost)) = (zero, lost) else {
            anyhow::bail!("no advertisement of priority 0, or the address was kept");
        };
        ensure!(zero.at <= lost, "the address was removed {:?} before the advertisement of priority 0", zero.at - lost);
        let status = pair.vouchd(Node::Nginx01)?.instance(INSTANCE)?;
        ensure!(status["state"] == "initialize", "{status}");
        ensure!(status["reason"].to_string().contains("500"), "{status}");

        let healed = Instant::now();
        pair.proxy(Node::Nginx01).answer_with(Answer::Proxied)?;
        pair.vouchd(Node::Nginx01)?.wait_state(INSTANCE, "backup", Duration::from_secs(3))?;
        pair.wait_holder(Node::Nginx01, Duration::from_secs(8))?;
        client.wait_for_service()?;
        client.outage_at_most("nginx answers 200 again", HANDOVER, healed)?;
        drop(client);
        alternates(&pair)
    });
}

#[test]
fn fault_at_100_ms_costs_at_most_150_ms() {
    system_test("v3, 100 ms, hard fault", &NEEDS[..2], |site| {
        let mut pair = Pair::start(site, PairPlan::new([Make::Vouchd; 2], Plan::fast()))?;
        fails_over(&mut pair, Node::Nginx01, Duration::from_millis(150))?;
        comes_back(&mut pair, Node::Nginx01)
    });
}

#[test]
fn unplugged_cable_moves_the_address_and_back() {
    system_test("cable out", &NEEDS[..2], |site| {
        let pair = Pair::start(site, PairPlan::default())?;
        site.cable(Node::Nginx01, false)?;
        until("nginx02 to have the address", Duration::from_secs(5), || {
            site.holders().now(VIP).contains(&Node::Nginx02)
        })?;
        pair.alternates()?;
        let start = Instant::now();
        site.cable(Node::Nginx01, true)?;
        pair.wait_holder(Node::Nginx01, Duration::from_secs(15))?;
        let overlap = site.holders().longest_overlap(VIP, start);
        ensure!(overlap <= Duration::from_millis(300), "two holders for {overlap:?}");
        pair.alternates()
    });
}

#[test]
fn zombie_counts_as_a_dead_service() {
    system_test("a zombie named nginx", &NEEDS[..2], |site| {
        let mut pair = Pair::start(site, PairPlan::default())?;
        pair.proxy(Node::Nginx01).stop()?;
        pair.wait_holder(Node::Nginx02, Duration::from_secs(5))?;
        // A process named nginx that has ended, and a parent that does not wait for it.
        let script = "cp /bin/true /run/nginx && exec sh -c '/run/nginx & exec sleep 60'";
        let _parent = site.host(Node::Nginx01).daemon("zombie", "/bin/sh".as_ref(), ["-c", script])?;
        let zombies = || site.host(Node::Nginx01).sh("grep -l '(nginx) Z' /proc/[0-9]*/stat").is_ok();
        until("the zombie", Duration::from_secs(2), zombies)?;
        holds("a zombie does not bring the address back", A_WHILE, || site.holders().now(VIP) == [Node::Nginx02])
    });
}
