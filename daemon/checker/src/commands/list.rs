//! `vouchd plugin list`: lists plugins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Args;
use vouchd_plugin::{Host, HostSettings};

use super::shared::resolve;
use crate::plugins::catalog::{Catalog, PluginEvent};
use crate::plugins::loader::Loader;
use crate::plugins::signature::Keys;
use crate::plugins::sources::Sources;
use vouchd_config::DEFAULT_FILE;
use vouchd_console::output::{complain, print, print_json};
use vouchd_console::table::indented;
use vouchd_console::{plugin_table, target::Target};
use vouchd_ipc::control::Unanswered;
use vouchd_ipc::pipe::PluginState;
use vouchd_ipc::status;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let (plugins, whose) = match args.target.status() {
        Ok(status) => (status.plugins, format!("of vouchd (pid {})", status.pid)),
        Err(error) => {
            let why = match error.downcast_ref::<Unanswered>() {
                Some(Unanswered::NotRunning(_)) => "vouchd is not running".to_owned(),
                Some(Unanswered::Other(_)) | None => format!("vouchd could not be asked: {error:#}"),
            };
            let sources = sources(args.target.config_file())?;
            let Sources { plugins, builtins, .. } = &sources;
            let whose = format!("in {} and {}; {why}", plugins.display(), builtins.display());
            (read(sources)?.iter().map(status::Plugin::from).collect(), whose)
        }
    };
    if args.json {
        print_json(&plugins)?;
    } else if plugins.is_empty() {
        print(indented(&format!("no plugins {whose}"), 0))?;
    } else {
        print(format!("{}\n{}", indented(&format!("plugins {whose}:"), 0), plugin_table(&plugins)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The plugin directories of `config`, or else of the default configuration file, or else the default directories.
fn sources(config: Option<&Path>) -> anyhow::Result<Sources> {
    let config = match config {
        Some(file) => vouchd_config::load(file)?,
        None if Path::new(DEFAULT_FILE).exists() => vouchd_config::load(Path::new(DEFAULT_FILE))?,
        None => resolve("")?,
    };
    let keys = Keys::parse(&config.daemon.plugin_keys)?;
    Ok(Sources { plugins: config.daemon.plugin_dir, builtins: config.daemon.builtin_plugin_dir, keys })
}

/// Loads the files in the directories as the checker does.
fn read(sources: Sources) -> anyhow::Result<Vec<PluginState>> {
    // Without a cache, since that of the daemon belongs to another user.
    let host = Host::new(HostSettings::default().isolated())?;
    let mut catalog = Catalog::new(sources, BTreeSet::new(), Loader::new(host), Instant::now());
    let mut states = BTreeMap::new();
    let mut ready = false;
    while !ready || states.values().any(|state: &PluginState| state.pending.is_some()) {
        let wake = catalog.scan(&mut |event| match event {
            PluginEvent::Loaded { state, .. }
            | PluginEvent::StateChanged { state }
            | PluginEvent::Pending { state } => {
                states.insert(state.name.clone(), state);
            }
            PluginEvent::Gone { state } => drop(states.remove(&state.name)),
            PluginEvent::Problems { .. } => {}
            PluginEvent::Ready { problems } => {
                for problem in problems {
                    complain(vouchd_printable::printable(&problem.to_string()));
                }
                ready = true;
            }
        });
        if let Some(wake) = wake {
            thread::sleep(wake.saturating_duration_since(Instant::now()));
        }
    }
    Ok(states.into_values().collect())
}
