//! Which plugin versions run: what is in the directories, turned into one event per change.
//!
//! A file counts once it is settled, that is once nobody seems to write it any more. What does not load leaves the
//! version before it running. A version is known by the SHA-256 of its bytes, so that touching or re-creating a file
//! changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use vouchd_blocking::Blocking;
use vouchd_plugin::lacks;

use super::files::{self, Candidate, Contents, Proof, Rule, Unread};
use super::loading::{AGAIN, RARELY};
use super::signature::Keys;
use vouchd_ipc::pipe::{LoadedPlugin, Pending, PluginState};

/// How long a file stays as it is before it counts.
pub const SETTLE: Duration = Duration::from_millis(100);

/// The same for a file that was written to and not closed, or is still empty.
pub const SETTLE_OPEN: Duration = Duration::from_secs(5);

/// A directory gets this long to say what is in it, and a file to be read.
const LIST_TIME: Duration = Duration::from_secs(1);
const READ_TIME: Duration = Duration::from_secs(5);

/// How often to ask for a file whose file system does not answer.
const ASK_STUCK: Duration = Duration::from_secs(2);

/// How often to ask for a file that takes long to compile.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Where plugins come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The operator's own; wins over the built-ins.
    pub plugins: PathBuf,
    pub builtins: PathBuf,
    /// Where there are keys, the operator's own plugins need a signature by one of them; and so do the built-ins, but for
    /// those that only root can have put there, as the daemon itself.
    pub keys: Option<Keys>,
}

/// What loading gives.
#[derive(Debug)]
pub struct Loaded<P> {
    pub plugin: P,
    /// `component`, `module` or `command`.
    pub kind: String,
    /// How long compiling took; none if it had been compiled before.
    pub compiled_in: Option<Duration>,
}

/// How far loading has come.
#[derive(Debug)]
pub enum Loading<P> {
    /// Or why not, in words.
    Done(Result<Loaded<P>, String>),
    /// It goes on blocking, or will: to be asked for again once it is due. What is said of the plugin until then, like `is
    /// being compiled`.
    Underway { what: String },
    /// The same, of a file that can't be used until then, and why.
    Failing { error: String },
}

/// Makes runnable plugins of files' bytes.
pub trait Load {
    type Plugin;

    /// May take seconds if it `is_urgent`, a moment if not. `sha256` is that of the bytes.
    fn load(&mut self, sha256: &str, bytes: &[u8], is_urgent: bool) -> Loading<Self::Plugin>;

    /// Whether it is worth asking again for a file that was underway.
    fn is_due(&mut self, sha256: &str) -> bool;
}

impl<P, F: FnMut(&[u8]) -> Result<Loaded<P>, String>> Load for F {
    type Plugin = P;

    fn load(&mut self, _sha256: &str, bytes: &[u8], _is_urgent: bool) -> Loading<P> {
        Loading::Done(self(bytes))
    }

    fn is_due(&mut self, _sha256: &str) -> bool {
        true
    }
}

/// What happened to a plugin.
#[derive(Debug)]
pub enum Event<P> {
    /// This version runs from now on.
    Loaded { plugin: P, sha256: String, state: PluginState },
    /// There is a file of which it is not known yet what becomes of it; the version that runs, if any, goes on. Comes
    /// before [`Event::Ready`] for every file that is there at start, and again when something else is awaited.
    Pending { state: PluginState },
    /// The version that runs, if any, goes on; what is known about the file has changed.
    Kept { state: PluginState },
    /// No file of this name is left: the plugin must not run any more. Where no version of it ran, nothing more is said.
    Gone { state: PluginState },
    /// All files that were there at start have been tried: only plugins in earlier events exist. Comes once. `problems`
    /// says which directories can't be read.
    Ready { problems: Vec<String> },
    /// The same about the directories, whenever it changes later on.
    Problems { problems: Vec<String> },
}

impl<P> Event<P> {
    /// What the event says of its plugin.
    pub fn state(&self) -> Option<&PluginState> {
        match self {
            Event::Loaded { state, .. } | Event::Pending { state } | Event::Kept { state } | Event::Gone { state } => {
                Some(state)
            }
            Event::Ready { .. } | Event::Problems { .. } => None,
        }
    }
}

/// The plugins, by name.
pub struct Shelf<L> {
    sources: [Source; 2],
    keys: Option<Keys>,
    load: L,
    /// Plugins to try first: those that checks wait for. The operator's own come next.
    first: BTreeSet<String>,
    entries: BTreeMap<String, Entry>,
    /// Files with data written and no close seen since, and when the last was seen.
    writing: HashMap<PathBuf, Instant>,
    /// When [`Event::Ready`] comes at the latest; none once it has come.
    ready_by: Option<Instant>,
    /// For what may block.
    blocking: Blocking,
    /// As they were told last.
    problems: Vec<String>,
    reader: fn(&Candidate) -> Result<Contents, Unread>,
    pauses: [Duration; 3],
}

/// The plugin files of a directory, by plugin name.
type Listing = BTreeMap<String, Candidate>;

struct Source {
    directory: PathBuf,
    rule: Rule,
    /// Kept while the directory can't be read: unknown is not gone.
    listing: Listing,
    /// Why it has none, or no newer ones.
    problem: Option<String>,
    is_there: bool,
    /// What the last look found, and was not taken over yet.
    found: Arc<Mutex<Option<io::Result<Option<Listing>>>>>,
}

struct Entry {
    seen: Candidate,
    /// Since when the file is as seen.
    since: Instant,
    /// The version of the file that was tried last.
    tried: Option<Candidate>,
    /// Its digest, while it has to be asked for again.
    underway: Option<String>,
    /// What is awaited, as it was told.
    pending: Option<Pending>,
    /// Not to be read before: its file system does not answer, or the host could not read it.
    again_at: Option<Instant>,
    /// How often the host could not.
    hindered: usize,
    missing_since: Option<Instant>,
    loaded: Option<LoadedPlugin>,
    error: Option<String>,
}

impl<L: Load> Shelf<L> {
    /// Reads nothing yet. Plugins named in `first` are loaded before others.
    pub fn new(sources: Sources, first: BTreeSet<String>, load: L, now: Instant) -> Self {
        let source = |directory, rule| Source {
            directory,
            rule,
            listing: BTreeMap::new(),
            problem: None,
            is_there: false,
            found: Arc::default(),
        };
        let (own, builtin) = match &sources.keys {
            None => (Rule::NoFile, Rule::NoFile),
            Some(_) => (Rule::EveryFile, Rule::NotRoots),
        };
        Shelf {
            sources: [source(sources.plugins, own), source(sources.builtins, builtin)],
            keys: sources.keys,
            load,
            first,
            entries: BTreeMap::new(),
            writing: HashMap::new(),
            ready_by: Some(now + Duration::from_secs(1)),
            blocking: Blocking::default(),
            problems: Vec::new(),
            reader: files::read,
            pauses: AGAIN,
        }
    }

    /// Data was written to this file, which may not be all yet.
    pub fn written(&mut self, path: PathBuf, now: Instant) {
        self.writing.insert(path, now);
    }

    /// The file was closed by its writer, moved or removed.
    pub fn closed(&mut self, path: &Path) {
        self.writing.remove(path);
    }

    /// Looks into the directories and loads one file that has settled. Returns when to look again for others.
    pub fn scan(&mut self, emit: &mut dyn FnMut(Event<L::Plugin>)) -> Option<Instant> {
        let asked = Instant::now();
        for source in &mut self.sources {
            source.read(&self.blocking);
        }
        let now = Instant::now();
        // One directory that does not answer takes no time from the files of the other.
        self.ready_by = self.ready_by.map(|by| by + (now - asked));
        self.writing.retain(|_, last| now.saturating_duration_since(*last) < SETTLE_OPEN);
        let mut candidates = self.sources[1].listing.clone();
        // What is no file hides none.
        let own =
            self.sources[0].listing.iter().filter(|(name, own)| own.odd.is_none() || !candidates.contains_key(*name));
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
            // If it was something else meanwhile, what was known of it has been dropped: it is tried again.
            let is_known = entry.underway.is_some() || entry.pending.is_none();
            if is_known && entry.tried.as_ref() == Some(candidate) {
                if let Some(sha256) = entry.underway.clone() {
                    if self.load.is_due(&sha256) { settled.push(name.clone()) } else { wait(now + ASK_AGAIN) }
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
                entry.awaits(name, what, false, emit);
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
        settled.sort_by_key(|name| (!self.first.contains(name), !self.sources[0].listing.contains_key(name)));
        let more = settled.len() > 1;
        if let Some(name) = settled.first() {
            match self.attempt(name, emit) {
                Attempt::Done => {}
                Attempt::Changed => wait(Instant::now() + SETTLE),
                Attempt::Underway => wait(Instant::now() + ASK_AGAIN),
            }
        }
        if more {
            // One takes seconds on a busy machine: what changed meanwhile may come before the others.
            return Some(Instant::now());
        }
        if let Some(by) = self.ready_by {
            if wake.is_none() || by <= Instant::now() {
                self.ready_by = None;
                self.problems = self.problems();
                emit(Event::Ready { problems: self.problems.clone() });
            } else {
                wake = wake.map(|wake| wake.min(by));
            }
        } else if self.problems() != self.problems {
            self.problems = self.problems();
            emit(Event::Problems { problems: self.problems.clone() });
        }
        wake
    }

    fn problems(&self) -> Vec<String> {
        self.sources.iter().filter_map(|source| source.problem.clone()).collect()
    }

    /// Notes what a plugin's file is now.
    fn see(&mut self, name: &str, candidate: &Candidate, now: Instant) -> &mut Entry {
        let entry = self.entries.entry(name.to_owned()).or_insert_with(|| {
            // Nothing runs yet that a file in the middle of a rename dance could displace: an old file is settled.
            let old = candidate.stamp.is_older_than(SETTLE_OPEN, SystemTime::now());
            Entry {
                seen: candidate.clone(),
                since: if old { now.checked_sub(SETTLE).unwrap_or(now) } else { now },
                tried: None,
                underway: None,
                pending: None,
                again_at: None,
                hindered: 0,
                missing_since: None,
                loaded: None,
                error: None,
            }
        });
        entry.missing_since = None;
        if entry.seen != *candidate {
            entry.seen = candidate.clone();
            entry.since = now;
        }
        entry
    }

    /// A plugin's file is not there. Returns when that counts, if not yet.
    fn miss(&mut self, name: &str, now: Instant, emit: &mut dyn FnMut(Event<L::Plugin>)) -> Option<Instant> {
        let entry = self.entries.get_mut(name)?;
        let until = *entry.missing_since.get_or_insert(now) + SETTLE;
        if now < until {
            return Some(until);
        }
        let entry = self.entries.remove(name)?;
        let directory = self.sources.iter().find(|source| entry.seen.path.parent() == Some(&source.directory));
        let why = match directory {
            Some(source) if !source.is_there => {
                format!("gone: the plugin directory {} does not exist any more", source.directory.display())
            }
            Some(_) | None => format!("gone: {} was removed", entry.seen.path.display()),
        };
        // Of a file that never ran, what was wrong with it is over.
        let error = entry.loaded.map(|_| why);
        let (name, source) = (name.to_owned(), entry.seen.path);
        let state = PluginState { name, source, loaded: None, error, pending: None, is_gone: true };
        emit(Event::Gone { state });
        None
    }

    /// Reads and loads a settled file.
    fn attempt(&mut self, name: &str, emit: &mut dyn FnMut(Event<L::Plugin>)) -> Attempt {
        // A built-in that no check waits for keeps no other file waiting.
        let is_urgent = self.first.contains(name) || self.sources[0].listing.contains_key(name);
        let Some(entry) = self.entries.get_mut(name) else { return Attempt::Done };
        if let Some(odd) = entry.seen.odd.clone() {
            *entry = Entry { tried: Some(entry.seen.clone()), error: Some(format!("it is {odd}")), ..entry.anew() };
            emit(Event::Kept { state: entry.state(name) });
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
            Ok(Some(Err(Unread::Hindered(why)))) => {
                entry.put_off(name, &why, self.pauses, emit);
                return Attempt::Changed;
            }
            Ok(Some(bytes)) => bytes.map_err(Unread::into_words),
            Ok(None) => return Attempt::Changed,
            Err(_) => {
                let error = "can't be read: its file system does not answer".to_owned();
                let is_news = entry.error.as_ref() != Some(&error) || entry.pending.take().is_some();
                (entry.error, entry.again_at) = (Some(error), Some(Instant::now() + ASK_STUCK));
                if is_news {
                    emit(Event::Kept { state: entry.state(name) });
                }
                return Attempt::Changed;
            }
        };
        (entry.again_at, entry.hindered) = (None, 0);
        entry.tried = Some(entry.seen.clone());
        // Tried again from time to time: what is known of it stays until that changes.
        let is_failing = entry.underway.take().is_some() && entry.pending.is_none();
        let outcome = match bytes {
            Err(error) => Err(error),
            Ok(bytes) => {
                let sha256 = files::sha256(&bytes);
                if entry.loaded.as_ref().is_some_and(|loaded| loaded.sha256 == sha256) {
                    Ok(None)
                } else {
                    if !is_failing {
                        entry.awaits(name, "is being compiled", false, emit);
                    }
                    // A bug in the compiler must not take the other plugins with it.
                    let loading = panic::catch_unwind(AssertUnwindSafe(|| self.load.load(&sha256, &bytes, is_urgent)));
                    match loading {
                        Ok(Loading::Done(loaded)) => loaded.map(|loaded| Some((sha256, loaded))),
                        Ok(Loading::Underway { what }) => {
                            entry.underway = Some(sha256);
                            if !is_failing {
                                entry.awaits(name, &what, true, emit);
                            }
                            return Attempt::Underway;
                        }
                        Ok(Loading::Failing { error }) => {
                            entry.underway = Some(sha256);
                            if entry.pending.take().is_some() || entry.error.as_ref() != Some(&error) {
                                entry.error = Some(error);
                                emit(Event::Kept { state: entry.state(name) });
                            }
                            return Attempt::Underway;
                        }
                        Err(_) => Err("the WebAssembly compiler crashed on it (please report)".to_owned()),
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
            Some((plugin, sha256)) => Event::Loaded { plugin, sha256, state },
            None => Event::Kept { state },
        });
        Attempt::Done
    }
}

/// What came of trying a file.
enum Attempt {
    /// It is known what became of it.
    Done,
    /// It has changed meanwhile.
    Changed,
    Underway,
}

impl Entry {
    fn state(&self, name: &str) -> PluginState {
        PluginState {
            name: name.to_owned(),
            source: self.seen.path.clone(),
            loaded: self.loaded.clone(),
            error: self.error.clone(),
            pending: self.pending.clone(),
            is_gone: false,
        }
    }

    /// The same file, of which nothing is known or runs.
    fn anew(&self) -> Entry {
        Entry {
            seen: self.seen.clone(),
            since: self.since,
            tried: None,
            underway: None,
            pending: None,
            again_at: None,
            hindered: 0,
            missing_since: None,
            loaded: None,
            error: None,
        }
    }

    /// The host could not read it. It is tried again, as it is, after longer and longer pauses.
    fn put_off<P>(&mut self, name: &str, why: &str, pauses: [Duration; 3], emit: &mut dyn FnMut(Event<P>)) {
        (self.tried, self.underway) = (None, None);
        let pause = pauses.get(self.hindered).copied();
        self.again_at = Some(Instant::now() + pause.unwrap_or(RARELY));
        self.hindered += 1;
        if let Some(pause) = pause {
            return self.awaits(name, &format!("is to be read again after {} s ({why})", pause.as_secs()), true, emit);
        }
        let error = format!("{why}; tried again every minute");
        if self.pending.take().is_some() || self.error.as_ref() != Some(&error) {
            self.error = Some(error);
            emit(Event::Kept { state: self.state(name) });
        }
    }

    /// Notes what the file waits for, and tells if that is new. What was wrong with an earlier file is no longer of
    /// interest.
    fn awaits<P>(&mut self, name: &str, what: &str, is_long: bool, emit: &mut dyn FnMut(Event<P>)) {
        let since = match &self.pending {
            Some(pending) if pending.what == what && pending.is_long == is_long => return,
            Some(pending) => pending.since,
            None => unix_time(),
        };
        self.error = None;
        self.pending = Some(Pending { what: what.to_owned(), since, is_long });
        emit(Event::Pending { state: self.state(name) });
    }
}

impl Source {
    fn read(&mut self, blocking: &Blocking) {
        let (directory, rule, slot) = (self.directory.clone(), self.rule, Arc::clone(&self.found));
        let look = move || {
            let found = files::list(&directory, rule);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        };
        let asked = blocking.wait(&format!("list {}", self.directory.display()), &self.directory, LIST_TIME, look);
        // What came too late the last time is better than nothing.
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.problem = match (found, asked) {
            (Some(Ok(Some(listing))), _) => {
                self.listing = listing;
                self.is_there = true;
                None
            }
            (Some(Ok(None)), _) => {
                self.listing.clear();
                if std::mem::take(&mut self.is_there) {
                    tracing::warn!("the plugin directory {} does not exist any more", self.directory.display());
                }
                Some(format!("{} does not exist", self.directory.display()))
            }
            (Some(Err(error)), _) => self.news(describe(&self.directory, &error)),
            (None, Ok(())) => None,
            (None, Err(_)) => self.news(format!(
                "plugin directory {} can't be read: its file system does not answer; what was loaded goes on",
                self.directory.display()
            )),
        };
    }

    /// The problem, logged if it was not there before.
    fn news(&self, problem: String) -> Option<String> {
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!("{problem}");
        }
        Some(problem)
    }
}

fn describe(directory: &Path, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotADirectory {
        return format!("plugin directory {} is not a directory", directory.display());
    }
    if let Some(words) = lacks(error, &format!("reading the plugin directory {}", directory.display())) {
        return words;
    }
    format!(
        "plugin directory {} can't be read by the checker's user ({error}); make it readable for all users",
        directory.display()
    )
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
