//! The whole hostile corpus at once, as checks of the active router of a pair, beside a healthy check.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::corpus::peers::Peers;
use vouchd_tests::corpus::{self, End, Found, Hostile};
use vouchd_tests::host::children;
use vouchd_tests::pair::{Pair, PairPlan, VRID};
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{CHECK, INSTANCE, Vouchd};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, VIP, system_test};

/// The longest time until all have been loaded and have run.
const SETTLING: Duration = Duration::from_secs(140);
/// How long they go on after that.
const AFTER: Duration = Duration::from_secs(10);
/// Between two looks at the status. More would take the processor time that the test is about.
const LOOK: Duration = Duration::from_millis(200);
const LONGEST_GAP: Duration = Duration::from_millis(1100);
/// The most memory of the checker, whatever it runs.
const CHECKER_MIB: u64 = 384;

/// The checks in `status`, by name.
fn checks(status: &Value) -> BTreeMap<&str, &Value> {
    let checks = status["checks"].as_array().into_iter().flatten();
    checks.filter_map(|check| Some((check["name"].as_str()?, check))).collect()
}

/// How a check has ended, with its message; `None` if it has not.
fn found(check: &Value) -> Option<(Found, &str)> {
    let message = check["message"].as_str().unwrap_or_default();
    let found = match check["verdict"].as_str()? {
        "pass" => Found::Pass,
        "error" if message.contains("can't be used") => Found::Refused,
        "error" if message.starts_with("no plugin") => return None,
        "error" => Found::Error,
        "fail" if message.contains("timed out") => Found::TimedOut,
        "fail" | "warn" | "fault" => Found::Report,
        _ => return None,
    };
    Some((found, message))
}

/// The files that have not ended as they have to, and what is wrong with each.
fn complaints<'a>(status: &Value, all: &[&'a Hostile]) -> Vec<(&'a Hostile, String)> {
    let checks = checks(status);
    let complaint = |hostile: &Hostile| match checks.get(hostile.slug().as_str()) {
        None => Some(format!("{}: not in status", hostile.name)),
        Some(check) => match found(check) {
            None => Some(format!("{}: has not ended: {check}", hostile.name)),
            Some((found, said)) if hostile.end.fits(found, said) => None,
            // Among hundreds, some get too little processor time to end by themselves.
            Some((Found::TimedOut, _)) if !matches!(hostile.end, End::Refused(_)) => None,
            Some((Found::Error, said)) if said.starts_with("no result for") => None,
            Some((found, said)) => Some(format!("{}: {found:?} `{said}` is not {:?}", hostile.name, hostile.end)),
        },
    };
    all.iter().filter_map(|hostile| Some((*hostile, complaint(hostile)?))).collect()
}

/// Proportional share of a process's memory in MiB.
fn memory(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
}

/// CPU time that the thread of a process has used, by the thread's name.
fn thread_time(pid: i32, name: &str) -> anyhow::Result<Duration> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        if fs::read_to_string(task.path().join("comm"))?.trim() == name {
            let stat = fs::read_to_string(task.path().join("schedstat"))?;
            let nanos = stat.split_whitespace().next().and_then(|n| n.parse().ok()).context("schedstat")?;
            return Ok(Duration::from_nanos(nanos));
        }
    }
    anyhow::bail!("process {pid} has no thread {name}")
}

/// Observations over the whole test.
#[derive(Default)]
struct Watch {
    checker_mib: u64,
    compiler_mib: u64,
    healthy_not_passing: Vec<String>,
    hostile_passed: Vec<String>,
}

impl Watch {
    /// Reads the status and notes what it shows.
    fn look(&mut self, vouchd: &Vouchd, checker: i32, all: &[Hostile]) -> anyhow::Result<Value> {
        let status = vouchd.status()?;
        self.checker_mib = self.checker_mib.max(memory(checker).unwrap_or(0));
        let compilers = children(checker).into_iter().filter_map(memory).max();
        self.compiler_mib = self.compiler_mib.max(compilers.unwrap_or(0));
        let checks = checks(&status);
        if checks[CHECK]["verdict"] != "pass" {
            self.healthy_not_passing.push(checks[CHECK].to_string());
        }
        for hostile in all {
            if checks.get(hostile.slug().as_str()).is_some_and(|check| check["verdict"] == "pass") {
                self.hostile_passed.push(hostile.name.to_owned());
            }
        }
        Ok(status)
    }
}

#[test]
fn hostile_corpus_moves_no_address_delays_no_advertisement_and_disturbs_no_other_check() {
    system_test("the hostile corpus", &[Need::Vouchd, Need::Nginx], |site| {
        let pair = Pair::start(site, PairPlan::default())?;
        let vouchd = pair.vouchd(Node::Nginx01)?;
        let peers = site.host(Node::Nginx01).in_network(Peers::start)?.join().expect("no panic in there")?;
        // Without those that take minutes to compile: the others would have to wait for them.
        let all: Vec<_> = corpus::all(&peers).into_iter().filter(|hostile| !hostile.is_bomb()).collect();
        let granted = corpus::granted(&peers);
        until("the healthy check to pass", Duration::from_secs(5), || {
            vouchd.check(CHECK).is_ok_and(|check| check["verdict"] == "pass")
        })?;
        let router = vouchd.process.pid();
        // The period that is measured, for comparison.
        let calm = (Instant::now(), thread_time(router, "protocol")?);
        std::thread::sleep(Duration::from_secs(3));
        let busy_while_calm =
            (thread_time(router, "protocol")? - calm.1).as_secs_f64() / calm.0.elapsed().as_secs_f64();
        let checker = vouchd.checker()?;
        let before = vouchd.instance(INSTANCE)?;
        let runs = |check: &Value| check["runs"].as_u64().unwrap_or(0);
        let runs_before = runs(&vouchd.check(CHECK)?);

        let capture = Capture::start(site)?;
        let start = Instant::now();
        let cpu = thread_time(router, "protocol")?;
        let mut drop_in = String::new();
        for hostile in &all {
            let slug = hostile.slug();
            fs::write(vouchd.files.plugin_dir().join(format!("{slug}.wasm")), &hostile.bytes)?;
            let _ = writeln!(
                drop_in,
                "[check.{slug}]\nplugin = \"{slug}\"\ntimeout = \"300ms\"\ninterval = \"3s\"\nallow = {granted}\n"
            );
        }
        let listed: Vec<_> = all.iter().map(|hostile| format!("{:?}", hostile.slug())).collect();
        let _ = writeln!(
            drop_in,
            "[instance.burdened]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = 200\n\
             addresses = [\"192.168.175.200\"]\nchecks = [{}]",
            listed.join(", ")
        );
        fs::write(vouchd.files.drop_in("hostile.toml"), drop_in)?;

        let mut watch = Watch::default();
        let mut open: Vec<&Hostile> = all.iter().collect();
        let settled = loop {
            let status = watch.look(vouchd, checker, &all)?;
            // Those that compute take turns in a few slots, so that one status never shows all of them at their end.
            let complaints = complaints(&status, &open);
            if complaints.is_empty() {
                break Ok(start.elapsed());
            }
            if start.elapsed() > SETTLING {
                let words: Vec<_> = complaints.iter().map(|(_, words)| words).collect();
                break Err(anyhow::anyhow!("{} of {}: {words:#?}", complaints.len(), all.len()));
            }
            open = complaints.into_iter().map(|(hostile, _)| hostile).collect();
            std::thread::sleep(LOOK);
        };
        let until = Instant::now() + AFTER;
        let mut status = vouchd.status()?;
        while settled.is_ok() && Instant::now() < until {
            status = watch.look(vouchd, checker, &all)?;
            std::thread::sleep(LOOK);
        }

        let elapsed = start.elapsed();
        let end = Instant::now();
        let gap = longest_gap(capture.advertisements(Node::Nginx01, VRID, start).iter().map(|a| a.at), start, end);
        let healthy = checks(&status)[CHECK];
        let healthy_runs = runs(healthy) - runs_before;
        let busy = (thread_time(router, "protocol")? - cpu).as_secs_f64() / elapsed.as_secs_f64();
        println!(
            "{} hostile files, settled after {:?}; longest gap between advertisements {:.3} s; checker {} MiB, its compiler \
             {} MiB at most; the healthy check ran {healthy_runs} times in {:.1} s; protocol thread {:.2} % of a processor, \
             {:.2} % without them",
            all.len(),
            settled.as_ref().ok(),
            gap.as_secs_f64(),
            watch.checker_mib,
            watch.compiler_mib,
            elapsed.as_secs_f64(),
            busy * 100.0,
            busy_while_calm * 100.0,
        );
        ensure!(watch.hostile_passed.is_empty(), "passed: {:?}", watch.hostile_passed);
        settled?;
        ensure!(gap <= LONGEST_GAP, "a gap of {gap:?} between advertisements");
        ensure!(watch.healthy_not_passing.is_empty(), "the healthy check: {:#?}", watch.healthy_not_passing);
        // One per second, less those that a busy machine delays.
        let expected = elapsed.as_secs() * 3 / 4;
        ensure!(healthy_runs >= expected, "the healthy check ran {healthy_runs} times, expected {expected}: {healthy}");
        ensure!(watch.checker_mib <= CHECKER_MIB, "the checker took {} MiB", watch.checker_mib);
        ensure!(status["checker"]["restarts"] == 0, "{}", status["checker"]);
        ensure!(vouchd.checker()? == checker, "another checker: {}", status["checker"]);
        ensure!(!vouchd.process.log().contains("is not implemented"), "a plugin makes WASI write to the log");
        let after = vouchd.instance(INSTANCE)?;
        ensure!(after["transitions"] == before["transitions"] && after["state"] == "active", "{before} became {after}");
        ensure!(site.holders().now(VIP) == [Node::Nginx01], "the address moved");
        let burdened = vouchd.instance("burdened")?;
        ensure!(burdened["state"] == "initialize", "expected a fault because of those that time out: {burdened}");
        ensure!(busy < busy_while_calm + 0.02, "the protocol thread uses {busy} of a processor");
        Ok(())
    });
}
