//! The built-in plugins, compiled to WebAssembly; on a machine that can't compile for it, made able to first.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::machine;

const TARGET: &str = "wasm32-unknown-unknown";
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

/// Debian's Rust, which can build the standard library for WebAssembly from source.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std";

/// Compiles the plugins and puts them into `target/plugins/NAME.wasm`; the answer is that directory.
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
    let mut cargo = match Toolchain::find()? {
        Toolchain::Own => own_cargo(),
        Toolchain::Debian { linker } => debian_cargo(&linker),
    };
    cargo
        .current_dir(root.join("plugins"))
        .args(["--locked", "--release", "--target", TARGET])
        .env("CARGO_TARGET_DIR", root.join(TARGET_DIR));
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

enum Toolchain {
    /// The one that builds the host has the target.
    Own,
    /// Debian's compiler; it comes without a linker for WebAssembly.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// The first way that works, set up if need be.
    fn find() -> anyhow::Result<Toolchain> {
        if own_has_target() {
            return Ok(Toolchain::Own);
        }
        if !Path::new(DEBIAN_STD).exists() {
            println!("xtask: the Rust toolchain can't compile for {TARGET}: rustup target add {TARGET}");
            let added = Command::new("rustup").args(["target", "add", TARGET]).status();
            if added.is_ok_and(|status| status.success()) && own_has_target() {
                return Ok(Toolchain::Own);
            }
            install_debian()?;
        }
        Ok(Toolchain::Debian { linker: linker()? })
    }
}

fn own_has_target() -> bool {
    output("rustc", &["--print", "target-libdir", "--target", TARGET]).is_ok_and(|dir| Path::new(&dir).exists())
}

fn install_debian() -> anyhow::Result<()> {
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

fn own_cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build");
    cargo
}

/// `-Zbuild-std` is an unstable option, hence the bootstrap variable.
fn debian_cargo(linker: &Path) -> Command {
    let mut cargo = Command::new("/usr/bin/cargo");
    let path = env::var("PATH").unwrap_or_default();
    cargo
        .args(["build", "-Zbuild-std=std,panic_abort"])
        .env("PATH", format!("/usr/bin:{path}"))
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
        .env_remove("RUSTUP_TOOLCHAIN");
    cargo
}

/// The linker that comes with the host's toolchain, else one of the system.
fn linker() -> anyhow::Result<PathBuf> {
    let sysroot = output("rustc", &["--print", "sysroot"])?;
    let version = output("rustc", &["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let own = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    let system = (14..30).rev().map(|n| PathBuf::from(format!("/usr/bin/wasm-ld-{n}")));
    [own, PathBuf::from("/usr/bin/wasm-ld")].into_iter().chain(system).find(|path| path.exists()).with_context(|| {
        format!("no linker for WebAssembly: expected rust-lld in {sysroot} or wasm-ld; as root: apt-get install lld")
    })
}

fn output(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| format!("starting {program}"))?;
    ensure!(output.status.success(), "{program} {} ended with {}", args.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
