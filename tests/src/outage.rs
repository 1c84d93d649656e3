//! How long a client went without service.

use std::time::{Duration, Instant};

/// One fetch of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// When it began.
    pub start: Instant,
    /// How long it took.
    pub took: Duration,
    /// The body of an answer with status 200, or the error.
    pub result: Result<String, String>,
}

/// The longest time without service: between the starts of two successive successful fetches, less the `period` at which
/// the client fetches. After the last success, the time until the last fetch counts.
///
/// Only the time after `since` counts, from the last success before it.
pub fn outage(fetches: &[Fetch], period: Duration, since: Instant) -> Duration {
    let mut fetches: Vec<_> = fetches.iter().collect();
    fetches.sort_by_key(|fetch| fetch.start);
    let mut last = since;
    let mut longest = Duration::ZERO;
    for fetch in &fetches {
        let is_last = std::ptr::eq(*fetch, fetches[fetches.len() - 1]);
        if fetch.result.is_err() && !is_last {
            continue;
        }
        if fetch.start >= since {
            longest = longest.max(fetch.start.saturating_duration_since(last));
        }
        last = fetch.start;
    }
    longest.saturating_sub(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(10);

    fn fetches(start: Instant, answers: &str) -> Vec<Fetch> {
        answers
            .chars()
            .zip(0..)
            .map(|(answer, number)| Fetch {
                start: start + PERIOD * number,
                took: Duration::ZERO,
                result: if answer == '+' { Ok("web01".into()) } else { Err("timed out".into()) },
            })
            .collect()
    }

    #[test]
    fn outage_is_the_time_between_two_successes_less_the_period() {
        let start = Instant::now();
        for (answers, expected) in
            [("++++", 0), ("+--+", 20), ("+-+--++", 20), ("++---", 20), ("---+", 20), ("+-----++--+", 50)]
        {
            assert_eq!(outage(&fetches(start, answers), PERIOD, start), Duration::from_millis(expected), "{answers}");
        }
    }

    #[test]
    fn only_the_time_after_since_counts() {
        let start = Instant::now();
        let fetches = fetches(start, "+-----++--+");
        let since = start + PERIOD * 7;
        assert_eq!(outage(&fetches, PERIOD, since), Duration::from_millis(20));
    }
}
