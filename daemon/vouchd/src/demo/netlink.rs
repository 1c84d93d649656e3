//! The few netlink requests that lay out the demo's network. A socket acts on the network namespace in which its thread
//! was when it was opened.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// Requests to the kernel, one at a time.
pub struct Netlink {
    socket: Socket,
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    pub fn add_bridge(&self, name: &str) -> io::Result<()> {
        let mut link = named(name);
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.request(RouteNetlinkMessage::NewLink(link), CREATE)
    }

    /// A pair of interfaces: `name` here, `peer` in the network namespace `elsewhere`.
    pub fn add_veth(&self, name: &str, peer: &str, elsewhere: BorrowedFd<'_>) -> io::Result<()> {
        let mut other = named(peer);
        other.attributes.push(LinkAttribute::NetNsFd(elsewhere.as_raw_fd()));
        let mut link = named(name);
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ]));
        self.request(RouteNetlinkMessage::NewLink(link), CREATE)
    }

    pub fn set_up(&self, name: &str) -> io::Result<()> {
        let mut link = named(name);
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Plugs an interface into a bridge.
    pub fn attach(&self, name: &str, bridge: &str) -> io::Result<()> {
        let mut link = named(name);
        link.attributes.push(LinkAttribute::Controller(index(bridge)?));
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    pub fn add_address(&self, name: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = prefix;
        message.header.index = index(name)?;
        message.attributes = vec![AddressAttribute::Local(address.into()), AddressAttribute::Address(address.into())];
        self.request(RouteNetlinkMessage::NewAddress(message), CREATE)
    }

    fn request(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let (answer, _) = self.socket.recv_from_full()?;
        match parse(&answer)?.payload {
            NetlinkPayload::Error(answer) if answer.code.is_none() => Ok(()),
            NetlinkPayload::Error(answer) => Err(answer.to_io()),
            other => Err(io::Error::other(format!("expected an acknowledgement, found {other:?}"))),
        }
    }
}

/// An IPv4 address came to an interface or left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressChange {
    Added(Ipv4Addr),
    Removed(Ipv4Addr),
}

/// Tells of IPv4 addresses that come and go, whoever changes them.
pub struct AddressWatch {
    socket: Socket,
}

impl AddressWatch {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(libc::RTNLGRP_IPV4_IFADDR)?;
        Ok(Self { socket })
    }

    /// Waits for the next change. Renewing an address is told as `Added` again.
    pub fn next(&self) -> io::Result<AddressChange> {
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let change = match parse(&bytes)?.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
                    local(&message).map(AddressChange::Added)
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => {
                    local(&message).map(AddressChange::Removed)
                }
                _ => None,
            };
            if let Some(change) = change {
                return Ok(change);
            }
        }
    }
}

fn parse(bytes: &[u8]) -> io::Result<NetlinkMessage<RouteNetlinkMessage>> {
    NetlinkMessage::deserialize(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn local(message: &AddressMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })
}

fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

fn index(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}
