//! The socket under `rtnetlink`'s connection. It keeps the answers about links and addresses for our own reader and hands
//! on the rest: acknowledgements, errors, ends of dumps.
//!
//! The connection itself drops an answer that `netlink-packet-route` can't parse, and reports no error.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use netlink_sys::{AsyncSocket, Socket, SocketAddr, TokioSocket};

use super::{Change, DATAGRAM, decode};

/// See the module.
pub(super) struct TolerantSocket {
    socket: TokioSocket,
    datagram: RefCell<Vec<u8>>,
    answers: RefCell<Vec<Change>>,
}

impl TolerantSocket {
    /// Takes the answers received so far.
    pub(super) fn take_answers(&self) -> Vec<Change> {
        self.answers.take()
    }

    fn receive(&self, cx: &mut Context<'_>, rest: &mut impl BufMut) -> Poll<io::Result<SocketAddr>> {
        let mut datagram = self.datagram.borrow_mut();
        datagram.clear();
        let sender = ready!(self.socket.poll_recv_from(cx, &mut *datagram))?;
        // Any process may send to a netlink socket; the kernel's port is 0.
        if sender.port_number() == 0 {
            for message in decode::messages(&datagram) {
                match message.change() {
                    Some(change) => self.answers.borrow_mut().push(change),
                    None => rest.put_slice(message.bytes),
                }
            }
        }
        Poll::Ready(Ok(sender))
    }
}

impl AsyncSocket for TolerantSocket {
    fn new(protocol: isize) -> io::Result<Self> {
        let socket = TokioSocket::new(protocol)?;
        Ok(Self { socket, datagram: RefCell::new(Vec::with_capacity(DATAGRAM)), answers: RefCell::default() })
    }

    fn socket_ref(&self) -> &Socket {
        self.socket.socket_ref()
    }

    fn socket_mut(&mut self) -> &mut Socket {
        self.socket.socket_mut()
    }

    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_send(cx, bytes)
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, bytes: &[u8], to: &SocketAddr) -> Poll<io::Result<usize>> {
        self.socket.poll_send_to(cx, bytes, to)
    }

    fn poll_recv<B: BufMut>(&self, cx: &mut Context<'_>, rest: &mut B) -> Poll<io::Result<()>> {
        self.receive(cx, rest).map_ok(drop)
    }

    fn poll_recv_from<B: BufMut>(&self, cx: &mut Context<'_>, rest: &mut B) -> Poll<io::Result<SocketAddr>> {
        self.receive(cx, rest)
    }

    fn poll_recv_from_full(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Vec<u8>, SocketAddr)>> {
        let mut rest = Vec::new();
        self.receive(cx, &mut rest).map_ok(|sender| (rest, sender))
    }
}
