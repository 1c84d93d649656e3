//! Limits per second on what other routers can make this one report or do, however fast they send.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use vouchd_wire::Time;

/// Minimum gap between two messages for the same reason.
pub const MIN_GAP: Duration = Duration::from_secs(1);

/// How many reasons are kept apart; all others share one entry.
const MAX_REASONS: usize = 1024;

/// Admits one message per second for each reason, and counts those that it suppresses.
///
/// The first message for a reason is admitted at once. The newest suppressed one is kept and returned by
/// [`Limiter::overdue`], so that the latest state is always reported.
#[derive(Debug)]
pub struct Limiter<K, M> {
    /// By reason; `None` is the entry that reasons beyond [`MAX_REASONS`] share.
    reasons: BTreeMap<Option<K>, Reported<M>>,
}

/// The last admitted message for a reason, and what was suppressed after it.
#[derive(Debug)]
struct Reported<M> {
    at: Time,
    left_out: u64,
    newest: Option<M>,
}

/// How many messages were suppressed before an admitted one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The number of messages.
    pub count: u64,
    /// The time in which they came.
    pub within: Duration,
}

/// Follows a log line: nothing, or " (and 41 more in the last 12 s)".
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => Ok(()),
            count => write!(f, " (and {count} more in the last {:.0} s)", self.within.as_secs_f64().max(1.0)),
        }
    }
}

impl<K, M> Default for Limiter<K, M> {
    fn default() -> Self {
        Self { reasons: BTreeMap::new() }
    }
}

impl<K: Ord, M> Limiter<K, M> {
    /// Returns `message` if the limit admits it now; else counts and keeps it.
    pub fn admit(&mut self, now: Time, reason: K, message: M) -> Option<(M, LeftOut)> {
        let mut reason = Some(reason);
        if !self.reasons.contains_key(&reason) && self.reasons.len() >= MAX_REASONS {
            self.reasons.retain(|_, entry| entry.newest.is_some() || now.since(entry.at) < MIN_GAP);
            reason = reason.filter(|_| self.reasons.len() < MAX_REASONS);
        }
        match self.reasons.get_mut(&reason) {
            None => {
                self.reasons.insert(reason, Reported { at: now, left_out: 0, newest: None });
                Some((message, LeftOut::default()))
            }
            Some(entry) if now.since(entry.at) >= MIN_GAP => {
                let left_out = LeftOut { count: entry.left_out, within: now.since(entry.at) };
                *entry = Reported { at: now, left_out: 0, newest: None };
                Some((message, left_out))
            }
            Some(entry) => {
                entry.left_out += 1;
                entry.newest = Some(message);
                None
            }
        }
    }

    /// Drops the suppressed messages for these reasons, because they are out of date. They still count.
    pub fn drop_pending(&mut self, reasons: impl Fn(&K) -> bool) {
        let outdated = |reason: &Option<K>| reason.as_ref().is_some_and(&reasons);
        self.reasons.iter_mut().filter(|(reason, _)| outdated(reason)).for_each(|(_, entry)| entry.newest = None);
    }

    /// Returns the newest suppressed message for each reason whose second is over. Call it about once a second.
    pub fn overdue(&mut self, now: Time) -> Vec<(M, LeftOut)> {
        let mut overdue = Vec::new();
        for entry in self.reasons.values_mut().filter(|entry| now.since(entry.at) >= MIN_GAP) {
            if let Some(message) = entry.newest.take() {
                let left_out = LeftOut { count: entry.left_out - 1, within: now.since(entry.at) };
                *entry = Reported { at: now, left_out: 0, newest: None };
                overdue.push((message, left_out));
            }
        }
        overdue
    }
}

/// Allows `N` events per second: at most `N` in any second, wherever it begins.
#[derive(Clone, Copy, Debug)]
pub struct PerSecond<const N: usize> {
    /// When the last `N` happened; a ring.
    times: [Option<Time>; N],
    oldest: usize,
}

impl<const N: usize> Default for PerSecond<N> {
    fn default() -> Self {
        Self { times: [None; N], oldest: 0 }
    }
}

impl<const N: usize> PerSecond<N> {
    /// Whether one more may happen now. If so, it counts.
    pub fn allow(&mut self, now: Time) -> bool {
        let allowed = self.next() <= now;
        if allowed && let Some(time) = self.times.get_mut(self.oldest) {
            *time = Some(now);
            self.oldest = (self.oldest + 1) % N;
        }
        allowed
    }

    /// When the next one may happen.
    pub fn next(&self) -> Time {
        self.times.get(self.oldest).copied().flatten().map_or(Time::default(), |oldest| oldest + MIN_GAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::from_nanos((10_000 + milliseconds) * 1_000_000)
    }

    #[test]
    fn flood_is_reported_once_a_second_with_a_count_and_its_last_message_is_kept() {
        let mut limiter = Limiter::default();
        let mut reported = Vec::new();
        for millisecond in 0..2_500 {
            reported.extend(limiter.admit(at(millisecond), "why", millisecond));
            reported.extend(limiter.admit(at(millisecond), "other", 0).filter(|_| millisecond == 0));
        }
        let left_out = |count| LeftOut { count, within: MIN_GAP };
        assert_eq!(
            reported,
            [(0, LeftOut::default()), (0, LeftOut::default()), (1_000, left_out(999)), (2_000, left_out(999)),]
        );
        assert_eq!(limiter.overdue(at(2_999)), []);
        let overdue = limiter.overdue(at(3_000));
        assert!(overdue.contains(&(2_499, left_out(498))), "{overdue:?}");
        assert_eq!(limiter.overdue(at(10_000)), []);
    }

    #[test]
    fn suppressed_count_comes_with_its_time_span() {
        let mut limiter = Limiter::default();
        for millisecond in 0..42 {
            limiter.admit(at(millisecond), (), "flood");
        }
        let reported = limiter.admit(at(12_000), (), "again").map(|(message, left_out)| format!("{message}{left_out}"));
        assert_eq!(reported.as_deref(), Some("again (and 41 more in the last 12 s)"));
    }

    #[test]
    fn outdated_message_is_counted_but_not_reported() {
        let mut limiter = Limiter::default();
        for message in ["up", "up again"] {
            limiter.admit(at(0), "up", message);
        }
        limiter.drop_pending(|reason| *reason == "up");
        assert_eq!(limiter.overdue(at(1_000)), []);
        assert_eq!(limiter.admit(at(2_000), "up", "up").map(|(_, left_out)| left_out.count), Some(1));
    }

    #[test]
    fn forged_reasons_neither_fill_memory_nor_evade_the_limit() {
        let mut limiter = Limiter::default();
        let reported: usize = (0..6_000u64).filter_map(|reason| limiter.admit(at(reason / 6), reason, ())).count();
        assert!(limiter.reasons.len() <= MAX_REASONS + 1);
        assert!(reported <= MAX_REASONS + 1, "{reported} in the first second");
    }

    #[test]
    fn no_second_exceeds_the_limit_wherever_it_begins() {
        let mut answers = PerSecond::<10>::default();
        let times: Vec<u64> = (0..5_000).filter(|millisecond| answers.allow(at(millisecond + 995))).collect();
        assert_eq!(times[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1_000]);
        assert!(times.windows(11).all(|window| window[10] - window[0] >= 1_000));
    }
}
