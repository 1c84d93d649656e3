//! A guest from a few lines of WAT, and a host to run it in.

#![allow(dead_code)] // each test file uses its part

use std::path::PathBuf;
use std::time::Duration;

use vouchd_config::{ExitCodes, Grants, Limits};
use vouchd_health::{Report, RunResult, Verdict};
use vouchd_plugin::{Host, HostSettings, Outcome, Plugin, Run};
use wit_component::StringEncoding;

pub const WIT: &str = include_str!("../../../../sdk/wit/check.wit");

/// Where the guests' `check` leaves its answer.
const ANSWER: usize = 1024;
/// Where its text is.
const TEXT: usize = 1100;

/// `result<report, string>` in the canonical ABI at [`ANSWER`], with a text at [`TEXT`].
fn answer_data(is_error: bool, verdict: u8, text: &str) -> String {
    let mut bytes = vec![0u8; 28];
    let text_at = if is_error {
        bytes[0] = 1;
        4
    } else {
        bytes[4] = verdict;
        8
    };
    bytes[text_at..text_at + 4].copy_from_slice(&(TEXT as u32).to_le_bytes());
    bytes[text_at + 4..text_at + 8].copy_from_slice(&(text.len() as u32).to_le_bytes());
    let escape = |data: &[u8]| data.iter().map(|b| format!("\\{b:02x}")).collect::<String>();
    format!(
        "(data (i32.const {ANSWER}) \"{}\") (data (i32.const {TEXT}) \"{}\")",
        escape(&bytes),
        escape(text.as_bytes())
    )
}

/// A core module whose `check` executes `body` and then reports `verdict` (0 is pass) and `text`.
pub fn reporting(verdict: u8, text: &str, top: &str, body: &str) -> Vec<u8> {
    module(&answer_data(false, verdict, text), top, body)
}

/// The same, answering with an error.
pub fn failing(text: &str, top: &str, body: &str) -> Vec<u8> {
    module(&answer_data(true, 0, text), top, body)
}

/// The same as text, for one that has metadata of its own.
pub fn module_text(verdict: u8, text: &str, top: &str, body: &str) -> String {
    text_of(&answer_data(false, verdict, text), top, body)
}

fn module(data: &str, top: &str, body: &str) -> Vec<u8> {
    with_metadata(&text_of(data, top, body), WIT)
}

fn text_of(data: &str, top: &str, body: &str) -> String {
    format!(
        r#"(module
            {top}
            (memory (export "memory") 8)
            {data}
            (global $free (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.set $free (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func $check (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32)
                {body}
                (i32.const {ANSWER})))"#
    )
}

/// Assembles a core module and embeds the contract, as bindings do.
pub fn with_metadata(wat: &str, wit: &str) -> Vec<u8> {
    let mut bytes = wat::parse_str(wat).expect("the test's WAT");
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("check.wit", wit).expect("the test's WIT");
    let world = resolve.select_world(&[package], Some("plugin")).expect("the world");
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).expect("embedding");
    bytes
}

/// One host for a test file: it reserves address space.
pub fn host() -> Host {
    Host::new(HostSettings { slots: 8, ..HostSettings::default() }).expect("a host")
}

/// A run with a second to spare.
pub async fn run(host: &Host, plugin: &Plugin, params: &[(&str, &str)], grants: &Grants) -> Outcome {
    run_with(host, plugin, params, grants, &Limits::default(), Duration::from_secs(2)).await
}

pub async fn run_with(
    host: &Host,
    plugin: &Plugin,
    params: &[(&str, &str)],
    grants: &Grants,
    limits: &Limits,
    timeout: Duration,
) -> Outcome {
    let params: Vec<_> = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let exit_codes = ExitCodes::default();
    host.run(plugin, Run { check: "test", params: &params, grants, limits, timeout, memo: Vec::new(), exit_codes })
        .await
}

/// The reason of a run that was an error.
pub fn reason(outcome: &Outcome) -> &str {
    match &outcome.result {
        RunResult::Error { reason } => reason,
        other => panic!("expected an error, found {other:?}"),
    }
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

/// The named plugin that ships, as compiled. None, and said so, where the plugins were not built.
pub fn built(name: &str) -> Option<Vec<u8>> {
    let path = plugins().join(format!("{name}.wasm"));
    std::fs::read(&path)
        .inspect_err(|error| vouchd_skip::skip(&format!("{}: {error}", path.display()), "run `cargo xtask build`"))
        .ok()
}

/// The same, loaded.
pub fn builtin(host: &Host, name: &str) -> Option<Plugin> {
    Some(host.load(&built(name)?).unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// The report of a run that was carried out.
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
