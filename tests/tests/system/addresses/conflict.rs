//! Somebody else answers for the virtual address (RFC 5227).

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::capture::Capture;
use vouchd_tests::frame::{GROUP, Message, Packet};
use vouchd_tests::injector::Injector;
use vouchd_tests::pair::{Plan, Timing, VRID, peer};
use vouchd_tests::vouchd::{Files, INSTANCE, Vouchd, binary, config};
use vouchd_tests::wait::{eventually, until};
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const NEEDS: [Need; 1] = [Need::Vouchd];
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
const STRANGER_TEXT: &str = "02:00:00:00:00:66";

fn start(site: &Site, node: Node, priority: u8) -> anyhow::Result<Vouchd> {
    let timing = Timing::V3 { interval: Duration::from_secs(1) };
    let plan = Plan { priority, check: None, timing, password: None, ..Plan::default() };
    Vouchd::start_with(site, node, Files::without_builtins(site, node)?, &config(node, &plan))
}

/// What a command for people prints, and its exit status.
fn prints(vouchd: &Vouchd, command: &str) -> anyhow::Result<(String, Option<i32>)> {
    let output = Command::new(binary()).args([command, "--control"]).arg(vouchd.files.control()).output()?;
    // Lines are folded to fit a terminal.
    let text = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    Ok((text, output.status.code()))
}

fn lines_with(vouchd: &Vouchd, word: &str) -> Vec<String> {
    vouchd.process.log().lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
}

#[test]
fn a_stranger_with_the_active_routers_address_is_named_counted_and_answered() {
    system_test("a third host announces the address", &NEEDS, |site| {
        let router = start(site, Node::Nginx01, 100)?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(8))?;
        let client = site.client_of_the_virtual_address();
        ensure!(client.knows(Node::Nginx01), "the client has {:?}", client.entry());
        // The second round of announcements would mend everything by itself.
        let capture = Capture::start(site)?;
        let begin = Instant::now();
        until("the second round", Duration::from_secs(8), || {
            !capture.announcements(Node::Nginx01, VIP, begin).is_empty()
        })?;
        std::thread::sleep(Duration::from_millis(200));

        let injector = Injector::new(site)?;
        let begin = Instant::now();
        injector.announce(STRANGER, VIP)?;
        until("the client to be misled", Duration::from_secs(1), || client.entry().as_deref() == Some(STRANGER_TEXT))?;
        until("the client to be right again", Duration::from_secs(2), || client.knows(Node::Nginx01))?;
        println!("right again after {:.2} s", begin.elapsed().as_secs_f64());
        let warning = eventually("a warning", Duration::from_secs(2), || lines_with(&router, "arp_conflict").pop())?;
        for word in ["WARN", STRANGER_TEXT, &VIP.to_string()] {
            ensure!(warning.contains(word), "no {word} in {warning}");
        }
        let status = router.instance(INSTANCE)?;
        let conflict = &status["addresses"][0]["conflict"];
        ensure!(conflict["mac"] == STRANGER_TEXT && conflict["count"] == 1, "{status}");
        let (page, code) = prints(&router, "status")?;
        ensure!(page.contains(STRANGER_TEXT) && code == Some(1), "exit status {code:?}: {page}");
        let (page, _) = prints(&router, "explain")?;
        ensure!(page.contains(&format!("{STRANGER_TEXT} answers for {VIP} too (arp_conflict)")), "{page}");

        // Again and again: it is counted, but there is no war.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(4) {
            injector.announce(STRANGER, VIP)?;
            std::thread::sleep(Duration::from_millis(10));
        }
        let answers = capture.announcements(Node::Nginx01, VIP, begin).len();
        ensure!(answers <= 1, "{answers} announcements in 4 s");
        let lines = lines_with(&router, "arp_conflict").len();
        ensure!(lines <= 8, "{lines} lines about it");
        let count = router.instance(INSTANCE)?["addresses"][0]["conflict"]["count"].as_u64();
        ensure!(count.is_some_and(|count| count > 100), "counted {count:?}");
        until("the last word to be the router's", Duration::from_secs(12), || client.knows(Node::Nginx01))?;
        ensure!(router.instance(INSTANCE)?["state"] == "active", "it gave up");
        Ok(())
    });
}

#[test]
fn a_hand_over_in_good_order_or_by_a_crash_is_no_conflict() {
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
        std::thread::sleep(Duration::from_millis(500));
        for word in ["arp_conflict", "arp_moved", "router_moved"] {
            ensure!(lines_with(&worse, word).is_empty(), "{:?}", lines_with(&worse, word));
        }
        ensure!(first.is_empty(), "{first:?}");
        let status = worse.instance(INSTANCE)?;
        ensure!(status["addresses"][0]["conflict"].is_null(), "{status}");
        Ok(())
    });
}

#[test]
fn a_takeover_whose_announcement_comes_before_its_advertisement_is_no_conflict() {
    system_test("announcement, then advertisement", &NEEDS, |site| {
        let router = start(site, Node::Nginx01, 100)?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(8))?;
        let injector = Injector::new(site)?;
        let mac = site.mac(Node::Intruder)?;
        let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
        let source = Node::Intruder.address();
        injector.announce(bytes.try_into().expect("six bytes"), VIP)?;
        std::thread::sleep(Duration::from_millis(30));
        for _ in 0..3 {
            let message = Message::v3(VRID, 200, VIP);
            injector.send(&Packet::multicast(source, message.bytes(source, GROUP)))?;
            router.wait_state(INSTANCE, "backup", Duration::from_secs(2))?;
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
fn a_backup_shows_who_answers_and_reports_a_stranger() {
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
        let (page, _) = prints(&backup, "explain")?;
        ensure!(page.contains(STRANGER_TEXT), "{page}");
        Ok(())
    });
}
