//! The socket that receives the kernel's notifications about routes and rules.
//!
//! Not the one for addresses: a router with a full table of the internet has more of these than of anything else, and they
//! must not delay or displace the others. Only what concerns routes and rules with our mark counts, and only that
//! something happened: the kernel removes IPv4 routes with their interface without a notification, so the caller reads
//! its own routes again anyway.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NLM_F_REPLACE, NlasIterator, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteHeader;
use netlink_packet_route::rule::RuleAttribute;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;

use super::{DATAGRAM, OUR_PROTOCOL, decode};

/// Room for notifications that are not read yet.
const BUFFER: usize = 4 << 20;

const NETLINK_HEADER: usize = 16;
const RULE_HEADER: usize = 12;
const ROUTE_HEADER: usize = 12;
/// The flags in the netlink header.
const FLAGS: std::ops::Range<usize> = 6..8;

/// A non-blocking socket for notifications, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct RoutingNews {
    socket: Socket,
    buffer: Vec<u8>,
}

impl RoutingNews {
    /// Opens the socket and joins the groups.
    ///
    /// # Errors
    /// Out of descriptors.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // Exceeding the system's limit takes CAP_NET_ADMIN.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            SockRef::from(&socket).set_recv_buffer_size(BUFFER)?;
        }
        for group in [
            libc::RTNLGRP_IPV4_ROUTE,
            libc::RTNLGRP_IPV6_ROUTE,
            libc::RTNLGRP_IPV4_RULE,
            // libc has no RTNLGRP_IPV6_RULE of linux/rtnetlink.h.
            19,
        ] {
            socket.add_membership(group)?;
        }
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Takes everything that is queued. Returns whether somebody other than `port` changed a route or rule with our mark,
    /// or may have done so because notifications were lost. Who replaces a route of ours with another one causes no
    /// notification about ours, so a replacement counts too if its destination is `wanted`: a prefix of that length. Never
    /// blocks.
    pub(crate) fn take(&mut self, port: u32, wanted: impl Fn(IpAddr, u8) -> bool) -> bool {
        let mut changed = false;
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, libc::MSG_DONTWAIT) {
                // Any process may send to a netlink socket; the kernel's port is 0.
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok(_) => {
                    changed |= decode::messages(&self.buffer).any(|message| {
                        message.port != port
                            && (is_ours(&message) || replaced(&message).is_some_and(|(ip, length)| wanted(ip, length)))
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return changed,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                // The socket is broken: the next round tries again.
                Err(_) => return true,
            }
        }
    }
}

fn is_ours(message: &decode::Message<'_>) -> bool {
    let Some(payload) = message.bytes.get(NETLINK_HEADER..) else { return false };
    match message.kind {
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
            RouteHeader::parse(payload).is_ok_and(|header| u8::from(header.protocol) == OUR_PROTOCOL)
        }
        libc::RTM_NEWRULE | libc::RTM_DELRULE => {
            let attributes = NlasIterator::new(payload.get(RULE_HEADER..).unwrap_or_default()).map_while(Result::ok);
            attributes
                .filter_map(|attribute| RuleAttribute::parse(&attribute).ok())
                .any(|attribute| matches!(attribute, RuleAttribute::Protocol(found) if u8::from(found) == OUR_PROTOCOL))
        }
        kind => i32::from(kind) == libc::NLMSG_OVERRUN,
    }
}

/// The destination of a route that took the place of another one.
fn replaced(message: &decode::Message<'_>) -> Option<(IpAddr, u8)> {
    let flags = u16::from_ne_bytes(message.bytes.get(FLAGS)?.try_into().ok()?);
    if message.kind != libc::RTM_NEWROUTE || flags & NLM_F_REPLACE == 0 {
        return None;
    }
    let payload = message.bytes.get(NETLINK_HEADER..)?;
    let header = RouteHeader::parse(payload).ok()?;
    let mut attributes = NlasIterator::new(payload.get(ROUTE_HEADER..)?).map_while(Result::ok);
    let destination = attributes.find(|attribute| attribute.kind() == libc::RTA_DST);
    let destination = destination.as_ref().map(|attribute| attribute.value());
    let ip = match (header.address_family, destination) {
        (AddressFamily::Inet, None) => Ipv4Addr::UNSPECIFIED.into(),
        (AddressFamily::Inet, Some(bytes)) => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        (AddressFamily::Inet6, None) => Ipv6Addr::UNSPECIFIED.into(),
        (AddressFamily::Inet6, Some(bytes)) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some((ip, header.destination_prefix_length))
}

impl AsFd for RoutingNews {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};
    use netlink_packet_route::rule::RuleMessage;

    use super::*;

    fn datagram(kind: u16, message: &impl Emitable) -> Vec<u8> {
        let mut bytes = vec![0; NETLINK_HEADER + message.buffer_len()];
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        message.emit(&mut bytes[NETLINK_HEADER..]);
        bytes
    }

    fn route(protocol: u8) -> Vec<u8> {
        let mut message = RouteMessage::default();
        message.header.protocol = RouteProtocol::from(protocol);
        datagram(libc::RTM_DELROUTE, &message)
    }

    fn rule(protocol: u8) -> Vec<u8> {
        let mut message = RuleMessage::default();
        message.attributes =
            vec![RuleAttribute::Iifname("eth0".to_owned()), RuleAttribute::Protocol(RouteProtocol::from(protocol))];
        datagram(libc::RTM_NEWRULE, &message)
    }

    fn replacement(destination: Ipv4Addr, length: u8, flags: u16) -> Vec<u8> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = length;
        message.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet(destination))];
        let mut bytes = datagram(libc::RTM_NEWROUTE, &message);
        bytes[FLAGS].copy_from_slice(&flags.to_ne_bytes());
        bytes
    }

    #[test]
    fn destination_of_a_replacement_is_read_and_that_of_a_new_route_is_not() {
        let destination = Ipv4Addr::new(10, 9, 0, 0);
        let read = |datagram: &[u8]| decode::messages(datagram).find_map(|message| replaced(&message));
        assert_eq!(read(&replacement(destination, 16, NLM_F_REPLACE)), Some((destination.into(), 16)));
        assert_eq!(read(&replacement(destination, 16, 0)), None);
        assert_eq!(read(&route(4)), None);
    }

    fn concerns_us(datagram: &[u8]) -> bool {
        decode::messages(datagram).any(|message| is_ours(&message))
    }

    #[test]
    fn only_routes_and_rules_with_our_mark_count() {
        assert!(concerns_us(&route(OUR_PROTOCOL)) && concerns_us(&rule(OUR_PROTOCOL)));
        assert!(!concerns_us(&route(4)) && !concerns_us(&rule(4)));
        assert!(concerns_us(&[route(4), rule(4), route(OUR_PROTOCOL)].concat()), "anywhere in a datagram");
    }

    #[test]
    fn cut_and_broken_messages_never_panic() {
        for whole in [route(OUR_PROTOCOL), rule(OUR_PROTOCOL)] {
            for length in 0..whole.len() {
                let mut cut = whole[..length].to_vec();
                concerns_us(&cut);
                // With a length that fits what is left.
                if let Some(header) = cut.get_mut(..4) {
                    header.copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
                }
                concerns_us(&cut);
            }
            for at in 0..whole.len() {
                let mut broken = whole.clone();
                broken[at] = 0xff;
                concerns_us(&broken);
            }
        }
    }
}
