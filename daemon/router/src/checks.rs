//! What the router believes of its checks: counts runs, keeps statuses, computes the fitness of each instance.
//!
//! Lives in the router, not in the checker, so that a checker that dies takes no knowledge with it. No I/O here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use tracing::debug;
use vouchd_config::{Check, Config, Instance};
use vouchd_health::{CheckStatus, Counter, Effect, Fitness, Influence, LogLine, RunResult, Term, Verdict, fitness};
use vouchd_vrrp::Health;
use vouchd_vrrp::limit::Limiter;

use super::log::{Line, Log, Subject};
use vouchd_ipc::pipe::{Pending, PluginState, RunDone, ToChecker};
use vouchd_ipc::status;

/// All checks, the instances that list them, and the plugins that the checker has told of.
pub struct Checks {
    checks: BTreeMap<String, CheckState>,
    instances: BTreeMap<String, InstanceChecks>,
    plugins: BTreeMap<String, PluginState>,
    log: Log,
}

struct CheckState {
    spec: Check,
    counter: Counter,
    since: SystemTime,
    last: Option<LastRun>,
    /// When a result last came, or was first expected.
    heard: Instant,
    /// What its plugin has to wait for before there can be a result.
    awaits: Option<Pending>,
    runs: u64,
    failures: u64,
    skipped: u64,
    fast: bool,
    /// What the plugin logs: the lines of one run in a second.
    logged: Limiter<(), Vec<LogLine>>,
}

struct LastRun {
    at: SystemTime,
    done: RunDone,
}

struct InstanceChecks {
    base: u8,
    uses: Vec<(String, Influence)>,
    router: (String, u8),
    /// What the protocol was told last.
    told: Option<Health>,
}

impl Checks {
    pub fn new() -> Self {
        Checks { checks: BTreeMap::new(), instances: BTreeMap::new(), plugins: BTreeMap::new(), log: Log::default() }
    }

    /// Takes over a configuration: what is unchanged keeps its status and counts, what has changed keeps its status
    /// until its first result (a reload is no verdict). Returns the messages to send to the checker.
    pub fn configure(&mut self, config: &Config) -> Vec<ToChecker> {
        let mut messages = Vec::new();
        self.checks.retain(|name, _| {
            let kept = config.checks.iter().any(|check| check.name == *name);
            if !kept {
                messages.push(ToChecker::Forget { check: name.clone() });
            }
            kept
        });
        for spec in &config.checks {
            if self.checks.get(&spec.name).is_some_and(|known| known.spec == *spec) {
                continue;
            }
            messages.push(ToChecker::Check(Box::new(spec.clone())));
            let known = self.checks.remove(&spec.name);
            let mut check = CheckState::new(spec.clone(), known);
            check.await_plugin(self.plugins.get(&spec.plugin));
            self.checks.insert(spec.name.clone(), check);
        }
        // What is gone is of interest to its checks alone.
        self.plugins.retain(|name, state| !state.is_gone || config.checks.iter().any(|check| check.plugin == *name));
        let mut known: BTreeMap<_, _> =
            std::mem::take(&mut self.instances).into_values().map(|known| (known.router, known.told)).collect();
        for instance in &config.instances {
            // Under another name it is the same virtual router still.
            let told = known.remove(&virtual_router(instance)).flatten();
            self.instances.insert(instance.name.clone(), InstanceChecks::new(instance, told));
        }
        messages
    }

    fn uses(&self, plugin: &str) -> bool {
        self.checks.values().any(|check| check.spec.plugin == plugin)
    }

    /// All messages for a checker that has just started.
    pub fn all(&self) -> impl Iterator<Item = ToChecker> + '_ {
        let checks = self.checks.values().map(|check| ToChecker::Check(Box::new(check.spec.clone())));
        let paces = self.checks.iter().filter(|(_, check)| check.fast);
        checks
            .chain([ToChecker::Start])
            .chain(paces.map(|(name, _)| ToChecker::Pace { check: name.clone(), fast: true }))
    }

    /// Counts a run that has ended. Returns a message if the check's pace changes.
    pub fn record(&mut self, done: RunDone) -> Option<ToChecker> {
        let Some(check) = self.checks.get_mut(&done.check) else {
            debug!(check = done.check, "a run of a check that is no longer configured");
            return None;
        };
        check.record(done, &mut self.log)
    }

    /// No run has ended for longer than the grace since the checker was lost: no check can vouch for anything, but for
    /// those of which a new checker says what they wait for.
    pub fn lost_all(&mut self, reason: &str) {
        for check in self.checks.values_mut().filter(|check| check.awaits.is_none()) {
            check.lost(reason, &mut self.log);
        }
    }

    /// The checker is gone, and with it all that was underway in there.
    pub fn checker_gone(&mut self) {
        for plugin in self.plugins.values_mut() {
            plugin.pending = None;
        }
        for check in self.checks.values_mut() {
            check.await_plugin(None);
        }
    }

    /// Checks that the checker owes a result for too long: it runs, yet says nothing of them.
    pub fn lose_overdue(&mut self, now: Instant, grace: Duration) {
        for check in self.checks.values_mut().filter(|check| check.awaits.is_none()) {
            let due = check.spec.interval + check.spec.timeout + grace;
            let silent = now.saturating_duration_since(check.heard);
            if silent > due {
                check.lost(&format!("no result for {:.1} s", silent.as_secs_f64()), &mut self.log);
                check.heard = now;
            }
        }
    }

    /// Nothing was expected until now, because the checker was just started.
    pub fn expect_from(&mut self, now: Instant) {
        for check in self.checks.values_mut() {
            check.heard = now;
        }
    }

    pub fn plugin(&mut self, state: PluginState) {
        let PluginState { name, source, .. } = &state;
        let line = |level: fn(Subject, String) -> Line, text: String| level(Subject::Plugin(name.clone()), text);
        for check in self.checks.values_mut().filter(|check| check.spec.plugin == *name) {
            check.await_plugin(Some(&state));
        }
        if let Some(Pending { is_long: false, .. }) = &state.pending {
            self.plugins.insert(name.clone(), state);
            return;
        }
        let (kind, line) = match (&state.loaded, &state.error) {
            _ if let Some(Pending { what, .. }) = &state.pending => {
                let until = if state.loaded.is_some() { "the previous version goes on" } else { "its checks wait" };
                ("pending", line(Line::info, format!("plugin {name} {what} ({}); {until}", source.display())))
            }
            (Some(loaded), None) => {
                let compiled = loaded.compiled_in.map_or_else(
                    || "compiled before".to_owned(),
                    |took| format!("compiled in {:.2} s", took.as_secs_f64()),
                );
                let text = format!(
                    "plugin {name} loaded from {}, {compiled} ({}, sha256 {})",
                    source.display(),
                    loaded.kind,
                    loaded.sha256
                );
                ("loaded", line(Line::info, text))
            }
            (Some(_), Some(error)) => (
                "not replaced",
                line(
                    Line::warn,
                    format!("plugin {name}: the new file can't be used, the previous version goes on: {error}"),
                ),
            ),
            (None, Some(error)) => ("unusable", line(Line::error, format!("plugin {name} can't be used: {error}"))),
            (None, None) => ("gone", line(Line::info, format!("plugin {name} is gone"))),
        };
        self.log.say_state(vouchd_net::now(), "plugin", kind, line);
        let is_known = state.loaded.is_some() || state.error.is_some() || state.pending.is_some();
        if !is_known || (state.is_gone && !self.uses(&state.name)) {
            self.plugins.remove(&state.name);
        } else {
            self.plugins.insert(state.name.clone(), state);
        }
    }

    /// Reports what was left out of the log, where its time has come.
    pub fn overdue(&mut self) {
        self.log.overdue(vouchd_net::now());
    }

    /// The instances whose fitness is not what the protocol was told last; they count as told.
    pub fn news(&mut self) -> Vec<(String, Health)> {
        let mut news = Vec::new();
        for (name, instance) in &mut self.instances {
            let health = instance.health(&self.checks);
            if instance.told.as_ref() != Some(&health) {
                instance.told = Some(health.clone());
                news.push((name.clone(), health));
            }
        }
        news
    }

    /// The fitness of every instance; all count as told.
    pub fn health(&mut self) -> BTreeMap<String, Health> {
        let checks = &self.checks;
        let told = self.instances.iter_mut().map(|(name, instance)| {
            let health = instance.health(checks);
            instance.told = Some(health.clone());
            (name.clone(), health)
        });
        told.collect()
    }

    /// The checks, the plugins, and each instance's terms, for `status`.
    pub fn snapshot(&self, now: SystemTime) -> (Vec<status::Check>, Vec<status::Plugin>, BTreeMap<String, Vec<Term>>) {
        let checks = self.checks.iter().map(|(name, check)| check.status(name, now)).collect();
        let plugins = self.plugins.values().map(status::Plugin::from).collect();
        let terms =
            self.instances.iter().map(|(name, instance)| (name.clone(), instance.terms(&self.checks))).collect();
        (checks, plugins, terms)
    }
}

impl CheckState {
    /// `known`: the same check before a reload.
    fn new(spec: Check, known: Option<CheckState>) -> Self {
        let counter = known.as_ref().map(|known| known.counter.reconfigured(spec.thresholds));
        CheckState {
            counter: counter.unwrap_or_else(|| Counter::new(spec.thresholds)),
            spec,
            since: known.map_or_else(SystemTime::now, |known| known.since),
            last: None,
            heard: Instant::now(),
            awaits: None,
            runs: 0,
            failures: 0,
            skipped: 0,
            fast: false,
            logged: Limiter::default(),
        }
    }

    /// Follows what is known of its plugin.
    fn await_plugin(&mut self, plugin: Option<&PluginState>) {
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

    fn record(&mut self, mut done: RunDone, log: &mut Log) -> Option<ToChecker> {
        if self.awaits.is_some() && matches!(done.result, RunResult::Error { .. }) {
            // From before its plugin's file was there.
            return None;
        }
        self.heard = Instant::now();
        self.runs += 1;
        self.skipped += done.skipped;
        if !matches!(&done.result, RunResult::Report(report) if matches!(report.verdict, Verdict::Pass | Verdict::Warn))
        {
            self.failures += 1;
        }
        self.log_of_the_run(std::mem::take(&mut done.log));
        let before = self.counter.status().clone();
        if self.counter.record(&done.result) {
            self.changed(&before, log);
        }
        let check = done.check.clone();
        self.last = Some(LastRun { at: SystemTime::now(), done });
        let fast = self.counter.is_changing();
        (fast != self.fast).then(|| {
            self.fast = fast;
            ToChecker::Pace { check, fast }
        })
    }

    fn lost(&mut self, reason: &str, log: &mut Log) {
        let before = self.counter.status().clone();
        if self.counter.record_loss(reason) {
            self.changed(&before, log);
        }
    }

    fn log_of_the_run(&mut self, lines: Vec<LogLine>) {
        if lines.is_empty() {
            return;
        }
        let now = vouchd_net::now();
        let Some((lines, left_out)) = self.logged.admit(now, (), lines) else { return };
        for LogLine { level, message } in lines {
            debug!(check = self.spec.name, plugin = self.spec.plugin, %level, "{message}");
        }
        if left_out.count > 0 {
            let (runs, seconds) = (left_out.count, left_out.within.as_secs_f64());
            debug!(check = self.spec.name, "left out what {runs} more runs logged in the last {seconds:.1} s");
        }
    }

    fn changed(&mut self, before: &CheckStatus, log: &mut Log) {
        self.since = SystemTime::now();
        let (from, _) = status::verdict(before);
        let (to, message) = status::verdict(self.counter.status());
        let name = &self.spec.name;
        let level = match self.counter.status() {
            CheckStatus::Waiting { .. } | CheckStatus::Verdict { verdict: Verdict::Pass, .. } => Line::info,
            CheckStatus::Verdict { .. } | CheckStatus::Error { .. } => Line::warn,
        };
        let line = level(Subject::Check(name.clone()), format!("check {name}: {from} -> {to}: {message}"));
        log.say_state(vouchd_net::now(), "verdict", to, line.change(from, to));
    }

    /// What is said of it, with a message, and since when.
    fn said(&self) -> (&'static str, String, SystemTime) {
        let (verdict, message) = status::verdict(self.counter.status());
        let Some(Pending { what, since, is_long }) = &self.awaits else { return (verdict, message, self.since) };
        if !is_long && !matches!(self.counter.status(), CheckStatus::Waiting { .. }) {
            // A file that has just come, half written perhaps, changes nothing yet.
            return (verdict, message, self.since);
        }
        let mut waits = format!("plugin {} {}", self.spec.plugin, status::waiting(what, *since));
        if let CheckStatus::Verdict { .. } = self.counter.status() {
            let _ = write!(waits, "; until then its last verdict counts: {verdict}: {message}");
        }
        ("waiting", waits, SystemTime::UNIX_EPOCH + Duration::from_secs(*since))
    }

    fn status(&self, name: &str, now: SystemTime) -> status::Check {
        let (verdict, message, since) = self.said();
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
    fn status(&self) -> status::LastRun {
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

impl InstanceChecks {
    fn new(instance: &Instance, told: Option<Health>) -> Self {
        InstanceChecks {
            router: virtual_router(instance),
            base: instance.priority.get(),
            uses: instance.checks.iter().map(|used| (used.check.clone(), used.influence)).collect(),
            told,
        }
    }

    fn fitness(&self, checks: &BTreeMap<String, CheckState>) -> Fitness {
        fitness(
            self.base,
            self.uses.iter().filter_map(|(name, influence)| {
                let check = checks.get(name)?;
                Some((name.as_str(), check.counter.status(), influence))
            }),
        )
    }

    /// What to tell the protocol. While a weighted check has no result, nobody knows what it will cost: a reload that
    /// brings or renames one does not raise the priority until then.
    fn health(&self, checks: &BTreeMap<String, CheckState>) -> Health {
        let unknown: Vec<_> = self.unknown(checks).collect();
        let known = match (&self.told, unknown.is_empty()) {
            (None, _) | (_, true) => vouchd_wire::Priority::HIGHEST,
            (Some(Health::Fit { priority, .. } | Health::Waiting { priority, .. }), false) => *priority,
            (Some(Health::Fault { .. }), false) => vouchd_wire::Priority::LOWEST,
        };
        let mut health = health(self.fitness(checks));
        if let Health::Fit { priority, reason } | Health::Waiting { priority, reason } = &mut health
            && *priority != vouchd_wire::Priority::OWNER
            && *priority > known
        {
            *priority = known;
            *reason = format!("no more than before until the first result of {}; {reason}", unknown.join(", "));
        }
        health
    }

    /// The weighted checks that have no result yet.
    fn unknown<'a>(&'a self, checks: &'a BTreeMap<String, CheckState>) -> impl Iterator<Item = &'a str> {
        let is_waiting = |name: &String| {
            checks.get(name).is_some_and(|check| matches!(check.counter.status(), CheckStatus::Waiting { .. }))
        };
        let weighted = self.uses.iter().filter(|(_, influence)| influence.weight.is_some());
        weighted.filter(move |(name, _)| is_waiting(name)).map(|(name, _)| name.as_str())
    }

    fn terms(&self, checks: &BTreeMap<String, CheckState>) -> Vec<Term> {
        match self.fitness(checks) {
            Fitness::Fit { terms, .. } | Fitness::Fault { terms, .. } | Fitness::Waiting { terms, .. } => terms,
        }
    }
}

/// What makes a virtual router the one that it is, whatever its name.
fn virtual_router(instance: &Instance) -> (String, u8) {
    (instance.interface.clone(), instance.vrid.get())
}

fn health(fitness: Fitness) -> Health {
    match fitness {
        Fitness::Waiting { checks, priority, terms } => {
            let why = |check: &String| {
                let term = terms.iter().find(|term| term.check == *check);
                format!("{check} ({})", term.map_or("", |term| &term.why))
            };
            let checks: Vec<_> = checks.iter().map(why).collect();
            Health::Waiting {
                reason: format!("waits for the first result of {}", checks.join(", ")),
                priority: vouchd_wire::Priority::new(priority),
            }
        }
        Fitness::Fit { priority, terms } => {
            let reasons: Vec<_> = terms
                .iter()
                .filter(|term| term.effect != Effect::Add || term.value != 0)
                .map(Term::to_string)
                .collect();
            Health::Fit {
                priority: vouchd_wire::Priority::new(priority),
                reason: if reasons.is_empty() { "all checks pass".to_owned() } else { reasons.join("; ") },
            }
        }
        Fitness::Fault { reason, .. } => Health::Fault { reason },
    }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
