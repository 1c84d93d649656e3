//! Why a run failed, in an operator's words.

use vouchd_config::Limits;
use wasmtime::{PoolConcurrencyLimitError, ThrownException, Trap};
use wasmtime_wasi::I32Exit;

use super::limiter::LimitHit;
use crate::shortage::{errno_behind, lacking};
use crate::text::cut;

/// Longest reason in bytes: enough for a whole `allow` line.
pub(super) const MAX_REASON: usize = 2048;

/// The reason of a run that got no instance.
pub(super) const OVERLOADED: &str = "overloaded: too many checks run at the same time; make their intervals longer";

/// Describes a failed instantiation or call. `last_words`: the last error that the plugin logged, such as a panic message.
pub(super) fn describe(error: &wasmtime::Error, limit_hit: Option<&LimitHit>, last_words: Option<&str>) -> String {
    if let Some(hit) = error.downcast_ref::<LimitHit>() {
        return hit.to_string();
    }
    if let Some(words) = hindrance(error, "running the plugin") {
        return words;
    }
    // A plugin may survive a failure to grow by collecting garbage. A trap that follows has a reason of its own.
    if let (Some(hit), None) = (limit_hit, error.downcast_ref::<Trap>()) {
        return hit.to_string();
    }
    if error.is::<ThrownException>() {
        return "the plugin threw an exception that nothing in it catches".to_owned();
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return OVERLOADED.to_owned();
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return format!("the plugin exited with status {status} instead of reporting");
    }
    let what = match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => "the plugin panicked or aborted (wasm trap: unreachable)".to_owned(),
        Some(Trap::StackOverflow) => "the plugin recursed too deeply (wasm trap: call stack exhausted)".to_owned(),
        Some(trap) => format!("the plugin crashed ({trap})"),
        None => format!("the plugin broke the contract: {}", error.root_cause()),
    };
    match last_words {
        Some(words) => cut(&format!("{what}; its last words: {words}"), MAX_REASON),
        None => cut(&what, MAX_REASON),
    }
}

/// Describes the error of this host behind `error`, if there is one: it says nothing about the plugin. Instances need
/// descriptors, mappings and memory, any of which may be used up.
pub(super) fn hindrance(error: &wasmtime::Error, doing: &str) -> Option<String> {
    let errno = errno_behind(error)?;
    Some(lacking(errno, doing).unwrap_or_else(|| format!("this host failed at {doing}: {}", errno.desc())))
}

/// Whether instantiating failed because types don't match the contract's. Nothing of the plugin has run then.
pub(super) fn is_mismatch(error: &wasmtime::Error) -> bool {
    !(error.is::<LimitHit>()
        || error.is::<PoolConcurrencyLimitError>()
        || error.is::<I32Exit>()
        || error.is::<Trap>()
        || error.is::<ThrownException>())
}

/// The reason of a run that was ended because the memory of all runs together was used up.
pub(super) fn out_of_budget(total: u64, had: u64) -> String {
    format!(
        "out of memory: all plugins together wanted more than {} MiB, and this run had the most, {} MiB; let fewer such \
         checks run at the same time, or lower their limits.memory",
        total >> 20,
        had >> 20
    )
}

/// The reason of a run that used more CPU time than its limit.
pub(super) fn cpu_exceeded(limits: &Limits) -> String {
    format!(
        "the plugin computed for longer than limits.cpu = {} ms allows; raise limits.cpu of this check, or fix the plugin",
        limits.cpu.as_millis()
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use nix::errno::Errno;

    use super::*;

    #[test]
    fn shortage_of_the_host_is_not_a_breach_of_the_contract() {
        let of_library = wasmtime::Error::from(io::Error::from_raw_os_error(Errno::EMFILE as i32));
        let of_kernel = wasmtime::Error::from(rustix::io::Errno::MFILE);
        for error in [of_library.context("making a memory"), of_kernel.context("mapping it")] {
            for words in [hindrance(&error, "starting it").unwrap(), describe(&error, None, Some("last words"))] {
                assert!(words.starts_with("the checker has no file descriptor left, limit "), "{words}");
            }
        }
        let error = wasmtime::Error::from(rustix::io::Errno::NOMEM);
        assert_eq!(describe(&error, None, None), "this host has no memory left, for running the plugin");
        let error = wasmtime::Error::msg("expected a function of 2 numbers");
        assert_eq!(hindrance(&error, "starting it"), None);
        assert!(describe(&error, None, None).starts_with("the plugin broke the contract"));
    }
}
