//! The lock that a daemon holds while it runs: one daemon for each control socket.
//!
//! It is a lock on a file beside the socket (flock(2)). The kernel releases it when the daemon ends, however that happens, so a
//! file that was left behind means nothing. The file stays: if it were removed, two daemons could hold the lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of this control socket, and creates the socket's directory if it is missing.
    ///
    /// # Errors
    /// If another daemon holds it: the error names its process and says what to do.
    pub(crate) fn take(control: &Path) -> anyhow::Result<Self> {
        if let Some(parent) = control.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        let path = path(control);
        // Does not follow a planted link, and does not wait for the other end of a pipe.
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .custom_flags(flags)
            .open(&path)
            .with_context(|| {
                format!("opening the lock file {}; if no vouchd is running, remove the file", path.display())
            })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another vouchd{} is running with the control socket {}: stop it first, or give this one another \
                 socket (daemon.control)",
                holder(&mut file),
                control.display()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.with_context(|| format!("writing {}", path.display()))?;
        Ok(Lock { _file: file })
    }
}

fn path(control: &Path) -> PathBuf {
    let mut path = control.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// ` (pid 123)`, or nothing if the file has no pid.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // The file may contain anything; only a short number counts.
    let _ = file.take(16).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) if Path::new(&format!("/proc/{pid}")).exists() => format!(" (pid {pid})"),
        Ok(pid) => format!(" (pid {pid} of another container)"),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_is_refused_with_the_holders_pid_and_a_stale_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("run/control.sock");
        let first = Lock::take(&control).unwrap();
        let refused = Lock::take(&control).unwrap_err().to_string();
        assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
        assert!(refused.contains("daemon.control"), "{refused}");
        drop(first);
        fs::write(path(&control), "4294967295 and a long rest of something else\n").unwrap();
        let second = Lock::take(&control).unwrap();
        assert_eq!(fs::read_to_string(path(&control)).unwrap().trim(), std::process::id().to_string());
        Lock::take(&dir.path().join("other.sock")).unwrap();
        drop(second);
    }

    #[test]
    fn link_in_place_of_the_lock_file_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("control.sock.lock")).unwrap();
        Lock::take(&dir.path().join("control.sock")).unwrap_err();
        assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
    }
}
