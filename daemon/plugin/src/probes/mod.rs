//! The probes: what a plugin can learn about the world, each as far as the check's grants reach.
//!
//! Grants are asked about what is really going to be used (a parsed URL, each redirect, a host and port) before anything
//! is sent. Every probe has a deadline of its own within the run's.

mod certificate;
pub(crate) mod changes;
mod connect;
#[cfg(test)]
mod endless;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod network;
mod permission;
pub(crate) mod process;
pub(crate) mod resolve;
pub(crate) mod stream;
pub(crate) mod tcp;
mod tls;
mod wire;

use std::time::Duration;

use tokio::time::Instant;

use crate::contract::ProbeError;
pub(crate) use connect::unanswered;
use vouchd_blocking::Blocking;

/// What all runs share: the process snapshot, TLS settings, kept connections.
#[derive(Default)]
pub(crate) struct Probes {
    /// For what may block.
    pub(crate) aside: Blocking,
    pub(crate) processes: process::Processes,
    pub(crate) http: http::Http,
}

/// What may block on a file system, at the expense of one check.
#[derive(Clone)]
pub(crate) struct Looks {
    pub(crate) aside: Blocking,
    pub(crate) check: String,
}

impl Looks {
    /// Does what may block on the file system of a place. That it does not answer is this host's doing.
    pub(crate) async fn at<T: Send + 'static>(
        &self,
        place: &str,
        deadline: Instant,
        work: impl FnOnce() -> Result<T, ProbeError> + Send + 'static,
    ) -> Result<T, ProbeError> {
        let time = deadline.saturating_duration_since(Instant::now());
        let done = self.aside.run(&self.check, place, time, work).await;
        done.unwrap_or_else(|stuck| Err(ProbeError::Unable(stuck.to_string())))
    }
}

/// The longest end of an answer to look for, in bytes: each look begins as far back as it is long.
const MAX_UNTIL: usize = 64 << 10;

/// The end that a plugin waits for; none: whatever comes.
pub(crate) fn checked_end(until: Option<&[u8]>) -> Result<Option<&[u8]>, ProbeError> {
    match until {
        Some([]) | None => Ok(None),
        Some(until) if until.len() > MAX_UNTIL => Err(ProbeError::Invalid(format!(
            "the end to wait for has {} bytes: expected at most {MAX_UNTIL}",
            until.len()
        ))),
        Some(until) => Ok(Some(until)),
    }
}

/// Ends a probe that takes longer than `time`.
pub(crate) async fn within<T>(
    time: Duration,
    probe: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    until(Instant::now() + time, probe).await
}

/// Ends a probe that is not done by then.
pub(crate) async fn until<T>(
    deadline: Instant,
    probe: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    tokio::time::timeout_at(deadline, probe).await.unwrap_or(Err(ProbeError::Timeout))
}

/// More than the check's limit would have to be sent, or has come: what is left of it is not known, so that nothing can be
/// said of the whole.
pub(crate) fn too_many_bytes(bound: usize) -> ProbeError {
    ProbeError::Denied(format!(
        "limits.probe_bytes of this check lets a probe carry at most {bound} bytes each way: raise it, or fix the plugin"
    ))
}
