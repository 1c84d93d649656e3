//! Watches what the runs of a check looked at: files by inotify, links and addresses by rtnetlink.
//!
//! Both watches outlive a run, since the kernel takes milliseconds to create and close an inotify instance. Watching begins
//! before the run looks, so that no change between two runs is missed. A change in between may cause one run too many.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

/// The most files that are watched for one check. Changes of further files are seen at the check's next interval.
const MAX_FILES: usize = 64;

/// A file was replaced, or its content or permissions changed. A write alone is no event: a program that keeps appending to
/// an open file would cause run after run.
fn events() -> AddWatchFlags {
    use AddWatchFlags as On;
    On::IN_CREATE | On::IN_DELETE | On::IN_MOVED_FROM | On::IN_MOVED_TO | On::IN_CLOSE_WRITE | On::IN_ATTRIB
}

/// What the runs of one check looked at. Opens no descriptor before the first look.
#[derive(Debug, Default)]
pub struct Changes {
    files: OnceLock<Option<Files>>,
    network: OnceLock<Option<OwnedFd>>,
}

#[derive(Debug)]
struct Files {
    inotify: Inotify,
    /// The directory that has the file, and its name there.
    names: Mutex<BTreeSet<(i32, OsString)>>,
}

impl Changes {
    /// Descriptors that become readable when [`Changes::happened`] is worth calling.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        let files = self.files.get().and_then(Option::as_ref).map(|files| files.inotify.as_fd());
        let network = self.network.get().and_then(Option::as_ref).map(OwnedFd::as_fd);
        files.into_iter().chain(network).map(|fd| fd.try_clone_to_owned()).collect()
    }

    /// Whether something that a run looked at has changed since the last call. Doesn't block.
    pub fn happened(&self) -> bool {
        let files = self.files.get().and_then(Option::as_ref).is_some_and(Files::changed);
        let network = self.network.get().and_then(Option::as_ref).is_some_and(was_sent_something);
        files || network
    }

    /// Watches the file `name` in this directory, before a run looks at it. An `O_PATH` descriptor is enough.
    pub(crate) fn watch_file(&self, directory: &OwnedFd, name: &str) {
        let files = self.files.get_or_init(|| {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
            let made = inotify.map(|inotify| Files { inotify, names: Mutex::default() });
            made.inspect_err(|errno| warn_unwatched("files", *errno)).ok()
        });
        if let Some(files) = files {
            files.watch(directory, name);
        }
    }

    /// Watches links and addresses, before a run looks at them.
    pub(crate) fn watch_network(&self) {
        self.network
            .get_or_init(|| subscribe().inspect_err(|errno| warn_unwatched("links and addresses", *errno)).ok());
    }
}

fn warn_unwatched(what: &str, errno: Errno) {
    tracing::warn!("could not watch {what}, so checks see changes only at their next interval: {errno}");
}

impl Files {
    fn watch(&self, directory: &OwnedFd, name: &str) {
        if self.names().len() >= MAX_FILES {
            return;
        }
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        // A directory that the checker may not list can't be watched; changes there are seen at the next interval.
        if let Ok(watch) = self.inotify.add_watch(path.as_str(), events()) {
            self.names().insert((number(watch), name.into()));
        }
    }

    /// The lock is never held during a file system call, which may block.
    fn names(&self) -> MutexGuard<'_, BTreeSet<(i32, OsString)>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> bool {
        let names = self.names();
        let mut changed = false;
        while let Ok(events) = self.inotify.read_events() {
            changed |= events.into_iter().any(|event| match event.name {
                Some(name) => names.contains(&(number(event.wd), name)),
                // The directory itself was removed or replaced, or events were lost.
                None => !event.mask.contains(AddWatchFlags::IN_ATTRIB),
            });
        }
        changed
    }
}

fn number(watch: WatchDescriptor) -> i32 {
    watch.as_raw()
}

fn subscribe() -> nix::Result<OwnedFd> {
    const GROUPS: i32 = nix::libc::RTMGRP_LINK | nix::libc::RTMGRP_IPV4_IFADDR | nix::libc::RTMGRP_IPV6_IFADDR;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS.unsigned_abs()))?;
    Ok(fd)
}

fn was_sent_something(fd: &OwnedFd) -> bool {
    // The content does not matter, so a truncated message is enough.
    let mut buffer = [0; 64];
    let mut sent = false;
    loop {
        match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::ENOBUFS) => sent = true,
            Err(Errno::EINTR) => {}
            Err(_) => return sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn change_of_a_watched_file_is_reported_once_and_of_another_file_never() {
        let dir = tempfile::tempdir().unwrap();
        let changes = Changes::default();
        assert!(changes.descriptors().unwrap().is_empty() && !changes.happened());
        let fd = File::open(dir.path()).unwrap().into();
        changes.watch_file(&fd, "flag");
        assert_eq!(changes.descriptors().unwrap().len(), 1);
        let (flag, other) = (dir.path().join("flag"), dir.path().join("other"));
        let steps: [(&str, bool, &dyn Fn()); 8] = [
            ("another is made", false, &|| fs::write(&other, "x").unwrap()),
            ("it is made", true, &|| fs::write(&flag, "x").unwrap()),
            ("it is written", true, &|| fs::write(&flag, "y").unwrap()),
            ("it is read", false, &|| assert_eq!(fs::read(&flag).unwrap(), b"y")),
            ("its permissions change", true, &|| {
                fs::set_permissions(&flag, fs::Permissions::from_mode(0o600)).unwrap()
            }),
            ("it is replaced", true, &|| fs::rename(&other, &flag).unwrap()),
            ("it is deleted", true, &|| fs::remove_file(&flag).unwrap()),
            ("another is made again", false, &|| fs::write(&other, "x").unwrap()),
        ];
        for (what, expected, step) in steps {
            step();
            assert_eq!(changes.happened(), expected, "{what}");
            assert!(!changes.happened(), "{what}: reported once");
        }
    }

    #[test]
    fn open_file_that_is_appended_to_causes_no_run() {
        let dir = tempfile::tempdir().unwrap();
        let changes = Changes::default();
        let mut log = File::create(dir.path().join("log")).unwrap();
        changes.watch_file(&File::open(dir.path()).unwrap().into(), "log");
        log.write_all(b"line\n").unwrap();
        assert!(!changes.happened());
        drop(log);
        assert!(changes.happened(), "closed, which is when a file is whole");
    }
}
