//! Runs checks in the plugin host.

use std::sync::Arc;

use vouchd_config::Check;
use vouchd_plugin::{Changes, Compiler, Host, HostSettings, Plugin};

use super::check_task::{RunOutcome, Runner};
use crate::plugins::loader::Loader;
use vouchd_health::LogLine;
use vouchd_ipc::pipe::{Init, MAX_MESSAGE};

/// Maximum log text of a run in a message, in bytes: even if every character is escaped, the message stays below its limit.
const MAX_LOG: usize = MAX_MESSAGE / 8;

/// Runs checks in the plugin host.
#[derive(Clone)]
pub(crate) struct HostRunner {
    host: Host,
    /// The memory that is reserved for each run, in bytes.
    memory: u64,
}

/// Minimum number of slots. A slot is the memory reserved for one run.
const MIN_SLOTS: usize = 256;

/// Maximum number of slots, since each takes some of the memory mappings that the kernel allows a process.
const MAX_SLOTS: usize = 4096;

/// The number of slots if the address space is limited.
const FEW_SLOTS: u32 = 64;

/// Two slots per check: a waiting run keeps its slot, and a reload may add checks.
fn slots(checks: usize) -> u32 {
    let slots = (2 * checks).next_power_of_two().clamp(MIN_SLOTS, MAX_SLOTS);
    u32::try_from(slots).unwrap_or(FEW_SLOTS)
}

/// Starts a host for these checks. It reserves for each run as much memory as any of them may use.
pub(crate) fn start(init: &Init, checks: &[Check]) -> anyhow::Result<(Loader<Plugin>, HostRunner)> {
    start_with(Compiler::own_child(), init, checks)
}

/// The same with this compiler.
pub(crate) fn start_with(
    compiler: Compiler,
    init: &Init,
    checks: &[Check],
) -> anyhow::Result<(Loader<Plugin>, HostRunner)> {
    let fitting = HostSettings::fitting(checks.iter().map(|check| &check.limits));
    let memory = fitting.max_memory;
    let host = |slots| {
        let (compiler, cache) = (compiler.clone(), init.cache.clone());
        Host::new(HostSettings { compiler, cache, slots, ..fitting.clone() })
    };
    let host = host(slots(checks.len())).or_else(|error| {
        tracing::warn!("{error}; trying again with {FEW_SLOTS} concurrent runs");
        host(FEW_SLOTS)
    })?;
    Ok((Loader::new(host.clone()), HostRunner { host, memory }))
}

/// The end of a run's log, where the reason for a failure is. The router logs it at `debug`.
fn end_of(log: Vec<LogLine>) -> Vec<LogLine> {
    let mut room = MAX_LOG;
    let mut lines: Vec<_> = log
        .into_iter()
        .rev()
        .map_while(|line| {
            room = room.checked_sub(line.message.len())?;
            Some(line)
        })
        .collect();
    lines.reverse();
    lines
}

impl Runner for HostRunner {
    type Plugin = Plugin;

    fn has_room_for(&self, check: &Check) -> bool {
        check.limits.memory <= self.memory
    }

    async fn run(&self, plugin: &Plugin, check: &Check, memo: Vec<u8>, changes: Arc<Changes>) -> RunOutcome {
        let run = vouchd_plugin::Run {
            check: &check.name,
            params: &check.params,
            grants: &check.grants,
            limits: &check.limits,
            timeout: check.timeout,
            memo,
            exit_codes: check.exit_codes,
        };
        let outcome = self.host.run_watching(plugin, run, &changes).await;
        RunOutcome {
            result: outcome.result,
            duration: outcome.duration,
            cpu: outcome.cpu,
            memory: outcome.memory,
            log: end_of(outcome.log),
            memo: outcome.memo,
            watch: outcome.watch.processes.into_iter().map(|process| process.fd).collect(),
        }
    }
}
