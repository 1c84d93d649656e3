//! Sends packets from the intruder's port that no proper router sends, with any source address.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use anyhow::Context;
use nix::sys::socket::{LinkAddr, MsgFlags, SockaddrLike, sendto};
use socket2::{Domain, Protocol, Socket, Type};

use crate::frame::{Packet, arp};
use crate::site::{INTERFACE, Node, Site};

/// A packet socket on the intruder's interface.
#[derive(Debug)]
pub struct Injector {
    socket: Socket,
    group: LinkAddr,
    broadcast: LinkAddr,
}

impl Injector {
    /// Opens the socket.
    ///
    /// # Errors
    /// If the socket cannot be opened.
    pub fn new(site: &Site) -> anyhow::Result<Self> {
        let opened = site.host(Node::Intruder).in_network(|| -> anyhow::Result<_> {
            let index = nix::net::if_::if_nametoindex(INTERFACE)?;
            Ok((Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?, index))
        })?;
        let (socket, index) = opened.join().expect("the thread does not panic")?;
        let group = link(index, libc::ETH_P_IP, [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12])?;
        Ok(Self { socket, group, broadcast: link(index, libc::ETH_P_ARP, [0xff; 6])? })
    }

    /// Sends a packet to the Ethernet address of the VRRP group, whatever its IP destination.
    ///
    /// # Errors
    /// If the kernel rejects it.
    pub fn send(&self, packet: &Packet) -> anyhow::Result<()> {
        self.send_raw(&packet.bytes())
    }

    /// Broadcasts a gratuitous ARP: the machine with this MAC address has the address.
    ///
    /// # Errors
    /// If the kernel rejects it.
    pub fn announce(&self, mac: [u8; 6], address: Ipv4Addr) -> anyhow::Result<()> {
        sendto(self.socket.as_raw_fd(), &arp(mac, address), &self.broadcast, MsgFlags::empty())?;
        Ok(())
    }

    /// Sends bytes to the Ethernet address of the VRRP group; they need not be an IP packet.
    ///
    /// # Errors
    /// If the kernel rejects it.
    pub fn send_raw(&self, bytes: &[u8]) -> anyhow::Result<()> {
        sendto(self.socket.as_raw_fd(), bytes, &self.group, MsgFlags::empty())?;
        Ok(())
    }
}

/// A destination: a MAC address at an interface, for frames of an EtherType.
fn link(index: u32, ethertype: i32, mac: [u8; 6]) -> anyhow::Result<LinkAddr> {
    let mut hardware = [0; 8];
    hardware[..6].copy_from_slice(&mac);
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (ethertype as u16).to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: hardware,
    };
    let length = u32::try_from(size_of::<libc::sockaddr_ll>())?;
    // SAFETY: the pointer is to a whole `sockaddr_ll` of that length.
    unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }.context("a link-layer address")
}
