//! The result of a run: the plugin's report, or why there is none.

use std::time::Duration;

use vouchd_config::Limits;
use vouchd_health::{Metric, Report, RunResult, Verdict};

use super::failure::{self, MAX_REASON};
use super::outcome::{LogLevel, LogLine, Outcome, Watch};
use super::state::{MAX_MEMO, RunState};
use crate::contract::types;
use crate::text::{cut, metric_name};

/// Bounds of a report: bytes of its message, number of metrics, bytes of a metric's name and unit.
const MAX_MESSAGE: usize = 512;
const MAX_METRICS: usize = 64;
const MAX_NAME: usize = 64;

/// How a run ended.
pub(super) enum RunEnd {
    /// The plugin reported, or said why it could not.
    Answer(Result<types::Report, String>),
    /// Instantiating or calling the plugin failed.
    Broken(wasmtime::Error),
    /// It exceeded its limit of CPU time.
    CpuExceeded,
    TimedOut,
    /// Other runs computed all the time.
    NoTurn,
    /// All runs together exceeded the memory for them, and this one had the most.
    OutOfBudget {
        total: u64,
    },
}

/// The result of a run that ended like this.
pub(super) fn result_of(
    end: RunEnd,
    state: &RunState,
    log: &[LogLine],
    timeout: Duration,
    limits: &Limits,
) -> RunResult {
    let RunState { limiter, memo, denied, waits_for, .. } = state;
    let last_words = || log.iter().rev().find(|l| l.level == LogLevel::Error).map(|l| l.message.as_str());
    match (end, denied, memo.too_long) {
        (RunEnd::Answer(Err(text)), Some(denied), _) if !text.contains(denied.as_str()) => {
            error(format!("{}: {denied}", cut(&text, MAX_MESSAGE)))
        }
        // Whatever the plugin derived from a denied probe may not be about the service.
        (RunEnd::Answer(Ok(_)) | RunEnd::CpuExceeded | RunEnd::TimedOut, Some(denied), _) => error(denied.clone()),
        (RunEnd::Answer(Ok(_)), None, Some(length)) => error(format!(
            "the plugin wants to remember {length} bytes, but a memo holds at most {MAX_MEMO}: fix the plugin"
        )),
        (RunEnd::Answer(Ok(report)), None, None) if size(&report) > limits.output => error(format!(
            "the report has {} bytes where limits.output allows {}; raise limits.output of this check, or fix the plugin",
            size(&report),
            limits.output
        )),
        (RunEnd::Answer(Ok(report)), None, None) => RunResult::Report(clean(report)),
        (RunEnd::Answer(Err(text)), _, _) if text.trim().is_empty() => {
            error("the plugin gave up without saying why".to_owned())
        }
        (RunEnd::Answer(Err(text)), _, _) => error(text),
        (RunEnd::Broken(broken), _, _) => error(failure::describe(&broken, limiter.hit(), last_words())),
        (RunEnd::NoTurn, ..) => error(
            "overloaded: others computed all the time, and this check had no turn within its timeout; make the checks' \
             intervals longer"
                .to_owned(),
        ),
        (RunEnd::OutOfBudget { total }, ..) => error(failure::out_of_budget(total, limiter.memory())),
        (RunEnd::CpuExceeded, None, _) => error(failure::cpu_exceeded(limits)),
        // A file system of this host that does not answer says nothing about the service.
        (RunEnd::TimedOut, None, _) if let Some(place) = waits_for => {
            error(format!("the file system of {place} does not answer"))
        }
        (RunEnd::TimedOut, None, _) => RunResult::TimedOut { after: timeout },
    }
}

fn error(reason: String) -> RunResult {
    RunResult::Error { reason: cut(&reason, MAX_REASON) }
}

/// The outcome of a run that got no instance within its timeout.
pub(super) fn no_instance() -> Outcome {
    Outcome {
        result: error(failure::OVERLOADED.to_owned()),
        duration: Duration::ZERO,
        instantiation: Duration::ZERO,
        cpu: Duration::ZERO,
        memory: 0,
        log: Vec::new(),
        memo: None,
        probes: Vec::new(),
        watch: Watch::default(),
    }
}

/// Bytes of a report's texts and numbers.
fn size(report: &types::Report) -> u64 {
    let metrics = report.metrics.iter().map(|m| m.name.len() + m.unit.len() + size_of::<f64>());
    (report.message.len() + metrics.sum::<usize>()) as u64
}

/// Brings a report within its bounds.
fn clean(report: types::Report) -> Report {
    Report {
        verdict: match report.verdict {
            types::Verdict::Pass => Verdict::Pass,
            types::Verdict::Warn => Verdict::Warn,
            types::Verdict::Fail => Verdict::Fail,
            types::Verdict::Fault => Verdict::Fault,
        },
        message: cut(&report.message, MAX_MESSAGE),
        adjust: report.adjust,
        metrics: report
            .metrics
            .into_iter()
            .filter(|m| m.value.is_finite())
            .take(MAX_METRICS)
            .map(|m| Metric {
                name: metric_name(&m.name, MAX_NAME),
                value: m.value,
                unit: metric_name(&m.unit, MAX_NAME),
            })
            .collect(),
    }
}
