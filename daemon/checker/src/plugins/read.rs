//! The bytes of plugin files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use sha2::{Digest, Sha256};

use super::listing::{Candidate, Stamp, oddity};
use super::read_error::ReadError;

/// The largest size of a plugin file, in bytes.
pub(crate) const MAX_SIZE: u64 = 64 << 20;

/// The bytes of the file that the user of a command has named. Does not wait for the writer of a pipe, and stops at the
/// largest size of a plugin.
pub(crate) fn read_named(path: &Path) -> anyhow::Result<Vec<u8>> {
    let reading = || format!("reading {}", path.display());
    if let Some(odd) = oddity(&fs::metadata(path).with_context(reading)?) {
        bail!("{} is {odd}", path.display());
    }
    let file = open(path).with_context(reading)?;
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).with_context(reading)?;
    ensure!(bytes.len() as u64 <= MAX_SIZE, "{} is too large: expected at most {} MiB", path.display(), MAX_SIZE >> 20);
    Ok(bytes)
}

/// Opens without waiting for the writer of a pipe, and without taking over a terminal, if one is in the place of the file.
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// The result of reading a plugin file.
#[derive(Debug)]
pub(crate) enum Contents {
    Whole(Vec<u8>),
    /// The file is no longer the version that was listed.
    Changed,
}

/// Reads the version of the file that was listed.
pub(crate) fn read(candidate: &Candidate) -> Result<Contents, ReadError> {
    let failed =
        |error: io::Error| ReadError::of(&error, &candidate.path).map(|words| format!("can't be read: {words}"));
    let mut file = match open(&candidate.path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::Changed),
        // A socket has taken its place.
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => return Ok(Contents::Changed),
        Err(error) => return Err(failed(error)),
    };
    if Stamp::of(&file.metadata().map_err(failed)?) != candidate.stamp {
        return Ok(Contents::Changed);
    }
    if candidate.stamp.size > MAX_SIZE {
        let (size, limit) = (candidate.stamp.size >> 20, MAX_SIZE >> 20);
        return Err(ReadError::Unfit(format!("too large: {size} MiB; expected at most {limit} MiB")));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_SIZE).read_to_end(&mut bytes).map_err(failed)?;
    let unchanged = Stamp::of(&file.metadata().map_err(failed)?) == candidate.stamp;
    Ok(if unchanged { Contents::Whole(bytes) } else { Contents::Changed })
}

/// The SHA-256 in hexadecimal, which identifies a version of a plugin.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::listing::{SignatureRule, list};

    #[test]
    fn file_that_has_changed_since_it_was_listed_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        fs::write(&path, "one").unwrap();
        let seen = list(dir.path(), SignatureRule::NoFile).unwrap().unwrap().remove("a").unwrap();
        assert!(matches!(read(&seen), Ok(Contents::Whole(bytes)) if bytes == b"one"));
        fs::write(&path, "three").unwrap();
        assert!(matches!(read(&seen), Ok(Contents::Changed)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(read(&seen), Ok(Contents::Changed)));
        // Nobody writes to it, so a blocking open would never return.
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(&seen), Ok(Contents::Changed)));
        fs::remove_file(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(read(&seen), Ok(Contents::Changed)));
    }
}
