//! The host: loads plugins, with or without compiling them, and runs them.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use vouchd_blocking::Blocking;
use vouchd_config::Limits;

use crate::engine::{self, PoolBounds};
use crate::load::cache::{Cache, CacheSettings};
use crate::load::compile::{Compiler, compile};
use crate::load::{Artefact, LoadError};
use crate::plugin::{Origin, Plugin};
use crate::probes::changes::Changes;
use crate::run::{Instances, Linked, Linkers, Outcome, Run};
use crate::text::hex;

/// Time for the cache to read or write a compiled plugin.
const CACHE_TIME: Duration = Duration::from_secs(2);

/// Stack of the thread that loads. Compiling in this process recurses deeply, and the threads of an async runtime may be too
/// small for it.
const LOAD_STACK: usize = 16 << 20;

/// How to make a [`Host`].
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// Where plugins are compiled.
    pub compiler: Compiler,
    /// Where native code is kept. `None`: each load compiles.
    pub cache: Option<CacheSettings>,
    /// The largest `limits.memory` of all checks, in bytes.
    pub max_memory: u64,
    /// The largest `limits.table_elements` of all checks.
    pub max_table_elements: u32,
    /// The largest `limits.cpu` of all checks.
    pub max_cpu: Duration,
    /// Runs at the same time, 1 to 10,000. Further runs wait, for as long as their timeout at most.
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
    /// Settings for checks with these limits, or the default ones.
    pub fn fitting<'a>(limits: impl IntoIterator<Item = &'a Limits>) -> Self {
        limits.into_iter().fold(HostSettings::default(), |settings, limits| HostSettings {
            max_memory: settings.max_memory.max(limits.memory),
            max_table_elements: settings.max_table_elements.max(limits.table_elements),
            max_cpu: settings.max_cpu.max(limits.cpu),
            ..settings
        })
    }

    /// The same settings, with each plugin compiled in a child process of this same program.
    pub fn isolated(self) -> Self {
        HostSettings { compiler: Compiler::own_child(), ..self }
    }
}

/// Why a [`Host`] could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine can't start: {0}")]
pub struct HostError(String);

/// Loads and runs plugins. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    linkers: Linkers,
    instances: Instances,
    /// The largest `limits.memory` of all checks, on which native code depends.
    max_memory: u64,
    compiler: Compiler,
    cache: Option<Arc<Cache>>,
    /// Held while the cache works, so that one load waits for it at a time.
    cache_turn: Mutex<()>,
    /// Threads for work that may block on the cache's file system.
    blocking: Blocking,
}

impl Host {
    /// Makes a host.
    ///
    /// # Errors
    /// If the address space for the plugins' memories can't be reserved, or the machine is not supported.
    pub fn new(settings: HostSettings) -> Result<Host, HostError> {
        let failed = |e: wasmtime::Error| HostError(format!("{e:#}"));
        let slots = settings.slots.clamp(1, 10_000);
        let HostSettings { max_memory, max_table_elements, .. } = settings;
        let engine = engine::build(PoolBounds { slots, max_memory, max_table_elements }).map_err(failed)?;
        let linkers = Linkers::new(&engine).map_err(failed)?;
        let largest = Limits {
            memory: max_memory,
            table_elements: max_table_elements,
            cpu: settings.max_cpu,
            ..Limits::default()
        };
        let instances = Instances::new(&engine, slots, largest).map_err(|e| HostError(e.to_string()))?;
        Ok(Host(Arc::new(Inner {
            linkers,
            instances,
            max_memory,
            compiler: settings.compiler,
            cache: settings.cache.map(|settings| Arc::new(Cache::new(settings, &engine))),
            cache_turn: Mutex::default(),
            blocking: Blocking::default(),
        })))
    }

    /// Compiles a plugin or takes it from the cache, and starts it once to see that it can. Blocks: for a minute and more if
    /// a very large plugin has to be compiled.
    ///
    /// # Errors
    /// If the bytes are not a plugin that can run here.
    pub fn load(&self, bytes: &[u8]) -> Result<Plugin, LoadError> {
        self.load_unless(bytes, &AtomicBool::new(false))
    }

    /// Like [`Host::load`], but returns [`LoadError::Abandoned`] soon after `abandon` becomes true. Compiling in this process
    /// ([`Compiler::Here`]) is not interrupted.
    ///
    /// # Errors
    /// If the bytes are not a plugin that can run here, or the load was abandoned.
    pub fn load_unless(&self, bytes: &[u8], abandon: &AtomicBool) -> Result<Plugin, LoadError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("plugin-load".to_owned())
                .stack_size(LOAD_STACK)
                .spawn_scoped(scope, || self.load_here(bytes, abandon))
                .map_err(|e| LoadError::Hindered(format!("the thread that loads it can't be started: {e}")))?;
            // A panic in there is a bug of a parser, and must affect this file only.
            thread.join().unwrap_or(Err(LoadError::Panic))
        })
    }

    fn load_here(&self, bytes: &[u8], abandon: &AtomicBool) -> Result<Plugin, LoadError> {
        let sha256 = hex(&Sha256::digest(bytes));
        let (tried, artefact, origin) = match self.cached(&sha256) {
            Some((linked, artefact)) => (linked, artefact, Origin::Cached),
            None => self.compiled(bytes, &sha256, abandon)?,
        };
        self.0.instances.try_start(&tried.ready)?;
        // What was instantiated keeps an image of its memory, and a descriptor for that, until it is dropped. Most plugins in
        // a directory never run and must not hold these, so the code is linked anew.
        drop(tried);
        let linked = self.0.linkers.link(&artefact)?;
        Ok(Plugin::new(linked, origin, sha256, artefact.head.metadata.clone()))
    }

    /// Takes a plugin from the cache, if there is an entry that the engine accepts.
    fn cached(&self, sha256: &str) -> Option<(Linked, Arc<Artefact>)> {
        let wanted = sha256.to_owned();
        let artefact = Arc::new(self.with_cache(move |cache| cache.get(&wanted))??);
        match self.0.linkers.link(&artefact) {
            Ok(linked) => Some((linked, artefact)),
            Err(LoadError::Hindered(_)) => None,
            Err(error) => {
                tracing::warn!("a compiled plugin from the cache is not used: {error}; compiling again");
                let rejected = sha256.to_owned();
                self.with_cache(move |cache| cache.remove(&rejected));
                None
            }
        }
    }

    fn compiled(
        &self,
        bytes: &[u8],
        sha256: &str,
        abandon: &AtomicBool,
    ) -> Result<(Linked, Arc<Artefact>, Origin), LoadError> {
        let started = Instant::now();
        let artefact = Arc::new(compile(&self.0.compiler, self.0.max_memory, bytes, abandon)?);
        let origin = Origin::Compiled { took: started.elapsed() };
        let linked = self.0.linkers.link(&artefact)?;
        let (sha256, kept) = (sha256.to_owned(), Arc::clone(&artefact));
        self.with_cache(move |cache| cache.put(&sha256, &kept));
        Ok((linked, artefact, origin))
    }

    /// Lets the cache work. `None` if there is no cache, or if its file system does not answer: then each load compiles.
    fn with_cache<T: Send + 'static>(&self, work: impl FnOnce(&Cache) -> T + Send + 'static) -> Option<T> {
        let cache = Arc::clone(self.0.cache.as_ref()?);
        let directory = cache.directory().to_owned();
        // With one load at a time, work that is still under way is stuck.
        let _turn = self.0.cache_turn.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.0.blocking.wait("cache", &directory, CACHE_TIME, move || work(&cache));
        done.inspect_err(|stuck| tracing::warn!("the cache of compiled plugins is not used: {stuck}")).ok()
    }

    /// Runs a plugin once. Never panics, and takes not much longer than the run's timeout, whatever the plugin does.
    ///
    /// Must be called within a tokio runtime with timers and I/O.
    pub async fn run(&self, plugin: &Plugin, run: Run<'_>) -> Outcome {
        self.0.instances.run(plugin.ready(), run, None).await
    }

    /// Like [`Host::run`], for a check that wants to know when something changes that its runs looked at.
    pub async fn run_watching(&self, plugin: &Plugin, run: Run<'_>, changes: &Arc<Changes>) -> Outcome {
        self.0.instances.run(plugin.ready(), run, Some(Arc::clone(changes))).await
    }
}
