//! Reads the files; the only part that touches the disk.
//!
//! Each file and the list of drop-ins is read by a function of its own, so that the daemon can do each where it may block.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::errors::{Errors, Problem};
use crate::partial::PartialConfig;
use crate::source::Source;
use crate::{Config, resolve};

/// No configuration is larger; a file that is has been named by mistake.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A file of the configuration: what it says, or why it can't be read.
#[derive(Debug, Clone)]
pub struct FileText {
    pub path: PathBuf,
    pub text: Result<Vec<u8>, String>,
    /// Who may read it. None: it is no regular file, or can't be read.
    pub access: Option<Access>,
}

/// Whose a file is, and its permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub user: u32,
    pub group: u32,
    pub mode: u32,
}

/// What the file says counts, not how it may be read.
impl PartialEq for FileText {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.text == other.text
    }
}

impl FileText {
    /// Whether it was read and there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.text.as_ref().is_ok_and(|text| text.iter().all(u8::is_ascii_whitespace))
    }
}

/// The files in `conf.d`, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DropIns {
    /// Those that are read: `*.toml`, not hidden.
    pub used: Vec<PathBuf>,
    /// All others.
    pub left_out: Vec<PathBuf>,
    /// Why the directory can't be read.
    pub error: Option<(PathBuf, String)>,
}

/// All that a configuration is made of.
#[derive(Debug, Clone)]
pub struct Files {
    pub main: FileText,
    pub drop_ins: Vec<FileText>,
    pub list: DropIns,
}

/// Files that are left out are no part of what the others say.
impl PartialEq for Files {
    fn eq(&self, other: &Self) -> bool {
        self.main == other.main && self.drop_ins == other.drop_ins && self.list.error == other.list.error
    }
}

/// Loads `main` and the drop-ins `conf.d/*.toml` beside it, sorted by name. Hidden files are left out, so that an editor's
/// half-written one is not read.
///
/// # Errors
/// Everything that is wrong: files that can't be read, or what [`resolve`] finds.
pub fn load(main: &Path) -> Result<Config, Errors> {
    Files::read(read_main(main), &drop_in_dir(main)).resolve()
}

impl Files {
    /// One file alone.
    pub fn alone(main: FileText) -> Files {
        Files { main, drop_ins: Vec::new(), list: DropIns::default() }
    }

    /// With another text for the drop-in at `path`, or with one more.
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

    /// The main file, and the drop-ins in `dir`.
    pub fn read(main: FileText, dir: &Path) -> Files {
        let list = list_drop_ins(dir);
        let drop_ins = list.used.iter().map(|path| read_drop_in(path)).collect();
        Files { main, drop_ins, list }
    }

    /// Makes a configuration of them.
    ///
    /// # Errors
    /// Everything that is wrong: files that can't be read, or what [`resolve`] finds.
    pub fn resolve(self) -> Result<Config, Errors> {
        self.examine().finish()
    }

    /// Everything that can be understood of them, and everything that is wrong.
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
        let mut examined = resolve::examine(&main, sources, unread);
        examined.config.access = access;
        examined.config.warnings.extend(self.list.left_out.iter().filter_map(|path| left_out(path)));
        examined
    }
}

/// Where the drop-ins of `main` are: `conf.d` beside it. It need not exist.
pub fn drop_in_dir(main: &Path) -> PathBuf {
    main.parent().unwrap_or(Path::new("")).join("conf.d")
}

/// Reads the main file. It may be a pipe, and then this waits for its end.
pub fn read_main(path: &Path) -> FileText {
    read(path, File::open(path), Kind::Main)
}

/// Reads a drop-in. It must not keep the daemon waiting as a pipe does.
pub fn read_drop_in(path: &Path) -> FileText {
    // Opening a device may do something by itself.
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
                "it has more than {} MiB; expected a configuration",
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

/// Lists the directory of drop-ins; without one there are none.
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

/// Whether a file in the directory of drop-ins is one, by its name.
pub fn is_drop_in(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(b".toml") && !name.starts_with(b".")
}

/// Why a file in the directory of drop-ins is not read. None for what Kubernetes keeps there (`..data`).
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
        "by its name it is a copy; remove it, or give it a name that ends in .toml".to_owned()
    } else {
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        format!("its name does not end in .toml; to have it read, call it {stem}.toml")
    };
    let message = format!("left out, not a part of the configuration: {why}");
    Some(Problem { place: None, subject: path.display().to_string(), message })
}

fn why_unreadable(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(target) => format!("it is a link to {}, which leads nowhere", target.display()),
            Err(_) => "there is no such file; write one, or name another".to_owned(),
        },
        io::ErrorKind::IsADirectory => {
            format!("it is a directory; expected a file, like {}", path.join("vouchd.toml").display())
        }
        io::ErrorKind::PermissionDenied => forbidden(path),
        _ => format!("can't be read: {error}"),
    }
}

/// What keeps this user from the path, and the mode that lets the daemon in.
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
    // As it should be; who asks is somebody else.
    let advice = if found.is_some_and(|mode| mode & 0o040 != 0) {
        "be root or a member of its group to read it; where that is not vouchd, the daemon's,".to_owned()
    } else {
        "let the daemon's group read it and nobody else:".to_owned()
    };
    format!(
        "can't be read: this user may not read {shown}{has}; {advice} `chown root:vouchd {shown} && chmod {mode} {shown}`"
    )
}

fn unreadable(path: &Path, message: String) -> Problem {
    Problem { place: None, subject: path.display().to_string(), message }
}
