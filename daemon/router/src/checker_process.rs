//! The checker process as the router's child, and the socket to it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, sendmsg, setsockopt, socketpair, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, User};

use crate::checker_program::CheckerProgram;
use vouchd_ipc::pipe::{FromChecker, MAX_MESSAGE, ToChecker};

/// The time that a message may wait for room in the checker's socket; after that the checker hangs.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// The user that the checker runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Identity {
    /// Finds the user of this name. Without a name: `vouchd`, or if there is none, `nobody`.
    ///
    /// # Errors
    /// If there is no such user, or it is root: the checker runs other people's code.
    pub(crate) fn find(name: Option<&str>) -> anyhow::Result<Self> {
        let candidates = match name {
            Some(name) => vec![name],
            None => vec!["vouchd", "nobody"],
        };
        for candidate in &candidates {
            let user = User::from_name(candidate).with_context(|| format!("looking up user {candidate}"))?;
            match user {
                Some(user) if user.uid.is_root() => {
                    anyhow::bail!("daemon.user = {candidate:?}: expected an unprivileged user, found root")
                }
                Some(user) => return Ok(Identity { uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
                None => {}
            }
        }
        anyhow::bail!("no user {}: create it, or name another in daemon.user", candidates.join(" or "))
    }
}

/// The result of an attempt to receive.
pub(crate) enum Received {
    Message(FromChecker),
    /// There is no message now.
    WouldBlock,
    /// The other end is closed.
    Closed,
}

/// A running checker. Dropping it kills it.
pub(crate) struct CheckerProcess {
    child: Child,
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl CheckerProcess {
    /// Starts the checker, which drops all privileges first of all.
    pub(crate) fn spawn(program: &CheckerProgram, identity: Identity) -> anyhow::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .context("could not create a socket pair")?;
        let timeout = TimeVal::milliseconds(SEND_TIMEOUT.as_millis() as i64);
        setsockopt(&ours, sockopt::SendTimeout, &timeout).context("could not set SO_SNDTIMEO")?;
        for end in [&ours, &theirs] {
            // As much as the kernel allows, so that neither side waits for the other.
            setsockopt(end, sockopt::SndBuf, &(4 * MAX_MESSAGE)).context("could not set SO_SNDBUF")?;
        }
        let child = program
            .command()
            .args(["serve", "--uid", &identity.uid.to_string(), "--gid", &identity.gid.to_string()])
            .args(["--router-version", env!("CARGO_PKG_VERSION")])
            // mallopt(3): with an arena for each thread, the checker's memory would grow by one tenth.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .context("starting the checker")?;
        Ok(CheckerProcess { child, socket: ours, buffer: vec![0; MAX_MESSAGE] })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the checker has ended, or takes no message for two seconds.
    pub(crate) fn send(&self, message: &ToChecker) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(&bytes)], &[], MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// Receives the next message without waiting.
    ///
    /// # Errors
    /// If the checker sent something else. It can't be trusted any more.
    pub(crate) fn receive(&mut self) -> io::Result<Received> {
        let fd = self.socket.as_raw_fd();
        match recv(fd, &mut self.buffer, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC) {
            Ok(0) | Err(Errno::ECONNRESET) => Ok(Received::Closed),
            Ok(length) => {
                let bytes = self.buffer.get(..length).ok_or_else(|| {
                    io::Error::other(format!("a message of {length} bytes, expected at most {MAX_MESSAGE}"))
                })?;
                Ok(Received::Message(serde_json::from_slice(bytes)?))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Received::WouldBlock),
            Err(error) => Err(error.into()),
        }
    }

    /// Describes how the checker ended. Kills it if it is still running.
    pub(crate) fn end(mut self) -> String {
        // It has closed its socket, so it is about to end.
        for _ in 0..20 {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return error.to_string(),
            }
        }
        "closed its socket but kept running; killed".to_owned()
    }
}

impl AsFd for CheckerProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for CheckerProcess {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        for _ in 0..20 {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // A thread of it may be blocked in the kernel by a file system that never answers. Nothing can end that, so a thread
        // waits for it.
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let reap = move || {
            // How it ends does not matter.
            let _ = waitpid(pid, None);
        };
        if let Err(error) = std::thread::Builder::new().name("reaper".to_owned()).spawn(reap) {
            tracing::warn!(%pid, "could not wait for the killed checker to end: {error}");
        }
    }
}
