//! The results of the checks: counts runs, keeps statuses, computes the health of each instance from them and from the
//! interfaces that it tracks.
//!
//! In the router, not in the checker, so that no knowledge is lost with a checker. No I/O here.

mod check;
mod health;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use tracing::debug;
use vouchd_config::Config;
use vouchd_health::{Carrier, Carriers, Term};
use vouchd_net::{CarrierEvent, DownReason};
use vouchd_vrrp::{Health, Time};

use self::check::CheckState;
use self::health::{InstanceChecks, virtual_router};
use crate::log::{Line, Log, Subject};
use vouchd_ipc::pipe::{Pending, PluginState, RunDone, ToChecker};
use vouchd_ipc::status;

/// All checks, the instances that use them, and the plugins that the checker has reported.
pub(crate) struct Checks {
    checks: BTreeMap<String, CheckState>,
    instances: BTreeMap<String, InstanceChecks>,
    plugins: BTreeMap<String, PluginState>,
    /// All interfaces of the host.
    carriers: Carriers,
    log: Log,
}

impl Checks {
    pub(crate) fn new() -> Self {
        Checks {
            checks: BTreeMap::new(),
            instances: BTreeMap::new(),
            plugins: BTreeMap::new(),
            carriers: None,
            log: Log::default(),
        }
    }

    /// Applies a configuration. An unchanged check keeps its status and counts; a changed one keeps its status until its first
    /// result, since a reload is not a verdict. Returns the messages to send to the checker.
    pub(crate) fn configure(&mut self, config: &Config) -> Vec<ToChecker> {
        let mut messages = Vec::new();
        self.checks.retain(|name, _| {
            let is_configured = config.checks.iter().any(|check| check.name == *name);
            if !is_configured {
                messages.push(ToChecker::Forget { check: name.clone() });
            }
            is_configured
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
        // A plugin whose file is gone is listed only for its checks.
        self.plugins.retain(|name, state| !state.is_gone || config.checks.iter().any(|check| check.plugin == *name));
        let before = std::mem::take(&mut self.instances).into_values();
        let mut known: BTreeMap<_, _> = before.map(|known| (known.router.clone(), known)).collect();
        let now = vouchd_net::now();
        for instance in &config.instances {
            // Under another name it is still the same virtual router.
            let mut checks = InstanceChecks::new(instance, known.remove(&virtual_router(instance)));
            checks.tracking.update(now, &self.carriers);
            self.instances.insert(instance.name.clone(), checks);
        }
        messages
    }

    /// Takes new states of interfaces, which are all interfaces the first time.
    pub(crate) fn take_carriers(&mut self, now: Time, changes: Vec<CarrierEvent>) {
        let carriers = self.carriers.get_or_insert_default();
        for CarrierEvent { interface, carrier } in changes {
            match carrier_of(carrier) {
                Carrier::Missing => carriers.remove(&interface),
                known @ (Carrier::Up | Carrier::NoCarrier | Carrier::SwitchedOff) => carriers.insert(interface, known),
            };
        }
        for instance in self.instances.values_mut() {
            instance.tracking.update(now, &self.carriers);
        }
    }

    /// Counts the states of interfaces that have lasted.
    pub(crate) fn settle(&mut self, now: Time) {
        for instance in self.instances.values_mut() {
            instance.tracking.settle(now);
        }
    }

    /// When to call [`settle`](Self::settle) next.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.instances.values().filter_map(|instance| instance.tracking.deadline()).min()
    }

    fn uses(&self, plugin: &str) -> bool {
        self.checks.values().any(|check| check.spec.plugin == plugin)
    }

    /// The messages for a checker that has just started.
    pub(crate) fn messages_at_start(&self) -> impl Iterator<Item = ToChecker> + '_ {
        let checks = self.checks.values().map(|check| ToChecker::Check(Box::new(check.spec.clone())));
        let paces = self.checks.iter().filter(|(_, check)| check.fast);
        checks
            .chain([ToChecker::Start])
            .chain(paces.map(|(name, _)| ToChecker::Pace { check: name.clone(), fast: true }))
    }

    /// Counts a run. Returns a message for the checker if the check's pace changes.
    pub(crate) fn record(&mut self, done: RunDone) -> Option<ToChecker> {
        let Some(check) = self.checks.get_mut(&done.check) else {
            Subject::check(&done.check).in_scope(|| debug!("ignored a run, because the check is no longer configured"));
            return None;
        };
        check.record(done, &mut self.log)
    }

    /// Sets all checks to error, because the checker is gone for longer than the grace. Checks whose plugin a new checker is
    /// still loading are exempt.
    pub(crate) fn give_up_all(&mut self, reason: &str) {
        for check in self.checks.values_mut().filter(|check| check.awaits.is_none()) {
            check.give_up(reason, &mut self.log);
        }
    }

    /// Forgets what plugins wait for, because the checker that was loading them is gone.
    pub(crate) fn forget_pending(&mut self) {
        for plugin in self.plugins.values_mut() {
            plugin.pending = None;
        }
        for check in self.checks.values_mut() {
            check.await_plugin(None);
        }
    }

    /// Sets each check to error whose result is overdue by more than `grace` although the checker runs.
    pub(crate) fn give_up_overdue(&mut self, now: Instant, grace: Duration) {
        for check in self.checks.values_mut().filter(|check| check.awaits.is_none()) {
            let due = check.spec.interval + check.spec.timeout + grace;
            let silent = now.saturating_duration_since(check.heard);
            if silent > due {
                check.give_up(&format!("no result for {:.1} s", silent.as_secs_f64()), &mut self.log);
                check.heard = now;
            }
        }
    }

    /// Expects results from now on, because the checker has just started.
    pub(crate) fn expect_from(&mut self, now: Instant) {
        for check in self.checks.values_mut() {
            check.heard = now;
        }
    }

    /// Takes a new state of a plugin.
    pub(crate) fn plugin(&mut self, state: PluginState) {
        let PluginState { name, source, .. } = &state;
        let subject = Subject::plugin(name);
        for check in self.checks.values_mut().filter(|check| check.spec.plugin == *name) {
            check.await_plugin(Some(&state));
        }
        if let Some(Pending { is_long: false, .. }) = &state.pending {
            self.plugins.insert(name.clone(), state);
            return;
        }
        let (kind, line) = match (&state.loaded, &state.error) {
            _ if let Some(Pending { what, .. }) = &state.pending => {
                let until =
                    if state.loaded.is_some() { "the previous version keeps running" } else { "its checks wait" };
                ("pending", Line::info(&subject, format!("{what} ({}); {until}", source.display())))
            }
            (Some(loaded), None) => {
                let compiled = loaded.compiled_in.map_or_else(
                    || "compiled before".to_owned(),
                    |took| format!("compiled in {:.2} s", took.as_secs_f64()),
                );
                let text =
                    format!("loaded from {}, {compiled} ({}, sha256 {})", source.display(), loaded.kind, loaded.sha256);
                ("loaded", Line::info(&subject, text))
            }
            (Some(_), Some(error)) => (
                "not replaced",
                Line::warn(
                    &subject,
                    format!("the new file cannot be used, the previous version keeps running: {error}"),
                ),
            ),
            (None, Some(error)) => ("unusable", Line::error(&subject, format!("cannot be used: {error}"))),
            (None, None) => ("gone", Line::info(&subject, "the file is gone".to_owned())),
        };
        self.log.state(vouchd_net::now(), "plugin", kind, line);
        let is_known = state.loaded.is_some() || state.error.is_some() || state.pending.is_some();
        if !is_known || (state.is_gone && !self.uses(&state.name)) {
            self.plugins.remove(&state.name);
        } else {
            self.plugins.insert(state.name.clone(), state);
        }
    }

    /// Writes the suppressed log lines whose time has come.
    pub(crate) fn write_overdue(&mut self) {
        self.log.write_overdue(vouchd_net::now());
    }

    /// The instances whose health has changed since it was last reported. It counts as reported now.
    pub(crate) fn health_changes(&mut self) -> Vec<(String, Health)> {
        let mut changes = Vec::new();
        for (name, instance) in &mut self.instances {
            let health = instance.health(&self.checks);
            if instance.reported.as_ref() != Some(&health) {
                instance.reported = Some(health.clone());
                changes.push((name.clone(), health));
            }
        }
        changes
    }

    /// The health of every instance. It counts as reported now.
    pub(crate) fn all_health(&mut self) -> BTreeMap<String, Health> {
        let checks = &self.checks;
        let all = self.instances.iter_mut().map(|(name, instance)| {
            let health = instance.health(checks);
            instance.reported = Some(health.clone());
            (name.clone(), health)
        });
        all.collect()
    }

    /// The checks, the plugins, and the terms of each instance's priority, for `vouchd status`.
    pub(crate) fn snapshot(
        &self,
        now: SystemTime,
    ) -> (Vec<status::Check>, Vec<status::Plugin>, BTreeMap<String, Vec<Term>>) {
        let checks = self.checks.iter().map(|(name, check)| check.status(name, now)).collect();
        let plugins = self.plugins.values().map(status::Plugin::from).collect();
        let terms =
            self.instances.iter().map(|(name, instance)| (name.clone(), instance.terms(&self.checks))).collect();
        (checks, plugins, terms)
    }
}

fn carrier_of(carrier: vouchd_net::Carrier) -> Carrier {
    match carrier {
        vouchd_net::Carrier::Up => Carrier::Up,
        vouchd_net::Carrier::Down(DownReason::NoCarrier) => Carrier::NoCarrier,
        vouchd_net::Carrier::Down(DownReason::SwitchedOff) => Carrier::SwitchedOff,
        vouchd_net::Carrier::Missing => Carrier::Missing,
    }
}

#[cfg(test)]
mod tests;
