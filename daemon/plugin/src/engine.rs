//! The wasmtime engine: settings that keep plugins small and interruptible, and the ticker that makes a computing
//! plugin give way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

/// The interval at which a computing plugin yields, so that its deadline is noticed.
const TICK: Duration = Duration::from_millis(10);

/// Instances beyond the running ones: loading a plugin tries it out in one.
const SPARE_SLOTS: u32 = 2;

/// Bounds of the pool that instances come from. They hold for every plugin that the engine runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolBounds {
    /// Instances at the same time.
    pub(crate) slots: u32,
    /// Bytes of one linear memory.
    pub(crate) max_memory: u64,
    /// Elements of one table.
    pub(crate) max_table_elements: u32,
}

/// Builds an engine that runs plugins within `bounds`.
pub(crate) fn build(bounds: PoolBounds) -> wasmtime::Result<Engine> {
    let slots = bounds.slots + SPARE_SLOTS;
    let max_memory = whole_pages(bounds.max_memory);
    // Tight slots: the default reservations (4 GiB a memory) fail on small machines.
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * 16)
        // Each garbage-collected heap takes a memory of its own.
        .total_memories(slots * 3)
        .total_gc_heaps(slots)
        .total_tables(slots * 4)
        .total_stacks(slots)
        .max_core_instances_per_component(128)
        .max_memories_per_module(4)
        .max_tables_per_module(4)
        .max_memories_per_component(8)
        .max_tables_per_component(16)
        .max_memory_size(usize::try_from(max_memory)?)
        .table_elements(usize::try_from(bounds.max_table_elements)?);
    let mut config = for_code(max_memory);
    config.async_stack_size(1 << 20).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// Builds an engine that only compiles, for engines with the same `max_memory`. It reserves no pool.
pub(crate) fn for_compiling(max_memory: u64) -> wasmtime::Result<Engine> {
    Engine::new(&for_code(whole_pages(max_memory)))
}

/// The settings that decide what code is generated: equal in the engine that compiles and in the one that runs. The proposals
/// are on by default or named here; `load::proposals` lists them for messages.
fn for_code(max_memory: u64) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(true)
        .wasm_wide_arithmetic(true)
        .memory_reservation(max_memory)
        .memory_reservation_for_growth(0)
        .memory_guard_size(64 << 10)
        .max_wasm_stack(256 << 10);
    config
}

fn whole_pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(64 << 10)
}

/// A thread that advances the engine's epoch while runs are in flight, and sleeps otherwise.
pub(crate) struct Ticker {
    in_flight: Arc<AtomicUsize>,
    thread: Thread,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let in_flight = Arc::new(AtomicUsize::new(0));
        let (count, engine) = (Arc::clone(&in_flight), engine.weak());
        let handle = thread::Builder::new().name("plugin-ticker".to_owned()).spawn(move || tick(&engine, &count))?;
        Ok(Ticker { in_flight, thread: handle.thread().clone() })
    }

    /// Keeps the ticker awake until the guard is dropped.
    pub(crate) fn guard(&self) -> TickGuard {
        if self.in_flight.fetch_add(1, Ordering::SeqCst) == 0 {
            self.thread.unpark();
        }
        TickGuard { in_flight: Arc::clone(&self.in_flight) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // Wakes the thread, which ends once the engine is gone.
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

pub(crate) struct TickGuard {
    in_flight: Arc<AtomicUsize>,
}

impl Drop for TickGuard {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(engine: &EngineWeak, in_flight: &AtomicUsize) {
    loop {
        if in_flight.load(Ordering::SeqCst) == 0 {
            thread::park();
            continue;
        }
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        drop(engine);
        thread::sleep(TICK);
    }
}
