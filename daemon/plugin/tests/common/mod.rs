//! Shared by the test binaries: a host, runs and their outcomes, the plugins that ship, and guests made of WAT.

#![allow(dead_code, unused_imports)] // Each binary uses a part.

mod guest;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use vouchd_config::{ExitCodes, Grants, Limits};
use vouchd_health::{Report, RunResult, Verdict};
use vouchd_plugin::{Host, HostSettings, Outcome, Plugin, Run};

pub use guest::{WIT, checker, failing, module_text, program, reporting, with_metadata};

/// A plugin's parameters.
pub type Params<'a> = &'a [(&'a str, &'a str)];

/// A host with a few slots: each host reserves address space.
pub fn host() -> Host {
    Host::new(HostSettings { slots: 8, ..HostSettings::default() }).expect("a host")
}

/// A run with the default limits and time to spare.
pub async fn run(host: &Host, plugin: &Plugin, params: Params<'_>, grants: &Grants) -> Outcome {
    run_with(host, plugin, params, grants, &Limits::default(), Duration::from_secs(2)).await
}

pub async fn run_with(
    host: &Host,
    plugin: &Plugin,
    params: Params<'_>,
    grants: &Grants,
    limits: &Limits,
    timeout: Duration,
) -> Outcome {
    let params: Vec<_> = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let exit_codes = ExitCodes::default();
    host.run(plugin, Run { check: "test", params: &params, grants, limits, timeout, memo: Vec::new(), exit_codes })
        .await
}

/// The reason of a run that ended with an error.
pub fn reason(outcome: &Outcome) -> &str {
    match &outcome.result {
        RunResult::Error { reason } => reason,
        other => panic!("expected an error, found {other:?}"),
    }
}

/// The report of a run that ended with one.
pub fn report(outcome: &Outcome) -> &Report {
    match &outcome.result {
        RunResult::Report(report) => report,
        other => panic!("expected a report, found {other:?}"),
    }
}

pub fn found(outcome: &Outcome) -> (Verdict, &str) {
    let report = report(outcome);
    (report.verdict, &report.message)
}

/// # Panics
/// Unless the report has this verdict, and this text in its message.
pub fn assert_report(outcome: &Outcome, verdict: Verdict, text: &str) {
    let (got, message) = found(outcome);
    assert_eq!(got, verdict, "expected {text:?}: {message}");
    assert!(message.contains(text), "expected {text:?}: {message}");
}

pub fn metric(outcome: &Outcome, name: &str) -> Option<f64> {
    report(outcome).metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

/// Where the plugins that ship are built: `VOUCHD_PLUGINS`, else `target/plugins`, where `cargo xtask` puts them.
fn plugins() -> PathBuf {
    std::env::var_os("VOUCHD_PLUGINS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/plugins")), PathBuf::from)
}

/// The names of the plugins that ship, as `cargo xtask` knows them.
pub fn builtin_names() -> Vec<String> {
    let builder = include_str!("../../../../xtask/src/plugins.rs");
    let name = |line: &str| Some(line.trim().strip_prefix("(\"")?.split_once("\", \"vouchd-check-")?.0.to_owned());
    builder.lines().filter_map(name).collect()
}

/// The bytes of a plugin that ships. `None`, with the test noted as skipped, if the plugins were not built.
pub fn built(name: &str) -> Option<Vec<u8>> {
    let path = plugins().join(format!("{name}.wasm"));
    std::fs::read(&path)
        .inspect_err(|error| vouchd_skip::skip(&format!("{}: {error}", path.display()), "run `cargo xtask build`"))
        .ok()
}

/// A plugin that ships, loaded. `None`, with the test noted as skipped, if the plugins were not built.
pub fn builtin(host: &Host, name: &str) -> Option<Plugin> {
    Some(host.load(&built(name)?).unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Set in a process that runs a single test.
const ALONE: &str = "VOUCHD_TEST_ALONE";

/// Whether this test has its process to itself. If not, runs it in one that it has, and returns false: the test is to
/// return then. nextest gives each test a process, `cargo test` does not.
pub fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() || std::env::var_os("NEXTEST").is_some() {
        return true;
    }
    run_again(test, |command| {
        command.env(ALONE, "1");
    });
    false
}

/// Runs the test with this path (`module::test`) again in a process of its own, as `prepare` changes it.
///
/// # Panics
/// If there is no such test, or it fails.
pub fn run_again(test: &str, prepare: impl FnOnce(&mut Command)) {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]);
    prepare(&mut again);
    let output = again.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    println!("{stdout}{stderr}");
    assert!(output.status.success(), "{test} in a process of its own");
    assert!(stdout.contains("1 passed"), "there is no test {test}");
}
