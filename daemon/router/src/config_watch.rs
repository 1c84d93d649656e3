//! Sends the files of the configuration to the main thread whenever their contents have changed.
//!
//! Notifications of the kernel say when to read them. Reading them every few seconds as well finds changes without a
//! notification (network file systems, a mount over a directory). Only contents count: a file that is touched, copied or
//! linked elsewhere with the same contents is unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tracing::{info, warn};
use vouchd_blocking::Blocking;
use vouchd_config::Files;

use crate::config_reader::{Reader, Reading};
use crate::config_trail::Trail;
use crate::wakeup::Wakeup;
use vouchd_ipc::status;

/// The interval between two readings without a notification.
const POLL: Duration = Duration::from_secs(5);

/// The same while a file system does not answer.
const POLL_STUCK: Duration = Duration::from_secs(1);

/// The quiet time after which files count as written. Editors and installers write in several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// The time for which a file that a program has written to and not closed delays reading.
const LONGEST_WRITE: Duration = Duration::from_secs(5);

/// The time to set up the watches, on file systems that have just answered.
const WATCH_PATIENCE: Duration = Duration::from_secs(2);

/// A message to the thread.
enum Note {
    Changed(PathBuf, Change),
    /// An error of the watcher, which may have hidden a change.
    Uncertain,
    /// SIGHUP: load the files now, changed or not.
    LoadNow,
}

#[derive(Clone, Copy, PartialEq)]
enum Change {
    /// A program has written to it and will close it.
    Write,
    /// The writer has closed it, or the name is gone or means another file.
    Done,
}

/// The main thread's handle.
pub(crate) struct ConfigWatch {
    notes: Sender<Note>,
}

impl ConfigWatch {
    /// Requests the files as they are now.
    pub(crate) fn load_now(&self) {
        // The thread lives as long as the main thread.
        let _ = self.notes.send(Note::LoadNow);
    }
}

/// Starts to watch, until nobody receives `events`. `first` is the reading that the main thread has already.
pub(crate) fn start(
    reader: Reader,
    first: Reading,
    events: Sender<Wakeup>,
    shown: Arc<Mutex<status::ConfigState>>,
) -> anyhow::Result<ConfigWatch> {
    let (to_thread, notes) = channel();
    let watch = Watch {
        reader,
        had_text: with_text(&first.files),
        sent: first.files,
        watched: Trail::default(),
        watcher: None,
        blocking: Blocking::default(),
        to_thread: to_thread.clone(),
        notes,
        written: BTreeMap::new(),
        events,
        shown,
        is_stuck: false,
    };
    thread::Builder::new().name("config-watch".to_owned()).spawn(move || watch.run(first.no_answer))?;
    Ok(ConfigWatch { notes: to_thread })
}

struct Watch {
    reader: Reader,
    /// The files that the main thread has.
    sent: Files,
    /// Files that were not empty when they were sent.
    had_text: BTreeSet<PathBuf>,
    watched: Trail,
    watcher: Option<RecommendedWatcher>,
    blocking: Blocking,
    to_thread: Sender<Note>,
    notes: Receiver<Note>,
    /// Files that are being written, since when.
    written: BTreeMap<PathBuf, Instant>,
    events: Sender<Wakeup>,
    shown: Arc<Mutex<status::ConfigState>>,
    is_stuck: bool,
}

/// Why the files are read.
#[derive(PartialEq)]
enum Cause {
    LoadNow,
    Change,
}

impl Watch {
    fn run(mut self, no_answer: Option<(PathBuf, Instant)>) {
        self.show_answers(no_answer);
        loop {
            let found = self.read();
            if found != self.sent {
                let Some((found, cause)) = self.settled(found) else { return };
                if !self.send(found, &cause) {
                    return;
                }
            }
            match self.wait(if self.is_stuck { POLL_STUCK } else { POLL }) {
                Some(Cause::Change) => {}
                Some(Cause::LoadNow) => {
                    let found = self.read();
                    if !self.send(found, &Cause::LoadNow) {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    /// Reads until two readings are the same. `None` if the daemon ends.
    fn settled(&mut self, mut found: Files) -> Option<(Files, Cause)> {
        let started = Instant::now();
        loop {
            let cause = self.wait(SETTLE)?;
            let again = self.read();
            if again == found || cause == Cause::LoadNow || started.elapsed() > 2 * LONGEST_WRITE {
                return Some((again, cause));
            }
            found = again;
        }
    }

    /// Waits for a request, for a change and then quiet, or for `longest` without a change. `None` if the daemon ends.
    fn wait(&mut self, longest: Duration) -> Option<Cause> {
        let mut until = Instant::now() + longest;
        let mut latest = None;
        loop {
            let now = Instant::now();
            self.written.retain(|_, since| now.duration_since(*since) < LONGEST_WRITE);
            let wait = match (until.saturating_duration_since(now), self.written.values().min()) {
                (Duration::ZERO, Some(oldest)) => LONGEST_WRITE.saturating_sub(now.duration_since(*oldest)),
                (Duration::ZERO, None) => return Some(Cause::Change),
                (left, _) => left,
            };
            match self.notes.recv_timeout(wait.max(Duration::from_millis(1))) {
                Ok(Note::LoadNow) => return Some(Cause::LoadNow),
                Ok(Note::Uncertain) => until = now + SETTLE,
                Ok(Note::Changed(path, change)) => {
                    let latest = *latest.get_or_insert(now + LONGEST_WRITE);
                    match change {
                        Change::Write => {
                            self.written.entry(path).or_insert(now);
                        }
                        Change::Done => {
                            self.written.remove(&path);
                        }
                    }
                    until = (now + SETTLE).min(latest);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Reads the files, and watches the directories on the way to them if those have changed.
    fn read(&mut self) -> Files {
        let mut reading = self.reader.read();
        // A file that was not watched yet may have changed since it was read.
        for _ in 0..3 {
            if reading.trail == self.watched || !self.watch(&reading.trail) {
                break;
            }
            reading = self.reader.read();
        }
        self.show_answers(reading.no_answer);
        reading.files
    }

    /// Returns false if there can be no watches now, so that reading every few seconds has to do.
    fn watch(&mut self, trail: &Trail) -> bool {
        let (to_thread, trail) = (self.to_thread.clone(), trail.clone());
        let wanted = trail.clone();
        match self.blocking.wait("watch", Path::new("/"), WATCH_PATIENCE, move || watcher(to_thread, trail)) {
            Ok(Ok(watcher)) => {
                self.watcher = Some(watcher);
                self.watched = wanted;
                true
            }
            Ok(Err(error)) => {
                if self.watcher.take().is_some() || self.watched == Trail::default() {
                    let every = POLL.as_secs();
                    warn!("could not watch the configuration files; reading them every {every} s instead: {error}");
                }
                self.watched = wanted;
                false
            }
            Err(_) => false,
        }
    }

    /// Sends the files to the main thread. Returns false if the daemon ends.
    fn send(&mut self, found: Files, cause: &Cause) -> bool {
        let (why, mut files) = match cause {
            Cause::LoadNow => ("SIGHUP".to_owned(), found.clone()),
            Cause::Change => (format!("changed: {}", changed(&self.sent, &found).join(", ")), found.clone()),
        };
        if *cause == Cause::LoadNow {
            self.had_text.clear();
        }
        reject_emptied(&mut files, &self.had_text);
        self.had_text.extend(with_text(&found));
        self.sent = found;
        self.events.send(Wakeup::Configuration(Box::new(files), why)).is_ok()
    }

    fn show_answers(&mut self, no_answer: Option<(PathBuf, Instant)>) {
        match (&no_answer, self.is_stuck) {
            (Some((path, _)), false) => {
                let path = path.display();
                warn!("the file system of {path} does not answer; keeping its previous contents");
            }
            (None, true) => info!("the file systems of all configuration files answer again"),
            (Some(_), true) | (None, false) => {}
        }
        self.is_stuck = no_answer.is_some();
        match self.shown.lock() {
            Ok(mut shown) => shown.no_answer = no_answer,
            Err(poisoned) => poisoned.into_inner().no_answer = no_answer,
        }
    }
}

fn watcher(to_thread: Sender<Note>, trail: Trail) -> notify::Result<RecommendedWatcher> {
    let directories: Vec<PathBuf> = trail.directories().map(Path::to_owned).collect();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        for note in notes(event, &trail) {
            // Fails only when the daemon ends.
            let _ = to_thread.send(note);
        }
    })?;
    for directory in directories {
        match watcher.watch(&directory, RecursiveMode::NonRecursive) {
            Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => return Err(error),
            // A directory that may not be read, or is gone again.
            Ok(()) | Err(_) => {}
        }
    }
    Ok(watcher)
}

fn notes(event: notify::Result<notify::Event>, trail: &Trail) -> Vec<Note> {
    let Ok(event) = event else { return vec![Note::Uncertain] };
    if event.need_rescan() {
        return vec![Note::Uncertain];
    }
    let change = match event.kind {
        EventKind::Modify(ModifyKind::Data(_)) => Change::Write,
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Change::Done,
        EventKind::Access(_) => return Vec::new(),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => {
            Change::Done
        }
    };
    event.paths.into_iter().filter(|path| trail.concerns(path)).map(|path| Note::Changed(path, change)).collect()
}

fn with_text(files: &Files) -> BTreeSet<PathBuf> {
    let all = std::iter::once(&files.main).chain(&files.drop_ins);
    all.filter(|file| !file.is_empty()).map(|file| file.path.clone()).collect()
}

/// Turns a file that has become empty into an error. Saving a file on a full disk leaves it empty.
fn reject_emptied(files: &mut Files, had_text: &BTreeSet<PathBuf>) {
    for file in std::iter::once(&mut files.main).chain(&mut files.drop_ins) {
        if file.is_empty() && had_text.contains(&file.path) {
            let why =
                "it is empty, and was not before; expected contents, or no file. To load it as it is, send SIGHUP";
            file.text = Err(why.to_owned());
        }
    }
}

/// The files that are new, gone or changed.
fn changed(before: &Files, now: &Files) -> Vec<String> {
    let by_path = |files: &Files| -> BTreeMap<PathBuf, Result<Vec<u8>, String>> {
        let all = std::iter::once(&files.main).chain(&files.drop_ins).chain(&files.keys);
        all.map(|file| (file.path.clone(), file.text.clone())).collect()
    };
    let (before, now) = (by_path(before), by_path(now));
    let paths: BTreeSet<&PathBuf> = before.keys().chain(now.keys()).collect();
    let differs = |path: &&&PathBuf| before.get(**path) != now.get(**path);
    paths.iter().filter(differs).map(|path| path.display().to_string()).collect()
}
