//! How often something may be said or done that others can cause: so often a second, at whatever pace they go.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::time::Instant;

/// Between two messages for the same reason.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Reasons that are told apart. What comes for others at the same time shares a place.
const REASONS: usize = 1024;

/// Lets one message a second pass for each reason, and counts what it leaves out.
///
/// The first message of a reason passes at once. The newest of those that were left out is kept and comes with
/// [`Limiter::overdue`], so that the last word is never missing.
#[derive(Debug)]
pub struct Limiter<K, M> {
    /// `None`: the reasons for which there was no place.
    said: BTreeMap<Option<K>, Said<M>>,
}

#[derive(Debug)]
struct Said<M> {
    at: Instant,
    left_out: u64,
    newest: Option<M>,
}

/// What was left out since the message before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many messages.
    pub count: u64,
    /// In how much time.
    pub within: Duration,
}

/// For the end of a line: nothing, or " (and 41 more in the last 12 s)".
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
        Self { said: BTreeMap::new() }
    }
}

impl<K: Ord, M> Limiter<K, M> {
    /// `message`, if it may pass now.
    pub fn say(&mut self, now: Instant, reason: K, message: M) -> Option<(M, LeftOut)> {
        let mut reason = Some(reason);
        if !self.said.contains_key(&reason) && self.said.len() >= REASONS {
            self.said.retain(|_, said| said.newest.is_some() || now.since(said.at) < PAUSE);
            reason = reason.filter(|_| self.said.len() < REASONS);
        }
        match self.said.get_mut(&reason) {
            None => {
                self.said.insert(reason, Said { at: now, left_out: 0, newest: None });
                Some((message, LeftOut::default()))
            }
            Some(said) if now.since(said.at) >= PAUSE => {
                let left_out = LeftOut { count: said.left_out, within: now.since(said.at) };
                *said = Said { at: now, left_out: 0, newest: None };
                Some((message, left_out))
            }
            Some(said) => {
                said.left_out += 1;
                said.newest = Some(message);
                None
            }
        }
    }

    /// Messages for these reasons that were left out are no news any more: they are counted and not told.
    pub fn outdate(&mut self, reasons: impl Fn(&K) -> bool) {
        let outdated = |reason: &Option<K>| reason.as_ref().is_some_and(&reasons);
        self.said.iter_mut().filter(|(reason, _)| outdated(reason)).for_each(|(_, said)| said.newest = None);
    }

    /// The newest message of each reason that was left out and may pass by now. To be called about once a second.
    pub fn overdue(&mut self, now: Instant) -> Vec<(M, LeftOut)> {
        let mut overdue = Vec::new();
        for said in self.said.values_mut().filter(|said| now.since(said.at) >= PAUSE) {
            if let Some(message) = said.newest.take() {
                let left_out = LeftOut { count: said.left_out - 1, within: now.since(said.at) };
                *said = Said { at: now, left_out: 0, newest: None };
                overdue.push((message, left_out));
            }
        }
        overdue
    }
}

/// Lets `N` things a second happen: never more in any second, wherever it begins.
#[derive(Clone, Copy, Debug)]
pub struct PerSecond<const N: usize> {
    /// When the last ones happened, in a ring.
    times: [Option<Instant>; N],
    oldest: usize,
}

impl<const N: usize> Default for PerSecond<N> {
    fn default() -> Self {
        Self { times: [None; N], oldest: 0 }
    }
}

impl<const N: usize> PerSecond<N> {
    /// Whether one more may happen now; if so, it counts as happened.
    pub fn allow(&mut self, now: Instant) -> bool {
        let allowed = self.next() <= now;
        if allowed && let Some(time) = self.times.get_mut(self.oldest) {
            *time = Some(now);
            self.oldest = (self.oldest + 1) % N;
        }
        allowed
    }

    /// When the next one may happen.
    pub fn next(&self) -> Instant {
        self.times.get(self.oldest).copied().flatten().map_or(Instant::default(), |oldest| oldest + PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos((10_000 + milliseconds) * 1_000_000)
    }

    #[test]
    fn a_flood_is_told_once_a_second_with_what_was_left_out_and_its_last_message_is_not_lost() {
        let mut limiter = Limiter::default();
        let mut told = Vec::new();
        for millisecond in 0..2_500 {
            told.extend(limiter.say(at(millisecond), "why", millisecond));
            told.extend(limiter.say(at(millisecond), "other", 0).filter(|_| millisecond == 0));
        }
        let left_out = |count| LeftOut { count, within: PAUSE };
        assert_eq!(
            told,
            [(0, LeftOut::default()), (0, LeftOut::default()), (1_000, left_out(999)), (2_000, left_out(999)),]
        );
        assert_eq!(limiter.overdue(at(2_999)), []);
        let overdue = limiter.overdue(at(3_000));
        assert!(overdue.contains(&(2_499, left_out(498))), "{overdue:?}");
        assert_eq!(limiter.overdue(at(10_000)), []);
    }

    #[test]
    fn the_count_is_told_with_the_time_in_which_it_was_made() {
        let mut limiter = Limiter::default();
        for millisecond in 0..42 {
            limiter.say(at(millisecond), (), "flood");
        }
        let told = limiter.say(at(12_000), (), "again").map(|(message, left_out)| format!("{message}{left_out}"));
        assert_eq!(told.as_deref(), Some("again (and 41 more in the last 12 s)"));
    }

    #[test]
    fn a_message_that_is_no_news_any_more_is_counted_and_not_told() {
        let mut limiter = Limiter::default();
        for message in ["up", "up again"] {
            limiter.say(at(0), "up", message);
        }
        limiter.outdate(|reason| *reason == "up");
        assert_eq!(limiter.overdue(at(1_000)), []);
        assert_eq!(limiter.say(at(2_000), "up", "up").map(|(_, left_out)| left_out.count), Some(1));
    }

    #[test]
    fn made_up_reasons_neither_fill_the_memory_nor_get_around_the_limit() {
        let mut limiter = Limiter::default();
        let told: usize = (0..6_000u64).filter_map(|reason| limiter.say(at(reason / 6), reason, ())).count();
        assert!(limiter.said.len() <= REASONS + 1);
        assert!(told <= REASONS + 1, "{told} in the first second");
    }

    #[test]
    fn no_second_has_more_than_its_share_wherever_it_begins() {
        let mut answers = PerSecond::<10>::default();
        let times: Vec<u64> = (0..5_000).filter(|millisecond| answers.allow(at(millisecond + 995))).collect();
        assert_eq!(times[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1_000]);
        assert!(times.windows(11).all(|window| window[10] - window[0] >= 1_000));
    }
}
