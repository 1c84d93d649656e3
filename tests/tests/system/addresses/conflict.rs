//! Another machine answers for the virtual address (RFC 5227).

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use vouchd_tests::capture::Capture;
use vouchd_tests::frame::{GROUP, Message, Packet};
use vouchd_tests::injector::Injector;
use vouchd_tests::pair::{Plan, Timing, VRID, peer};
use vouchd_tests::vouchd::{Files, INSTANCE, Vouchd, config};
use vouchd_tests::wait::{eventually, holds, until};
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const NEEDS: [Need; 1] = [Need::Vouchd];
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
const STRANGER_TEXT: &str = "02:00:00:00:00:66";

fn start(site: &Site, node: Node, priority: u8) -> anyhow::Result<Vouchd> {
    let timing = Timing::V3 { interval: Duration::from_secs(1) };
    let plan = Plan { priority, check: None, timing, password: None, ..Plan::default() };
    Vouchd::start_with(site, node, Files::without_builtins(site, node)?, &config(node, &plan))
}

fn lines_with(vouchd: &Vouchd, word: &str) -> Vec<String> {
    vouchd.process.log().lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
}

#[test]
fn stranger_with_the_virtual_address_is_named_counted_and_answered() {
    system_test("a third host announces the address", &NEEDS, |site| {
        let (capture, begin) = (Capture::start(site)?, Instant::now());
        let router = start(site, Node::Nginx01, 100)?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(8))?;
        let client = site.client_of_the_virtual_address();
        ensure!(client.knows(Node::Nginx01), "the client has {:?}", client.entry());
        // Both rounds of announcements of a new active router: they would correct the client too.
        until("two rounds of announcements", Duration::from_secs(15), || {
            capture.announcements(Node::Nginx01, VIP, begin).len() >= 10
        })?;

        let injector = Injector::new(site)?;
        let begin = Instant::now();
        injector.announce(STRANGER, VIP)?;
        until("the client to have the stranger's MAC address", Duration::from_secs(1), || {
            client.entry().as_deref() == Some(STRANGER_TEXT)
        })?;
        until("the client to have the router's MAC address again", Duration::from_secs(2), || {
            client.knows(Node::Nginx01)
        })?;
        println!("corrected after {:.2} s", begin.elapsed().as_secs_f64());
        let warning = eventually("a warning", Duration::from_secs(2), || lines_with(&router, "arp_conflict").pop())?;
        for word in ["WARN", STRANGER_TEXT, &VIP.to_string()] {
            ensure!(warning.contains(word), "no {word} in {warning}");
        }
        let status = router.instance(INSTANCE)?;
        let conflict = &status["addresses"][0]["conflict"];
        ensure!(conflict["mac"] == STRANGER_TEXT && conflict["count"] == 1, "{status}");
        let status = router.command(&["status"])?;
        ensure!(status.page().contains(STRANGER_TEXT) && status.code == Some(1), "{status:?}");
        let page = router.command(&["explain"])?.page();
        ensure!(page.contains(&format!("{STRANGER_TEXT} answers for {VIP} too (arp_conflict)")), "{page}");

        // A flood of them is counted, but not answered by a flood. The rate is part of the rule.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(4) {
            injector.announce(STRANGER, VIP)?;
            std::thread::sleep(Duration::from_millis(10));
        }
        let answers = capture.announcements(Node::Nginx01, VIP, begin).len();
        ensure!(answers <= 1, "{answers} announcements during the flood");
        let lines = lines_with(&router, "arp_conflict").len();
        ensure!(lines <= 8, "{lines} log lines");
        let count = router.instance(INSTANCE)?["addresses"][0]["conflict"]["count"].as_u64();
        ensure!(count.is_some_and(|count| count > 100), "counted {count:?}");
        until("the router to announce last", Duration::from_secs(12), || client.knows(Node::Nginx01))?;
        ensure!(router.instance(INSTANCE)?["state"] == "active", "it gave up");
        Ok(())
    });
}

#[test]
fn takeover_after_a_stop_or_a_crash_is_no_conflict() {
    system_test("takeovers of all kinds", &NEEDS, |site| {
        let better = start(site, Node::Nginx01, 100)?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(8))?;
        let worse = start(site, Node::Nginx02, 80)?;
        worse.wait_state(INSTANCE, "backup", Duration::from_secs(5))?;
        better.process.signal(Signal::SIGTERM);
        site.holders().wait_for(Node::Nginx02, VIP, Duration::from_secs(8))?;
        drop(better);
        // It comes back and preempts, then dies.
        let better = start(site, Node::Nginx01, 100)?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(8))?;
        worse.wait_state(INSTANCE, "backup", Duration::from_secs(5))?;
        let first = lines_with(&better, "arp_conflict");
        better.process.signal_all(Signal::SIGKILL);
        site.holders().wait_for(Node::Nginx02, VIP, Duration::from_secs(8))?;
        for word in ["arp_conflict", "arp_moved", "router_moved"] {
            holds(&format!("no {word} in the log"), Duration::from_millis(500), || lines_with(&worse, word).is_empty())
                .with_context(|| format!("{:?}", lines_with(&worse, word)))?;
        }
        ensure!(first.is_empty(), "{first:?}");
        let status = worse.instance(INSTANCE)?;
        ensure!(status["addresses"][0]["conflict"].is_null(), "{status}");
        Ok(())
    });
}

#[test]
fn takeover_announced_before_its_first_advertisement_is_no_conflict() {
    system_test("announcement, then advertisement", &NEEDS, |site| {
        let router = start(site, Node::Nginx01, 100)?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(8))?;
        let injector = Injector::new(site)?;
        let mac = site.mac(Node::Intruder)?;
        let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
        let source = Node::Intruder.address();
        injector.announce(bytes.try_into().expect("six bytes"), VIP)?;
        // The pause that is tested: an announcement that early is no conflict if an advertisement follows.
        std::thread::sleep(Duration::from_millis(30));
        for _ in 0..3 {
            let message = Message::v3(VRID, 200, VIP);
            injector.send(&Packet::multicast(source, message.bytes(source, GROUP)))?;
            router.wait_state(INSTANCE, "backup", Duration::from_secs(2))?;
            // The advertisement interval.
            std::thread::sleep(Duration::from_secs(1));
        }
        let status = router.instance(INSTANCE)?;
        ensure!(status["addresses"][0]["answered_by"] == mac.as_str(), "{status}");
        ensure!(status["active"]["mac"] == mac.as_str(), "{status}");
        for word in ["arp_conflict", "arp_moved"] {
            ensure!(lines_with(&router, word).is_empty(), "{:?}", lines_with(&router, word));
        }
        Ok(())
    });
}

#[test]
fn backup_shows_who_answers_and_reports_a_stranger() {
    system_test("a third host announces the address to a backup", &NEEDS, |site| {
        let _active = start(site, Node::Nginx01, 100)?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(8))?;
        let backup = start(site, peer(Node::Nginx01), 80)?;
        let mac = site.mac(Node::Nginx01)?;
        until("the active router's MAC address", Duration::from_secs(5), || {
            backup.instance(INSTANCE).is_ok_and(|status| status["active"]["mac"] == mac.as_str())
        })?;
        let injector = Injector::new(site)?;
        injector.announce(STRANGER, VIP)?;
        let warning = eventually("a warning", Duration::from_secs(3), || lines_with(&backup, "arp_moved").pop())?;
        ensure!(warning.contains(STRANGER_TEXT) && warning.contains(&mac), "{warning}");
        let status = backup.instance(INSTANCE)?;
        ensure!(status["addresses"][0]["answered_by"] == STRANGER_TEXT, "{status}");
        ensure!(status["state"] == "backup" && status["addresses"][0]["conflict"].is_null(), "{status}");
        let page = backup.command(&["explain"])?.page();
        ensure!(page.contains(STRANGER_TEXT), "{page}");
        Ok(())
    });
}
