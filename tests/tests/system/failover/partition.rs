//! Two routers that do not hear each other for a while, and a client that hears both.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vouchd_tests::capture::Capture;
use vouchd_tests::pair::{Plan, Timing, VRID, peer};
use vouchd_tests::vouchd::{Files, INSTANCE, Vouchd, config};
use vouchd_tests::wait::{eventually, holds, until};
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const NEEDS: [Need; 1] = [Need::Vouchd];
const INTERVAL: Duration = Duration::from_secs(1);
/// Allowance for a busy machine.
const SLACK: Duration = Duration::from_millis(500);
/// Priority 100 against 80.
const WINNER: Node = Node::Nginx01;

fn start(site: &Site, node: Node) -> anyhow::Result<Vouchd> {
    let priority = if node == WINNER { 100 } else { 80 };
    let plan =
        Plan { priority, check: None, timing: Timing::V3 { interval: INTERVAL }, password: None, ..Plan::default() };
    Vouchd::start_with(site, node, Files::without_builtins(site, node)?, &config(node, &plan))
}

/// Connects or disconnects the two routers. All other hosts hear both.
fn connect(site: &Site, connected: bool) -> anyhow::Result<()> {
    let isolated = if connected { "off" } else { "on" };
    let port = |node: Node| format!("bridge link set dev p-{} isolated {isolated}", node.name());
    site.switch().sh(&format!("{} && {}", port(WINNER), port(peer(WINNER)))).map(drop)
}

/// Waits for the node's next advertisement, and returns its time.
fn next_from(capture: &Capture, node: Node) -> anyhow::Result<Instant> {
    let now = Instant::now();
    eventually("an advertisement", 3 * INTERVAL, || Some(capture.advertisements(node, VRID, now).first()?.at))
}

/// The sender of the first advertisement after `since`.
fn first_since(capture: &Capture, since: Instant) -> anyhow::Result<Node> {
    let first = |node| capture.advertisements(node, VRID, since).first().map(|sent| (sent.at, node));
    let (_, node) = eventually("an advertisement", 3 * INTERVAL, || {
        Node::ROUTERS.into_iter().filter_map(first).min_by_key(|(at, _)| *at)
    })?;
    Ok(node)
}

/// Partitions the routers and heals them so that the first advertisement that arrives is `first`'s.
fn heals(first: Node) {
    system_test(&format!("{}'s advertisement comes first", first.name()), &NEEDS, |site| {
        let (winner, loser) = (start(site, WINNER)?, start(site, peer(WINNER))?);
        winner.wait_state(INSTANCE, "active", Duration::from_secs(8))?;
        loser.wait_state(INSTANCE, "backup", Duration::from_secs(8))?;
        let client = site.client_of_the_virtual_address();
        let capture = Capture::start(site)?;
        // The machine's load decides which advertisement comes first, so it is looked up afterwards.
        for _ in 0..5 {
            connect(site, false)?;
            loser.wait_state(INSTANCE, "active", Duration::from_secs(8))?;
            until("the client to have the loser's MAC address", Duration::from_secs(3), || client.knows(peer(WINNER)))?;
            // The routers' skew times are 0.6 s and 0.7 s, so the other one sends next, some 0.3 s or 0.7 s after this.
            next_from(&capture, peer(first))?;
            let begin = Instant::now();
            connect(site, true)?;
            let healed = Instant::now();
            loser.wait_state(INSTANCE, "backup", INTERVAL + SLACK)?;
            until("the client to find the remaining router", INTERVAL + SLACK, || client.knows(WINNER))?;
            let took = healed.elapsed();
            ensure!(took <= INTERVAL + SLACK, "{took:?} after healing");
            holds("the client stays with it", 2 * INTERVAL, || client.knows(WINNER))?;
            ensure!(site.holders().now(VIP) == [WINNER], "{:?}", site.holders());
            ensure!(winner.instance(INSTANCE)?["transitions"] == 2, "the winner flapped");
            if first_since(&capture, begin)? == first {
                println!("right {:.2} s after healing", took.as_secs_f64());
                return Ok(());
            }
        }
        None.context("the advertisements never came in that order")
    });
}

#[test]
fn row_81_client_finds_the_remaining_router_when_the_loser_sends_first() {
    heals(peer(WINNER));
}

#[test]
fn row_81_client_finds_the_remaining_router_when_the_winner_sends_first() {
    heals(WINNER);
}
