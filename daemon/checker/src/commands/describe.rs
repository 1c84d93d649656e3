//! `vouchd-checker describe`: describes plugin files for `vouchd config check`, which has no WebAssembly engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use vouchd_blocking::Blocking;
use vouchd_config::PluginFile;
use vouchd_console::output::print;

use crate::plugins::read::{MAX_SIZE, sha256};

/// How long a plugin file may take to be read.
const FILE_TIME: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The two directories, in the order in which they are searched
    plugin_dir: PathBuf,
    builtin_plugin_dir: PathBuf,
    /// Names of plugins
    #[arg(last = true)]
    plugins: Vec<String>,
}

/// Prints a JSON object with a [`PluginFile`] for each plugin that has a file.
pub(crate) fn describe(args: &DescribeArgs) -> anyhow::Result<ExitCode> {
    let plugins: BTreeSet<&String> = args.plugins.iter().collect();
    let directories = [args.plugin_dir.clone(), args.builtin_plugin_dir.clone()];
    let blocking = Blocking::default();
    let file = |plugin: &String| {
        let (name, searched) = (plugin.clone(), directories.clone());
        let found = blocking.wait("plugin", &directories[0], FILE_TIME, move || plugin_file(&searched, &name));
        found.unwrap_or_else(|stuck| {
            let path = directories[0].join(format!("{plugin}.wasm"));
            let damage = Some(format!("can't be read: {stuck}"));
            Some(PluginFile { path, sha256: String::new(), damage, declared: None })
        })
    };
    let files: BTreeMap<_, _> = plugins.into_iter().filter_map(|plugin| Some((plugin, file(plugin)?))).collect();
    print(serde_json::to_string(&files)?)?;
    Ok(ExitCode::SUCCESS)
}

/// `None` if there is no file of that name.
fn plugin_file(directories: &[PathBuf], plugin: &str) -> Option<PluginFile> {
    let path = directories.iter().map(|it| it.join(format!("{plugin}.wasm"))).find(|path| path.exists())?;
    Some(match read(&path) {
        Ok(bytes) => PluginFile {
            sha256: sha256(&bytes),
            damage: vouchd_plugin::damage(&bytes),
            declared: vouchd_plugin::declared_params(&bytes).ok().flatten(),
            path,
        },
        Err(damage) => PluginFile { path, sha256: String::new(), damage: Some(damage), declared: None },
    })
}

/// # Errors
/// What is wrong with the file, in words.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("can't be read: {error}");
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let too_large = |size: u64| format!("it is too large: {} MiB; expected at most {} MiB", size >> 20, MAX_SIZE >> 20);
    if metadata.len() > MAX_SIZE {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    // It may grow meanwhile.
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SIZE { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_file_is_reported_without_reading_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("huge.wasm");
        File::create(&path).unwrap().set_len(5 << 30).unwrap();
        let found = plugin_file(&[directory.path().to_owned()], "huge").unwrap();
        assert_eq!(found.damage.as_deref(), Some("it is too large: 5120 MiB; expected at most 64 MiB"));
    }
}
