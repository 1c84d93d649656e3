//! `vouchd plugin`: executes `vouchd-checker`, which has the WebAssembly engine.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use vouchd_router::CheckerProgram;

#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    /// The command and its arguments; --help for a list
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    arguments: Vec<OsString>,
}

/// Replaces this process by `vouchd-checker plugin …`. Returns only if that fails.
///
/// # Errors
/// When there is no checker of this version, or it cannot be started.
pub(crate) fn hand_over(args: &PluginArgs) -> anyhow::Result<ExitCode> {
    let program = CheckerProgram::find()?;
    program.check_version()?;
    // Its help then says `vouchd plugin`.
    Err(program.command().arg0("vouchd").arg("plugin").args(&args.arguments).exec()).context("starting vouchd-checker")
}
