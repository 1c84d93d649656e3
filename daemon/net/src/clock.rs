//! The clock of the router: CLOCK_BOOTTIME.
//!
//! It counts the time that the machine is suspended, so that a router that slept through its peers' down interval notices.
//! It does not step when somebody sets the date (conformance row 74).

use std::ops::Add;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A point in time on CLOCK_BOOTTIME: the time since the machine was booted, suspend included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// What the clock shows now.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux since 2.6.39 has CLOCK_BOOTTIME");
        Self(Duration::from(now))
    }

    /// The point `nanoseconds` after boot.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(Duration::from_nanos(nanoseconds))
    }

    /// Nanoseconds since boot; saturates after 584 years.
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn saturating_since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_runs_and_converts_without_loss() {
        let before = Time::now();
        std::thread::sleep(Duration::from_millis(2));
        let after = Time::now();
        assert!(after.saturating_since(before) >= Duration::from_millis(2));
        assert_eq!(before.saturating_since(after), Duration::ZERO);
        assert_eq!(Time::from_nanos(after.as_nanos()), after);
    }
}
