//! How long an address stays on its interface, and when a command is too late.

use std::time::Duration;

use vouchd_wire::Time;

/// How much longer than its lease an address may stay, for the time between a command and the start of the kernel's
/// timer. Without it, a lease of whole seconds would always lose a second to a few microseconds.
const SLACK: Duration = Duration::from_millis(100);

/// How long an address stays installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// A lease. The kernel itself removes the address in the last whole second before this time (at most 0.1 s after it,
    /// plus up to 0.2 s of the kernel's own), unless another Install renews it.
    /// The kernel's timer stands still while the machine is suspended.
    Until(Time),
    /// Until it is removed. The command is not carried out after `start_before`.
    Forever {
        /// Issuing time plus how long the decision to install may be relied on.
        start_before: Time,
    },
}

impl Lifetime {
    /// The lifetime in seconds to give the kernel at `now`; `u32::MAX` means forever. Never 0, which the kernel rejects.
    pub(crate) fn seconds(self, now: Time) -> Result<u32, Late> {
        match self {
            Self::Until(end) => {
                let left = (end + SLACK).since(now).as_secs();
                match u32::try_from(left).unwrap_or(u32::MAX - 1) {
                    0 => Err(Late { by: now.since(end) }),
                    seconds => Ok(seconds),
                }
            }
            Self::Forever { start_before } => Late::check(start_before, now).map(|()| u32::MAX),
        }
    }

    /// As [`Lifetime::seconds`], for an address that has to come back: at least one second until the very end, since a
    /// lease of one second has less than a whole second left as soon as anything happens in it.
    pub(crate) fn seconds_left(self, now: Time) -> Result<u32, Late> {
        match self {
            Self::Until(end) => Late::check(end, now).map(|()| self.seconds(now).unwrap_or(1)),
            Self::Forever { .. } => self.seconds(now),
        }
    }

    /// Whether an address to which the kernel gave `seconds` no later than at `start` stays longer than it may.
    pub(crate) fn is_exceeded(self, start: Time, seconds: u32) -> bool {
        match self {
            // The kernel's shortest lease is one second.
            Self::Until(end) if seconds <= 1 => start > end + SLACK,
            Self::Until(end) => start + Duration::from_secs(u64::from(seconds)) > end + SLACK,
            Self::Forever { .. } => false,
        }
    }
}

/// A command whose time was over, so that it was not carried out: acting on it would be acting on stale knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("found too late, {by:?} after its time")]
pub struct Late {
    /// How long after its end the command was found; zero when less than a whole second of a lease was left.
    pub by: Duration,
}

impl Late {
    pub(crate) fn check(not_after: Time, now: Time) -> Result<(), Late> {
        if now > not_after { Err(Late { by: now.since(not_after) }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_nanos(1_000_000_000_000);

    #[test]
    fn lease_ends_at_most_the_slack_after_its_end() {
        let lifetime = Lifetime::Until(START + Duration::from_secs(3));
        for (elapsed_ms, expected) in
            [(0, Ok(3)), (99, Ok(3)), (101, Ok(2)), (1_100, Ok(2)), (1_101, Ok(1)), (2_100, Ok(1))]
        {
            assert_eq!(lifetime.seconds(START + Duration::from_millis(elapsed_ms)), expected, "after {elapsed_ms} ms");
        }
    }

    #[test]
    fn lease_with_less_than_a_second_left_is_late() {
        let lifetime = Lifetime::Until(START + Duration::from_secs(3));
        assert_eq!(lifetime.seconds(START + Duration::from_millis(2_101)), Err(Late { by: Duration::ZERO }));
        assert_eq!(
            lifetime.seconds(START + Duration::from_secs(10)),
            Err(Late { by: Duration::from_secs(7) }),
            "a stopped process finds its old command"
        );
    }

    #[test]
    fn unlimited_lifetime_may_not_start_late() {
        let lifetime = Lifetime::Forever { start_before: START };
        assert_eq!(lifetime.seconds(START), Ok(u32::MAX));
        assert_eq!(lifetime.seconds(START + Duration::from_millis(1)), Err(Late { by: Duration::from_millis(1) }));
    }

    #[test]
    fn lease_beyond_the_kernels_range_does_not_become_forever() {
        let lifetime = Lifetime::Until(START + Duration::from_secs(u64::from(u32::MAX) * 2));
        assert_eq!(lifetime.seconds(START), Ok(u32::MAX - 1));
    }
}
