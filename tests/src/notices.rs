//! The kernel's notifications about the IPv4 addresses of a host (rtnetlink(7)), which miss no change between two looks.
//!
//! Read by hand: the daemon uses netlink-packet-route, and a test that used it too would confirm its mistakes.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::background::Background;
use crate::bytes::field;
use crate::host::Host;

const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFA_LOCAL: u16 = 2;
/// Lengths of `nlmsghdr` and `ifaddrmsg`.
const HEADER: usize = 16;
const IFADDRMSG: usize = 8;

/// An address was added (or renewed), or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) present: bool,
    /// The interface's index.
    pub(crate) index: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
}

/// Calls `each` for every notification, with the time at which it was read, until the result is dropped.
pub(crate) fn follow(
    host: &Host,
    mut each: impl FnMut(Instant, Notice) + Send + 'static,
) -> anyhow::Result<Background> {
    Background::start(host, "the address watch", move |running| {
        let socket = listen().expect("a netlink socket");
        running.ready();
        let mut buffer = [0; 32_768];
        while running.goes_on() {
            match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let at = Instant::now();
                    notices(&buffer[..length]).into_iter().for_each(|notice| each(at, notice));
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => panic!("receiving notifications about addresses: {error}"),
            }
        }
    })
}

fn listen() -> nix::Result<OwnedFd> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000))?;
    setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20))?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_IPV4_IFADDR))?;
    Ok(socket)
}

/// The notifications in a datagram of netlink messages.
fn notices(mut datagram: &[u8]) -> Vec<Notice> {
    let mut found = Vec::new();
    while let Some(length) = field(datagram, 0) {
        let length = u32::from_ne_bytes(length) as usize;
        let Some(message) = datagram.get(..length) else { break };
        found.extend(notice(message));
        datagram = datagram.get(length.next_multiple_of(4).max(HEADER)..).unwrap_or_default();
    }
    found
}

fn notice(message: &[u8]) -> Option<Notice> {
    let present = match u16::from_ne_bytes(field(message, 4)?) {
        RTM_NEWADDR => true,
        RTM_DELADDR => false,
        _ => return None,
    };
    let [_family, prefix] = field(message, HEADER)?;
    let index = u32::from_ne_bytes(field(message, HEADER + 4)?);
    let mut attributes = message.get(HEADER + IFADDRMSG..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(field(attributes, 0)?));
        if u16::from_ne_bytes(field(attributes, 2)?) == IFA_LOCAL {
            let address = Ipv4Addr::from(field::<4>(attributes, 4)?);
            return Some(Notice { present, index, address, prefix });
        }
        attributes = attributes.get(length.next_multiple_of(4).max(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RTM_NEWADDR for 192.0.2.1/24 on interface 3: header, `ifaddrmsg`, IFA_CACHEINFO cut to 5 bytes, IFA_LOCAL.
    fn message() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(40_u32.to_ne_bytes());
        bytes.extend(RTM_NEWADDR.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([2, 24, 0, 0]);
        bytes.extend(3_u32.to_ne_bytes());
        bytes.extend(5_u16.to_ne_bytes());
        bytes.extend(6_u16.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend(IFA_LOCAL.to_ne_bytes());
        bytes.extend([192, 0, 2, 1]);
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    #[test]
    fn every_message_of_a_datagram_is_read_and_a_cut_one_is_left_out() {
        let added = Notice { present: true, index: 3, address: Ipv4Addr::new(192, 0, 2, 1), prefix: 24 };
        let mut removed = message();
        removed[4..6].copy_from_slice(&RTM_DELADDR.to_ne_bytes());
        let datagram = [message(), removed].concat();
        assert_eq!(notices(&datagram), [added, Notice { present: false, ..added }]);
        for length in 0..message().len() {
            assert_eq!(notices(&message()[..length]), [], "{length}");
        }
    }
}
