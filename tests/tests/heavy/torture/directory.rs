//! The plugin directory, and the files to which its links lead.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use vouchd_tests::wait::until;

use super::dice::Dice;
use super::model::{Entry, Model};
use super::operations::{OPERATIONS, Operation};
use super::version::{self, Version};
use super::{NAMES, PASSING};

/// The number of files to which links lead, of each kind.
const STORED: usize = 4;

/// Notes in the model what may be at names from now on.
pub type Log<'a> = &'a dyn Fn(Vec<(&'static str, Entry)>);

fn log_of(model: &Mutex<Model>) -> impl Fn(Vec<(&'static str, Entry)>) {
    |entries| {
        let mut model = model.lock().expect("no thread panics with it");
        entries.into_iter().for_each(|(name, entry)| model.may_be(name, entry));
    }
}

/// The directory and its surroundings.
#[derive(Debug)]
pub struct Directory {
    /// The root of the file system.
    pub arena: PathBuf,
    /// The plugin directory.
    pub plugins: PathBuf,
    /// The directory to which links lead, and in which files are prepared. On the same file system.
    pub store: PathBuf,
    pub dice: Dice,
    pub serial: u32,
    /// A file that was written in part and not closed, and the rest of its bytes.
    pub open: Option<(File, Vec<u8>)>,
    history: Vec<(Operation, &'static str)>,
}

impl Directory {
    /// Makes the directories. The same seed repeats the operations.
    pub fn new(arena: PathBuf, seed: u64) -> anyhow::Result<Self> {
        let (plugins, store) = (arena.join("plugins"), arena.join("store"));
        fs::create_dir(&plugins)?;
        fs::create_dir(&store)?;
        let dice = Dice::new(seed);
        Ok(Directory { arena, plugins, store, dice, serial: 0, open: None, history: Vec::new() })
    }

    /// Writes a version for each name.
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

    /// Does a random operation.
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
        self.perform(operation, name, &log_of(model)).with_context(|| self.latest())?;
        self.pause();
        Ok(())
    }

    /// Completes the file that is not closed.
    pub fn finish(&mut self, model: &Mutex<Model>) -> anyhow::Result<()> {
        self.close(&log_of(model))
    }

    /// Writes a new version to a file of the store, to which links may lead already. Returns the name of the file.
    pub fn stored(&mut self, name: &'static str, log: Log) -> anyhow::Result<(PathBuf, Version)> {
        // Names that never fail share files only with each other.
        let kind = if self.never_fails(name) { "passing" } else { "any" };
        let target = PathBuf::from(format!("{kind}-{}.wasm", self.dice.below(STORED)));
        let path = self.store.join(&target);
        let version = self.next(name);
        if fs::metadata(&path).is_ok_and(|data| data.mode() & 0o7777 != 0o644) {
            // An operation may have changed its mode through a link.
            fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        }
        let mut entries = self.all_that_are(&path, name, version);
        // The file is not at the name itself yet, unless a link leads there.
        entries.pop();
        log(entries);
        fs::write(path, version.bytes())?;
        Ok((target, version))
    }

    /// Entries with this version for all names that lead to the file at `path`, and last for `name` itself.
    pub fn all_that_are(&self, path: &Path, name: &'static str, version: Version) -> Vec<(&'static str, Entry)> {
        let identity = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
        let this = identity(path);
        let same = |other: &&'static str| this.is_some() && identity(&self.path(other)) == this;
        let others = NAMES.into_iter().filter(same).chain([name]);
        others.map(|name| (name, Entry::Version(version))).collect()
    }

    /// Writes the rest of the file that is not closed, and closes it.
    pub fn close(&mut self, log: Log) -> anyhow::Result<()> {
        let Some((mut file, rest)) = self.open.take() else { return Ok(()) };
        // It may be at another name by now, and other operations may have written to it.
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
                log(names.iter().map(|name| (*name, Entry::Version(version))).collect());
            }
        }
        Ok(file.write_all(&rest)?)
    }

    /// Fills the disk but for one page, and writes: the file is truncated.
    pub fn write_on_a_full_disk(&self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
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
        // The kernel may take a moment to free the blocks of a removed file.
        until("room on the disk again", Duration::from_secs(2), || {
            let written = fs::write(&filler, [0; 1 << 18]);
            written.and_then(|()| fs::remove_file(&filler)).is_ok()
        })?;
        ensure!(written.is_err_and(|error| error.kind() == ErrorKind::StorageFull), "the file fitted on a full disk");
        Ok(())
    }

    /// The file of a name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.plugins.join(format!("{name}.wasm"))
    }

    /// Whether every version of the name passes.
    pub fn never_fails(&self, name: &str) -> bool {
        NAMES[..PASSING].contains(&name)
    }

    /// A new version.
    pub fn next(&mut self, name: &str) -> Version {
        self.serial += 1;
        Version { serial: self.serial, passes: self.never_fails(name) || self.dice.below(2) == 0 }
    }

    /// A length at which a file is certainly no plugin.
    pub fn cut(&mut self) -> usize {
        loop {
            let length = self.dice.below(version::length());
            if version::is_a_cut(length) {
                return length;
            }
        }
    }

    /// Sleeps for a random time: how long the daemon sees each state is part of the test.
    pub fn pause(&mut self) {
        let longest = self.dice.one_of(&[1, 10, 60, 250]);
        thread::sleep(Duration::from_millis(self.dice.below(longest) as u64));
    }
}

/// The version at a path; `None` unless it is whole.
pub fn content(path: &Path) -> Option<Version> {
    // A pipe would block, and a file of another size is no version.
    let may_be = fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() == version::length() as u64);
    if may_be { Version::of(&fs::read(path).ok()?) } else { None }
}

/// Removes whatever is at the path unless a file can be written there: also a link that leads nowhere.
pub fn make_writable(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|data| data.is_file()) { Ok(()) } else { remove(path) }
}

/// Removes whatever is at the path.
pub fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// Removes a directory at the path, over which no file can be renamed.
pub fn remove_directory(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok_and(|data| data.is_dir()) { fs::remove_dir_all(path) } else { Ok(()) }
}

/// Removes a directory, or a link and the directory to which it leads.
pub fn remove_all(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_symlink() {
        let target = path.with_file_name(fs::read_link(path)?);
        fs::remove_file(path)?;
        return fs::remove_dir_all(target);
    }
    fs::remove_dir_all(path)
}
