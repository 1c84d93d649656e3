//! Requests to rtnetlink, one at a time: each function sends, waits for the answer, and returns it.
//!
//! One file for each kind of object; routes, rules and further kinds of links go beside them. The runtime is the calling
//! thread's own: no thread is started, and the caller may block, so the protocol thread never calls this.

mod address;
mod link;
mod macvlan;
mod route;
mod rule;

use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{AsyncSocket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::Handle;
use rtnetlink::proto::Connection;
use socket2::SockRef;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

pub(crate) use self::address::AddressRequest;
pub(crate) use self::macvlan::InetSetting;
pub(crate) use self::route::{RouteOrder, route_message};
use super::Change;
use super::tolerant_socket::TolerantSocket;

/// Room for answers. The kernel pauses a dump that does not fit.
const BUFFER: usize = 1 << 20;

/// How long an answer may take. A request waits for the kernel's rtnl lock while it is sent; the answer is there after it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A socket for requests to rtnetlink, in the network namespace of the thread that opened it. Requests block.
pub struct RequestSocket {
    /// Before the runtime, in which its socket is registered.
    connection: Connection<RouteNetlinkMessage, TolerantSocket>,
    handle: Handle,
    unsolicited: Box<dyn Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Send + Unpin>,
    port: u32,
    runtime: Runtime,
}

impl RequestSocket {
    /// Opens a socket.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn open() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let mut socket = {
            let _context = runtime.enter();
            TolerantSocket::new(NETLINK_ROUTE)?
        };
        let port = socket.socket_mut().bind_auto()?.port_number();
        SockRef::from(socket.socket_ref()).set_recv_buffer_size(BUFFER)?;
        let (connection, handle, unsolicited) = rtnetlink::from_socket(socket);
        Ok(Self { connection, handle, unsolicited: Box::new(unsolicited), port, runtime })
    }

    /// Makes the kernel filter dumps by what their requests name. Linux before 4.20 does not, and sends everything.
    pub(crate) fn be_strict(&mut self) {
        // An older kernel refuses the option; the caller filters anyway.
        let _ = self.connection.socket_mut().socket_mut().set_netlink_get_strict_chk(true);
    }

    /// The socket's port: notifications name it as the cause of what it changed.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Sends the request that `build` makes, and waits until the kernel has carried it out.
    ///
    /// For requests that change something: the request itself receives no answers about links and addresses.
    ///
    /// # Errors
    /// The kernel's error. After `TimedOut`, `ENOBUFS` and `BrokenPipe` the request may have been carried out; open another
    /// socket.
    pub fn change<F>(&mut self, build: impl FnOnce(&Handle) -> F) -> io::Result<()>
    where
        F: Future<Output = Result<(), rtnetlink::Error>>,
    {
        let request = build(&self.handle);
        self.send(request)
    }

    /// As [`RequestSocket::change`], for a request that is built already.
    fn send<T>(&mut self, request: impl Future<Output = Result<T, rtnetlink::Error>>) -> io::Result<T> {
        let Self { connection, unsolicited, runtime, .. } = self;
        // What a request that timed out left behind.
        connection.socket_mut().take_answers();
        let answer = async {
            tokio::select! {
                biased;
                answer = request => answer.map_err(kernel_error),
                () = &mut *connection => Err(io::ErrorKind::BrokenPipe.into()),
                // Nothing else is unsolicited on a socket without groups: the answer was lost.
                _ = unsolicited.next() => Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
            }
        };
        runtime.block_on(async { timeout(ANSWER_TIMEOUT, answer).await })?
    }

    /// As [`RequestSocket::send`], and returns what the kernel said about links and addresses in its answer.
    fn read(&mut self, request: impl Future<Output = Result<(), rtnetlink::Error>>) -> io::Result<Vec<Change>> {
        self.send(request)?;
        Ok(self.connection.socket_mut().take_answers())
    }

    /// Whether an error means that answers were lost or are late. The socket is out of step: open another one.
    pub(crate) fn is_broken_by(error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::ENOBUFS)
            || matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Debug for RequestSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestSocket").field("port", &self.port).finish_non_exhaustive()
    }
}

/// Waits for the end of a dump or an acknowledgement. The answers themselves go to [`TolerantSocket`].
async fn finished<T>(answers: impl Stream<Item = Result<T, rtnetlink::Error>>) -> Result<(), rtnetlink::Error> {
    let mut answers = std::pin::pin!(answers);
    while let Some(answer) = answers.next().await {
        answer?;
    }
    Ok(())
}

/// The errors among the answers to a request that no builder of `rtnetlink` makes.
fn errors_of(
    answers: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>>,
) -> impl Stream<Item = Result<(), rtnetlink::Error>> {
    answers.map(|answer| match answer.payload {
        NetlinkPayload::Error(error) => Err(rtnetlink::Error::NetlinkError(error)),
        _ => Ok(()),
    })
}

fn kernel_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(answer) => answer.to_io(),
        rtnetlink::Error::RequestFailed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}
