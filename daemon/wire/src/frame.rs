//! The Ethernet frame around an advertisement that is sent from a virtual MAC address.
//!
//! The IP layer sends with the MAC address of the interface, so such a frame is built whole.

use std::net::IpAddr;

use pnet_base::MacAddr;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::{Ipv4Packet, MutableIpv4Packet};
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use crate::{IP_PROTOCOL, TTL, checksum};

/// DSCP CS6, network control.
const DSCP: u8 = 0x30;

const ETHERNET_HEADER: usize = EthernetPacket::minimum_packet_size();

/// Returns the frame of a VRRP packet to a multicast group. `None` if the destination is not a multicast group, the source is
/// of the other family, or the packet is longer than IP permits.
pub fn multicast(mac: [u8; 6], source: IpAddr, destination: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let header = match destination {
        IpAddr::V4(_) => Ipv4Packet::minimum_packet_size(),
        IpAddr::V6(_) => Ipv6Packet::minimum_packet_size(),
    };
    let mut frame = vec![0; ETHERNET_HEADER + header + payload.len()];
    let (ethernet, packet) = frame.split_at_mut(ETHERNET_HEADER);
    let mut ethernet = MutableEthernetPacket::new(ethernet)?;
    ethernet.set_source(mac.into());
    ethernet.set_destination(group_mac(destination)?);
    let total = packet.len();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ethernet.set_ethertype(EtherTypes::Ipv4);
            let mut ip = MutableIpv4Packet::new(packet)?;
            ip.set_version(4);
            ip.set_header_length(5);
            ip.set_dscp(DSCP);
            ip.set_total_length(u16::try_from(total).ok()?);
            ip.set_ttl(TTL);
            ip.set_next_level_protocol(IpNextHeaderProtocol(IP_PROTOCOL));
            ip.set_source(source);
            ip.set_destination(destination);
            ip.set_payload(payload);
            let sum = checksum::of(packet.get(..header)?);
            MutableIpv4Packet::new(packet)?.set_checksum(sum);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ethernet.set_ethertype(EtherTypes::Ipv6);
            let mut ip = MutableIpv6Packet::new(packet)?;
            ip.set_version(6);
            ip.set_traffic_class(DSCP << 2);
            ip.set_payload_length(u16::try_from(payload.len()).ok()?);
            ip.set_hop_limit(TTL);
            ip.set_next_header(IpNextHeaderProtocol(IP_PROTOCOL));
            ip.set_source(source);
            ip.set_destination(destination);
            ip.set_payload(payload);
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    }
    Some(frame)
}

/// The MAC address of a multicast group (RFC 1112 section 6.4, RFC 2464 section 7).
fn group_mac(group: IpAddr) -> Option<MacAddr> {
    match group {
        IpAddr::V4(group) if group.is_multicast() => {
            let [_, b, c, d] = group.octets();
            Some(MacAddr::new(0x01, 0, 0x5e, b & 0x7f, c, d))
        }
        IpAddr::V6(group) if group.is_multicast() => {
            let [.., a, b, c, d] = group.octets();
            Some(MacAddr::new(0x33, 0x33, a, b, c, d))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GROUP_V4, GROUP_V6, ipv4, ipv6};

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];

    #[test]
    fn row_3_frame_over_ipv4_comes_from_the_virtual_mac() {
        let frame = multicast(MAC, V4, GROUP_V4.into(), b"12345678").unwrap();
        assert_eq!(frame[..6], [0x01, 0, 0x5e, 0, 0, 0x12]);
        assert_eq!(frame[6..12], MAC);
        assert_eq!(frame[12..14], [8, 0]);
        let (header, payload) = ipv4::Header::parse(&frame[14..]).expect("a valid header");
        assert_eq!((header.ttl, header.protocol, frame[15]), (255, 112, 0xc0));
        assert_eq!(IpAddr::V4(header.source), V4);
        assert_eq!(payload, b"12345678");
    }

    #[test]
    fn row_3_frame_over_ipv6_comes_from_the_virtual_mac() {
        let mac = [0, 0, 0x5e, 0, 2, 51];
        let frame = multicast(mac, "fe80::1".parse().unwrap(), GROUP_V6.into(), b"12345678").unwrap();
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x12]);
        assert_eq!(frame[6..12], mac);
        assert_eq!(frame[12..14], [0x86, 0xdd]);
        assert_eq!(frame[14..16], [0x6c, 0]);
        let (header, payload) = ipv6::Header::parse(&frame[14..]).expect("a valid header");
        assert_eq!(header.hop_limit, 255);
        assert_eq!(payload, b"12345678");
    }

    #[test]
    fn frame_goes_to_a_group_of_the_same_family_only() {
        assert_eq!(multicast(MAC, V4, V4, b""), None);
        assert_eq!(multicast(MAC, V4, GROUP_V6.into(), b""), None);
        assert_eq!(multicast(MAC, V4, GROUP_V4.into(), &[0; 70_000]), None);
    }
}
