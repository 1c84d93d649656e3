//! The raw socket that carries advertisements on one interface (RFC 9568 section 5.1). IPv4.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, recv, sendmsg, setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use vouchd_wire::{GROUP_V4, IP_PROTOCOL, TTL, ipv4};

/// A receive buffer of this size holds every IPv4 packet.
pub const MAX_PACKET: usize = 65_535;

/// DSCP CS6, network control.
const TOS: u32 = 0xc0;

/// The queueing priority that goes with it (TC_PRIO_INTERACTIVE); the next one would need a capability.
const PRIORITY: u32 = 6;

/// Room for some thousand advertisements: a burst must not push out the one that decides.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Whether a socket listens to the VRRP group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    /// Multicast and unicast advertisements come in.
    Vrrp,
    /// Only what was sent to an address of this host comes in.
    None,
}

/// One interface's socket for VRRP packets.
///
/// It is bound to the interface as it is now: when the interface is deleted and created again, the socket stays deaf,
/// so drop it and open a new one. An interface that merely goes down and up keeps its socket.
#[derive(Debug)]
pub struct VrrpSocket {
    socket: Socket,
    index: u32,
}

/// A packet that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// To which address.
    pub destination: Ipv4Addr,
    /// Time to live, 255 if it comes from this link.
    pub ttl: u8,
    /// Where in the buffer the VRRP packet is; without link-layer padding.
    pub payload: Range<usize>,
}

impl VrrpSocket {
    /// Opens the socket on `interface`.
    ///
    /// # Errors
    /// `ENODEV` when there is no such interface, `EPERM` without CAP_NET_RAW.
    pub fn open(interface: &str, groups: Groups) -> io::Result<Self> {
        let index = if_nametoindex(interface)?;
        let socket =
            Socket::new(Domain::IPV4, Type::RAW.cloexec().nonblocking(), Some(Protocol::from(i32::from(IP_PROTOCOL))))?;
        // By name and before anything else, so that no packet of another interface gets into the queue.
        socket.bind_device(Some(interface.as_bytes()))?;
        // Beyond the system's limit where we may, up to it where not.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        socket.set_tos_v4(TOS)?;
        socket.set_priority(PRIORITY)?;
        socket.set_ttl_v4(u32::from(TTL))?;
        socket.set_multicast_ttl_v4(u32::from(TTL))?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_all_v4(false)?;
        no_path_mtu_discovery(&socket)?;
        match groups {
            Groups::Vrrp => socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?,
            Groups::None => {}
        }
        Ok(Self { socket, index })
    }

    /// The index of the interface that the socket is bound to.
    pub fn index(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.index)
    }

    /// Sends a VRRP packet from `source`, which must be an address of this host. Never blocks.
    ///
    /// # Errors
    /// `EINVAL` when `source` is not (any more) an address of this host, `ENETDOWN` or `ENODEV` when the interface is
    /// down or gone, `EAGAIN` when the send buffer is full.
    pub fn send(&self, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        let information = libc::in_pktinfo {
            ipi_ifindex: i32::try_from(self.index).map_err(|_| Errno::ENODEV)?,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let sent = sendmsg(
            self.socket.as_raw_fd(),
            &[IoSlice::new(payload)],
            &[ControlMessage::Ipv4PacketInfo(&information)],
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            Some(&SockaddrIn::from(SocketAddrV4::new(destination, 0))),
        )?;
        debug_assert_eq!(sent, payload.len(), "a raw socket sends a packet whole or not at all");
        Ok(())
    }

    /// Takes the next packet out of the queue; `None` when the queue is empty. Never blocks. Use a `buffer` of
    /// [`MAX_PACKET`] bytes; a packet that does not fit is skipped.
    ///
    /// # Errors
    /// What the kernel has to say about the interface, e.g. `ENETDOWN`; the socket stays usable.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        loop {
            let length = match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            // The kernel has checked the IP header; one that does not parse was cut off by a small buffer.
            if let Some(received) = buffer.get(..length).and_then(parse) {
                return Ok(Some(received));
            }
        }
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn parse(packet: &[u8]) -> Option<Received> {
    let (header, payload) = ipv4::Header::parse(packet).ok()?;
    // What lies between the header and the payload is nothing, so the header's own length field says where it starts.
    let start = usize::from(packet.first()? & 0x0f) * 4;
    Some(Received {
        source: header.source,
        destination: header.destination,
        ttl: header.ttl,
        payload: start..start + payload.len(),
    })
}

/// Leaves the don't-fragment flag clear, as other routers do: an advertisement larger than the MTU still arrives.
fn no_path_mtu_discovery(socket: &Socket) -> io::Result<()> {
    let value = libc::IP_PMTUDISC_DONT;
    // SAFETY: the pointer and the length describe `value`, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}
