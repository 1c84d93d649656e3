//! Why a file could not be read.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use vouchd_plugin::lacks;

/// Why a file could not be read, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The file is at fault: the error stays until the file changes.
    Unfit(String),
    /// The host is at fault, for example because no file descriptor is left: a later try may succeed.
    Hindered(String),
}

impl ReadError {
    pub(crate) fn of(error: &io::Error, path: &Path) -> Self {
        use Errno::{EACCES, EISDIR, ELOOP, ENODEV, ENOENT, ENOTDIR, ENXIO, EPERM};
        // Whatever ends one of these also changes the file's stamp.
        const OF_FILE: [Errno; 8] = [EACCES, EISDIR, ELOOP, ENODEV, ENOENT, ENOTDIR, ENXIO, EPERM];
        if error.raw_os_error().is_none_or(|errno| OF_FILE.contains(&Errno::from_raw(errno))) {
            return ReadError::Unfit(error.to_string());
        }
        let words = lacks(error, &format!("reading {}", path.display()));
        ReadError::Hindered(words.unwrap_or_else(|| error.to_string()))
    }

    /// The same error in other words.
    pub(crate) fn map(self, words: impl FnOnce(String) -> String) -> Self {
        match self {
            ReadError::Unfit(text) => ReadError::Unfit(words(text)),
            ReadError::Hindered(text) => ReadError::Hindered(words(text)),
        }
    }

    pub(crate) fn into_words(self) -> String {
        match self {
            ReadError::Unfit(words) | ReadError::Hindered(words) => words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_resources_is_no_fault_of_the_file() {
        let of = |errno: Errno| ReadError::of(&errno.into(), Path::new("/p/a.wasm"));
        use Errno::{EAGAIN, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ESTALE, ETIMEDOUT};
        for errno in [EMFILE, ENFILE, ENOMEM, EIO, EAGAIN, ETIMEDOUT, ESTALE, EINTR] {
            assert!(matches!(of(errno), ReadError::Hindered(_)), "{errno}");
        }
        for errno in [Errno::EACCES, Errno::EPERM, Errno::ENOENT, Errno::ELOOP, Errno::EISDIR, Errno::ENOTDIR] {
            assert!(matches!(of(errno), ReadError::Unfit(_)), "{errno}");
        }
        let words = of(EMFILE).into_words();
        assert!(words.starts_with("the checker has no file descriptor left, limit "), "{words}");
        assert!(words.contains("for reading /p/a.wasm"), "{words}");
    }
}
