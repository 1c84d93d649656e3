//! The packet socket that announces addresses and asks for them, for all interfaces: by ARP for IPv4, by neighbour
//! discovery for IPv6.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, sendto};
use socket2::{Domain, Socket, Type};
use vouchd_wire::{arp, ndp};

use crate::sockets::packet::link_address;

/// A packet socket that only sends.
#[derive(Debug)]
pub(crate) struct NeighbourSocket(Socket);

impl NeighbourSocket {
    /// Opens the socket.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_RAW.
    pub(crate) fn open() -> io::Result<Self> {
        // Without a protocol, so that it never receives.
        Ok(Self(Socket::new(Domain::PACKET, Type::RAW.cloexec().nonblocking(), None)?))
    }

    /// Announces `address` once, out of the interface with this index and MAC address: by a gratuitous ARP request, or by
    /// an unsolicited neighbour advertisement.
    pub(crate) fn announce(&self, index: u32, mac: [u8; 6], address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => self.send(index, libc::ETH_P_ARP, &arp::gratuitous(mac, address)),
            IpAddr::V6(address) => self.send(index, libc::ETH_P_IPV6, &ndp::unsolicited(mac, address)),
        }
    }

    /// Sends one ARP request or neighbour solicitation for `address`, of the same family as `sender`.
    pub(crate) fn ask(&self, index: u32, mac: [u8; 6], sender: IpAddr, address: IpAddr) -> io::Result<()> {
        match (sender, address) {
            (IpAddr::V4(sender), IpAddr::V4(address)) => {
                self.send(index, libc::ETH_P_ARP, &arp::request(mac, sender, address))
            }
            (IpAddr::V6(sender), IpAddr::V6(address)) => {
                self.send(index, libc::ETH_P_IPV6, &ndp::solicitation(mac, sender, address))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Err(Errno::EAFNOSUPPORT.into()),
        }
    }

    fn send(&self, index: u32, ethertype: i32, frame: &[u8]) -> io::Result<()> {
        let index = NonZeroU32::new(index).ok_or(Errno::ENODEV)?;
        let mac = frame.first_chunk().copied();
        sendto(self.0.as_raw_fd(), frame, &link_address(index, ethertype, mac)?, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}
