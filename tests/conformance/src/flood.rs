//! Row 37: an active router under a flood. 10,000 frames a second come for ten seconds; it keeps its interval and its
//! addresses, answers and logs little, and uses little processor time.

use std::fmt::Write as _;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vouchd_tests::wait::sleep_until;

use crate::lab::{Lab, shown};
use crate::packet::Sum;
use crate::plan::{Plan, Setup};
use crate::router::Make;

/// Frames a second.
pub const RATE: u32 = 10_000;
/// How long the flood lasts.
pub const LASTS: Duration = Duration::from_secs(10);
/// How long the router is watched: from the flood's start to a little after its end.
pub const WATCHED: Duration = Duration::from_secs(12);

/// What the frames are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Valid advertisements of a worse router.
    Worse,
    /// Advertisements of a better router with a wrong checksum.
    Malformed,
    /// Valid advertisements of priority 0.
    Resigned,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [Kind::Worse, Kind::Malformed, Kind::Resigned];

    fn name(self) -> &'static str {
        match self {
            Kind::Worse => "worse router",
            Kind::Malformed => "wrong checksum",
            Kind::Resigned => "priority 0",
        }
    }
}

/// What the router did.
#[derive(Debug, Clone)]
pub struct Flooded {
    /// Frames that were sent.
    pub sent: u32,
    /// Advertisements in [`WATCHED`].
    pub advertisements: usize,
    /// The longest time without an advertisement.
    pub gap: Duration,
    /// Whether it sent priority 0.
    pub resigned: bool,
    /// Whether it had all its addresses at the end.
    pub holds: bool,
    /// Gratuitous ARP or unsolicited neighbour advertisements for its first address in [`WATCHED`].
    pub announcements: usize,
    /// Lines in its log.
    pub log_lines: usize,
    /// The share of one processor that all its processes used during the flood.
    pub cpu: f64,
}

impl Flooded {
    /// Fails unless the router kept its interval and its address, and answered, announced and logged within limits.
    ///
    /// # Errors
    /// What it did instead.
    pub fn check(&self, kind: Kind) -> anyhow::Result<()> {
        ensure!(!self.resigned && self.holds, "the router gave up");
        let timed = WATCHED.as_secs() as usize;
        // Each second the router may answer a few of those that it has to answer.
        let most = if kind == Kind::Malformed { timed + 1 } else { timed * 12 };
        ensure!((timed - 1..=most).contains(&self.advertisements), "{} advertisements in 12 s", self.advertisements);
        ensure!(self.gap <= Duration::from_millis(1150), "{} without an advertisement", shown(self.gap));
        ensure!(self.announcements <= timed * 12, "{} announcements in 12 s", self.announcements);
        ensure!(self.log_lines <= timed * 4, "{} lines in the log", self.log_lines);
        Ok(())
    }
}

/// Floods an active router.
///
/// # Errors
/// If it does not become active, or cannot be configured so.
pub fn flood(make: &Make, setup: Setup, kind: Kind) -> anyhow::Result<Flooded> {
    let lab = Lab::new(make, setup)?;
    let plan = Plan { priority: 100, ..lab.plan() };
    lab.start_active(&plan)?;
    // Past the announcements of its election.
    sleep(Duration::from_secs(7));
    let frame = match kind {
        Kind::Worse => lab.peer(50),
        Kind::Malformed => lab.peer(200).with(|packet| packet.sum = Sum::Wrong),
        Kind::Resigned => lab.peer(0),
    }
    .frame();
    let (lines, before) = (lab.with_router(|router| Ok(router.log().lines().count()))?, cpu_time(&lab)?);
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < LASTS {
        let due = (start.elapsed().as_secs_f64() * f64::from(RATE)) as u32;
        while sent < due {
            // A full queue drops frames, as a switch would.
            let _ = lab.send_frame(&frame);
            sent += 1;
        }
        sleep(Duration::from_millis(1));
    }
    let cpu = (cpu_time(&lab)? - before).as_secs_f64() / start.elapsed().as_secs_f64();
    sleep_until(start + WATCHED);
    let found = lab.advertisements(start);
    let mut times: Vec<_> = found.iter().map(|found| found.at).collect();
    times.insert(0, start);
    times.push(start + WATCHED);
    let gap = times.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max().unwrap_or_default();
    lab.must_run()?;
    let held = lab.host().sh("ip -o address show")?;
    Ok(Flooded {
        sent,
        advertisements: found.len(),
        gap,
        resigned: found.iter().any(|found| found.priority() == 0),
        holds: plan.addresses.iter().all(|address| held.contains(&format!(" {address}/"))),
        announcements: lab.announcements(plan.addresses[0], start).len(),
        log_lines: lab.with_router(|router| Ok(router.log().lines().count()))? - lines,
        cpu,
    })
}

/// User and system time of the router's processes.
fn cpu_time(lab: &Lab) -> anyhow::Result<Duration> {
    // SAFETY: sysconf only reads a setting.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) })?;
    let tree = lab.with_router(|router| Ok(router.process()?.tree()))?;
    let mut ticks = 0;
    for pid in tree {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may have spaces. utime and stime are fields 14 and 15.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
        ticks += fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(Duration::from_millis(ticks * 1000 / per_second))
}

/// Floods each make in both families with each kind, one after another, and returns a table in Markdown.
///
/// # Errors
/// If a router does not become active.
pub fn table(makes: &[Make]) -> anyhow::Result<String> {
    let mut text = "| router | family | flood | advertisements in 12 s | longest gap | announcements | log lines | \
                    processor |\n|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for make in makes {
        for setup in [Setup::V3, Setup::V6] {
            for kind in Kind::ALL {
                let what = format!("{}, {}, {}", make.name, setup.name(), kind.name());
                let found = flood(make, setup, kind).with_context(|| what.clone())?;
                eprintln!("{what}: {found:?}");
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} | {} | {:.0} % |",
                    make.name,
                    if setup == Setup::V6 { "IPv6" } else { "IPv4" },
                    kind.name(),
                    found.advertisements,
                    shown(found.gap),
                    found.announcements,
                    found.log_lines,
                    found.cpu * 100.0
                );
            }
        }
    }
    Ok(text)
}
