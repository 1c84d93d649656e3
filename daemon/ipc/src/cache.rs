//! The directory of compiled plugins, which the checker writes to, and the key that marks the daemon's own entries.
//!
//! Other programs may run as the checker's user (`nobody`), and the directory may be writable by more users. So an entry
//! counts only if it was made with the key. The router creates the key in a file that only its own user can read, and passes
//! it to each checker.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

/// Length of the key in bytes.
const KEY: usize = 32;

/// Where compiled plugins are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheSettings {
    /// The directory, as [`prepare`] left it.
    pub directory: PathBuf,
    /// The key that marks this daemon's own entries.
    pub key: CacheKey,
}

/// The secret key of a daemon. With it, anyone can make native code that the checker runs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheKey(pub [u8; KEY]);

impl std::fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CacheKey(secret)")
    }
}

/// Prepares the directory for a checker that runs as this user and group. Call it with the privileges of the daemon's start.
///
/// # Errors
/// If compiled plugins can't be kept there. The daemon then works without a cache.
pub fn prepare(directory: &Path, uid: u32, gid: u32) -> anyhow::Result<CacheSettings> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("creating {}", directory.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let data = fs::metadata(directory).with_context(|| format!("reading the metadata of {}", directory.display()))?;
    // If more users may write to it, that was set on purpose.
    if Uid::effective().is_root() && data.uid() == 0 && data.mode() & 0o022 == 0 {
        // Fails only where this process can't change users; the checker then runs as this user too.
        let _ = chown(directory, Some(uid), Some(gid));
    }
    let path = directory.join("key");
    let key = match read(&path) {
        Some(key) => key,
        None => create(&path).with_context(|| format!("creating {}", path.display()))?,
    };
    Ok(CacheSettings { directory: directory.to_owned(), key: CacheKey(key) })
}

/// Reads the key. `None` unless nobody else can have read or written it.
fn read(path: &Path) -> Option<[u8; KEY]> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let data = file.metadata().ok()?;
    let ours = data.is_file() && data.uid() == Uid::effective().as_raw() && data.mode() & 0o077 == 0;
    let mut key = [0; KEY];
    (ours && data.size() == KEY as u64).then(|| file.read_exact(&mut key).ok())?.map(|()| key)
}

/// Creates a new key, which replaces an old one. Entries made with another key no longer count.
fn create(path: &Path) -> io::Result<[u8; KEY]> {
    let mut key = [0; KEY];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn prepare_ours(directory: &Path) -> CacheSettings {
        prepare(directory, Uid::effective().as_raw(), nix::unistd::Gid::effective().as_raw()).unwrap()
    }

    #[test]
    fn directory_is_created_and_its_key_stays() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("some/cache");
        let first = prepare_ours(&directory);
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(directory.join("key")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(prepare_ours(&directory), first);
        assert!(first.key.0.iter().any(|byte| *byte != 0));
    }

    #[test]
    fn key_that_others_may_know_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let known = [7; KEY];
        let table: [(&str, &dyn Fn()); 4] = [
            ("readable by others", &|| {
                fs::write(&path, known).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            }),
            ("too short", &|| {
                fs::write(&path, [7; 5]).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }),
            ("a link", &|| {
                let elsewhere = dir.path().join("elsewhere");
                fs::write(&elsewhere, known).unwrap();
                fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
                fs::remove_file(&path).unwrap();
                std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
            }),
            ("a pipe", &|| {
                fs::remove_file(&path).unwrap();
                nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }),
        ];
        for (what, make) in table {
            make();
            let key = prepare_ours(dir.path()).key;
            assert!(key.0 != known, "{what}");
            assert!(fs::symlink_metadata(&path).unwrap().is_file(), "{what}");
        }
    }

    #[test]
    fn directory_that_only_root_may_write_to_is_given_to_the_checker() {
        if !Uid::effective().is_root() {
            return vouchd_skip::skip("not root, which owns the directories of this test", "run the tests as root");
        }
        let dir = tempfile::tempdir().unwrap();
        let (closed, open) = (dir.path().join("closed"), dir.path().join("open"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        for directory in [&closed, &open] {
            prepare(directory, 65534, 65534).unwrap();
            assert_eq!(fs::metadata(directory.join("key")).unwrap().uid(), 0);
        }
        assert_eq!(fs::metadata(&closed).unwrap().uid(), 65534);
        assert_eq!(fs::metadata(&open).unwrap().uid(), 0);
    }
}
