//! What is on the wire over IPv6: advertisements, and who answers for the addresses.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::capture::Capture;
use vouchd_tests::ipv6::{GROUP6, VIP_LINK_LOCAL, VIP6};
use vouchd_tests::site::INTERFACE;
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, VIP, system_test};

use super::{PATIENCE, VRID, instance, start};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// The MAC address of a node's interface.
fn mac(site: &Site, node: Node) -> anyhow::Result<Vec<u8>> {
    site.mac(node)?.split(':').map(|byte| Ok(u8::from_str_radix(byte, 16)?)).collect()
}

/// Forgets the client's entry for an address, and makes it ask for the address.
fn ask(site: &Site, address: Ipv6Addr) -> anyhow::Result<()> {
    let client = site.host(Node::Client);
    client.sh(&format!("ip -6 neigh flush dev {INTERFACE}"))?;
    // The port is closed: the packets that resolve the address are all that matters.
    client.sh(&format!("curl -s -m 1 'http://[{address}%25{INTERFACE}]:9/' || true")).map(drop)
}

/// Rows 1, 2, 4, 9, 23.
#[test]
fn advertisement_over_ipv6_on_the_wire() {
    system_test("IPv6 advertisements on the wire", &[Need::Vouchd], |site| {
        site.with_ipv6()?;
        let node = Node::Nginx01;
        let capture = Capture::start(site)?;
        let begin = Instant::now();
        let _vouchd = start(site, node, &instance(node, ""))?;
        until("three advertisements", PATIENCE, || capture.advertisements6(node, VRID, begin).len() >= 3)?;
        let own = site.link_local(node)?;
        for advertisement in capture.advertisements6(node, VRID, begin) {
            ensure!(advertisement.destination_mac() == [0x33, 0x33, 0, 0, 0, 0x12], "{advertisement:?}");
            ensure!((advertisement.source(), advertisement.destination()) == (own, GROUP6), "{advertisement:?}");
            ensure!((advertisement.hop_limit(), advertisement.traffic_class()) == (255, 0xc0), "{advertisement:?}");
            ensure!(advertisement.has_right_checksum(), "{advertisement:?}");
            let message = advertisement.message();
            ensure!(message[..6] == [0x31, VRID, 120, 2, 0, 10], "{message:?}");
            ensure!(message[8..24] == VIP_LINK_LOCAL.octets() && message[24..] == VIP6.octets(), "{message:?}");
        }
        Ok(())
    });
}

#[test]
fn rows_83_and_84_takeover_is_announced_by_unsolicited_neighbour_advertisements() {
    system_test("IPv6 announcements on the wire", &[Need::Vouchd], |site| {
        site.with_ipv6()?;
        let node = Node::Nginx01;
        let capture = Capture::start(site)?;
        let begin = Instant::now();
        let _vouchd = start(site, node, &instance(node, ""))?;
        for address in [VIP_LINK_LOCAL, VIP6] {
            let announced = || capture.neighbour_discovery(node, ADVERTISEMENT, address, begin);
            until("five announcements", PATIENCE, || announced().len() >= 5)?;
            for packet in announced() {
                let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
                ensure!(packet.destination_mac() == [0x33, 0x33, 0, 0, 0, 1], "{packet:?}");
                ensure!((packet.source(), packet.destination()) == (address, all_nodes), "{packet:?}");
                ensure!(packet.hop_limit() == 255 && packet.has_right_checksum(), "{packet:?}");
                let message = packet.message();
                ensure!(message[4..8] == [0xa0, 0, 0, 0], "R and O are set, S is clear: {message:?}");
                let option = [&[2, 1][..], &mac(site, node)?].concat();
                ensure!(message[24..] == option, "{message:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn row_87_takeover_over_ipv6_sends_no_duplicate_address_detection_and_is_reachable_at_once() {
    system_test("IPv6 without duplicate address detection", &[Need::Vouchd], |site| {
        site.with_ipv6()?;
        let node = Node::Nginx01;
        let capture = Capture::start(site)?;
        let begin = Instant::now();
        let vouchd = start(site, node, &instance(node, ""))?;
        vouchd.wait_state("web", "active", PATIENCE)?;
        let started = Instant::now();
        ask(site, VIP6)?;
        let answered = || capture.neighbour_discovery(node, ADVERTISEMENT, VIP6, started);
        until("an answer", PATIENCE, || answered().iter().any(|packet| packet.message()[4] & 0x40 != 0))?;
        let probes = capture.neighbour_discovery(node, SOLICITATION, VIP6, begin);
        ensure!(probes.is_empty(), "{probes:?}");
        let shown = site.host(node).sh(&format!("ip -6 -o addr show dev {INTERFACE}"))?;
        ensure!(!shown.contains("tentative") && !shown.contains("dadfailed"), "{shown}");
        Ok(())
    });
}

/// Rows 43, 61, 62.
#[test]
fn only_the_active_router_answers_neighbour_solicitations() {
    system_test("neighbour solicitations for virtual addresses", &[Need::Vouchd], |site| {
        site.with_ipv6()?;
        let backup = start(site, Node::Nginx02, &instance(Node::Nginx02, ""))?;
        let _active = start(site, Node::Nginx01, &instance(Node::Nginx01, ""))?;
        site.wait_ipv6_holder(Node::Nginx01, PATIENCE)?;
        backup.wait_state("web", "backup", PATIENCE)?;
        let capture = Capture::start(site)?;
        for address in [VIP_LINK_LOCAL, VIP6] {
            let begin = Instant::now();
            ask(site, address)?;
            let answers = |node| capture.neighbour_discovery(node, ADVERTISEMENT, address, begin);
            let asked = || capture.neighbour_discovery(Node::Client, SOLICITATION, address, begin);
            until("a solicitation and its answer", PATIENCE, || {
                !asked().is_empty() && !answers(Node::Nginx01).is_empty()
            })?;
            // The group of the address: only a member receives it from a switch that snoops.
            let [.., a, b, c] = address.octets();
            ensure!(asked()[0].destination_mac() == [0x33, 0x33, 0xff, a, b, c], "{:?}", asked());
            ensure!(answers(Node::Nginx02).is_empty(), "a backup answers for {address}");
        }
        // What the kernel has joined on the active router alone.
        for (node, expected) in [(Node::Nginx01, true), (Node::Nginx02, false)] {
            let groups = site.host(node).sh(&format!("ip -6 maddr show dev {INTERFACE}"))?;
            ensure!(groups.contains("ff02::1:ff00:100") == expected, "{}: {groups}", node.name());
        }
        Ok(())
    });
}

#[test]
fn row_42_only_the_active_router_answers_arp_requests() {
    system_test("ARP requests for a virtual address", &[Need::Vouchd], |site| {
        let config = |node| {
            let addresses = format!("addresses = [\"{VIP_LINK_LOCAL}\", \"{VIP6}\"]");
            instance(node, "version = 3").replace(&addresses, &format!("addresses = [\"{VIP}\"]"))
        };
        let backup = start(site, Node::Nginx02, &config(Node::Nginx02))?;
        let active = start(site, Node::Nginx01, &config(Node::Nginx01))?;
        active.wait_state("web", "active", PATIENCE)?;
        backup.wait_state("web", "backup", PATIENCE)?;
        let capture = Capture::start(site)?;
        let client = site.client_of_the_virtual_address();
        until("the client's entry", PATIENCE, || client.knows(Node::Nginx01))?;
        // An ARP reply (operation 2) whose sender is the address.
        let is_answer = |bytes: &[u8]| {
            bytes.get(12..14) == Some(&[8, 6])
                && bytes.get(20..22) == Some(&[0, 2])
                && bytes.get(28..32) == Some(&VIP.octets())
        };
        let answers =
            |node| capture.frames().iter().filter(|frame| frame.from == node && is_answer(&frame.bytes)).count();
        ensure!(answers(Node::Nginx01) > 0 && answers(Node::Nginx02) == 0, "{:?}", capture.frames());
        Ok(())
    });
}

#[test]
fn row_4_next_advertisement_has_the_new_link_local_address() {
    system_test("another link-local address", &[Need::Vouchd], |site| {
        site.with_ipv6()?;
        let node = Node::Nginx01;
        let capture = Capture::start(site)?;
        let vouchd = start(site, node, &instance(node, ""))?;
        vouchd.wait_state("web", "active", PATIENCE)?;
        let old = site.link_local(node)?;
        let new = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xabc);
        site.host(node)
            .sh(&format!("ip -6 addr add {new}/64 dev {INTERFACE} nodad && ip -6 addr del {old}/64 dev {INTERFACE}"))?;
        let changed = Instant::now();
        let sent = || capture.advertisements6(node, VRID, changed + Duration::from_millis(100));
        until("an advertisement from the new address", PATIENCE, || sent().iter().any(|sent| sent.source() == new))?;
        ensure!(sent().iter().all(|sent| sent.has_right_checksum()), "{:?}", sent());
        vouchd.wait_state("web", "active", PATIENCE)
    });
}
