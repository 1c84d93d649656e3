//! Hands the files of the configuration to the main thread whenever what they say has changed.
//!
//! The kernel's news say when to look; a look now and then finds what they don't tell of (network file systems, a mount over
//! a directory). Only what the files say counts: touched, copied over or linked elsewhere, the same words are no change.

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

use super::config_reader::{Reader, Reading};
use super::config_trail::Trail;
use super::wakeup::Wakeup;
use vouchd_ipc::status;

/// Between two looks without any news.
const POLL: Duration = Duration::from_secs(5);

/// The same while a file system does not answer.
const POLL_STUCK: Duration = Duration::from_secs(1);

/// Editors and installers write in several steps; this long after the last one, files count as written.
const SETTLE: Duration = Duration::from_millis(100);

/// A file that somebody has written to and not closed is not looked at before this.
const LONGEST_WRITE: Duration = Duration::from_secs(5);

/// How long making the watches may take, on a file system that has just answered.
const WATCH_PATIENCE: Duration = Duration::from_secs(2);

/// The messages that the thread takes.
enum Note {
    Changed(PathBuf, Change),
    /// An error of the watcher, which may hide a change.
    Uncertain,
    /// Load now, whatever was there before.
    Asked,
}

#[derive(Clone, Copy, PartialEq)]
enum Change {
    /// Somebody writes to it, and will close it.
    Write,
    /// Whoever wrote has closed it, or the name has gone or stands for something else.
    Done,
}

/// For the main thread.
pub struct ConfigWatch {
    notes: Sender<Note>,
}

impl ConfigWatch {
    /// Asks for the files as they are now.
    pub fn load_now(&self) {
        // The thread lives as long as the main thread.
        let _ = self.notes.send(Note::Asked);
    }
}

/// Watches for as long as somebody listens to `events`. `first` is what the main thread has already.
pub fn start(
    reader: Reader,
    first: Reading,
    events: Sender<Wakeup>,
    shown: Arc<Mutex<status::ConfigState>>,
) -> anyhow::Result<ConfigWatch> {
    let (to_thread, notes) = channel();
    let watch = Watch {
        reader,
        had_text: with_text(&first.files),
        said: first.files,
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
    /// What the main thread has.
    said: Files,
    /// Files that were not empty when they were handed over.
    had_text: BTreeSet<PathBuf>,
    watched: Trail,
    watcher: Option<RecommendedWatcher>,
    blocking: Blocking,
    to_thread: Sender<Note>,
    notes: Receiver<Note>,
    /// Files that somebody writes to, since when.
    written: BTreeMap<PathBuf, Instant>,
    events: Sender<Wakeup>,
    shown: Arc<Mutex<status::ConfigState>>,
    is_stuck: bool,
}

/// Why to look.
#[derive(PartialEq)]
enum Look {
    Asked,
    News,
}

impl Watch {
    fn run(mut self, no_answer: Option<(PathBuf, Instant)>) {
        self.show_answers(no_answer);
        loop {
            let found = self.read();
            if found != self.said {
                let Some((found, look)) = self.settled(found) else { return };
                if !self.hand_over(found, &look) {
                    return;
                }
            }
            match self.wait(if self.is_stuck { POLL_STUCK } else { POLL }) {
                Some(Look::News) => {}
                Some(Look::Asked) => {
                    let found = self.read();
                    if !self.hand_over(found, &Look::Asked) {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    /// Reads until two readings are the same. None: the daemon ends.
    fn settled(&mut self, mut found: Files) -> Option<(Files, Look)> {
        let started = Instant::now();
        loop {
            let look = self.wait(SETTLE)?;
            let again = self.read();
            if again == found || look == Look::Asked || started.elapsed() > 2 * LONGEST_WRITE {
                return Some((again, look));
            }
            found = again;
        }
    }

    /// Until asked, or until there was news and then quiet, or for `longest` without news. None: the daemon ends.
    fn wait(&mut self, longest: Duration) -> Option<Look> {
        let mut until = Instant::now() + longest;
        let mut latest = None;
        loop {
            let now = Instant::now();
            self.written.retain(|_, since| now.duration_since(*since) < LONGEST_WRITE);
            let wait = match (until.saturating_duration_since(now), self.written.values().min()) {
                (Duration::ZERO, Some(oldest)) => LONGEST_WRITE.saturating_sub(now.duration_since(*oldest)),
                (Duration::ZERO, None) => return Some(Look::News),
                (left, _) => left,
            };
            match self.notes.recv_timeout(wait.max(Duration::from_millis(1))) {
                Ok(Note::Asked) => return Some(Look::Asked),
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

    /// Reads the files and watches the way to each, again where that has changed.
    fn read(&mut self) -> Files {
        let mut reading = self.reader.read();
        // What was not watched yet may have changed since it was read.
        for _ in 0..3 {
            if reading.trail == self.watched || !self.watch(&reading.trail) {
                break;
            }
            reading = self.reader.read();
        }
        self.show_answers(reading.no_answer);
        reading.files
    }

    /// False: there can be no watches now, and a look now and then has to do.
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
                    warn!("the configuration's files can't be watched, and are looked at every {every} s: {error}");
                }
                self.watched = wanted;
                false
            }
            Err(_) => false,
        }
    }

    /// False: nobody listens any more.
    fn hand_over(&mut self, found: Files, look: &Look) -> bool {
        let (why, mut files) = match look {
            Look::Asked => ("SIGHUP".to_owned(), found.clone()),
            Look::News => (format!("changed: {}", changed(&self.said, &found).join(", ")), found.clone()),
        };
        if *look == Look::Asked {
            self.had_text.clear();
        }
        refuse_emptied(&mut files, &self.had_text);
        self.had_text.extend(with_text(&found));
        self.said = found;
        self.events.send(Wakeup::Configuration(Box::new(files), why)).is_ok()
    }

    fn show_answers(&mut self, no_answer: Option<(PathBuf, Instant)>) {
        match (&no_answer, self.is_stuck) {
            (Some((path, _)), false) => {
                let path = path.display();
                warn!("the file system under {path} does not answer; what the configuration said before stays");
            }
            (None, true) => info!("the file systems of the configuration answer again"),
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
            // One that may not be read, or is gone again.
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

/// A disk that is full leaves an empty file where one was to be saved: no reason to give up what the file had.
fn refuse_emptied(files: &mut Files, had_text: &BTreeSet<PathBuf>) {
    for file in std::iter::once(&mut files.main).chain(&mut files.drop_ins) {
        if file.is_empty() && had_text.contains(&file.path) {
            let why = "it is empty, and was not before; expected what it said, or no file. SIGHUP takes it as it is";
            file.text = Err(why.to_owned());
        }
    }
}

/// The files that are new, gone or different.
fn changed(before: &Files, now: &Files) -> Vec<String> {
    let by_path = |files: &Files| -> BTreeMap<PathBuf, Result<Vec<u8>, String>> {
        let all = std::iter::once(&files.main).chain(&files.drop_ins);
        all.map(|file| (file.path.clone(), file.text.clone())).collect()
    };
    let (before, now) = (by_path(before), by_path(now));
    let paths: BTreeSet<&PathBuf> = before.keys().chain(now.keys()).collect();
    let differs = |path: &&&PathBuf| before.get(**path) != now.get(**path);
    paths.iter().filter(differs).map(|path| path.display().to_string()).collect()
}
