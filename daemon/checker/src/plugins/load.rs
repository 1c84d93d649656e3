//! What the catalog asks of a loader.

use std::time::Duration;

/// Pauses before another try to read or load a file, after a try that failed for a reason outside the file. A file that
/// still fails after the last pause is an error, and is retried every [`LAST_PAUSE`].
pub(crate) const RETRY_PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
pub(crate) const LAST_PAUSE: Duration = Duration::from_secs(60);

/// A plugin that is ready to run.
#[derive(Debug)]
pub(crate) struct Loaded<P> {
    pub(crate) plugin: P,
    /// `component`, `module` or `command`.
    pub(crate) kind: String,
    /// The time that compiling took. `None` if the compiled code came from the cache.
    pub(crate) compiled_in: Option<Duration>,
}

/// How far loading a file has come.
#[derive(Debug)]
pub(crate) enum Progress<P> {
    /// The plugin, or why the file cannot be used.
    Done(Result<Loaded<P>, String>),
    /// Loading goes on, or will start later: ask again when the file is due. `what` is the rest of a sentence about the
    /// plugin, such as `is being compiled`.
    Underway { what: String },
    /// As [`Progress::Underway`], but several tries have failed, so that the file counts as unusable until then.
    Failing { error: String },
}

/// Turns the bytes of files into plugins.
pub(crate) trait Load {
    type Plugin;

    /// Blocks for up to some seconds if the file `is_urgent`, otherwise for a fraction of a second. `sha256` is the digest of
    /// `bytes`.
    fn load(&mut self, sha256: &str, bytes: &[u8], is_urgent: bool) -> Progress<Self::Plugin>;

    /// Whether calling [`Load::load`] again makes sense for a file that was not done.
    fn is_due(&mut self, sha256: &str) -> bool;
}

impl<P, F: FnMut(&[u8]) -> Result<Loaded<P>, String>> Load for F {
    type Plugin = P;

    fn load(&mut self, _sha256: &str, bytes: &[u8], _is_urgent: bool) -> Progress<P> {
        Progress::Done(self(bytes))
    }

    fn is_due(&mut self, _sha256: &str) -> bool {
        true
    }
}
