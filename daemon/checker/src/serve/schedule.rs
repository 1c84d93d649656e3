//! When a check runs next. Pure: the caller passes the time and reports what happened.
//!
//! Regular runs keep to a grid of one interval, so that a late timer does not make the check drift. A run that a change
//! asks for (a watched process has ended, a new plugin version is loaded) starts at once and begins a new grid. Runs of a
//! check never overlap: regular runs that fall due during a run are skipped and counted, and a change during a run leads to
//! one more run. Constant changes cause at most ten runs a second, or as many as the fast interval allows.

use std::time::{Duration, Instant};

/// Minimum time between the starts of a run and of one that a change asks for. An earlier request is delayed.
pub(crate) const MIN_GAP: Duration = Duration::from_millis(10);

/// The same if a change asked for the first run as well, unless the fast interval is shorter.
const NEXT_GAP: Duration = Duration::from_millis(100);

/// The first runs of all checks are spread over this time, or over the interval if that is shorter.
const SPREAD: Duration = Duration::from_millis(200);

/// The delay of the first run of check `index` of `count`, so that not all start at the same time.
pub(crate) fn first_delay(interval: Duration, index: usize, count: usize) -> Duration {
    let share = index as f64 / count.max(1) as f64;
    interval.min(SPREAD).mul_f64(share.min(1.0))
}

/// The timetable of one check.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    interval: Duration,
    fast_interval: Duration,
    pace: Pace,
    phase: Phase,
}

/// Which interval applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Normal,
    /// The status of the check is about to change.
    Fast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    First {
        at: Instant,
    },
    /// `tick` is the grid's last point: the regular run comes one interval later.
    Idle {
        tick: Instant,
        started: Instant,
        /// Minimum time from `started` to a run that a change asks for.
        gap: Duration,
        asked: Option<Instant>,
    },
    Running {
        tick: Instant,
        started: Instant,
        gap: Duration,
        again: bool,
    },
}

impl Schedule {
    /// A schedule whose first run is due at `first`. Both intervals must be above zero.
    pub(crate) fn new(interval: Duration, fast_interval: Duration, first: Instant) -> Self {
        Schedule { interval, fast_interval, pace: Pace::Normal, phase: Phase::First { at: first } }
    }

    /// When the next run is due. `None` during a run.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::First { at } => Some(at),
            Phase::Idle { tick, asked, .. } => {
                let regular = tick + self.period();
                Some(asked.map_or(regular, |asked| asked.min(regular)))
            }
            Phase::Running { .. } => None,
        }
    }

    /// Notes that a run starts because it is due.
    pub(crate) fn start(&mut self, now: Instant) {
        let due = self.due().unwrap_or(now);
        // A late run keeps the grid. After more than a period (the whole machine was suspended), a new grid begins.
        let tick = if now.saturating_duration_since(due) < self.period() { due.min(now) } else { now };
        let was_asked_for = matches!(self.phase, Phase::Idle { asked: Some(_), .. });
        let gap = if was_asked_for { self.fast_interval.clamp(MIN_GAP, NEXT_GAP) } else { MIN_GAP };
        self.phase = Phase::Running { tick, started: now, gap, again: false };
    }

    /// Notes that the run has ended. Returns the number of regular runs that were skipped meanwhile.
    pub(crate) fn finish(&mut self, now: Instant) -> u64 {
        let Phase::Running { mut tick, started, gap, again } = self.phase else { return 0 };
        let mut skipped = 0;
        while tick + self.period() < now {
            tick += self.period();
            skipped += 1;
        }
        let asked = again.then(|| now.max(started + gap));
        self.phase = Phase::Idle { tick, started, gap, asked };
        skipped
    }

    /// Asks for a run at once, since the plugin or something that the check looks at has changed.
    pub(crate) fn ask(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::First { at } => *at = now.min(*at),
            Phase::Idle { started, gap, asked, .. } => {
                let at = now.max(*started + *gap);
                *asked = Some(asked.map_or(at, |asked| asked.min(at)));
            }
            Phase::Running { again, .. } => *again = true,
        }
    }

    /// Changes the pace. The next regular run comes one interval of the new pace after the last.
    pub(crate) fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    fn period(&self) -> Duration {
        match self.pace {
            Pace::Normal => self.interval,
            Pace::Fast => self.fast_interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to a schedule, with the time in milliseconds since its creation.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Start(u64),
        /// Time, and the expected number of skipped runs.
        Finish(u64, u64),
        Ask(u64),
        SetPace(Pace),
        /// When the next run is due. `None` during a run.
        Due(Option<u64>),
    }
    use Step::*;

    /// A check with interval 1000 ms, fast interval 100 ms, first run at 50 ms.
    fn follow(name: &str, steps: &[Step]) {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let mut schedule = Schedule::new(Duration::from_millis(1000), Duration::from_millis(100), at(50));
        for (number, step) in steps.iter().enumerate() {
            match *step {
                Start(ms) => schedule.start(at(ms)),
                Finish(ms, skipped) => {
                    assert_eq!(schedule.finish(at(ms)), skipped, "{name}: step {number}, {step:?}");
                }
                Ask(ms) => schedule.ask(at(ms)),
                SetPace(pace) => schedule.set_pace(pace),
                Due(ms) => assert_eq!(schedule.due(), ms.map(at), "{name}: step {number}, {step:?}"),
            }
        }
    }

    #[test]
    fn runs_are_due_as_the_rules_say() {
        let table: &[(&str, &[Step])] = &[
            ("the first run waits for its share of the spread", &[Due(Some(50))]),
            (
                "then one interval apart",
                &[Start(50), Finish(60, 0), Due(Some(1050)), Start(1050), Finish(1055, 0), Due(Some(2050))],
            ),
            ("a late timer does not shift the grid", &[Start(57), Finish(60, 0), Due(Some(1050))]),
            (
                "a stall does not lead to a burst",
                &[Start(50), Finish(60, 0), Start(9000), Finish(9001, 0), Due(Some(10000))],
            ),
            ("nothing is due while a run is in flight", &[Start(50), Due(None), SetPace(Pace::Fast), Due(None)]),
            ("a long run skips and counts", &[Start(50), Finish(3060, 3), Due(Some(4050))]),
            ("a run that ends with its interval skips nothing", &[Start(50), Finish(1050, 0), Due(Some(1050))]),
            ("fast pace counts from the last run", &[Start(50), Finish(60, 0), SetPace(Pace::Fast), Due(Some(150))]),
            (
                "fast pace may be due in the past: at once",
                &[Start(50), Finish(500, 0), SetPace(Pace::Fast), Due(Some(150))],
            ),
            (
                "back to normal pace",
                &[
                    Start(50),
                    Finish(60, 0),
                    SetPace(Pace::Fast),
                    Start(150),
                    Finish(151, 0),
                    SetPace(Pace::Normal),
                    Due(Some(1150)),
                ],
            ),
            ("a change runs the check at once", &[Start(50), Finish(60, 0), Ask(300), Due(Some(300))]),
            (
                "and begins a new grid",
                &[Start(50), Finish(60, 0), Ask(300), Start(301), Finish(302, 0), Due(Some(1300))],
            ),
            ("a change before the first run", &[Ask(10), Due(Some(10))]),
            ("a change right after a run is delayed, not lost", &[Start(50), Finish(51, 0), Ask(52), Due(Some(60))]),
            (
                "changes in a row are one run",
                &[Start(50), Finish(51, 0), Ask(52), Ask(70), Due(Some(60)), Start(60), Finish(61, 0), Due(Some(1060))],
            ),
            (
                "a change during a run leads to one more",
                &[Start(50), Ask(52), Ask(53), Finish(70, 0), Due(Some(70)), Start(70), Finish(71, 0), Due(Some(1070))],
            ),
            (
                "constant changes cause ten runs a second",
                &[
                    Start(50),
                    Finish(51, 0),
                    Ask(52),
                    Start(60),
                    Finish(61, 0),
                    Ask(62),
                    Due(Some(160)),
                    Start(160),
                    Ask(161),
                    Finish(165, 0),
                    Due(Some(260)),
                ],
            ),
            ("a change during a short run keeps the gap", &[Start(50), Ask(51), Finish(52, 0), Due(Some(60))]),
            (
                "a pending change survives a change of pace",
                &[Start(50), Finish(51, 0), Ask(52), SetPace(Pace::Normal), Due(Some(60))],
            ),
            (
                "a regular run does not wait for a later change",
                &[Start(50), Finish(1049, 0), Ask(1060), Due(Some(1050))],
            ),
        ];
        for (name, steps) in table {
            follow(name, steps);
        }
    }

    #[test]
    fn first_runs_are_spread_over_the_shorter_of_interval_and_200_ms() {
        let ms = Duration::from_millis;
        for (interval, index, count, expected) in
            [(1000, 0, 4, 0), (1000, 1, 4, 50), (1000, 3, 4, 150), (20, 1, 2, 10), (1000, 0, 0, 0)]
        {
            assert_eq!(first_delay(ms(interval), index, count), ms(expected), "{interval} {index}/{count}");
        }
    }
}
