//! What the process that asks for native code and the child that compiles agree on.

use std::time::Duration;

/// What compiling one plugin may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// CPU time, in whole seconds.
    pub cpu: Duration,
    /// Wall-clock time. After a second the child has the lowest priority, so that on a busy machine it needs more of this.
    pub wall: Duration,
    /// Memory in bytes.
    pub memory: u64,
}

impl Default for CompileLimits {
    /// More than twice what the largest interpreter that is known to come as a plugin needs (Python, 19 MB): 400 MB and 20 s.
    fn default() -> Self {
        CompileLimits { cpu: Duration::from_secs(60), wall: Duration::from_secs(180), memory: 1 << 30 }
    }
}

/// The arguments of the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileJob {
    /// Process id of the parent: the child does not outlive it.
    pub parent: u32,
    /// The largest `limits.memory` of the checks in bytes: native code depends on it.
    pub max_memory: u64,
    /// Memory for compiling in bytes.
    pub memory: u64,
    /// CPU time in seconds.
    pub cpu: u64,
}

/// Bytes that the child may write to one file: an artefact is three to four times as large as its plugin.
pub(super) const MAX_OUTPUT: u64 = 512 << 20;

/// The exit status of a child that is out of memory: it may be unable to say more.
pub(super) const OUT_OF_MEMORY: u8 = 77;

/// For [`CompileJob::cpu`]: whole seconds, at least one.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs().max(1)
}
