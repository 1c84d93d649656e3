//! `cargo xtask test --quick`: what most mistakes break, in under two minutes once everything is built.

use std::path::Path;

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
pub const LEFT_OUT: &str = "left out: documentation tests, the plugin host's own programs (host, services, corpus), \
    plugins in other languages, the virtual machine, and all but five whole-system tests; `cargo xtask test` runs everything";

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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A test that was renamed would be missed by nobody.
    #[test]
    fn tests_of_the_main_job_exist() {
        let mut sources = String::new();
        let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests").join(SYSTEM)];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    sources += &fs::read_to_string(&path).unwrap();
                }
            }
        }
        for test in MAIN_JOB {
            assert!(sources.contains(&format!("fn {test}(")), "no test is named {test}: was it renamed?");
        }
    }
}
