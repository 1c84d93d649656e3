//! The Rust compiler for WebAssembly: the user's own if it has the target, else Debian's, which builds the standard library.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// The target that plugins in Rust are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The Debian packages with a compiler that can build the standard library for [`TARGET`].
pub const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std";

/// Makes `cargo build` for [`TARGET`], to be run in `directory`.
///
/// # Errors
/// If the machine has no such compiler, with the ways to get one.
pub fn cargo(directory: &Path) -> anyhow::Result<Command> {
    let libraries = target_libraries(directory);
    let mut cargo = if libraries.as_ref().is_ok_and(|libraries| libraries.exists()) {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.arg("build");
        cargo
    } else if has_debian() {
        debian(directory)?
    } else {
        bail!(
            "Rust can't compile for {TARGET} here ({}); to install the target: rustup target add {TARGET}; \
             or on Debian, as root: apt-get install {} lld",
            libraries.map_or_else(|error| format!("{error:#}"), |_| "the target is not installed".to_owned()),
            DEBIAN_PACKAGES.join(" ")
        );
    };
    cargo.args(["--target", TARGET]).current_dir(directory);
    Ok(cargo)
}

/// Whether the compiler that builds `directory` has the target.
pub fn has_target(directory: &Path) -> bool {
    target_libraries(directory).is_ok_and(|libraries| libraries.exists())
}

fn target_libraries(directory: &Path) -> anyhow::Result<PathBuf> {
    output("rustc", &["--print", "target-libdir", "--target", TARGET], directory).map(PathBuf::from)
}

/// Whether [`DEBIAN_PACKAGES`] are installed.
pub fn has_debian() -> bool {
    Path::new(DEBIAN_STD).exists()
}

/// `-Zbuild-std` is an unstable option, hence the bootstrap variable.
fn debian(directory: &Path) -> anyhow::Result<Command> {
    let mut path = OsString::from("/usr/bin:");
    path.push(env::var_os("PATH").unwrap_or_default());
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo
        .args(["build", "-Zbuild-std=std,panic_abort"])
        .env("PATH", path)
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker(directory)?)
        .env_remove("RUSTUP_TOOLCHAIN");
    Ok(cargo)
}

/// The linker that comes with the user's own compiler, else one of the system: Debian's compiler has none for WebAssembly.
fn linker(directory: &Path) -> anyhow::Result<PathBuf> {
    let sysroot = output("rustc", &["--print", "sysroot"], directory)?;
    let version = output("rustc", &["-vV"], directory)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let own = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    let system = (14..=30).rev().map(|n| PathBuf::from(format!("/usr/bin/wasm-ld-{n}")));
    let mut known = [own, PathBuf::from("/usr/bin/wasm-ld")].into_iter().chain(system);
    known.find(|path| path.exists()).with_context(|| {
        format!("no linker for WebAssembly: expected rust-lld in {sysroot} or wasm-ld; as root: apt-get install lld")
    })
}

fn output(program: &str, args: &[&str], directory: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).args(args).current_dir(directory).output();
    let output = output.with_context(|| format!("no {program}: expected Rust, from rustup.rs or your distribution"))?;
    ensure!(output.status.success(), "{program} {} ended with {}", args.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
