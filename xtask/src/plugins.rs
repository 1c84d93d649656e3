//! Compiles the built-in plugins to WebAssembly, and first sets up a compiler for it where there is none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use vouchd_languages::rust::{self, DEBIAN_PACKAGES, TARGET};

use crate::machine;

/// Its own, so that the host's build and this one don't rebuild each other's parts.
const TARGET_DIR: &str = "target/wasm";

/// File name of the plugin, and the package it is built from.
const PLUGINS: [(&str, &str); 15] = [
    ("process", "vouchd-check-process"),
    ("http", "vouchd-check-http"),
    ("tcp", "vouchd-check-tcp"),
    ("tls", "vouchd-check-tls"),
    ("dns", "vouchd-check-dns"),
    ("vip", "vouchd-check-vip"),
    ("file", "vouchd-check-file"),
    ("disk", "vouchd-check-disk"),
    ("pressure", "vouchd-check-pressure"),
    ("unix", "vouchd-check-unix"),
    ("haproxy", "vouchd-check-haproxy"),
    ("redis", "vouchd-check-redis"),
    ("systemd", "vouchd-check-systemd"),
    ("mysql", "vouchd-check-mysql"),
    ("postgresql", "vouchd-check-postgresql"),
];

/// Compiles the plugins to `target/plugins/NAME.wasm` and returns that directory.
pub fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let mut cargo = cargo(root)?;
    cargo.args(PLUGINS.iter().flat_map(|(_, package)| ["--package", package]));
    eprintln!("xtask: building the plugins for {TARGET}");
    let status = cargo.status().context("starting cargo for the plugins")?;
    ensure!(status.success(), "the plugins do not build ({status})");
    collect(&root.join(TARGET_DIR), &root.join("target/plugins"))
}

/// A cargo that builds packages of the plugins' workspace for WebAssembly, into `target/wasm/wasm32-unknown-unknown/release`.
pub fn cargo(root: &Path) -> anyhow::Result<Command> {
    set_up()?;
    let mut cargo = rust::cargo(&root.join("plugins"))?;
    cargo.args(["--locked", "--release"]).env("CARGO_TARGET_DIR", root.join(TARGET_DIR));
    // What is meant for the host's compiler.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(variable);
    }
    Ok(cargo)
}

/// Copies by renaming: the directory may be watched by a running daemon.
fn collect(target_dir: &Path, plugins: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(plugins)?;
    for (name, package) in PLUGINS {
        let built = target_dir.join(TARGET).join("release").join(package.replace('-', "_")).with_extension("wasm");
        let (part, file) = (plugins.join(format!(".{name}.part")), plugins.join(format!("{name}.wasm")));
        let built = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
        // An unchanged file keeps its time, so that nothing is loaded again.
        if fs::read(&file).ok().as_ref() != Some(&built) {
            fs::write(&part, built)?;
            fs::rename(&part, &file)?;
        }
    }
    Ok(plugins.to_owned())
}

/// Sets up a compiler for WebAssembly, if there is none.
fn set_up() -> anyhow::Result<()> {
    let here = Path::new(".");
    if rust::has_target(here) || rust::has_debian() {
        return Ok(());
    }
    println!("xtask: the Rust toolchain can't compile for {TARGET}: rustup target add {TARGET}");
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if added.is_ok_and(|status| status.success()) && rust::has_target(here) {
        return Ok(());
    }
    let wanted = DEBIAN_PACKAGES.join(" ");
    if !machine::is_root() {
        bail!(
            "no way to compile for {TARGET}: expected `rustup target add {TARGET}` to work, or the Debian packages \
             {wanted}; install one of them, as root: apt-get install {wanted}"
        );
    }
    println!("xtask: installing the Debian packages {wanted}");
    machine::apt_get(&["update", "-q"])?;
    machine::apt_get(&[["install", "-q", "-y", "--no-install-recommends"].as_slice(), &DEBIAN_PACKAGES].concat())
}
