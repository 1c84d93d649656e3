//! The probes: what a plugin can learn about the world, each as far as the check's grants reach.
//!
//! Grants are asked about what is really going to be used (a parsed URL, each redirect, a host and port) before anything
//! is sent. Every probe has a deadline of its own within the run's.

mod certificate;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod resolve;
pub(crate) mod stream;
pub(crate) mod tcp;
mod tls;

use std::time::Duration;

use crate::contract::ProbeError;

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
    tokio::time::timeout(time, probe).await.unwrap_or(Err(ProbeError::Timeout))
}

/// A plugin wants to send more than `bound` bytes, or waits for more on one connection.
pub(crate) fn too_many_bytes(bound: usize) -> ProbeError {
    ProbeError::Denied(format!(
        "limits.probe_bytes of this check lets a probe carry at most {bound} bytes each way: raise it, or fix the plugin"
    ))
}

/// What a failed connection or transfer is called in the contract.
pub(crate) fn from_io(error: &std::io::Error) -> ProbeError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => ProbeError::Refused,
        ErrorKind::TimedOut => ProbeError::Timeout,
        _ => ProbeError::Other(error.to_string()),
    }
}

/// The answer of a failed probe, for people.
pub(crate) fn words(error: &ProbeError) -> String {
    match error {
        ProbeError::Denied(what) => format!("denied: {what}"),
        ProbeError::Timeout => "no answer in time".to_owned(),
        ProbeError::Refused => "refused".to_owned(),
        ProbeError::Unresolved => "name does not resolve".to_owned(),
        ProbeError::Tls(what) => format!("TLS: {what}"),
        ProbeError::Invalid(what) | ProbeError::Other(what) => what.clone(),
    }
}
