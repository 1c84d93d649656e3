//! The packet socket that sends gratuitous ARP and ARP requests, for all interfaces.

use std::io;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, sendto};
use socket2::{Domain, Socket, Type};
use vouchd_wire::arp;

use crate::sockets::packet::link_address;

const BROADCAST: [u8; 6] = [0xff; 6];

/// A packet socket that only sends.
#[derive(Debug)]
pub(crate) struct ArpSocket(Socket);

impl ArpSocket {
    /// Opens the socket.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_RAW.
    pub(crate) fn open() -> io::Result<Self> {
        // Without a protocol, so that it never receives.
        Ok(Self(Socket::new(Domain::PACKET, Type::RAW.cloexec().nonblocking(), None)?))
    }

    /// Sends one gratuitous ARP request for `address` out of the interface with this index and MAC address.
    pub(crate) fn announce(&self, index: u32, mac: [u8; 6], address: Ipv4Addr) -> io::Result<()> {
        self.send(index, &arp::gratuitous(mac, address))
    }

    /// Sends one ARP request for `address`.
    pub(crate) fn ask(&self, index: u32, mac: [u8; 6], sender: Ipv4Addr, address: Ipv4Addr) -> io::Result<()> {
        self.send(index, &arp::request(mac, sender, address))
    }

    fn send(&self, index: u32, frame: &[u8]) -> io::Result<()> {
        let index = NonZeroU32::new(index).ok_or(Errno::ENODEV)?;
        let destination = link_address(index, libc::ETH_P_ARP, Some(BROADCAST))?;
        sendto(self.0.as_raw_fd(), frame, &destination, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}
