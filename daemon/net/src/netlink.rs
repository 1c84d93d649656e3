//! rtnetlink: requests and their answers, dumps, and notifications read into the few facts that a router needs.
//!
//! Messages are read attribute by attribute, so that one attribute of a newer kernel that a general parser does not
//! know can't hide a whole link.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_core::{
    DefaultNla, Emitable, ErrorBuffer, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeader, AddressMessage, AddressProtocol, CacheInfo};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;

/// The IFA_PROTO value that marks an address as installed by vouchd: 'v'. Linux before 5.18 does not keep it.
pub const OUR_PROTOCOL: u8 = 0x76;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_PROMOTE_SECONDARIES: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_PROTO: u16 = 11;
const IFA_F_SECONDARY: u8 = 1;
const IFA_F_PERMANENT: u8 = 0x80;

const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;

const NETLINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const LINK_HEADER: usize = 16;

/// The kernel answers in datagrams of at most 32 KiB.
const DATAGRAM: usize = 64 * 1024;

/// Requests sent at once. The kernel answers those that fail, and the last one; all of it fits into the socket's buffer.
const BATCH: usize = 256;

/// Room for the answers to a batch, should each of it fail.
const ANSWERS: usize = 1 << 20;

/// Room for notifications that are not read yet.
const NOTIFICATIONS: usize = 4 << 20;

/// How long an answer may take. The request itself waits for the rtnl lock in `send`; the answer is there after it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A fact about a link or an IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Link(Link),
    LinkGone { index: u32 },
    Address(HeldAddress),
    AddressGone(HeldAddress),
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub index: u32,
    pub name: String,
    /// IFF_UP: somebody switched it on.
    pub enabled: bool,
    /// IFF_RUNNING: it is on and has a carrier, or is of a kind that knows none.
    pub running: bool,
    /// `None` for what is no Ethernet.
    pub mac: Option<[u8; 6]>,
    /// Whether the secondary addresses of a subnet stay when its primary one is removed. Only read when asked for: the
    /// kernel does not notify about it.
    pub promotes: bool,
}

/// An IPv4 address that an interface holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldAddress {
    pub index: u32,
    pub address: Ipv4Addr,
    pub prefix: u8,
    /// The other end of a point-to-point link.
    pub peer: Option<Ipv4Addr>,
    /// RT_SCOPE_UNIVERSE is 0.
    pub scope: u8,
    /// Another address of the same subnet was there first.
    pub secondary: bool,
    /// Without a lifetime.
    pub permanent: bool,
    /// IFA_PROTO; 0 when nobody set it.
    pub protocol: u8,
}

impl HeldAddress {
    /// Whether it is the same for the kernel.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let identity = |held: &Self| (held.index, held.address, held.prefix, held.peer);
        identity(self) == identity(other)
    }
}

/// A fact, and by whose request it became one (a netlink port; 0 is the kernel itself).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    pub change: Change,
    pub port: u32,
}

/// A change of an address, for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressRequest {
    /// Adds it with our mark, valid for so many seconds; `EEXIST` if it is there already.
    Add { index: u32, address: Ipv4Addr, prefix: u8, seconds: u32 },
    /// Gives it our mark and so many seconds; adds it if it is not there.
    Renew { index: u32, address: Ipv4Addr, prefix: u8, seconds: u32 },
    /// Removes it; `EADDRNOTAVAIL` if it is not there.
    Remove { index: u32, address: Ipv4Addr, prefix: u8 },
}

/// A socket for requests.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        SockRef::from(&socket).set_read_timeout(Some(ANSWER_TIMEOUT))?;
        SockRef::from(&socket).set_recv_buffer_size(ANSWERS)?;
        Ok(Self { socket, port, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// By which the kernel names this socket in its news.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Removes an IPv4 address; `EADDRNOTAVAIL` if it is not there.
    pub(crate) fn remove_address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        self.request(RouteNetlinkMessage::DelAddress(address_message(index, address, prefix)), NLM_F_ACK)
    }

    /// Sends all requests in order and returns the result of each. One that fails does not stop the others.
    ///
    /// # Errors
    /// When the answers are lost or late; some of the requests may have been carried out.
    pub(crate) fn change_addresses(&mut self, requests: &[AddressRequest]) -> io::Result<Vec<io::Result<()>>> {
        let mut results = Vec::with_capacity(requests.len());
        for batch in requests.chunks(BATCH) {
            self.change_batch(batch, &mut results)?;
        }
        Ok(results)
    }

    fn change_batch(&mut self, batch: &[AddressRequest], results: &mut Vec<io::Result<()>>) -> io::Result<()> {
        let (first, start) = (self.sequence.wrapping_add(1), results.len());
        let mut bytes = Vec::new();
        for (position, request) in batch.iter().enumerate() {
            // What succeeds is not answered, but for the last one, which says that all are done.
            let flags = if position + 1 == batch.len() { NLM_F_ACK } else { 0 };
            let (message, flags) = request.message(flags);
            self.append(&mut bytes, message, flags);
            results.push(Ok(()));
        }
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        loop {
            receive(&self.socket, &mut self.buffer, 0)?;
            for (header, payload) in messages(&self.buffer) {
                let position = header.sequence_number.wrapping_sub(first) as usize;
                if header.message_type != NLMSG_ERROR || position >= batch.len() {
                    continue;
                }
                results[start + position] = answer(payload);
                if position + 1 == batch.len() {
                    return Ok(());
                }
            }
        }
    }

    /// One interface; `ENODEV` if it is not there.
    pub(crate) fn link(&mut self, index: u32) -> io::Result<Link> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let sequence = self.send(RouteNetlinkMessage::GetLink(message), 0)?;
        loop {
            receive(&self.socket, &mut self.buffer, 0)?;
            for (header, payload) in messages(&self.buffer).filter(|(header, _)| header.sequence_number == sequence) {
                match change(header.message_type, payload) {
                    Some(Change::Link(link)) => return Ok(link),
                    _ if header.message_type == NLMSG_ERROR => answer(payload)?,
                    _ => {}
                }
            }
        }
    }

    /// Sets `promote_secondaries` of an interface. Not by /proc/sys, which may be read-only for this process.
    pub(crate) fn promote_secondaries(&mut self, index: u32) -> io::Result<()> {
        let setting = DefaultNla::new(IPV4_DEVCONF_PROMOTE_SECONDARIES, 1u32.to_ne_bytes().to_vec());
        let family = nested(IFLA_INET_CONF, &[setting]);
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Other(nested(IFLA_AF_SPEC, &[nested(libc::AF_INET as u16, &[family])])));
        self.request(RouteNetlinkMessage::SetLink(message), NLM_F_ACK)
    }

    /// All IPv4 addresses of all interfaces.
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<HeldAddress>> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let mut held = Vec::new();
        self.dump(RouteNetlinkMessage::GetAddress(message), |change| match change {
            Change::Address(address) => held.push(address),
            Change::Link(_) | Change::LinkGone { .. } | Change::AddressGone(_) => {}
        })?;
        Ok(held)
    }

    /// All interfaces.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), |change| match change {
            Change::Link(link) => links.push(link),
            Change::LinkGone { .. } | Change::Address(_) | Change::AddressGone(_) => {}
        })?;
        Ok(links)
    }

    /// Sends a request and waits until the kernel has carried it out.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let sequence = self.send(message, flags)?;
        loop {
            receive(&self.socket, &mut self.buffer, 0)?;
            for (header, payload) in messages(&self.buffer) {
                if header.sequence_number == sequence && header.message_type == NLMSG_ERROR {
                    return answer(payload);
                }
            }
        }
    }

    fn dump(&mut self, message: RouteNetlinkMessage, mut take: impl FnMut(Change)) -> io::Result<()> {
        let sequence = self.send(message, NLM_F_DUMP)?;
        loop {
            receive(&self.socket, &mut self.buffer, 0)?;
            for (header, payload) in messages(&self.buffer) {
                if header.sequence_number != sequence {
                    continue;
                }
                match header.message_type {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return answer(payload),
                    kind => {
                        if let Some(change) = change(kind, payload) {
                            take(change);
                        }
                    }
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<u32> {
        let mut bytes = Vec::new();
        let sequence = self.append(&mut bytes, message, flags);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        Ok(sequence)
    }

    /// Appends a request to what will be sent, and returns its sequence number.
    fn append(&mut self, bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let start = bytes.len().next_multiple_of(4);
        bytes.resize(start + message.buffer_len(), 0);
        message.serialize(&mut bytes[start..]);
        self.sequence
    }
}

impl AddressRequest {
    fn message(self, flags: u16) -> (RouteNetlinkMessage, u16) {
        let (message, seconds, mode) = match self {
            Self::Add { index, address, prefix, seconds } => {
                (address_message(index, address, prefix), seconds, NLM_F_EXCL)
            }
            Self::Renew { index, address, prefix, seconds } => {
                (address_message(index, address, prefix), seconds, NLM_F_REPLACE)
            }
            Self::Remove { index, address, prefix } => {
                return (RouteNetlinkMessage::DelAddress(address_message(index, address, prefix)), flags);
            }
        };
        let mut message = message;
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = seconds;
        lifetime.ifa_preferred = seconds;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL)));
        (RouteNetlinkMessage::NewAddress(message), flags | NLM_F_CREATE | mode)
    }
}

fn nested(kind: u16, inner: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; inner.buffer_len()];
    inner.emit(&mut value);
    DefaultNla::new(kind, value)
}

/// A socket for notifications about links and IPv4 addresses, non-blocking.
#[derive(Debug)]
pub(crate) struct Notifications {
    pub(crate) socket: Socket,
    buffer: Vec<u8>,
}

impl Notifications {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // A busy host notifies in bursts; what does not fit costs a dump. Beyond the system's limit it takes CAP_NET_ADMIN.
        if setsockopt(&socket, sockopt::RcvBufForce, &NOTIFICATIONS).is_err() {
            SockRef::from(&socket).set_recv_buffer_size(NOTIFICATIONS)?;
        }
        socket.add_membership(RTNLGRP_LINK)?;
        socket.add_membership(RTNLGRP_IPV4_IFADDR)?;
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// The next datagram's news; `None` when nothing is queued. `ENOBUFS`: some were lost.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<News>>> {
        match receive(&self.socket, &mut self.buffer, libc::MSG_DONTWAIT) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut changes = Vec::new();
        for (header, payload) in messages(&self.buffer) {
            if header.message_type == NLMSG_OVERRUN {
                return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
            }
            let port = header.port_number;
            changes.extend(change(header.message_type, payload).map(|change| News { change, port }));
        }
        Ok(Some(changes))
    }

    /// Throws away what is queued.
    pub(crate) fn discard(&mut self) -> io::Result<()> {
        loop {
            match receive(&self.socket, &mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn receive(socket: &Socket, buffer: &mut Vec<u8>, flags: i32) -> io::Result<()> {
    loop {
        buffer.clear();
        match socket.recv_from(buffer, flags) {
            // Anybody may send to a netlink socket; the kernel's port is 0.
            Ok((_, sender)) if sender.port_number() != 0 => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The messages of a datagram; a broken one ends it.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (NetlinkHeader, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(rest).ok()?;
        let length = buffer.length() as usize;
        let payload = rest.get(NETLINK_HEADER..length)?;
        let mut header = NetlinkHeader::default();
        header.message_type = buffer.message_type();
        header.sequence_number = buffer.sequence_number();
        header.port_number = buffer.port_number();
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((header, payload))
    })
}

fn answer(payload: &[u8]) -> io::Result<()> {
    let error = ErrorBuffer::new_checked(payload).map_err(io::Error::other)?;
    match error.code() {
        None => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.get().saturating_abs())),
    }
}

fn address_message(index: u32, address: Ipv4Addr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header = AddressHeader { family: AddressFamily::Inet, prefix_len: prefix, index, ..Default::default() };
    message.attributes.push(AddressAttribute::Local(IpAddr::V4(address)));
    message.attributes.push(AddressAttribute::Address(IpAddr::V4(address)));
    message
}

/// Reads a notification or a message of a dump; `None` for what tells nothing about links and IPv4 addresses.
fn change(kind: u16, payload: &[u8]) -> Option<Change> {
    match kind {
        RTM_NEWLINK => link(payload).map(Change::Link),
        // A port that leaves its bridge is told as the end of a link of the family AF_BRIDGE. The link lives on.
        RTM_DELLINK => link(payload).map(|link| Change::LinkGone { index: link.index }),
        RTM_NEWADDR => held_address(payload).map(Change::Address),
        RTM_DELADDR => held_address(payload).map(Change::AddressGone),
        _ => None,
    }
}

fn link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    if header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut name = None;
    let mut mac = None;
    let mut promotes = None;
    for attribute in NlasIterator::new(payload.get(LINK_HEADER..)?) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            IFLA_IFNAME => {
                name =
                    CStr::from_bytes_until_nul(attribute.value()).ok().map(|name| name.to_string_lossy().into_owned());
            }
            IFLA_ADDRESS => mac = <[u8; 6]>::try_from(attribute.value()).ok(),
            IFLA_AF_SPEC => promotes = promotes_secondaries(attribute.value()),
            _ => {}
        }
    }
    Some(Link {
        index: header.index,
        name: name?,
        enabled: header.flags.contains(LinkFlags::Up),
        running: header.flags.contains(LinkFlags::Up | LinkFlags::Running),
        mac: mac.filter(|_| header.link_layer_type == LinkLayerType::Ether),
        promotes: promotes.unwrap_or_default(),
    })
}

/// What IFLA_AF_SPEC says about `promote_secondaries`.
fn promotes_secondaries(families: &[u8]) -> Option<bool> {
    let find = |attributes, kind| {
        NlasIterator::new(attributes).map_while(Result::ok).find(|attribute| attribute.kind() == kind)
    };
    let family = find(families, libc::AF_INET as u16)?;
    let settings = find(family.value(), IFLA_INET_CONF)?;
    // An array of numbers that starts with the setting 1.
    let at = 4 * usize::from(IPV4_DEVCONF_PROMOTE_SECONDARIES - 1);
    let setting = settings.value().get(at..at + 4)?;
    Some(setting != [0; 4])
}

fn held_address(payload: &[u8]) -> Option<HeldAddress> {
    let header = AddressHeader::parse(payload).ok()?;
    if header.family != AddressFamily::Inet {
        return None;
    }
    let mut local = None;
    let mut address = None;
    let mut protocol = 0;
    for attribute in NlasIterator::new(payload.get(ADDRESS_HEADER..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            IFA_LOCAL => local = <[u8; 4]>::try_from(value).ok(),
            IFA_ADDRESS => address = <[u8; 4]>::try_from(value).ok(),
            IFA_PROTO => protocol = value.first().copied().unwrap_or_default(),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end.
    let held = local.or(address)?;
    Some(HeldAddress {
        index: header.index,
        address: Ipv4Addr::from(held),
        prefix: header.prefix_len,
        peer: address.filter(|address| *address != held).map(Ipv4Addr::from),
        scope: u8::from(header.scope),
        secondary: header.flags.bits() & IFA_F_SECONDARY != 0,
        permanent: header.flags.bits() & IFA_F_PERMANENT != 0,
        protocol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(message: &AddressMessage) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    #[test]
    fn an_address_message_is_read_back() {
        let mut message = address_message(7, Ipv4Addr::new(192, 0, 2, 1), 24);
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL)));
        assert_eq!(
            change(RTM_DELADDR, &bytes(&message)),
            Some(Change::AddressGone(HeldAddress {
                index: 7,
                address: Ipv4Addr::new(192, 0, 2, 1),
                prefix: 24,
                peer: None,
                scope: 0,
                secondary: false,
                permanent: false,
                protocol: OUR_PROTOCOL,
            }))
        );
    }

    #[test]
    fn on_a_point_to_point_link_the_local_end_counts() {
        let mut message = address_message(7, Ipv4Addr::new(192, 0, 2, 1), 32);
        message.attributes[1] = AddressAttribute::Address(Ipv4Addr::new(192, 0, 2, 2).into());
        let held = held_address(&bytes(&message)).unwrap();
        assert_eq!(held.address, Ipv4Addr::new(192, 0, 2, 1));
    }

    #[test]
    fn a_port_leaving_its_bridge_is_no_link_that_is_gone() {
        let mut message = LinkMessage::default();
        message.header.index = 3;
        message.attributes.push(netlink_packet_route::link::LinkAttribute::IfName("eth0".into()));
        let emit = |message: &LinkMessage| {
            let mut bytes = vec![0; message.buffer_len()];
            message.emit(&mut bytes);
            bytes
        };
        assert_eq!(change(RTM_DELLINK, &emit(&message)), Some(Change::LinkGone { index: 3 }));
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(change(RTM_DELLINK, &emit(&message)), None);
    }

    #[test]
    fn cut_messages_and_datagrams_never_panic() {
        let message = bytes(&address_message(7, Ipv4Addr::new(192, 0, 2, 1), 24));
        for length in 0..message.len() {
            let _ = change(RTM_NEWADDR, &message[..length]);
            let _ = change(RTM_NEWLINK, &message[..length]);
        }
        let mut datagram = vec![0; NETLINK_HEADER];
        datagram[0] = 200;
        assert_eq!(messages(&datagram).count(), 0, "a length beyond the datagram");
        datagram[0] = 0;
        assert_eq!(messages(&datagram).count(), 0, "a length that would never end");
        datagram[0] = 16;
        assert_eq!(messages(&datagram).count(), 1);
    }
}
