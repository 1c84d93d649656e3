//! What is special about the sockets for advertisements over IPv4 (RFC 9568 section 5.1.1).

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use socket2::{InterfaceIndexOrAddress, SockFilter, Socket};
use vouchd_wire::{IP_PROTOCOL, TTL, ipv4};

use super::{Groups, Message, Received, TRAFFIC_CLASS, receive_message};
use crate::sockets::filter;
use crate::sockets::packet::{Sender, set_option};

/// Sets the options of a raw socket that is bound to the interface with this index.
pub(super) fn configure(ip: &Socket, index: NonZeroU32, groups: &Groups) -> io::Result<()> {
    ip.set_tos_v4(TRAFFIC_CLASS)?;
    ip.set_ttl_v4(u32::from(TTL))?;
    ip.set_multicast_ttl_v4(u32::from(TTL))?;
    ip.set_multicast_loop_v4(false)?;
    ip.set_multicast_all_v4(false)?;
    // Leaves the don't-fragment flag clear, as other routers do: an advertisement larger than the MTU arrives.
    set_option(ip, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
    set_option(ip, libc::IPPROTO_IP, libc::IP_RECVFRAGSIZE, 1)?;
    groups.0.iter().try_for_each(|group| match group {
        IpAddr::V4(group) => ip.join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(index.get())),
        IpAddr::V6(_) => Ok(()),
    })
}

pub(super) fn send(
    ip: &Socket,
    index: NonZeroU32,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    payload: &[u8],
) -> nix::Result<usize> {
    let information = libc::in_pktinfo {
        ipi_ifindex: i32::try_from(index.get()).map_err(|_| Errno::ENODEV)?,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    sendmsg(
        ip.as_raw_fd(),
        &[IoSlice::new(payload)],
        &[ControlMessage::Ipv4PacketInfo(&information)],
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        Some(&SockaddrIn::from(SocketAddrV4::new(destination, 0))),
    )
}

/// Receives the next packet of the raw socket. `Some(None)` if it came whole, so that the packet socket has received it;
/// `None` if the queue is empty.
pub(super) fn receive_reassembled(ip: &Socket, buffer: &mut [u8]) -> io::Result<Option<Option<Received>>> {
    let mut control = nix::cmsg_space!(libc::c_int);
    let Some(Message { length, control, .. }) = receive_message::<()>(ip, buffer, &mut control)? else {
        return Ok(None);
    };
    // IP_RECVFRAGSIZE reports the size of the largest fragment, and nothing for a whole packet.
    let packet = buffer.get(..length).filter(|_| !control.is_empty());
    Ok(Some(packet.and_then(|packet| parse(packet, Sender::Unknown))))
}

pub(super) fn parse(packet: &[u8], sender: Sender) -> Option<Received> {
    let (header, payload) = ipv4::Header::parse(packet).ok()?;
    Some(Received {
        source: header.source.into(),
        destination: header.destination.into(),
        ttl: header.ttl,
        sender,
        payload: header.length..header.length + payload.len(),
    })
}

/// Accepts IPv4 packets of protocol 112 that are not fragments. The parser checks the rest of the header.
pub(super) fn whole_vrrp_packets(index: NonZeroU32) -> Vec<SockFilter> {
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
