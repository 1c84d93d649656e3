//! `cargo xtask vm`: whole-system tests on a kernel and a systemd of their own, in a virtual machine.
//!
//! VLANs, bonds, VRFs, dummy interfaces and netem are modules that a container's kernel may lack, and no container of a test
//! runs systemd. The guest is a Debian in software emulation, so that no machine needs KVM; it is some ten times slower.

mod disk;
mod guest;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::machine::{self, Needed};
use crate::shown;

/// What boots the guest, and what makes its disk.
const NEEDED: &[Needed] =
    &[("qemu-system-x86_64", "qemu-system-x86"), ("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs")];

/// The program of the tests.
const PROGRAM: &str = "vm";

/// The guest's result, or why there is none.
pub enum Outcome {
    /// The runner's own totals, and whether it succeeded.
    Ran { totals: String, success: bool },
    /// What is missing; the tests are named on the standard output.
    Skipped,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        match outcome {
            Outcome::Ran { success: true, .. } | Outcome::Skipped => ExitCode::SUCCESS,
            Outcome::Ran { success: false, .. } => ExitCode::FAILURE,
        }
    }
}

/// Runs the tests whose names contain one of `filters`, or all of them. `environment` names what they start.
pub fn run(root: &Path, environment: &[(&str, PathBuf)], filters: &[String]) -> anyhow::Result<Outcome> {
    let program = build(root)?;
    if let Err(missing) = install() {
        return skip(&program, &missing);
    }
    let system = match disk::system() {
        Ok(system) => system,
        Err(error) => return skip(&program, &format!("no disk for the guest: {error:#}")),
    };
    let start = Instant::now();
    let payload = payload(root, environment, &program, filters)?;
    let result = guest::boot(&system, &payload)?;
    println!("virtual machine: {} in {:.0} s", result.totals, start.elapsed().as_secs_f64());
    Ok(Outcome::Ran { success: result.status == 0, totals: result.totals })
}

fn install() -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the guest is an x86-64 machine, as this one must be".to_owned());
    }
    if !machine::is_root() {
        return Err("no root, to make the disk of the guest: run it as root".to_owned());
    }
    // A failed installation shows in the next line, with the name of what is missing.
    if let Err(error) = machine::install_packages(NEEDED) {
        println!("xtask: {error:#}");
    }
    machine::missing(NEEDED).map_or(Ok(()), |packages| Err(format!("not installed: {packages}")))
}

/// Names every test that does not run.
fn skip(program: &Path, missing: &str) -> anyhow::Result<Outcome> {
    let list = Command::new(program).args(["--list", "--format=terse"]).output().context("listing the tests")?;
    for test in String::from_utf8_lossy(&list.stdout).lines().filter_map(|line| line.strip_suffix(": test")) {
        println!("SKIPPED: {PROGRAM} {test}: {missing}");
    }
    Ok(Outcome::Skipped)
}

/// Builds the program of the tests, and returns its path.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    // The whole workspace, so that every dependency has the features with which it is built already.
    let mut cargo = crate::cargo([
        "test",
        "--workspace",
        "--test",
        PROGRAM,
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    eprintln!("xtask: {}", shown(&cargo));
    let output = cargo.current_dir(root).stderr(std::process::Stdio::inherit()).output()?;
    ensure!(output.status.success(), "cargo ended with {}", output.status);
    executable(&String::from_utf8_lossy(&output.stdout)).context("cargo named no program of the tests")
}

/// The program of the tests in cargo's messages.
fn executable(messages: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Option<Target>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()).find_map(|message| {
        let target = message.target?;
        (target.name == PROGRAM && target.kind == ["test"]).then_some(message.executable?)
    })
}

/// A disk with the programs of this build, and with the script that runs the tests.
fn payload(
    root: &Path,
    environment: &[(&str, PathBuf)],
    program: &Path,
    filters: &[String],
) -> anyhow::Result<PathBuf> {
    let named = |variable: &str| {
        let value = environment.iter().find(|(name, _)| *name == variable);
        value.map(|(_, path)| path.as_path()).with_context(|| format!("no {variable}"))
    };
    let directory = root.join("target/vm/payload");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    let vouchd = named("VOUCHD_BIN")?;
    copy(vouchd, &directory.join("vouchd"))?;
    copy(&vouchd.with_file_name("vouchd-checker"), &directory.join("vouchd-checker"))?;
    copy(program, &directory.join(PROGRAM))?;
    copy_all(named("VOUCHD_PLUGINS")?, &directory.join("plugins"))?;
    copy_all(&root.join("packaging"), &directory.join("packaging"))?;
    fs::write(directory.join("run"), script(filters)?)?;
    let disk = root.join("target/vm/payload.ext4");
    disk::make(&directory, &disk)?;
    Ok(disk)
}

/// What the guest runs. Its standard output is the console.
fn script(filters: &[String]) -> anyhow::Result<String> {
    if let Some(odd) =
        filters.iter().find(|filter| filter.contains(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c)))
    {
        bail!("{odd}: expected a part of a test's name");
    }
    Ok(format!(
        "export VOUCHD_TESTS_VM=1 VOUCHD_TESTS_STRICT=1 VOUCHD_BIN=$1/vouchd VOUCHD_PLUGINS=$1/plugins\n\
         exec \"$1/{PROGRAM}\" --test-threads=1 {}\n",
        filters.join(" ")
    ))
}

fn copy_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).map(drop).with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_of_the_tests_is_found_among_the_messages_of_cargo() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"vm"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"system"},"executable":"/t/system-1"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"vm"},"executable":"/t/vm-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/vm-1")));
        assert_eq!(executable("{}"), None);
    }

    #[test]
    fn filter_is_part_of_a_name_and_nothing_for_a_shell() {
        assert!(script(&["links::vlan_".to_owned()]).unwrap().ends_with("--test-threads=1 links::vlan_\n"));
        assert!(script(&["a; reboot".to_owned()]).is_err());
    }
}
