//! Scenarios as text: what a failure prints, and what a regression test reads.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};
use vouchd_vrrp::Stage;
use vouchd_vrrp::wire::Version;

use crate::coverage::Kind as Input;

use super::{Change, Event, Kind, Scenario, Spec, Step, Stray};

impl Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "version {}", self.version.number())?;
        for (index, spec) in self.routers.iter().enumerate() {
            let Spec { kind, address, priority, interval, preempt, pair, .. } = spec;
            let mode = if *preempt { "preempt" } else { "patient" };
            write!(f, "r{} {} ", index + 1, name(Kind::ALL, *kind))?;
            write!(f, "address {address} priority {priority} interval {interval}cs {mode}")?;
            for (word, value, usual) in [
                (" drift", i64::from(spec.drift), 0),
                (" adverts", i64::from(spec.adverts), 3),
                (" preempt_delay", i64::from(spec.preempt_delay), 0),
                (" startup_delay", i64::from(spec.startup_delay), 0),
                (" kernel", i64::from(spec.kernel), 0),
            ] {
                if value != usual {
                    write!(f, "{word} {value}")?;
                }
            }
            writeln!(f, "{}", if *pair { " pair" } else { "" })?;
        }
        writeln!(f)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait(duration) => write!(f, "wait {duration:?}"),
            Self::At(router, event) => write!(f, "r{} {event}", router + 1),
            Self::Loss(percent) => write!(f, "loss {percent}"),
            Self::Cut(from, to) => write!(f, "cut r{} r{}", from + 1, to + 1),
            Self::Split(side) => {
                f.write_str("split")?;
                side.iter().try_for_each(|router| write!(f, " r{}", router + 1))
            }
            Self::Reorder(percent) => write!(f, "reorder {percent}"),
            Self::Duplicate(percent) => write!(f, "duplicate {percent}"),
            Self::Forge(priority) => write!(f, "forge {priority}"),
            Self::Heal => f.write_str("heal"),
            Self::Settle => f.write_str("settle"),
            Self::SettleLossy => f.write_str("settle lossy"),
        }
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Priority(priority) => write!(f, "priority {priority}"),
            Self::Well => f.write_str("well"),
            Self::Fault => f.write_str("fault"),
            Self::Waiting => f.write_str("waiting"),
            Self::LinkDown => f.write_str("link down"),
            Self::LinkUp => f.write_str("link up"),
            Self::Address(address) => write!(f, "address {address}"),
            Self::Freeze(duration) => write!(f, "freeze {duration:?}"),
            Self::Busy(duration) => write!(f, "busy {duration:?}"),
            Self::Refuse => f.write_str("refuse"),
            Self::Accept => f.write_str("accept"),
            Self::Kill => f.write_str("kill"),
            Self::Stop => f.write_str("stop"),
            Self::Start => f.write_str("start"),
            Self::Boot => f.write_str("boot"),
            Self::Reload(Change::Nothing) => f.write_str("reload nothing"),
            Self::Reload(Change::Priority(priority)) => write!(f, "reload priority {priority}"),
            Self::Reload(Change::Interval(interval)) => write!(f, "reload interval {interval}cs"),
            Self::Reload(Change::Preempt(true)) => f.write_str("reload preempt"),
            Self::Reload(Change::Preempt(false)) => f.write_str("reload patient"),
            Self::Reload(Change::Addresses(count)) => write!(f, "reload addresses {count}"),
            Self::Reload(Change::Pair(pair)) => write!(f, "reload pair {pair}"),
            Self::Reload(Change::Delays(millis)) => write!(f, "reload delays {millis}"),
            Self::Reload(Change::Adverts(adverts)) => write!(f, "reload adverts {adverts}"),
            Self::Repeat => f.write_str("repeat"),
            Self::Stray(stray) => write!(f, "stray {}", name(Stray::ALL, *stray)),
            Self::Overhear => f.write_str("overhear"),
            Self::When(stage, kind) => write!(f, "when {} give {}", stage.name(), kind.name()),
        }
    }
}

fn name<T: PartialEq, const N: usize>(all: [(T, &'static str); N], wanted: T) -> &'static str {
    all.iter().find(|(one, _)| *one == wanted).map_or("?", |(_, name)| name)
}

impl FromStr for Scenario {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut scenario = Self { seed: 0, version: Version::V3, routers: Vec::new(), steps: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                scenario.read(line).with_context(|| format!("line {}: {line}", number + 1))?;
            }
        }
        ensure!(!scenario.routers.is_empty(), "no router: expected a line such as `r1 vouchd priority 100`");
        Ok(scenario)
    }
}

impl Scenario {
    fn read(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["seed", seed] => self.seed = seed.parse()?,
            ["version", "2"] => self.version = Version::V2,
            ["version", "3"] => self.version = Version::V3,
            [router, kind, ref rest @ ..] if Kind::ALL.iter().any(|(_, name)| *name == kind) => {
                ensure!(router == format!("r{}", self.routers.len() + 1), "expected r{}", self.routers.len() + 1);
                self.routers.push(spec(self.routers.len(), kind, rest)?);
            }
            _ => self.steps.push(self.step(&words)?),
        }
        Ok(())
    }

    fn step(&self, words: &[&str]) -> Result<Step> {
        Ok(match *words {
            ["wait", duration] => Step::Wait(seconds(duration)?),
            ["loss", percent] => Step::Loss(percent.parse()?),
            ["cut", from, to] => Step::Cut(self.router(from)?, self.router(to)?),
            ["split", ref side @ ..] => {
                Step::Split(side.iter().map(|router| self.router(router)).collect::<Result<_>>()?)
            }
            ["reorder", percent] => Step::Reorder(percent.parse()?),
            ["duplicate", percent] => Step::Duplicate(percent.parse()?),
            ["forge", priority] => Step::Forge(priority.parse()?),
            ["heal"] => Step::Heal,
            ["settle"] => Step::Settle,
            ["settle", "lossy"] => Step::SettleLossy,
            [router, ref event @ ..] => Step::At(self.router(router)?, self::event(event)?),
            [] => bail!("expected a step"),
        })
    }

    fn router(&self, name: &str) -> Result<usize> {
        let number: usize = name.strip_prefix('r').context("expected a router, such as r1")?.parse()?;
        ensure!((1..=self.routers.len()).contains(&number), "there is no router r{number}");
        Ok(number - 1)
    }
}

fn spec(index: usize, kind: &str, mut rest: &[&str]) -> Result<Spec> {
    let (kind, _) = Kind::ALL.into_iter().find(|(_, name)| *name == kind).context("a kind of router")?;
    let address = 10 + u8::try_from(index)?;
    let mut spec = Spec { kind, address, ..Spec::default() };
    loop {
        rest = match *rest {
            [] => return Ok(spec),
            ["preempt", ref rest @ ..] => {
                spec.preempt = true;
                rest
            }
            ["patient", ref rest @ ..] => {
                spec.preempt = false;
                rest
            }
            ["pair", ref rest @ ..] => {
                spec.pair = true;
                rest
            }
            [key, value, ref rest @ ..] => {
                match key {
                    "address" => spec.address = value.parse()?,
                    "priority" => spec.priority = value.parse()?,
                    "interval" => spec.interval = centiseconds(value)?,
                    "drift" => spec.drift = value.parse()?,
                    "adverts" => spec.adverts = value.parse()?,
                    "preempt_delay" => spec.preempt_delay = value.parse()?,
                    "startup_delay" => spec.startup_delay = value.parse()?,
                    "kernel" => spec.kernel = value.parse()?,
                    _ => bail!(
                        "expected address, priority, interval, drift, adverts, preempt_delay, startup_delay, kernel, preempt, \
                         patient or pair, found {key}"
                    ),
                }
                rest
            }
            [word] => bail!("expected preempt, patient or pair, found {word}"),
        }
    }
}

fn event(words: &[&str]) -> Result<Event> {
    Ok(match *words {
        ["priority", priority] => Event::Priority(priority.parse()?),
        ["well"] => Event::Well,
        ["fault"] => Event::Fault,
        ["waiting"] => Event::Waiting,
        ["link", "down"] => Event::LinkDown,
        ["link", "up"] => Event::LinkUp,
        ["address", address] => Event::Address(address.parse()?),
        ["freeze", duration] => Event::Freeze(seconds(duration)?),
        ["busy", duration] => Event::Busy(seconds(duration)?),
        ["refuse"] => Event::Refuse,
        ["accept"] => Event::Accept,
        ["kill"] => Event::Kill,
        ["stop"] => Event::Stop,
        ["start"] => Event::Start,
        ["boot"] => Event::Boot,
        ["reload", "nothing"] => Event::Reload(Change::Nothing),
        ["reload", "priority", priority] => Event::Reload(Change::Priority(priority.parse()?)),
        ["reload", "interval", interval] => Event::Reload(Change::Interval(centiseconds(interval)?)),
        ["reload", "preempt"] => Event::Reload(Change::Preempt(true)),
        ["reload", "patient"] => Event::Reload(Change::Preempt(false)),
        ["reload", "addresses", count] => Event::Reload(Change::Addresses(count.parse()?)),
        ["reload", "pair", pair] => Event::Reload(Change::Pair(pair.parse()?)),
        ["reload", "delays", millis] => Event::Reload(Change::Delays(millis.parse()?)),
        ["reload", "adverts", adverts] => Event::Reload(Change::Adverts(adverts.parse()?)),
        ["repeat"] => Event::Repeat,
        ["stray", wanted] => {
            let (stray, _) =
                Stray::ALL.into_iter().find(|(_, name)| *name == wanted).context("expected a kind of stray packet")?;
            Event::Stray(stray)
        }
        ["overhear"] => Event::Overhear,
        ["when", ref rest @ ..] => when(&rest.join(" "))?,
        _ => bail!("expected a step, such as `wait 5s`, `r1 priority 60` or `settle`"),
    })
}

fn when(text: &str) -> Result<Event> {
    let (stage, kind) = text.split_once(" give ").context("expected `when STAGE give INPUT`")?;
    let stage = Stage::ALL.into_iter().find(|known| known.name() == stage).context("expected a stage")?;
    let kind = Input::ALL.into_iter().find(|known| known.name() == kind).context("expected a kind of input")?;
    Ok(Event::When(stage, kind))
}

fn centiseconds(text: &str) -> Result<u16> {
    Ok(text.strip_suffix("cs").context("expected centiseconds, such as 100cs")?.parse()?)
}

/// Reads what `{:?}` writes for a duration.
fn seconds(text: &str) -> Result<Duration> {
    let (number, nanos) = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)]
        .into_iter()
        .find_map(|(unit, nanos)| Some((text.strip_suffix(unit)?, nanos)))
        .context("expected a duration, such as 1.5s or 20ms")?;
    Ok(Duration::from_nanos((number.parse::<f64>()? * nanos).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_scenario_is_read_as_it_is_written() {
        for seed in 0..300 {
            let scenario = Scenario::generate(seed);
            let text = scenario.to_string();
            assert_eq!(text.parse::<Scenario>().expect("a good script"), scenario, "{text}");
        }
    }

    #[test]
    fn error_names_the_line_and_what_was_expected() {
        let error = "r1 vouchd\nr2 priority 5".parse::<Scenario>().expect_err("there is no r2");
        assert_eq!(format!("{error:#}"), "line 2: r2 priority 5: there is no router r2");
        let error = "r1 vouchd\nr1 jump".parse::<Scenario>().expect_err("not a step");
        assert!(format!("{error:#}").contains("expected a step"), "{error:#}");
    }
}
