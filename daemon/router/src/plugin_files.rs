//! The names of the plugins in the plugin directories. Their bytes are the checker's business.

use std::path::PathBuf;
use std::time::Duration;

use vouchd_blocking::Blocking;
use vouchd_config::{Config, plugin_name_of};

/// The time that a plugin directory has to be listed.
const PATIENCE: Duration = Duration::from_secs(1);

/// The plugins in the configuration's directories, by name. A directory that can't be read holds none that could be used.
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
        .flat_map(|found| found.inspect_err(|stuck| tracing::warn!("plugin directory: {stuck}")).unwrap_or_default())
        .collect()
}
