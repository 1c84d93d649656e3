//! ARP for IPv4 on Ethernet: the announcement that moves an address to its new holder, the request that asks for it, and
//! the sender of what others send.

use std::net::Ipv4Addr;

use pnet_base::MacAddr;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};

/// The length of the Ethernet header.
const ETHERNET_HEADER: usize = EthernetPacket::minimum_packet_size();

/// The length of an ARP packet for IPv4 on Ethernet.
const PACKET_LEN: usize = ArpPacket::minimum_packet_size();

/// The length of a whole frame: Ethernet header and ARP packet.
pub const FRAME_LEN: usize = ETHERNET_HEADER + PACKET_LEN;

/// Where the sender's IPv4 address starts in an ARP packet (RFC 826), for a filter in the kernel.
pub const SENDER_ADDRESS: usize = 14;

const MAC_LEN: u8 = 6;
const IPV4_LEN: u8 = 4;

/// Returns the Ethernet frame of a gratuitous ARP request: broadcast, sender IP = target IP = `address`, sender hardware
/// address `mac` (RFC 9568 section 6.4.1).
///
/// The target hardware address is `mac` too (errata 7947 and 7949). keepalived and FRR send ff:ff:ff:ff:ff:ff; receivers
/// ignore it in a request.
pub fn gratuitous(mac: [u8; 6], address: Ipv4Addr) -> [u8; FRAME_LEN] {
    broadcast(mac, address, mac.into(), address)
}

/// Returns the Ethernet frame of a broadcast ARP request: who has `address`? With the sender 0.0.0.0 it is a probe, which
/// changes nobody's cache (RFC 5227 section 2.1.1).
pub fn request(mac: [u8; 6], sender: Ipv4Addr, address: Ipv4Addr) -> [u8; FRAME_LEN] {
    broadcast(mac, sender, MacAddr::zero(), address)
}

fn broadcast(mac: [u8; 6], sender: Ipv4Addr, target_mac: MacAddr, target: Ipv4Addr) -> [u8; FRAME_LEN] {
    const FITS: &str = "FRAME_LEN is the sum of both lengths";
    let mut frame = [0; FRAME_LEN];
    let (header, packet) = frame.split_at_mut(ETHERNET_HEADER);
    let mut ethernet = MutableEthernetPacket::new(header).expect(FITS);
    ethernet.set_destination(MacAddr::broadcast());
    ethernet.set_source(mac.into());
    ethernet.set_ethertype(EtherTypes::Arp);
    let mut arp = MutableArpPacket::new(packet).expect(FITS);
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(MAC_LEN);
    arp.set_proto_addr_len(IPV4_LEN);
    arp.set_operation(ArpOperations::Request);
    arp.set_sender_hw_addr(mac.into());
    arp.set_sender_proto_addr(sender);
    arp.set_target_hw_addr(target_mac);
    arp.set_target_proto_addr(target);
    frame
}

/// The addresses of an ARP packet's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its IPv4 address; 0.0.0.0 in a probe, which asks whether an address is in use.
    pub address: Ipv4Addr,
}

/// Reads the sender of an ARP packet, which starts after the Ethernet header. Returns `None` unless the packet is a
/// request or a reply for IPv4 on Ethernet: both carry the sender's addresses (RFC 5227 section 2.4).
pub fn sender(packet: &[u8]) -> Option<Sender> {
    let arp = ArpPacket::new(packet)?;
    let is_ipv4_on_ethernet = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && (arp.get_hw_addr_len(), arp.get_proto_addr_len()) == (MAC_LEN, IPV4_LEN);
    let is_known = [ArpOperations::Request, ArpOperations::Reply].contains(&arp.get_operation());
    (is_ipv4_on_ethernet && is_known)
        .then(|| Sender { mac: arp.get_sender_hw_addr().octets(), address: arp.get_sender_proto_addr() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As bytes, so that a mistake of the packet library can't confirm itself.
    fn hex(frame: &[u8]) -> String {
        frame.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn row_82_gratuitous_arp_is_a_broadcast_request_for_the_address_from_the_address() {
        let frame = gratuitous([2, 0, 0, 0, 0, 7], Ipv4Addr::new(192, 0, 2, 1));
        let expected = "ffffffffffff020000000007 0806 0001 0800 06 04 0001 020000000007 c0000201 020000000007 c0000201"
            .replace(' ', "");
        assert_eq!(hex(&frame), expected);
    }

    #[test]
    fn request_asks_for_the_address_and_does_not_claim_it() {
        let (own, address) = (Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(192, 0, 2, 1));
        let frame = request([2, 0, 0, 0, 0, 7], own, address);
        let expected = "ffffffffffff020000000007 0806 0001 0800 06 04 0001 020000000007 c0000207 000000000000 c0000201"
            .replace(' ', "");
        assert_eq!(hex(&frame), expected);
        assert_eq!(sender(&frame[14..]), Some(Sender { mac: [2, 0, 0, 0, 0, 7], address: own }));
    }

    #[test]
    fn sender_of_an_announcement_and_of_a_reply_is_read() {
        let (mac, address) = ([2, 0, 0, 0, 0, 7], Ipv4Addr::new(192, 0, 2, 1));
        let mut packet = gratuitous(mac, address)[14..].to_vec();
        for operation in [1, 2] {
            packet[7] = operation;
            assert_eq!(sender(&packet), Some(Sender { mac, address }));
        }
        assert_eq!(packet[SENDER_ADDRESS..SENDER_ADDRESS + 4], address.octets());
    }

    #[test]
    fn anything_but_arp_for_ipv4_on_ethernet_is_rejected() {
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
