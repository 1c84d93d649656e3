//! The wasmtime engine: settings that keep plugins small and interruptible, and the ticker that makes a computing
//! plugin give way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::host::HostSettings;

/// A plugin that computes yields this often, so that its deadline can be seen.
const TICK: Duration = Duration::from_millis(10);

/// Instances that may exist besides the running ones: one is being tried out by a load.
const SPARE_SLOTS: u32 = 2;

/// Builds the engine; the settings bound every plugin it can run.
pub(crate) fn build(settings: &HostSettings) -> wasmtime::Result<Engine> {
    let slots = settings.slots + SPARE_SLOTS;
    let max_memory = whole_pages(settings.max_memory);
    // Tight slots: the default reservations (4 GiB a memory) fail on small machines.
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * 16)
        // A heap of collected objects lies in a memory of its own.
        .total_memories(slots * 3)
        .total_gc_heaps(slots)
        .total_tables(slots * 4)
        .total_stacks(slots)
        .total_gc_heaps(slots)
        .max_core_instances_per_component(128)
        .max_memories_per_module(4)
        .max_tables_per_module(4)
        .max_memories_per_component(8)
        .max_tables_per_component(16)
        .max_memory_size(usize::try_from(max_memory)?)
        .table_elements(usize::try_from(settings.max_table_elements)?);
    let mut config = for_code(max_memory);
    config.async_stack_size(1 << 20).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// An engine that compiles for one with the same `max_memory`, and reserves nothing for running.
pub(crate) fn for_compiling(max_memory: u64) -> wasmtime::Result<Engine> {
    Engine::new(&for_code(whole_pages(max_memory)))
}

/// The settings that show in the code: the same for who compiles it and who runs it. Proposals are those of
/// [`offered`](crate::load::proposals::offered): on by default, or named here.
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

/// Advances the engine's epoch while runs are in flight, and sleeps when there are none.
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

    /// The ticker ticks for as long as the guard lives.
    pub(crate) fn guard(&self) -> TickGuard {
        if self.in_flight.fetch_add(1, Ordering::SeqCst) == 0 {
            self.thread.unpark();
        }
        TickGuard { in_flight: Arc::clone(&self.in_flight) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // So that it notices that the engine is gone.
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
