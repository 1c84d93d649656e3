//! The sockets that carry advertisements on one interface (RFC 9568 section 5.1). IPv4.
//!
//! There are two. A raw IP socket sends, and holds the membership in the multicast group. A packet socket receives: the IP
//! layer drops packets whose source is an address of this host, so an active router would never hear the owner of its
//! addresses, nor a machine with the same address. Only an advertisement in fragments is received from the raw socket,
//! because the IP layer reassembles it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddrV4};
use std::num::NonZeroU32;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, recvmsg, sendmsg};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};
use vouchd_wire::{GROUP_V4, IP_PROTOCOL, TTL, ipv4};

use crate::sockets::filter;
use crate::sockets::packet::{LinkSocket, Sender, enlarge_buffer, set_option};

/// A receive buffer of this size holds every IPv4 packet.
pub const MAX_PACKET: usize = 65_535;

/// DSCP CS6, network control.
const TOS: u32 = 0xc0;

/// The matching queueing priority (TC_PRIO_INTERACTIVE); a higher one requires a capability.
const PRIORITY: u32 = 6;

/// Packets to ignore that one call skips at most; the caller has timers to serve.
const SKIP: usize = 256;

/// Whether a socket receives from the VRRP multicast group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    /// It receives multicast and unicast advertisements.
    Vrrp,
    /// It receives unicast advertisements only.
    None,
}

/// The sockets of one interface for VRRP packets.
///
/// They are bound to the interface's index. When the interface is deleted and created again, they receive nothing: drop
/// them and open new ones. When it goes down and up, they work on.
#[derive(Debug)]
pub struct VrrpSocket {
    ip: Socket,
    link: LinkSocket,
    index: NonZeroU32,
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
    /// `ENODEV` if there is no such interface, `EPERM` without CAP_NET_RAW.
    pub fn open(interface: &str, groups: Groups) -> io::Result<Self> {
        let index = NonZeroU32::new(if_nametoindex(interface)?).ok_or(Errno::ENODEV)?;
        let link = LinkSocket::open(index, libc::ETH_P_IP, &whole_vrrp_packets(index))?;
        let ip =
            Socket::new(Domain::IPV4, Type::RAW.cloexec().nonblocking(), Some(Protocol::from(i32::from(IP_PROTOCOL))))?;
        // Before anything else, so that no packet of another interface is queued.
        ip.bind_device(Some(interface.as_bytes()))?;
        enlarge_buffer(&ip)?;
        ip.set_tos_v4(TOS)?;
        ip.set_priority(PRIORITY)?;
        ip.set_ttl_v4(u32::from(TTL))?;
        ip.set_multicast_ttl_v4(u32::from(TTL))?;
        ip.set_multicast_loop_v4(false)?;
        ip.set_multicast_all_v4(false)?;
        // Leaves the don't-fragment flag clear, as other routers do: an advertisement larger than the MTU arrives.
        set_option(&ip, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
        set_option(&ip, libc::IPPROTO_IP, libc::IP_RECVFRAGSIZE, 1)?;
        match groups {
            Groups::Vrrp => ip.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index.get()))?,
            Groups::None => {}
        }
        Ok(Self { ip, link, index, groups })
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
    /// gone, `EAGAIN` if the send buffer is full.
    pub fn send(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let information = libc::in_pktinfo {
            ipi_ifindex: i32::try_from(self.index.get()).map_err(|_| Errno::ENODEV)?,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let sent = sendmsg(
            self.ip.as_raw_fd(),
            &[IoSlice::new(payload)],
            &[ControlMessage::Ipv4PacketInfo(&information)],
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            Some(&SockaddrIn::from(SocketAddrV4::new(destination, 0))),
        )?;
        debug_assert_eq!(sent, payload.len(), "a raw socket sends a packet whole or not at all");
        Ok(())
    }

    /// Receives the next packet; `None` if the queues are empty. Never blocks. Pass a `buffer` of [`MAX_PACKET`] bytes: a
    /// packet that does not fit is skipped.
    ///
    /// # Errors
    /// What the kernel reports about the interface; the sockets stay usable.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        for _ in 0..SKIP {
            let Some((length, sender)) = self.link.receive(buffer)? else { break };
            if let Some(received) = self.parse(buffer, length, sender) {
                return Ok(Some(received));
            }
        }
        for _ in 0..SKIP {
            match self.receive_reassembled(buffer)? {
                Some(Some(length)) => {
                    if let Some(received) = self.parse(buffer, length, Sender::Unknown) {
                        return Ok(Some(received));
                    }
                }
                Some(None) => {}
                None => break,
            }
        }
        Ok(None)
    }

    /// Receives the next packet of the raw socket and returns its length if it came in fragments. `Some(None)` if it came
    /// whole, so that the packet socket has received it; `None` if the queue is empty.
    fn receive_reassembled(&self, buffer: &mut [u8]) -> io::Result<Option<Option<usize>>> {
        let mut control = nix::cmsg_space!(libc::c_int);
        let mut slices = [IoSliceMut::new(buffer)];
        loop {
            match recvmsg::<()>(self.ip.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT) {
                // IP_RECVFRAGSIZE reports the size of the largest fragment, and nothing for a whole packet.
                Ok(message) => return Ok(Some(message.cmsgs()?.next().map(|_| message.bytes))),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns `None` for a packet that the IP layer would not deliver to a socket with these groups.
    fn parse(&self, buffer: &[u8], length: usize, sender: Sender) -> Option<Received> {
        let packet = buffer.get(..length)?;
        let (header, payload) = ipv4::Header::parse(packet).ok()?;
        let is_for_us = match self.groups {
            Groups::Vrrp => !header.destination.is_multicast() || header.destination == GROUP_V4,
            Groups::None => !header.destination.is_multicast(),
        };
        // RFC 1122 section 3.2.1.3: such an address is never on a wire.
        let is_martian = header.source.is_loopback() && sender != Sender::Loopback;
        (is_for_us && !is_martian).then(|| Received {
            source: header.source.into(),
            destination: header.destination.into(),
            ttl: header.ttl,
            sender,
            payload: header.length..header.length + payload.len(),
        })
    }
}

/// Accepts IPv4 packets of protocol 112 that are not fragments. The parser checks the rest of the header.
fn whole_vrrp_packets(index: NonZeroU32) -> Vec<SockFilter> {
    /// Offsets in the IPv4 header.
    const FRAGMENT: u32 = 6;
    const PROTOCOL: u32 = 9;
    const MORE_FRAGMENTS_OR_OFFSET: u32 = 0x3fff;
    let mut program = Vec::from(filter::arrived_on(index));
    program.extend([
        filter::load_byte(PROTOCOL),
        filter::if_equal(u32::from(IP_PROTOCOL), 0, 2),
        filter::load_half(FRAGMENT),
        filter::if_any_bit(MORE_FRAGMENTS_OR_OFFSET, 0, 1),
        filter::DROP,
        filter::ACCEPT,
    ]);
    program
}
