//! What is special about the sockets for advertisements over IPv6 (RFC 9568 section 5.1.2).

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, sendmsg};
use socket2::{SockFilter, Socket};
use vouchd_wire::{IP_PROTOCOL, TTL, ipv6};

use super::{Groups, Message, Received, TRAFFIC_CLASS, receive_message};
use crate::sockets::filter;
use crate::sockets::packet::{Sender, set_option};

/// Room for control messages: those that are expected, and small extension headers. A packet with larger ones is ignored.
const CONTROL: usize = 1024;

/// Sets the options of a raw socket that is bound to the interface with this index.
pub(super) fn configure(ip: &Socket, index: NonZeroU32, groups: &Groups) -> io::Result<()> {
    ip.set_tclass_v6(TRAFFIC_CLASS)?;
    ip.set_unicast_hops_v6(u32::from(TTL))?;
    ip.set_multicast_hops_v6(u32::from(TTL))?;
    ip.set_multicast_loop_v6(false)?;
    ip.set_multicast_all_v6(false)?;
    // An advertisement larger than the MTU is sent in fragments of that size, whatever a router says about the path.
    set_option(ip, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
    // A raw socket delivers no header, so these report what a receiver has to know of it. The packet socket receives a
    // packet that has none of the headers of the second group.
    for option in [libc::IPV6_RECVPKTINFO, libc::IPV6_RECVHOPLIMIT] {
        set_option(ip, libc::IPPROTO_IPV6, option, 1)?;
    }
    for option in [libc::IPV6_RECVFRAGSIZE, libc::IPV6_RECVHOPOPTS, libc::IPV6_RECVDSTOPTS, libc::IPV6_RECVRTHDR] {
        set_option(ip, libc::IPPROTO_IPV6, option, 1)?;
    }
    groups.0.iter().try_for_each(|group| match group {
        IpAddr::V6(group) => ip.join_multicast_v6(group, index.get()),
        IpAddr::V4(_) => Ok(()),
    })
}

pub(super) fn send(
    ip: &Socket,
    index: NonZeroU32,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    payload: &[u8],
) -> nix::Result<usize> {
    let information =
        libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: index.get() };
    sendmsg(
        ip.as_raw_fd(),
        &[IoSlice::new(payload)],
        &[ControlMessage::Ipv6PacketInfo(&information)],
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        Some(&SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, index.get()))),
    )
}

/// Receives the next packet of the raw socket. `Some(None)` if it came whole and without extension headers, so that the
/// packet socket has received it; `None` if the queue is empty.
pub(super) fn receive_reassembled(ip: &Socket, buffer: &mut [u8]) -> io::Result<Option<Option<Received>>> {
    let mut control = [0; CONTROL];
    let Some(Message { length, from, control }) = receive_message::<SockaddrIn6>(ip, buffer, &mut control)? else {
        return Ok(None);
    };
    let (mut destination, mut hop_limit, mut has_more_headers) = (None, None, false);
    for message in control {
        match message {
            ControlMessageOwned::Ipv6PacketInfo(found) => {
                destination = Some(Ipv6Addr::from(found.ipi6_addr.s6_addr));
            }
            ControlMessageOwned::Ipv6HopLimit(found) => hop_limit = u8::try_from(found).ok(),
            // The size of the largest fragment, or an extension header.
            _ => has_more_headers = true,
        }
    }
    let received = (from, destination, hop_limit);
    let (Some(from), Some(destination), Some(ttl), true) = (received.0, received.1, received.2, has_more_headers)
    else {
        return Ok(Some(None));
    };
    let (source, destination) = (from.ip().into(), destination.into());
    Ok(Some(Some(Received { source, destination, ttl, sender: Sender::Unknown, payload: 0..length })))
}

pub(super) fn parse(packet: &[u8], sender: Sender) -> Option<Received> {
    let (header, payload) = ipv6::Header::parse(packet).ok()?;
    Some(Received {
        source: header.source.into(),
        destination: header.destination.into(),
        ttl: header.hop_limit,
        sender,
        payload: ipv6::HEADER_LEN..ipv6::HEADER_LEN + payload.len(),
    })
}

/// Accepts IPv6 packets whose header is followed by protocol 112. The parser checks the rest of the header.
pub(super) fn whole_vrrp_packets(index: NonZeroU32) -> Vec<SockFilter> {
    /// Offset in the IPv6 header.
    const NEXT_HEADER: u32 = 6;
    let mut program = Vec::from(filter::arrived_on(index));
    program.extend([
        filter::load_byte(NEXT_HEADER),
        filter::if_equal(u32::from(IP_PROTOCOL), 1, 0),
        filter::DROP,
        filter::ACCEPT,
    ]);
    program
}
