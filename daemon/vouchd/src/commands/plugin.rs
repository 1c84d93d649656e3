//! `vouchd plugin list` and `vouchd plugin test`: what plugins there are, and what one of them says.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand};
use vouchd_config::{Check, Config, format_duration};
use vouchd_health::{RunResult, Verdict};
use vouchd_plugin::{Host, HostSettings, Outcome, Plugin, Run};

use super::config::DEFAULT_FILE;
use super::status::{Target, plugin_table, status_if_running};
use crate::checker::guest::Loader;
use crate::checker::shelf::{Event, Shelf, Sources};
use crate::pipe::PluginState;
use crate::status;

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Shows the plugins: those of the running daemon, or else what the directories hold
    List(ListArgs),
    /// Runs a plugin once, as the daemon would, and shows what it says and what it used
    ///
    /// Exit status: 0 for the verdicts pass and warn; 1 for fail, fault, a run that timed out, and whatever kept the
    /// plugin from running; 2 for wrong arguments. It runs as you: what it may look at is yours, not the daemon's.
    Test(TestArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

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

pub fn run(command: PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::List(args) => list(&args),
        PluginCommand::Test(args) => test(&args),
    }
}

pub fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let (plugins, whose) = match status_if_running(&args.target) {
        Some(status) => (status.plugins, format!("as vouchd (pid {}) has them", status.pid)),
        None => {
            let sources = sources(args.target.config_file())?;
            let Sources { plugins, builtins } = &sources;
            let whose = format!("in {} and {}; vouchd is not running", plugins.display(), builtins.display());
            (read(sources)?.iter().map(status::Plugin::from).collect(), whose)
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&plugins)?);
    } else if plugins.is_empty() {
        println!("no plugins {whose}");
    } else {
        println!("plugins {whose}:\n\n{}", plugin_table(&plugins).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// The plugin directories of the configuration; the default ones if none is named and there is none.
fn sources(config: Option<&Path>) -> anyhow::Result<Sources> {
    let config = match config {
        Some(file) => super::config::load(file)?,
        None if Path::new(DEFAULT_FILE).exists() => super::config::load(Path::new(DEFAULT_FILE))?,
        None => resolve("")?,
    };
    Ok(Sources { plugins: config.daemon.plugin_dir, builtins: config.daemon.builtin_plugin_dir })
}

/// Loads what is in the directories, the way the checker does.
fn read(sources: Sources) -> anyhow::Result<Vec<PluginState>> {
    // Without a cache: the daemon's belongs to another user.
    let host = Host::new(HostSettings::default())?;
    let mut shelf = Shelf::new(sources, BTreeSet::new(), Loader::new(host), Instant::now());
    let mut states = Vec::new();
    let mut ready = false;
    while !ready {
        let wake = shelf.scan(&mut |event| match event {
            Event::Loaded { state, .. } | Event::Kept { state } => states.push(state),
            Event::Gone { state } => states.retain(|known: &PluginState| known.name != state.name),
            Event::Ready { problems } => {
                for problem in problems {
                    eprintln!("{problem}");
                }
                ready = true;
            }
        });
        if let (false, Some(wake)) = (ready, wake) {
            thread::sleep(wake.saturating_duration_since(Instant::now()));
        }
    }
    states.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(states)
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
        the_check(super::config::load(&args.config)?, name).with_context(|| format!("in {}", args.config.display()))?;
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

fn resolve(text: &str) -> anyhow::Result<Config> {
    let file = PathBuf::from("arguments");
    vouchd_config::resolve(vec![(file, text.to_owned())]).map_err(|errors| anyhow::anyhow!("{errors}"))
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

/// What a run said and used, for people.
fn shown(check: &Check, outcome: &Outcome) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    match &outcome.result {
        RunResult::Report(report) => {
            let _ = writeln!(out, "{}: {}", report.verdict, plain(&report.message));
            if let Some(adjust) = report.adjust {
                let _ = writeln!(out, "  asks for {adjust:+} on the priority (counts as far as `adjust` allows)");
            }
            for metric in &report.metrics {
                let unit = if metric.unit.is_empty() { String::new() } else { format!(" {}", plain(&metric.unit)) };
                let _ = writeln!(out, "  {} = {}{unit}", plain(&metric.name), metric.value);
            }
        }
        RunResult::TimedOut { after } => {
            let _ = writeln!(out, "timed out after {}, which counts as fail", format_duration(*after));
        }
        RunResult::Error { reason } => {
            let _ = writeln!(out, "error: {}", plain(reason));
        }
    }
    for probe in &outcome.probes {
        let took = probe.took.as_secs_f64() * 1000.0;
        let _ = writeln!(out, "  probe {}: {} ({took:.1} ms)", plain(&probe.what), plain(&probe.answer));
    }
    for line in &outcome.log {
        let _ = writeln!(out, "  log {}: {}", line.level, plain(&line.message));
    }
    let _ = writeln!(
        out,
        "  took {:.1} ms of {}; computed {:.1} ms of {}; memory {} KiB of {} KiB",
        outcome.duration.as_secs_f64() * 1000.0,
        format_duration(check.timeout),
        outcome.cpu.as_secs_f64() * 1000.0,
        format_duration(check.limits.cpu),
        outcome.memory.div_ceil(1024),
        check.limits.memory / 1024,
    );
    out
}

/// What runs took, by part.
#[derive(Default)]
struct Costs {
    instantiation: Vec<Duration>,
    probes: Vec<Duration>,
    call: Vec<Duration>,
    whole: Vec<Duration>,
}

impl Costs {
    /// The number of runs so far.
    fn add(&mut self, outcome: &Outcome) -> u32 {
        let probes = outcome.probes.iter().map(|probe| probe.took).sum();
        self.instantiation.push(outcome.instantiation);
        self.probes.push(probes);
        self.call.push(outcome.duration.saturating_sub(outcome.instantiation + probes));
        self.whole.push(outcome.duration);
        u32::try_from(self.whole.len()).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {} runs, in microseconds: median (5 % are below, 95 % are below)", self.whole.len())?;
        let parts = [
            ("instantiate", &self.instantiation),
            ("call", &self.call),
            ("probes", &self.probes),
            ("whole run", &self.whole),
        ];
        for (name, times) in parts {
            let mut sorted = times.clone();
            sorted.sort();
            let at = |percent: usize| sorted.get((sorted.len() - 1) * percent / 100).map_or(0, Duration::as_micros);
            writeln!(f, "  {name:>11} {:>7} ({}, {})", at(50), at(5), at(95))?;
        }
        Ok(())
    }
}

fn about(file: &Path, plugin: &Plugin) -> String {
    let metadata = plugin.metadata();
    let known: Vec<&str> = [&metadata.name, &metadata.version].into_iter().flatten().map(String::as_str).collect();
    let known = if known.is_empty() { String::new() } else { format!(" ({})", plain(&known.join(" "))) };
    format!("  {}{known}: {}, sha256 {}", file.display(), plugin.kind(), plugin.sha256())
}

/// Line breaks are kept readable, and nothing that a plugin says reaches the terminal as a control sequence.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {

    use clap::Parser;
    use vouchd_health::{Metric, Report};
    use vouchd_plugin::{LogLevel, LogLine, Probe, Watch};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        command: PluginCommand,
    }

    fn test_args(arguments: &[&str]) -> TestArgs {
        let line = ["vouchd", "test", "p.wasm"].iter().chain(arguments);
        match Cli::try_parse_from(line).unwrap().command {
            PluginCommand::Test(args) => args,
            PluginCommand::List(_) => panic!("not a test"),
        }
    }

    #[test]
    fn arguments_mean_what_they_mean_in_the_configuration() {
        let args = ["--allow", "{ process = [\"nginx\"] }", "--timeout", "250ms", "-p", "name=a=b", "-p", "name=c"];
        let check = requested(&test_args(&args)).unwrap();
        assert!(check.grants.permits_process("nginx").is_ok());
        assert!(check.grants.permits_process("other").is_err());
        assert_eq!(check.timeout, Duration::from_millis(250));
        assert_eq!(check.params, [("name".to_owned(), "a=b".to_owned()), ("name".to_owned(), "c".to_owned())]);
        assert!(requested(&test_args(&["--allow", "{ prozess = true }"])).is_err());
        assert!(requested(&test_args(&["--timeout", "250"])).is_err());
    }

    #[test]
    fn a_check_of_the_configuration_is_the_base_and_arguments_come_on_top() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vouchd.toml");
        let text = r#"
            [check.web]
            plugin = "http"
            params = { url = "http://one/", status = [200, 204], method = "HEAD" }
            timeout = "300ms"
        "#;
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let check = requested(&test_args(&["-c", file, "--check", "web", "-p", "status=500"])).unwrap();
        assert_eq!(check.timeout, Duration::from_millis(300));
        let params: Vec<_> = check.params.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(params, ["url=http://one/", "method=HEAD", "status=500"]);
        let error = format!("{:#}", requested(&test_args(&["-c", file, "--check", "wep"])).unwrap_err());
        assert!(error.contains("no check wep: expected one of web"), "{error}");
    }

    fn outcome(result: RunResult) -> Outcome {
        Outcome {
            instantiation: Duration::ZERO,
            result,
            duration: Duration::from_micros(12_300),
            cpu: Duration::from_micros(400),
            memory: 1_100_000,
            log: vec![LogLine { level: LogLevel::Info, message: "looking".to_owned() }],
            memo: None,
            probes: vec![Probe {
                what: "process nginx".to_owned(),
                answer: "2 found".to_owned(),
                took: Duration::from_micros(1_500),
            }],
            watch: Watch::default(),
        }
    }

    #[test]
    fn a_run_is_shown_with_what_it_said_saw_and_used() {
        let report = Report {
            verdict: Verdict::Warn,
            message: "slow\u{1b}[2J".to_owned(),
            adjust: Some(-5),
            metrics: vec![Metric { name: "latency".to_owned(), value: 0.25, unit: "s".to_owned() }],
        };
        let check = requested(&test_args(&[])).unwrap();
        let expected = "\
warn: slow [2J
  asks for -5 on the priority (counts as far as `adjust` allows)
  latency = 0.25 s
  probe process nginx: 2 found (1.5 ms)
  log info: looking
  took 12.3 ms of 1s; computed 0.4 ms of 500ms; memory 1075 KiB of 16384 KiB
";
        assert_eq!(shown(&check, &outcome(RunResult::Report(report))), expected);
    }

    #[test]
    fn only_pass_and_warn_serve() {
        let report =
            |verdict| RunResult::Report(Report { verdict, message: String::new(), adjust: None, metrics: vec![] });
        for (result, expected) in [
            (report(Verdict::Pass), true),
            (report(Verdict::Warn), true),
            (report(Verdict::Fail), false),
            (report(Verdict::Fault), false),
            (RunResult::TimedOut { after: Duration::from_secs(1) }, false),
            (RunResult::Error { reason: String::new() }, false),
        ] {
            assert_eq!(serves(&result), expected, "{result:?}");
        }
    }
}
