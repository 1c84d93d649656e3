//! Which plugin versions run: compares the files in the plugin directories with what is loaded, and reports each change.
//!
//! A file counts once it has settled, that is, once nobody seems to write it any more. If a file does not load, the version
//! before it stays in use. A version is identified by the SHA-256 of its bytes, so touching or re-creating a file changes
//! nothing.

mod directory;
mod entry;
mod event;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vouchd_blocking::Blocking;

use self::directory::Directory;
use self::entry::{Entry, unix_time};
use super::listing::{Candidate, Proof, SignatureRule};
use super::load::{Load, Loaded, Progress, RETRY_PAUSES};
use super::read::{self, Contents};
use super::read_error::ReadError;
use super::signature::Keys;
use super::sources::Sources;
use vouchd_ipc::pipe::{LoadedPlugin, PluginState};

pub(crate) use self::entry::{SETTLE, SETTLE_OPEN};
pub(crate) use self::event::PluginEvent;

/// How long a file may take to be read.
const READ_TIME: Duration = Duration::from_secs(5);

/// Interval between tries to read a file whose file system does not answer.
const STUCK_INTERVAL: Duration = Duration::from_secs(2);

/// Interval between questions for a file that takes long to compile.
const UNDERWAY_INTERVAL: Duration = Duration::from_millis(200);

/// All plugins, by name.
pub(crate) struct Catalog<L> {
    /// The operator's directory, then that of the built-in plugins.
    directories: [Directory; 2],
    keys: Option<Keys>,
    load: L,
    /// Plugins to load first: those that checks wait for. The operator's other plugins come next.
    first: BTreeSet<String>,
    entries: BTreeMap<String, Entry>,
    /// Files that were written to and not closed since, with the time of the last write.
    writing: HashMap<PathBuf, Instant>,
    /// When [`PluginEvent::Ready`] is sent at the latest. `None` once it was sent.
    ready_by: Option<Instant>,
    blocking: Blocking,
    /// As last reported.
    problems: Vec<String>,
    reader: fn(&Candidate) -> Result<Contents, ReadError>,
    pauses: [Duration; 3],
}

impl<L: Load> Catalog<L> {
    /// An empty catalog: the first scan reads the directories. Plugins named in `first` are loaded before others.
    pub(crate) fn new(sources: Sources, first: BTreeSet<String>, load: L, now: Instant) -> Self {
        let (own, builtin) = match &sources.keys {
            None => (SignatureRule::NoFile, SignatureRule::NoFile),
            Some(_) => (SignatureRule::EveryFile, SignatureRule::NotRoots),
        };
        Catalog {
            directories: [Directory::new(sources.plugins, own), Directory::new(sources.builtins, builtin)],
            keys: sources.keys,
            load,
            first,
            entries: BTreeMap::new(),
            writing: HashMap::new(),
            ready_by: Some(now + Duration::from_secs(1)),
            blocking: Blocking::default(),
            problems: Vec::new(),
            reader: read::read,
            pauses: RETRY_PAUSES,
        }
    }

    /// Notes that data was written to this file, and that more may follow.
    pub(crate) fn written(&mut self, path: PathBuf, now: Instant) {
        self.writing.insert(path, now);
    }

    /// Notes that the file was closed by its writer, moved or removed.
    pub(crate) fn closed(&mut self, path: &Path) {
        self.writing.remove(path);
    }

    /// Reads the directories and loads one file that has settled. Returns when to scan again; `None` means not before the
    /// next change.
    pub(crate) fn scan(&mut self, emit: &mut dyn FnMut(PluginEvent<L::Plugin>)) -> Option<Instant> {
        let asked = Instant::now();
        for directory in &mut self.directories {
            directory.read(&self.blocking);
        }
        let now = Instant::now();
        // A directory that does not answer takes no time from the files of the other.
        self.ready_by = self.ready_by.map(|by| by + (now - asked));
        self.writing.retain(|_, last| now.saturating_duration_since(*last) < SETTLE_OPEN);
        let mut candidates = self.directories[1].listing.clone();
        // A directory or pipe with the name of a plugin does not hide a built-in plugin.
        let own = self.directories[0]
            .listing
            .iter()
            .filter(|(name, own)| own.odd.is_none() || !candidates.contains_key(*name));
        let own: Vec<_> = own.map(|(name, own)| (name.clone(), own.clone())).collect();
        candidates.extend(own);

        let mut wake: Option<Instant> = None;
        let mut wait = |until: Instant| wake = Some(wake.map_or(until, |wake| wake.min(until)));
        let mut settled = Vec::new();
        for (name, candidate) in &candidates {
            let last_written = self.writing.get(&candidate.path).copied();
            let entry = self.see(name, candidate, now);
            if let Some(again_at) = entry.again_at.filter(|again_at| now < *again_at) {
                wait(again_at);
                continue;
            }
            // A file that was something else meanwhile has lost its result, and is tried again.
            let is_known = entry.underway.is_some() || entry.pending.is_none();
            if is_known && entry.tried.as_ref() == Some(candidate) {
                if let Some(sha256) = entry.underway.clone() {
                    if self.load.is_due(&sha256) { settled.push(name.clone()) } else { wait(now + UNDERWAY_INTERVAL) }
                }
                continue;
            }
            let (settled_at, what) = match last_written {
                _ if candidate.odd.is_some() => (entry.since + SETTLE, None),
                Some(last) => (last + SETTLE_OPEN, Some("is still being written")),
                None if candidate.stamp.is_empty() => (entry.since + SETTLE_OPEN, Some("is still empty")),
                None => (entry.since + SETTLE, Some("is about to be loaded")),
            };
            if let (None, Some(what)) = (entry.again_at, what) {
                entry.wait_for(name, what, false, emit);
            }
            if settled_at <= now { settled.push(name.clone()) } else { wait(settled_at) }
        }
        let missing: Vec<String> =
            self.entries.keys().filter(|name| !candidates.contains_key(*name)).cloned().collect();
        for name in missing {
            if let Some(until) = self.miss(&name, now, emit) {
                wait(until);
            }
        }
        settled.sort_by_key(|name| (!self.first.contains(name), !self.directories[0].listing.contains_key(name)));
        let more = settled.len() > 1;
        if let Some(name) = settled.first() {
            match self.attempt(name, emit) {
                Attempt::Done => {}
                Attempt::Retry => wait(Instant::now() + SETTLE),
                Attempt::Underway => wait(Instant::now() + UNDERWAY_INTERVAL),
            }
        }
        if more {
            // Loading one takes seconds on a busy machine, and a file that changes meanwhile may come before the others.
            return Some(Instant::now());
        }
        if let Some(by) = self.ready_by {
            if wake.is_none() || by <= Instant::now() {
                self.ready_by = None;
                self.problems = self.problems();
                emit(PluginEvent::Ready { problems: self.problems.clone() });
            } else {
                wake = wake.map(|wake| wake.min(by));
            }
        } else if self.problems() != self.problems {
            self.problems = self.problems();
            emit(PluginEvent::Problems { problems: self.problems.clone() });
        }
        wake
    }

    fn problems(&self) -> Vec<String> {
        self.directories.iter().filter_map(|directory| directory.problem.clone()).collect()
    }

    /// Notes what a plugin's file looks like now.
    fn see(&mut self, name: &str, candidate: &Candidate, now: Instant) -> &mut Entry {
        let entry = self.entries.entry(name.to_owned()).or_insert_with(|| Entry::new(candidate, now));
        entry.missing_since = None;
        if entry.seen != *candidate {
            entry.seen = candidate.clone();
            entry.since = now;
        }
        entry
    }

    /// Notes that a plugin has no file. Returns when that counts, unless it counts already.
    fn miss(&mut self, name: &str, now: Instant, emit: &mut dyn FnMut(PluginEvent<L::Plugin>)) -> Option<Instant> {
        let entry = self.entries.get_mut(name)?;
        let until = *entry.missing_since.get_or_insert(now) + SETTLE;
        if now < until {
            return Some(until);
        }
        let entry = self.entries.remove(name)?;
        let directory = self.directories.iter().find(|directory| entry.seen.path.parent() == Some(&directory.path));
        let why = match directory {
            Some(directory) if !directory.exists => {
                format!("gone: the plugin directory {} does not exist any more", directory.path.display())
            }
            Some(_) | None => format!("gone: {} was removed", entry.seen.path.display()),
        };
        // The error of a file that never ran ends with the file.
        let error = entry.loaded.map(|_| why);
        let (name, source) = (name.to_owned(), entry.seen.path);
        let state = PluginState { name, source, loaded: None, error, pending: None, is_gone: true };
        emit(PluginEvent::Gone { state });
        None
    }

    /// Reads and loads a settled file.
    fn attempt(&mut self, name: &str, emit: &mut dyn FnMut(PluginEvent<L::Plugin>)) -> Attempt {
        // A built-in plugin that no check waits for must not hold up other files.
        let is_urgent = self.first.contains(name) || self.directories[0].listing.contains_key(name);
        let Some(entry) = self.entries.get_mut(name) else { return Attempt::Done };
        if let Some(odd) = entry.seen.odd.clone() {
            *entry = Entry { tried: Some(entry.seen.clone()), error: Some(format!("it is {odd}")), ..entry.reset() };
            emit(PluginEvent::StateChanged { state: entry.state(name) });
            return Attempt::Done;
        }
        let (seen, keys) = (entry.seen.clone(), self.keys.clone());
        let reader = self.reader;
        let read = move || match reader(&seen) {
            Ok(Contents::Changed) => None,
            Ok(Contents::Whole(bytes)) => Some(match (&seen.proof, &keys) {
                (Proof::Signature(_), Some(keys)) => keys.check(&seen.path, &bytes).map(|()| bytes),
                (Proof::NotNeeded, _) | (_, None) => Ok(bytes),
            }),
            Err(error) => Some(Err(error)),
        };
        let path = &entry.seen.path;
        let bytes = match self.blocking.wait(&format!("read {}", path.display()), path, READ_TIME, read) {
            Ok(Some(Err(ReadError::Hindered(why)))) => {
                entry.retry_later(name, &why, self.pauses, emit);
                return Attempt::Retry;
            }
            Ok(Some(bytes)) => bytes.map_err(ReadError::into_words),
            Ok(None) => return Attempt::Retry,
            Err(_) => {
                entry.again_at = Some(Instant::now() + STUCK_INTERVAL);
                entry.fail(name, "can't be read: its file system does not answer".to_owned(), emit);
                return Attempt::Retry;
            }
        };
        (entry.again_at, entry.hindered) = (None, 0);
        entry.tried = Some(entry.seen.clone());
        // A file that fails is retried from time to time: its error stays until the result changes.
        let is_failing = entry.underway.take().is_some() && entry.pending.is_none();
        let outcome = match bytes {
            Err(error) => Err(error),
            Ok(bytes) => {
                let sha256 = read::sha256(&bytes);
                if entry.loaded.as_ref().is_some_and(|loaded| loaded.sha256 == sha256) {
                    Ok(None)
                } else {
                    if !is_failing {
                        entry.wait_for(name, "is being compiled", false, emit);
                    }
                    // A bug in the compiler must not affect other plugins.
                    let progress = panic::catch_unwind(AssertUnwindSafe(|| self.load.load(&sha256, &bytes, is_urgent)));
                    match progress {
                        Ok(Progress::Done(loaded)) => loaded.map(|loaded| Some((sha256, loaded))),
                        Ok(Progress::Underway { what }) => {
                            entry.underway = Some(sha256);
                            if !is_failing {
                                entry.wait_for(name, &what, true, emit);
                            }
                            return Attempt::Underway;
                        }
                        Ok(Progress::Failing { error }) => {
                            entry.underway = Some(sha256);
                            entry.fail(name, error, emit);
                            return Attempt::Underway;
                        }
                        Err(_) => Err("the WebAssembly compiler crashed on this file; please report it".to_owned()),
                    }
                }
            }
        };
        entry.pending = None;
        let fresh = match outcome {
            Ok(fresh) => {
                entry.error = None;
                fresh.map(|(sha256, Loaded { plugin, kind, compiled_in })| {
                    let loaded_at = unix_time();
                    entry.loaded = Some(LoadedPlugin { kind, sha256: sha256.clone(), loaded_at, compiled_in });
                    (plugin, sha256)
                })
            }
            Err(error) => {
                entry.error = Some(error);
                None
            }
        };
        let state = entry.state(name);
        emit(match fresh {
            Some((plugin, sha256)) => PluginEvent::Loaded { plugin, sha256, state },
            None => PluginEvent::StateChanged { state },
        });
        Attempt::Done
    }
}

/// The result of trying a file.
enum Attempt {
    /// The file is loaded, or cannot be used.
    Done,
    /// It has changed meanwhile, or could not be read: try again later.
    Retry,
    /// The loader is not done with it.
    Underway,
}

#[cfg(test)]
mod tests;
