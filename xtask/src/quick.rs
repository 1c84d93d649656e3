//! `cargo xtask test --quick`: what most mistakes break, in under two minutes once everything is built.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::workspace::Workspace;

/// Crates of which only the unit tests run: the other test programs contain the WebAssembly engine, which takes long to
/// link, or wait for real clocks.
const UNITS_ONLY: [&str; 3] = ["vouchd-checker", "vouchd-plugin", "vouchd-tests"];

/// The program of whole-system tests, and those tests of it that show the main job.
const SYSTEM: &str = "system";
const MAIN_JOB: [&str; 5] = [
    "weighted_process_check_moves_the_address_and_brings_it_back",
    "killed_router_keeps_no_address",
    "killed_checker_is_replaced_within_a_second",
    "plugin_and_drop_in_copied_while_running_are_checked_within_a_second",
    "good_configuration_is_accepted",
];

/// What is not in it, for the end of its output.
pub const LEFT_OUT: &str = "left out: documentation tests, the plugin host's own programs (hostile files, limits, services, stores), \
    plugins in other languages, and all but five whole-system tests; `cargo xtask test` runs everything";

/// Arguments for `cargo nextest run --workspace`: only these programs are built, and only these tests run.
pub fn arguments(root: &Path) -> anyhow::Result<Vec<String>> {
    let workspace = Workspace::read(root)?;
    let mut arguments = vec!["--lib".to_owned(), "--bins".to_owned()];
    let members = workspace.members();
    let light = members.iter().filter(|member| !UNITS_ONLY.contains(&&*member.name));
    for program in light.flat_map(|member| &member.tests).map(String::as_str).chain([SYSTEM]) {
        arguments.extend(["--test".to_owned(), program.to_owned()]);
    }
    let main_job = MAIN_JOB.map(|test| format!("test(/(^|::){test}$/)")).join(" | ");
    arguments.extend(["-E".to_owned(), format!("not package(vouchd-tests) | kind(lib) | {main_job}")]);
    Ok(arguments)
}

/// Fails if a test of [`MAIN_JOB`] did not run: one that was renamed would be missed by nobody.
pub fn ran(report: &str) -> anyhow::Result<()> {
    let document = roxmltree::Document::parse(report).context("reading the report of nextest")?;
    let names: Vec<_> = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
        .filter_map(|test| test.attribute("name"))
        .collect();
    let is_gone = |test: &&str| !names.iter().any(|name| name.rsplit("::").next() == Some(test));
    let gone: Vec<_> = MAIN_JOB.into_iter().filter(is_gone).collect();
    ensure!(
        gone.is_empty(),
        "xtask/src/quick.rs names tests that did not run: {}; were they renamed?",
        gone.join(", ")
    );
    Ok(())
}
