//! The sockets that carry advertisements of one family on one interface (RFC 9568 section 5.1).
//!
//! There are two. A raw IP socket sends, and holds the membership in the multicast group. A packet socket receives: the IP
//! layer drops packets whose source is an address of this host, so an active router would never hear the owner of its
//! addresses, nor a machine with the same address. Only what the packet socket can't read is received from the raw socket:
//! an advertisement in fragments, which the IP layer reassembles, and one behind IPv6 extension headers.

mod ipv4;
mod ipv6;

use std::collections::BTreeSet;
use std::io::{self, IoSliceMut};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrLike, recvmsg, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use vouchd_wire::{Family, IP_PROTOCOL, frame};

use crate::sockets::packet::{LinkSocket, Sender, enlarge_buffer, link_address};

/// A receive buffer of this size holds every IP packet, except jumbograms.
pub const MAX_PACKET: usize = 65_575;

/// DSCP CS6, network control.
const TRAFFIC_CLASS: u32 = 0xc0;

/// The matching queueing priority (TC_PRIO_INTERACTIVE); a higher one requires a capability.
const PRIORITY: u32 = 6;

/// Packets to ignore that one call skips at most; the caller has timers to serve.
const SKIP: usize = 256;

/// The multicast groups that a socket receives from, besides unicast advertisements. It joins those of its family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups(BTreeSet<IpAddr>);

impl Groups {
    /// The VRRP groups of both families.
    pub fn vrrp() -> Self {
        [IpAddr::V4(vouchd_wire::GROUP_V4), IpAddr::V6(vouchd_wire::GROUP_V6)].into_iter().collect()
    }

    /// No group: only unicast advertisements.
    pub fn none() -> Self {
        Self::default()
    }
}

impl FromIterator<IpAddr> for Groups {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(groups: I) -> Self {
        Groups(groups.into_iter().collect())
    }
}

impl Extend<IpAddr> for Groups {
    fn extend<I: IntoIterator<Item = IpAddr>>(&mut self, groups: I) {
        self.0.extend(groups);
    }
}

/// The sockets of one interface for VRRP packets of one family.
///
/// They are bound to the interface's index. When the interface is deleted and created again, they receive nothing: drop
/// them and open new ones. When it goes down and up, they work on. The membership in an IPv6 group ends when the kernel
/// ends IPv6 on the interface, and all its IPv6 addresses with it.
#[derive(Debug)]
pub struct VrrpSocket {
    ip: Socket,
    /// Sends whole frames.
    frames: Socket,
    link: LinkSocket,
    index: NonZeroU32,
    family: Family,
    groups: Groups,
}

/// A received packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The sender's address.
    pub source: IpAddr,
    /// The destination address. A unicast address need not be one of this host.
    pub destination: IpAddr,
    /// The time to live or hop limit; 255 if the packet comes from this link.
    pub ttl: u8,
    /// The sender as the link layer reports it.
    pub sender: Sender,
    /// The range of the VRRP packet in the buffer, without link-layer padding.
    pub payload: Range<usize>,
}

impl VrrpSocket {
    /// Opens the sockets on `interface`.
    ///
    /// # Errors
    /// `ENODEV` if there is no such interface, `EPERM` without CAP_NET_RAW, `EAFNOSUPPORT` if the kernel has no IPv6,
    /// `ENOBUFS` with more IPv4 groups than the sysctl `net.ipv4.igmp_max_memberships` allows.
    pub fn open(interface: &str, family: Family, groups: Groups) -> io::Result<Self> {
        let index = NonZeroU32::new(if_nametoindex(interface)?).ok_or(Errno::ENODEV)?;
        let (domain, ethertype, filter) = match family {
            Family::V4 => (Domain::IPV4, libc::ETH_P_IP, ipv4::whole_vrrp_packets(index)),
            Family::V6 => (Domain::IPV6, libc::ETH_P_IPV6, ipv6::whole_vrrp_packets(index)),
        };
        let link = LinkSocket::open(index, ethertype, &filter)?;
        let protocol = Protocol::from(i32::from(IP_PROTOCOL));
        let ip = Socket::new(domain, Type::RAW.cloexec().nonblocking(), Some(protocol))?;
        // Before anything else, so that no packet of another interface is queued.
        ip.bind_device(Some(interface.as_bytes()))?;
        enlarge_buffer(&ip)?;
        ip.set_priority(PRIORITY)?;
        match family {
            Family::V4 => ipv4::configure(&ip, index, &groups)?,
            Family::V6 => ipv6::configure(&ip, index, &groups)?,
        }
        // Without a protocol, so that it never receives.
        let frames = Socket::new(Domain::PACKET, Type::RAW.cloexec().nonblocking(), None)?;
        frames.set_priority(PRIORITY)?;
        Ok(Self { ip, frames, link, index, family, groups })
    }

    /// The index of the interface that the sockets are bound to.
    pub fn index(&self) -> NonZeroU32 {
        self.index
    }

    /// The descriptors to poll: readable when [`VrrpSocket::receive`] has something to do.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.link.as_fd(), self.ip.as_fd()]
    }

    /// Sends a VRRP packet from `source`, which must be an address of this host. Never blocks.
    ///
    /// # Errors
    /// `EINVAL` if `source` is not an address of this host (any more), `ENETDOWN` or `ENODEV` if the interface is down or
    /// gone, `EAGAIN` if the send buffer is full, `EAFNOSUPPORT` if an address is of the other family.
    pub fn send(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()> {
        let sent = match (self.family, source, destination) {
            (Family::V4, IpAddr::V4(source), IpAddr::V4(destination)) => {
                ipv4::send(&self.ip, self.index, source, destination, payload)
            }
            (Family::V6, IpAddr::V6(source), IpAddr::V6(destination)) => {
                ipv6::send(&self.ip, self.index, source, destination, payload)
            }
            (Family::V4 | Family::V6, _, _) => Err(Errno::EAFNOSUPPORT),
        };
        debug_assert!(sent.is_err() || sent == Ok(payload.len()), "a raw socket sends a packet whole or not at all");
        Ok(sent.map(drop)?)
    }

    /// As [`VrrpSocket::send`] to a multicast group, with this MAC address as the source of the frame. A packet that does not
    /// fit into one frame comes from the interface's own MAC address: only the IP layer makes fragments.
    ///
    /// # Errors
    /// As [`VrrpSocket::send`].
    pub fn send_from(&self, mac: [u8; 6], source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()> {
        let Some(frame) = frame::multicast(mac, source, destination, payload) else {
            return self.send(source, destination, payload);
        };
        let mut to = [0; 6];
        to.copy_from_slice(&frame[..6]);
        let ethertype = match self.family {
            Family::V4 => libc::ETH_P_IP,
            Family::V6 => libc::ETH_P_IPV6,
        };
        let address = link_address(self.index, ethertype, Some(to))?;
        match sendto(self.frames.as_raw_fd(), &frame, &address, MsgFlags::MSG_DONTWAIT) {
            Ok(_) => Ok(()),
            Err(Errno::EMSGSIZE) => self.send(source, destination, payload),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives the next packet; `None` if the queues are empty. Never blocks. Pass a `buffer` of [`MAX_PACKET`] bytes: a
    /// packet that does not fit is skipped.
    ///
    /// # Errors
    /// What the kernel reports about the interface; the sockets stay usable.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        for _ in 0..SKIP {
            let Some((length, sender)) = self.link.receive(buffer)? else { break };
            let packet = buffer.get(..length).unwrap_or_default();
            let received = match self.family {
                Family::V4 => ipv4::parse(packet, sender),
                Family::V6 => ipv6::parse(packet, sender),
            };
            if let Some(received) = received.filter(|received| self.is_for_us(received)) {
                return Ok(Some(received));
            }
        }
        for _ in 0..SKIP {
            let received = match self.family {
                Family::V4 => ipv4::receive_reassembled(&self.ip, buffer),
                Family::V6 => ipv6::receive_reassembled(&self.ip, buffer),
            };
            match received? {
                Some(received) => {
                    if let Some(received) = received.filter(|received| self.is_for_us(received)) {
                        return Ok(Some(received));
                    }
                }
                None => break,
            }
        }
        Ok(None)
    }

    /// Whether the IP layer would deliver a packet to a socket with these groups.
    fn is_for_us(&self, received: &Received) -> bool {
        let Received { source, destination, sender, .. } = received;
        let is_group = self.groups.0.contains(destination);
        // RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3: such an address is never on a wire.
        let is_martian = source.is_loopback() && *sender != Sender::Loopback;
        (is_group || !destination.is_multicast()) && !is_martian
    }
}

/// What a raw socket delivers: the length of the data, the sender's address, and control messages.
struct Message<A> {
    length: usize,
    from: Option<A>,
    control: Vec<ControlMessageOwned>,
}

/// Receives the next packet of a raw socket; `None` if the queue is empty. A packet that does not fit has length 0.
fn receive_message<A: SockaddrLike>(
    socket: &Socket,
    buffer: &mut [u8],
    control: &mut [u8],
) -> io::Result<Option<Message<A>>> {
    let mut slices = [IoSliceMut::new(buffer)];
    loop {
        match recvmsg::<A>(socket.as_raw_fd(), &mut slices, Some(control), MsgFlags::MSG_DONTWAIT) {
            Ok(message) => {
                let length = if message.flags.contains(MsgFlags::MSG_TRUNC) { 0 } else { message.bytes };
                // An error means that they did not fit.
                let control = message.cmsgs().map(Iterator::collect).unwrap_or_default();
                return Ok(Some(Message { length, from: message.address, control }));
            }
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
