//! Waits for files to change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Interval between looks at the files.
const INTERVAL: Duration = Duration::from_millis(200);

/// The state of files at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(Vec<Option<Stamp>>);

/// Changes whenever a file is written or replaced.
type Stamp = (u64, u64, u64, i64, i64);

impl Snapshot {
    pub(crate) fn of(files: &[&Path]) -> Snapshot {
        let stamp = |file: &&Path| {
            let data = fs::metadata(file).ok()?;
            Some((data.dev(), data.ino(), data.len(), data.ctime(), data.ctime_nsec()))
        };
        Snapshot(files.iter().map(stamp).collect())
    }

    /// Blocks until the files differ from this snapshot, all exist, and none has changed for one interval.
    pub(crate) fn wait_for_another(&self, files: &[&Path]) {
        let mut last = Snapshot::of(files);
        loop {
            thread::sleep(INTERVAL);
            let now = Snapshot::of(files);
            if now != *self && now == last && now.0.iter().all(Option::is_some) {
                return;
            }
            last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn replaced_file_is_a_change_once_it_exists_again() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&file, "one").unwrap();
        let before = Snapshot::of(&[&file]);
        let watched = file.clone();
        let (changed, change) = mpsc::channel();
        thread::spawn(move || {
            before.wait_for_another(&[&watched]);
            changed.send(fs::read_to_string(&watched).unwrap()).unwrap();
        });
        assert!(change.recv_timeout(INTERVAL * 4).is_err(), "nothing has changed");
        fs::remove_file(&file).unwrap();
        assert!(change.recv_timeout(INTERVAL * 4).is_err(), "there is nothing to read");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(change.recv_timeout(Duration::from_secs(10)).unwrap(), "two");
    }
}
