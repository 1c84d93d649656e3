//! One check: its counter, its newest run, and its part of the status.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use tracing::debug;
use vouchd_config::Check;
use vouchd_health::{CheckStatus, Counter, LogLine, RunResult, Verdict};
use vouchd_ipc::pipe::{Pending, PluginState, RunDone, ToChecker};
use vouchd_ipc::status;
use vouchd_vrrp::limit::Limiter;

use crate::log::{Line, Log, Subject};

/// A check and what is known about it.
pub(super) struct CheckState {
    pub(super) spec: Check,
    subject: Subject,
    pub(super) counter: Counter,
    since: SystemTime,
    last: Option<LastRun>,
    /// When a result was last received, or first expected.
    pub(super) heard: Instant,
    /// What its plugin waits for. Until then there can be no result.
    pub(super) awaits: Option<Pending>,
    runs: u64,
    failures: u64,
    skipped: u64,
    pub(super) fast: bool,
    /// The limit of what the plugin logs: the lines of one run a second.
    log_limit: Limiter<(), Vec<LogLine>>,
}

pub(super) struct LastRun {
    at: SystemTime,
    done: RunDone,
}

impl CheckState {
    /// `known` is the same check before a reload.
    pub(super) fn new(spec: Check, known: Option<CheckState>) -> Self {
        let counter = known.as_ref().map(|known| known.counter.reconfigured(spec.thresholds));
        CheckState {
            counter: counter.unwrap_or_else(|| Counter::new(spec.thresholds)),
            subject: Subject::check(&spec.name),
            spec,
            since: known.map_or_else(SystemTime::now, |known| known.since),
            last: None,
            heard: Instant::now(),
            awaits: None,
            runs: 0,
            failures: 0,
            skipped: 0,
            fast: false,
            log_limit: Limiter::default(),
        }
    }

    /// Takes a new state of its plugin.
    pub(super) fn await_plugin(&mut self, plugin: Option<&PluginState>) {
        match plugin.and_then(PluginState::awaited) {
            Some(pending) => {
                self.counter.record_wait(&format!("plugin {} {}", self.spec.plugin, pending.what));
                self.awaits = Some(pending.clone());
            }
            None if self.awaits.take().is_some() => {
                if matches!(self.counter.status(), CheckStatus::Waiting { .. }) {
                    self.counter.record_wait("no result yet");
                }
                self.heard = Instant::now();
            }
            None => {}
        }
    }

    pub(super) fn record(&mut self, mut done: RunDone, log: &mut Log) -> Option<ToChecker> {
        if self.awaits.is_some() && matches!(done.result, RunResult::Error { .. }) {
            // The run began before the plugin's file was there.
            return None;
        }
        self.heard = Instant::now();
        self.runs += 1;
        self.skipped += done.skipped;
        if !matches!(&done.result, RunResult::Report(report) if matches!(report.verdict, Verdict::Pass | Verdict::Warn))
        {
            self.failures += 1;
        }
        self.log_lines_of_run(std::mem::take(&mut done.log));
        let before = self.counter.status().clone();
        if self.counter.record(&done.result) {
            self.log_change(&before, log);
        }
        let check = done.check.clone();
        self.last = Some(LastRun { at: SystemTime::now(), done });
        let fast = self.counter.is_changing();
        (fast != self.fast).then(|| {
            self.fast = fast;
            ToChecker::Pace { check, fast }
        })
    }

    pub(super) fn give_up(&mut self, reason: &str, log: &mut Log) {
        let before = self.counter.status().clone();
        if self.counter.record_loss(reason) {
            self.log_change(&before, log);
        }
    }

    pub(super) fn log_lines_of_run(&mut self, lines: Vec<LogLine>) {
        if lines.is_empty() {
            return;
        }
        let now = vouchd_net::now();
        let Some((lines, left_out)) = self.log_limit.admit(now, (), lines) else { return };
        for LogLine { level, message } in lines {
            self.subject.in_scope(|| debug!(plugin = self.spec.plugin, %level, "{message}"));
        }
        if left_out.count > 0 {
            let (runs, seconds) = (left_out.count, left_out.within.as_secs_f64());
            self.subject.in_scope(|| debug!("left out the lines of {runs} more runs in the last {seconds:.1} s"));
        }
    }

    pub(super) fn log_change(&mut self, before: &CheckStatus, log: &mut Log) {
        self.since = SystemTime::now();
        let (from, _) = status::verdict(before);
        let (to, message) = status::verdict(self.counter.status());
        let level = match self.counter.status() {
            CheckStatus::Waiting { .. } | CheckStatus::Verdict { verdict: Verdict::Pass, .. } => Line::info,
            CheckStatus::Verdict { .. } | CheckStatus::Error { .. } => Line::warn,
        };
        let line = level(&self.subject, format!("{from} -> {to}: {message}"));
        log.state(vouchd_net::now(), "verdict", to, line.change(from, to));
    }

    /// The verdict in the status, its message, and its start. Unlike the counter's verdict it says what the plugin waits for.
    pub(super) fn shown(&self) -> (&'static str, String, SystemTime) {
        let (verdict, message) = status::verdict(self.counter.status());
        let Some(Pending { what, since, is_long }) = &self.awaits else { return (verdict, message, self.since) };
        if !is_long && !matches!(self.counter.status(), CheckStatus::Waiting { .. }) {
            // A new file, perhaps half written, changes nothing yet.
            return (verdict, message, self.since);
        }
        let mut waits = format!("plugin {} {}", self.spec.plugin, status::waiting(what, *since));
        if let CheckStatus::Verdict { .. } = self.counter.status() {
            let _ = write!(waits, "; its last verdict remains in force until then: {verdict}: {message}");
        }
        ("waiting", waits, SystemTime::UNIX_EPOCH + Duration::from_secs(*since))
    }

    pub(super) fn status(&self, name: &str, now: SystemTime) -> status::Check {
        let (verdict, message, since) = self.shown();
        status::Check {
            name: name.to_owned(),
            plugin: self.spec.plugin.clone(),
            verdict: verdict.to_owned(),
            message,
            since: status::time(since),
            last_run: self.last.as_ref().map(|last| last.status()),
            runs: self.runs,
            failures: self.failures,
            skipped: self.skipped,
            next_run: self.last.as_ref().map(|last| status::time((last.at + last.done.next_in).max(now))),
        }
    }
}

impl LastRun {
    pub(super) fn status(&self) -> status::LastRun {
        let (verdict, message, metrics, error) = match &self.done.result {
            RunResult::Report(report) => {
                (Some(report.verdict.to_string()), report.message.clone(), report.metrics.clone(), None)
            }
            RunResult::TimedOut { after } => {
                (Some("fail".to_owned()), format!("timed out after {} ms", after.as_millis()), Vec::new(), None)
            }
            RunResult::Error { reason } => (None, String::new(), Vec::new(), Some(reason.clone())),
        };
        status::LastRun {
            at: status::time(self.at),
            duration: self.done.duration.as_secs_f64(),
            cpu: self.done.cpu.as_secs_f64(),
            memory: self.done.memory,
            verdict,
            message,
            error,
            metrics,
        }
    }
}
