//! The operations on the directory.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::NAMES;
use super::directory::{Directory, Log, content, make_writable, remove, remove_all, remove_directory};
use super::model::Entry;

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
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

/// Each operation, and its weight among the others.
pub const OPERATIONS: [(Operation, usize); 28] = [
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

impl Directory {
    /// Does an operation at a name.
    pub fn perform(&mut self, operation: Operation, name: &'static str, log: Log) -> anyhow::Result<()> {
        let path = self.path(name);
        let prepared = self.store.join("prepared");
        let version = self.next(name);
        let bytes = version.bytes();
        let part = self.cut();
        match operation {
            Write => {
                make_writable(&path)?;
                log(self.all_that_are(&path, name, version));
                fs::write(&path, bytes)?;
            }
            Replace => {
                fs::write(&prepared, bytes)?;
                remove_directory(&path)?;
                log(vec![(name, Entry::Version(version))]);
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
                log(self.all_that_are(&path, name, version));
                OpenOptions::new().append(true).open(&path)?.write_all(&bytes[part..])?;
            }
            WriteWithoutClosing => {
                self.close(log)?;
                make_writable(&path)?;
                let mut file = File::create(&path)?;
                file.write_all(&bytes[..part])?;
                self.open = Some((file, bytes[part..].to_vec()));
            }
            WriteManyTimes => {
                make_writable(&path)?;
                for _ in 0..self.dice.below(20) {
                    let version = self.next(name);
                    log(self.all_that_are(&path, name, version));
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
                // Zeros without blocks on the disk.
                OpenOptions::new().write(true).open(&path)?.set_len(200 << 20)?;
            }
            FillTheDisk => {
                make_writable(&path)?;
                fs::write(&path, "")?;
                self.write_on_a_full_disk(&path, &bytes)?;
            }
            Delete => {
                log(vec![(name, Entry::Absent)]);
                remove(&path)?;
            }
            Rename => {
                let to = self.dice.one_of(&NAMES);
                // A name that never fails must not get a version that does.
                let fits = to != name && self.never_fails(name) == self.never_fails(to);
                if fits && path.symlink_metadata().is_ok_and(|data| data.is_file()) {
                    let content = content(&path);
                    remove_directory(&self.path(to))?;
                    log(vec![(name, Entry::Absent)]);
                    log(content.map(|version| (to, Entry::Version(version))).into_iter().collect());
                    fs::rename(&path, self.path(to))?;
                }
            }
            LinkTo => {
                let (target, version) = self.stored(name, log)?;
                remove(&prepared)?;
                symlink(Path::new("../store").join(target), &prepared)?;
                remove_directory(&path)?;
                log(vec![(name, Entry::Version(version))]);
                fs::rename(&prepared, &path)?;
            }
            DanglingLink | CircularLink => {
                log(vec![(name, Entry::Absent)]);
                remove(&path)?;
                let circle = format!("{name}.wasm");
                symlink(if operation == CircularLink { &circle } else { "nowhere" }, &path)?;
            }
            HardLink => {
                let (target, version) = self.stored(name, log)?;
                log(vec![(name, Entry::Absent), (name, Entry::Version(version))]);
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
                // Other bytes of the same length and modification time.
                let now = SystemTime::now();
                let hour = Duration::from_secs(3600);
                let then = self.dice.one_of(&[SystemTime::UNIX_EPOCH, now - hour, now + hour]);
                make_writable(&path)?;
                log(self.all_that_are(&path, name, version));
                fs::write(&path, bytes)?;
                let times = FileTimes::new().set_modified(then).set_accessed(then);
                OpenOptions::new().write(true).open(&path)?.set_times(times)?;
            }
            WriteBehindALink => drop(self.stored(name, log)?),
            BecomeDirectory => {
                log(vec![(name, Entry::Absent)]);
                remove(&path)?;
                fs::create_dir(&path)?;
                fs::write(path.join("inner.wasm"), bytes)?;
            }
            BecomePipe => {
                log(vec![(name, Entry::Absent)]);
                remove(&path)?;
                mkfifo(&path, Mode::from_bits_truncate(0o644))?;
            }
            BecomeSocket => {
                log(vec![(name, Entry::Absent)]);
                remove(&path)?;
                // The path of a socket is limited to 108 bytes.
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
                log(entries);
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
                log(NAMES.iter().map(|name| (*name, Entry::Absent)).collect());
                fs::rename(&self.plugins, &away)?;
                self.pause();
                let there =
                    |name: &'static str| Some((name, Entry::Version(content(&away.join(format!("{name}.wasm")))?)));
                log(NAMES.into_iter().filter_map(there).collect());
                fs::rename(&away, &self.plugins)?;
            }
            RemoveDirectory => {
                log(NAMES.iter().map(|name| (*name, Entry::Absent)).collect());
                remove_all(&self.plugins)?;
                self.pause();
                fs::create_dir(&self.plugins)?;
            }
        }
        Ok(())
    }
}
