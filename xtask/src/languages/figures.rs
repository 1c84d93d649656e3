//! What a check costs in each language, as a table for docs/languages/README.md.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{EXAMPLES, TARGET, file};
use crate::shown;

/// Loads from the cache, of which the mean is taken.
const LOADS: u32 = 20;
const RUNS: &str = "500";

/// Prints the table. All times but that of a run are those that processors computed, so that other work on the machine
/// counts little.
pub fn print(root: &Path, vouchd: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let cache = root.join(TARGET).join("build/cache");

    println!(
        "| language | file, KB | build, s | first load, s | load from the cache, ms | one run, ms | memory, KiB |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for (name, _) in EXAMPLES.iter().filter_map(|example| example.plugins.first()) {
        let plugin = file(root, name);
        let size = fs::metadata(&plugin).with_context(|| format!("{name} is not built: cargo xtask languages"))?.len();
        let build = fs::read_to_string(super::took(root, name)).unwrap_or_else(|_| "?".to_owned());
        if cache.exists() {
            fs::remove_dir_all(&cache)?;
        }
        fs::create_dir(&cache)?;
        let test = |runs: &str| {
            let mut command = Command::new(vouchd);
            command.args(["plugin", "test"]).arg(&plugin).arg("--cache").arg(&cache).args(["--runs", runs]);
            command.args([
                "--param",
                &format!("address={address}"),
                "--allow",
                &format!("{{ tcp = [\"{address}\"] }}"),
            ]);
            text(&mut command)
        };
        let (first, _) = computed(|| test("1"))?;
        let (cached, _) = computed(|| (0..LOADS).try_for_each(|_| test("1").map(drop)))?;
        let output = test(RUNS)?;
        let median: f64 = after(&output, "whole run")?;
        let memory: u64 = after(&output, "memory")?;
        println!(
            "| {name} | {} | {build} | {:.2} | {:.0} | {:.2} | {memory} |",
            size.div_ceil(1000),
            first.as_secs_f64(),
            (cached / LOADS).as_secs_f64() * 1000.0,
            median / 1000.0
        );
    }
    Ok(())
}

/// The number after these words.
fn after<T: std::str::FromStr>(output: &str, words: &str) -> anyhow::Result<T> {
    let number = output.split_once(words).and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("no number after `{words}` in:\n{output}"))
}

fn text(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("starting {}", shown(command)))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ended with {}:\n{text}{problem}", shown(command), output.status);
    Ok(text)
}

/// What the processes that `work` starts and waits for compute, with all of theirs.
pub fn computed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(Duration, T)> {
    let before = children()?;
    let made = work()?;
    Ok((children()?.saturating_sub(before), made))
}

/// Processor time of children that have ended, see proc_pid_stat(5).
fn children() -> anyhow::Result<Duration> {
    /// `cutime` counted from the field after the name, then `cstime`; in ticks of 10 ms.
    const CUTIME: usize = 13;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(CUTIME).take(2).map(str::parse::<u64>));
    let ticks: Result<u64, _> = fields.context("/proc/self/stat without a name")?.sum();
    Ok(Duration::from_millis(ticks? * 10))
}
