//! Gratuitous ARP, and requests, through one packet socket for all interfaces.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use vouchd_wire::arp;

/// A packet socket that only sends.
#[derive(Debug)]
pub(crate) struct ArpSocket(OwnedFd);

impl ArpSocket {
    /// `EPERM` without CAP_NET_RAW.
    pub(crate) fn open() -> io::Result<Self> {
        // Protocol 0: nothing is ever received.
        // SAFETY: no pointer is passed.
        let descriptor =
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
        let descriptor = Errno::result(descriptor)?;
        // SAFETY: the descriptor was just opened and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Sends one gratuitous ARP request for `address` out of the interface with this index and MAC address.
    pub(crate) fn announce(&self, index: u32, mac: [u8; 6], address: Ipv4Addr) -> io::Result<()> {
        self.send(index, &arp::gratuitous(mac, address))
    }

    /// Asks by one ARP request who has `address`.
    pub(crate) fn ask(&self, index: u32, mac: [u8; 6], sender: Ipv4Addr, address: Ipv4Addr) -> io::Result<()> {
        self.send(index, &arp::request(mac, sender, address))
    }

    fn send(&self, index: u32, frame: &[u8; arp::FRAME_LEN]) -> io::Result<()> {
        let mut hardware_address = [0xff; 8];
        hardware_address[6..].fill(0);
        let destination = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as libc::c_ushort,
            sll_protocol: (libc::ETH_P_ARP as u16).to_be(),
            sll_ifindex: i32::try_from(index).map_err(|_| Errno::ENODEV)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: hardware_address,
        };
        // SAFETY: both pointers come with the lengths of what they point to, which lives through the call.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const destination).cast(),
                size_of_val(&destination) as libc::socklen_t,
            )
        };
        Errno::result(sent)?;
        Ok(())
    }
}
