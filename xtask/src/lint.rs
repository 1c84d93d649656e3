//! Everything that a change must satisfy and that needs no test to run.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::workspace::Workspace;
use crate::{cargo, conformance, deny, diagram, guests, house, links, machine, run};

/// Lints that every library turns on in its root file: what is public is documented, and what is not used outside is private.
const OF_LIBRARIES: [&str; 2] = ["missing_docs", "unreachable_pub"];

/// Where users read which Rust they need.
const README: &str = "README.md";

/// What plugin authors compile, which may be with an older Rust than the daemon's.
const GUESTS: [&str; 3] = ["plugins/Cargo.toml", "sdk/rust/Cargo.toml", "sdk/templates/rust/Cargo.toml"];

/// Fails at the first thing that is wrong, the cheapest checks first.
pub fn lint(root: &Path) -> anyhow::Result<()> {
    conformance::update(root, true)?;
    links::check(root)?;
    house::update(root, true)?;
    diagram::update(root, true)?;
    let workspace = Workspace::read(root)?;
    libraries(&workspace)?;
    let minimum = minimum_rust(root, &workspace)?;
    run(cargo(["fmt", "--all", "--check"]))?;
    run(guests(root, ["fmt", "--all", "--check"]))?;
    run(&mut smith(root, &["fmt", "--check"]))?;
    deny::check(root)?;
    run(cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(guests(root, ["clippy", "--all-targets", "--", "-D", "warnings"]))?;
    run(&mut smith(root, &["clippy", "--", "-D", "warnings"]))?;
    run(cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    compiles_with(root, &minimum)
}

/// Cargo, in the workspace of the generator of random plugins.
fn smith(root: &Path, args: &[&str]) -> Command {
    let mut command = cargo(args);
    command.current_dir(root.join("tests/smith")).env("CARGO_TARGET_DIR", root.join("target/smith"));
    command
}

/// Every library of the workspace turns on [`OF_LIBRARIES`]; clippy reports what they find.
fn libraries(workspace: &Workspace) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for member in workspace.members() {
        let Some(library) = &member.library else { continue };
        let source = fs::read_to_string(library).with_context(|| library.display().to_string())?;
        let on = lints_on(&source);
        let off: Vec<_> = OF_LIBRARIES.into_iter().filter(|lint| !on.iter().any(|on| on == lint)).collect();
        if !off.is_empty() {
            missing.push(format!("{}: #![warn({})]", library.display(), off.join(", ")));
        }
    }
    ensure!(
        missing.is_empty(),
        "every library turns on {}; add\n  {}",
        OF_LIBRARIES.join(" and "),
        missing.join("\n  ")
    );
    Ok(())
}

/// The lints that a crate's root file turns on for the whole crate.
fn lints_on(source: &str) -> Vec<&str> {
    ["#![warn(", "#![deny(", "#![forbid("]
        .iter()
        .flat_map(|attribute| source.split(attribute).skip(1))
        .filter_map(|rest| rest.split(")]").next())
        .flat_map(|lints| lints.split(',').map(str::trim))
        .collect()
}

/// Returns the daemon's `rust-version`, after checking that all its crates have it, that the README names it, and that what
/// plugin authors compile has one of its own.
fn minimum_rust(root: &Path, workspace: &Workspace) -> anyhow::Result<String> {
    let members = workspace.members();
    let minimum =
        members.iter().find_map(|member| member.rust_version.clone()).context("no crate has a rust-version")?;
    if let Some(other) = members.iter().find(|member| member.rust_version.as_ref() != Some(&minimum)) {
        bail!(
            "{}: expected rust-version.workspace = true, which is {minimum}",
            other.directory.join("Cargo.toml").display()
        );
    }
    let of_guests = GUESTS.map(|manifest| rust_version(root, manifest).map(|version| (version, manifest)));
    let of_guests = of_guests.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(of_guests.windows(2).all(|pair| pair[0].0 == pair[1].0), "expected one rust-version, found {of_guests:?}");
    let readme = fs::read_to_string(root.join(README)).context(README)?;
    ensure!(readme.contains(&format!("Rust {minimum}")), "{README}: expected the words \"Rust {minimum}\"");
    Ok(minimum)
}

/// The key `rust-version` of a manifest.
fn rust_version(root: &Path, manifest: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(root.join(manifest)).with_context(|| manifest.to_owned())?;
    let version = text.lines().find_map(|line| line.strip_prefix("rust-version = "));
    Ok(version.with_context(|| format!("{manifest} has no rust-version"))?.trim_matches('"').to_owned())
}

/// Compiles the daemon with the minimum version, unless all other checks did so. Clippy reports newer functions of the
/// standard library with any compiler (`incompatible_msrv`).
fn compiles_with(root: &Path, minimum: &str) -> anyhow::Result<()> {
    let own = Command::new("rustc").arg("--version").output().context("starting rustc")?;
    if String::from_utf8_lossy(&own.stdout).starts_with(&format!("rustc {minimum}.")) {
        return Ok(());
    }
    let toolchain = format!("+{minimum}");
    if !machine::works("cargo", &[&toolchain, "--version"]) {
        println!("SKIPPED: whether the code compiles with Rust {minimum}: run `rustup toolchain install {minimum}`");
        return Ok(());
    }
    let mut check = Command::new("cargo");
    check.args([&*toolchain, "check", "--workspace"]).env("CARGO_TARGET_DIR", root.join("target/minimum-rust"));
    run(&mut check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_are_found_in_attributes_of_the_crate_only() {
        let source =
            "#![forbid(unsafe_code)]\n#![warn(\n    missing_docs,\n    unreachable_pub\n)]\n#[warn(dead_code)]\n";
        assert_eq!(lints_on(source), ["missing_docs", "unreachable_pub", "unsafe_code"]);
    }
}
