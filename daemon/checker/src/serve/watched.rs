//! The processes and files that the last run of a check looked at. When one of them changes, the check runs at once.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vouchd_plugin::Changes;

/// What is watched for one check, between runs.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Become readable, and stay readable, when the watched thing has changed: a pidfd does when its process ends.
    ends: Vec<AsyncFd<OwnedFd>>,
    changes: Arc<Changes>,
    /// The descriptors of `changes`.
    signals: Vec<AsyncFd<OwnedFd>>,
}

impl Watched {
    /// Where the next run records what it looks at.
    pub(crate) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Watches `ends`, and what the last run recorded.
    ///
    /// # Errors
    /// When the kernel cannot watch one of them. The check still sees changes at its next interval.
    pub(crate) fn follow(&mut self, ends: Vec<OwnedFd>) -> io::Result<()> {
        let watch = |descriptor| register(descriptor, Interest::READABLE);
        self.ends.clear();
        self.ends = ends.into_iter().map(watch).collect::<io::Result<_>>()?;
        let signals = self.changes.descriptors()?;
        if signals.len() != self.signals.len() {
            self.signals = signals.into_iter().map(watch).collect::<io::Result<_>>()?;
        }
        Ok(())
    }

    /// Returns when something changes, and never if nothing is watched. Forgets what has ended: the next run says what to
    /// watch from then on. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        poll_fn(|context| {
            // An error counts as a change: what cannot be watched must be checked.
            let ended = self.ends.iter().any(|descriptor| descriptor.poll_read_ready(context).is_ready());
            if ended || self.signalled(context) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.ends.clear();
    }

    fn signalled(&self, context: &mut Context<'_>) -> bool {
        self.signals.iter().any(|signal| {
            while let Poll::Ready(readable) = signal.poll_read_ready(context) {
                let Ok(mut readable) = readable else { return true };
                if self.changes.happened() {
                    return true;
                }
                readable.clear_ready();
            }
            false
        })
    }
}

/// Registers a descriptor with the current tokio runtime.
///
/// # Panics
/// Outside of a runtime.
pub(crate) fn register(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor is open, and stays the same one, as long as its owner lives; nothing replaces it.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn change_among_many_is_reported_once() {
        let (quiet, _open) = io::pipe().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let mut watched = Watched::default();
        watched.follow(vec![quiet.into(), reader.into()]).unwrap();
        assert!(timeout(SOON, watched.changed()).await.is_err());
        writer.write_all(b"x").unwrap();
        timeout(SOON, watched.changed()).await.expect("a change");
        assert!(timeout(SOON, watched.changed()).await.is_err(), "a change is reported once");
    }

    #[tokio::test]
    async fn nothing_watched_never_changes() {
        assert!(timeout(SOON, Watched::default().changed()).await.is_err());
    }

    #[tokio::test]
    async fn end_of_a_process_is_a_change() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = pidfd(child.id());
        let mut watched = Watched::default();
        watched.follow(vec![pidfd]).unwrap();
        assert!(timeout(SOON, watched.changed()).await.is_err());
        child.kill().unwrap();
        timeout(Duration::from_secs(1), watched.changed()).await.expect("the end is reported");
        child.wait().unwrap();
    }

    fn pidfd(pid: u32) -> OwnedFd {
        use std::os::fd::FromRawFd;
        // SAFETY: pidfd_open takes two integers; on success it gives a descriptor that nobody else owns.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            assert!(fd >= 0, "pidfd_open: {}", io::Error::last_os_error());
            OwnedFd::from_raw_fd(fd as i32)
        }
    }
}
