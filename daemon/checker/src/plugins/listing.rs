//! The plugin files of a directory, without reading them.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::Utf8Chunk;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use vouchd_blocking::Blocking;
use vouchd_config::plugin_name_of;

use super::signature::signature_path;

/// How long following a link may take.
const LINK_TIME: Duration = Duration::from_millis(300);

/// Shows, without reading the file, whether it may have changed. Includes the change time, so that neither a restored
/// modification time nor a `chmod` goes unnoticed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(data: &Metadata) -> Stamp {
        Stamp {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Whether the last change is at least `age` ago. False for a time in the future.
    pub(crate) fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let latest = self.modified.max(self.changed);
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(latest.0), u32::try_from(latest.1)) else { return true };
        since_epoch.checked_sub(Duration::new(seconds, nanos)).is_some_and(|passed| passed >= age)
    }
}

/// A plugin file as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
    pub(crate) proof: Proof,
    /// What it is, unless it is a file: `a directory, not a file`.
    pub(crate) odd: Option<String>,
}

/// Which files need a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureRule {
    NoFile,
    EveryFile,
    /// Files that anybody else than root may have installed.
    NotRoots,
}

/// What a file needs in order to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    NotNeeded,
    /// A signature. The stamp of its file, or `None` if there is no such file.
    Signature(Option<Stamp>),
}

impl SignatureRule {
    fn proof(self, path: &Path, data: Option<&Metadata>, directory: &Metadata) -> Proof {
        let is_roots = |data: &Metadata| data.uid() == 0 && data.mode() & 0o022 == 0;
        match self {
            SignatureRule::NoFile => Proof::NotNeeded,
            SignatureRule::NotRoots if is_roots(directory) && data.is_some_and(is_roots) => Proof::NotNeeded,
            SignatureRule::EveryFile | SignatureRule::NotRoots => {
                Proof::Signature(fs::metadata(signature_path(path)).ok().map(|data| Stamp::of(&data)))
            }
        }
    }
}

/// The name of a plugin whose file name is not UTF-8, with `\xff` for each invalid byte.
fn escaped_name(path: &Path) -> Option<String> {
    let file = path.file_name().filter(|file| file.to_str().is_none())?.as_bytes();
    let stem = file.strip_suffix(b".wasm").filter(|stem| !stem.starts_with(b"."))?;
    let part = |chunk: Utf8Chunk<'_>| format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii());
    Some(stem.utf8_chunks().map(part).collect())
}

/// What is in the place of a file. `None` if it is a file.
pub(super) fn oddity(data: &Metadata) -> Option<&'static str> {
    let kind = data.file_type();
    [
        (kind.is_file(), None),
        (kind.is_dir(), Some("a directory, not a file")),
        (kind.is_fifo(), Some("a named pipe, not a file")),
        (kind.is_socket(), Some("a socket, not a file")),
        (kind.is_char_device() || kind.is_block_device(), Some("a device, not a file")),
    ]
    .into_iter()
    .find_map(|(is_this, words)| is_this.then_some(words))
    .unwrap_or(Some("not a regular file"))
}

/// What is wrong with a link that leads to no file. `None` if there is no link either.
fn broken_link(path: &Path, error: &io::Error) -> Option<(String, Stamp)> {
    let data = fs::symlink_metadata(path).ok()?;
    let words = match error.raw_os_error() == Some(Errno::ELOOP as i32) {
        true => "a link that leads back to itself".to_owned(),
        false => format!("a link to {}, which does not exist", fs::read_link(path).ok()?.display()),
    };
    Some((words, Stamp::of(&data)))
}

/// Everything in a directory that has the name of a plugin file, by plugin name. Symbolic links count as what they point
/// to. `None` if the directory does not exist.
pub(crate) fn list(directory: &Path, rule: SignatureRule) -> io::Result<Option<BTreeMap<String, Candidate>>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let of_directory = fs::metadata(directory)?;
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let Some(name) = plugin_name_of(&path) else {
            if let Some(name) = escaped_name(&path) {
                let odd = Some("a file whose name is not text (UTF-8); rename it".to_owned());
                let path = directory.join(format!("{name}.wasm"));
                found.insert(name, Candidate { stamp: Stamp::default(), proof: Proof::NotNeeded, odd, path });
            }
            continue;
        };
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let data = if is_link { follow(&path) } else { fs::metadata(&path) };
        let (stamp, proof, odd) = match data {
            Ok(data) => match oddity(&data) {
                None => (Stamp::of(&data), rule.proof(&path, Some(&data), &of_directory), None),
                // Its stamp may change all the time without any meaning.
                Some(odd) => (Stamp::default(), Proof::NotNeeded, Some(odd.to_owned())),
            },
            Err(error)
                if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ELOOP as i32) =>
            {
                // Without a link, the file was removed since the directory was read.
                let Some((odd, stamp)) = broken_link(&path, &error) else { continue };
                (stamp, Proof::NotNeeded, Some(odd))
            }
            // A link to a place that the checker may not look at, or that does not answer. Reading the file reports that; the
            // other files are listed all the same.
            Err(_) => (Stamp::default(), rule.proof(&path, None, &of_directory), None),
        };
        found.insert(name.to_owned(), Candidate { stamp, proof, odd, path });
    }
    Ok(Some(found))
}

/// What a link leads to. If its file system does not answer, only this plugin is affected.
fn follow(link: &Path) -> io::Result<Metadata> {
    static LINKS: LazyLock<Blocking> = LazyLock::new(Blocking::default);
    let path = link.to_owned();
    let looked = LINKS.wait(&link.to_string_lossy(), link, LINK_TIME, move || fs::metadata(path));
    looked.map_err(io::Error::from).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::read;
    use crate::plugins::read_error::ReadError;

    #[test]
    fn only_visible_files_that_end_in_wasm_are_plugins() {
        for (path, name) in [
            ("/p/nginx.wasm", Some("nginx")),
            ("/p/my.check.wasm", Some("my.check")),
            ("/p/.nginx.wasm", None),
            ("/p/.wasm", None),
            ("/p/.nginx.wasm.swp", None),
            ("/p/nginx.wasm.tmp", None),
            ("/p/nginx.wasm~", None),
            ("/p/nginx", None),
            ("/p/nginx.WASM", None),
        ] {
            assert_eq!(plugin_name_of(Path::new(path)), name, "{path}");
        }
    }

    #[test]
    fn other_kinds_of_files_are_named_and_links_count_as_their_targets() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        fs::create_dir(place("folder.wasm")).unwrap();
        fs::write(place("real"), "x").unwrap();
        std::os::unix::fs::symlink("real", place("link.wasm")).unwrap();
        std::os::unix::fs::symlink("nowhere", place("dangling.wasm")).unwrap();
        std::os::unix::fs::symlink("circle.wasm", place("circle.wasm")).unwrap();
        std::os::unix::fs::symlink("/dev/null", place("null.wasm")).unwrap();
        nix::unistd::mkfifo(&place("pipe.wasm"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(place("socket.wasm")).unwrap();
        let found = list(dir.path(), SignatureRule::NoFile).unwrap().unwrap();
        let odd: Vec<_> = found.iter().map(|(name, found)| (name.as_str(), found.odd.as_deref())).collect();
        let expected = [
            ("circle", Some("a link that leads back to itself")),
            ("dangling", Some("a link to nowhere, which does not exist")),
            ("folder", Some("a directory, not a file")),
            ("link", None),
            ("null", Some("a device, not a file")),
            ("pipe", Some("a named pipe, not a file")),
            ("socket", Some("a socket, not a file")),
        ];
        assert_eq!(odd, expected);
        assert!(list(&dir.path().join("absent"), SignatureRule::NoFile).unwrap().is_none());
        for (name, odd) in &expected[1..] {
            let read = read::read_named(&place(&format!("{name}.wasm")));
            assert_eq!(read.is_ok(), odd.is_none(), "{name}: {read:?}");
        }
    }

    #[test]
    fn name_that_is_not_utf_8_is_listed_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        for name in [b"b\xc3\xa4d\xff.wasm".as_slice(), b".\xff.wasm", b"\xff.txt", b"good.wasm"] {
            fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
        }
        let found = list(dir.path(), SignatureRule::EveryFile).unwrap().unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["bäd\\xff", "good"]);
        let bad = &found["bäd\\xff"];
        assert!(bad.odd.as_ref().unwrap().contains("not text (UTF-8)"), "{bad:?}");
        assert!(bad.path.to_str().is_some(), "it goes to the router as text");
    }

    #[test]
    fn broken_link_does_not_hide_other_plugins() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("good.wasm"), "x").unwrap();
        std::os::unix::fs::symlink("circle.wasm", dir.path().join("circle.wasm")).unwrap();
        std::os::unix::fs::symlink("good.wasm/below", dir.path().join("through.wasm")).unwrap();
        let found = list(dir.path(), SignatureRule::NoFile).unwrap().unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["circle", "good", "through"]);
        let error = read::read(&found["through"]).unwrap_err();
        assert!(matches!(&error, ReadError::Unfit(why) if why.starts_with("can't be read")), "{error:?}");
        assert!(matches!(read::read(&found["good"]), Ok(read::Contents::Whole(_))));
    }

    #[test]
    fn file_that_only_root_can_have_installed_needs_no_signature_under_the_rule_not_roots() {
        use std::os::unix::fs::PermissionsExt;
        if !nix::unistd::Uid::effective().is_root() {
            return vouchd_skip::skip("not root, so no files that belong to root", "run the tests as root");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        fs::write(&path, "x").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let proof = |rule| list(dir.path(), rule).unwrap().unwrap().remove("a").unwrap().proof;
        mode(dir.path(), 0o755);
        mode(&path, 0o644);
        assert_eq!(proof(SignatureRule::NotRoots), Proof::NotNeeded);
        assert_eq!(proof(SignatureRule::EveryFile), Proof::Signature(None));
        mode(&path, 0o664);
        assert_eq!(proof(SignatureRule::NotRoots), Proof::Signature(None), "its group may write it");
        mode(&path, 0o644);
        mode(dir.path(), 0o777);
        assert_eq!(proof(SignatureRule::NotRoots), Proof::Signature(None), "anybody may replace it");
        mode(dir.path(), 0o755);
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert_eq!(proof(SignatureRule::NotRoots), Proof::Signature(None), "it belongs to another user");
        fs::write(dir.path().join("a.wasm.minisig"), "x").unwrap();
        assert!(matches!(proof(SignatureRule::NotRoots), Proof::Signature(Some(_))));
        assert_eq!(proof(SignatureRule::NoFile), Proof::NotNeeded);
    }

    #[test]
    fn file_from_the_future_is_not_old() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let stamp = |seconds| Stamp { device: 1, inode: 1, size: 1, modified: (seconds, 0), changed: (0, 0) };
        assert!(stamp(990).is_older_than(Duration::from_secs(1), now));
        assert!(!stamp(1000).is_older_than(Duration::from_secs(1), now));
        assert!(!stamp(2000).is_older_than(Duration::from_secs(1), now));
    }
}
