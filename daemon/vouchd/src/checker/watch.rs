//! What the last run of a check looked at: when one of it changes, the check runs at once.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Descriptors that become readable when what they stand for changes; a pidfd does when its process ends.
#[derive(Debug, Default)]
pub struct Watched {
    descriptors: Vec<AsyncFd<OwnedFd>>,
}

impl Watched {
    /// # Errors
    /// When the kernel can't watch one of them. The interval of the check still covers what it stands for.
    pub fn new(descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let watch = |descriptor| register(descriptor, Interest::READABLE);
        Ok(Watched { descriptors: descriptors.into_iter().map(watch).collect::<io::Result<_>>()? })
    }

    /// Returns when the first of them changes, and forgets them all: the next run says what to watch from then on.
    /// Never returns if there are none. May be dropped and called again.
    pub async fn changed(&mut self) {
        poll_fn(|context| {
            // An error is a change too: what can't be watched must be looked at.
            let ready = self.descriptors.iter().any(|descriptor| descriptor.poll_read_ready(context).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.descriptors.clear();
    }
}

/// Must be called within a tokio runtime.
pub fn register(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
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
    async fn one_change_among_many_is_seen_once() {
        let (quiet, _open) = io::pipe().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let mut watched = Watched::new(vec![quiet.into(), reader.into()]).unwrap();
        assert!(timeout(SOON, watched.changed()).await.is_err());
        writer.write_all(b"x").unwrap();
        timeout(SOON, watched.changed()).await.expect("a change");
        assert!(timeout(SOON, watched.changed()).await.is_err(), "a change is told once");
    }

    #[tokio::test]
    async fn nothing_watched_never_changes() {
        assert!(timeout(SOON, Watched::default().changed()).await.is_err());
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_a_change() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = pidfd(child.id());
        let mut watched = Watched::new(vec![pidfd]).unwrap();
        assert!(timeout(SOON, watched.changed()).await.is_err());
        child.kill().unwrap();
        timeout(Duration::from_secs(1), watched.changed()).await.expect("the end is seen");
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
