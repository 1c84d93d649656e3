//! The fixture itself, tested with keepalived 2.2.7, whose behaviour is known.

use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::client::Client;
use vouchd_tests::frame::{GROUP, Message, Packet};
use vouchd_tests::injector::Injector;
use vouchd_tests::pair::{Make, Pair, PairPlan, Plan, VRID};
use vouchd_tests::wait::sleep_until;
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
        pair.proxy(Node::Nginx01).stop()?;
        pair.wait_holder(Node::Nginx02, Duration::from_secs(10))?;
        client.wait_for_service()?;
        client.outage_at_most("keepalived, weight -40", Duration::from_secs(7), start)?;
        let outage = client.outage_since(start);
        ensure!(outage > Duration::from_secs(2), "faster than two failing runs of the script: {outage:?}");
        let advertisements = capture.advertisements(Node::Nginx01, VRID, start);
        ensure!(advertisements.iter().any(|a| a.priority() == 60), "{advertisements:?}");
        ensure!(capture.announcements(Node::Nginx02, VIP, start).len() >= 5);
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
        pair.proxy(Node::Nginx01).kill()?;
        pair.wait_holder(Node::Nginx02, Duration::from_secs(10))?;
        client.wait_for_service()?;
        client.outage_at_most("keepalived, v3, 100 ms", Duration::from_millis(2500), start)
    });
}

#[test]
fn keepalived_loses_its_rhythm_under_frames_that_it_discards() {
    system_test("keepalived, 24 frames with TTL 64", &NEEDS, |site| {
        let plan = Plan { check: None, ..Plan::default() };
        let _pair = Pair::start(site, PairPlan::new([Make::Keepalived; 2], plan))?;
        let capture = Capture::start(site)?;
        let injector = Injector::new(site)?;
        let source = Node::Intruder.address();
        let message = Message::v2_password(VRID, 200, VIP, "1234").bytes(source, GROUP);
        let packet = Packet { ttl: 64, ..Packet::multicast(source, message) };
        let start = Instant::now();
        // The rate is what is tested: keepalived restarts its timer at each of these frames.
        for frame in 1..=24 {
            injector.send(&packet)?;
            sleep_until(start + Duration::from_millis(500) * frame);
        }
        let sent = capture.advertisements(Node::Nginx01, VRID, start);
        let (end, took) = (Instant::now(), start.elapsed());
        let gap = longest_gap(sent.iter().map(|a| a.at), start, end);
        println!("keepalived, bad frames: {} advertisements in {took:?}, gap {gap:?}", sent.len());
        let due = usize::try_from(took.as_secs())?;
        ensure!(sent.len() + 1 < due && gap > Duration::from_millis(1100), "the frames have no effect");
        Ok(())
    });
}
