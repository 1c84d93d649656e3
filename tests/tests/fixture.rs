//! The fixture itself, proved with the incumbent: what is known of keepalived 2.2.7 must come out of it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::capture::Capture;
use vouchd_tests::client::Client;
use vouchd_tests::pair::{Make, Pair, PairPlan, Plan, VRID};
use vouchd_tests::{Need, Node, VIP, system_test};

const NEEDS: [Need; 2] = [Need::Nginx, Need::Keepalived];

#[test]
fn keepalived_moves_the_address_when_its_weighted_script_fails() {
    system_test("keepalived, weight -40", &NEEDS, |site| {
        let plan = PairPlan::new([Make::Keepalived; 2], Plan::default());
        let mut pair = Pair::start(site, plan)?;
        pair.alternates()?;
        let capture = Capture::start(site)?;
        let client = Client::start(site)?;
        let start = Instant::now();
        pair.proxy01.stop()?;
        pair.wait_holder(Node::Nginx02, Duration::from_secs(10))?;
        client.wait_for_service()?;
        client.outage_at_most("keepalived, weight -40", Duration::from_secs(7), start)?;
        let outage = client.outage_since(start);
        ensure!(outage > Duration::from_secs(2), "quicker than it can be: {outage:?}");
        let advertisements = capture.advertisements(Node::Nginx01, VRID, start);
        ensure!(advertisements.iter().any(|a| a.priority() == 60), "{advertisements:?}");
        ensure!(capture.announcements(Node::Nginx02, VIP, start).len() >= 5);
        ensure!(capture.announcements(Node::Nginx01, VIP, start).is_empty());
        Ok(())
    });
}

#[test]
fn keepalived_at_100_ms_moves_the_address_on_a_fault() {
    system_test("keepalived, v3, 100 ms, fault", &NEEDS, |site| {
        let plan = PairPlan::new([Make::Keepalived; 2], Plan::fast());
        let mut pair = Pair::start(site, plan)?;
        let client = Client::start(site)?;
        let start = Instant::now();
        pair.proxy01.kill()?;
        pair.wait_holder(Node::Nginx02, Duration::from_secs(10))?;
        client.wait_for_service()?;
        client.outage_at_most("keepalived, v3, 100 ms", Duration::from_millis(2500), start)
    });
}
