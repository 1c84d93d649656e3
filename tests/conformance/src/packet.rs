//! Frames byte by byte, valid and invalid ones, of both families. Written by hand: what shares code with a router would
//! confirm its mistakes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IP protocol number of VRRP.
pub const VRRP: u8 = 112;
/// The multicast group of IPv4 (RFC 9568 section 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The multicast group of IPv6 (RFC 9568 section 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// The MAC address of the tester.
pub const TESTER: [u8; 6] = [2, 0, 0, 0, 0, 0xfd];
/// The broadcast MAC address.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// What a message's checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// What installed routers send and require: version 2 the message, version 3 also the pseudo-header.
    Usual,
    /// The message alone (RFC 9568 section 5.2.8 for IPv4).
    MessageOnly,
    /// A wrong value.
    Wrong,
}

/// An advertisement in its Ethernet frame. Every field may be wrong.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The MAC address of the sender.
    pub mac: [u8; 6],
    /// The IP source.
    pub source: IpAddr,
    /// The IP destination. A multicast group is sent to its MAC address, another address to `to_mac`.
    pub destination: IpAddr,
    /// The MAC address of a unicast destination.
    pub to_mac: [u8; 6],
    /// The TTL or hop limit.
    pub ttl: u8,
    /// IPv4 options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// Bytes after the IP packet, as Ethernet pads short frames.
    pub padding: usize,
    /// Version, 4 bits.
    pub version: u8,
    /// Type, 4 bits.
    pub kind: u8,
    /// The virtual router.
    pub vrid: u8,
    /// The priority.
    pub priority: u8,
    /// The count field; `None`: as many as there are.
    pub count: Option<u8>,
    /// Version 2: authentication type and seconds; version 3: reserved bits and centiseconds.
    pub interval: u16,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// After the addresses: authentication data in version 2.
    pub trailer: Vec<u8>,
    /// What the checksum covers.
    pub sum: Sum,
    /// Cuts the message to this length.
    pub cut: Option<usize>,
    /// Flips this bit of the finished message.
    pub flip: Option<usize>,
}

impl Packet {
    /// A copy with a change.
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut copy = self.clone();
        change(&mut copy);
        copy
    }

    /// The VRRP message.
    pub fn message(&self) -> Vec<u8> {
        let count = self.count.unwrap_or(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        let mut message = vec![self.version << 4 | self.kind, self.vrid, self.priority, count];
        message.extend(self.interval.to_be_bytes());
        message.extend([0, 0]);
        for address in &self.addresses {
            push(&mut message, *address);
        }
        message.extend(&self.trailer);
        message.truncate(self.cut.unwrap_or(usize::MAX));
        let header = (self.version != 2 && self.sum != Sum::MessageOnly)
            .then(|| pseudo_header(self.source, self.destination, VRRP, message.len()));
        let mut sum = checksum(&[header.unwrap_or_default(), message.clone()].concat());
        if self.sum == Sum::Wrong {
            sum ^= 0x5555;
        }
        if let Some(field) = message.get_mut(6..8) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        if let Some(bit) = self.flip
            && let Some(byte) = message.get_mut(bit / 8)
        {
            *byte ^= 0x80 >> (bit % 8);
        }
        message
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let to = group_mac(self.destination).unwrap_or(self.to_mac);
        let packet = ip(self.source, self.destination, VRRP, self.ttl, &self.options, &self.message());
        let mut frame = ethernet(to, self.mac, self.source, &packet);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }
}

/// The MAC address of a multicast group.
fn group_mac(group: IpAddr) -> Option<[u8; 6]> {
    match group {
        IpAddr::V4(group) if group.is_multicast() => {
            let [_, b, c, d] = group.octets();
            Some([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(group) if group.is_multicast() => {
            let octets = group.octets();
            Some([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]])
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The solicited-node group of an address (RFC 4291 section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// An ARP request for an address, as a broadcast.
pub fn arp_request(source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&BROADCAST[..], &TESTER, &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1], &TESTER].concat();
    frame.extend(source.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// A neighbour solicitation for an address, to its solicited-node group.
pub fn neighbour_solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(TESTER);
    let group = IpAddr::V6(solicited_node(target));
    icmp_v6(group_mac(group).unwrap_or(BROADCAST), source.into(), group, 255, message)
}

/// An echo request to an address, sent to a MAC address.
pub fn echo_request(mac: [u8; 6], source: IpAddr, target: IpAddr) -> Vec<u8> {
    if target.is_ipv6() {
        return icmp_v6(mac, source, target, 64, vec![128, 0, 0, 0, 0x56, 0x52, 0, 1]);
    }
    let mut message = vec![8, 0, 0, 0, 0x56, 0x52, 0, 1];
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ethernet(mac, TESTER, source, &ip(source, target, 1, 64, &[], &message))
}

fn icmp_v6(mac: [u8; 6], source: IpAddr, destination: IpAddr, hop_limit: u8, mut message: Vec<u8>) -> Vec<u8> {
    const ICMP_V6: u8 = 58;
    let summed = [pseudo_header(source, destination, ICMP_V6, message.len()), message.clone()].concat();
    message[2..4].copy_from_slice(&checksum(&summed).to_be_bytes());
    ethernet(mac, TESTER, source, &ip(source, destination, ICMP_V6, hop_limit, &[], &message))
}

fn ethernet(to: [u8; 6], from: [u8; 6], source: IpAddr, packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if source.is_ipv6() { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&to[..], &from, &kind, packet].concat()
}

fn ip(source: IpAddr, destination: IpAddr, protocol: u8, ttl: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = |extra: usize| u16::try_from(payload.len() + extra).unwrap_or(u16::MAX).to_be_bytes();
    let mut bytes = Vec::new();
    if source.is_ipv6() {
        bytes.extend([0x6c, 0, 0, 0]);
        bytes.extend(length(0));
        bytes.extend([protocol, ttl]);
        push(&mut bytes, source);
        push(&mut bytes, destination);
    } else {
        let header = 20 + options.len();
        bytes.extend([0x40 | u8::try_from(header / 4).unwrap_or(15), 0xc0]);
        bytes.extend(length(header));
        bytes.extend([0, 1, 0, 0, ttl, protocol, 0, 0]);
        push(&mut bytes, source);
        push(&mut bytes, destination);
        bytes.extend(options);
        let sum = checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    bytes.extend(payload);
    bytes
}

fn push(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend(address.octets()),
        IpAddr::V6(address) => bytes.extend(address.octets()),
    }
}

/// What the checksum of a version 3 message covers beside it.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, source);
    push(&mut bytes, destination);
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    if source.is_ipv6() {
        bytes.extend([0, 0, length[0], length[1], 0, 0, 0, protocol]);
    } else {
        bytes.extend([0, protocol, length[0], length[1]]);
    }
    bytes
}

/// The Internet checksum (RFC 1071).
pub fn checksum(bytes: &[u8]) -> u16 {
    vouchd_tests::frame::checksum(bytes)
}
