//! One of the two plugin directories.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vouchd_blocking::Blocking;
use vouchd_plugin::lacks;

use crate::plugins::listing::{self, Candidate, SignatureRule};

/// How long a directory may take to be listed.
const LIST_TIME: Duration = Duration::from_secs(1);

/// The plugin files of a directory, by plugin name.
pub(super) type Listing = BTreeMap<String, Candidate>;

pub(super) struct Directory {
    pub(super) path: PathBuf,
    rule: SignatureRule,
    /// Kept while the directory cannot be read, since its files may still exist.
    pub(super) listing: Listing,
    /// Why there is no listing, or no current one.
    pub(super) problem: Option<String>,
    pub(super) exists: bool,
    /// The result of the last attempt to list it, until it is taken over.
    found: Arc<Mutex<Option<io::Result<Option<Listing>>>>>,
}

impl Directory {
    pub(super) fn new(path: PathBuf, rule: SignatureRule) -> Self {
        Directory { path, rule, listing: Listing::new(), problem: None, exists: false, found: Arc::default() }
    }

    pub(super) fn read(&mut self, blocking: &Blocking) {
        let (path, rule, slot) = (self.path.clone(), self.rule, Arc::clone(&self.found));
        let list = move || {
            let found = listing::list(&path, rule);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        };
        let waited = blocking.wait(&format!("list {}", self.path.display()), &self.path, LIST_TIME, list);
        // Also takes the result of an earlier attempt that ended too late: an old listing is better than none.
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.problem = match (found, waited) {
            (Some(Ok(Some(listing))), _) => {
                self.listing = listing;
                self.exists = true;
                None
            }
            (Some(Ok(None)), _) => {
                self.listing.clear();
                if std::mem::take(&mut self.exists) {
                    tracing::warn!("the plugin directory {} does not exist any more", self.path.display());
                }
                Some(format!("{} does not exist", self.path.display()))
            }
            (Some(Err(error)), _) => self.logged(describe(&self.path, &error)),
            (None, Ok(())) => None,
            (None, Err(_)) => self.logged(format!(
                "plugin directory {} can't be read: its file system does not answer; the loaded versions stay in use",
                self.path.display()
            )),
        };
    }

    /// The problem, logged if it is new.
    fn logged(&self, problem: String) -> Option<String> {
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!("{problem}");
        }
        Some(problem)
    }
}

fn describe(path: &Path, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotADirectory {
        return format!("plugin directory {} is not a directory", path.display());
    }
    if let Some(words) = lacks(error, &format!("reading the plugin directory {}", path.display())) {
        return words;
    }
    format!(
        "plugin directory {} can't be read by the checker's user ({error}); make it readable for all users",
        path.display()
    )
}
