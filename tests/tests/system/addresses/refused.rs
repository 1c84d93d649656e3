//! A router whose kernel rejects one of its addresses leaves a healthy peer alone, and takes over when the cause is gone.

use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{eventually, holds, until};
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const VRID: u8 = 55;
const INTERVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(15);
/// The better router, which cannot add its addresses, and the one that can.
const BROKEN: Node = Node::Nginx01;
const HEALTHY: Node = Node::Nginx02;

fn start(site: &Site, node: Node, priority: u8) -> anyhow::Result<Vouchd> {
    let config = format!(
        "[instance.web]\ninterface = \"ens33\"\nvirtual_router_id = {VRID}\nversion = 3\nadvert_interval = \"100ms\"\n\
         priority = {priority}\naddresses = [\"{VIP}\", \"10.9.0.100/24\"]\n"
    );
    Vouchd::start_with(site, node, Files::without_builtins(site, node)?, &config)
}

#[test]
fn router_that_cannot_add_an_address_never_takes_the_others_from_its_peer() {
    system_test("an address that the kernel rejects", &[Need::Vouchd], |site| {
        // The kernel rejects an address whose scope differs from that of another address of the subnet.
        site.host(BROKEN).sh("ip address add 10.9.0.1/24 scope link dev ens33")?;
        let healthy = start(site, HEALTHY, 100)?;
        healthy.wait_state("web", "active", PATIENCE)?;
        site.holders().wait_for(HEALTHY, VIP, PATIENCE)?;
        let capture = Capture::start(site)?;
        let start_of_test = Instant::now();
        let broken = start(site, BROKEN, 200)?;
        let status = eventually("the reason in status", PATIENCE, || {
            let status = broken.instance("web").ok()?;
            status["reason"].as_str()?.contains("10.9.0.100").then_some(status)
        })?;
        ensure!(status["state"] != "active", "{status}");
        // For several more tries: after 1, 2, 4 and 8 down intervals of 0.3 s, each with another one to listen.
        holds("no advertisement of a router that cannot serve", Duration::from_secs(8), || {
            capture.advertisements(BROKEN, VRID, start_of_test).is_empty()
        })?;
        let end = Instant::now();
        ensure!(capture.announcements(BROKEN, VIP, start_of_test).is_empty());
        let times = capture.advertisements(HEALTHY, VRID, start_of_test);
        let gap = longest_gap(times.iter().map(|sent| sent.at), start_of_test, end);
        println!("{} advertisements, longest gap {gap:?}", times.len());
        ensure!(gap < 3 * INTERVAL, "a gap of {gap:?}");
        ensure!(times.iter().all(|sent| sent.priority() == 100), "it resigned");
        ensure!(site.holders().lost(HEALTHY, VIP, start_of_test).is_none(), "it lost the address");

        site.host(BROKEN).sh("ip address del 10.9.0.1/24 dev ens33")?;
        broken.wait_state("web", "active", PATIENCE)?;
        healthy.wait_state("web", "backup", PATIENCE)?;
        site.holders().wait_for(BROKEN, VIP, PATIENCE)
    });
}

#[test]
fn lone_router_retries_until_the_address_is_accepted() {
    system_test("a rejected address, and no peer", &[Need::Vouchd], |site| {
        site.host(BROKEN).sh("ip address add 10.9.0.1/24 scope link dev ens33")?;
        let broken = start(site, BROKEN, 200)?;
        let refused = || broken.instance("web").is_ok_and(|it| it["reason"].to_string().contains("10.9.0.100"));
        until("the reason in status", PATIENCE, refused)?;
        holds("the router is not active", Duration::from_secs(2), || {
            broken.instance("web").is_ok_and(|it| it["state"] != "active")
        })?;
        until("the reason in status again", PATIENCE, refused)?;
        site.host(BROKEN).sh("ip address del 10.9.0.1/24 dev ens33")?;
        site.holders().wait_for(BROKEN, VIP, PATIENCE)
    });
}
