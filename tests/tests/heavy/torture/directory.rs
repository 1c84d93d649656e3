//! The directory and what is done to it.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use vouchd_tests::vouchd::Vouchd;
use vouchd_tests::wait::until;

use super::dice::Dice;
use super::model::{Entry, Model};
use super::version::{self, Version};
use super::{NAMES, PASSING};

/// What can be done, each with how often it is among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Write,
    Replace,
    WritePart,
    WriteInTwoParts,
    WriteWithoutClosing,
    WriteManyTimes,
    Truncate,
    Garbage,
    Empty,
    TooLarge,
    FillTheDisk,
    Delete,
    Rename,
    LinkTo,
    DanglingLink,
    CircularLink,
    HardLink,
    ChangeMode,
    ChangeTimes,
    WriteBehindALink,
    BecomeDirectory,
    BecomePipe,
    BecomeSocket,
    CloseDirectory,
    ReplaceDirectory,
    MoveDirectoryAway,
    RemoveDirectory,
    LinkDirectory,
}

use Operation::*;

const OPERATIONS: [(Operation, usize); 28] = [
    (Write, 4),
    (Replace, 4),
    (WritePart, 2),
    (WriteInTwoParts, 2),
    (WriteWithoutClosing, 1),
    (WriteManyTimes, 2),
    (Truncate, 2),
    (Garbage, 1),
    (Empty, 1),
    (TooLarge, 1),
    (FillTheDisk, 2),
    (Delete, 2),
    (Rename, 2),
    (LinkTo, 3),
    (DanglingLink, 1),
    (CircularLink, 1),
    (HardLink, 2),
    (ChangeMode, 2),
    (ChangeTimes, 2),
    (WriteBehindALink, 1),
    (BecomeDirectory, 1),
    (BecomePipe, 1),
    (BecomeSocket, 1),
    (CloseDirectory, 1),
    (ReplaceDirectory, 1),
    (MoveDirectoryAway, 1),
    (RemoveDirectory, 1),
    (LinkDirectory, 1),
];

/// Files in the store that links lead to.
const STORED: usize = 4;

#[derive(Debug)]
pub struct Directory {
    /// The file system of all this.
    arena: PathBuf,
    plugins: PathBuf,
    /// Beside it, on the same file system: where links lead and files are prepared.
    store: PathBuf,
    dice: Dice,
    serial: u32,
    /// Written in part and not closed; what is to come.
    open: Option<(File, Vec<u8>)>,
    history: Vec<(Operation, &'static str)>,
}

/// What the file at a name says should be in status.
#[derive(Debug)]
enum Expected {
    Gone,
    Loaded(Version, PathBuf),
    /// An error with these words.
    Error(&'static str),
}

impl Directory {
    pub fn new(arena: PathBuf, seed: u64) -> anyhow::Result<Self> {
        let (plugins, store) = (arena.join("plugins"), arena.join("store"));
        fs::create_dir(&plugins)?;
        fs::create_dir(&store)?;
        let dice = Dice::new(seed);
        Ok(Directory { arena, plugins, store, dice, serial: 0, open: None, history: Vec::new() })
    }

    /// A version for each name.
    pub fn fill(&mut self, model: &mut Model) -> anyhow::Result<()> {
        for name in NAMES {
            let version = self.next(name);
            model.may_be(name, Entry::Version(version));
            fs::write(self.path(name), version.bytes())?;
        }
        Ok(())
    }

    /// The last operations, for a message.
    pub fn latest(&self) -> String {
        format!("{:?}", &self.history[self.history.len().saturating_sub(8)..])
    }

    /// How often each operation was done, for a message.
    pub fn summary(&self) -> String {
        let mut done = BTreeMap::<_, usize>::new();
        for (operation, _) in &self.history {
            *done.entry(operation).or_default() += 1;
        }
        format!("{done:?}")
    }

    pub fn operate(&mut self, model: &Mutex<Model>) -> anyhow::Result<()> {
        let all: usize = OPERATIONS.iter().map(|(_, share)| share).sum();
        let mut number = self.dice.below(all);
        let (operation, _) = OPERATIONS
            .into_iter()
            .find(|(_, share)| match number.checked_sub(*share) {
                Some(less) => {
                    number = less;
                    false
                }
                None => true,
            })
            .context("a number below the sum")?;
        let name = self.dice.one_of(&NAMES);
        self.history.push((operation, name));
        let said = |entries: Vec<(&'static str, Entry)>| {
            let mut model = model.lock().expect("no panic");
            for (name, entry) in entries {
                model.may_be(name, entry);
            }
        };
        self.perform(operation, name, &said).with_context(|| self.latest())?;
        self.pause();
        Ok(())
    }

    /// Ends what is in the middle of something.
    pub fn finish(&mut self, model: &Mutex<Model>) -> anyhow::Result<()> {
        let said = |entries: Vec<(&'static str, Entry)>| {
            let mut model = model.lock().expect("no panic");
            for (name, entry) in entries {
                model.may_be(name, entry);
            }
        };
        self.close(&said)
    }

    fn perform(
        &mut self,
        operation: Operation,
        name: &'static str,
        said: &dyn Fn(Vec<(&'static str, Entry)>),
    ) -> anyhow::Result<()> {
        let path = self.path(name);
        let prepared = self.store.join("prepared");
        let version = self.next(name);
        let bytes = version.bytes();
        let part = self.cut();
        match operation {
            Write => {
                make_writable(&path)?;
                said(self.all_that_are(&path, name, version));
                fs::write(&path, bytes)?;
            }
            Replace => {
                fs::write(&prepared, bytes)?;
                remove_directory(&path)?;
                said(vec![(name, Entry::Version(version))]);
                fs::rename(&prepared, &path)?;
            }
            WritePart => {
                make_writable(&path)?;
                fs::write(&path, &bytes[..part])?;
            }
            WriteInTwoParts => {
                make_writable(&path)?;
                fs::write(&path, &bytes[..part])?;
                self.pause();
                said(self.all_that_are(&path, name, version));
                OpenOptions::new().append(true).open(&path)?.write_all(&bytes[part..])?;
            }
            WriteWithoutClosing => {
                self.close(said)?;
                make_writable(&path)?;
                let mut file = File::create(&path)?;
                file.write_all(&bytes[..part])?;
                self.open = Some((file, bytes[part..].to_vec()));
            }
            WriteManyTimes => {
                make_writable(&path)?;
                for _ in 0..self.dice.below(20) {
                    let version = self.next(name);
                    said(self.all_that_are(&path, name, version));
                    fs::write(&path, version.bytes())?;
                }
            }
            Truncate => {
                if fs::metadata(&path).is_ok_and(|data| data.is_file()) {
                    OpenOptions::new().write(true).open(&path)?.set_len(part as u64)?;
                }
            }
            Garbage => {
                make_writable(&path)?;
                fs::write(&path, bytes.iter().map(|b| b ^ 0x55).collect::<Vec<_>>())?;
            }
            Empty => {
                make_writable(&path)?;
                fs::write(&path, "")?;
            }
            TooLarge => {
                make_writable(&path)?;
                fs::write(&path, &bytes[..part])?;
                // Of zeros that take no room.
                OpenOptions::new().write(true).open(&path)?.set_len(200 << 20)?;
            }
            FillTheDisk => {
                make_writable(&path)?;
                fs::write(&path, "")?;
                self.write_on_a_full_disk(&path, &bytes)?;
            }
            Delete => {
                said(vec![(name, Entry::Absent)]);
                remove(&path)?;
            }
            Rename => {
                let to = self.dice.one_of(&NAMES);
                // What fails at times must never be shared with a name that never does.
                let fits = to != name && self.never_fails(name) == self.never_fails(to);
                if fits && path.symlink_metadata().is_ok_and(|data| data.is_file()) {
                    let content = content(&path);
                    remove_directory(&self.path(to))?;
                    said(vec![(name, Entry::Absent)]);
                    said(content.map(|version| (to, Entry::Version(version))).into_iter().collect());
                    fs::rename(&path, self.path(to))?;
                }
            }
            LinkTo => {
                let (target, version) = self.stored(name, said)?;
                remove(&prepared)?;
                symlink(Path::new("../store").join(target), &prepared)?;
                remove_directory(&path)?;
                said(vec![(name, Entry::Version(version))]);
                fs::rename(&prepared, &path)?;
            }
            DanglingLink | CircularLink => {
                said(vec![(name, Entry::Absent)]);
                remove(&path)?;
                let circle = format!("{name}.wasm");
                symlink(if operation == CircularLink { &circle } else { "nowhere" }, &path)?;
            }
            HardLink => {
                let (target, version) = self.stored(name, said)?;
                said(vec![(name, Entry::Absent), (name, Entry::Version(version))]);
                remove(&path)?;
                fs::hard_link(self.store.join(target), &path)?;
            }
            ChangeMode => {
                if fs::metadata(&path).is_ok_and(|data| data.is_file()) {
                    let mode = self.dice.one_of(&[0o000, 0o200, 0o600, 0o640, 0o444, 0o644, 0o755]);
                    fs::set_permissions(&path, Permissions::from_mode(mode))?;
                }
            }
            ChangeTimes => {
                // Other bytes of the same length and age.
                let now = SystemTime::now();
                let hour = Duration::from_secs(3600);
                let then = self.dice.one_of(&[SystemTime::UNIX_EPOCH, now - hour, now + hour]);
                make_writable(&path)?;
                said(self.all_that_are(&path, name, version));
                fs::write(&path, bytes)?;
                let times = FileTimes::new().set_modified(then).set_accessed(then);
                OpenOptions::new().write(true).open(&path)?.set_times(times)?;
            }
            WriteBehindALink => drop(self.stored(name, said)?),
            BecomeDirectory => {
                said(vec![(name, Entry::Absent)]);
                remove(&path)?;
                fs::create_dir(&path)?;
                fs::write(path.join("inner.wasm"), bytes)?;
            }
            BecomePipe => {
                said(vec![(name, Entry::Absent)]);
                remove(&path)?;
                mkfifo(&path, Mode::from_bits_truncate(0o644))?;
            }
            BecomeSocket => {
                said(vec![(name, Entry::Absent)]);
                remove(&path)?;
                // Bound by a path that is short enough.
                let short = std::env::temp_dir().join(format!("vouchd-torture-{}", std::process::id()));
                let _ = fs::remove_file(&short);
                symlink(&self.plugins, &short)?;
                let bound = UnixListener::bind(short.join(format!("{name}.wasm")));
                fs::remove_file(&short)?;
                bound?;
            }
            CloseDirectory => {
                let mode = self.dice.one_of(&[0o000, 0o311, 0o444, 0o644]);
                fs::set_permissions(&self.plugins, Permissions::from_mode(mode))?;
                self.pause();
                fs::set_permissions(&self.plugins, Permissions::from_mode(0o755))?;
            }
            ReplaceDirectory | LinkDirectory => {
                let (other, old) = (self.arena.join(format!("other-{}", self.serial)), self.arena.join("old"));
                fs::create_dir(&other)?;
                let mut entries: Vec<_> = NAMES.iter().map(|name| (*name, Entry::Absent)).collect();
                for name in NAMES {
                    if self.dice.below(3) > 0 {
                        let version = self.next(name);
                        fs::write(other.join(format!("{name}.wasm")), version.bytes())?;
                        entries.push((name, Entry::Version(version)));
                    }
                }
                said(entries);
                fs::rename(&self.plugins, &old)?;
                if operation == LinkDirectory {
                    symlink(other.file_name().context("its name")?, &self.plugins)?;
                } else {
                    fs::rename(&other, &self.plugins)?;
                }
                remove_all(&old)?;
            }
            MoveDirectoryAway => {
                let away = self.arena.join("away");
                said(NAMES.iter().map(|name| (*name, Entry::Absent)).collect());
                fs::rename(&self.plugins, &away)?;
                self.pause();
                let there =
                    |name: &'static str| Some((name, Entry::Version(content(&away.join(format!("{name}.wasm")))?)));
                said(NAMES.into_iter().filter_map(there).collect());
                fs::rename(&away, &self.plugins)?;
            }
            RemoveDirectory => {
                said(NAMES.iter().map(|name| (*name, Entry::Absent)).collect());
                remove_all(&self.plugins)?;
                self.pause();
                fs::create_dir(&self.plugins)?;
            }
        }
        Ok(())
    }

    /// Writes a file of the store anew, to which links may lead already. Gives its name.
    fn stored(
        &mut self,
        name: &'static str,
        said: &dyn Fn(Vec<(&'static str, Entry)>),
    ) -> anyhow::Result<(PathBuf, Version)> {
        // Those for names that fail at times are others.
        let kind = if self.never_fails(name) { "passing" } else { "any" };
        let target = PathBuf::from(format!("{kind}-{}.wasm", self.dice.below(STORED)));
        let path = self.store.join(&target);
        let version = self.next(name);
        if fs::metadata(&path).is_ok_and(|data| data.mode() & 0o7777 != 0o644) {
            // A link may have led a change of mode to it.
            fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        }
        let mut entries = self.all_that_are(&path, name, version);
        // Nothing is at the name itself yet, unless a link is.
        entries.pop();
        said(entries);
        fs::write(path, version.bytes())?;
        Ok((target, version))
    }

    /// Of the names whose file this is, however they lead to it: they get this version. The given one is the last.
    fn all_that_are(&self, path: &Path, name: &'static str, version: Version) -> Vec<(&'static str, Entry)> {
        let identity = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
        let this = identity(path);
        let same = |other: &&'static str| this.is_some() && identity(&self.path(other)) == this;
        let others = NAMES.into_iter().filter(same).chain([name]);
        others.map(|name| (name, Entry::Version(version))).collect()
    }

    /// Goes on with the file that is not closed, and closes it.
    fn close(&mut self, said: &dyn Fn(Vec<(&'static str, Entry)>)) -> anyhow::Result<()> {
        let Some((mut file, rest)) = self.open.take() else { return Ok(()) };
        // Where it is by now, and what it will be: others may have written to it, too.
        let data = file.metadata()?;
        let is_it = |name: &&'static str| {
            fs::metadata(self.path(name)).is_ok_and(|at| (at.dev(), at.ino()) == (data.dev(), data.ino()))
        };
        let names: Vec<_> = NAMES.into_iter().filter(is_it).collect();
        if let Some(first) = names.first()
            && data.len() <= version::length() as u64
        {
            let mut whole = fs::read(self.path(first))?;
            let begun = io::Seek::stream_position(&mut file)?;
            let begun = usize::try_from(begun)?;
            let end = begun + rest.len();
            whole.resize(whole.len().max(end), 0);
            whole[begun..end].copy_from_slice(&rest);
            if let Some(version) = Version::of(&whole) {
                said(names.iter().map(|name| (*name, Entry::Version(version))).collect());
            }
        }
        Ok(file.write_all(&rest)?)
    }

    /// Leaves room for one page, so that the file ends within.
    fn write_on_a_full_disk(&self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        let filler = self.arena.join("filler");
        let mut file = File::create(&filler)?;
        let filled = loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                break error;
            }
        };
        ensure!(filled.kind() == ErrorKind::StorageFull, "{filled}");
        let length = file.metadata()?.len();
        file.set_len((length - 1) / 4096 * 4096)?;
        let written = fs::write(path, bytes);
        drop(file);
        fs::remove_file(&filler)?;
        // The kernel may take a moment to give back what a removed file had.
        until("room on the disk again", Duration::from_secs(2), || {
            let written = fs::write(&filler, [0; 1 << 18]);
            written.and_then(|()| fs::remove_file(&filler)).is_ok()
        })?;
        ensure!(written.is_err_and(|error| error.kind() == ErrorKind::StorageFull), "it fitted on a full disk");
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.plugins.join(format!("{name}.wasm"))
    }

    fn never_fails(&self, name: &str) -> bool {
        NAMES[..PASSING].contains(&name)
    }

    /// A version that nobody has seen.
    fn next(&mut self, name: &str) -> Version {
        self.serial += 1;
        Version { serial: self.serial, passes: self.never_fails(name) || self.dice.below(2) == 0 }
    }

    /// A length at which a file is none.
    fn cut(&mut self) -> usize {
        loop {
            let length = self.dice.below(version::length());
            if version::is_a_cut(length) {
                return length;
            }
        }
    }

    fn pause(&mut self) {
        let longest = self.dice.one_of(&[1, 10, 60, 250]);
        thread::sleep(Duration::from_millis(self.dice.below(longest) as u64));
    }

    /// What is wrong with what status says about the names.
    pub fn complaints(&self, vouchd: &Vouchd) -> Vec<String> {
        match vouchd.status() {
            Ok(status) => NAMES.iter().filter_map(|name| self.complaint(name, &status)).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    fn complaint(&self, name: &str, status: &Value) -> Option<String> {
        let entry = |list: &str| {
            status[list].as_array().into_iter().flatten().find(|e| e["name"] == name).cloned().unwrap_or_default()
        };
        let (plugin, check) = (entry("plugins"), entry("checks"));
        let error = plugin["error"].as_str();
        let expected = self.expected(name);
        let right = match &expected {
            Expected::Gone => {
                (plugin.is_null() || error.is_some_and(|error| error.contains("gone"))) && check["verdict"] == "error"
            }
            Expected::Error(words) => error.is_some_and(|error| error.contains(words)),
            Expected::Loaded(version, path) => {
                let verdict = if version.passes { "pass" } else { "fail" };
                error.is_none()
                    && plugin["sha256"] == sha256(path)
                    && check["verdict"] == verdict
                    && check["message"] == version.message()
            }
        };
        (!right).then(|| format!("{name}: expected {expected:?}; found {plugin} and {check}"))
    }

    fn expected(&self, name: &str) -> Expected {
        let path = self.path(name);
        match fs::metadata(&path) {
            Ok(data) if data.is_file() && data.mode() & 0o004 == 0 => Expected::Error("can't be read"),
            Ok(data) if data.is_file() && data.size() > 64 << 20 => Expected::Error("too large"),
            Ok(data) if data.is_file() => match content(&path) {
                Some(version) => Expected::Loaded(version, path),
                None => Expected::Error(""),
            },
            Ok(_) => Expected::Error("not a file"),
            Err(_) if path.is_symlink() => Expected::Error("link"),
            Err(_) => Expected::Gone,
        }
    }
}

/// The version that is there, whole.
fn content(path: &Path) -> Option<Version> {
    // Neither a pipe, which would block, nor a file of any size.
    let may_be = fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() == version::length() as u64);
    if may_be { Version::of(&fs::read(path).ok()?) } else { None }
}

fn sha256(path: &Path) -> Value {
    let output = Command::new("sha256sum").arg(path).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).split_whitespace().next().unwrap_or_default().into()
}

/// So that a file can be written at the path: whatever else is there goes, and so do links that lead nowhere.
fn make_writable(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|data| data.is_file()) { Ok(()) } else { remove(path) }
}

/// Whatever it is, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// A directory does not give way to what is renamed over it.
fn remove_directory(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok_and(|data| data.is_dir()) { fs::remove_dir_all(path) } else { Ok(()) }
}

/// A directory, or a link and the directory that it leads to.
fn remove_all(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_symlink() {
        let target = path.with_file_name(fs::read_link(path)?);
        fs::remove_file(path)?;
        return fs::remove_dir_all(target);
    }
    fs::remove_dir_all(path)
}
