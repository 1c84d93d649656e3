//! The site over IPv6: 2001:db8:175::/64, with virtual addresses that a server on each router answers for.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::background::Background;
use crate::capture::{Capture, Frame};
use crate::site::{INTERFACE, Node, Site};
use crate::wait::{eventually, until};

/// The virtual link-local address, which advertisements list first.
pub const VIP_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100);

/// The virtual global address.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x175, 0, 0, 0, 0, 0x100);

/// The multicast group of VRRP over IPv6 (RFC 9568 section 5.1.2.2).
pub const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The port of the [`Greeter`].
const PORT: u16 = 7;

impl Node {
    /// The host's own global IPv6 address.
    pub fn global(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0x175, 0, 0, 0, 0, u16::from(self.address().octets()[3]))
    }
}

impl Site {
    /// Gives each host a global IPv6 address, and waits until its link-local address is usable.
    ///
    /// # Errors
    /// If that takes longer than 10 s.
    pub fn with_ipv6(&self) -> anyhow::Result<()> {
        for node in Node::ALL {
            self.host(node).sh(&format!("ip -6 addr add {}/64 dev {INTERFACE} nodad", node.global()))?;
        }
        for node in Node::ALL {
            until(&format!("a link-local address on {}", node.name()), Duration::from_secs(10), || {
                self.link_local(node).is_ok()
            })?;
        }
        Ok(())
    }

    /// A host's own link-local address.
    ///
    /// # Errors
    /// If it has none that is usable.
    pub fn link_local(&self, node: Node) -> anyhow::Result<Ipv6Addr> {
        let shown = self.host(node).sh(&format!("ip -6 -o addr show dev {INTERFACE} scope link -tentative"))?;
        let addresses = shown.lines().filter_map(|line| line.split("inet6 ").nth(1)?.split('/').next()?.parse().ok());
        addresses.into_iter().find(|address| *address != VIP_LINK_LOCAL).context(shown.clone())
    }

    /// Whether a host has a virtual IPv6 address.
    pub fn holds_ipv6(&self, node: Node, address: Ipv6Addr) -> bool {
        let shown = self.host(node).sh(&format!("ip -6 -o addr show dev {INTERFACE}")).unwrap_or_default();
        shown.contains(&format!("inet6 {address}/"))
    }

    /// Waits until one router has both virtual addresses and the other has none.
    ///
    /// # Errors
    /// If that takes longer than `within`.
    pub fn wait_ipv6_holder(&self, node: Node, within: Duration) -> anyhow::Result<()> {
        let other = crate::pair::peer(node);
        let has = |node, all: bool| [VIP_LINK_LOCAL, VIP6].map(|address| self.holds_ipv6(node, address)) == [all, all];
        until(&format!("{} alone to have the IPv6 addresses", node.name()), within, || {
            has(node, true) && has(other, false)
        })
    }

    /// The router that the client reaches at the virtual address.
    ///
    /// # Errors
    /// If that takes longer than `within`.
    pub fn greeted_by(&self, within: Duration) -> anyhow::Result<String> {
        eventually("an answer from the virtual IPv6 address", within, || {
            let client = self.host(Node::Client).in_network(|| -> std::io::Result<String> {
                let address = SocketAddrV6::new(VIP6, PORT, 0, 0).into();
                let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(300))?;
                stream.set_read_timeout(Some(Duration::from_millis(300)))?;
                let mut name = String::new();
                stream.read_to_string(&mut name)?;
                Ok(name)
            });
            client.ok()?.join().ok()?.ok().filter(|name| !name.is_empty())
        })
    }
}

/// A server on a host that answers each connection with the host's name.
#[derive(Debug)]
pub struct Greeter(#[expect(dead_code, reason = "ends the server when it is dropped")] Background);

impl Greeter {
    /// Starts it.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn start(site: &Site, node: Node) -> anyhow::Result<Self> {
        let background = Background::start(site.host(node), "the greeter", move |running| {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).expect("the port is free");
            listener.set_nonblocking(true).expect("a socket");
            running.ready();
            while running.goes_on() {
                match listener.accept() {
                    // A client that has gone is no failure.
                    Ok((mut stream, _)) => drop(stream.write_all(node.name().as_bytes())),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
                    Err(error) => panic!("accepting a connection: {error}"),
                }
            }
        })?;
        Ok(Greeter(background))
    }
}

/// A packet over IPv6, from the Ethernet header on, at least with the IPv6 header.
#[derive(Debug, Clone)]
pub struct Packet6(pub Frame);

impl Packet6 {
    /// The destination in the Ethernet header.
    pub fn destination_mac(&self) -> &[u8] {
        &self.0.bytes[..6]
    }

    /// The source in the Ethernet header.
    pub fn source_mac(&self) -> &[u8] {
        &self.0.bytes[6..12]
    }

    /// The traffic class.
    pub fn traffic_class(&self) -> u8 {
        self.0.bytes[14] << 4 | self.0.bytes[15] >> 4
    }

    /// The next header.
    pub fn next_header(&self) -> u8 {
        self.0.bytes[20]
    }

    /// The hop limit.
    pub fn hop_limit(&self) -> u8 {
        self.0.bytes[21]
    }

    /// The source.
    pub fn source(&self) -> Ipv6Addr {
        self.address(22)
    }

    /// The destination.
    pub fn destination(&self) -> Ipv6Addr {
        self.address(38)
    }

    /// What follows the IPv6 header, by the length in it.
    pub fn message(&self) -> &[u8] {
        let length = usize::from(u16::from_be_bytes([self.0.bytes[18], self.0.bytes[19]]));
        self.0.bytes.get(54..54 + length).unwrap_or_default()
    }

    /// The address that starts at this place of the frame.
    fn address(&self, at: usize) -> Ipv6Addr {
        let bytes = self.0.bytes.get(at..at + 16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        bytes.map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from)
    }

    /// The target of a packet of neighbour discovery.
    pub fn target(&self) -> Ipv6Addr {
        self.address(54 + 8)
    }

    /// Whether the checksum of the message is right, over the message and the pseudo-header of RFC 8200 section 8.1.
    pub fn has_right_checksum(&self) -> bool {
        let message = self.message();
        let mut summed = self.0.bytes[22..54].to_vec();
        summed.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        summed.extend([0, 0, 0, self.next_header()]);
        summed.extend(message);
        crate::frame::checksum(&summed) == 0
    }
}

impl Capture {
    fn packets6(&self, from: Node, since: Instant, next_header: u8) -> Vec<Packet6> {
        let frames = self.frames().into_iter().filter(|frame| frame.from == from && frame.at >= since);
        let is_ipv6 = |frame: &Frame| frame.bytes.len() >= 54 && frame.bytes[12..14] == [0x86, 0xdd];
        frames.filter(is_ipv6).map(Packet6).filter(|packet| packet.next_header() == next_header).collect()
    }

    /// The advertisements that a host has sent over IPv6 for a virtual router after `since`.
    pub fn advertisements6(&self, from: Node, vrid: u8, since: Instant) -> Vec<Packet6> {
        let mut packets = self.packets6(from, since, crate::frame::PROTOCOL);
        packets.retain(|packet| packet.message().get(1) == Some(&vrid));
        packets
    }

    /// The packets of this ICMPv6 type with this target that a host has sent after `since`: 135 is a neighbour solicitation,
    /// 136 an advertisement.
    pub fn neighbour_discovery(&self, from: Node, kind: u8, target: Ipv6Addr, since: Instant) -> Vec<Packet6> {
        let mut packets = self.packets6(from, since, 58);
        packets.retain(|packet| packet.message().first() == Some(&kind) && packet.target() == target);
        packets
    }
}
