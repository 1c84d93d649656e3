//! The main job with vouchd and keepalived as peers, and the packets that they send.

use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::capture::{Advertisement, Capture};
use vouchd_tests::frame::{GROUP, Message};
use vouchd_tests::pair::{Make, Pair, PairPlan, Plan, Router, VRID};
use vouchd_tests::vouchd::INSTANCE;
use vouchd_tests::wait::{eventually, holds};
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const NEEDS: [Need; 3] = [Need::Vouchd, Need::Nginx, Need::Keepalived];

#[test]
fn web_servers_answer_in_turn_before_and_after_a_failover() {
    system_test("two proxies and two web servers", &NEEDS[..2], |site| {
        let mut pair = Pair::start(site, PairPlan::default())?;
        pair.alternates()?;
        pair.proxy(Node::Nginx01).stop()?;
        pair.wait_holder(Node::Nginx02, Duration::from_secs(5))?;
        pair.alternates()?;
        pair.proxy(Node::Nginx01).start()?;
        pair.wait_holder(Node::Nginx01, Duration::from_secs(15))?;
        pair.alternates()
    });
}

#[test]
fn unicast_advertisements_work_the_same() {
    system_test("unicast", &NEEDS[..2], |site| {
        let plan = Plan { unicast: true, ..Plan::default() };
        let mut pair = Pair::start(site, PairPlan::new([Make::Vouchd; 2], plan))?;
        let capture = Capture::start(site)?;
        let start = Instant::now();
        let sent = first_advertisement(&capture, Node::Nginx01, start)?;
        ensure!(sent.destination() == Node::Nginx02.address(), "{sent:?}");
        pair.proxy(Node::Nginx01).stop()?;
        pair.wait_holder(Node::Nginx02, Duration::from_secs(5))?;
        pair.alternates()?;
        pair.proxy(Node::Nginx01).start()?;
        pair.wait_holder(Node::Nginx01, Duration::from_secs(15))?;
        pair.alternates()
    });
}

/// Rows 1, 2, 5, 8 and 13: on the wire.
#[test]
fn advertisement_equals_that_of_keepalived_byte_for_byte() {
    system_test("an advertisement on the wire", &NEEDS, |site| {
        let plan = Plan { check: None, ..Plan::default() };
        let capture = Capture::start(site)?;
        let theirs = advertisement_of(site, &capture, Make::Keepalived, &plan)?;
        let ours = advertisement_of(site, &capture, Make::Vouchd, &plan)?;
        ensure!(ours.tos() == 0xc0, "TOS {:#x}", ours.tos());
        ensure!(ours.ttl() == 255, "TTL {}", ours.ttl());
        ensure!(ours.destination() == GROUP);
        ensure!(ours.packet.len() >= 40 && ours.packet[2..4] == [0, 40], "{:?}", ours.packet);
        ensure!(ours.message().len() == 20);
        let expected = Message::v2_password(VRID, 100, VIP, "1234").bytes(Node::Nginx01.address(), GROUP);
        ensure!(ours.message() == expected, "expected {expected:02x?}, found {:02x?}", ours.message());
        ensure!(ours.message() == theirs.message(), "keepalived sends {:02x?}", theirs.message());
        // Without identification and checksum, which change from packet to packet.
        ensure!(ours.packet[..4] == theirs.packet[..4] && ours.packet[6..10] == theirs.packet[6..10]);
        Ok(())
    });
}

fn advertisement_of(site: &Site, capture: &Capture, make: Make, plan: &Plan) -> anyhow::Result<Advertisement> {
    let router = Router::start(site, Node::Nginx01, make, plan)?;
    site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(10))?;
    let advertisement = first_advertisement(capture, Node::Nginx01, Instant::now())?;
    router.stop()?;
    Ok(advertisement)
}

fn first_advertisement(capture: &Capture, from: Node, since: Instant) -> anyhow::Result<Advertisement> {
    eventually("an advertisement", Duration::from_secs(3), || {
        capture.advertisements(from, VRID, since).into_iter().next()
    })
}

#[test]
fn keepalived_stays_backup_to_vouchd() {
    system_test("vouchd 100, keepalived 80", &NEEDS, |site| {
        let plan = Plan { check: None, ..Plan::default() };
        let pair = Pair::start(site, PairPlan::new([Make::Vouchd, Make::Keepalived], plan))?;
        holds("the address stays on nginx01", Duration::from_secs(8), || site.holders().now(VIP) == [Node::Nginx01])?;
        let log = pair.router(Node::Nginx02)?.process().log();
        for bad in ["bogus", "invalid", "Invalid", "mismatch", "MASTER STATE"] {
            ensure!(!log.contains(bad), "keepalived complains: {log}");
        }
        Ok(())
    });
}

#[test]
fn vouchd_stays_backup_to_keepalived() {
    system_test("keepalived 100, vouchd 80", &NEEDS, |site| {
        let plan = Plan { check: None, ..Plan::default() };
        let pair = Pair::start(site, PairPlan::new([Make::Keepalived, Make::Vouchd], plan))?;
        holds("the address stays on nginx01", Duration::from_secs(8), || site.holders().now(VIP) == [Node::Nginx01])?;
        let status = pair.vouchd(Node::Nginx02)?.instance(INSTANCE)?;
        ensure!(status["advertisements"]["received"].as_u64() >= Some(7), "{status}");
        ensure!(discarded(&status) == 0, "{status}");
        ensure!(status["active"]["address"] == Node::Nginx01.address().to_string(), "{status}");
        ensure!(status["active"]["priority"] == 100, "{status}");
        Ok(())
    });
}

/// The number of advertisements that an instance has discarded.
fn discarded(instance: &serde_json::Value) -> u64 {
    let reasons = instance["advertisements"]["discarded"].as_object();
    reasons.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

#[test]
fn stopped_router_hands_over_and_leaves_no_address() {
    system_test("SIGTERM", &NEEDS[..2], |site| {
        let mut pair = Pair::start(site, PairPlan::default())?;
        let capture = Capture::start(site)?;
        let start = Instant::now();
        let status = pair.stop_router(Node::Nginx01)?;
        ensure!(status.code() == Some(0), "exit status {status}");
        site.holders().wait_for(Node::Nginx02, VIP, Duration::from_secs(3))?;
        let last = capture.advertisements(Node::Nginx01, VRID, start);
        let zero = last.iter().find(|a| a.priority() == 0);
        let lost = site.holders().lost(Node::Nginx01, VIP, start);
        ensure!(
            zero.is_some_and(|zero| lost.is_some_and(|lost| zero.at <= lost)),
            "expected an advertisement of priority 0 before the address is removed"
        );
        Ok(())
    });
}

/// Row 77: against keepalived.
#[test]
fn returning_keepalived_with_a_higher_priority_preempts_vouchd() {
    system_test("keepalived preempts", &NEEDS, |site| {
        let plan = PairPlan::new([Make::Keepalived, Make::Vouchd], Plan { check: None, ..Plan::default() });
        let mut pair = Pair::start(site, plan)?;
        pair.stop_router(Node::Nginx01)?;
        pair.wait_holder(Node::Nginx02, Duration::from_secs(3))?;
        pair.start_router(Node::Nginx01)?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(8))
    });
}

#[test]
fn new_active_router_announces_five_times_and_again_after_five_seconds() {
    system_test("gratuitous ARP", &NEEDS[..1], |site| {
        let capture = Capture::start(site)?;
        let start = Instant::now();
        let plan = Plan { check: None, ..Plan::default() };
        let _router = Router::start(site, Node::Nginx01, Make::Vouchd, &plan)?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(10))?;
        let gained = site.holders().gained(Node::Nginx01, VIP).unwrap_or(start);
        let announced = || capture.announcements(Node::Nginx01, VIP, start);
        eventually("five announcements", Duration::from_secs(1), || (announced().len() == 5).then_some(()))?;
        eventually("five more", Duration::from_secs(7), || (announced().len() == 10).then_some(()))?;
        let times = announced();
        // Notifications carry no time, so that the test learns of an address a little late.
        let known_late = Duration::from_millis(50);
        ensure!(times[0] + known_late >= gained, "announced {:?} before the address was there", gained - times[0]);
        let pause = (times[5] - times[4]).as_secs_f64();
        ensure!((4.9..5.2).contains(&pause), "the second round came after {pause:.3} s");
        holds("no further announcements", Duration::from_secs(2), || announced().len() == 10)
    });
}
