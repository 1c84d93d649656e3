//! `vouchd config check`, and loading a configuration for the other commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use vouchd_config::{Config, Errors, Param};

use super::host::this_host;
use crate::checker::files::plugin_name;
use crate::output::{complain, print};

/// Where the configuration is unless told otherwise.
pub const DEFAULT_FILE: &str = "/etc/vouchd/vouchd.toml";

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Says what is wrong with a configuration, with file, line and column
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The main file; the drop-ins in conf.d beside it are read too
    #[arg(default_value = DEFAULT_FILE)]
    file: PathBuf,
}

pub fn run(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check(args) => check(&args.file),
    }
}

fn check(file: &Path) -> anyhow::Result<ExitCode> {
    let config = vouchd_config::load(file).and_then(|config| {
        config.check_plugins(&available_plugins(&config))?;
        config.check_params(&declared_params(&config))?;
        let host = this_host().map(|host| config.check_host(&host)).unwrap_or_default();
        match Errors::of(host.errors) {
            Some(errors) => Err(errors),
            None => Ok((config, host.warnings)),
        }
    });
    match config {
        Ok((config, host_warnings)) => {
            for warning in config.warnings.iter().chain(&host_warnings) {
                print(format!("warning: {warning}\n"))?;
            }
            print(format!(
                "{}: {} instances, {} checks, no errors\n",
                file.display(),
                config.instances.len(),
                config.checks.len()
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            complain(errors);
            Ok(ExitCode::from(2))
        }
    }
}

/// Loads a configuration for a command that needs a value of it.
///
/// # Errors
/// What is wrong with it, in words.
pub fn load(file: &Path) -> anyhow::Result<Config> {
    vouchd_config::load(file).map_err(|errors: Errors| anyhow::anyhow!("{errors}"))
}

/// What the plugins of the checks declare about their parameters. One that can't be read is the daemon's to complain about:
/// here it declares nothing.
fn declared_params(config: &Config) -> BTreeMap<String, Vec<Param>> {
    let directories = [&config.daemon.plugin_dir, &config.daemon.builtin_plugin_dir];
    let plugins: BTreeSet<&String> = config.checks.iter().map(|check| &check.plugin).collect();
    let declared = |plugin: &String| {
        let file = |directory: &PathBuf| std::fs::read(directory.join(format!("{plugin}.wasm"))).ok();
        vouchd_plugin::declared_params(&directories.into_iter().find_map(file)?).ok().flatten()
    };
    plugins.into_iter().filter_map(|plugin| Some((plugin.clone(), declared(plugin)?))).collect()
}

/// The plugins that are there, by name.
pub fn available_plugins(config: &Config) -> Vec<String> {
    [&config.daemon.plugin_dir, &config.daemon.builtin_plugin_dir]
        .into_iter()
        // A directory that can't be read holds no plugin that could be used.
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flatten()
        .filter_map(|entry| plugin_name(&entry.ok()?.path()).map(str::to_owned))
        .collect()
}
