//! Advertisements that the IP layer would not deliver: from one of the router's own addresses, or in fragments.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::frame::{GROUP, Message, Packet};
use vouchd_tests::injector::Injector;
use vouchd_tests::pair::{Plan, Timing, VRID};
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, INSTANCE, Vouchd, config};
use vouchd_tests::wait::{holds, sleep_until, until};
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const NEEDS: [Need; 1] = [Need::Vouchd];
const INTERVAL: Duration = Duration::from_secs(1);
/// Allowance for a busy machine.
const SLACK: Duration = Duration::from_millis(500);

fn plan(priority: u8) -> Plan {
    Plan { priority, check: None, timing: Timing::V3 { interval: INTERVAL }, password: None, ..Plan::default() }
}

fn start(site: &Site, node: Node, priority: u8) -> anyhow::Result<Vouchd> {
    let files = Files::without_builtins(site, node)?;
    Vouchd::start_with(site, node, files, &config(node, &plan(priority)))
}

#[test]
fn returning_owner_takes_its_address_back() {
    system_test("priority 255 comes up beside priority 100", &NEEDS, |site| {
        let stand_in = start(site, Node::Nginx02, 100)?;
        site.holders().wait_for(Node::Nginx02, VIP, Duration::from_secs(8))?;
        let client = site.client_of_the_virtual_address();
        ensure!(client.knows(Node::Nginx02), "the client has {:?}", client.entry());
        let capture = Capture::start(site)?;

        // The machine that owns the address comes up. It has no other address, so it sends from this one.
        let address = format!("ip addr flush dev {INTERFACE} && ip addr add {VIP}/24 dev {INTERFACE}");
        site.host(Node::Nginx01).sh(&address)?;
        let begin = Instant::now();
        let _owner = start(site, Node::Nginx01, 255)?;
        stand_in.wait_state(INSTANCE, "backup", Duration::from_secs(5))?;
        let first = capture.advertisements(Node::Nginx01, VRID, begin).first().context("the owner is silent")?.at;
        let lost = site.holders().lost(Node::Nginx02, VIP, first).context("the stand-in keeps the address")?;
        ensure!(lost - first <= INTERVAL, "two holders for {:?}", lost - first);

        until("the client to have the owner's MAC address", INTERVAL + SLACK, || client.knows(Node::Nginx01))?;
        ensure!(!capture.announcements(Node::Nginx01, VIP, first).is_empty(), "the owner announced nothing");
        let status = stand_in.instance(INSTANCE)?;
        ensure!(status["active"]["address"] == VIP.to_string() && status["active"]["priority"] == 255, "{status}");
        holds("the owner alone has the address", 4 * INTERVAL, || site.holders().now(VIP) == [Node::Nginx01])
    });
}

#[test]
fn row_34_packets_from_our_own_address_are_counted_and_touch_no_timer() {
    system_test("24 frames from the router's own address", &NEEDS, |site| {
        const FRAMES: u32 = 24;
        let router = start(site, Node::Nginx01, 100)?;
        router.wait_state(INSTANCE, "active", Duration::from_secs(8))?;
        let before = router.instance(INSTANCE)?;
        ensure!(before["advertisements"]["discarded"].get("own_address").is_none(), "its own frames: {before}");
        let (injector, capture) = (Injector::new(site)?, Capture::start(site)?);
        let begin = Instant::now();
        for frame in 0..FRAMES {
            let source = Node::Nginx01.address();
            let message = Message::v3(VRID, if frame % 2 == 0 { 200 } else { 0 }, VIP);
            injector.send(&Packet::multicast(source, message.bytes(source, GROUP)))?;
            sleep_until(begin + INTERVAL / 4 * (frame + 1));
        }
        let end = Instant::now();
        let sent = capture.advertisements(Node::Nginx01, VRID, begin);
        let gap = longest_gap(sent.iter().map(|sent| sent.at).filter(|&at| at <= end), begin, end);
        let most = usize::try_from((end - begin).as_secs())? + 2;
        ensure!(gap <= INTERVAL + SLACK, "a gap of {gap:?}");
        ensure!(sent.len() <= most, "{} advertisements, expected at most {most}", sent.len());
        let after = router.instance(INSTANCE)?;
        ensure!(after["advertisements"]["discarded"]["own_address"] == FRAMES, "{after}");
        ensure!(after["transitions"] == before["transitions"], "{before} became {after}");
        let log = router.process.log();
        ensure!(log.contains("another machine sends from this router's address"), "not logged: {log}");
        Ok(())
    });
}

#[test]
fn row_32_fragmented_advertisements_keep_a_backup_where_it_is() {
    system_test("200 addresses at an MTU of 576", &NEEDS, |site| {
        let routers = |node, priority: u8| -> anyhow::Result<Vouchd> {
            site.host(node).sh(&format!("ip link set {INTERFACE} mtu 576"))?;
            let mut text = config(node, &plan(priority));
            let addresses = (1..=200).fold(String::new(), |mut list, last| {
                let _ = write!(list, ", \"{}\"", Ipv4Addr::new(198, 51, 100, last));
                list
            });
            text = text.replace(&format!("addresses = [\"{VIP}\""), &format!("addresses = [\"{VIP}\"{addresses}"));
            Vouchd::start_with(site, node, Files::without_builtins(site, node)?, &text)
        };
        let active = routers(Node::Nginx01, 100)?;
        active.wait_state(INSTANCE, "active", Duration::from_secs(8))?;
        let begin = Instant::now();
        let backup = routers(Node::Nginx02, 80)?;
        backup.wait_state(INSTANCE, "backup", Duration::from_secs(5))?;
        until("an advertisement", Duration::from_secs(3), || {
            backup.instance(INSTANCE).is_ok_and(|status| status["active"]["priority"] == 100)
        })?;
        holds("one holder", 6 * INTERVAL, || site.holders().now(VIP) == [Node::Nginx01])?;
        // Each advertisement is received once, not once per fragment.
        let received = backup.instance(INSTANCE)?["advertisements"]["received"].as_u64();
        let most = begin.elapsed().as_secs() + 2;
        ensure!(
            received.is_some_and(|received| (4..=most).contains(&received)),
            "received {received:?}, not 4 to {most}"
        );
        Ok(())
    });
}

#[test]
fn row_15_peer_with_a_hop_limit_may_be_routers_away() {
    system_test("unicast from a peer with hop_limit = 250", &NEEDS, |site| {
        let (own, peer) = (Node::Nginx01.address(), Node::Intruder.address());
        let unicast =
            format!("unicast = {{ source = \"{own}\", peers = [{{ address = \"{peer}\", hop_limit = 250 }}] }}\n");
        let text = config(Node::Nginx01, &plan(100)) + &unicast;
        let router = Vouchd::start_with(site, Node::Nginx01, Files::without_builtins(site, Node::Nginx01)?, &text)?;
        router.wait_state(INSTANCE, "active", Duration::from_secs(8))?;
        let injector = Injector::new(site)?;
        let send = |ttl, priority| {
            let payload = Message::v3(VRID, priority, VIP).bytes(peer, own);
            injector.send(&Packet { ttl, destination: own, ..Packet::multicast(peer, payload) })
        };
        send(249, 200)?;
        until("the packet to be discarded", Duration::from_secs(5), || {
            router.instance(INSTANCE).is_ok_and(|status| status["advertisements"]["discarded"]["ttl"] == 1)
        })?;
        ensure!(router.instance(INSTANCE)?["state"] == "active");
        until("the log to say what is permitted", Duration::from_secs(5), || {
            router.process.log().contains("TTL 249, expected at least 250, the peer's hop_limit")
        })?;
        send(250, 200)?;
        router.wait_state(INSTANCE, "backup", Duration::from_secs(5))
    });
}
