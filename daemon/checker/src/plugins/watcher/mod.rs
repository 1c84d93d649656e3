//! The thread that watches the plugin directories and loads changed files.
//!
//! Every notification leads to a new scan of the directories ([`Catalog::scan`]). So does a timer, since notifications get
//! lost: the queue overflows, network and overlay file systems send none, a directory is itself replaced. The contents of a
//! notification show only whether somebody is still writing to a file.

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

use super::catalog::{Catalog, PluginEvent};
use super::load::Load;
use super::sources::Sources;

/// Interval between scans without any notification.
const RESCAN: Duration = Duration::from_secs(5);

/// How long adding the watch on one directory may take.
const WATCH_TIME: Duration = Duration::from_millis(500);

/// Starts the thread. It loads one file at a time; plugins named in `first` come first. Each change goes to `sink`. The
/// thread ends when `sink` returns false.
///
/// # Errors
/// When the thread cannot be started. Directories that cannot be watched are no error: they are scanned every 5 seconds.
pub(crate) fn spawn<L>(
    sources: Sources,
    first: BTreeSet<String>,
    load: L,
    mut sink: impl FnMut(PluginEvent<L::Plugin>) -> bool + Send + 'static,
) -> io::Result<()>
where
    L: Load + Send + 'static,
{
    let work = move || {
        let (changes, changed) = mpsc::channel();
        let directories = BTreeSet::from([sources.plugins.clone(), sources.builtins.clone()]);
        let mut watches = DirectoryWatches::new(directories, changes);
        watches.renew();
        let mut catalog = Catalog::new(sources, first, load, Instant::now());
        let mut is_wanted = true;
        while is_wanted {
            watches.renew();
            let wake = catalog.scan(&mut |event| is_wanted &= sink(event));
            let rest = wake.map_or(RESCAN, |wake| wake.saturating_duration_since(Instant::now()).min(RESCAN));
            match changed.recv_timeout(rest) {
                Ok(change) => {
                    for change in std::iter::once(change).chain(changed.try_iter()) {
                        note(&mut catalog, change);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                // No watcher could be made, so there is only the timer.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(rest),
            }
        }
    };
    thread::Builder::new().name("plugins".to_owned()).spawn(work).map(drop)
}

/// What a notification says about a file.
#[derive(Debug)]
enum Change {
    Written(PathBuf),
    Closed(PathBuf),
    /// Only that a scan is due.
    Other,
}

fn note<L: Load>(catalog: &mut Catalog<L>, change: Change) {
    match change {
        Change::Written(path) => catalog.written(path, Instant::now()),
        Change::Closed(path) => catalog.closed(&path),
        Change::Other => {}
    }
}

/// The changes that a notification stands for. Empty if the file was only read.
fn changes_of(event: notify::Event) -> Vec<Change> {
    let about: fn(PathBuf) -> Change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Change::Closed,
        EventKind::Access(_) => return Vec::new(),
        EventKind::Modify(ModifyKind::Data(_)) => Change::Written,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => Change::Closed,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => |_| Change::Other,
    };
    if event.paths.is_empty() { vec![Change::Other] } else { event.paths.into_iter().map(about).collect() }
}

/// Watches on directories, renewed when another directory takes the place of one.
struct DirectoryWatches {
    blocking: Blocking,
    directories: Vec<(PathBuf, Arc<Mutex<Watch>>)>,
}

/// The watch on one directory. Each has its own watcher: one that waits for a file system would block the others.
struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: Option<Identity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl DirectoryWatches {
    fn new(directories: BTreeSet<PathBuf>, changes: Sender<Change>) -> Self {
        let watch = |directory| (directory, Arc::new(Mutex::new(Watch::new(changes.clone()))));
        DirectoryWatches { blocking: Blocking::default(), directories: directories.into_iter().map(watch).collect() }
    }

    /// Watches directories that have appeared or were replaced.
    fn renew(&mut self) {
        for (directory, watch) in &self.directories {
            let (path, watch) = (directory.clone(), Arc::clone(watch));
            let renew = move || watch.lock().unwrap_or_else(PoisonError::into_inner).renew(&path);
            // The scan reports a directory that does not answer.
            let _ = self.blocking.wait(&directory.to_string_lossy(), directory, WATCH_TIME, renew);
        }
    }
}

impl Watch {
    fn new(changes: Sender<Change>) -> Self {
        let handler = move |event: notify::Result<notify::Event>| {
            let found = event.map_or_else(|_| vec![Change::Other], changes_of);
            for change in found {
                // Fails only while the thread ends.
                let _ = changes.send(change);
            }
        };
        let watcher = notify::recommended_watcher(handler)
            .inspect_err(|error| {
                tracing::warn!("can't watch plugin directories, so they are only scanned every {RESCAN:?}: {error}")
            })
            .ok();
        Watch { watcher, watched: None }
    }

    fn renew(&mut self, directory: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let found = fs::metadata(directory).ok().map(|data| Identity { device: data.dev(), inode: data.ino() });
        if found == self.watched {
            return;
        }
        if self.watched.is_some() {
            // Fails when the kernel has dropped the watch together with the directory.
            let _ = watcher.unwatch(directory);
        }
        if found.is_some()
            && let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive)
        {
            tracing::warn!("can't watch {}, so it is only scanned every {RESCAN:?}: {error}", directory.display());
        }
        self.watched = found;
    }
}

#[cfg(test)]
mod tests;
