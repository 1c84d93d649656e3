//! Packet sockets: frames of one type as they arrive on one interface, selected by a filter in the kernel.
//!
//! A packet socket receives what the IP layer would not deliver, above all packets from one of our own addresses, and
//! receives it before the firewall does.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, SockaddrLike, bind, recvfrom, setsockopt, sockopt};
use socket2::{Domain, SockFilter, Socket, Type};

/// Room for some thousand frames: a burst must not displace the frame that matters.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The sender of a frame, as the link layer reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The interface with this MAC address.
    Ethernet([u8; 6]),
    /// This host, through the loopback interface.
    Loopback,
    /// Unknown: the link has no MAC addresses, or the packet came in fragments.
    Unknown,
}

/// A packet socket that is bound to one interface. Frames start at their network header.
#[derive(Debug)]
pub(super) struct LinkSocket(Socket);

impl LinkSocket {
    /// Opens a socket for the frames of `ethertype` that `filter` accepts, on the interface with this index.
    ///
    /// # Errors
    /// `ENODEV` if there is no such interface, `EPERM` without CAP_NET_RAW.
    pub(super) fn open(index: NonZeroU32, ethertype: i32, filter: &[SockFilter]) -> io::Result<Self> {
        // Protocol 0, so that nothing is queued before the filter and the interface are set.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.cloexec().nonblocking(), None)?;
        socket.attach_filter(filter)?;
        ignore_outgoing(&socket)?;
        enlarge_buffer(&socket)?;
        bind(socket.as_raw_fd(), &link_address(index, ethertype, None)?)?;
        Ok(Self(socket))
    }

    /// Replaces the filter.
    pub(super) fn set_filter(&self, filter: &[SockFilter]) -> io::Result<()> {
        self.0.attach_filter(filter)
    }

    /// Receives the next frame and returns its length; `None` if the queue is empty. Never blocks. A frame that does not fit
    /// into `buffer` is cut off.
    ///
    /// # Errors
    /// When the interface is gone.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Sender)>> {
        loop {
            match recvfrom::<LinkAddr>(self.0.as_raw_fd(), buffer) {
                Ok((length, from)) => return Ok(Some((length, from.as_ref().map_or(Sender::Unknown, sender)))),
                Err(Errno::EAGAIN) => return Ok(None),
                // The interface went down; the socket receives from it again when it comes back.
                Err(Errno::EINTR | Errno::ENETDOWN) => {}
                Err(error) => {
                    // A deleted interface leaves an error that receiving does not clear. `poll` would return at once until
                    // the socket is closed.
                    let _ = self.0.take_error();
                    return Err(error.into());
                }
            }
        }
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Enlarges the receive buffer: beyond the system's limit if permitted, else up to it.
pub(super) fn enlarge_buffer(socket: &Socket) -> io::Result<()> {
    match setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(RECEIVE_BUFFER),
    }
}

/// Sets an option whose value is an `int`.
pub(super) fn set_option(socket: &Socket, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

/// Spares the copy of every frame that this host sends. Linux before 4.20 lacks the option; filters drop such frames, too.
fn ignore_outgoing(socket: &Socket) -> io::Result<()> {
    match set_option(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1) {
        Err(error) if error.raw_os_error() != Some(libc::ENOPROTOOPT) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The address of an interface and, to send to, of a station on it.
///
/// `nix` can build such an address from the raw structure only.
pub(super) fn link_address(index: NonZeroU32, ethertype: i32, mac: Option<[u8; 6]>) -> io::Result<LinkAddr> {
    let mut hardware_address = [0; 8];
    hardware_address[..6].copy_from_slice(&mac.unwrap_or_default());
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: (ethertype as u16).to_be(),
        sll_ifindex: i32::try_from(index.get()).map_err(|_| Errno::ENODEV)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: if mac.is_some() { 6 } else { 0 },
        sll_addr: hardware_address,
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer is to a whole `sockaddr_ll` of that length.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    Ok(address.ok_or(Errno::EINVAL)?)
}

fn sender(from: &LinkAddr) -> Sender {
    match (from.hatype(), from.halen(), from.addr()) {
        (libc::ARPHRD_LOOPBACK, _, _) => Sender::Loopback,
        (_, 6, Some(mac)) => Sender::Ethernet(mac),
        _ => Sender::Unknown,
    }
}
