//! The durations of RFC 9568 section 6.1 (version 3) and RFC 3768 section 6.1 (version 2), as pure functions.
//!
//! They are exact to the nanosecond: at 1 cs and priority 254 a Skew_Time is 78 µs, and rounding it to centiseconds would
//! make all priorities equal (conformance row 72).

use std::time::Duration;

use vouchd_wire::{AdvertInterval, Priority, Version};

/// Skew_Time: how much later a router acts the lower its priority is.
///
/// Version 3 scales it with the interval of the active router; in version 2 it is always (256 - priority) / 256 s.
pub fn skew(version: Version, priority: Priority, interval: AdvertInterval) -> Duration {
    let base = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval.duration(),
    };
    base * (256 - u32::from(priority.get())) / 256
}

/// How long a router that called an election waits for a better one before it goes on: its [`skew`], less half of the
/// difference between two neighbouring priorities. Every better peer comes before it, an equal one after it, so that the
/// addresses don't wander between equals.
pub fn election_wait(version: Version, priority: Priority, interval: AdvertInterval) -> Duration {
    // The skew of priority 255 is that of one step.
    skew(version, priority, interval) - skew(version, Priority::OWNER, interval) / 2
}

/// The intervals of silence in Active_Down_Interval in every RFC.
pub const DOWN_TIMER_ADVERTS: u8 = 3;

/// Active_Down_Interval: how long an active router may be silent before it counts as gone. `adverts` is the number of its
/// intervals in it, [`DOWN_TIMER_ADVERTS`] in every RFC.
pub fn down_interval(version: Version, priority: Priority, interval: AdvertInterval, adverts: u8) -> Duration {
    interval.duration() * u32::from(adverts) + skew(version, priority, interval)
}

/// The lifetime of an installed address after its last renewal: the shortest time after which a peer could have taken over,
/// in the kernel's unit of whole seconds, and at least one. A peer may count fewer intervals of silence than this router, so
/// `adverts` makes it shorter, and never longer.
pub fn lease(interval: AdvertInterval, adverts: u8) -> Duration {
    Duration::from_secs((interval.duration() * u32::from(adverts.min(DOWN_TIMER_ADVERTS))).as_secs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn centiseconds(cs: u16) -> AdvertInterval {
        AdvertInterval::from_centiseconds(cs).expect("in range")
    }

    #[test]
    fn row_69_version_3_skew_is_exact_and_decreases_with_priority_at_every_interval() {
        for cs in 1..=4095 {
            let interval = centiseconds(cs);
            let mut previous = Duration::MAX;
            for priority in 1..=254 {
                let skew = skew(Version::V3, Priority::new(priority), interval);
                assert!(skew < previous, "priority {priority}, {cs} cs");
                assert!(skew <= interval.duration());
                previous = skew;
                let exact = (256 - u64::from(priority)) * u64::from(cs) * 10_000_000 / 256;
                assert_eq!(skew, Duration::from_nanos(exact));
            }
        }
    }

    #[test]
    fn row_70_version_2_skew_does_not_depend_on_the_interval() {
        for seconds in [1, 10, 255] {
            let interval = AdvertInterval::from_seconds(seconds).expect("in range");
            let priority = Priority::new(80);
            assert_eq!(skew(Version::V2, priority, interval), Duration::from_micros(687_500));
            assert_eq!(
                down_interval(Version::V2, priority, interval, DOWN_TIMER_ADVERTS),
                Duration::from_secs(3 * u64::from(seconds)) + Duration::from_micros(687_500)
            );
        }
    }

    #[test]
    fn row_72_skews_below_a_centisecond_keep_their_order() {
        let fastest = skew(Version::V3, Priority::HIGHEST, centiseconds(1));
        assert_eq!(fastest, Duration::from_nanos(78_125));
        assert!(skew(Version::V3, Priority::new(253), centiseconds(1)) > fastest);
    }

    #[test]
    fn lease_ends_before_the_fastest_peer_takes_over_unless_that_is_within_a_second() {
        for (interval, seconds) in [(1, 1), (10, 1), (33, 1), (66, 1), (67, 2), (100, 3), (150, 4), (4095, 122)] {
            let lease = |adverts| lease(centiseconds(interval), adverts);
            assert_eq!(lease(DOWN_TIMER_ADVERTS), Duration::from_secs(seconds), "{interval} cs");
            assert_eq!(lease(100), Duration::from_secs(seconds), "a peer may count three intervals, {interval} cs");
            assert_eq!(lease(1), Duration::from_secs((u64::from(interval) / 100).max(1)), "{interval} cs");
        }
    }
}
