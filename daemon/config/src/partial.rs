//! A configuration as far as it can be understood, with all errors.

use crate::Config;
use crate::errors::{Errors, Problem};
use crate::source::Place;

/// For tools that look for mistakes. To use a configuration, get a complete one from [`finish`](Self::finish).
#[derive(Debug, Clone)]
pub struct PartialConfig {
    /// The parts without errors.
    pub config: Config,
    /// In no particular order.
    pub errors: Vec<Problem>,
    /// Whether there are more errors than listed, in a file with many unreadable lines.
    pub has_more: bool,
    /// Whether the main file was parsed, so that [`Config::daemon`] is what the operator wrote.
    pub daemon_is_known: bool,
}

impl PartialConfig {
    /// Returns the configuration if there are no errors.
    ///
    /// # Errors
    /// All errors, in the order of files and lines.
    pub fn finish(self) -> Result<Config, Errors> {
        let PartialConfig { config, mut errors, .. } = self;
        sort_by_place(&mut errors, &config);
        match Errors::of(errors) {
            None => Ok(config),
            Some(errors) => Err(errors),
        }
    }
}

/// Sorts problems in the order of files and lines: people read a file from top to bottom, but checks are resolved before
/// instances, and plugins after both.
pub fn sort_by_place(problems: &mut [Problem], config: &Config) {
    let file = |p: &Problem| p.place.as_ref().and_then(|p| config.files.iter().position(|file| file == p.file()));
    problems.sort_by_key(|p| (file(p), p.place.as_ref().map(Place::offset)));
}
