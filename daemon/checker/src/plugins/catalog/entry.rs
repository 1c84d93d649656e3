//! What the catalog knows about one plugin.

use std::time::{Duration, Instant, SystemTime};

use super::event::PluginEvent;
use crate::plugins::listing::Candidate;
use crate::plugins::load::LAST_PAUSE;
use vouchd_ipc::pipe::{LoadedPlugin, Pending, PluginState};

/// How long a file must stay unchanged before it counts.
pub(crate) const SETTLE: Duration = Duration::from_millis(100);

/// The same for a file that has been written to and not closed, or that is still empty.
pub(crate) const SETTLE_OPEN: Duration = Duration::from_secs(5);

/// One plugin.
pub(super) struct Entry {
    pub(super) seen: Candidate,
    /// When the file was first seen as it is in `seen`.
    pub(super) since: Instant,
    /// The version of the file that was tried last.
    pub(super) tried: Option<Candidate>,
    /// Digest of the tried version while the loader is not done with it.
    pub(super) underway: Option<String>,
    /// What the file waits for, as last reported.
    pub(super) pending: Option<Pending>,
    /// Not to be read before this time: its file system does not answer, or the host could not read it.
    pub(super) again_at: Option<Instant>,
    /// The number of failed tries to read it that were the host's fault.
    pub(super) hindered: usize,
    pub(super) missing_since: Option<Instant>,
    pub(super) loaded: Option<LoadedPlugin>,
    pub(super) error: Option<String>,
}

impl Entry {
    /// A plugin that was not known before.
    pub(super) fn new(candidate: &Candidate, now: Instant) -> Entry {
        // No version runs yet that a file in the middle of a rename could displace, so an old file is settled.
        let is_old = candidate.stamp.is_older_than(SETTLE_OPEN, SystemTime::now());
        let since = if is_old { now.checked_sub(SETTLE).unwrap_or(now) } else { now };
        Entry::of(candidate.clone(), since)
    }

    /// The same file, without anything that was known about it.
    pub(super) fn reset(&self) -> Entry {
        Entry::of(self.seen.clone(), self.since)
    }

    fn of(seen: Candidate, since: Instant) -> Entry {
        Entry {
            seen,
            since,
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

    pub(super) fn state(&self, name: &str) -> PluginState {
        PluginState {
            name: name.to_owned(),
            source: self.seen.path.clone(),
            loaded: self.loaded.clone(),
            error: self.error.clone(),
            pending: self.pending.clone(),
            is_gone: false,
        }
    }

    /// The host could not read the file. Tries again later, although the file has not changed.
    pub(super) fn retry_later<P>(
        &mut self,
        name: &str,
        why: &str,
        pauses: [Duration; 3],
        emit: &mut dyn FnMut(PluginEvent<P>),
    ) {
        (self.tried, self.underway) = (None, None);
        let pause = pauses.get(self.hindered).copied();
        self.again_at = Some(Instant::now() + pause.unwrap_or(LAST_PAUSE));
        self.hindered += 1;
        match pause {
            Some(pause) => {
                let what = format!("will be read again in {} s ({why})", pause.as_secs());
                self.wait_for(name, &what, true, emit);
            }
            None => self.fail(name, format!("{why}; retried every minute"), emit),
        }
    }

    /// Notes what the file waits for, and reports it if that is new. An error of an earlier version is dropped.
    pub(super) fn wait_for<P>(&mut self, name: &str, what: &str, is_long: bool, emit: &mut dyn FnMut(PluginEvent<P>)) {
        let since = match &self.pending {
            Some(pending) if pending.what == what && pending.is_long == is_long => return,
            Some(pending) => pending.since,
            None => unix_time(),
        };
        self.error = None;
        self.pending = Some(Pending { what: what.to_owned(), since, is_long });
        emit(PluginEvent::Pending { state: self.state(name) });
    }

    /// Notes an error of a file that will be retried, and reports it if it is new.
    pub(super) fn fail<P>(&mut self, name: &str, error: String, emit: &mut dyn FnMut(PluginEvent<P>)) {
        let is_new = self.pending.take().is_some() || self.error.as_ref() != Some(&error);
        if is_new {
            self.error = Some(error);
            emit(PluginEvent::StateChanged { state: self.state(name) });
        }
    }
}

pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
