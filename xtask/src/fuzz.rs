//! Fuzzing with cargo-fuzz, where the toolchain allows.

use std::path::Path;
use std::process::Command;

/// The targets of `fuzz/`.
const TARGETS: [&str; 4] = ["packet", "machine", "netlink", "pipe"];

/// Runs each target for this many seconds.
pub fn fuzz(root: &Path, seconds: u64) -> anyhow::Result<()> {
    if !crate::machine::works("cargo", &["fuzz", "--version"]) {
        println!(
            "SKIPPED: fuzzing: cargo-fuzz is missing: run `cargo install cargo-fuzz`; its twins in tests/simulation ran"
        );
        return Ok(());
    }
    for target in TARGETS {
        let limit = format!("-max_total_time={seconds}");
        let mut cargo = Command::new("cargo");
        cargo.current_dir(root).args([
            "fuzz",
            "run",
            "--fuzz-dir",
            "fuzz",
            "--sanitizer",
            "none",
            target,
            "--",
            &limit,
        ]);
        // cargo-fuzz wants flags that only a nightly compiler takes by itself.
        cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", root.join("target/fuzz"));
        crate::run(cargo)?;
    }
    Ok(())
}
