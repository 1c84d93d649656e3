//! The socket that receives the kernel's notifications about links and addresses.
//!
//! Without `rtnetlink`: its connection drops a message that it can't parse, and it queues messages without a bound where
//! the kernel would report that notifications were lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;

use super::{Change, DATAGRAM, decode};

/// Room for notifications that are not read yet.
const BUFFER: usize = 4 << 20;

/// A change, and the port of the netlink socket whose request caused it; 0 is the kernel itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) change: Change,
    pub(crate) port: u32,
}

/// A non-blocking socket for notifications, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Notifications {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Notifications {
    /// Opens the socket and joins the groups.
    ///
    /// # Errors
    /// Out of descriptors.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // A busy host notifies in bursts, and an overrun costs a dump. Exceeding the system's limit takes CAP_NET_ADMIN.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            SockRef::from(&socket).set_recv_buffer_size(BUFFER)?;
        }
        socket.add_membership(libc::RTNLGRP_LINK)?;
        socket.add_membership(libc::RTNLGRP_IPV4_IFADDR)?;
        socket.add_membership(libc::RTNLGRP_IPV6_IFADDR)?;
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Returns the next datagram's news; `None` when nothing is queued. Never blocks.
    ///
    /// # Errors
    /// `ENOBUFS` when notifications were lost: everything has to be read again.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<News>>> {
        match self.receive() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut news = Vec::new();
        for message in decode::messages(&self.buffer) {
            if i32::from(message.kind) == libc::NLMSG_OVERRUN {
                return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
            }
            news.extend(message.change().map(|change| News { change, port: message.port }));
        }
        Ok(Some(news))
    }

    /// Discards everything that is queued, lost notifications included.
    ///
    /// # Errors
    /// When the socket is broken.
    pub(crate) fn discard(&mut self) -> io::Result<()> {
        loop {
            match self.receive() {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, libc::MSG_DONTWAIT) {
                // Any process may send to a netlink socket; the kernel's port is 0.
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Notifications {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
