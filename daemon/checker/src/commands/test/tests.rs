use std::time::Duration;

use clap::Parser;
use vouchd_health::{Metric, Report};
use vouchd_plugin::{LogLevel, LogLine, Outcome, Probe, Watch};

use super::*;
use crate::commands::PluginCommand;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: PluginCommand,
}

fn test_args(arguments: &[&str]) -> TestArgs {
    let line = ["vouchd", "test", "p.wasm"].iter().chain(arguments);
    match Cli::try_parse_from(line).unwrap().command {
        PluginCommand::Test(args) => args,
        other => panic!("not a test: {other:?}"),
    }
}

#[test]
fn arguments_have_the_same_meaning_as_in_the_configuration() {
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
fn arguments_override_a_check_of_the_configuration() {
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

pub(super) fn outcome(result: RunResult) -> Outcome {
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
fn run_is_shown_with_its_report_probes_and_costs() {
    let report = Report {
        verdict: Verdict::Warn,
        message: "slow\u{1b}[2J".to_owned(),
        adjust: Some(-5),
        metrics: vec![Metric { name: "latency".to_owned(), value: 0.25, unit: "s".to_owned() }],
    };
    let check = requested(&test_args(&[])).unwrap();
    let expected = "\
warn: slow [2J
  asks for -5 on the priority (limited by `adjust` of the check)
  latency = 0.25 s
  probe process nginx: 2 found (1.5 ms)
  log info: looking
  took 12.3 ms of 1s; computed 0.4 ms of 500ms; memory 1075 KiB of 16384 KiB
";
    assert_eq!(shown(&check, &outcome(RunResult::Report(report))), expected);
}

#[test]
fn only_pass_and_warn_are_a_success() {
    let report = |verdict| RunResult::Report(Report { verdict, message: String::new(), adjust: None, metrics: vec![] });
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

#[test]
fn project_is_tested_by_its_script_unless_the_arguments_say_what_to_run() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("vouchd-plugin.toml"), "name = \"port\"\nlanguage = \"c\"\n").unwrap();
    fs::write(dir.path().join("test.toml"), "").unwrap();
    let text = dir.path().to_str().unwrap();
    let of = |options: &[&str]| {
        let line = [&["vouchd", "test", text], options].concat();
        let PluginCommand::Test(args) = Cli::try_parse_from(line).unwrap().command else { panic!("not a test") };
        let subject = Subject::of(&args).unwrap();
        assert_eq!(subject.plugin, dir.path().join("port.wasm"));
        subject.script
    };
    assert_eq!(of(&[]), Some(dir.path().join("test.toml")));
    assert_eq!(of(&["--watch"]), Some(dir.path().join("test.toml")));
    assert_eq!(of(&["--script", "other.toml"]), Some("other.toml".into()));
    assert_eq!(of(&["-p", "a=b"]), None);
    assert_eq!(of(&["--runs", "9"]), None);
    let file = Subject::of(&test_args(&[])).unwrap();
    assert_eq!(file, Subject { plugin: "p.wasm".into(), script: None, cache: None });
}
