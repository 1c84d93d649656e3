//! The checker's end of the socket pair: one JSON message per datagram.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{MsgFlags, SockType, getsockopt, recv, send, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vouchd_health::RunResult;

use super::watched::register;
use vouchd_ipc::pipe::{CHECKER_FD, FromChecker, MAX_MESSAGE, ToChecker};

/// Takes the socket that the router left at [`CHECKER_FD`]. Call this once, before anything else opens descriptors.
///
/// # Errors
/// When the descriptor is not that socket.
pub(crate) fn inherited() -> anyhow::Result<OwnedFd> {
    // SAFETY: getsockopt only queries the descriptor, and fails if it is not open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(CHECKER_FD) };
    match getsockopt(&descriptor, sockopt::SockType) {
        // SAFETY: the descriptor is open, as getsockopt has just shown, and nothing else in this new process uses it.
        Ok(SockType::SeqPacket) => Ok(unsafe { OwnedFd::from_raw_fd(CHECKER_FD) }),
        Ok(_) | Err(_) => {
            anyhow::bail!(
                "descriptor {CHECKER_FD} is not the router's socket: expected `vouchd-checker serve` to be started by `vouchd run`"
            )
        }
    }
}

/// A non-blocking `SOCK_SEQPACKET` socket. Both directions may be used at the same time.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: AsyncFd<OwnedFd>,
}

impl Channel {
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        let flags = OFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFL)?);
        fcntl(&socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Channel { socket: register(socket, Interest::READABLE | Interest::WRITABLE)? })
    }

    /// The next message. `None` once the router has closed its end. Cancel safe.
    pub(crate) async fn receive(&self) -> io::Result<Option<ToChecker>> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let read = |socket: &OwnedFd| Ok(recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?);
        let length = match self.socket.async_io(Interest::READABLE, read).await {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        match length {
            0 => Ok(None),
            length => Ok(Some(serde_json::from_slice(&buffer[..length])?)),
        }
    }

    /// Sends one message. Waits while the queue to the router is full.
    pub(crate) async fn send(&self, message: FromChecker) -> io::Result<()> {
        let bytes = encode(message)?;
        let write = |socket: &OwnedFd| Ok(send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL)?);
        self.socket.async_io(Interest::WRITABLE, write).await.map(drop)
    }

    /// Sends a heartbeat, unless the queue to the router is full: the messages in it show that the checker is alive.
    pub(crate) fn beat(&self) -> io::Result<()> {
        let bytes = encode(FromChecker::Heartbeat)?;
        match send(self.socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Encodes a message. If it is too long, its plugin reported too much, and the message becomes an error of that plugin.
fn encode(mut message: FromChecker) -> serde_json::Result<Vec<u8>> {
    let bytes = serde_json::to_vec(&message)?;
    if bytes.len() <= MAX_MESSAGE {
        return Ok(bytes);
    }
    let length = bytes.len();
    match &mut message {
        FromChecker::Run(done) => {
            done.log.clear();
            let reason = format!("the report and log of the run have {length} bytes; expected at most {MAX_MESSAGE}");
            done.result = RunResult::Error { reason };
        }
        FromChecker::Plugin(state) => {
            state.error = state.error.take().map(|error| error.chars().take(1000).chain("…".chars()).collect());
        }
        FromChecker::Heartbeat => {}
    }
    serde_json::to_vec(&message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vouchd_health::{Report, Verdict};

    use super::*;
    use vouchd_ipc::pipe::RunDone;

    #[test]
    fn report_that_exceeds_a_message_is_an_error_of_its_check() {
        let report =
            Report { verdict: Verdict::Pass, message: "\u{1}".repeat(MAX_MESSAGE), adjust: None, metrics: Vec::new() };
        let message = FromChecker::Run(RunDone {
            check: "chatty".to_owned(),
            result: RunResult::Report(report),
            duration: Duration::ZERO,
            cpu: Duration::ZERO,
            memory: 0,
            skipped: 0,
            next_in: Duration::ZERO,
            log: Vec::new(),
        });
        let bytes = encode(message).unwrap();
        assert!(bytes.len() <= MAX_MESSAGE);
        let Ok(FromChecker::Run(done)) = serde_json::from_slice(&bytes) else { panic!("not a run") };
        assert!(matches!(done.result, RunResult::Error { reason } if reason.contains("expected at most")));
    }
}
