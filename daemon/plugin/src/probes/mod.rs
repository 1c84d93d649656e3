//! The probes: what a plugin can learn about the world, each as far as the check's grants reach.
//!
//! Grants are asked about what is really going to be used (a parsed URL, each redirect, a host and port) before anything
//! is sent. Every probe has a deadline of its own within the run's.

mod certificate;
mod connect;
mod error;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod network;
mod permission;
pub(crate) mod process;
pub(crate) mod resolve;
pub(crate) mod stream;
pub(crate) mod tcp;
mod tls;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use connect::unanswered;
pub(crate) use error::ProbeError;

/// What all runs share: the process snapshot, TLS settings, kept connections.
#[derive(Default)]
pub(crate) struct Probes {
    pub(crate) processes: process::Processes,
    pub(crate) http: http::Http,
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
