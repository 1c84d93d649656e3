//! `vouchd plugin`: the commands that take an author from an empty directory to a tested plugin. One file per command.

mod build;
mod describe;
mod inspect;
mod list;
mod new;
mod project;
mod recipe;
mod shared;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use self::describe::{DescribeArgs, describe};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Creates a project: a check that builds and passes its tests
    New(new::NewArgs),
    /// Builds a project with its language's tools, and inspects the result
    Build(build::BuildArgs),
    /// Lists the plugins of the running daemon, or else those in the plugin directories
    List(list::ListArgs),
    /// Shows what a .wasm file is and needs, without running its check
    ///
    /// Exit status: 0 if the daemon could use the file, 1 if not.
    Inspect(inspect::InspectArgs),
    /// Runs a plugin as the daemon would, and shows its report and what it used
    ///
    /// Exit status: 0 for the verdicts pass and warn; 1 for fail, fault, a run that timed out, and anything that kept the
    /// plugin from running; 2 for wrong arguments. The plugin runs as you and sees what you may see, which may differ from
    /// what the daemon may see.
    Test(test::TestArgs),
}

pub(crate) fn run(command: PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::New(args) => new::new(&args),
        PluginCommand::Build(args) => build::build(&args),
        PluginCommand::List(args) => list::list(&args),
        PluginCommand::Inspect(args) => inspect::inspect(&args),
        PluginCommand::Test(args) => test::test(&args),
    }
}
