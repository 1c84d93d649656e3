//! Every file of the hostile corpus (`tests/src/corpus`), one after the other: it ends as expected, in time, within its
//! memory, and does not harm the next plugin.

use std::time::{Duration, Instant};

use crate::common::{host, reporting, run, run_with};
use vouchd_config::{Grants, Limits};
use vouchd_health::{RunResult, Verdict};
use vouchd_plugin::Host;
use vouchd_tests::corpus::peers::Peers;
use vouchd_tests::corpus::{self, Found, Hostile};

const TIMEOUT: Duration = Duration::from_millis(200);
/// Extra time on a busy machine.
const SLACK: Duration = Duration::from_secs(2);
/// Longest time to load a file here, where nothing ends its compilation.
const LOADING: Duration = Duration::from_secs(60);
/// Allowed growth of this process over the whole corpus. It compiles all files itself, and the compiler's allocations stay in
/// the arenas of several threads. The whole-system test measures the checker, which compiles nothing.
const GROWTH_KIB: u64 = 384 << 10;

/// `VmRSS` and `VmHWM` of this process in KiB.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of status");
        line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// A file's end in words, and what is wrong with it.
async fn try_out(host: &Host, grants: &Grants, hostile: &Hostile) -> (String, Option<String>) {
    let started = Instant::now();
    let plugin = match host.load(&hostile.bytes) {
        Ok(plugin) => plugin,
        Err(error) => return judged(hostile, Found::Refused, error.to_string()),
    };
    if started.elapsed() > LOADING {
        return (String::new(), Some(format!("loading took {:?}", started.elapsed())));
    }
    let started = Instant::now();
    let limits = Limits::default();
    let outcome = run_with(host, &plugin, &[("a", "b")], grants, &limits, TIMEOUT).await;
    let took = started.elapsed();
    if took > TIMEOUT + SLACK {
        return (String::new(), Some(format!("ran for {took:?}")));
    }
    if outcome.memory > limits.memory || outcome.log.len() > 21 || outcome.probes.len() > 64 {
        let (lines, probes) = (outcome.log.len(), outcome.probes.len());
        return (String::new(), Some(format!("{} bytes, {lines} lines, {probes} probes", outcome.memory)));
    }
    match outcome.result {
        RunResult::Error { reason } => judged(hostile, Found::Error, reason),
        RunResult::TimedOut { .. } => judged(hostile, Found::TimedOut, "timed out".to_owned()),
        RunResult::Report(report)
            if report.metrics.len() > 64 || report.metrics.iter().any(|m| !m.value.is_finite()) =>
        {
            (report.message, Some(format!("{:?}", report.metrics)))
        }
        RunResult::Report(report) => {
            let found = if report.verdict == Verdict::Pass { Found::Pass } else { Found::Report };
            judged(hostile, found, report.message)
        }
    }
}

fn judged(hostile: &Hostile, found: Found, said: String) -> (String, Option<String>) {
    let bad = said.is_empty() && found != Found::Report || said.chars().any(char::is_control);
    let complaint =
        (bad || !hostile.end.fits(found, &said)).then(|| format!("{found:?} `{said}` is not {:?}", hostile.end));
    (said, complaint)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_file_never_passes_outlasts_its_time_or_harms_the_next() {
    let only = std::env::var("VOUCHD_CORPUS").unwrap_or_default();
    let host = host();
    let good = host.load(&reporting(0, "fine", "", "")).unwrap();
    let mut grants = Grants::default();
    grants.tcp.push("127.0.0.1:*".parse().unwrap());
    let peers = Peers::start().unwrap();
    for peer in peers.all() {
        grants.http.push(format!("http://{peer}/").parse().unwrap());
    }
    let all: Vec<_> = corpus::all(&peers).into_iter().filter(|hostile| hostile.name.contains(&only)).collect();
    let (before, _) = memory();
    let mut complaints = Vec::new();
    for hostile in all.iter().filter(|hostile| !hostile.is_bomb()) {
        let started = Instant::now();
        let (said, complaint) = try_out(&host, &grants, hostile).await;
        let (took, said) = (started.elapsed().as_millis(), said.chars().take(150).collect::<String>());
        println!("{:60} {took:>6} ms {:>6} MiB  {said}", hostile.name, memory().0 >> 10);
        complaints.extend(complaint.map(|text| format!("{}: {text}", hostile.name)));
        let after = run(&host, &good, &[], &Grants::default()).await;
        let RunResult::Report(report) = after.result else { panic!("after {}: {:?}", hostile.name, after.result) };
        assert_eq!(report.verdict, Verdict::Pass, "after {}", hostile.name);
    }
    let (after, peak) = memory();
    println!("{} files; resident {before} KiB before, {after} KiB after, {peak} KiB at most", all.len());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(peak.saturating_sub(before) < GROWTH_KIB, "grew from {before} KiB to {peak} KiB");
}
