//! Reading what a router has sent: advertisements, ARP, neighbour discovery, echo replies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use crate::packet::{VRRP, checksum, pseudo_header};
use crate::wire::Frame;

/// An advertisement on the wire.
#[derive(Debug, Clone)]
pub struct Advertisement {
    /// When it came in.
    pub at: Instant,
    /// The port at which it came in.
    pub port: usize,
    /// Ethernet destination and source.
    pub mac: ([u8; 6], [u8; 6]),
    /// IP source and destination.
    pub ip: (IpAddr, IpAddr),
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// The VRRP message, at least eight bytes.
    pub message: Vec<u8>,
    /// The whole frame.
    pub frame: Vec<u8>,
}

impl Advertisement {
    /// Reads a frame; `None` if it is no VRRP.
    pub fn read(frame: &Frame) -> Option<Self> {
        let packet = Ip::read(&frame.bytes)?;
        (packet.protocol == VRRP && packet.payload.len() >= 8).then(|| Self {
            at: frame.at,
            port: frame.port,
            mac: (field(&frame.bytes, 0).unwrap_or_default(), field(&frame.bytes, 6).unwrap_or_default()),
            ip: (packet.source, packet.destination),
            ttl: packet.ttl,
            tos: packet.tos,
            message: packet.payload.to_vec(),
            frame: frame.bytes.clone(),
        })
    }

    /// The version.
    pub fn version(&self) -> u8 {
        self.message[0] >> 4
    }

    /// The virtual router.
    pub fn vrid(&self) -> u8 {
        self.message[1]
    }

    /// The priority.
    pub fn priority(&self) -> u8 {
        self.message[2]
    }

    /// The count field.
    pub fn count(&self) -> u8 {
        self.message[3]
    }

    /// Version 2: authentication type and seconds; version 3: reserved bits and centiseconds.
    pub fn interval(&self) -> u16 {
        u16::from_be_bytes([self.message[4], self.message[5]])
    }

    /// The addresses, as many as the count says and the message has.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let size = if self.ip.0.is_ipv6() { 16 } else { 4 };
        self.message[8..].chunks_exact(size).take(self.count().into()).filter_map(address).collect()
    }

    /// The bytes after the addresses.
    pub fn trailer(&self) -> &[u8] {
        let size = if self.ip.0.is_ipv6() { 16 } else { 4 };
        self.message.get(8 + usize::from(self.count()) * size..).unwrap_or_default()
    }

    /// Whether the checksum over the message alone is right.
    pub fn sum_of_message_is_right(&self) -> bool {
        checksum(&self.message) == 0
    }

    /// Whether the checksum over pseudo-header and message is right.
    pub fn sum_with_pseudo_header_is_right(&self) -> bool {
        let header = pseudo_header(self.ip.0, self.ip.1, VRRP, self.message.len());
        checksum(&[header, self.message.clone()].concat()) == 0
    }
}

/// An ARP packet.
#[derive(Debug, Clone)]
pub struct Arp {
    /// When it came in.
    pub at: Instant,
    /// The port at which it came in.
    pub port: usize,
    /// Ethernet destination and source.
    pub mac: ([u8; 6], [u8; 6]),
    /// 1 is a request, 2 a reply.
    pub operation: u16,
    /// The sender's MAC and IP address.
    pub sender: ([u8; 6], Ipv4Addr),
    /// The target's MAC and IP address.
    pub target: ([u8; 6], Ipv4Addr),
}

impl Arp {
    /// Reads a frame; `None` if it is no ARP.
    pub fn read(frame: &Frame) -> Option<Self> {
        let bytes = &frame.bytes;
        (field(bytes, 12)? == [0x08, 0x06]).then_some(())?;
        Some(Self {
            at: frame.at,
            port: frame.port,
            mac: (field(bytes, 0)?, field(bytes, 6)?),
            operation: u16::from_be_bytes(field(bytes, 20)?),
            sender: (field(bytes, 22)?, field::<4>(bytes, 28)?.into()),
            target: (field(bytes, 32)?, field::<4>(bytes, 38)?.into()),
        })
    }

    /// Whether it announces an address: sender and target are the same.
    pub fn is_announcement(&self) -> bool {
        self.sender.1 == self.target.1
    }
}

/// A neighbour advertisement.
#[derive(Debug, Clone)]
pub struct NeighbourAdvertisement {
    /// When it came in.
    pub at: Instant,
    /// The port at which it came in.
    pub port: usize,
    /// Ethernet destination and source.
    pub mac: ([u8; 6], [u8; 6]),
    /// The IP destination.
    pub destination: IpAddr,
    /// The hop limit.
    pub hop_limit: u8,
    /// R, S and O, in the upper three bits.
    pub flags: u8,
    /// The address it is about.
    pub target: Ipv6Addr,
    /// The MAC address of its option, if it has one.
    pub link_layer: Option<[u8; 6]>,
    /// Whether its checksum is right.
    pub sum_is_right: bool,
}

impl NeighbourAdvertisement {
    /// Reads a frame; `None` if it is no neighbour advertisement.
    pub fn read(frame: &Frame) -> Option<Self> {
        let packet = Ip::read(&frame.bytes)?;
        (packet.protocol == 58 && packet.payload.first() == Some(&136)).then_some(())?;
        let option = packet.payload.get(24..32).filter(|option| option[..2] == [2, 1]);
        let header = pseudo_header(packet.source, packet.destination, 58, packet.payload.len());
        Some(Self {
            at: frame.at,
            port: frame.port,
            mac: (field(&frame.bytes, 0)?, field(&frame.bytes, 6)?),
            destination: packet.destination,
            hop_limit: packet.ttl,
            flags: *packet.payload.get(4)?,
            target: field::<16>(packet.payload, 8)?.into(),
            link_layer: option.and_then(|option| field(option, 2)),
            sum_is_right: checksum(&[&header, packet.payload].concat()) == 0,
        })
    }
}

/// An IP packet's fields.
#[derive(Debug)]
pub struct Ip<'f> {
    /// The sender.
    pub source: IpAddr,
    /// The receiver.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// The protocol; over IPv6 what follows a hop-by-hop header.
    pub protocol: u8,
    /// What follows the headers.
    pub payload: &'f [u8],
}

impl<'f> Ip<'f> {
    /// Reads a frame; `None` if it is no IP packet.
    pub fn read(frame: &'f [u8]) -> Option<Self> {
        let packet = frame.get(14..)?;
        match field(frame, 12)? {
            [0x08, 0x00] => {
                let header = usize::from(packet.first()? & 15) * 4;
                let total = usize::from(u16::from_be_bytes(field(packet, 2)?));
                Some(Self {
                    source: address(packet.get(12..16)?)?,
                    destination: address(packet.get(16..20)?)?,
                    ttl: *packet.get(8)?,
                    tos: packet[1],
                    protocol: *packet.get(9)?,
                    payload: packet.get(header..total)?,
                })
            }
            [0x86, 0xdd] => {
                let length = usize::from(u16::from_be_bytes(field(packet, 4)?));
                let mut payload = packet.get(40..40 + length)?;
                let mut protocol = *packet.get(6)?;
                if protocol == 0 {
                    protocol = *payload.first()?;
                    payload = payload.get(8 + usize::from(*payload.get(1)?) * 8..)?;
                }
                Some(Self {
                    source: address(packet.get(8..24)?)?,
                    destination: address(packet.get(24..40)?)?,
                    ttl: *packet.get(7)?,
                    tos: packet[0] << 4 | packet[1] >> 4,
                    protocol,
                    payload,
                })
            }
            _ => None,
        }
    }

    /// Whether it is an echo reply.
    pub fn is_echo_reply(&self) -> bool {
        matches!((self.protocol, self.payload.first()), (1, Some(0)) | (58, Some(129)))
    }

    /// Whether it is a router advertisement.
    pub fn is_router_advertisement(&self) -> bool {
        self.protocol == 58 && self.payload.first() == Some(&134)
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
