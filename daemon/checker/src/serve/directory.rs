//! The thread that watches the plugin directories and loads what changes in them.
//!
//! Every event leads to a new look at the directories ([`Shelf::scan`]), and so does a timer: events get lost (queue
//! overflow, network and overlay file systems, a directory that is itself replaced), the files don't. What an event says
//! is used for one thing only, whether somebody is still writing to a file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use vouchd_blocking::Blocking;

use super::shelf::{Event, Load, Shelf, Sources};

/// How often the directories are looked at without any event.
const RESCAN: Duration = Duration::from_secs(5);

/// How long the watch on one directory may take to be made.
const WATCH_TIME: Duration = Duration::from_millis(500);

/// Starts the thread. Loads run on it, one at a time; plugins named in `first` come first. Each change goes to `sink`,
/// which returns false when nobody listens any more: the thread then ends.
///
/// # Errors
/// When the thread can't be started. That directories can't be watched is no error: they are looked at every 5 seconds.
pub fn spawn<L>(
    sources: Sources,
    first: BTreeSet<String>,
    load: L,
    mut sink: impl FnMut(Event<L::Plugin>) -> bool + Send + 'static,
) -> io::Result<()>
where
    L: Load + Send + 'static,
{
    let work = move || {
        let (changes, changed) = mpsc::channel();
        let directories = BTreeSet::from([sources.plugins.clone(), sources.builtins.clone()]);
        let mut watches = Watches::new(directories, changes);
        watches.renew();
        let mut shelf = Shelf::new(sources, first, load, Instant::now());
        let mut heard = true;
        while heard {
            watches.renew();
            let wake = shelf.scan(&mut |event| heard &= sink(event));
            let rest = wake.map_or(RESCAN, |wake| wake.saturating_duration_since(Instant::now()).min(RESCAN));
            match changed.recv_timeout(rest) {
                Ok(change) => {
                    for change in std::iter::once(change).chain(changed.try_iter()) {
                        note(&mut shelf, change);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Without a watcher there is only the timer.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(rest),
            }
        }
    };
    thread::Builder::new().name("plugins".to_owned()).spawn(work).map(drop)
}

/// What an event says about a file.
#[derive(Debug)]
enum Change {
    Written(PathBuf),
    Closed(PathBuf),
    /// Only that a look at the directories is due.
    Other,
}

fn note<L: Load>(shelf: &mut Shelf<L>, change: Change) {
    match change {
        Change::Written(path) => shelf.written(path, Instant::now()),
        Change::Closed(path) => shelf.closed(&path),
        Change::Other => {}
    }
}

/// The changes that an event stands for; none when it is only about reading.
fn meaning(event: notify::Event) -> Vec<Change> {
    let about: fn(PathBuf) -> Change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Change::Closed,
        EventKind::Access(_) => return Vec::new(),
        EventKind::Modify(ModifyKind::Data(_)) => Change::Written,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => Change::Closed,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => |_| Change::Other,
    };
    if event.paths.is_empty() { vec![Change::Other] } else { event.paths.into_iter().map(about).collect() }
}

/// Watches on directories by path, renewed when another directory is at that path.
struct Watches {
    blocking: Blocking,
    directories: Vec<(PathBuf, Arc<Mutex<Watch>>)>,
}

/// The watch on one directory. Each has a watcher of its own: one that waits for a file system hears nothing of others.
struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: Option<Identity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Watches {
    fn new(directories: BTreeSet<PathBuf>, changes: Sender<Change>) -> Self {
        let watch = |directory| (directory, Arc::new(Mutex::new(Watch::new(changes.clone()))));
        Watches { blocking: Blocking::default(), directories: directories.into_iter().map(watch).collect() }
    }

    /// Watches what is not yet watched: directories that appeared or were replaced.
    fn renew(&mut self) {
        for (directory, watch) in &self.directories {
            let (path, watch) = (directory.clone(), Arc::clone(watch));
            let renew = move || watch.lock().unwrap_or_else(PoisonError::into_inner).renew(&path);
            // One that does not answer is found to by the look at it.
            let _ = self.blocking.wait(&directory.to_string_lossy(), directory, WATCH_TIME, renew);
        }
    }
}

impl Watch {
    fn new(changes: Sender<Change>) -> Self {
        let handler = move |event: notify::Result<notify::Event>| {
            let found = event.map_or_else(|_| vec![Change::Other], meaning);
            for change in found {
                // Nobody listens only while the thread ends.
                let _ = changes.send(change);
            }
        };
        let watcher = notify::recommended_watcher(handler)
            .inspect_err(|error| tracing::warn!("plugin directories are looked at every {RESCAN:?} only: {error}"))
            .ok();
        Watch { watcher, watched: None }
    }

    fn renew(&mut self, directory: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let there = fs::metadata(directory).ok().map(|data| Identity { device: data.dev(), inode: data.ino() });
        if there == self.watched {
            return;
        }
        if self.watched.is_some() {
            // Fails when the kernel has dropped the watch together with the directory.
            let _ = watcher.unwatch(directory);
        }
        if there.is_some()
            && let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive)
        {
            tracing::warn!("{} is looked at every {RESCAN:?} only: {error}", directory.display());
        }
        self.watched = there;
    }
}

#[cfg(test)]
mod tests;
