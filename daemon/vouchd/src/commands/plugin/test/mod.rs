//! `vouchd plugin test`: runs a plugin as the daemon would, and shows what it says and what it used.

mod show;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use vouchd_config::{Check, Config};
use vouchd_health::{RunResult, Verdict};
use vouchd_plugin::{Host, HostSettings, Run};

use self::show::{Costs, about, shown};
use super::resolve;
use crate::commands::config::{self, DEFAULT_FILE};

#[derive(Debug, Args)]
pub struct TestArgs {
    /// The .wasm file
    file: PathBuf,
    /// A parameter; `outer.inner=value` for tables, the same key again for lists
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
    /// What it may reach, as in the configuration: '{ process = ["nginx"] }' [default: nothing]
    #[arg(long, value_name = "TOML")]
    allow: Option<String>,
    /// What it may use, as in the configuration: '{ memory = "32MiB" }'
    #[arg(long, value_name = "TOML")]
    limits: Option<String>,
    /// How often; more than once also shows what a run costs, part by part
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// When the run is ended [default: 1s]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// Run it as this check of the configuration; other options come on top
    #[arg(long, value_name = "NAME")]
    check: Option<String>,
    /// The configuration that has the check
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE, requires = "check")]
    config: PathBuf,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected KEY=VALUE, like name=nginx".to_owned()),
    }
}

pub fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let check = match requested(args) {
        Ok(check) => check,
        Err(error) => {
            eprintln!("vouchd: {error:#}");
            return Ok(ExitCode::from(2));
        }
    };
    let bytes = fs::read(&args.file).with_context(|| format!("reading {}", args.file.display()))?;
    let host = Host::new(HostSettings::fitting([&check.limits]))?;
    let plugin = host.load(&bytes).with_context(|| format!("{} can't be used as a plugin", args.file.display()))?;
    if let Some(pin) = check.sha256.as_deref().filter(|pin| *pin != plugin.sha256()) {
        anyhow::bail!("{} is not the file that check {} names with sha256 = {pin:?}", args.file.display(), check.name);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut costs = Costs::default();
    let mut memo = Vec::new();
    let outcome = loop {
        let outcome = runtime.block_on(host.run(
            &plugin,
            Run {
                check: &check.name,
                params: &check.params,
                grants: &check.grants,
                limits: &check.limits,
                timeout: check.timeout,
                memo: memo.clone(),
                exit_codes: check.exit_codes,
            },
        ));
        if let Some(kept) = &outcome.memo {
            memo.clone_from(kept);
        }
        if costs.add(&outcome) == args.runs {
            break outcome;
        }
    };
    runtime.shutdown_background();
    print!("{}", shown(&check, &outcome));
    if args.runs > 1 {
        print!("{costs}");
    }
    println!("{}", about(&args.file, &plugin));
    Ok(if serves(&outcome.result) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The check that the arguments describe.
fn requested(args: &TestArgs) -> anyhow::Result<Check> {
    // The configuration's own parser, so that an argument means here what it means there.
    let mut text = "[check.test]\nplugin = \"test\"\n".to_owned();
    for (key, value) in [("allow", &args.allow), ("limits", &args.limits)] {
        if let Some(value) = value {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    if let Some(timeout) = &args.timeout {
        let _ = writeln!(text, "timeout = {timeout:?}");
    }
    let given = the_check(resolve(&text)?, "test")?;
    let Some(name) = &args.check else {
        return Ok(Check { params: args.params.clone(), ..given });
    };
    let mut check =
        the_check(config::load(&args.config)?, name).with_context(|| format!("in {}", args.config.display()))?;
    check.params.retain(|(key, _)| args.params.iter().all(|(replaced, _)| replaced != key));
    check.params.extend(args.params.iter().cloned());
    if args.allow.is_some() {
        check.grants = given.grants;
    }
    if args.limits.is_some() {
        check.limits = given.limits;
    }
    if args.timeout.is_some() {
        check.timeout = given.timeout;
    }
    Ok(check)
}

fn the_check(config: Config, name: &str) -> anyhow::Result<Check> {
    let known: Vec<_> = config.checks.iter().map(|check| check.name.clone()).collect();
    let check = config.checks.into_iter().find(|check| check.name == name);
    check.with_context(|| format!("no check {name}: expected one of {}", known.join(", ")))
}

fn serves(result: &RunResult) -> bool {
    match result {
        RunResult::Report(report) => matches!(report.verdict, Verdict::Pass | Verdict::Warn),
        RunResult::TimedOut { .. } | RunResult::Error { .. } => false,
    }
}

#[cfg(test)]
mod tests;
