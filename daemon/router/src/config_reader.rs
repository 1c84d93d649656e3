//! Reads the files of the configuration. Reading any of them may block forever.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vouchd_blocking::Blocking;
use vouchd_config::{DropIns, FileText, Files, list_drop_ins, read_drop_in, read_main};

use crate::config_trail::Trail;

/// The time that a file system has to answer. A local one takes microseconds, a server that restarts takes seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same once one file has had no answer, so that ten dead links do not take ten times as long.
const SHORT_PATIENCE: Duration = Duration::from_millis(200);

/// The result of one reading.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The files. Where a file system does not answer, as they were read last.
    pub(crate) files: Files,
    /// Where to look for changes.
    pub(crate) trail: Trail,
    /// The first path whose file system does not answer, and since when.
    pub(crate) no_answer: Option<(PathBuf, Instant)>,
}

/// The files of one configuration.
#[derive(Debug)]
pub(crate) struct Reader {
    main: FileText,
    /// False for a pipe, which can be read only once.
    main_is_a_file: bool,
    directory: PathBuf,
    blocking: Blocking,
    list: DropIns,
    /// The drop-ins as read last.
    drop_ins: BTreeMap<PathBuf, FileText>,
    /// The files with HMAC keys as read last.
    keys: BTreeMap<PathBuf, FileText>,
}

impl Reader {
    /// Reads the main file, without a limit of time.
    pub(crate) fn new(main: &Path) -> Self {
        let text = read_main(main);
        Reader {
            main_is_a_file: text.access.is_some() || text.text.is_err(),
            main: text,
            directory: vouchd_config::drop_in_dir(main),
            blocking: Blocking::default(),
            list: DropIns::default(),
            drop_ins: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    /// Reads all files.
    pub(crate) fn read(&mut self) -> Reading {
        let mut attempt = Attempt { blocking: self.blocking.clone(), trail: Trail::default(), no_answer: None };
        if self.main_is_a_file {
            let path = self.main.path.clone();
            let read = attempt.try_read(&path, |path| (read_main(path), Trail::to_file(path)));
            if let Some(text) = read {
                self.main = text;
            }
        }
        let listed = attempt.try_read(&self.directory, |dir| (list_drop_ins(dir), Trail::to_drop_ins(dir)));
        if let Some(list) = listed {
            self.list = list;
        }
        self.drop_ins.retain(|path, _| self.list.used.contains(path));
        for path in &self.list.used {
            if let Some(text) = attempt.try_read(path, |path| (read_drop_in(path), Trail::to_file(path))) {
                self.drop_ins.insert(path.clone(), text);
            }
        }
        let mut files = Files {
            main: self.main.clone(),
            drop_ins: self.drop_ins.values().cloned().collect(),
            list: self.list.clone(),
            keys: Vec::new(),
        };
        let named = files.key_files();
        self.keys.retain(|path, _| named.contains(path));
        for path in named {
            if let Some(text) = attempt.try_read(&path, |path| (read_drop_in(path), Trail::to_file(path))) {
                self.keys.insert(path, text);
            }
        }
        files.keys = self.keys.values().cloned().collect();
        Reading { files, trail: attempt.trail, no_answer: attempt.no_answer }
    }
}

/// One reading of all files.
struct Attempt {
    blocking: Blocking,
    trail: Trail,
    no_answer: Option<(PathBuf, Instant)>,
}

impl Attempt {
    /// Reads one file or directory; `None` if its file system does not answer.
    fn try_read<T: Send + 'static>(&mut self, path: &Path, read: fn(&Path) -> (T, Trail)) -> Option<T> {
        let patience = if self.no_answer.is_some() { SHORT_PATIENCE } else { PATIENCE };
        let owned = path.to_owned();
        match self.blocking.wait(&path.to_string_lossy(), path, patience, move || read(&owned)) {
            Ok((found, trail)) => {
                self.trail.merge(trail);
                Some(found)
            }
            Err(stuck) => {
                self.no_answer.get_or_insert((path.to_owned(), stuck.since()));
                None
            }
        }
    }
}
