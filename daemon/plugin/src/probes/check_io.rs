//! Probe work that may block on a file system, at the expense of one check.

use tokio::time::Instant;
use vouchd_blocking::Blocking;

use crate::contract::ProbeError;

/// Runs one check's blocking work: a file system that does not answer delays this check alone.
#[derive(Clone)]
pub(crate) struct CheckIo {
    pub(crate) blocking: Blocking,
    pub(crate) check: String,
}

impl CheckIo {
    /// Runs `work`, which may block on the file system of `place`. Not finishing in time is this host's failure, not the
    /// service's.
    pub(crate) async fn at<T: Send + 'static>(
        &self,
        place: &str,
        deadline: Instant,
        work: impl FnOnce() -> Result<T, ProbeError> + Send + 'static,
    ) -> Result<T, ProbeError> {
        let time = deadline.saturating_duration_since(Instant::now());
        let done = self.blocking.run(&self.check, place, time, work).await;
        done.unwrap_or_else(|stuck| Err(ProbeError::Unable(stuck.to_string())))
    }
}
