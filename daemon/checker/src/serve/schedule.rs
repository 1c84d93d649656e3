//! When a check runs next. Pure: the caller brings the time and says what happened.
//!
//! Regular runs keep a grid of one interval, so that a late timer does not make the check drift. A run asked for by a
//! change (a watched process ended, a new plugin version came) starts at once and begins a new grid. A run in flight is
//! never doubled: what falls due meanwhile is skipped and counted, and a change during the run leads to one more run.
//! Changes that don't end cause ten runs a second at most, or as many as the fast interval gives.

use std::time::{Duration, Instant};

/// The shortest time between a run and one that a change asks for; what comes earlier waits, and is not lost.
pub const MIN_GAP: Duration = Duration::from_millis(10);

/// The same after a run that a change had asked for already, where the fast interval is not shorter.
const NEXT_GAP: Duration = Duration::from_millis(100);

/// First runs are spread over this time, or over the interval if that is shorter.
const SPREAD: Duration = Duration::from_millis(200);

/// How long the first run of check `index` of `count` waits, so that they don't all start at the same time.
pub fn first_delay(interval: Duration, index: usize, count: usize) -> Duration {
    let share = index as f64 / count.max(1) as f64;
    interval.min(SPREAD).mul_f64(share.min(1.0))
}

/// The timetable of one check.
#[derive(Debug, Clone)]
pub struct Schedule {
    interval: Duration,
    fast_interval: Duration,
    pace: Pace,
    phase: Phase,
}

/// How soon the next regular run comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
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
        /// From `started` to a run that is asked for.
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
    /// The first run is due at `first`. Both intervals are above zero.
    pub fn new(interval: Duration, fast_interval: Duration, first: Instant) -> Self {
        Schedule { interval, fast_interval, pace: Pace::Normal, phase: Phase::First { at: first } }
    }

    /// When the next run starts; none while one is in flight.
    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::First { at } => Some(at),
            Phase::Idle { tick, asked, .. } => {
                let regular = tick + self.period();
                Some(asked.map_or(regular, |asked| asked.min(regular)))
            }
            Phase::Running { .. } => None,
        }
    }

    /// A run starts, because [`Schedule::due`] has come.
    pub fn start(&mut self, now: Instant) {
        let due = self.due().unwrap_or(now);
        // Slightly late: keep the grid. Very late (the whole machine stood still): begin a new one.
        let tick = if now.saturating_duration_since(due) < self.period() { due.min(now) } else { now };
        let was_asked_for = matches!(self.phase, Phase::Idle { asked: Some(_), .. });
        let gap = if was_asked_for { self.fast_interval.clamp(MIN_GAP, NEXT_GAP) } else { MIN_GAP };
        self.phase = Phase::Running { tick, started: now, gap, again: false };
    }

    /// The run in flight has ended. Returns how many regular runs fell due meanwhile and were skipped.
    pub fn finish(&mut self, now: Instant) -> u64 {
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

    /// Something that the check looks at, or its plugin, has changed: run at once.
    pub fn ask(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::First { at } => *at = now.min(*at),
            Phase::Idle { started, gap, asked, .. } => {
                let at = now.max(*started + *gap);
                *asked = Some(asked.map_or(at, |asked| asked.min(at)));
            }
            Phase::Running { again, .. } => *again = true,
        }
    }

    /// The next regular run moves at once: one interval of the new pace after the last.
    pub fn set_pace(&mut self, pace: Pace) {
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

    /// What happens to a schedule, at milliseconds since its making.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Start(u64),
        /// Time, and the expected number of skipped runs.
        Finish(u64, u64),
        Ask(u64),
        SetPace(Pace),
        /// When the next run is due; none: one is in flight.
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
    fn runs_come_when_the_rules_say() {
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
                "changes that don't end are seen ten times a second",
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
    fn first_runs_are_spread_within_the_shorter_of_interval_and_200_ms() {
        let ms = Duration::from_millis;
        for (interval, index, count, expected) in
            [(1000, 0, 4, 0), (1000, 1, 4, 50), (1000, 3, 4, 150), (20, 1, 2, 10), (1000, 0, 0, 0)]
        {
            assert_eq!(first_delay(ms(interval), index, count), ms(expected), "{interval} {index}/{count}");
        }
    }
}
