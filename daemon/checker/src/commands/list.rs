//! `vouchd plugin list`: what plugins there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Args;
use vouchd_plugin::{Host, HostSettings};

use super::resolve;
use crate::serve::loading::Loader;
use crate::serve::shelf::{Event, Shelf, Sources};
use crate::serve::signature::Keys;
use vouchd_config::DEFAULT_FILE;
use vouchd_console::output::{complain, print, print_json};
use vouchd_console::table::indented;
use vouchd_console::{plugin_table, target::Target};
use vouchd_ipc::control::Unanswered;
use vouchd_ipc::pipe::PluginState;
use vouchd_ipc::status;

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let (plugins, whose) = match args.target.status() {
        Ok(status) => (status.plugins, format!("as vouchd (pid {}) has them", status.pid)),
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

/// The plugin directories of the configuration; the default ones if none is named and there is none.
fn sources(config: Option<&Path>) -> anyhow::Result<Sources> {
    let config = match config {
        Some(file) => vouchd_config::load(file)?,
        None if Path::new(DEFAULT_FILE).exists() => vouchd_config::load(Path::new(DEFAULT_FILE))?,
        None => resolve("")?,
    };
    let keys = Keys::parse(&config.daemon.plugin_keys)?;
    Ok(Sources { plugins: config.daemon.plugin_dir, builtins: config.daemon.builtin_plugin_dir, keys })
}

/// Loads what is in the directories, the way the checker does.
fn read(sources: Sources) -> anyhow::Result<Vec<PluginState>> {
    // Without a cache: the daemon's belongs to another user.
    let host = Host::new(HostSettings::default().isolated())?;
    let mut shelf = Shelf::new(sources, BTreeSet::new(), Loader::new(host), Instant::now());
    let mut states = BTreeMap::new();
    let mut ready = false;
    while !ready || states.values().any(|state: &PluginState| state.pending.is_some()) {
        let wake = shelf.scan(&mut |event| match event {
            Event::Loaded { state, .. } | Event::Kept { state } | Event::Pending { state } => {
                states.insert(state.name.clone(), state);
            }
            Event::Gone { state } => drop(states.remove(&state.name)),
            Event::Problems { .. } => {}
            Event::Ready { problems } => {
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
