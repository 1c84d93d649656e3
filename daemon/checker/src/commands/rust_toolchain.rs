//! A Rust compiler that can make WebAssembly: the author's own, or else Debian's, which builds the standard library for it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

pub const TARGET: &str = "wasm32-unknown-unknown";

/// From the Debian package rust-web-src.
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std";

/// `cargo build` for the target, to be run in `dir`.
///
/// # Errors
/// If there is no such compiler, with the ways to get one.
pub fn cargo(dir: &Path) -> anyhow::Result<Command> {
    let own = output("rustc", &["--print", "target-libdir", "--target", TARGET], dir);
    let mut cargo = if own.as_ref().is_ok_and(|libraries| Path::new(libraries).exists()) {
        Command::new("cargo")
    } else if Path::new(DEBIAN_STD).exists() {
        debian(dir)?
    } else {
        bail!(
            "Rust can't compile for {TARGET} here ({}); to make it able to: rustup target add {TARGET}; \
             or on Debian, as root: apt-get install rustc-web cargo-web rust-web-src lld",
            own.map_or_else(|error| format!("{error:#}"), |_| "the target is not installed".to_owned())
        );
    };
    cargo.args(["build", "--target", TARGET]).current_dir(dir);
    if cargo.get_program() == "/usr/bin/cargo" {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    Ok(cargo)
}

/// `-Zbuild-std` is an unstable option, hence the bootstrap variable.
fn debian(dir: &Path) -> anyhow::Result<Command> {
    let mut cargo = Command::new("/usr/bin/cargo");
    let path = env::var("PATH").unwrap_or_default();
    cargo
        .env("PATH", format!("/usr/bin:{path}"))
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker(dir)?)
        .env_remove("RUSTUP_TOOLCHAIN");
    Ok(cargo)
}

/// The one that comes with the author's own compiler, else one of the system.
fn linker(dir: &Path) -> anyhow::Result<PathBuf> {
    let sysroot = output("rustc", &["--print", "sysroot"], dir)?;
    let version = output("rustc", &["-vV"], dir)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let own = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    let system = (14..=30).rev().map(|n| PathBuf::from(format!("/usr/bin/wasm-ld-{n}")));
    let mut known = [own, PathBuf::from("/usr/bin/wasm-ld")].into_iter().chain(system);
    known.find(|path| path.exists()).with_context(|| {
        format!("no linker for WebAssembly: expected rust-lld in {sysroot}, or wasm-ld; as root: apt-get install lld")
    })
}

fn output(program: &str, args: &[&str], dir: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).args(args).current_dir(dir).output();
    let output = output.with_context(|| format!("no {program}: expected Rust, from rustup.rs or your distribution"))?;
    ensure!(output.status.success(), "{program} {} ended with {}", args.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
