//! `vouchd plugin`: the author's loop, from an empty directory to a plugin that is tested. One file a command.

mod inspect;
mod list;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use vouchd_config::Config;

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Shows the plugins: those of the running daemon, or else what the directories hold
    List(list::ListArgs),
    /// Shows what a file is and what it needs, without running it
    ///
    /// Exit status: 0 if the daemon could use it, 1 if not.
    Inspect(inspect::InspectArgs),
    /// Runs a plugin once, as the daemon would, and shows what it says and what it used
    ///
    /// Exit status: 0 for the verdicts pass and warn; 1 for fail, fault, a run that timed out, and whatever kept the
    /// plugin from running; 2 for wrong arguments. It runs as you: what it may look at is yours, not the daemon's.
    Test(test::TestArgs),
}

pub fn run(command: PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::List(args) => list::list(&args),
        PluginCommand::Inspect(args) => inspect::inspect(&args),
        PluginCommand::Test(args) => test::test(&args),
    }
}

/// Arguments as a configuration, so that they mean here what they mean there.
fn resolve(text: &str) -> anyhow::Result<Config> {
    let file = PathBuf::from("arguments");
    vouchd_config::resolve(vec![(file, text.to_owned())]).map_err(|errors| anyhow::anyhow!("{errors}"))
}

/// Line breaks are kept readable, and nothing that a plugin says reaches the terminal as a control sequence.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
