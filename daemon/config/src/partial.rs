//! A configuration as far as it can be understood, and everything that is wrong with it.

use crate::Config;
use crate::errors::{Errors, Problem};
use crate::source::Place;

/// For those who look for mistakes; who wants to use a configuration wants it whole, from [`finish`](Self::finish).
#[derive(Debug, Clone)]
pub struct PartialConfig {
    /// Without what has errors.
    pub config: Config,
    pub errors: Vec<Problem>,
    /// There are more errors, in a file with many lines that can't be read.
    pub has_more: bool,
    /// The main file could be read, so that [`Config::daemon`] is what the operator wants.
    pub daemon_is_known: bool,
}

impl PartialConfig {
    /// The configuration, if nothing is wrong with it.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the files.
    pub fn finish(self) -> Result<Config, Errors> {
        let PartialConfig { config, mut errors, .. } = self;
        sort_by_place(&mut errors, &config);
        match Errors::of(errors) {
            None => Ok(config),
            Some(errors) => Err(errors),
        }
    }
}

/// Checks are read before instances and plugins after both, but files are read by people from top to bottom.
pub fn sort_by_place(problems: &mut [Problem], config: &Config) {
    let file = |p: &Problem| p.place.as_ref().and_then(|p| config.files.iter().position(|file| file == p.file()));
    problems.sort_by_key(|p| (file(p), p.place.as_ref().map(Place::offset)));
}
