//! Packet sockets: frames of one type as they arrive on one interface, chosen by a filter in the kernel.
//!
//! A packet socket sees what the IP layer would not deliver, a packet from one of our own addresses above all; and it
//! sees it before the firewall does.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, SockaddrLike, bind, recvfrom, setsockopt, sockopt};
use socket2::{Domain, SockFilter, Socket, Type};

/// Room for some thousand frames: a burst must not push out the one that decides.
pub(crate) const RECEIVE_BUFFER: usize = 1 << 20;

/// Who sent a frame, as the link layer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The interface with this MAC address.
    Ethernet([u8; 6]),
    /// This host: the frame came through the loopback interface.
    Loopback,
    /// The link has no addresses of this kind.
    Unknown,
}

/// A packet socket that is bound to one interface. It delivers from the network header on.
#[derive(Debug)]
pub(crate) struct LinkSocket(Socket);

impl LinkSocket {
    /// Opens a socket for frames of `ethertype` on the interface with this index, as far as `filter` takes them.
    ///
    /// # Errors
    /// `ENODEV` when there is no such interface, `EPERM` without CAP_NET_RAW.
    pub(crate) fn open(index: NonZeroU32, ethertype: i32, filter: &[SockFilter]) -> io::Result<Self> {
        // Protocol 0, so that nothing is queued before the filter and the interface are set.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.cloexec().nonblocking(), None)?;
        socket.attach_filter(filter)?;
        ignore_outgoing(&socket)?;
        enlarge_buffer(&socket)?;
        bind(socket.as_raw_fd(), &address(index, ethertype)?)?;
        Ok(Self(socket))
    }

    /// Takes frames by another filter from now on.
    pub(crate) fn set_filter(&self, filter: &[SockFilter]) -> io::Result<()> {
        self.0.attach_filter(filter)
    }

    /// Takes the next frame out of the queue and gives its length; `None` when the queue is empty. Never blocks. A frame
    /// that does not fit into `buffer` is cut off.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Sender)>> {
        loop {
            match recvfrom::<LinkAddr>(self.0.as_raw_fd(), buffer) {
                Ok((length, from)) => return Ok(Some((length, from.as_ref().map_or(Sender::Unknown, sender)))),
                Err(Errno::EAGAIN) => return Ok(None),
                // The interface went down; the socket hears it again when it comes back.
                Err(Errno::EINTR | Errno::ENETDOWN) => {}
                Err(error) => {
                    // An interface that is deleted leaves an error which no call to receive takes, and for which poll
                    // would return at once until the socket is closed.
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

/// Beyond the system's limit where we may, up to it where not.
pub(crate) fn enlarge_buffer(socket: &Socket) -> io::Result<()> {
    match setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(RECEIVE_BUFFER),
    }
}

/// Sets an option whose value is an `int`.
pub(crate) fn set_option(socket: &Socket, level: i32, option: i32, value: i32) -> io::Result<()> {
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

/// Spares the copy of every frame that this host sends. Filters drop such frames too: Linux before 4.20 has no option.
fn ignore_outgoing(socket: &Socket) -> io::Result<()> {
    match set_option(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1) {
        Err(error) if error.raw_os_error() != Some(libc::ENOPROTOOPT) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn address(index: NonZeroU32, ethertype: i32) -> io::Result<LinkAddr> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: (ethertype as u16).to_be(),
        sll_ifindex: i32::try_from(index.get()).map_err(|_| Errno::ENODEV)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
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

/// Classic BPF, for programs whose data begins with the network header.
pub(crate) mod filter {
    use std::num::NonZeroU32;

    use socket2::SockFilter;

    /// Accepts this many bytes of the frame: all of them.
    const WHOLE: u32 = 0x4_0000;

    pub(crate) const fn load_byte(at: u32) -> SockFilter {
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, at)
    }

    pub(crate) const fn load_half(at: u32) -> SockFilter {
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, at)
    }

    pub(crate) const fn load_word(at: u32) -> SockFilter {
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at)
    }

    /// Skips so many instructions if what was loaded is, or is not, `value`.
    pub(crate) const fn if_equal(value: u32, yes: u8, no: u8) -> SockFilter {
        jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, yes, no)
    }

    /// Skips so many instructions if what was loaded has, or has not, a bit of `bits`.
    pub(crate) const fn if_any_bit(bits: u32, yes: u8, no: u8) -> SockFilter {
        jump(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, yes, no)
    }

    pub(crate) const ACCEPT: SockFilter = step(libc::BPF_RET | libc::BPF_K, WHOLE);
    pub(crate) const DROP: SockFilter = step(libc::BPF_RET | libc::BPF_K, 0);

    /// Goes on with frames that arrived for this host on this very interface. Drops what it sent itself, what was for
    /// another host or another VLAN (the link layer calls both "other host"), and what arrived on a device that stands
    /// on this one, like a VLAN or the bridge of which it is a port.
    pub(crate) fn arrived_on(index: NonZeroU32) -> [SockFilter; 6] {
        const PACKET_MULTICAST: u32 = 2;
        [
            load_byte(ancillary(libc::SKF_AD_PKTTYPE)),
            jump(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, PACKET_MULTICAST, 0, 1),
            DROP,
            load_word(ancillary(libc::SKF_AD_IFINDEX)),
            if_equal(index.get(), 1, 0),
            DROP,
        ]
    }

    const fn ancillary(what: i32) -> u32 {
        (libc::SKF_AD_OFF + what) as u32
    }

    const fn step(code: u32, k: u32) -> SockFilter {
        jump(code, k, 0, 0)
    }

    const fn jump(code: u32, k: u32, yes: u8, no: u8) -> SockFilter {
        SockFilter::new(code as u16, yes, no, k)
    }
}
