//! The plugin host as the runner sees it.

use std::sync::Arc;

use vouchd_config::Check;
use vouchd_plugin::{Changes, Compiler, Host, HostSettings, Plugin};

use super::loading::Loader;
use super::runner::{Ended, Run};
use vouchd_health::LogLine;
use vouchd_ipc::pipe::{Init, MAX_MESSAGE};

/// Bytes of log text in a message, escaped or not far below its bound.
const MAX_LOG: usize = MAX_MESSAGE / 8;

/// Runs plugins in the host.
#[derive(Clone)]
pub struct Guests {
    host: Host,
    /// What is reserved for each run, in bytes.
    memory: u64,
}

/// Runs at the same time that there is always room for.
const LEAST_SLOTS: usize = 256;

/// Each takes some of the areas that the kernel lets a process have.
const MOST_SLOTS: usize = 4096;

/// What little address space has room for.
const FEW_SLOTS: u32 = 64;

/// A run that waits keeps its place, so there is one for each check, and for those that a reload may bring.
fn slots(checks: usize) -> u32 {
    let slots = (2 * checks).next_power_of_two().clamp(LEAST_SLOTS, MOST_SLOTS);
    u32::try_from(slots).unwrap_or(FEW_SLOTS)
}

/// The host for these checks: it reserves for each run what the hungriest of them may use.
pub fn start(init: &Init, checks: &[Check]) -> anyhow::Result<(Loader<Plugin>, Guests)> {
    start_with(Compiler::own_child(), init, checks)
}

/// The same with plugins compiled as told.
pub fn start_with(compiler: Compiler, init: &Init, checks: &[Check]) -> anyhow::Result<(Loader<Plugin>, Guests)> {
    let fitting = HostSettings::fitting(checks.iter().map(|check| &check.limits));
    let memory = fitting.max_memory;
    let host = |slots| {
        let (compiler, cache) = (compiler.clone(), init.cache.clone());
        Host::new(HostSettings { compiler, cache, slots, ..fitting.clone() })
    };
    let host = host(slots(checks.len())).or_else(|error| {
        tracing::warn!("{error}; trying with room for {FEW_SLOTS} runs at the same time");
        host(FEW_SLOTS)
    })?;
    Ok((Loader::new(host.clone()), Guests { host, memory }))
}

/// What of a run's log is sent to the router, which writes it at `debug`: the end, where the reason for a failure is.
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

impl Run for Guests {
    type Plugin = Plugin;

    fn has_room_for(&self, check: &Check) -> bool {
        check.limits.memory <= self.memory
    }

    async fn run(&self, plugin: &Plugin, check: &Check, memo: Vec<u8>, changes: Arc<Changes>) -> Ended {
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
        Ended {
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
