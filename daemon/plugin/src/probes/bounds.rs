//! How long a probe may take, and how much it may carry.

use std::time::Duration;

use crate::contract::ProbeError;
use tokio::time::Instant;

/// The longest delimiter in bytes: each search starts over as far back as the delimiter is long.
const MAX_DELIMITER: usize = 64 << 10;

/// Checks the delimiter that a plugin waits for. `None` (also for an empty one) accepts whatever arrives.
pub(super) fn checked_delimiter(until: Option<&[u8]>) -> Result<Option<&[u8]>, ProbeError> {
    match until {
        Some([]) | None => Ok(None),
        Some(until) if until.len() > MAX_DELIMITER => Err(ProbeError::Invalid(format!(
            "the end to wait for has {} bytes: expected at most {MAX_DELIMITER}",
            until.len()
        ))),
        Some(until) => Ok(Some(until)),
    }
}

/// Times out a probe after `time`.
pub(super) async fn within<T>(
    time: Duration,
    probe: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    until(Instant::now() + time, probe).await
}

/// Times out a probe at `deadline`.
pub(super) async fn until<T>(
    deadline: Instant,
    probe: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    tokio::time::timeout_at(deadline, probe).await.unwrap_or(Err(ProbeError::Timeout))
}

/// The check's limit would have to be exceeded. The rest of the data is unknown, so the whole can't be judged.
pub(super) fn too_many_bytes(bound: usize) -> ProbeError {
    ProbeError::Denied(format!(
        "limits.probe_bytes of this check lets a probe carry at most {bound} bytes each way: raise it, or fix the plugin"
    ))
}
