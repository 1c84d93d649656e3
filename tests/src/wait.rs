//! Waiting for a condition with a deadline: the only way in which these tests wait for something.

use std::time::{Duration, Instant};

use anyhow::bail;

const POLL: Duration = Duration::from_millis(10);

/// Polls `condition` until it gives a value.
///
/// # Errors
/// When it gave none `within` the time; the error says what was waited for.
pub fn eventually<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {within:?} in vain for: {what}");
        }
        std::thread::sleep(POLL);
    }
}

/// Polls `condition` until it holds; like [`eventually`].
///
/// # Errors
/// When it did not hold `within` the time.
pub fn until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    eventually(what, within, || condition().then_some(()))
}

/// Checks `condition` all the time for `during`.
///
/// # Errors
/// As soon as it does not hold; the error says what should have held.
pub fn holds(what: &str, during: Duration, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < during {
        if !condition() {
            bail!("for {during:?} this should have held, but not after {:?}: {what}", start.elapsed());
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}
