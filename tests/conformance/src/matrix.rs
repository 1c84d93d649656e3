//! The interop matrix: two routers of any makes, in every version and mode, through a life of a pair. At any time except the
//! moment of a change one router is active, and each takes over when the formulas say.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vouchd_tests::host::Host;
use vouchd_tests::wait::eventually;

use crate::hosts::{address, connect, scratch};
use crate::lab::shown;
use crate::plan::{Plan, Setup, VRID};
use crate::router::{Make, NotApplicable, Router};
use crate::runner::Outcome;
use crate::seen::Advertisement;
use crate::wire::Wire;

/// A version and family of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Version 2 without authentication.
    V2,
    /// Version 2 with a simple text password.
    V2Password,
    /// Version 3 over IPv4.
    V3,
    /// Version 3 over IPv6.
    V6,
}

impl Protocol {
    /// All of the matrix.
    pub const ALL: [Protocol; 4] = [Protocol::V2, Protocol::V2Password, Protocol::V3, Protocol::V6];

    fn name(self) -> &'static str {
        match self {
            Protocol::V2 => "v2",
            Protocol::V2Password => "v2 password",
            Protocol::V3 => "v3 IPv4",
            Protocol::V6 => "v3 IPv6",
        }
    }
}

/// Two makes in a version and mode. The first has the higher priority.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The better and the worse router.
    pub makes: [Make; 2],
    /// What they speak.
    pub protocol: Protocol,
    /// Whether they send to each other instead of the group.
    pub unicast: bool,
}

/// A measured time, and what the formula says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    /// What was measured.
    pub what: &'static str,
    /// From the event to the first advertisement of the new active router.
    pub measured: Duration,
    /// By the formula.
    pub expected: Duration,
}

/// Everything that the first make meets the others in, in both roles.
pub fn cells(first: &Make, others: &[Make]) -> Vec<Cell> {
    let mut pairs = vec![[first.clone(), first.clone()]];
    for other in others {
        pairs.extend([[first.clone(), other.clone()], [other.clone(), first.clone()]]);
    }
    let mut cells = Vec::new();
    for protocol in Protocol::ALL {
        for unicast in [false, true] {
            cells.extend(pairs.iter().map(|makes| Cell { makes: makes.clone(), protocol, unicast }));
        }
    }
    cells
}

/// Two routers at a switch that the tester holds.
struct Pair {
    // Fields are dropped in this order.
    routers: [Option<Router>; 2],
    wire: Wire,
    hosts: [Host; 2],
    switch: Host,
    dir: PathBuf,
}

const BETTER: usize = 0;
const WORSE: usize = 1;

impl Pair {
    fn new() -> anyhow::Result<Self> {
        let dir = scratch()?;
        let (better, worse) = (Host::boot("better", &dir)?, Host::boot("worse", &dir)?);
        let switch = Host::boot("switch", &dir)?;
        switch.sh("ip link add br0 type bridge stp_state 0 mcast_snooping 0 forward_delay 0 && ip link set br0 up")?;
        for (port, host, number) in [("p0", &better, 100), ("p1", &worse, 101)] {
            connect(&switch, port, host)?;
            address(host, number)?;
            switch.sh(&format!("ip link set {port} master br0"))?;
        }
        let wire = Wire::start(&switch, &["p0".to_owned(), "p1".to_owned()])?;
        Ok(Self { routers: [None, None], wire, hosts: [better, worse], switch, dir })
    }

    fn start(&mut self, which: usize, make: &Make, plan: &Plan) -> anyhow::Result<Instant> {
        let at = Instant::now();
        let dir = self.dir.join(format!("files{which}"));
        self.routers[which] = Some(make.start(&self.hosts[which], &dir, plan)?);
        Ok(at)
    }

    fn stop(&mut self, which: usize) -> anyhow::Result<()> {
        self.routers[which].take().context("not started")?.stop()
    }

    /// The advertisements of a router since a time, but for its resignations.
    fn advertisements(&self, which: usize, since: Instant) -> Vec<Advertisement> {
        let all = self.wire.since(since);
        let of_router = all.iter().filter(|frame| frame.port == which).filter_map(Advertisement::read);
        of_router.filter(|found| found.vrid() == VRID && found.priority() != 0).collect()
    }

    fn first(&mut self, which: usize, since: Instant, within: Duration) -> anyhow::Result<Instant> {
        let found =
            eventually("an advertisement", within, || self.advertisements(which, since).first().map(|found| found.at));
        for router in self.routers.iter_mut().flatten() {
            router.must_run()?;
        }
        found
    }

    /// Waits, and checks that only this router advertises.
    fn alone(&self, which: usize, during: Duration) -> anyhow::Result<()> {
        let since = Instant::now();
        sleep(during);
        let counts = [BETTER, WORSE].map(|router| self.advertisements(router, since).len());
        ensure!(
            counts[which] > 0 && counts[1 - which] == 0,
            "expected one active router, found {} and {} advertisements of the two in {}",
            counts[BETTER],
            counts[WORSE],
            shown(during)
        );
        Ok(())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if std::env::var_os("VOUCHD_TESTS_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Takes the two routers through a life of a pair, and returns the times of the takeovers.
///
/// # Errors
/// Where more than one router was active, or none, or one took over too early or too late.
pub fn live(cell: &Cell) -> anyhow::Result<Vec<Time>> {
    let plans = [plan(cell, BETTER, 200), plan(cell, WORSE, 100)];
    let [better, worse] = &plans;
    let mut pair = Pair::new()?;
    let mut times = Vec::new();
    let interval = better.interval;
    // Long enough to see who advertises, and for a slow start.
    let (settled, patience) = (2 * interval + interval / 4, Duration::from_secs(10));

    let at = pair.start(WORSE, &cell.makes[WORSE], worse)?;
    let first = pair.first(WORSE, at, worse.down_interval() + patience).context("first election")?;
    early("first election", first - at, worse.down_interval())?;

    let at = pair.start(BETTER, &cell.makes[BETTER], better)?;
    let first = pair.first(BETTER, at, better.down_interval() + patience).context("preemption")?;
    early("preemption", first - at, better.down_interval())?;
    sleep(interval / 2);
    pair.alone(BETTER, settled).context("after preemption")?;

    let stopped = Instant::now();
    pair.stop(BETTER)?;
    let first = pair.first(WORSE, stopped, patience).context("priority 0")?;
    let resigned = pair
        .wire
        .since(stopped)
        .iter()
        .filter(|frame| frame.port == BETTER)
        .filter_map(Advertisement::read)
        .find(|found| found.priority() == 0)
        .context("no priority 0 at the end of the better router")?;
    // With one unicast peer there is nothing to order: vouchd takes over at once.
    let in_pair = cell.unicast && cell.makes[WORSE].name == "vouchd";
    let skew = if in_pair { Duration::ZERO } else { worse.skew() };
    times.push(Time { what: "priority 0", measured: first.saturating_duration_since(resigned.at), expected: skew });
    pair.alone(WORSE, settled).context("after priority 0")?;

    let at = pair.start(BETTER, &cell.makes[BETTER], better)?;
    pair.first(BETTER, at, better.down_interval() + patience).context("second preemption")?;
    sleep(interval / 2);
    pair.alone(BETTER, settled).context("after the second preemption")?;

    // A partition that no router sees: both links stay up.
    pair.switch.sh("ip link set p0 nomaster")?;
    let cut = Instant::now();
    let last = pair.advertisements(BETTER, cut - 2 * interval).into_iter().rfind(|found| found.at <= cut);
    let last = last.context("the better router did not advertise before the cut")?.at;
    let first = pair.first(WORSE, cut, worse.down_interval() + patience).context("cut link")?;
    times.push(Time { what: "cut link", measured: first - last, expected: worse.down_interval() });
    pair.switch.sh("ip link set p0 master br0")?;
    sleep(interval + interval / 2);
    pair.alone(BETTER, settled).context("after the link healed")?;

    // Equal priorities. Each becomes active on its side of the cut; the one with the higher address stays.
    pair.stop(WORSE)?;
    pair.stop(BETTER)?;
    pair.switch.sh("ip link set p0 nomaster")?;
    let equal = [plan(cell, BETTER, 150), plan(cell, WORSE, 150)];
    let at = Instant::now();
    for (which, plan) in equal.iter().enumerate() {
        pair.start(which, &cell.makes[which], plan)?;
    }
    for which in [BETTER, WORSE] {
        pair.first(which, at, equal[which].down_interval() + patience).context("tie")?;
    }
    pair.switch.sh("ip link set p0 master br0")?;
    sleep(interval + interval / 2);
    let sources = [BETTER, WORSE].map(|which| pair.advertisements(which, at).first().map(|found| found.ip.0));
    pair.alone(if sources[WORSE] > sources[BETTER] { WORSE } else { BETTER }, settled).context("tie")?;

    for time in &times {
        let tolerance = time.expected.mul_f64(0.05) + Duration::from_millis(20);
        ensure!(
            time.measured.abs_diff(time.expected) <= tolerance,
            "{}: expected a takeover after {}, found it after {}",
            time.what,
            shown(time.expected),
            shown(time.measured)
        );
    }
    Ok(times)
}

/// No router takes over before its time; how long its programs take to start is not the protocol's.
fn early(what: &str, measured: Duration, expected: Duration) -> anyhow::Result<()> {
    let least = expected.mul_f64(0.95);
    ensure!(measured >= least, "{what}: expected at least {}, found {}", shown(least), shown(measured));
    Ok(())
}

fn plan(cell: &Cell, which: usize, priority: u8) -> Plan {
    let plan = match cell.protocol {
        Protocol::V2 => Setup::V2.plan(),
        Protocol::V2Password => Plan { password: Some("1234".to_owned()), ..Setup::V2.plan() },
        Protocol::V3 => Setup::V3.plan(),
        Protocol::V6 => Setup::V6.plan(),
    };
    let own = |number: u8| -> IpAddr {
        if cell.protocol == Protocol::V6 {
            let number = if number == 100 { 0x100 } else { 0x101 };
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).into()
        } else {
            Ipv4Addr::new(192, 0, 2, number).into()
        }
    };
    let numbers = if which == BETTER { [100, 101] } else { [101, 100] };
    let of_unicast = |number| cell.unicast.then(|| own(number));
    // keepalived 2.2.7 sends unicast over IPv6 with hop limit 64.
    let far = cell.unicast && cell.protocol == Protocol::V6 && cell.makes[1 - which].name == "keepalived";
    let hop_limit = far.then_some(64);
    Plan { priority, source: of_unicast(numbers[0]), peer: of_unicast(numbers[1]), hop_limit, ..plan }
}

/// A cell and how it ended.
pub type Lived = (Cell, Outcome, Vec<Time>);

/// Runs the cells, `lanes` at a time. A cell that fails is tried a second time with fewer neighbours.
pub fn run(cells: &[Cell], lanes: usize) -> Vec<Lived> {
    let mut lived = round(cells, lanes);
    for (index, (cell, outcome, times)) in lived.iter_mut().enumerate() {
        if let Outcome::Fail(seen) = outcome {
            eprintln!("cell {} of {}: {}: {seen}; once more", index + 1, cells.len(), title(cell));
            let (again, again_times) = attempt(cell);
            if again == Outcome::Pass {
                (*outcome, *times) = (again, again_times);
            }
        }
    }
    lived
}

fn round(cells: &[Cell], lanes: usize) -> Vec<Lived> {
    let next = Mutex::new(0);
    let lived = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..lanes.min(cells.len()) {
            scope.spawn(|| {
                loop {
                    let index = {
                        let mut next = next.lock().expect("no thread panics with it");
                        *next += 1;
                        *next - 1
                    };
                    let Some(cell) = cells.get(index) else { break };
                    let (outcome, times) = attempt(cell);
                    lived.lock().expect("no thread panics with it").push((index, (cell.clone(), outcome, times)));
                }
            });
        }
    });
    let mut lived = lived.into_inner().expect("no thread panics with it");
    lived.sort_by_key(|(index, _)| *index);
    lived.into_iter().map(|(_, lived)| lived).collect()
}

fn attempt(cell: &Cell) -> (Outcome, Vec<Time>) {
    match live(cell) {
        Ok(times) => (Outcome::Pass, times),
        Err(error) => match error.downcast_ref::<NotApplicable>() {
            Some(reason) => (Outcome::NotApplicable(reason.to_string()), Vec::new()),
            None => (Outcome::Fail(format!("{error:#}")), Vec::new()),
        },
    }
}

/// A cell in words: `v2, multicast, vouchd above keepalived`.
pub fn title(cell: &Cell) -> String {
    let [better, worse] = &cell.makes;
    let mode = if cell.unicast { "unicast" } else { "multicast" };
    format!("{}, {mode}, {} above {}", cell.protocol.name(), better.name, worse.name)
}

/// The matrix in Markdown.
pub fn markdown(lived: &[Lived]) -> String {
    let mut text = "| version | mode | better | worse | result | takeover after priority 0 | after a cut link |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut details = String::new();
    for (cell, outcome, times) in lived {
        let time = |what: &str| {
            let time = times.iter().find(|time| time.what == what);
            time.map_or("-".to_owned(), |time| format!("{} ({})", shown(time.measured), shown(time.expected)))
        };
        let word = match outcome {
            Outcome::Pass => "pass",
            Outcome::Fail(seen) => {
                let _ = writeln!(details, "* {}: {seen}", title(cell));
                "fail"
            }
            Outcome::NotApplicable(_) => "not applicable",
        };
        let mode = if cell.unicast { "unicast" } else { "multicast" };
        let [better, worse] = &cell.makes;
        let _ = writeln!(
            text,
            "| {} | {mode} | {} | {} | {word} | {} | {} |",
            cell.protocol.name(),
            better.name,
            worse.name,
            time("priority 0"),
            time("cut link")
        );
    }
    if !details.is_empty() {
        let _ = write!(text, "\n{details}");
    }
    text
}
