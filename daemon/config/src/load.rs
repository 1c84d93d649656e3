//! Reads the files. The only part of this crate that touches the disk.
//!
//! Each file, and the list of drop-ins, has its own function, so that the daemon can call each where blocking does no harm.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this module reads the files")]

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::errors::{Errors, Problem};
use crate::partial::PartialConfig;
use crate::source::Source;
use crate::{Config, resolve};

/// No configuration is larger; a larger file was named by mistake.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A file of the configuration: its content, or why it can't be read.
#[derive(Clone)]
pub struct FileText {
    /// As given to [`read_main`], or as listed by [`list_drop_ins`].
    pub path: PathBuf,
    /// The content, or the reason why it can't be read.
    pub text: Result<Vec<u8>, String>,
    /// Who may read it. `None` unless it is a regular file that could be opened.
    pub access: Option<Access>,
}

// Not derived: the content may be a key, or have a password in it.
impl fmt::Debug for FileText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.text.as_ref().map(Vec::len);
        f.debug_struct("FileText").field("path", &self.path).field("length", &length).finish_non_exhaustive()
    }
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The ID of its owner.
    pub user: u32,
    /// The ID of its group.
    pub group: u32,
    /// The permission bits, at most 0o7777.
    pub mode: u32,
}

/// Compares paths and contents, not permissions.
impl PartialEq for FileText {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.text == other.text
    }
}

impl FileText {
    /// Whether it was read and has nothing but whitespace.
    pub fn is_empty(&self) -> bool {
        self.text.as_ref().is_ok_and(|text| text.iter().all(u8::is_ascii_whitespace))
    }
}

/// The files in `conf.d`, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DropIns {
    /// The files to read: `*.toml`, not hidden.
    pub used: Vec<PathBuf>,
    /// All other files.
    pub left_out: Vec<PathBuf>,
    /// The directory, and why it can't be read.
    pub error: Option<(PathBuf, String)>,
}

/// All files of a configuration.
#[derive(Debug, Clone)]
pub struct Files {
    /// `vouchd.toml`
    pub main: FileText,
    /// Sorted by file name.
    pub drop_ins: Vec<FileText>,
    /// The directory that the drop-ins were read from.
    pub list: DropIns,
    /// The files with HMAC keys that these files name.
    pub keys: Vec<FileText>,
}

/// Compares the files that are read, not those that are left out.
impl PartialEq for Files {
    fn eq(&self, other: &Self) -> bool {
        self.main == other.main
            && self.drop_ins == other.drop_ins
            && self.keys == other.keys
            && self.list.error == other.list.error
    }
}

/// Loads `main` and the drop-ins `conf.d/*.toml` beside it, sorted by name. Hidden files are left out, because editors write
/// unfinished files there.
///
/// # Errors
/// Every file that can't be read, and all errors that [`resolve`] finds.
pub fn load(main: &Path) -> Result<Config, Errors> {
    Files::read(read_main(main), &drop_in_dir(main)).resolve()
}

impl Files {
    /// The main file without drop-ins.
    pub fn alone(main: FileText) -> Files {
        Files { main, drop_ins: Vec::new(), list: DropIns::default(), keys: Vec::new() }
    }

    /// Replaces the drop-in with the same file name as `path`, or adds it.
    pub fn with_drop_in(mut self, path: &Path, text: FileText) -> Files {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        let at = self.drop_ins.partition_point(|file| name(&file.path) < name(path));
        if self.drop_ins.get(at).is_some_and(|file| name(&file.path) == name(path)) {
            self.drop_ins[at] = text;
        } else {
            self.drop_ins.insert(at, text);
        }
        self
    }

    /// Adds the drop-ins in `dir` to the main file.
    pub fn read(main: FileText, dir: &Path) -> Files {
        let list = list_drop_ins(dir);
        let drop_ins = list.used.iter().map(|path| read_drop_in(path)).collect();
        Files { main, drop_ins, list, keys: Vec::new() }.with_keys()
    }

    /// The files with HMAC keys that the files name: absolute paths, each once.
    pub fn key_files(&self) -> Vec<PathBuf> {
        let texts = std::iter::once(&self.main).chain(&self.drop_ins).filter_map(|file| file.text.as_ref().ok());
        let texts = texts.filter_map(|bytes| std::str::from_utf8(bytes).ok());
        let mut paths: Vec<PathBuf> = texts.flat_map(resolve::key_files).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// Reads the files with HMAC keys.
    pub fn with_keys(mut self) -> Files {
        self.keys = self.key_files().iter().map(|path| read_drop_in(path)).collect();
        self
    }

    /// Makes a configuration from the files.
    ///
    /// # Errors
    /// Every file that can't be read, and all errors that [`resolve`] finds.
    pub fn resolve(self) -> Result<Config, Errors> {
        self.examine().finish()
    }

    /// Makes as much of a configuration as possible, and collects all errors.
    pub fn examine(self) -> PartialConfig {
        let mut unread = Vec::new();
        let mut sources = Vec::new();
        if let Some((dir, error)) = self.list.error {
            unread.push(unreadable(&dir, error));
        }
        let main = self.main.path.clone();
        let mut access = Vec::new();
        for file in std::iter::once(self.main).chain(self.drop_ins) {
            let path = file.path;
            access.extend(file.access.map(|access| (path.clone(), access)));
            let decoded = file.text.map_err(|error| unreadable(&path, error));
            match decoded.and_then(|bytes| Source::decode(path, bytes)) {
                Ok(source) => sources.push(source),
                Err(problem) => unread.push(problem),
            }
        }
        let key_access = self.keys.iter().filter_map(|file| Some((file.path.clone(), file.access?))).collect();
        let keys = self.keys.into_iter().map(|file| (file.path, file.text)).collect();
        let mut examined = resolve::examine(&main, sources, unread, &keys);
        examined.config.access = access;
        examined.config.key_access = key_access;
        examined.config.warnings.extend(self.list.left_out.iter().filter_map(|path| left_out(path)));
        examined
    }
}

/// The directory with the drop-ins of `main`: `conf.d` beside it. It need not exist.
pub fn drop_in_dir(main: &Path) -> PathBuf {
    main.parent().unwrap_or(Path::new("")).join("conf.d")
}

/// Reads the main file. If it is a pipe, waits until the writer closes it.
pub fn read_main(path: &Path) -> FileText {
    read(path, File::open(path), Kind::Main)
}

/// Reads a drop-in or a file with an HMAC key, which has to be a regular file: a pipe could keep the daemon waiting.
pub fn read_drop_in(path: &Path) -> FileText {
    // Opening a device may have an effect.
    let regular = fs::metadata(path).and_then(|metadata| regular(&metadata));
    let opened = regular.and_then(|()| fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path));
    read(path, opened, Kind::DropIn)
}

#[derive(PartialEq)]
enum Kind {
    Main,
    DropIn,
}

fn read(path: &Path, opened: io::Result<File>, kind: Kind) -> FileText {
    let mut access = None;
    let read = opened.and_then(|file| {
        let metadata = file.metadata()?;
        access = metadata.is_file().then(|| Access {
            user: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.mode() & 0o7777,
        });
        if kind == Kind::DropIn {
            regular(&metadata)?;
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other(format!(
                "it is larger than {} MiB; expected a configuration",
                MAX_FILE_BYTES >> 20
            )));
        }
        Ok(bytes)
    });
    FileText { path: path.to_owned(), text: read.map_err(|error| why_unreadable(path, &error)), access }
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() { Ok(()) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Lists the directory with the drop-ins. A missing directory counts as empty.
pub fn list_drop_ins(dir: &Path) -> DropIns {
    let mut list = DropIns::default();
    let entries = fs::read_dir(dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    match entries {
        Ok(entries) => {
            for path in entries.into_iter().map(|entry| entry.path()) {
                let into = if is_drop_in(&path) { &mut list.used } else { &mut list.left_out };
                into.push(path);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => list.error = Some((dir.to_owned(), why_unreadable(dir, &error))),
    }
    list.used.sort();
    list.left_out.sort();
    list
}

/// Whether the name of a file in the drop-in directory is that of a drop-in: it ends in `.toml` and does not begin with a dot.
pub fn is_drop_in(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(b".toml") && !name.starts_with(b".")
}

/// Warns that a file in the drop-in directory is not read, and says why. `None` for the entries `..*` that Kubernetes puts
/// there.
fn left_out(path: &Path) -> Option<Problem> {
    const COPIES: [&str; 12] =
        ["~", ".bak", ".old", ".orig", ".rej", ".save", ".swp", ".tmp", ".rpmsave", ".rpmnew", ".rpmorig", ".disabled"];
    let name = path.file_name()?.to_string_lossy().into_owned();
    if name.starts_with("..") {
        return None;
    }
    let is_copy = COPIES.iter().any(|end| name.ends_with(end)) || name.contains(".dpkg-") || name.contains(".ucf-");
    let why = if name.starts_with('.') {
        "its name begins with a dot".to_owned()
    } else if is_copy {
        "its name is that of a backup copy; remove it, or give it a name that ends in .toml".to_owned()
    } else {
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        format!("its name does not end in .toml; rename it to {stem}.toml to have it read")
    };
    let message = format!("not read, because {why}");
    Some(Problem { place: None, subject: path.display().to_string(), message })
}

fn why_unreadable(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(target) => {
                format!("it is a link to {}, which does not exist; create that file, or fix the link", target.display())
            }
            Err(_) => "there is no such file; create it, or name another one".to_owned(),
        },
        io::ErrorKind::IsADirectory => {
            format!("it is a directory; expected a file, like {}", path.join("vouchd.toml").display())
        }
        io::ErrorKind::PermissionDenied => forbidden(path),
        _ => format!("can't be read: {error}"),
    }
}

/// Finds the file or directory that this user can't read, and the mode with which the daemon can.
fn forbidden(path: &Path) -> String {
    let enterable = |directory: &Path| directory.join(".").metadata().is_ok();
    let closed = path.ancestors().skip(1).filter(|directory| !directory.as_os_str().is_empty());
    let closed = closed.filter(|directory| !enterable(directory)).last();
    let (what, mode) = match closed {
        Some(directory) => (directory, "0750"),
        None if path.is_dir() => (path, "0750"),
        None => (path, "0640"),
    };
    let shown = what.display();
    let found = what.metadata().ok().map(|metadata| metadata.mode() & 0o7777);
    let has = found.map(|mode| format!(", which has the mode {mode:04o}")).unwrap_or_default();
    // A group-readable mode is right; then it is this user that is wrong.
    let advice = if found.is_some_and(|mode| mode & 0o040 != 0) {
        "run this as root or as a member of its group; if the group is not vouchd, the daemon's group,".to_owned()
    } else {
        "let only root and the daemon's group read it:".to_owned()
    };
    format!("permission denied for {shown}{has}; {advice} `chown root:vouchd {shown} && chmod {mode} {shown}`")
}

fn unreadable(path: &Path, message: String) -> Problem {
    Problem { place: None, subject: path.display().to_string(), message }
}
