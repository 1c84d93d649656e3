//! The task of one check: waits for its plugin, runs it when the [`Schedule`] says, and sends each result to the router.
//!
//! Failures are results too. A check without a plugin still "runs", with an error as its result, so that the router counts
//! it like any other run.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::Instrument;
use vouchd_config::Check;
use vouchd_health::RunResult;
use vouchd_plugin::Changes;

use super::availability::Availability;
use super::schedule::{Pace, Schedule};
use super::watched::Watched;
use vouchd_console::logging::SUBJECTS;
use vouchd_health::LogLine;
use vouchd_ipc::pipe::{FromChecker, RunDone};

/// Runs checks.
pub(crate) trait Runner: Clone + Send + Sync + 'static {
    type Plugin: Clone + Send + Sync + 'static;

    /// Whether the check's memory limit fits into the memory that was reserved at the start.
    fn has_room_for(&self, check: &Check) -> bool;

    /// Runs the check once, within its timeout. `memo` is what the last run stored; `changes` records what this run looks
    /// at.
    fn run(
        &self,
        plugin: &Self::Plugin,
        check: &Check,
        memo: Vec<u8>,
        changes: Arc<Changes>,
    ) -> impl Future<Output = RunOutcome> + Send;
}

/// The outcome of a run.
#[derive(Debug)]
pub(crate) struct RunOutcome {
    pub(crate) result: RunResult,
    pub(crate) duration: Duration,
    /// Time in the plugin's code.
    pub(crate) cpu: Duration,
    /// Peak memory of the plugin, in bytes.
    pub(crate) memory: u64,
    pub(crate) log: Vec<LogLine>,
    /// What to store for the next run. `None` keeps what was stored before.
    pub(crate) memo: Option<Vec<u8>>,
    /// Descriptors that become readable when something that the run looked at has ended.
    pub(crate) watch: Vec<OwnedFd>,
}

impl RunOutcome {
    fn without_run(reason: String) -> Self {
        RunOutcome {
            result: RunResult::Error { reason },
            duration: Duration::ZERO,
            cpu: Duration::ZERO,
            memory: 0,
            log: Vec::new(),
            memo: None,
            watch: Vec::new(),
        }
    }
}

/// A check, and the channels of its task.
pub(crate) struct CheckTask<P> {
    pub(crate) check: Check,
    /// Delay of the first run once the plugin is available.
    pub(crate) first_delay: Duration,
    pub(crate) plugin: watch::Receiver<Availability<P>>,
    pub(crate) pace: watch::Receiver<Pace>,
    pub(crate) out: mpsc::Sender<FromChecker>,
}

impl<P: Clone + Send + Sync + 'static> CheckTask<P> {
    /// Runs the check until one of the channels closes, in a span that names the check. The plugin host logs in this span
    /// too.
    pub(crate) async fn run(self, runner: impl Runner<Plugin = P>) {
        let span = tracing::error_span!(target: SUBJECTS, "check", check = %self.check.name);
        self.run_in_span(runner).instrument(span).await;
    }

    async fn run_in_span(mut self, runner: impl Runner<Plugin = P>) {
        if self.plugin.wait_for(|plugin| !matches!(plugin, Availability::Pending)).await.is_err() {
            return;
        }
        let check = &self.check;
        let first = Instant::now() + self.first_delay;
        let mut schedule = Schedule::new(check.interval, check.fast_interval, first);
        let mut memo = Memo::default();
        let mut watched = Watched::default();
        let mut in_flight: Option<Pin<Box<dyn Future<Output = RunOutcome> + Send + '_>>> = None;
        loop {
            tokio::select! {
                () = sleep_until(schedule.due()), if !matches!(*self.plugin.borrow(), Availability::Pending) => {
                    schedule.start(Instant::now());
                    in_flight = Some(match self.plugin.borrow_and_update().clone() {
                        Availability::Available { sha256, .. } if check.sha256.as_ref().is_some_and(|pin| *pin != sha256) => {
                            let reason = not_pinned(check, &sha256);
                            Box::pin(std::future::ready(RunOutcome::without_run(reason)))
                        }
                        Availability::Available { plugin, sha256 } => {
                            let memo = memo.for_version(sha256);
                            let (runner, changes) = (runner.clone(), Arc::clone(watched.changes()));
                            Box::pin(async move { runner.run(&plugin, check, memo, changes).await })
                        }
                        Availability::Unavailable { reason } => Box::pin(std::future::ready(RunOutcome::without_run(reason))),
                        // It has just become pending: the run waits until more is known.
                        Availability::Pending => {
                            schedule.finish(Instant::now());
                            continue;
                        }
                    });
                }
                outcome = finished(&mut in_flight) => {
                    in_flight = None;
                    let now = Instant::now();
                    let skipped = schedule.finish(now);
                    if let Some(bytes) = outcome.memo {
                        memo.bytes = bytes;
                    }
                    if let Err(error) = watched.follow(outcome.watch) {
                        tracing::warn!(
                            "can't watch what the check looks at, so changes are seen only at the next interval: {error}"
                        );
                    }
                    let done = RunDone {
                        check: check.name.clone(),
                        result: outcome.result,
                        duration: outcome.duration,
                        cpu: outcome.cpu,
                        memory: outcome.memory,
                        skipped,
                        next_in: schedule.due().map_or(Duration::ZERO, |due| due.saturating_duration_since(now)),
                        log: outcome.log,
                    };
                    if self.out.send(FromChecker::Run(done)).await.is_err() {
                        return;
                    }
                }
                () = watched.changed() => schedule.ask(Instant::now()),
                changed = self.plugin.changed() => match changed {
                    Ok(()) => schedule.ask(Instant::now()),
                    Err(_) => return,
                },
                changed = self.pace.changed() => match changed {
                    Ok(()) => schedule.set_pace(*self.pace.borrow_and_update()),
                    Err(_) => return,
                },
            }
        }
    }
}

/// Why the loaded version does not run: it is not the one that the check pins.
fn not_pinned(check: &Check, found: &str) -> String {
    let (plugin, pin) = (&check.plugin, check.sha256.as_deref().unwrap_or_default());
    format!(
        "plugin {plugin} is not the file that this check pins: expected sha256 = {pin:?}, found {found:?}; install the \
         expected file, or change sha256 if the new file is right"
    )
}

/// What a check stores between runs. Only the version that wrote it can be trusted to read it.
#[derive(Debug, Default)]
struct Memo {
    bytes: Vec<u8>,
    sha256: String,
}

impl Memo {
    fn for_version(&mut self, sha256: String) -> Vec<u8> {
        if self.sha256 != sha256 {
            *self = Memo { bytes: Vec::new(), sha256 };
        }
        self.bytes.clone()
    }
}

/// Never returns without a time.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// The outcome of the run in flight. Never returns without one.
async fn finished(in_flight: &mut Option<Pin<Box<dyn Future<Output = RunOutcome> + Send + '_>>>) -> RunOutcome {
    match in_flight {
        Some(run) => run.await,
        None => std::future::pending().await,
    }
}
