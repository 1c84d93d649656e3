//! Simulated elections, optimised: a million take minutes.

use std::process::ExitCode;

use anyhow::Context;

/// Runs the simulator and ends as it does.
pub fn simulate(args: &[String]) -> anyhow::Result<ExitCode> {
    let mut cargo = crate::cargo(["run", "--release", "--quiet", "--package", "vouchd-simulation", "--"]);
    let status = cargo.args(args).status().context("starting vouchd-simulate")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
