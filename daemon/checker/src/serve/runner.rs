//! One check: waits for its plugin, runs it when the [`Schedule`] says, and tells the router how each run ended.
//!
//! Whatever goes wrong is a result too. A check without a plugin still "runs", with an error as its result, so that the
//! router counts it like any other.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use vouchd_config::Check;
use vouchd_health::RunResult;
use vouchd_plugin::Changes;

use super::schedule::{Pace, Schedule};
use super::watch::Watched;
use vouchd_health::LogLine;
use vouchd_ipc::pipe::{FromChecker, RunDone};

/// What runs plugins.
pub trait Run: Clone + Send + Sync + 'static {
    type Plugin: Clone + Send + Sync + 'static;

    /// Whether there is room for what the check may use.
    fn has_room_for(&self, check: &Check) -> bool;

    /// One run, ended within the check's timeout. `memo` is what the last run left, `changes` takes what this one looks at.
    fn run(
        &self,
        plugin: &Self::Plugin,
        check: &Check,
        memo: Vec<u8>,
        changes: Arc<Changes>,
    ) -> impl Future<Output = Ended> + Send;
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub result: RunResult,
    pub duration: Duration,
    /// Time in the plugin's own code.
    pub cpu: Duration,
    /// Peak of the plugin's memory in bytes.
    pub memory: u64,
    pub log: Vec<LogLine>,
    /// What to keep for the next run; none: what was there.
    pub memo: Option<Vec<u8>>,
    /// Become readable when something that the run looked at has ended.
    pub watch: Vec<OwnedFd>,
}

impl Ended {
    fn without_run(reason: String) -> Self {
        Ended {
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

/// What is known about a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot<P> {
    /// There is a file, of which it is not known yet what becomes of it; checks wait.
    Pending,
    Present {
        plugin: P,
        sha256: String,
    },
    /// Why there is none.
    Absent {
        reason: String,
    },
}

/// What one check follows.
pub struct Follow<P> {
    pub check: Check,
    /// How long the first run waits once the plugin is there.
    pub first_delay: Duration,
    pub slot: watch::Receiver<Slot<P>>,
    pub pace: watch::Receiver<Pace>,
    pub out: mpsc::Sender<FromChecker>,
}

impl<P: Clone + Send + Sync + 'static> Follow<P> {
    /// Runs the check until one of the channels closes.
    pub async fn run(mut self, runner: impl Run<Plugin = P>) {
        if self.slot.wait_for(|slot| !matches!(slot, Slot::Pending)).await.is_err() {
            return;
        }
        let check = &self.check;
        let first = Instant::now() + self.first_delay;
        let mut schedule = Schedule::new(check.interval, check.fast_interval, first);
        let mut memo = Memo::default();
        let mut watched = Watched::default();
        let mut in_flight: Option<Pin<Box<dyn Future<Output = Ended> + Send + '_>>> = None;
        loop {
            tokio::select! {
                () = sleep_until(schedule.due()), if !matches!(*self.slot.borrow(), Slot::Pending) => {
                    schedule.start(Instant::now());
                    in_flight = Some(match self.slot.borrow_and_update().clone() {
                        Slot::Present { sha256, .. } if check.sha256.as_ref().is_some_and(|pin| *pin != sha256) => {
                            let reason = not_pinned(check, &sha256);
                            Box::pin(std::future::ready(Ended::without_run(reason)))
                        }
                        Slot::Present { plugin, sha256 } => {
                            let memo = memo.for_version(sha256);
                            let (runner, changes) = (runner.clone(), Arc::clone(watched.changes()));
                            Box::pin(async move { runner.run(&plugin, check, memo, changes).await })
                        }
                        Slot::Absent { reason } => Box::pin(std::future::ready(Ended::without_run(reason))),
                        // Since just now: the run is put off until more is known.
                        Slot::Pending => {
                            schedule.finish(Instant::now());
                            continue;
                        }
                    });
                }
                ended = finished(&mut in_flight) => {
                    in_flight = None;
                    let now = Instant::now();
                    let skipped = schedule.finish(now);
                    if let Some(bytes) = ended.memo {
                        memo.bytes = bytes;
                    }
                    if let Err(error) = watched.follow(ended.watch) {
                        tracing::warn!(check = check.name, "changes are seen at the next interval only: {error}");
                    }
                    let done = RunDone {
                        check: check.name.clone(),
                        result: ended.result,
                        duration: ended.duration,
                        cpu: ended.cpu,
                        memory: ended.memory,
                        skipped,
                        next_in: schedule.due().map_or(Duration::ZERO, |due| due.saturating_duration_since(now)),
                        log: ended.log,
                    };
                    if self.out.send(FromChecker::Run(done)).await.is_err() {
                        return;
                    }
                }
                () = watched.changed() => schedule.ask(Instant::now()),
                changed = self.slot.changed() => match changed {
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

/// Why a version does not run that the check does not name.
fn not_pinned(check: &Check, found: &str) -> String {
    let (plugin, pin) = (&check.plugin, check.sha256.as_deref().unwrap_or_default());
    format!(
        "plugin {plugin} is not the file that this check names: expected sha256 = {pin:?}, found {found:?}; install the \
         expected file, or write what was found if it is meant"
    )
}

/// What the runs of a check remember. Only the version that wrote it can be trusted to read it.
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

/// Never returns if there is no time.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Never returns if no run is in flight.
async fn finished(in_flight: &mut Option<Pin<Box<dyn Future<Output = Ended> + Send + '_>>>) -> Ended {
    match in_flight {
        Some(run) => run.await,
        None => std::future::pending().await,
    }
}
