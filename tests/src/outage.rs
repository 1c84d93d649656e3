//! What a client had to go without.

use std::time::{Duration, Instant};

/// One fetch of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    pub start: Instant,
    pub took: Duration,
    /// The body of an answer with status 200, or what went wrong.
    pub result: Result<String, String>,
}

/// The longest time without service: between the starts of two successful fetches that follow one another, less the
/// `period` at which the client fetches. The time after the last success counts until the last fetch.
///
/// Only what happened after `since` counts; the last success before it is where that begins.
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
    fn an_outage_is_the_time_between_two_successes_less_the_period() {
        let start = Instant::now();
        for (answers, expected) in
            [("++++", 0), ("+--+", 20), ("+-+--++", 20), ("++---", 20), ("---+", 20), ("+-----++--+", 50)]
        {
            assert_eq!(outage(&fetches(start, answers), PERIOD, start), Duration::from_millis(expected), "{answers}");
        }
    }

    #[test]
    fn only_what_happened_since_counts() {
        let start = Instant::now();
        let fetches = fetches(start, "+-----++--+");
        let since = start + PERIOD * 7;
        assert_eq!(outage(&fetches, PERIOD, since), Duration::from_millis(20));
    }
}
