//! The clock of the router: CLOCK_BOOTTIME.
//!
//! It counts the time that the machine is suspended, so that a router that slept through its peers' down interval notices.
//! It does not step when somebody sets the date (conformance row 74).

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use vouchd_wire::Time;

/// Returns the present time: nanoseconds since the machine was booted, suspend included.
pub fn now() -> Time {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux since 2.6.39 has CLOCK_BOOTTIME");
    Time::from_nanos(u64::try_from(Duration::from(now).as_nanos()).unwrap_or(u64::MAX))
}

/// Returns the time since 1970 by the wall clock, for what other machines compare with theirs. It may step.
pub fn wall_clock() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("every Linux has CLOCK_REALTIME");
    Duration::from(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_74_clock_is_that_of_the_boot_which_no_date_changes() {
        let boot = || Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME"));
        let (before, time, after) = (boot(), Duration::from_nanos(now().as_nanos()), boot());
        assert!(before <= time && time <= after, "{before:?} <= {time:?} <= {after:?}");
    }

    #[test]
    fn clock_runs_and_converts_without_loss() {
        let before = now();
        std::thread::sleep(Duration::from_millis(2));
        let after = now();
        assert!(after.since(before) >= Duration::from_millis(2));
        assert_eq!(before.since(after), Duration::ZERO);
        assert_eq!(Time::from_nanos(after.as_nanos()), after);
    }
}
