//! The files probe: files of the host, opened so that a granted path can't lead elsewhere.
//!
//! The directory that a grant spells out is trusted as the operator's choice. What lies below it may belong to others: it is
//! opened without following symbolic links, and with `O_PATH`, so that a pipe or device in place of a file neither blocks
//! nor notices.

mod permission;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use nix::sys::statvfs::fstatvfs;
use vouchd_config::Grants;
use vouchd_config::grants::{GrantedPath, Refusal};

use super::bounds::too_many_bytes;
use crate::contract::ProbeError;
use crate::contract::files::{Info, Kind, Usage};
use crate::probes::changes::Changes;
use crate::shortage;

pub(crate) fn stat(grants: &Grants, path: &str, changes: Option<&Changes>) -> Result<Option<Info>, ProbeError> {
    let Some(fd) = find_watched(grants, path, changes)? else { return Ok(None) };
    let meta = File::from(fd).metadata().map_err(|e| unreadable(path, &e))?;
    let age = meta.modified().ok().and_then(|then| SystemTime::now().duration_since(then).ok()).unwrap_or_default();
    let kind = match meta.file_type() {
        file if file.is_file() => Kind::File,
        file if file.is_dir() => Kind::Directory,
        _ => Kind::Other,
    };
    Ok(Some(Info { kind, size: meta.size(), age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX) }))
}

/// Reads the first `most` bytes; `None` if there is no such file. Fails if the file has more than `bound` bytes to read.
pub(crate) fn read(
    grants: &Grants,
    path: &str,
    most: usize,
    bound: usize,
    changes: Option<&Changes>,
) -> Result<Option<Vec<u8>>, ProbeError> {
    let Some(fd) = find_watched(grants, path, changes)? else { return Ok(None) };
    let found = File::from(fd);
    let meta = found.metadata().map_err(|e| unreadable(path, &e))?;
    if !meta.is_file() {
        return Err(ProbeError::Invalid(format!("{path:?} is not a regular file")));
    }
    // Reopens the file that was examined, whatever the path leads to by now.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = open(descriptor_path(&found).as_str(), flags, Mode::empty()).map_err(|e| unreadable(path, &e.into()))?;
    let mut data = Vec::new();
    let wanted = most.min(bound.saturating_add(1));
    File::from(fd).take(wanted as u64).read_to_end(&mut data).map_err(|e| unreadable(path, &e))?;
    if data.len() > bound { Err(too_many_bytes(bound)) } else { Ok(Some(data)) }
}

pub(crate) fn space(grants: &Grants, path: &str) -> Result<Usage, ProbeError> {
    let fd = find(path, grants.permits_file(path))?
        .ok_or_else(|| ProbeError::Invalid(format!("{path:?}: no such file or directory")))?;
    let found = fstatvfs(&fd).map_err(|e| unreadable(path, &e.into()))?;
    let block = found.fragment_size();
    Ok(Usage {
        total: found.blocks().saturating_mul(block),
        available: found.blocks_available().saturating_mul(block),
        inodes: found.files(),
        inodes_available: found.files_available(),
    })
}

/// Finds a granted socket. The returned path leads to it for as long as the descriptor is open.
pub(super) fn socket(grants: &Grants, path: &str) -> Result<(OwnedFd, String), ProbeError> {
    let fd = find(path, grants.permits_unix(path))?
        .ok_or_else(|| ProbeError::Other(format!("there is no socket {path:?}")))?;
    let found = File::from(fd);
    let meta = found.metadata().map_err(|e| unreadable(path, &e))?;
    if !meta.file_type().is_socket() {
        return Err(ProbeError::Invalid(format!("{path:?} is not a socket")));
    }
    let by_descriptor = descriptor_path(&found);
    Ok((found.into(), by_descriptor))
}

fn descriptor_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Finds a granted file, and watches its directory from before the look.
fn find_watched(grants: &Grants, path: &str, changes: Option<&Changes>) -> Result<Option<OwnedFd>, ProbeError> {
    let place = place(path, grants.permits_file(path))?;
    // The kernel reports no changes of its own file systems.
    let is_reported = !["/proc/", "/sys/"].iter().any(|kernel| path.starts_with(kernel));
    if let Some(changes) = changes.filter(|_| is_reported) {
        let (directory, name) = place.rest.rsplit_once('/').unwrap_or(("", &place.rest));
        if !name.is_empty()
            && let Ok(directory) = open_place(&place.trusted, directory)
        {
            changes.watch_file(&directory, name);
        }
    }
    look_at(path, &place)
}

/// An `O_PATH` descriptor of what is at the path; `None` if nothing is.
fn find(path: &str, granted: Result<GrantedPath, Refusal>) -> Result<Option<OwnedFd>, ProbeError> {
    look_at(path, &place(path, granted)?)
}

fn place(path: &str, granted: Result<GrantedPath, Refusal>) -> Result<GrantedPath, ProbeError> {
    if !path.starts_with('/') || path.split('/').any(|name| matches!(name, "." | "..")) || path.contains('\0') {
        return Err(ProbeError::Invalid(format!("{path:?}: expected an absolute path without . and ..")));
    }
    granted.map_err(|refusal| ProbeError::Denied(refusal.to_string()))
}

fn look_at(path: &str, place: &GrantedPath) -> Result<Option<OwnedFd>, ProbeError> {
    match open_place(&place.trusted, &place.rest) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => match permission::elsewhere(path) {
            Some(why) => Err(ProbeError::Unable(why)),
            None => Ok(None),
        },
        Err(Errno::ELOOP | Errno::EXDEV) => Err(ProbeError::Denied(format!(
            "{path:?} leads through a symbolic link, which is followed only where the grant spells out the directory that it \
             stands for; grant the file that it leads to, and name that in the check's parameters"
        ))),
        Err(errno) => Err(unreadable(path, &errno.into())),
    }
}

/// Opens `rest` below the trusted directory.
fn open_place(trusted: &str, rest: &str) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let directory = open(trusted, flags | OFlag::O_DIRECTORY, Mode::empty())?;
    if rest.is_empty() {
        return Ok(directory);
    }
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    openat2(&directory, rest, OpenHow::new().flags(flags).resolve(resolve))
}

/// The failure of looking at a file of this host.
pub(super) fn unreadable(path: &str, error: &io::Error) -> ProbeError {
    let errno = error.raw_os_error().map(Errno::from_raw);
    match errno {
        Some(Errno::EACCES | Errno::EPERM) => ProbeError::Unable(format!(
            "{path:?} can't be looked at: the checker's user (uid {}) has no permission{}",
            nix::unistd::geteuid(),
            permission::hint(path)
        )),
        Some(errno) => match shortage::lacking(errno, &format!("looking at {path:?}")) {
            Some(text) => ProbeError::Unable(text),
            None => ProbeError::Invalid(format!("{path:?} can't be read: {}", errno.desc())),
        },
        None => ProbeError::Invalid(format!("{path:?} can't be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use nix::unistd::mkfifo;

    use super::*;

    const BOUND: usize = 1 << 20;

    fn files(patterns: &[String]) -> Grants {
        Grants { files: patterns.iter().map(|p| p.parse().unwrap()).collect(), ..Grants::default() }
    }

    /// A granted directory `d` besides a `secret`, with what could lead out of it.
    fn scene() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap().to_owned();
        fs::create_dir_all(dir.path().join("d/sub")).unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(dir.path().join("other/file"), "secret").unwrap();
        fs::write(dir.path().join("d/ready"), "7 up\n").unwrap();
        fs::write(dir.path().join("d/sub/deep"), "deep").unwrap();
        symlink("../secret", dir.path().join("d/link")).unwrap();
        symlink(dir.path().join("secret"), dir.path().join("d/absolute")).unwrap();
        symlink("ready", dir.path().join("d/inside")).unwrap();
        symlink("../other", dir.path().join("d/linked")).unwrap();
        symlink("/proc/self/root", dir.path().join("d/root")).unwrap();
        symlink("nowhere", dir.path().join("d/dangling")).unwrap();
        mkfifo(&dir.path().join("d/pipe"), Mode::S_IRWXU).unwrap();
        symlink("d", dir.path().join("spelt")).unwrap();
        (dir, root)
    }

    #[test]
    fn granted_file_is_read_up_to_the_requested_length() {
        let (_dir, root) = scene();
        let grants = files(&[format!("{root}/d/*")]);
        assert_eq!(
            read(&grants, &format!("{root}/d/ready"), 100, BOUND, None).unwrap().as_deref(),
            Some(&b"7 up\n"[..])
        );
        assert_eq!(read(&grants, &format!("{root}//d/ready"), 1, BOUND, None).unwrap().as_deref(), Some(&b"7"[..]));
        assert_eq!(read(&grants, &format!("{root}/d/missing"), 100, BOUND, None).unwrap(), None);
        let info = stat(&grants, &format!("{root}/d/ready"), None).unwrap().unwrap();
        assert!(matches!(info.kind, Kind::File) && info.size == 5 && info.age_ms < 60_000, "{info:?}");
        assert!(matches!(stat(&grants, &format!("{root}/d/sub"), None).unwrap().unwrap().kind, Kind::Directory));
        assert!(matches!(stat(&grants, &format!("{root}/d/pipe"), None).unwrap().unwrap().kind, Kind::Other));
    }

    #[test]
    fn no_way_leads_out_of_a_granted_directory() {
        let (_dir, root) = scene();
        let grants = files(&[format!("{root}/d/**")]);
        for name in ["link", "absolute", "inside", "linked/file", "root/etc/hostname", "dangling"] {
            let path = format!("{root}/d/{name}");
            assert!(matches!(read(&grants, &path, 100, BOUND, None), Err(ProbeError::Denied(_))), "{name}");
            assert!(matches!(stat(&grants, &path, None), Err(ProbeError::Denied(_))), "{name}");
            assert!(matches!(space(&grants, &path), Err(ProbeError::Denied(_))), "{name}");
        }
        for path in ["../secret", "sub/../../secret", "./ready", "a\0b"] {
            assert!(
                matches!(read(&grants, &format!("{root}/d/{path}"), 9, BOUND, None), Err(ProbeError::Invalid(_))),
                "{path}"
            );
        }
        for path in [format!("{root}/secret"), format!("{root}/d"), "/etc/hostname".to_owned()] {
            let error = read(&grants, &path, 9, BOUND, None).unwrap_err();
            let ProbeError::Denied(text) = error else { panic!("{path}: {error:?}") };
            assert!(text.contains(&format!("files = [\"{root}/d/**\", \"{path}\"]")), "{text}");
        }
        assert!(matches!(read(&grants, "relative", 9, BOUND, None), Err(ProbeError::Invalid(_))));
    }

    #[test]
    fn link_that_the_grant_spells_out_is_followed() {
        let (_dir, root) = scene();
        let grants = files(&[format!("{root}/spelt/*")]);
        assert_eq!(
            read(&grants, &format!("{root}/spelt/ready"), 4, BOUND, None).unwrap().as_deref(),
            Some(&b"7 up"[..])
        );
        assert!(matches!(read(&grants, &format!("{root}/spelt/link"), 4, BOUND, None), Err(ProbeError::Denied(_))));
        // But not the last name: whoever owns the directory could put a link there.
        let grants = files(&[format!("{root}/d/link")]);
        assert!(matches!(read(&grants, &format!("{root}/d/link"), 4, BOUND, None), Err(ProbeError::Denied(_))));
    }

    #[test]
    fn only_regular_files_are_opened() {
        let (_dir, root) = scene();
        let grants = files(&[format!("{root}/d/*"), "/dev/zero".to_owned()]);
        for path in [format!("{root}/d/pipe"), format!("{root}/d/sub"), "/dev/zero".to_owned()] {
            assert!(matches!(read(&grants, &path, 100, BOUND, None), Err(ProbeError::Invalid(_))), "{path}");
        }
    }

    #[test]
    fn proc_files_are_read_although_their_size_is_zero() {
        let grants = files(&["/proc/*".to_owned()]);
        assert!(!read(&grants, "/proc/loadavg", 100, BOUND, None).unwrap().unwrap().is_empty());
    }

    #[test]
    fn no_more_is_read_than_requested_or_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        fs::write(&path, vec![0; 2000]).unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(read(&files(&[path.to_owned()]), path, 1000, BOUND, None).unwrap().unwrap().len(), 1000);
        assert_eq!(read(&files(&[path.to_owned()]), path, 1000, 1000, None).unwrap().unwrap().len(), 1000);
        assert_eq!(read(&files(&[path.to_owned()]), path, usize::MAX, 2000, None).unwrap().unwrap().len(), 2000);
        let cut = read(&files(&[path.to_owned()]), path, usize::MAX, 1999, None);
        assert!(matches!(&cut, Err(ProbeError::Denied(text)) if text.contains("limits.probe_bytes")), "{cut:?}");
    }

    #[test]
    fn unreadable_file_is_named_and_blamed_on_the_host_where_it_lacks_something() {
        for (errno, is_the_hosts) in [
            (Errno::EMFILE, true),
            (Errno::ENOMEM, true),
            (Errno::EACCES, true),
            (Errno::EPERM, true),
            (Errno::EIO, false),
        ] {
            let error = unreadable("/srv/ready", &errno.into());
            assert_eq!(error.rules_out_a_verdict().is_some(), is_the_hosts, "{error:?}");
            assert!(error.words().contains("/srv/ready"), "{}", error.words());
        }
    }

    #[test]
    fn space_is_that_of_the_file_system() {
        let found = space(&files(&["/".to_owned()]), "/").unwrap();
        assert!(found.total > 0 && found.available <= found.total, "{found:?}");
        assert!(matches!(space(&files(&["/x/*".to_owned()]), "/x/y"), Err(ProbeError::Invalid(_))));
    }

    #[test]
    fn only_granted_sockets_are_found() {
        let (dir, root) = scene();
        let _listener = UnixListener::bind(dir.path().join("d/s.sock")).unwrap();
        symlink("s.sock", dir.path().join("d/l.sock")).unwrap();
        let unix = vec![format!("{root}/d/*").parse().unwrap()];
        let grants = Grants { unix, ..Grants::default() };
        let (_fd, path) = socket(&grants, &format!("{root}/d/s.sock")).unwrap();
        assert!(Path::new(&path).exists());
        assert!(matches!(socket(&grants, &format!("{root}/d/l.sock")), Err(ProbeError::Denied(_))));
        assert!(matches!(socket(&grants, &format!("{root}/d/ready")), Err(ProbeError::Invalid(_))));
        assert!(matches!(socket(&grants, &format!("{root}/secret")), Err(ProbeError::Denied(_))));
        assert!(matches!(socket(&grants, "\0abstract"), Err(ProbeError::Invalid(_))));
        // What may be read may not be talked to.
        assert!(matches!(
            socket(&files(&[format!("{root}/**")]), &format!("{root}/d/s.sock")),
            Err(ProbeError::Denied(_))
        ));
    }
}
