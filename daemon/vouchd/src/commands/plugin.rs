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

/// `vouchd help plugin …` as arguments of `vouchd plugin`: what there is to explain, only the checker knows.
pub(crate) fn help_request(arguments: impl Iterator<Item = OsString>) -> Option<PluginArgs> {
    let mut arguments = arguments.skip(1);
    let is_one = arguments.next()? == "help" && arguments.next()? == "plugin";
    is_one.then(|| PluginArgs { arguments: std::iter::once("help".into()).chain(arguments).collect() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_about_plugins_is_asked_of_the_checker() {
        let request = |line: &str| help_request(line.split(' ').map(OsString::from)).map(|args| args.arguments);
        assert_eq!(request("vouchd help plugin test"), Some(vec!["help".into(), "test".into()]));
        assert_eq!(request("vouchd help plugin"), Some(vec!["help".into()]));
        for other in ["vouchd", "vouchd help", "vouchd help run", "vouchd plugin help"] {
            assert_eq!(request(other), None, "{other}");
        }
    }
}
