//! Fuzzing with libFuzzer: packets, the state machine, netlink and the pipe.
//!
//! Without cargo-fuzz, which takes longer to install than the targets to build, and wants a nightly compiler: coverage for
//! libFuzzer needs options of LLVM only, which the stable compiler takes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

/// The targets of `fuzz/`.
const TARGETS: [&str; 4] = ["packet", "machine", "netlink", "pipe"];

/// Instruments every crate. With `--target`, build scripts and procedural macros are left out.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// Runs each target for this many seconds, two at a time. The inputs that reach new code stay in target/fuzz/corpus for the
/// next run.
///
/// # Errors
/// A target can't be built, or an input broke it: the message names the file with that input.
pub fn fuzz(root: &Path, seconds: u64) -> anyhow::Result<()> {
    let triple = host()?;
    if !crate::machine::works("c++", &["--version"]) {
        println!(
            "SKIPPED: fuzzing: libFuzzer needs a C++ compiler (package g++); its twins in tests/simulation run anyway"
        );
        return Ok(());
    }
    let target_dir = root.join("target/fuzz");
    let mut build = crate::cargo(["build", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--target", &triple]);
    build.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &target_dir);
    crate::run(&mut build)?;
    let run = |target: &'static str| -> anyhow::Result<()> {
        let corpus = target_dir.join("corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
        let log = target_dir.join(format!("{target}.log"));
        let output = fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let status = Command::new(target_dir.join(&triple).join("debug").join(target))
            .arg(format!("-max_total_time={seconds}"))
            .args(["-max_len=2048", "-print_final_stats=1", "-timeout=10"])
            .arg(format!("-artifact_prefix={}/{target}-", target_dir.display()))
            .args([&corpus, &root.join("fuzz/seeds").join(target)])
            .stderr(output)
            .status()
            .with_context(|| format!("starting the fuzz target {target}"))?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        anyhow::ensure!(status.success(), "fuzzing {target} found a fault ({status}):\n{}", last_lines(&text));
        let done = text.lines().rev().find(|line| line.contains("DONE")).context("libFuzzer printed no result")?;
        println!("fuzz: {target}: {}", done.split_whitespace().collect::<Vec<_>>().join(" "));
        Ok(())
    };
    for pair in TARGETS.chunks(2) {
        std::thread::scope(|scope| {
            let running: Vec<_> = pair.iter().map(|target| scope.spawn(|| run(target))).collect();
            running.into_iter().try_for_each(|target| match target.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
    }
    Ok(())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// The triple of this machine.
fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("starting rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(host.to_owned())
}
