//! Random files of `tests/smith` (`VOUCHD_SMITH` names the program, `VOUCHD_SMITH_COUNT` how many, `VOUCHD_SMITH_SEED` which):
//! none breaks the host, outlasts its time or harms the next, and each ends with a reason of one line.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{host, reporting, run, run_with};
use vouchd_config::{Grants, Limits};
use vouchd_health::{RunResult, Verdict};
use vouchd_plugin::{Host, Kind, LoadError};

const TIMEOUT: Duration = Duration::from_millis(50);
/// Extra time on a busy machine.
const SLACK: Duration = Duration::from_secs(3);
/// Files that are tried out at the same time.
const WORKERS: usize = 2;
/// The good plugin is run after this many files.
const BETWEEN: u64 = 50;
/// Allowed growth of this process, which compiles all files itself.
const GROWTH_KIB: u64 = 256 << 10;

struct File {
    number: u64,
    bytes: Vec<u8>,
}

/// The results for all files.
#[derive(Default)]
struct Tally {
    files: u64,
    /// Counts by kind of refusal or outcome.
    ends: BTreeMap<String, u64>,
    longest_load: Duration,
    longest_run: Duration,
    passed: BTreeMap<&'static str, u64>,
    complaints: Vec<String>,
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Peak of this process's memory in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

/// The words of an error up to the first that differs from file to file.
fn sort(text: &str) -> String {
    let start = text.split(['(', '`', '"']).next().unwrap_or_default().trim();
    let words = start.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.take(12).collect::<Vec<_>>().join(" ")
}

async fn try_out(host: &Host, limits: &Limits, file: &File, tally: &Mutex<Tally>) {
    let started = Instant::now();
    let loaded = host.load(&file.bytes);
    let loading = started.elapsed();
    let mut wrong = None;
    let mut ran = Duration::ZERO;
    let mut passed = None;
    let end = match loaded {
        Err(error) => {
            let text = error.to_string();
            let is_line = !text.trim().is_empty() && !text.chars().any(char::is_control);
            if !is_line || error == LoadError::Panic {
                wrong = Some(text.clone());
            }
            format!("refused: {}", sort(&text))
        }
        Ok(plugin) => {
            let started = Instant::now();
            let outcome = run_with(host, &plugin, &[], &Grants::default(), limits, TIMEOUT).await;
            ran = started.elapsed();
            if ran > TIMEOUT + SLACK || outcome.memory > limits.memory || outcome.log.len() > 21 {
                wrong = Some(format!("ran for {ran:?}, {} bytes, {} lines", outcome.memory, outcome.log.len()));
            }
            match outcome.result {
                RunResult::Report(report) if report.verdict == Verdict::Pass => {
                    let why = match plugin.kind() {
                        Kind::Command => "program that ended by itself",
                        Kind::Component | Kind::Module => "report of zeros",
                    };
                    // Zeros are a pass without a message; a program that ends reports "exit status 0".
                    let as_told = if plugin.kind() == Kind::Command {
                        report.message == "exit status 0"
                    } else {
                        report.message.chars().all(|c| c == ' ')
                    };
                    if !as_told {
                        wrong = Some(format!("passed: {report:?}"));
                    }
                    passed = Some(why);
                    format!("passed: {why}")
                }
                RunResult::Report(report) => format!("reported {:?}", report.verdict),
                RunResult::Error { reason } if reason.trim().is_empty() => {
                    wrong = Some("an error without words".to_owned());
                    String::new()
                }
                RunResult::Error { reason } => format!("error: {}", sort(&reason)),
                RunResult::TimedOut { .. } => "timed out".to_owned(),
            }
        }
    };
    let mut tally = tally.lock().expect("no thread panics with it");
    tally.files += 1;
    *tally.ends.entry(end).or_default() += 1;
    tally.longest_load = tally.longest_load.max(loading);
    tally.longest_run = tally.longest_run.max(ran);
    if let Some(why) = passed {
        *tally.passed.entry(why).or_default() += 1;
    }
    tally.complaints.extend(wrong.map(|text| format!("file {}: {text}", file.number)));
}

fn work(host: &Host, files: &Mutex<mpsc::Receiver<File>>, tally: &Mutex<Tally>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let good = host.load(&reporting(0, "fine", "", "")).expect("the good plugin");
    let limits = Limits { cpu: Duration::from_millis(30), ..Limits::default() };
    loop {
        let Ok(file) = files.lock().expect("no thread panics with it").recv() else { return };
        runtime.block_on(async {
            try_out(host, &limits, &file, tally).await;
            if file.number.is_multiple_of(BETWEEN) {
                let after = run(host, &good, &[], &Grants::default()).await;
                assert!(matches!(after.result, RunResult::Report(_)), "after file {}: {:?}", file.number, after.result);
            }
        });
    }
}

#[test]
fn random_file_never_breaks_the_host_or_ends_without_a_reason() {
    let Some(program) = std::env::var_os("VOUCHD_SMITH") else {
        return vouchd_skip::skip("no random files: VOUCHD_SMITH is not set", "run `cargo xtask smith`");
    };
    let (count, seed) = (number("VOUCHD_SMITH_COUNT", 1000), number("VOUCHD_SMITH_SEED", 9568));
    let mut smith = Command::new(program)
        .args([seed.to_string(), count.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program that VOUCHD_SMITH names");
    let mut pipe = std::io::BufReader::new(smith.stdout.take().expect("its output"));
    let host = host();
    let before = peak();
    let tally = Mutex::<Tally>::default();
    let (send, files) = mpsc::sync_channel(WORKERS * 4);
    let files = Mutex::new(files);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| work(&host, &files, &tally));
        }
        let (mut head, mut sent) = ([0; 12], 0u64);
        while pipe.read_exact(&mut head).is_ok() {
            let (number, length) = head.split_at(8);
            let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
            let mut bytes = vec![0; u32::from_le_bytes(length.try_into().expect("four bytes")) as usize];
            pipe.read_exact(&mut bytes).expect("a whole file");
            send.send(File { number, bytes }).expect("a worker");
            sent += 1;
            if sent.is_multiple_of(5000) {
                println!("{sent} files");
            }
        }
        drop(send);
    });
    assert!(smith.wait().expect("the generator").success());
    let tally = tally.into_inner().expect("no thread panicked with it");
    println!("{} files from seed {seed}:", tally.files);
    for (end, count) in &tally.ends {
        println!("{count:>8}  {end}");
    }
    println!("longest load {:?}, longest run {:?}", tally.longest_load, tally.longest_run);
    println!("memory: {before} KiB before, {} KiB at most", peak());
    assert!(tally.complaints.is_empty(), "{}", tally.complaints.join("\n"));
    assert_eq!(tally.files, count);
    assert!(tally.ends.keys().any(|end| !end.starts_with("refused")), "none of them ran");
    assert!(peak().saturating_sub(before) < GROWTH_KIB, "grew from {before} KiB to {} KiB", peak());
}
