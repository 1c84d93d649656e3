//! The comparison with keepalived in one run on the same machine: time without service, CPU time of checks, memory.

mod many;
mod report;

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

pub use report::{Measured, Report, Row};

use crate::client::Client;
use crate::host::Process;
use crate::keepalived::{self, Keepalived};
use crate::nginx::{Answer, Nginx};
use crate::pair::{Check, Make, Pair, PairPlan, Plan, Probe};
use crate::site::{Node, Site, VIP};
use crate::vouchd::{self, Files, Vouchd};
use crate::web::Web;

const MAKES: [Make; 2] = [Make::Vouchd, Make::Keepalived];

/// What to compare, and how often.
#[derive(Debug, Clone)]
pub struct Options {
    /// The number of failovers for each median.
    pub runs: usize,
    /// How long CPU time is measured.
    pub cpu_time: Duration,
    /// What to compare, in this order.
    pub parts: Vec<Part>,
}

/// A part of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// How long a client goes without service when the service fails.
    Outage,
    /// The same in a pair that knows that it is one, and how long when the service returns.
    Instant,
    /// How long two routers hold the address when the daemon dies or freezes.
    Death,
    /// The CPU time of a check.
    Cpu,
    /// 255 instances on an interface, and 1,000 on four: election, CPU time, rhythm.
    Many,
    /// The memory of a router.
    Memory,
    /// The costs of one run of a plugin. keepalived has no counterpart.
    Run,
}

impl Part {
    /// All parts.
    pub const ALL: [Part; 7] =
        [Part::Outage, Part::Instant, Part::Death, Part::Cpu, Part::Many, Part::Memory, Part::Run];

    /// The part of this name on a command line.
    pub fn named(name: &str) -> Option<Part> {
        match name {
            "outage" => Some(Part::Outage),
            "instant" => Some(Part::Instant),
            "death" => Some(Part::Death),
            "cpu" => Some(Part::Cpu),
            "many" => Some(Part::Many),
            "memory" => Some(Part::Memory),
            "run" => Some(Part::Run),
            _ => None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { runs: 5, cpu_time: Duration::from_secs(10), parts: Part::ALL.to_vec() }
    }
}

/// Runs the comparison, and reports its progress on standard error.
///
/// # Errors
/// If the machine lacks something, or a router does not behave.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    use crate::Need::{Keepalived, Nginx, Vouchd};
    let needs = [Keepalived, Nginx, Vouchd];
    let missing = crate::requirements::missing(&needs);
    let mut missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
    missing.extend(crate::requirements::not_built(&needs));
    ensure!(missing.is_empty(), "cannot run here: {}", missing.join("; "));
    let mut report = Report::default();
    for part in &options.parts {
        match part {
            Part::Outage => outages(options.runs, &mut report)?,
            Part::Instant => instant(options.runs, &mut report)?,
            Part::Death => deaths(options.runs, &mut report)?,
            Part::Cpu => cpu(options.cpu_time, &mut report)?,
            Part::Many => many::many(options.cpu_time, &mut report)?,
            Part::Memory => memory(&mut report)?,
            Part::Run => costs(&mut report)?,
        }
    }
    Ok(report)
}

/// How the service fails.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Stopped,
    Killed,
    Answers500,
}

/// Longer than any failover takes: an outage of this length has no end.
const WATCHED: Duration = Duration::from_secs(10);

fn outages(runs: usize, report: &mut Report) -> anyhow::Result<()> {
    let cases = [
        ("nginx stopped, process check, weight -40, 1 s", Plan::default(), Failure::Stopped),
        ("the same with preemption off (watched for 10 s)", Plan::default().without_preemption(), Failure::Stopped),
        (
            "nginx answers 500, http check each 0.1 s (keepalived: its shortest, 1 s), hard fault",
            Plan::http(),
            Failure::Answers500,
        ),
        ("nginx stopped, v3 at 100 ms, hard fault", Plan::fast(), Failure::Stopped),
    ];
    for (what, plan, failure) in cases {
        let what = format!("outage: {what}");
        compare(report, &what, runs, |make, phase| failover(PairPlan::new([make; 2], plan.clone()), failure, phase))?;
    }
    Ok(())
}

fn instant(runs: usize, report: &mut Report) -> anyhow::Result<()> {
    for (unicast, network) in [(true, "unicast"), (false, "multicast, routers = 2")] {
        for (hard, check) in
            [(true, "hard fault, fall 1"), (false, "weight -40, rise and fall 2, fast_interval 100 ms")]
        {
            let plan = || PairPlan::new([Make::Vouchd; 2], Plan::instant(unicast, hard));
            let of = |make| PairPlan { makes: [make; 2], ..plan() };
            let what = format!("pair: {network}, 1 s, nginx killed, {check}");
            compare(report, &format!("{what}: outage"), runs, |make, phase| {
                failover(of(make), Failure::Killed, phase)
            })?;
            compare(report, &format!("{what}: back"), runs, |make, phase| recovery(of(make), phase))?;
        }
    }
    Ok(())
}

/// How long a client goes without service when the service comes back on the better node.
fn recovery(plan: PairPlan, phase: Duration) -> anyhow::Result<Duration> {
    let site = Site::new()?;
    let mut pair = Pair::start(&site, plan)?;
    pair.proxy(Node::Nginx01).kill()?;
    pair.wait_holder(Node::Nginx02, WATCHED)?;
    let client = Client::start(&site)?;
    std::thread::sleep(phase);
    let start = Instant::now();
    pair.proxy(Node::Nginx01).start()?;
    pair.wait_holder(Node::Nginx01, WATCHED * 2)?;
    client.wait_for_service()?;
    Ok(client.outage_since(start))
}

/// Adds a row with the medians of the time that `measure` returns for each make. The phases of the runs are spread evenly
/// over a second, so that the medians do not depend on where in a check's interval the failure falls.
fn compare(
    report: &mut Report,
    what: &str,
    runs: usize,
    measure: impl Fn(Make, Duration) -> anyhow::Result<Duration>,
) -> anyhow::Result<()> {
    let times = |make| {
        let mut times = Vec::new();
        for run in 0..runs {
            let phase = Duration::from_secs_f64(run as f64 / runs as f64);
            let time = measure(make, phase)?.as_secs_f64();
            eprintln!("{make:?}, {what}, run {} of {runs}: {time:.3} s", run + 1);
            times.push(time);
        }
        Measured::of(times).context("no runs")
    };
    let (vouchd, keepalived) = (times(Make::Vouchd)?, times(Make::Keepalived)?);
    report.rows.push(Row { what: what.to_owned(), unit: "s", vouchd, keepalived });
    Ok(())
}

/// How long a client goes without service when the service fails on the active node, a `phase` after everything is
/// settled.
fn failover(plan: PairPlan, failure: Failure, phase: Duration) -> anyhow::Result<Duration> {
    let site = Site::new()?;
    let mut pair = Pair::start(&site, plan)?;
    let client = Client::start(&site)?;
    std::thread::sleep(phase);
    let start = Instant::now();
    match failure {
        Failure::Stopped => pair.proxy(Node::Nginx01).stop()?,
        Failure::Killed => pair.proxy(Node::Nginx01).kill()?,
        Failure::Answers500 => pair.proxy(Node::Nginx01).answer_with(Answer::Failure)?,
    }
    // An error is a result too: an outage without end.
    if pair.wait_holder(Node::Nginx02, WATCHED).is_ok() {
        client.wait_for_service()?;
    }
    Ok(client.outage_since(start))
}

fn deaths(runs: usize, report: &mut Report) -> anyhow::Result<()> {
    compare(report, "two holders: the active router killed (watched for 10 s)", runs, |make, phase| {
        two_holders(make, phase, |process| process.signal_all(Signal::SIGKILL))
    })?;
    compare(report, "two holders: the active router frozen (watched for 10 s)", runs, |make, phase| {
        two_holders(make, phase, |process| process.signal_all(Signal::SIGSTOP))
    })
}

/// How long both routers hold the address after `what` was done to the active one.
fn two_holders(make: Make, phase: Duration, what: impl FnOnce(&Process)) -> anyhow::Result<Duration> {
    let site = Site::new()?;
    let pair = Pair::start(&site, PairPlan::new([make; 2], Plan::default()))?;
    std::thread::sleep(phase);
    let start = Instant::now();
    what(pair.router(Node::Nginx01)?.process());
    std::thread::sleep(WATCHED);
    ensure!(site.holders().now(VIP).contains(&Node::Nginx02), "nginx02 did not take over: {:?}", site.holders());
    Ok(site.holders().longest_overlap(VIP, start))
}

/// Checks per second: this many checks with an interval of one second, the shortest of keepalived.
const CHECKS: u32 = 100;

fn cpu(time: Duration, report: &mut Report) -> anyhow::Result<()> {
    for (what, probe) in
        [("process check against `killall -0`", Probe::Process), ("http check against `curl`", Probe::Http)]
    {
        let mut costs = [0.0; 2];
        for (make, cost) in MAKES.into_iter().zip(&mut costs) {
            let site = Site::new()?;
            let _webs = [Web::start(&site, Node::Web01)?, Web::start(&site, Node::Web02)?];
            let _proxy = Nginx::start_on(&site, Node::Nginx01)?;
            let idle = busy(&site, make, probe, 1, time)?;
            let loaded = busy(&site, make, probe, CHECKS, time)?;
            let checks = f64::from(CHECKS - 1) * time.as_secs_f64();
            *cost = (loaded.as_secs_f64() - idle.as_secs_f64()) / checks * 1e6;
            eprintln!("{make:?}, {what}: {cost:.0} µs a check");
        }
        let [vouchd, keepalived] = costs.map(Measured::once);
        let what = format!("CPU: {what}, {CHECKS} checks a second");
        report.rows.push(Row { what, unit: "µs a check", vouchd, keepalived });
    }
    Ok(())
}

/// The CPU time of a router with this many checks per second, and of all its children.
fn busy(site: &Site, make: Make, probe: Probe, checks: u32, time: Duration) -> anyhow::Result<Duration> {
    let plan = Plan { check: Some(Check { probe, weight: Some(-1), ..Check::weighted() }), ..Plan::default() };
    let measure = |process: &Process| {
        // Leaves out the first runs, and with vouchd the compilation of the plugin.
        std::thread::sleep(Duration::from_secs(5));
        let before = cpu_time(process)?;
        std::thread::sleep(time);
        Ok(cpu_time(process)?.saturating_sub(before))
    };
    match make {
        Make::Vouchd => {
            let config = many(&vouchd::config(Node::Nginx01, &plan), "[check.nginx]", "\n[instance", checks)
                .replace("checks = [\"nginx\"]", &format!("checks = [{}]", names(checks, "\"", ", ")));
            let router = Vouchd::start_with(site, Node::Nginx01, Files::new(site, Node::Nginx01)?, &config)?;
            measure(&router.process)
        }
        Make::Keepalived => {
            let config =
                many(&keepalived::config(Node::Nginx01, &plan), "vrrp_script check_nginx", "vrrp_instance", checks)
                    .replace("        check_nginx\n", &names(checks, "", "\n").replace("nginx", "        check_nginx"));
            let router = Keepalived::start_with(site, Node::Nginx01, &config)?;
            measure(&router.process)
        }
    }
}

fn names(count: u32, quote: &str, separator: &str) -> String {
    let mut names = String::new();
    for number in 0..count {
        let _ = write!(names, "{quote}nginx{number}{quote}{separator}");
    }
    names
}

/// Repeats the part of a configuration from `head` to `tail`, numbering the heads.
fn many(config: &str, head: &str, tail: &str, count: u32) -> String {
    let (before, rest) = config.split_once(head).unwrap_or_default();
    let (body, after) = rest.split_once(tail).unwrap_or_default();
    let mut text = before.to_owned();
    for number in 0..count {
        let numbered = match head.strip_suffix(']') {
            Some(table) => format!("{table}{number}]"),
            None => format!("{head}{number}"),
        };
        text += &numbered;
        text += body;
        text.push('\n');
    }
    text + tail + after
}

/// User and system time of a process tree, including children that have ended.
fn cpu_time(process: &Process) -> anyhow::Result<Duration> {
    // SAFETY: sysconf only reads a setting.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) })?;
    let ticks: u64 = process.tree().into_iter().filter_map(ticks).sum();
    Ok(Duration::from_millis(ticks * 1000 / per_second))
}

fn ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may have spaces. utime, stime, cutime and cstime are fields 14 to 17.
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum())
}

fn memory(report: &mut Report) -> anyhow::Result<()> {
    let mut sizes = [0.0; 2];
    for (make, size) in MAKES.into_iter().zip(&mut sizes) {
        let site = Site::new()?;
        let pair = Pair::start(&site, PairPlan::new([make; 2], Plan::default()))?;
        let process = pair.router(Node::Nginx01)?.process();
        let pss = process.tree().into_iter().map(pss).collect::<anyhow::Result<Vec<_>>>()?;
        *size = pss.into_iter().sum::<u64>() as f64 / 1024.0;
        eprintln!("{make:?}: {size:.1} MiB");
    }
    let [vouchd, keepalived] = sizes.map(Measured::once);
    let what = "memory: all processes of an active router, one check (PSS)".to_owned();
    report.rows.push(Row { what, unit: "MiB", vouchd, keepalived });
    Ok(())
}

/// The number of runs of each plugin for its medians.
const RUNS: u32 = 2000;

fn costs(report: &mut Report) -> anyhow::Result<()> {
    let site = Site::new()?;
    let _webs = [Web::start(&site, Node::Web01)?, Web::start(&site, Node::Web02)?];
    let _proxy = Nginx::start_on(&site, Node::Nginx01)?;
    let plugins = vouchd::builtin_plugins();
    let (binary, plugins) = (vouchd::binary(), plugins.display());
    for (plugin, param, grant) in [
        ("process", "name=nginx", r#"{ process = ["nginx"] }"#),
        ("tcp", "address=127.0.0.1:80", r#"{ tcp = ["127.0.0.1:80"] }"#),
        ("http", "url=http://127.0.0.1/", r#"{ http = ["http://127.0.0.1/"] }"#),
    ] {
        let binary = binary.display();
        let command = format!(
            "{binary} plugin test {plugins}/{plugin}.wasm --param {param} --allow '{grant}' --runs {RUNS} --timeout 1s"
        );
        report.runs.push(site.host(Node::Nginx01).sh(&command)?.trim_end().to_owned());
    }
    Ok(())
}

/// Proportional set size in KiB.
fn pss(pid: i32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).context(path)?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok())
        .context("no Pss in smaps_rollup")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_repeated_check_by_check() {
        let plan = Plan::default();
        let ours = many(&vouchd::config(Node::Nginx01, &plan), "[check.nginx]", "\n[instance", 3);
        assert_eq!(ours.matches("plugin = \"process\"").count(), 3);
        assert!(ours.contains("[check.nginx2]") && ours.contains("[instance."), "{ours}");
        let theirs = many(&keepalived::config(Node::Nginx01, &plan), "vrrp_script check_nginx", "vrrp_instance", 3);
        assert_eq!(theirs.matches("killall -0").count(), 3);
        assert!(theirs.contains("check_nginx2 {") && theirs.contains("vrrp_instance web"), "{theirs}");
    }
}
