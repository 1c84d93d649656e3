//! What several commands need.

use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid};
use vouchd_config::Config;
use vouchd_ipc::cache::{self, CacheSettings};

/// Resolves arguments as a configuration, so that they have the same meaning in both.
pub(crate) fn resolve(text: &str) -> anyhow::Result<Config> {
    let file = PathBuf::from("arguments");
    Ok(vouchd_config::resolve(vec![(file, text.to_owned())])?)
}

/// Opens a directory for compiled plugins, and creates it if it does not exist.
pub(crate) fn open_cache(directory: Option<&Path>) -> anyhow::Result<Option<CacheSettings>> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    directory.map(|directory| cache::prepare(directory, uid, gid)).transpose()
}
