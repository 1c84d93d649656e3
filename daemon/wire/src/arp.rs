//! The gratuitous ARP that tells a segment's hosts and switches where a virtual address lives now, and what others say
//! about that; and the request that asks them.

use std::net::Ipv4Addr;

/// The length of a frame: Ethernet header (14) and ARP for IPv4 (28).
pub const FRAME_LEN: usize = 42;

/// The whole Ethernet frame of a gratuitous ARP request: broadcast, sender IP = target IP = `address`, sender hardware
/// address `mac` (RFC 9568 section 6.4.1).
///
/// The target hardware address is ff:ff:ff:ff:ff:ff as keepalived and FRR send it; receivers ignore it in a request.
pub fn gratuitous(mac: [u8; 6], address: Ipv4Addr) -> [u8; FRAME_LEN] {
    broadcast(mac, address, BROADCAST, address)
}

/// The whole Ethernet frame of an ARP request by broadcast: who has `address`? With the sender 0.0.0.0 it is a probe, which
/// changes nobody's cache (RFC 5227 section 2.1.1).
pub fn request(mac: [u8; 6], sender: Ipv4Addr, address: Ipv4Addr) -> [u8; FRAME_LEN] {
    broadcast(mac, sender, [0; 6], address)
}

const BROADCAST: [u8; 6] = [0xff; 6];

fn broadcast(mac: [u8; 6], sender: Ipv4Addr, target_mac: [u8; 6], target: Ipv4Addr) -> [u8; FRAME_LEN] {
    let mut frame = [0; FRAME_LEN];
    let parts: [&[u8]; 8] = [
        &BROADCAST,
        &mac,
        &[0x08, 0x06],
        // Ethernet, IPv4, address lengths 6 and 4, request.
        &[0, 1, 0x08, 0, 6, 4, 0, 1],
        &mac,
        &sender.octets(),
        &target_mac,
        &target.octets(),
    ];
    let mut at = 0;
    for part in parts {
        frame[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    frame
}

/// What the sender of an ARP packet says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The address that it has. In a probe, which asks whether somebody has an address, it is 0.0.0.0.
    pub address: Ipv4Addr,
}

/// Where in an ARP packet the sender's IPv4 address is.
pub const SENDER_ADDRESS: usize = 14;

/// Reads an ARP packet, from after the Ethernet header on. `None` unless it is a request or a reply for IPv4 on Ethernet:
/// both tell the sender's addresses (RFC 5227 section 2.4).
pub fn sender(packet: &[u8]) -> Option<Sender> {
    let &[0, 1, 0x08, 0, 6, 4, 0, 1 | 2, m0, m1, m2, m3, m4, m5, a0, a1, a2, a3, ..] = packet.first_chunk::<28>()?
    else {
        return None;
    };
    Some(Sender { mac: [m0, m1, m2, m3, m4, m5], address: Ipv4Addr::new(a0, a1, a2, a3) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_82_a_gratuitous_arp_is_a_broadcast_request_for_the_address_from_the_address() {
        let frame = gratuitous([2, 0, 0, 0, 0, 7], Ipv4Addr::new(192, 0, 2, 1));
        let expected = "ffffffffffff020000000007 0806 0001 0800 06 04 0001 020000000007 c0000201 ffffffffffff c0000201"
            .replace(' ', "");
        let found: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_request_asks_for_the_address_and_does_not_claim_it() {
        let (own, address) = (Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(192, 0, 2, 1));
        let frame = request([2, 0, 0, 0, 0, 7], own, address);
        let expected = "ffffffffffff020000000007 0806 0001 0800 06 04 0001 020000000007 c0000207 000000000000 c0000201"
            .replace(' ', "");
        let found: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected);
        assert_eq!(sender(&frame[14..]), Some(Sender { mac: [2, 0, 0, 0, 0, 7], address: own }));
    }

    #[test]
    fn the_sender_of_an_announcement_and_of_a_reply_is_read() {
        let (mac, address) = ([2, 0, 0, 0, 0, 7], Ipv4Addr::new(192, 0, 2, 1));
        let mut packet = gratuitous(mac, address)[14..].to_vec();
        for operation in [1, 2] {
            packet[7] = operation;
            assert_eq!(sender(&packet), Some(Sender { mac, address }));
        }
        assert_eq!(packet[SENDER_ADDRESS..SENDER_ADDRESS + 4], address.octets());
    }

    #[test]
    fn what_is_no_arp_for_ipv4_on_ethernet_is_refused() {
        let good = gratuitous([2, 0, 0, 0, 0, 7], Ipv4Addr::new(192, 0, 2, 1))[14..].to_vec();
        for length in 0..good.len() {
            assert_eq!(sender(&good[..length]), None, "length {length}");
        }
        for at in 0..8 {
            let mut packet = good.clone();
            packet[at] ^= 0x40;
            assert_eq!(sender(&packet), None, "byte {at}");
        }
    }
}
