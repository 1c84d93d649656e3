//! The host: loads plugins and runs them, each run in an instance of its own.

use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use vouchd_blocking::Blocking;
use vouchd_config::{Grants, Limits};
use vouchd_health::{Metric, Report, RunResult, Verdict};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Module, Store};
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::contract::{Context, Plugin as Bindings, PluginPre, offered_version, types};
use crate::engine::{self, Ticker};
use crate::load::cache::{Cache, CacheSettings, hex};
use crate::load::compile::{self, Artefact, Compiler, Form};
use crate::load::{self, Entry, Kind, LoadError, Metadata};
use crate::probes::Probes;
use crate::probes::changes::Changes;
use crate::run::budget::Budget;
use crate::run::command;
use crate::run::failure::{self, MAX_REASON};
use crate::run::meter::{CpuExceeded, Metered};
use crate::run::outcome::{LogLevel, LogLine, Outcome, Run, Watch};
use crate::run::ready::Ready;
use crate::run::state::{MAX_MEMO, RunState, Setting};
use crate::run::turns::{Bell, Cut, Meter, Turns};
use crate::shortage::lacks;
use crate::text::{cut, line, metric_name};

/// A plugin gets this long to start when it is loaded, and as much CPU time as a check may use in a run.
const START_TIME: Duration = Duration::from_secs(5);

/// What the host is doing then, for people.
const STARTING: &str = "starting the plugin";

/// The cache gets this long to read or write a compiled plugin.
const CACHE_TIME: Duration = Duration::from_secs(2);

/// Compiling, where it happens in this process, is deep; the threads of an async runtime may be too small for it.
const COMPILE_STACK: usize = 16 << 20;

const MAX_MESSAGE: usize = 512;
const MAX_METRICS: usize = 64;
const MAX_NAME: usize = 64;

/// What a plugin may hand over in one call, in bytes: elements of a list may all show the same memory, so that a small
/// plugin could have the host copy without end.
const MAX_HANDED_OVER: usize = 4 << 20;

/// How a [`Host`] is made.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// Who makes plugins into native code.
    pub compiler: Compiler,
    /// Where native code is kept. None: nowhere.
    pub cache: Option<CacheSettings>,
    /// The largest `limits.memory` of all checks, in bytes.
    pub max_memory: u64,
    /// The largest `limits.table_elements` of all checks.
    pub max_table_elements: u32,
    /// The largest `limits.cpu` of all checks.
    pub max_cpu: Duration,
    /// Runs at the same time, most of which wait for something; more are not begun.
    pub slots: u32,
}

impl Default for HostSettings {
    fn default() -> Self {
        let limits = Limits::default();
        HostSettings {
            compiler: Compiler::default(),
            cache: None,
            max_memory: limits.memory,
            max_table_elements: limits.table_elements,
            max_cpu: limits.cpu,
            slots: 64,
        }
    }
}

impl HostSettings {
    /// Room for every one of these limits, and at least for the default ones.
    pub fn fitting<'a>(limits: impl IntoIterator<Item = &'a Limits>) -> Self {
        limits.into_iter().fold(HostSettings::default(), |settings, limits| HostSettings {
            max_memory: settings.max_memory.max(limits.memory),
            max_table_elements: settings.max_table_elements.max(limits.table_elements),
            max_cpu: settings.max_cpu.max(limits.cpu),
            ..settings
        })
    }

    /// The same, with plugins compiled in processes of their own.
    pub fn isolated(self) -> Self {
        HostSettings { compiler: Compiler::own_child(), ..self }
    }
}

/// The host could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine can't start: {0}")]
pub struct HostError(String);

/// Loads and runs plugins. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<RunState>,
    core_linker: wasmtime::Linker<RunState>,
    probes: Arc<Probes>,
    /// Who may have an instance.
    instances: Semaphore,
    turns: Turns,
    budget: Arc<Budget>,
    ticker: Ticker,
    /// What the most demanding check may use: a file has to fit into that.
    largest: Limits,
    compiler: Compiler,
    cache: Option<Arc<Cache>>,
    cache_turn: Mutex<()>,
    /// For what may block on the cache's file system.
    aside: Blocking,
}

/// A plugin that is ready to run. Cheap to clone; one that is replaced lives on until its last run has ended.
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>);

struct Loaded {
    ready: Ready,
    kind: Kind,
    origin: Origin,
    sha256: String,
    metadata: Metadata,
    imports: Vec<String>,
    contract: Option<String>,
}

/// Where a plugin's native code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Compiled {
        /// How long that took.
        took: Duration,
    },
    /// It had been compiled before.
    Cached,
}

impl Plugin {
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Of the file's bytes, in lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.0.sha256
    }

    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// The interfaces of the contract that it imports: `http`, `tcp`, `process`, `log`, `memo`, `simple`.
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// The version of the contract that it was built against, `0.1.0`, if it exports the contract's interface.
    pub fn contract(&self) -> Option<&str> {
        self.0.contract.as_deref()
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("kind", &self.0.kind).field("sha256", &self.0.sha256).finish_non_exhaustive()
    }
}

impl Host {
    /// # Errors
    /// If the address space for the plugins' memories can't be reserved, or the machine is not supported.
    pub fn new(settings: HostSettings) -> Result<Host, HostError> {
        let failed = |e: wasmtime::Error| HostError(format!("{e:#}"));
        let settings = HostSettings { slots: settings.slots.clamp(1, 10_000), ..settings };
        let engine = engine::build(&settings).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(failed)?;
        Bindings::add_to_linker::<RunState, HasSelf<RunState>>(&mut linker, |state| state).map_err(failed)?;
        let core_linker = command::linker(&engine).map_err(failed)?;
        let ticker = Ticker::start(&engine).map_err(|e| HostError(e.to_string()))?;
        let cache = settings.cache.map(|settings| Arc::new(Cache::new(settings, &engine)));
        Ok(Host(Arc::new(Inner {
            engine,
            linker,
            core_linker,
            probes: Arc::default(),
            instances: Semaphore::new(settings.slots as usize),
            turns: Turns::new(),
            budget: Budget::of_this_machine(settings.max_memory),
            ticker,
            largest: Limits {
                memory: settings.max_memory,
                table_elements: settings.max_table_elements,
                cpu: settings.max_cpu,
                ..Limits::default()
            },
            compiler: settings.compiler,
            cache,
            cache_turn: Mutex::default(),
            aside: Blocking::default(),
        })))
    }

    /// Compiles a plugin, or takes what was compiled before, and starts it once to see that it can. Blocks, for a minute and
    /// more if the plugin is very big.
    ///
    /// # Errors
    /// If the bytes are not a plugin that can run here.
    pub fn load(&self, bytes: &[u8]) -> Result<Plugin, LoadError> {
        self.load_unless(bytes, &AtomicBool::new(false))
    }

    /// The same, given up soon after `abandon` becomes true, with [`LoadError::Abandoned`]; but not where this process
    /// compiles itself.
    ///
    /// # Errors
    /// If the bytes are not a plugin that can run here, or were given up.
    pub fn load_unless(&self, bytes: &[u8], abandon: &AtomicBool) -> Result<Plugin, LoadError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("plugin-load".to_owned())
                .stack_size(COMPILE_STACK)
                .spawn_scoped(scope, || self.load_here(bytes, abandon))
                .map_err(|e| LoadError::Hindered(format!("the thread that loads it can't be started: {e}")))?;
            // A panic in there would be a bug of a parser, and is this file's problem only.
            thread.join().unwrap_or_else(|_| Err(LoadError::Invalid("the loader gave up on it".to_owned())))
        })
    }

    fn load_here(&self, bytes: &[u8], abandon: &AtomicBool) -> Result<Plugin, LoadError> {
        let sha256 = hex(&Sha256::digest(bytes));
        let (tried, artefact) = match self.cached(&sha256) {
            Some(loaded) => loaded,
            None => self.compiled(bytes, sha256, abandon)?,
        };
        self.try_start(&tried.ready)?;
        // What was started keeps an image of its memory, with a descriptor, for the next time. Most of the plugins in a
        // directory may never run: they are to keep none.
        let Loaded { origin, sha256, .. } = tried;
        Ok(Plugin(Arc::new(self.adopt(&artefact, origin, sha256)?)))
    }

    /// From the cache, if what is there is of use.
    fn cached(&self, sha256: &str) -> Option<(Loaded, Arc<Artefact>)> {
        let wanted = sha256.to_owned();
        let artefact = Arc::new(self.with_cache(move |cache| cache.get(&wanted))??);
        let adopted = self.adopt(&artefact, Origin::Cached, sha256.to_owned());
        adopted
            .inspect_err(|error| {
                if matches!(error, LoadError::Hindered(_)) {
                    return;
                }
                tracing::warn!("a compiled plugin from the cache is not used: {error}; compiling again");
                let unfit = sha256.to_owned();
                self.with_cache(move |cache| cache.remove(&unfit));
            })
            .ok()
            .map(|loaded| (loaded, artefact))
    }

    fn compiled(
        &self,
        bytes: &[u8],
        sha256: String,
        abandon: &AtomicBool,
    ) -> Result<(Loaded, Arc<Artefact>), LoadError> {
        let started = Instant::now();
        let artefact = Arc::new(compile::compile(&self.0.compiler, self.0.largest.memory, bytes, abandon)?);
        let loaded = self.adopt(&artefact, Origin::Compiled { took: started.elapsed() }, sha256)?;
        let (sha256, kept) = (loaded.sha256.clone(), Arc::clone(&artefact));
        self.with_cache(move |cache| cache.put(&sha256, &kept));
        Ok((loaded, artefact))
    }

    /// None if there is no cache, or none that answers: everything works without, only slower to start.
    fn with_cache<T: Send + 'static>(&self, work: impl FnOnce(&Cache) -> T + Send + 'static) -> Option<T> {
        let cache = Arc::clone(self.0.cache.as_ref()?);
        let directory = cache.directory().to_owned();
        // One load after the other, so that what is underway is stuck.
        let _turn = self.0.cache_turn.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.0.aside.wait("cache", &directory, CACHE_TIME, move || work(&cache));
        done.inspect_err(|stuck| tracing::warn!("compiled plugins are neither taken from the cache nor kept: {stuck}"))
            .ok()
    }

    /// Makes native code ready to run.
    fn adopt(&self, artefact: &Artefact, origin: Origin, sha256: String) -> Result<Loaded, LoadError> {
        let engine = &self.0.engine;
        let (kind, ready, imports, contract) = match artefact.head.form {
            Form::Component => {
                // SAFETY: this is what `precompile_component` made: in a process that this one started for that, or before,
                // and unchanged since by the digest of the cache, whose key nobody else has. That it was for an engine
                // with these settings is checked in there.
                let component = unsafe { Component::deserialize(engine, artefact.code()) }.map_err(|e| unfit(&e))?;
                let (entry, imports) = load::check_contract(&component)?;
                let (kind, ready) = self.ready(artefact.head.kind, entry, &component).map_err(contract_error)?;
                (kind, ready, imports, load::built_against(&component))
            }
            Form::Core => {
                // SAFETY: the same, of `precompile_module`.
                let module = unsafe { Module::deserialize(engine, artefact.code()) }.map_err(|e| unfit(&e))?;
                let mut linker = self.0.core_linker.clone();
                let imports = command::link(&mut linker, &module)?;
                let ready = Ready::Core(linker.instantiate_pre(&module).map_err(contract_error)?);
                (artefact.head.kind, ready, imports, None)
            }
        };
        Ok(Loaded { ready, kind, origin, sha256, metadata: artefact.head.metadata.clone(), imports, contract })
    }

    fn ready(&self, kind: Kind, entry: Entry, component: &Component) -> wasmtime::Result<(Kind, Ready)> {
        let pre = self.0.linker.instantiate_pre(component)?;
        Ok(match entry {
            Entry::Checker => (kind, Ready::Checker(PluginPre::new(pre)?)),
            Entry::Program => (Kind::Command, Ready::Component(CommandPre::new(pre)?)),
        })
    }

    /// One throw-away instance, under the limits that a run has.
    fn try_start(&self, ready: &Ready) -> Result<(), LoadError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|e| LoadError::Hindered(lacks(&e, STARTING).unwrap_or_else(|| e.to_string())))?;
        let meter = Meter::new(START_TIME);
        let setting = Setting {
            check: "load",
            grants: &Grants::default(),
            limits: &self.0.largest,
            meter: Arc::clone(&meter),
            share: self.0.budget.share(&Arc::default()),
            memo: Vec::new(),
            changes: None,
            program: ready.program(&[]),
        };
        let mut store = self.store(setting);
        let _tick = self.0.ticker.guard();
        let started = runtime.block_on(async {
            let starting = pin!(ready.try_start(&mut store));
            tokio::time::timeout(START_TIME, Metered::new(starting, &meter, self.0.largest.cpu)).await
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
            Ok(Err(CpuExceeded)) => Err(LoadError::Start(failure::cpu_exceeded(&self.0.largest))),
            Err(_) => Err(LoadError::Start(format!("not done within {} s", START_TIME.as_secs()))),
        }
    }

    fn store(&self, setting: Setting<'_>) -> Store<RunState> {
        let largest = setting.limits.output.max(setting.limits.probe_bytes);
        let largest = usize::try_from(largest).unwrap_or(usize::MAX).saturating_mul(2);
        let mut store = Store::new(&self.0.engine, RunState::new(&self.0.probes, setting));
        store.set_hostcall_fuel(largest.max(MAX_HANDED_OVER));
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        // Giving way each tick is what makes timeouts reach a plugin that computes.
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    /// Runs a plugin once. Never panics and never takes much longer than the run's timeout, whatever the plugin does.
    ///
    /// Must be called within a tokio runtime with timers and I/O.
    pub async fn run(&self, plugin: &Plugin, run: Run<'_>) -> Outcome {
        self.run_noting(plugin, run, None).await
    }

    /// The same for a check that is to know when something changes that its runs looked at.
    pub async fn run_watching(&self, plugin: &Plugin, run: Run<'_>, changes: &Arc<Changes>) -> Outcome {
        self.run_noting(plugin, run, Some(Arc::clone(changes))).await
    }

    async fn run_noting(&self, plugin: &Plugin, run: Run<'_>, changes: Option<Arc<Changes>>) -> Outcome {
        let Ok(Ok(_instance)) = tokio::time::timeout(run.timeout, self.0.instances.acquire()).await else {
            return overloaded("more checks run at the same time than there is room for".to_owned());
        };
        let (meter, bell) = (Meter::new(run.timeout), Arc::new(Bell::default()));
        let setting = Setting {
            check: run.check,
            grants: run.grants,
            limits: run.limits,
            meter: Arc::clone(&meter),
            share: self.0.budget.share(&bell),
            memo: run.memo,
            changes,
            program: plugin.0.ready.program(run.params),
        };
        let mut store = self.store(setting);
        let context = Context {
            name: run.check.to_owned(),
            params: run.params.to_vec(),
            budget_ms: u32::try_from(run.timeout.as_millis()).unwrap_or(u32::MAX),
        };
        let mut instantiation = Duration::ZERO;
        let ended = {
            let _tick = self.0.ticker.guard();
            let call = pin!(plugin.0.ready.call(&mut store, &context, run.exit_codes, &mut instantiation));
            let metered = Metered::new(call, &meter, run.limits.cpu);
            match self.0.turns.pace(run.check, &meter, &bell, metered, |ended| matches!(ended, Ok(Ok(_)))).await {
                Ok(Ok(Ok(answer))) => Ended::Answer(answer),
                Ok(Ok(Err(error))) => Ended::Broken(error),
                Ok(Err(CpuExceeded)) => Ended::CpuExceeded,
                Err(Cut::TimedOut) => Ended::TimedOut,
                Err(Cut::NoTurn) => Ended::NoTurn,
                Err(Cut::Stopped) => Ended::OutOfRoom { total: self.0.budget.total() },
            }
        };
        let (duration, cpu) = (meter.took(), meter.used());
        let state = store.into_data();
        let log = state.lines.take();
        let result = result_of(ended, &state, &log, run.timeout, run.limits);
        let RunState { limiter, memo, probes, watch, .. } = state;
        let memo = match result {
            RunResult::Report(_) => memo.kept,
            RunResult::TimedOut { .. } | RunResult::Error { .. } => None,
        };
        Outcome { result, duration, instantiation, cpu, memory: limiter.memory(), log, memo, probes, watch }
    }
}

/// How a call came back.
enum Ended {
    Answer(Result<types::Report, String>),
    Broken(wasmtime::Error),
    CpuExceeded,
    TimedOut,
    /// Others computed all the time.
    NoTurn,
    /// All plugins together had too much memory, and this one the most.
    OutOfRoom {
        total: u64,
    },
}

fn result_of(ended: Ended, state: &RunState, log: &[LogLine], timeout: Duration, limits: &Limits) -> RunResult {
    let RunState { limiter, memo, denied, waits_for, .. } = state;
    let last_words = || log.iter().rev().find(|l| l.level == LogLevel::Error).map(|l| l.message.as_str());
    match (ended, denied, memo.too_long) {
        (Ended::Answer(Err(text)), Some(denied), _) if !text.contains(denied.as_str()) => {
            error(format!("{}: {denied}", cut(&text, MAX_MESSAGE)))
        }
        // What the plugin made of a refusal, be it a verdict, is not known to be about the service.
        (Ended::Answer(Ok(_)) | Ended::CpuExceeded | Ended::TimedOut, Some(denied), _) => error(denied.clone()),
        (Ended::Answer(Ok(_)), None, Some(length)) => error(format!(
            "the plugin wants to remember {length} bytes, where a memo holds at most {MAX_MEMO}: fix the plugin"
        )),
        (Ended::Answer(Ok(report)), None, None) if size(&report) > limits.output => error(format!(
            "the report has {} bytes where limits.output allows {}; raise limits.output of this check, or fix the plugin",
            size(&report),
            limits.output
        )),
        (Ended::Answer(Ok(report)), None, None) => RunResult::Report(clean(report)),
        (Ended::Answer(Err(text)), _, _) if text.trim().is_empty() => {
            error("the plugin gave up without saying why".to_owned())
        }
        (Ended::Answer(Err(text)), _, _) => error(text),
        (Ended::Broken(broken), _, _) => error(failure::describe(&broken, limiter.hit(), last_words())),
        (Ended::NoTurn, ..) => error(no_turn()),
        (Ended::OutOfRoom { total }, ..) => error(failure::out_of_room(total, limiter.memory())),
        (Ended::CpuExceeded, None, _) => error(failure::cpu_exceeded(limits)),
        // That this host's file system did not answer says nothing about the service.
        (Ended::TimedOut, None, _) if let Some(place) = waits_for => {
            error(format!("the file system of {place} does not answer"))
        }
        (Ended::TimedOut, None, _) => RunResult::TimedOut { after: timeout },
    }
}

fn error(reason: String) -> RunResult {
    RunResult::Error { reason: cut(&reason, MAX_REASON) }
}

fn no_turn() -> String {
    "overloaded: others computed all the time, and this check had no turn within its timeout; make the checks' intervals \
     longer"
        .to_owned()
}

fn overloaded(why: String) -> Outcome {
    Outcome {
        result: error(format!("overloaded: {why}; make the checks' intervals longer")),
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

/// Of a report's texts and numbers, in bytes.
fn size(report: &types::Report) -> u64 {
    let metrics = report.metrics.iter().map(|m| m.name.len() + m.unit.len() + size_of::<f64>());
    (report.message.len() + metrics.sum::<usize>()) as u64
}

/// The report within its bounds.
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

fn contract_error(error: wasmtime::Error) -> LoadError {
    if let Some(words) = failure::hindrance(&error, STARTING) {
        return LoadError::Hindered(words);
    }
    LoadError::Contract(format!("`vouchd:check` {}: {}", offered_version(), line(error)))
}

/// Wasmtime checks the pool's bounds when code is loaded.
fn unfit(error: &wasmtime::Error) -> LoadError {
    if let Some(words) = failure::hindrance(error, STARTING) {
        return LoadError::Hindered(words);
    }
    let text = line(error);
    if text.contains("count of") || text.contains("transitively contains") {
        LoadError::TooMany(text)
    } else if text.contains("exceeds the limit")
        || text.contains("exceeds the configured maximum")
        || text.contains("minimum size")
        || text.contains("does not fit in pooling allocator")
    {
        LoadError::TooBig(text)
    } else {
        LoadError::Compiler(text)
    }
}
