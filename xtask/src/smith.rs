//! Random plugin files: builds the program that makes them, and has the host try them out.

use std::path::{Path, PathBuf};

/// The program, which is a workspace of its own, see `tests/smith/Cargo.toml`.
pub fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let mut cargo = super::cargo(["build", "--locked", "--manifest-path", "tests/smith/Cargo.toml"]);
    super::run(cargo.env("CARGO_TARGET_DIR", root.join("target/smith")))?;
    Ok(root.join("target/smith/debug/vouchd-smith"))
}

/// Loads and runs `count` of the files that come from this seed, and shows the results.
pub fn try_out(root: &Path, count: u64, seed: u64) -> anyhow::Result<()> {
    let program = build(root)?;
    // Not by nextest, which would end it after three minutes.
    let mut cargo = super::cargo(["test", "--workspace", "--test", "corpus", "--", "--nocapture", "random::"]);
    cargo.env("VOUCHD_SMITH", program);
    super::run(cargo.env("VOUCHD_SMITH_COUNT", count.to_string()).env("VOUCHD_SMITH_SEED", seed.to_string()))
}
