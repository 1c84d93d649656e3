//! A value that counts only once it has lasted.

use std::time::Duration;

use vouchd_wire::Time;

/// A value, and the newer one that has not lasted long enough to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debounced<T> {
    counted: T,
    next: Option<(Time, T)>,
}

impl<T: PartialEq> Debounced<T> {
    /// A value that counts at once: nothing is known of before.
    pub fn new(value: T) -> Self {
        Debounced { counted: value, next: None }
    }

    /// Takes a new value, which counts once it has lasted for `delay`; zero: at once. A return to the value that counts
    /// cancels the change.
    pub fn set(&mut self, now: Time, value: T, delay: Duration) {
        if value == self.counted {
            self.next = None;
        } else if self.next.as_ref().is_none_or(|(_, next)| *next != value) {
            self.next = Some((now + delay, value));
        }
        self.settle(now);
    }

    /// Counts the new value if it has lasted. Returns whether that changed the value.
    pub fn settle(&mut self, now: Time) -> bool {
        match self.next.take_if(|(at, _)| *at <= now) {
            Some((_, value)) => {
                self.counted = value;
                true
            }
            None => false,
        }
    }

    /// The value that counts.
    pub fn counted(&self) -> &T {
        &self.counted
    }

    /// When to call [`settle`](Self::settle) next.
    pub fn deadline(&self) -> Option<Time> {
        self.next.as_ref().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(300);

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn value_counts_once_it_has_lasted() {
        let mut value = Debounced::new(true);
        value.set(at(1000), false, DELAY);
        assert_eq!((value.counted(), value.deadline()), (&true, Some(at(1300))));
        // Reported again, it is as old as before.
        value.set(at(1200), false, DELAY);
        assert!(!value.settle(at(1299)));
        assert!(value.settle(at(1300)));
        assert_eq!((value.counted(), value.deadline()), (&false, None));
    }

    #[test]
    fn flap_that_is_shorter_than_the_delay_never_counts() {
        let mut value = Debounced::new(true);
        for start in [1000, 1250, 1500, 1750] {
            value.set(at(start), false, DELAY);
            value.set(at(start + 200), true, DELAY);
            assert_eq!((value.counted(), value.deadline()), (&true, None));
        }
    }

    #[test]
    fn without_a_delay_every_value_counts_at_once() {
        let mut value = Debounced::new(1);
        value.set(at(1), 2, Duration::ZERO);
        assert_eq!((value.counted(), value.deadline()), (&2, None));
    }
}
