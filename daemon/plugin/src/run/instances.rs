//! The instances of plugins: one for each run, and one to try out each plugin that is loaded.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use vouchd_config::{Grants, Limits};
use vouchd_health::RunResult;
use wasmtime::{Engine, Store};

use super::budget::Budget;
use super::failure;
use super::meter::{CpuExceeded, Meter, Metered};
use super::outcome::{Outcome, Run};
use super::ready::Ready;
use super::result::{RunEnd, no_instance, result_of};
use super::state::{RunState, Setting};
use super::turns::{Interruption, Turns};
use super::waker::RunWaker;
use crate::contract::Context;
use crate::engine::Ticker;
use crate::load::LoadError;
use crate::probes::Probes;
use crate::probes::changes::Changes;
use crate::shortage::lacks;

/// Wall-clock time for trying out a plugin. Its CPU time is bounded by the largest `limits.cpu`.
const START_TIME: Duration = Duration::from_secs(5);

/// What this host is doing then, for messages.
const STARTING: &str = "starting the plugin";

/// Bytes that a plugin may pass in one call, at least. The elements of a list may share memory, so a small plugin could
/// otherwise make the host copy without end.
const MAX_PASSED: usize = 4 << 20;

/// Makes instances, and bounds what all of them together use.
pub(crate) struct Instances {
    engine: Engine,
    probes: Arc<Probes>,
    /// Permits to have an instance.
    permits: Semaphore,
    turns: Turns,
    budget: Arc<Budget>,
    ticker: Ticker,
    /// The largest limits of all checks, under which plugins are tried out.
    largest: Limits,
}

impl Instances {
    /// At most `slots` runs at the same time.
    pub(crate) fn new(engine: &Engine, slots: u32, largest: Limits) -> std::io::Result<Self> {
        Ok(Instances {
            engine: engine.clone(),
            probes: Arc::default(),
            permits: Semaphore::new(slots as usize),
            turns: Turns::new(),
            budget: Budget::of_this_machine(largest.memory),
            ticker: Ticker::start(engine)?,
            largest,
        })
    }

    /// Makes one instance under the limits of a run, and drops it. Blocks.
    pub(crate) fn try_start(&self, ready: &Ready) -> Result<(), LoadError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|e| LoadError::Hindered(lacks(&e, STARTING).unwrap_or_else(|| e.to_string())))?;
        let meter = Meter::new(START_TIME);
        let setting = Setting {
            check: "load",
            grants: &Grants::default(),
            limits: &self.largest,
            meter: Arc::clone(&meter),
            share: self.budget.share(&Arc::default()),
            memo: Vec::new(),
            changes: None,
            command: ready.command(&[]),
        };
        let mut store = self.store(setting);
        let _tick = self.ticker.guard();
        let started = runtime.block_on(async {
            let starting = pin!(ready.try_start(&mut store));
            tokio::time::timeout(START_TIME, Metered::new(starting, &meter, self.largest.cpu)).await
        });
        match started {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) if let Some(words) = failure::hindrance(&error, STARTING) => {
                Err(LoadError::Hindered(words))
            }
            // Types are compared when an instance is made.
            Ok(Ok(Err(error))) if failure::is_mismatch(&error) => {
                Err(LoadError::Contract(error.root_cause().to_string()))
            }
            Ok(Ok(Err(error))) => Err(LoadError::Start(failure::describe(&error, store.data().limiter.hit(), None))),
            Ok(Err(CpuExceeded)) => Err(LoadError::Start(failure::cpu_exceeded(&self.largest))),
            Err(_) => Err(LoadError::Start(format!("not done within {} s", START_TIME.as_secs()))),
        }
    }

    fn store(&self, setting: Setting<'_>) -> Store<RunState> {
        let largest = setting.limits.output.max(setting.limits.probe_bytes);
        let largest = usize::try_from(largest).unwrap_or(usize::MAX).saturating_mul(2);
        let mut store = Store::new(&self.engine, RunState::new(&self.probes, setting));
        store.set_hostcall_fuel(largest.max(MAX_PASSED));
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        // A plugin that computes yields at each tick, so that its timeout is noticed.
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    /// Carries out one run in an instance of its own. `changes` notes what the run looks at.
    pub(crate) async fn run(&self, ready: &Ready, run: Run<'_>, changes: Option<Arc<Changes>>) -> Outcome {
        let Ok(Ok(_permit)) = tokio::time::timeout(run.timeout, self.permits.acquire()).await else {
            return no_instance();
        };
        let (meter, waker) = (Meter::new(run.timeout), Arc::new(RunWaker::default()));
        let setting = Setting {
            check: run.check,
            grants: run.grants,
            limits: run.limits,
            meter: Arc::clone(&meter),
            share: self.budget.share(&waker),
            memo: run.memo,
            changes,
            command: ready.command(run.params),
        };
        let mut store = self.store(setting);
        let context = Context {
            name: run.check.to_owned(),
            params: run.params.to_vec(),
            budget_ms: u32::try_from(run.timeout.as_millis()).unwrap_or(u32::MAX),
        };
        let mut instantiation = Duration::ZERO;
        let end = {
            let _tick = self.ticker.guard();
            let call = pin!(ready.call(&mut store, &context, run.exit_codes, &mut instantiation));
            let metered = Metered::new(call, &meter, run.limits.cpu);
            match self.turns.pace(run.check, &meter, &waker, metered, |ended| matches!(ended, Ok(Ok(_)))).await {
                Ok(Ok(Ok(answer))) => RunEnd::Answer(answer),
                Ok(Ok(Err(error))) => RunEnd::Broken(error),
                Ok(Err(CpuExceeded)) => RunEnd::CpuExceeded,
                Err(Interruption::TimedOut) => RunEnd::TimedOut,
                Err(Interruption::NoTurn) => RunEnd::NoTurn,
                Err(Interruption::Stopped) => RunEnd::OutOfBudget { total: self.budget.total() },
            }
        };
        let (duration, cpu) = (meter.took(), meter.used());
        let state = store.into_data();
        let log = state.lines.take();
        let result = result_of(end, &state, &log, run.timeout, run.limits);
        let RunState { limiter, memo, probes, watch, .. } = state;
        let memo = match result {
            RunResult::Report(_) => memo.kept,
            RunResult::TimedOut { .. } | RunResult::Error { .. } => None,
        };
        Outcome { result, duration, instantiation, cpu, memory: limiter.memory(), log, memo, probes, watch }
    }
}
