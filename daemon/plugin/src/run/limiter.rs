//! The bounds of an instance's memories and tables. Exceeding one is an error that names the limit, not a failed allocation
//! that the plugin would report as a bug of its own.

use wasmtime::ResourceLimiter;

use super::budget::{Exhausted, Share};

/// Core instances: components of some languages consist of many modules.
const MAX_INSTANCES: usize = 128;
const MAX_TABLES: usize = 16;
const MAX_MEMORIES: usize = 8;

/// A limit that the plugin exceeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LimitHit {
    #[error(
        "out of memory: the plugin wanted {} where limits.memory allows {}; raise limits.memory of this check, or fix \
         the plugin", size(*.wanted), size(*.allowed)
    )]
    Memory { wanted: u64, allowed: u64 },
    #[error(
        "the plugin's tables wanted {wanted} elements where limits.table_elements allows {allowed}; raise \
         limits.table_elements of this check, or fix the plugin"
    )]
    Table { wanted: u64, allowed: u64 },
    #[error(
        "out of memory: the {runs} plugins that run now want more than {} together, and this one has the most; let fewer such \
         checks run at the same time, or lower their limits.memory", size(*.total)
    )]
    Budget { total: u64, runs: usize },
}

/// The limits of one run. Each holds for all memories, or tables, of the plugin together.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_limit: u64,
    memory: u64,
    table_limit: u64,
    elements: u64,
    hit: Option<LimitHit>,
    share: Share,
}

impl Limiter {
    pub(super) fn new(memory_limit: u64, table_limit: u64, share: Share) -> Self {
        Limiter { memory_limit, memory: 0, table_limit, elements: 0, hit: None, share }
    }

    /// Bytes of all memories together. Memories never shrink, so this is the peak.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// The limit that was exceeded last, which the plugin may have survived.
    pub(super) fn hit(&self) -> Option<&LimitHit> {
        self.hit.as_ref()
    }

    fn refuse(&mut self, hit: LimitHit) -> wasmtime::Error {
        self.hit = Some(hit.clone());
        wasmtime::Error::new(hit)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.memory.saturating_add(desired.saturating_sub(current) as u64);
        if wanted > self.memory_limit {
            return Err(self.refuse(LimitHit::Memory { wanted, allowed: self.memory_limit }));
        }
        if let Err(Exhausted { total, runs }) = self.share.grow(wanted - self.memory) {
            return Err(self.refuse(LimitHit::Budget { total, runs }));
        }
        self.memory = wanted;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.elements.saturating_add(desired.saturating_sub(current) as u64);
        if wanted > self.table_limit {
            return Err(self.refuse(LimitHit::Table { wanted, allowed: self.table_limit }));
        }
        self.elements = wanted;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{} KiB", bytes.div_ceil(1024)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::budget::Budget;

    fn share() -> Share {
        Budget::new(1 << 30).share(&std::sync::Arc::default())
    }

    #[test]
    fn limit_holds_for_all_memories_together() {
        let mut limiter = Limiter::new(2 << 20, 10, share());
        assert!(limiter.memory_growing(0, 1 << 20, None).is_ok());
        assert!(limiter.memory_growing(0, 1 << 20, None).is_ok());
        assert_eq!(limiter.memory(), 2 << 20);
        let error = limiter.memory_growing(1 << 20, (1 << 20) + 65536, None).unwrap_err();
        assert!(error.to_string().contains("wanted 2112 KiB where limits.memory allows 2 MiB"), "{error}");
        assert_eq!(limiter.memory(), 2 << 20);
    }

    #[test]
    fn limit_holds_for_all_tables_together() {
        let mut limiter = Limiter::new(0, 10, share());
        assert!(limiter.table_growing(0, 6, None).is_ok());
        assert!(limiter.table_growing(0, 5, None).is_err());
        assert_eq!(limiter.hit(), Some(&LimitHit::Table { wanted: 11, allowed: 10 }));
    }
}
