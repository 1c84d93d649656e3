//! `vouchd plugin test`: runs a plugin as the daemon would, and shows its report and what it used.

mod peer;
mod script;
mod show;
mod snapshot;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use vouchd_config::{Check, Config, DEFAULT_FILE};
use vouchd_health::{RunResult, Verdict};
use vouchd_plugin::{Host, HostSettings, Outcome, Plugin, Run};

use self::peer::Peers;
use self::script::Tally;
use self::show::{Costs, about, shown};
use self::snapshot::Snapshot;
use super::project::Project;
use vouchd_console::arguments::key_value;

use super::shared::{open_cache, resolve};
use crate::plugins::read::read_named;
use vouchd_console::output::{complain, complain_about, print};

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The .wasm file, or a project, whose test.toml is the script unless other options say what to run
    #[arg(default_value = ".")]
    file: PathBuf,
    /// A parameter; `outer.inner=value` for tables, a repeated key for lists
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
    /// What the plugin may reach, as in the configuration: '{ process = ["nginx"] }' [default: nothing]
    #[arg(long, value_name = "TOML")]
    allow: Option<String>,
    /// What the plugin may use, as in the configuration: '{ memory = "32MiB" }' [default: the defaults of a check]
    #[arg(long, value_name = "TOML")]
    limits: Option<String>,
    /// The number of runs; with more than one, shows what each part of a run costs
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// A file with runs and their expected results; exit status 0 only if all are as expected
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["params", "allow", "limits", "runs", "timeout", "check"])]
    script: Option<PathBuf>,
    /// Repeats the runs after each change of the file or the script, until interrupted
    #[arg(long)]
    watch: bool,
    /// How long a run may take [default: 1s]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// Keeps compiled code in this directory for the next time: a plugin in Python takes long to compile
    #[arg(long, value_name = "DIRECTORY")]
    cache: Option<PathBuf>,
    /// Runs the plugin as this check of the configuration; other options override it
    #[arg(long, value_name = "NAME")]
    check: Option<String>,
    /// The configuration with the check
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE, requires = "check")]
    config: PathBuf,
}

pub(crate) fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let subject = Subject::of(args)?;
    if !args.watch {
        return once(args, &subject);
    }
    let files: Vec<&Path> =
        [Some(&subject.plugin), subject.script.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    loop {
        let seen = Snapshot::of(&files);
        if let Err(error) = once(args, &subject) {
            complain_about(&error);
        }
        print(format!("\nwaiting for {} to change; press Ctrl-C to stop\n\n", subject.plugin.display()))?;
        seen.wait_for_another(&files);
    }
}

/// The plugin to test, and how.
#[derive(Debug, PartialEq, Eq)]
struct Subject {
    plugin: PathBuf,
    /// `None` if the arguments say what to run.
    script: Option<PathBuf>,
    /// The directory for compiled code.
    cache: Option<PathBuf>,
}

impl Subject {
    fn of(args: &TestArgs) -> anyhow::Result<Subject> {
        if !args.file.is_dir() {
            return Ok(Subject { plugin: args.file.clone(), script: args.script.clone(), cache: args.cache.clone() });
        }
        let project = Project::open(&args.file)?;
        let plugin = args.file.join(project.plugin().file_name().unwrap_or_default());
        let has_arguments = [&args.allow, &args.limits, &args.timeout, &args.check].into_iter().any(Option::is_some)
            || !args.params.is_empty()
            || args.runs != 1;
        let own = if has_arguments { None } else { project.script() };
        let own = own.and_then(|script| Some(args.file.join(script.file_name()?)));
        let cache = args.cache.clone().or_else(|| Some(project.cache()));
        Ok(Subject { plugin, script: args.script.clone().or(own), cache })
    }
}

/// Tests the plugin once. Exit status 2 for wrong arguments and scripts.
fn once(args: &TestArgs, subject: &Subject) -> anyhow::Result<ExitCode> {
    let wrong = |text: &dyn std::fmt::Display| {
        complain(format_args!("vouchd: {text}"));
        Ok(ExitCode::from(2))
    };
    if let Some(file) = &subject.script {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let peers = Peers::start()?;
        return match vouchd_config::script::script(file.clone(), text, &peers.words()) {
            Ok(script) => scripted(subject, &script, &peers),
            Err(errors) => wrong(&errors),
        };
    }
    match requested(args) {
        Ok(check) => alone(args, subject, &check),
        Err(error) => wrong(&format_args!("{error:#}")),
    }
}

/// Performs all runs of a script.
fn scripted(subject: &Subject, script: &vouchd_config::script::Script, peers: &Peers) -> anyhow::Result<ExitCode> {
    let mut bench = Bench::load(subject, script.runs.iter().map(|run| &run.check))?;
    let mut tally = Tally::new();
    for run in &script.runs {
        peers.behave(&run.peer);
        tally.add(run, &bench.run(&run.check));
    }
    print(format!("{tally}{}\n", about(&subject.plugin, &bench.plugin)))?;
    bench.end();
    Ok(if tally.all_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Performs the run of the arguments, `--runs` times.
fn alone(args: &TestArgs, subject: &Subject, check: &Check) -> anyhow::Result<ExitCode> {
    let mut bench = Bench::load(subject, [check])?;
    if let Some(pin) = check.sha256.as_deref().filter(|pin| *pin != bench.plugin.sha256()) {
        anyhow::bail!(
            "{} is not the file that check {} pins with sha256 = {pin:?}",
            subject.plugin.display(),
            check.name
        );
    }
    let mut costs = Costs::default();
    let outcome = loop {
        let outcome = bench.run(check);
        if costs.add(&outcome) == args.runs {
            break outcome;
        }
    };
    let costs = if args.runs > 1 { costs.to_string() } else { String::new() };
    print(format!("{}{costs}{}\n", shown(check, &outcome), about(&subject.plugin, &bench.plugin)))?;
    bench.end();
    Ok(if serves(&outcome.result) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A loaded plugin, and what it stores between runs.
struct Bench {
    host: Host,
    plugin: Plugin,
    runtime: tokio::runtime::Runtime,
    memo: Vec<u8>,
}

impl Bench {
    fn load<'a>(subject: &Subject, checks: impl IntoIterator<Item = &'a Check>) -> anyhow::Result<Bench> {
        let file = &subject.plugin;
        let bytes = read_named(file)?;
        let settings = HostSettings::fitting(checks.into_iter().map(|check| &check.limits)).isolated();
        let host = Host::new(HostSettings { cache: open_cache(subject.cache.as_deref())?, ..settings })?;
        let plugin = host.load(&bytes).with_context(|| format!("{} can't be used as a plugin", file.display()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Bench { host, plugin, runtime, memo: Vec::new() })
    }

    fn run(&mut self, check: &Check) -> Outcome {
        let run = Run {
            check: &check.name,
            params: &check.params,
            grants: &check.grants,
            limits: &check.limits,
            timeout: check.timeout,
            memo: self.memo.clone(),
            exit_codes: check.exit_codes,
        };
        let outcome = self.runtime.block_on(self.host.run(&self.plugin, run));
        if let Some(kept) = &outcome.memo {
            self.memo.clone_from(kept);
        }
        outcome
    }

    /// Ends without waiting for probes that are still running.
    fn end(self) {
        self.runtime.shutdown_background();
    }
}

/// The check that the arguments describe.
fn requested(args: &TestArgs) -> anyhow::Result<Check> {
    // Resolved as a configuration, so that arguments have the same meaning in both.
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
        the_check(vouchd_config::load(&args.config)?, name).with_context(|| format!("in {}", args.config.display()))?;
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
    check.with_context(|| match known.as_slice() {
        [] => format!("no check {name}: the configuration has no check"),
        _ => format!("no check {name}: expected one of {}", known.join(", ")),
    })
}

fn serves(result: &RunResult) -> bool {
    match result {
        RunResult::Report(report) => matches!(report.verdict, Verdict::Pass | Verdict::Warn),
        RunResult::TimedOut { .. } | RunResult::Error { .. } => false,
    }
}

#[cfg(test)]
mod tests;
