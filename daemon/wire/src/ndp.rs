//! Neighbour discovery for IPv6 on Ethernet (RFC 4861): the announcement that moves an address to its new holder, the
//! solicitation that asks for it, and the claims in what others send.

use std::net::Ipv6Addr;

use pnet_base::MacAddr;
use pnet_packet::Packet;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOption, NdpOptionTypes, NeighborAdvertFlags,
    NeighborAdvertPacket, NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{Icmpv6Packet, Icmpv6Type, Icmpv6Types, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::MutableIpv6Packet;

use crate::ipv6::{HEADER_LEN, Header};

/// Where the parts of a packet start, from the IPv6 header on, for a filter in the kernel.
pub mod offset {
    /// The next header field.
    pub const NEXT_HEADER: usize = 6;
    /// The last four bytes of the source address.
    pub const SOURCE_END: usize = 20;
    /// The ICMPv6 type of a packet without extension headers.
    pub const ICMPV6_TYPE: usize = 40;
    /// The last four bytes of the target address of a packet without extension headers.
    pub const TARGET_END: usize = 60;
}

/// The ICMPv6 type of a neighbour solicitation.
pub const SOLICITATION: u8 = Icmpv6Types::NeighborSolicit.0;

/// The ICMPv6 type of a neighbour advertisement.
pub const ADVERTISEMENT: u8 = Icmpv6Types::NeighborAdvert.0;

/// The IPv6 next header of ICMPv6.
pub const ICMPV6: u8 = IpNextHeaderProtocols::Icmpv6.0;

/// The hop limit of every packet of neighbour discovery: it comes from this link (RFC 4861 section 3.1).
const HOP_LIMIT: u8 = 255;

/// The all-nodes group, link-local.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ETHERNET_HEADER: usize = EthernetPacket::minimum_packet_size();

/// The length of both messages without options.
const MESSAGE_LEN: usize = NeighborAdvertPacket::minimum_packet_size();

/// The length of an option with a MAC address.
const OPTION_LEN: usize = 8;

const FITS: &str = "the frame has the sum of all lengths";

/// Returns the Ethernet frame of an unsolicited neighbour advertisement to all nodes: `address` is at `mac`. The flags R and
/// O are set, S is clear (RFC 9568 section 6.4.1, step 120). The source is the address itself, as other routers send it:
/// it is assigned to the interface as RFC 4861 section 4.4 demands, and no other address gets into anybody's cache.
pub fn unsolicited(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    frame(mac, address, ALL_NODES, MESSAGE_LEN + OPTION_LEN, |message| {
        let mut advertisement = MutableNeighborAdvertPacket::new(message).expect(FITS);
        advertisement.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        advertisement.set_flags(NeighborAdvertFlags::Router | NeighborAdvertFlags::Override);
        advertisement.set_target_addr(address);
        advertisement.set_options(&[link_layer_address(NdpOptionTypes::TargetLLAddr, mac)]);
    })
}

/// Returns the Ethernet frame of a neighbour solicitation to the solicited-node group of `address`: who has it? With the
/// unspecified address as the sender it is a probe, which changes nobody's cache (RFC 4861 section 4.3).
pub fn solicitation(mac: [u8; 6], sender: Ipv6Addr, address: Ipv6Addr) -> Vec<u8> {
    let has_sender = !sender.is_unspecified();
    let length = MESSAGE_LEN + if has_sender { OPTION_LEN } else { 0 };
    frame(mac, sender, solicited_node(address), length, |message| {
        let mut solicitation = MutableNeighborSolicitPacket::new(message).expect(FITS);
        solicitation.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
        solicitation.set_target_addr(address);
        if has_sender {
            solicitation.set_options(&[link_layer_address(NdpOptionTypes::SourceLLAddr, mac)]);
        }
    })
}

/// The solicited-node group of an address (RFC 4291 section 2.7.1): hosts send solicitations for the address to it.
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// The Ethernet address of a multicast group (RFC 2464 section 7).
fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr::new(0x33, 0x33, a, b, c, d)
}

fn link_layer_address(option_type: pnet_packet::icmpv6::ndp::NdpOptionType, mac: [u8; 6]) -> NdpOption {
    NdpOption { option_type, length: 1, data: mac.to_vec() }
}

/// A frame with a message of this length, which `fill` writes without its checksum.
fn frame(mac: [u8; 6], source: Ipv6Addr, group: Ipv6Addr, length: usize, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET_HEADER + HEADER_LEN + length];
    let (header, packet) = frame.split_at_mut(ETHERNET_HEADER);
    let mut ethernet = MutableEthernetPacket::new(header).expect(FITS);
    ethernet.set_destination(multicast_mac(group));
    ethernet.set_source(mac.into());
    ethernet.set_ethertype(EtherTypes::Ipv6);
    let (header, message) = packet.split_at_mut(HEADER_LEN);
    let mut ip = MutableIpv6Packet::new(header).expect(FITS);
    ip.set_version(6);
    ip.set_payload_length(length as u16);
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    ip.set_hop_limit(HOP_LIMIT);
    ip.set_source(source);
    ip.set_destination(group);
    fill(message);
    let sum = checksum(&Icmpv6Packet::new(message).expect(FITS), &source, &group);
    MutableNeighborAdvertPacket::new(message).expect(FITS).set_checksum(sum);
    frame
}

/// A machine's claim to have an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: Ipv6Addr,
    /// The MAC address at which it claims to have it; `None` if the packet does not say so, and then it is the sender's.
    pub mac: Option<[u8; 6]>,
}

/// Reads the claim in a packet of neighbour discovery, which starts with its IPv6 header: the target of an advertisement,
/// or the source of a solicitation. Returns `None` for anything else, for a packet that a node would discard (RFC 4861
/// section 7.1), and for a probe.
pub fn claim(packet: &[u8]) -> Option<Claim> {
    let (header, message) = Header::parse(packet).ok()?;
    let icmp = Icmpv6Packet::new(message)?;
    let is_intact = checksum(&icmp, &header.source, &header.destination) == icmp.get_checksum();
    if header.next_header != ICMPV6 || header.hop_limit != HOP_LIMIT || icmp.get_icmpv6_code().0 != 0 || !is_intact {
        return None;
    }
    let (address, option) = match icmp.get_icmpv6_type() {
        Icmpv6Types::NeighborAdvert => {
            (NeighborAdvertPacket::new(message)?.get_target_addr(), NdpOptionTypes::TargetLLAddr)
        }
        Icmpv6Types::NeighborSolicit => {
            NeighborSolicitPacket::new(message)?;
            (header.source, NdpOptionTypes::SourceLLAddr)
        }
        Icmpv6Type(_) => return None,
    };
    let mac = mac_option(icmp.packet().get(MESSAGE_LEN..)?, option.0)?;
    (!address.is_unspecified() && !address.is_multicast()).then_some(Claim { address, mac })
}

/// The MAC address in the first option of this type; `Some(None)` if there is none, `None` if the options are damaged.
///
/// By hand: `pnet_packet` multiplies the length of an option in eight bits.
fn mac_option(mut options: &[u8], wanted: u8) -> Option<Option<[u8; 6]>> {
    let mut mac = None;
    while let Some((header, _)) = options.split_first_chunk::<2>() {
        let [kind, units] = *header;
        let (option, rest) = options.split_at_checked(usize::from(units) * OPTION_LEN).filter(|_| units > 0)?;
        if kind == wanted && mac.is_none() {
            mac = option.get(2..).and_then(|data| <[u8; 6]>::try_from(data).ok());
        }
        options = rest;
    }
    options.is_empty().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);

    /// As bytes, so that a mistake of the packet library can't confirm itself.
    fn hex(frame: &[u8]) -> String {
        frame.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The sum of RFC 1071 over the ICMPv6 message of a frame and its pseudo-header. 0xffff if the checksum is right.
    fn sum(frame: &[u8]) -> u16 {
        let message = &frame[54..];
        let mut bytes = frame[22..54].to_vec();
        bytes.extend((message.len() as u32).to_be_bytes());
        bytes.extend([0, 0, 0, 58]);
        bytes.extend(message);
        let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn row_83_announcement_is_unsolicited_to_all_nodes_with_r_and_o_set() {
        let frame = unsolicited(MAC, ADDRESS);
        let checksum = hex(&frame[56..58]);
        let expected = format!(
            "333300000001 020000000007 86dd 60000000 0020 3a ff 20010db8000000000000000000123456 \
             ff020000000000000000000000000001 88 00 {checksum} a0000000 20010db8000000000000000000123456 0201 020000000007"
        );
        assert_eq!(hex(&frame), expected.replace(' ', ""));
        assert_eq!(sum(&frame), 0xffff);
        assert_eq!(claim(&frame[14..]), Some(Claim { address: ADDRESS, mac: Some(MAC) }));
    }

    #[test]
    fn solicitation_goes_to_the_group_of_the_address_and_does_not_claim_it() {
        let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let frame = solicitation(MAC, own, ADDRESS);
        let checksum = hex(&frame[56..58]);
        let expected = format!(
            "3333ff123456 020000000007 86dd 60000000 0020 3a ff fe800000000000000000000000000001 \
             ff0200000000000000000001ff123456 87 00 {checksum} 00000000 20010db8000000000000000000123456 0101 020000000007"
        );
        assert_eq!(hex(&frame), expected.replace(' ', ""));
        assert_eq!(sum(&frame), 0xffff);
        assert_eq!(claim(&frame[14..]), Some(Claim { address: own, mac: Some(MAC) }), "the sender's address");
    }

    #[test]
    fn probe_has_no_sender_and_claims_nothing() {
        let frame = solicitation(MAC, Ipv6Addr::UNSPECIFIED, ADDRESS);
        assert_eq!((frame.len(), sum(&frame)), (14 + 40 + 24, 0xffff));
        assert_eq!(claim(&frame[14..]), None);
    }

    #[test]
    fn offsets_for_the_filter_are_those_of_the_packet() {
        let packet = &unsolicited(MAC, ADDRESS)[14..];
        assert_eq!((packet[offset::NEXT_HEADER], packet[offset::ICMPV6_TYPE]), (ICMPV6, ADVERTISEMENT));
        let end = &ADDRESS.octets()[12..];
        assert_eq!(&packet[offset::SOURCE_END..offset::SOURCE_END + 4], end);
        assert_eq!(&packet[offset::TARGET_END..offset::TARGET_END + 4], end);
    }

    #[test]
    fn claim_with_any_bit_flipped_or_cut_short_is_ignored() {
        let good = unsolicited(MAC, ADDRESS)[14..].to_vec();
        for bit in 0..good.len() * 8 {
            // The traffic class and the flow label are covered by no check.
            if (4..32).contains(&bit) {
                continue;
            }
            let mut packet = good.clone();
            packet[bit / 8] ^= 0x80 >> (bit % 8);
            assert_eq!(claim(&packet), None, "bit {bit}");
        }
        for length in 0..good.len() {
            assert_eq!(claim(&good[..length]), None, "length {length}");
        }
    }

    #[test]
    fn options_of_any_length_are_read_without_a_panic() {
        let wanted = NdpOptionTypes::TargetLLAddr.0;
        let long: Vec<u8> =
            [3, 255].into_iter().chain(vec![0; 255 * 8 - 2]).chain([wanted, 1, 2, 0, 0, 0, 0, 7]).collect();
        assert_eq!(mac_option(&long, wanted), Some(Some(MAC)));
        assert_eq!(mac_option(&[], wanted), Some(None));
        assert_eq!(mac_option(&[wanted, 2, 2, 0, 0, 0, 0, 7], wanted), None, "longer than the packet");
        assert_eq!(mac_option(&[wanted, 0, 2, 0, 0, 0, 0, 7], wanted), None, "of length 0");
        assert_eq!(mac_option(&[wanted], wanted), None, "half an option");
    }
}
