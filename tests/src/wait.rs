//! Waiting for a condition with a deadline: the only way in which these tests wait for anything.

use std::time::{Duration, Instant};

use anyhow::bail;

const POLL: Duration = Duration::from_millis(10);

/// Polls `condition` until it returns a value.
///
/// # Errors
/// If that takes longer than `within`; the error names what was awaited.
pub fn eventually<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("timed out after {within:?} waiting for {what}");
        }
        std::thread::sleep(POLL);
    }
}

/// Polls `condition` until it holds.
///
/// # Errors
/// If that takes longer than `within`; the error names what was awaited.
pub fn until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    eventually(what, within, || condition().then_some(()))
}

/// Checks every 10 ms for `during` that `condition` holds: for rules that say that something does not happen.
///
/// # Errors
/// As soon as it does not hold; the error names what should have held.
pub fn holds(what: &str, during: Duration, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < during {
        if !condition() {
            bail!("should hold for {during:?}, but did not after {:?}: {what}", start.elapsed());
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Sleeps until `time`: for tests whose rate of packets is part of the rule.
pub fn sleep_until(time: Instant) {
    std::thread::sleep(time.saturating_duration_since(Instant::now()));
}
