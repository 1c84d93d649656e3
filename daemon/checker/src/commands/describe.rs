//! `vouchd-checker describe`: describes plugin files for `vouchd config check`, which has no WebAssembly engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use vouchd_blocking::Blocking;
use vouchd_config::PluginFile;
use vouchd_console::output::print;

use crate::plugins::read::sha256;

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
    let read = match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_file() => Err("it is not a regular file".to_owned()),
        Ok(_) => std::fs::read(&path).map_err(|error| format!("can't be read: {error}")),
        Err(error) => Err(format!("can't be read: {error}")),
    };
    Some(match read {
        Ok(bytes) => PluginFile {
            sha256: sha256(&bytes),
            damage: vouchd_plugin::damage(&bytes),
            declared: vouchd_plugin::declared_params(&bytes).ok().flatten(),
            path,
        },
        Err(damage) => PluginFile { path, sha256: String::new(), damage: Some(damage), declared: None },
    })
}
