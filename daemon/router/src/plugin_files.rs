//! The names of the plugins in the plugin directories. Only the checker reads the files.

use std::path::PathBuf;
use std::time::Duration;

use vouchd_blocking::Blocking;
use vouchd_config::{Config, plugin_name_of};

/// The time to list a plugin directory.
const PATIENCE: Duration = Duration::from_secs(1);

/// The names of the plugins in the configuration's directories. A directory that can't be read counts as empty.
pub fn available_plugins(config: &Config) -> Vec<String> {
    let list = |directory: &PathBuf| -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten();
        entries.filter_map(|entry| plugin_name_of(&entry.ok()?.path()).map(str::to_owned)).collect()
    };
    let blocking = Blocking::default();
    let found = [&config.daemon.plugin_dir, &config.daemon.builtin_plugin_dir].map(|directory| {
        let path = directory.clone();
        blocking.wait(&directory.to_string_lossy(), directory, PATIENCE, move || list(&path))
    });
    found
        .into_iter()
        .flat_map(|found| {
            found.inspect_err(|stuck| tracing::warn!("could not list a plugin directory: {stuck}")).unwrap_or_default()
        })
        .collect()
}
