//! The plugin files in the directories: finding them, telling versions apart, reading them whole.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::Utf8Chunk;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use sha2::{Digest, Sha256};
use vouchd_blocking::Blocking;
use vouchd_config::plugin_name_of;
use vouchd_plugin::lacks;

use super::signature::signature_of;

/// A larger file is a mistake, not a plugin.
const MAX_SIZE: u64 = 64 << 20;

/// A link gets this long to be followed.
const LINK_TIME: Duration = Duration::from_millis(300);

/// What tells, without reading, that a file may have changed. The change time is in it, so that neither a restored
/// modification time nor a `chmod` goes unnoticed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(data: &Metadata) -> Stamp {
        Stamp {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Whether the last change is longer ago than `age`; false for one in the future.
    pub fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let latest = self.modified.max(self.changed);
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(latest.0), u32::try_from(latest.1)) else { return true };
        since_epoch.checked_sub(Duration::new(seconds, nanos)).is_some_and(|passed| passed >= age)
    }
}

/// A plugin file as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub path: PathBuf,
    pub stamp: Stamp,
    pub proof: Proof,
    /// What it is, if it is no file: `a directory, not a file`.
    pub odd: Option<String>,
}

/// Which files need a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    NoFile,
    EveryFile,
    /// Those that somebody else than root can have put there.
    NotRoots,
}

/// What shows that a file may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Nothing is needed.
    NotNeeded,
    /// A signature, in a file that is as this; none if there is none.
    Signature(Option<Stamp>),
}

impl Rule {
    fn proof(self, path: &Path, data: Option<&Metadata>, directory: &Metadata) -> Proof {
        let is_roots = |data: &Metadata| data.uid() == 0 && data.mode() & 0o022 == 0;
        match self {
            Rule::NoFile => Proof::NotNeeded,
            Rule::NotRoots if is_roots(directory) && data.is_some_and(is_roots) => Proof::NotNeeded,
            Rule::EveryFile | Rule::NotRoots => {
                Proof::Signature(fs::metadata(signature_of(path)).ok().map(|data| Stamp::of(&data)))
            }
        }
    }
}

/// What a plugin's name would be whose file name is not UTF-8, with what is not as `\xff`.
fn name_that_is_no_text(path: &Path) -> Option<String> {
    let file = path.file_name().filter(|file| file.to_str().is_none())?.as_bytes();
    let stem = file.strip_suffix(b".wasm").filter(|stem| !stem.starts_with(b"."))?;
    let part = |chunk: Utf8Chunk<'_>| format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii());
    Some(stem.utf8_chunks().map(part).collect())
}

/// What is in the place of a file; none if it is one.
fn oddity(data: &Metadata) -> Option<&'static str> {
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
    .unwrap_or(Some("something else than a file"))
}

/// What a link is that leads to no file; none if there is no link either.
fn broken_link(path: &Path, error: &io::Error) -> Option<(String, Stamp)> {
    let data = fs::symlink_metadata(path).ok()?;
    let words = match error.raw_os_error() == Some(Errno::ELOOP as i32) {
        true => "a link that leads back to itself".to_owned(),
        false => format!("a link to {}, which does not exist", fs::read_link(path).ok()?.display()),
    };
    Some((words, Stamp::of(&data)))
}

/// What has the name of a plugin in one directory, by plugin name. Symbolic links count as what they point to. None: there
/// is no such directory.
pub fn list(directory: &Path, rule: Rule) -> io::Result<Option<BTreeMap<String, Candidate>>> {
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
            if let Some(name) = name_that_is_no_text(&path) {
                let odd = Some("a file whose name is not text (UTF-8), as a plugin's has to be: rename it".to_owned());
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
                // It may change all the time, and stays what it is.
                Some(odd) => (Stamp::default(), Proof::NotNeeded, Some(odd.to_owned())),
            },
            Err(error)
                if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ELOOP as i32) =>
            {
                // Removed just now, if there is no link.
                let Some((odd, stamp)) = broken_link(&path, &error) else { continue };
                (stamp, Proof::NotNeeded, Some(odd))
            }
            // A link to where the checker may not look, or where nothing answers: known when it is read, and no reason to lose sight of the others.
            Err(_) => (Stamp::default(), rule.proof(&path, None, &of_directory), None),
        };
        found.insert(name.to_owned(), Candidate { stamp, proof, odd, path });
    }
    Ok(Some(found))
}

/// The bytes of what somebody calls a plugin file, for a command. Neither waits for a writer, nor reads without end.
pub fn read_named(path: &Path) -> anyhow::Result<Vec<u8>> {
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

/// Opens without waiting: a pipe that has taken the file's place would wait for its writer, a terminal would become ours.
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// What a link leads to. It may lead to a file system that does not answer, at the expense of this plugin alone.
fn follow(link: &Path) -> io::Result<Metadata> {
    static LINKS: LazyLock<Blocking> = LazyLock::new(Blocking::default);
    let path = link.to_owned();
    let looked = LINKS.wait(&link.to_string_lossy(), link, LINK_TIME, move || fs::metadata(path));
    looked.map_err(io::Error::from).flatten()
}

/// How reading a plugin file ended.
#[derive(Debug)]
pub enum Contents {
    Whole(Vec<u8>),
    /// It is not, or no longer, the version that was seen.
    Changed,
}

/// Why a file is not read, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// Known until the file changes.
    Unfit(String),
    /// The host could not: says nothing about the file, which may be tried again as it is.
    Hindered(String),
}

impl Unread {
    pub fn of(error: &io::Error, path: &Path) -> Self {
        use Errno::{EACCES, EISDIR, ELOOP, ENODEV, ENOENT, ENOTDIR, ENXIO, EPERM};
        // What makes these pass is seen as a change of the file.
        const OF_FILE: [Errno; 8] = [EACCES, EISDIR, ELOOP, ENODEV, ENOENT, ENOTDIR, ENXIO, EPERM];
        if error.raw_os_error().is_none_or(|errno| OF_FILE.contains(&Errno::from_raw(errno))) {
            return Unread::Unfit(error.to_string());
        }
        let words = lacks(error, &format!("reading {}", path.display()));
        Unread::Hindered(words.unwrap_or_else(|| error.to_string()))
    }

    /// The same with other words.
    pub fn map(self, words: impl FnOnce(String) -> String) -> Self {
        match self {
            Unread::Unfit(text) => Unread::Unfit(words(text)),
            Unread::Hindered(text) => Unread::Hindered(words(text)),
        }
    }

    pub fn into_words(self) -> String {
        match self {
            Unread::Unfit(words) | Unread::Hindered(words) => words,
        }
    }
}

/// The bytes of the file as it was seen.
pub fn read(candidate: &Candidate) -> Result<Contents, Unread> {
    let failed = |error: io::Error| Unread::of(&error, &candidate.path).map(|words| format!("can't be read: {words}"));
    let mut file = match open(&candidate.path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::Changed),
        // A socket.
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => return Ok(Contents::Changed),
        Err(error) => return Err(failed(error)),
    };
    if Stamp::of(&file.metadata().map_err(failed)?) != candidate.stamp {
        return Ok(Contents::Changed);
    }
    if candidate.stamp.size > MAX_SIZE {
        let (size, limit) = (candidate.stamp.size >> 20, MAX_SIZE >> 20);
        return Err(Unread::Unfit(format!("too large: {size} MiB; expected at most {limit} MiB")));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_SIZE).read_to_end(&mut bytes).map_err(failed)?;
    let unchanged = Stamp::of(&file.metadata().map_err(failed)?) == candidate.stamp;
    Ok(if unchanged { Contents::Whole(bytes) } else { Contents::Changed })
}

/// SHA-256 in hexadecimal: what a version of a plugin is known by.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_in_the_place_of_a_file_is_named_and_links_count_as_what_they_lead_to() {
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
        let found = list(dir.path(), Rule::NoFile).unwrap().unwrap();
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
        assert!(list(&dir.path().join("absent"), Rule::NoFile).unwrap().is_none());
        for (name, odd) in &expected[1..] {
            let read = read_named(&place(&format!("{name}.wasm")));
            assert_eq!(read.is_ok(), odd.is_none(), "{name}: {read:?}");
        }
    }

    #[test]
    fn a_name_that_is_no_text_is_listed_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        for name in [b"b\xc3\xa4d\xff.wasm".as_slice(), b".\xff.wasm", b"\xff.txt", b"good.wasm"] {
            fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
        }
        let found = list(dir.path(), Rule::EveryFile).unwrap().unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["bäd\\xff", "good"]);
        let bad = &found["bäd\\xff"];
        assert!(bad.odd.as_ref().unwrap().contains("not text (UTF-8)"), "{bad:?}");
        assert!(bad.path.to_str().is_some(), "it goes to the router as text");
    }

    #[test]
    fn a_link_that_leads_nowhere_hides_no_other_plugin() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("good.wasm"), "x").unwrap();
        std::os::unix::fs::symlink("circle.wasm", dir.path().join("circle.wasm")).unwrap();
        std::os::unix::fs::symlink("good.wasm/below", dir.path().join("through.wasm")).unwrap();
        let found = list(dir.path(), Rule::NoFile).unwrap().unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["circle", "good", "through"]);
        let error = read(&found["through"]).unwrap_err();
        assert!(matches!(&error, Unread::Unfit(why) if why.starts_with("can't be read")), "{error:?}");
        assert!(matches!(read(&found["good"]), Ok(Contents::Whole(_))));
    }

    #[test]
    fn a_file_that_is_no_longer_the_one_seen_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        fs::write(&path, "one").unwrap();
        let seen = list(dir.path(), Rule::NoFile).unwrap().unwrap().remove("a").unwrap();
        assert!(matches!(read(&seen), Ok(Contents::Whole(bytes)) if bytes == b"one"));
        fs::write(&path, "three").unwrap();
        assert!(matches!(read(&seen), Ok(Contents::Changed)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(read(&seen), Ok(Contents::Changed)));
        // Nobody writes to it: opened like a file it would be waited for without end.
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(&seen), Ok(Contents::Changed)));
        fs::remove_file(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(read(&seen), Ok(Contents::Changed)));
    }

    #[test]
    fn what_the_host_can_not_do_is_told_from_what_is_wrong_with_the_file() {
        let of = |errno: Errno| Unread::of(&errno.into(), Path::new("/p/a.wasm"));
        use Errno::{EAGAIN, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ESTALE, ETIMEDOUT};
        for errno in [EMFILE, ENFILE, ENOMEM, EIO, EAGAIN, ETIMEDOUT, ESTALE, EINTR] {
            assert!(matches!(of(errno), Unread::Hindered(_)), "{errno}");
        }
        for errno in [Errno::EACCES, Errno::EPERM, Errno::ENOENT, Errno::ELOOP, Errno::EISDIR, Errno::ENOTDIR] {
            assert!(matches!(of(errno), Unread::Unfit(_)), "{errno}");
        }
        let words = of(EMFILE).into_words();
        assert!(words.starts_with("the checker has no file descriptor left, limit "), "{words}");
        assert!(words.contains("for reading /p/a.wasm"), "{words}");
    }

    #[test]
    fn what_only_root_can_have_put_there_needs_no_signature_where_the_rule_says_so() {
        use std::os::unix::fs::PermissionsExt;
        if !nix::unistd::Uid::effective().is_root() {
            return vouchd_skip::skip("no root, to make files of root's", "run the tests as root");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        fs::write(&path, "x").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let proof = |rule| list(dir.path(), rule).unwrap().unwrap().remove("a").unwrap().proof;
        mode(dir.path(), 0o755);
        mode(&path, 0o644);
        assert_eq!(proof(Rule::NotRoots), Proof::NotNeeded);
        assert_eq!(proof(Rule::EveryFile), Proof::Signature(None));
        mode(&path, 0o664);
        assert_eq!(proof(Rule::NotRoots), Proof::Signature(None), "its group may write it");
        mode(&path, 0o644);
        mode(dir.path(), 0o777);
        assert_eq!(proof(Rule::NotRoots), Proof::Signature(None), "anybody may replace it");
        mode(dir.path(), 0o755);
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert_eq!(proof(Rule::NotRoots), Proof::Signature(None), "another's");
        fs::write(dir.path().join("a.wasm.minisig"), "x").unwrap();
        assert!(matches!(proof(Rule::NotRoots), Proof::Signature(Some(_))));
        assert_eq!(proof(Rule::NoFile), Proof::NotNeeded);
    }

    #[test]
    fn the_age_of_a_file_from_the_future_is_unknown() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let stamp = |seconds| Stamp { device: 1, inode: 1, size: 1, modified: (seconds, 0), changed: (0, 0) };
        assert!(stamp(990).is_older_than(Duration::from_secs(1), now));
        assert!(!stamp(1000).is_older_than(Duration::from_secs(1), now));
        assert!(!stamp(2000).is_older_than(Duration::from_secs(1), now));
    }
}
