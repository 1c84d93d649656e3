//! What the runs of a check looked at and what may change: files, by inotify; links and addresses, by rtnetlink.
//!
//! Both outlive a run, since making and closing an inotify instance takes the kernel milliseconds. Watching begins before
//! the look, so that nothing that happens between two runs is missed; what happens in between is told once too often.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

/// Files that are watched for one check. Those beyond are seen at the check's next interval.
const MAX_FILES: usize = 64;

/// A file is another one, has other content, or other permissions. Not each write to it: who keeps a file open and
/// appends to it would have the check run without end.
fn events() -> AddWatchFlags {
    use AddWatchFlags as On;
    On::IN_CREATE | On::IN_DELETE | On::IN_MOVED_FROM | On::IN_MOVED_TO | On::IN_CLOSE_WRITE | On::IN_ATTRIB
}

/// What one check looked at, from run to run. Without a look it costs nothing.
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
    /// Descriptors that become readable when it is worth asking [`Changes::happened`].
    ///
    /// # Errors
    /// If there are no more descriptors to be had.
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

    /// A run is going to look at the file `name` in this directory (a descriptor for looking at it is enough).
    pub(crate) fn watch_file(&self, directory: &OwnedFd, name: &str) {
        let files = self.files.get_or_init(|| {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
            let made = inotify.map(|inotify| Files { inotify, names: Mutex::default() });
            made.inspect_err(|errno| told("files", *errno)).ok()
        });
        if let Some(files) = files {
            files.watch(directory, name);
        }
    }

    /// A run is going to look at links or addresses.
    pub(crate) fn watch_network(&self) {
        self.network.get_or_init(|| subscribe().inspect_err(|errno| told("links and addresses", *errno)).ok());
    }
}

fn told(what: &str, errno: Errno) {
    tracing::warn!("changes of {what} are seen at a check's next interval only: the kernel can't watch them: {errno}");
}

impl Files {
    fn watch(&self, directory: &OwnedFd, name: &str) {
        if self.names().len() >= MAX_FILES {
            return;
        }
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        // One that can't be watched, because the checker may not list it, is seen at the next interval.
        if let Ok(watch) = self.inotify.add_watch(path.as_str(), events()) {
            self.names().insert((number(watch), name.into()));
        }
    }

    /// Never held while the kernel looks at a file system: whoever asks for changes must not have to wait for that.
    fn names(&self) -> MutexGuard<'_, BTreeSet<(i32, OsString)>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> bool {
        let names = self.names();
        let mut changed = false;
        while let Ok(events) = self.inotify.read_events() {
            changed |= events.into_iter().any(|event| match event.name {
                Some(name) => names.contains(&(number(event.wd), name)),
                // The directory itself is gone or another, or events were lost.
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
    // What it says does not matter, so that one that is cut off will do.
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
    fn what_happens_to_a_file_is_told_once_and_what_happens_beside_it_is_not() {
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
            assert!(!changes.happened(), "{what}: told once");
        }
    }

    #[test]
    fn who_keeps_writing_causes_no_runs() {
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
