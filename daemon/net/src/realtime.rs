//! Measures against delays: memory that is never swapped out, and a thread that runs before ordinary ones.
//!
//! The router works without them, too, so each error says what is missing, for a warning.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

/// Why memory is not locked or a priority is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// The memory limit is finite: with all future memory locked, an allocation would fail one day and end the process.
    #[error(
        "memory is not locked: the limit is {limit} bytes; give the capability CAP_IPC_LOCK or LimitMEMLOCK=infinity"
    )]
    MemoryLimit {
        /// RLIMIT_MEMLOCK.
        limit: u64,
    },
    /// The kernel does not permit the priority.
    #[error(
        "no real-time priority {priority}: the limit is {limit}; give the capability CAP_SYS_NICE or LimitRTPRIO={priority}"
    )]
    PriorityLimit {
        /// The requested priority.
        priority: u8,
        /// RLIMIT_RTPRIO.
        limit: u64,
    },
    /// Any other error of the kernel.
    #[error("{what}: {error}")]
    Kernel {
        /// The request.
        what: &'static str,
        /// The error.
        error: Errno,
    },
}

/// Keeps all memory of the process in RAM from its first use on. Memory that is only reserved takes none.
///
/// # Errors
/// Without CAP_IPC_LOCK and under a finite RLIMIT_MEMLOCK.
pub fn lock_memory() -> Result<(), NotGranted> {
    let limit = limit(Resource::RLIMIT_MEMLOCK);
    if limit != libc::RLIM_INFINITY && !may_lock_beyond_limit() {
        return Err(NotGranted::MemoryLimit { limit });
    }
    // SAFETY: takes no pointer.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    match Errno::result(result) {
        Ok(_) => Ok(()),
        Err(Errno::EPERM | Errno::ENOMEM | Errno::EAGAIN) => Err(NotGranted::MemoryLimit { limit }),
        Err(error) => Err(NotGranted::Kernel { what: "locking memory", error }),
    }
}

/// Lets the calling thread run before all ordinary threads (SCHED_RR), at a priority of 1..=99. Threads and processes
/// that it starts are ordinary ones.
///
/// RLIMIT_RTTIME stays as it is: its signal would end a busy router. The kernel itself holds a spinning thread back
/// (`sched_rt_runtime_us`, by default 5 % of the time is left for others).
///
/// # Errors
/// Without CAP_SYS_NICE and under a lower RLIMIT_RTPRIO.
pub fn real_time(priority: u8) -> Result<(), NotGranted> {
    // SAFETY: all zeros is a valid sched_param; some C libraries have more fields in it than the priority.
    let mut parameter: libc::sched_param = unsafe { std::mem::zeroed() };
    parameter.sched_priority = i32::from(priority);
    // SAFETY: the pointer is valid through the call; 0 is the calling thread.
    let result =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameter) };
    match Errno::result(result) {
        Ok(_) => Ok(()),
        Err(Errno::EPERM) => Err(NotGranted::PriorityLimit { priority, limit: limit(Resource::RLIMIT_RTPRIO) }),
        Err(error) => Err(NotGranted::Kernel { what: "asking for real-time priority", error }),
    }
}

fn limit(resource: Resource) -> u64 {
    // It fails only for a resource that the kernel does not know, which then has no limit.
    getrlimit(resource).map_or(libc::RLIM_INFINITY, |(soft, _)| soft)
}

/// Whether the process has CAP_IPC_LOCK.
fn may_lock_beyond_limit() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective_capabilities(&status).is_some_and(|capabilities| capabilities & (1 << CAP_IPC_LOCK) != 0)
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(value.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        assert_eq!(effective_capabilities("Name:\tx\nCapEff:\t0000000000004000\n"), Some(1 << 14));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn priority_out_of_range_is_an_error_and_the_thread_goes_on() {
        assert_eq!(
            real_time(0),
            Err(NotGranted::Kernel { what: "asking for real-time priority", error: Errno::EINVAL })
        );
    }

    #[test]
    fn refused_priority_says_what_to_grant() {
        match std::thread::spawn(|| real_time(10)).join().unwrap() {
            // Permitted: no error to look at.
            Ok(()) => {}
            Err(error) => assert!(error.to_string().contains("LimitRTPRIO=10"), "{error}"),
        }
    }
}
