//! The reports and the costs of runs, as text.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use vouchd_config::{Check, format_duration};
use vouchd_health::RunResult;
use vouchd_plugin::{Outcome, Plugin};
use vouchd_printable::printable;

/// The report of a run and what it used, as text.
pub(crate) fn shown(check: &Check, outcome: &Outcome) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    match &outcome.result {
        RunResult::Report(report) => {
            let _ = writeln!(out, "{}: {}", report.verdict, printable(&report.message));
            if let Some(adjust) = report.adjust {
                let _ = writeln!(out, "  asks for {adjust:+} on the priority (limited by `adjust` of the check)");
            }
            for metric in &report.metrics {
                let unit = if metric.unit.is_empty() { String::new() } else { format!(" {}", printable(&metric.unit)) };
                let _ = writeln!(out, "  {} = {}{unit}", printable(&metric.name), metric.value);
            }
        }
        RunResult::TimedOut { after } => {
            let _ = writeln!(out, "timed out after {}, which counts as fail", format_duration(*after));
        }
        RunResult::Error { reason } => {
            let _ = writeln!(out, "error: {}", printable(reason));
        }
    }
    for probe in &outcome.probes {
        let took = probe.took.as_secs_f64() * 1000.0;
        let _ = writeln!(out, "  probe {}: {} ({took:.1} ms)", printable(&probe.what), printable(&probe.answer));
    }
    for line in &outcome.log {
        let _ = writeln!(out, "  log {}: {}", line.level, printable(&line.message));
    }
    let _ = writeln!(
        out,
        "  took {:.1} ms of {}; computed {:.1} ms of {}; memory {} KiB of {} KiB",
        outcome.duration.as_secs_f64() * 1000.0,
        format_duration(check.timeout),
        outcome.cpu.as_secs_f64() * 1000.0,
        format_duration(check.limits.cpu),
        outcome.memory.div_ceil(1024),
        check.limits.memory / 1024,
    );
    out
}

/// The time that each part of the runs took.
#[derive(Default)]
pub(crate) struct Costs {
    instantiation: Vec<Duration>,
    probes: Vec<Duration>,
    call: Vec<Duration>,
    whole: Vec<Duration>,
}

impl Costs {
    /// Adds a run. Returns the number of runs so far.
    pub(crate) fn add(&mut self, outcome: &Outcome) -> u32 {
        let probes = outcome.probes.iter().map(|probe| probe.took).sum();
        self.instantiation.push(outcome.instantiation);
        self.probes.push(probes);
        self.call.push(outcome.duration.saturating_sub(outcome.instantiation + probes));
        self.whole.push(outcome.duration);
        u32::try_from(self.whole.len()).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {} runs, in microseconds: median (5th percentile, 95th percentile)", self.whole.len())?;
        let parts = [
            ("instantiate", &self.instantiation),
            ("call", &self.call),
            ("probes", &self.probes),
            ("whole run", &self.whole),
        ];
        for (name, times) in parts {
            let mut sorted = times.clone();
            sorted.sort();
            let at = |percent: usize| sorted.get((sorted.len() - 1) * percent / 100).map_or(0, Duration::as_micros);
            writeln!(f, "  {name:>11} {:>7} ({}, {})", at(50), at(5), at(95))?;
        }
        Ok(())
    }
}

/// The plugin in one line.
pub(crate) fn about(file: &Path, plugin: &Plugin) -> String {
    let metadata = plugin.metadata();
    let known: Vec<&str> = [&metadata.name, &metadata.version].into_iter().flatten().map(String::as_str).collect();
    let known = if known.is_empty() { String::new() } else { format!(" ({})", printable(&known.join(" "))) };
    format!("  {}{known}: {}, sha256 {}", printable(&file.display().to_string()), plugin.kind(), plugin.sha256())
}
