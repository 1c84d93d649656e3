//! Advertisements byte by byte, valid and invalid ones.
//!
//! Written by hand: the daemon builds and parses its packets with pnet and its own codec, and a test that used either would
//! confirm their mistakes.

use std::net::Ipv4Addr;

/// The multicast group of VRRP over IPv4 (RFC 9568 section 5.1.1.2).
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;

/// A VRRP message without its checksum. It may be invalid: tests send what a router must discard.
#[derive(Debug, Clone)]
pub struct Message {
    /// The version, 4 bits.
    pub version: u8,
    /// The type, 4 bits: 1 is an advertisement.
    pub kind: u8,
    /// The virtual router.
    pub vrid: u8,
    /// The priority.
    pub priority: u8,
    /// The count field. All of `addresses` is sent whatever it says.
    pub count: u8,
    /// v2: authentication type (high byte) and seconds (low byte); v3: reserved (4 bits) and centiseconds.
    pub interval: u16,
    /// The virtual addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// The bytes after the addresses: in v2 the eight bytes of authentication data, in v3 none.
    pub trailer: Vec<u8>,
}

impl Message {
    /// A v2 advertisement of one address, without authentication, interval 1 s.
    pub fn v2(vrid: u8, priority: u8, address: Ipv4Addr) -> Self {
        Self {
            version: 2,
            kind: 1,
            vrid,
            priority,
            count: 1,
            interval: 1,
            addresses: vec![address],
            trailer: vec![0; 8],
        }
    }

    /// A v2 advertisement with a simple text password.
    pub fn v2_password(vrid: u8, priority: u8, address: Ipv4Addr, password: &str) -> Self {
        let mut trailer = password.as_bytes().to_vec();
        trailer.resize(8, 0);
        Self { interval: 0x0101, trailer, ..Self::v2(vrid, priority, address) }
    }

    /// A v3 advertisement of one address, interval 1 s.
    pub fn v3(vrid: u8, priority: u8, address: Ipv4Addr) -> Self {
        Self { version: 3, interval: 100, trailer: Vec::new(), ..Self::v2(vrid, priority, address) }
    }

    /// The bytes with a valid checksum; in v3 it covers the pseudo-header too.
    pub fn bytes(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        self.summed(if self.version == 3 { Some((source, destination)) } else { None })
    }

    /// The bytes with a checksum over the message alone, as in RFC 9568 section 5.2.8 for IPv4.
    pub fn bytes_summed_alone(&self) -> Vec<u8> {
        self.summed(None)
    }

    fn summed(&self, pseudo_header: Option<(Ipv4Addr, Ipv4Addr)>) -> Vec<u8> {
        let mut bytes = vec![self.version << 4 | self.kind, self.vrid, self.priority, self.count];
        bytes.extend(self.interval.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.addresses.iter().flat_map(|address| address.octets()));
        bytes.extend(&self.trailer);
        let mut summed = Vec::new();
        if let Some((source, destination)) = pseudo_header {
            summed.extend(source.octets());
            summed.extend(destination.octets());
            summed.extend([0, PROTOCOL]);
            summed.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
        summed.extend(&bytes);
        let sum = checksum(&summed);
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// An IPv4 packet with protocol 112.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The source address.
    pub source: Ipv4Addr,
    /// The destination address.
    pub destination: Ipv4Addr,
    /// The time to live: 255 for an advertisement.
    pub ttl: u8,
    /// IP options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// The bytes after the IP header.
    pub payload: Vec<u8>,
}

impl Packet {
    /// A packet to the multicast group with TTL 255.
    pub fn multicast(source: Ipv4Addr, payload: Vec<u8>) -> Self {
        Self { source, destination: GROUP, ttl: 255, options: Vec::new(), payload }
    }

    /// The bytes from the IP header on.
    pub fn bytes(&self) -> Vec<u8> {
        let header_length = 20 + self.options.len();
        let total = u16::try_from(header_length + self.payload.len()).unwrap_or(u16::MAX);
        let mut bytes = vec![0x40 | u8::try_from(header_length / 4).unwrap_or(15), 0xc0];
        bytes.extend(total.to_be_bytes());
        bytes.extend([0, 1, 0, 0, self.ttl, PROTOCOL, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        let sum = checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// A gratuitous ARP request, without the Ethernet header.
pub fn arp(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, 1];
    for _ in 0..2 {
        bytes.extend(mac);
        bytes.extend(address.octets());
    }
    bytes
}

/// The Internet checksum (RFC 1071).
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_over_bytes_with_their_checksum_is_zero() {
        let source = Ipv4Addr::new(192, 168, 175, 101);
        let message = Message::v2_password(55, 100, Ipv4Addr::new(192, 168, 175, 100), "1234");
        let bytes = message.bytes(source, GROUP);
        assert_eq!(bytes.len(), 20);
        assert_eq!(checksum(&bytes), 0);
        let packet = Packet::multicast(source, bytes).bytes();
        assert_eq!(packet.len(), 40);
        assert_eq!(checksum(&packet[..20]), 0);
    }
}
