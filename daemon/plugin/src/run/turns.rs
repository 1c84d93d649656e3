//! Who may compute when.
//!
//! A run that waits, for the network or a file, costs nothing but its memory. One that computes gives way each tick; but
//! many of them together would have everybody wait in a long row. So only a few compute at a time, and the others wait for
//! their turn. A run that needs next to nothing waits for none: it is through before anybody would notice.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// What a run may compute without a turn.
const FREE: Duration = Duration::from_millis(10);

/// A turn ends after this much computing: the next waits.
const TURN: Duration = Duration::from_millis(500);

/// Turns at the same time, of each kind of check.
const AT_ONCE: usize = 2;

/// More checks than this are forgotten together, and are known again after a run each.
const MAX_KNOWN: usize = 10_000;

/// The turns of all checks. Those that compute and come to no answer have turns of their own, so that the others need not
/// wait for them.
pub(crate) struct Turns {
    modest: Semaphore,
    greedy: Semaphore,
    /// Checks that took turns in their last run.
    known: Mutex<HashMap<String, Kind>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its last run came to an answer.
    Modest,
    Greedy,
}

/// How a paced run ended, beside by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It took longer than it may, not counting what it waited for turns.
    TimedOut,
    /// It waited for turns for as long as a run may take.
    NoTurn,
    /// It was put an end to from outside.
    Stopped,
}

/// Rings when a run has something to do, or is to be stopped.
#[derive(Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    stopped: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Bell {
    /// Ends the run at its next poll.
    pub(crate) fn stop(self: &Arc<Self>) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake_by_ref();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Returns once it has rung since the last poll of the run.
    async fn rings(&self) {
        poll_fn(|cx| {
            self.listen(cx);
            if self.rung.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn listen(&self, context: &Context<'_>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        task.into_iter().for_each(Waker::wake);
    }
}

/// What a poll of a run has led to.
enum Step<T> {
    Done(T),
    /// It has something to do, and is to take turns from now on or has had one for long enough.
    NextTurn,
    /// It waits for something.
    Waits,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Turns { modest: Semaphore::new(AT_ONCE), greedy: Semaphore::new(AT_ONCE), known: Mutex::default() }
    }

    /// Runs `run` of a check, which adds what it computes to the meter, to its end. Waiting for turns says nothing about
    /// what is checked and does not count as the run's time, but is not longer than that either.
    pub(crate) async fn pace<T>(
        &self,
        check: &str,
        meter: &Meter,
        bell: &Arc<Bell>,
        run: impl Future<Output = T>,
        is_answer: impl FnOnce(&T) -> bool,
    ) -> Result<T, Cut> {
        let kind = self.known().get(check).copied();
        let ended = self.in_turns(kind, meter, bell, run).await;
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        match &ended {
            // One that found no turn is what it was.
            Err(Cut::NoTurn) => {}
            _ if meter.used() <= FREE => drop(known.remove(check)),
            Ok(answer) if is_answer(answer) => drop(known.insert(check.to_owned(), Kind::Modest)),
            Ok(_) | Err(Cut::TimedOut | Cut::Stopped) => drop(known.insert(check.to_owned(), Kind::Greedy)),
        }
        ended
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Kind>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn in_turns<T>(
        &self,
        kind: Option<Kind>,
        meter: &Meter,
        bell: &Arc<Bell>,
        run: impl Future<Output = T>,
    ) -> Result<T, Cut> {
        let mut run = pin!(run);
        let turns = if kind == Some(Kind::Greedy) { &self.greedy } else { &self.modest };
        let mut takes_turns = kind.is_some();
        let mut turn: Option<Turn<'_>> = None;
        loop {
            if takes_turns && turn.is_none() {
                let asked = Instant::now();
                let permit = tokio::time::timeout(meter.timeout.saturating_sub(meter.waited()), turns.acquire()).await;
                meter.wait(asked.elapsed());
                let Ok(Ok(permit)) = permit else { return Err(Cut::NoTurn) };
                turn = Some(Turn { _permit: permit, began: meter.used() });
            }
            let deadline = Instant::from_std(meter.deadline());
            let began = turn.as_ref().map(|turn| turn.began);
            let step = poll_fn(|cx| step(run.as_mut(), bell, began, meter, cx));
            match tokio::time::timeout_at(deadline, step).await {
                Err(_) => return Err(Cut::TimedOut),
                Ok(None) => return Err(Cut::Stopped),
                Ok(Some(Step::Done(done))) => return Ok(done),
                Ok(Some(Step::NextTurn)) => (takes_turns, turn) = (true, None),
                Ok(Some(Step::Waits)) => {
                    turn = None;
                    if tokio::time::timeout_at(deadline, bell.rings()).await.is_err() {
                        return Err(Cut::TimedOut);
                    }
                }
            }
        }
    }
}

/// Whose holder may compute.
struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    /// What the run had computed before.
    began: Duration,
}

/// One poll of a run; none if it was stopped.
fn step<T>(
    run: Pin<&mut impl Future<Output = T>>,
    bell: &Arc<Bell>,
    turn_began: Option<Duration>,
    meter: &Meter,
    cx: &Context<'_>,
) -> Poll<Option<Step<T>>> {
    bell.listen(cx);
    if bell.is_stopped() {
        return Poll::Ready(None);
    }
    bell.rung.store(false, Ordering::SeqCst);
    let waker = Waker::from(Arc::clone(bell));
    if let Poll::Ready(done) = run.poll(&mut Context::from_waker(&waker)) {
        return Poll::Ready(Some(Step::Done(done)));
    }
    // The bell may have used it up.
    bell.listen(cx);
    let has_more = bell.rung.load(Ordering::SeqCst);
    match turn_began {
        Some(_) if !has_more => Poll::Ready(Some(Step::Waits)),
        Some(began) if meter.used() - began > TURN => Poll::Ready(Some(Step::NextTurn)),
        None if has_more && meter.used() > FREE => Poll::Ready(Some(Step::NextTurn)),
        Some(_) | None => {
            if has_more {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        }
    }
}

/// The time of a run.
#[derive(Debug)]
pub(crate) struct Meter {
    started: std::time::Instant,
    timeout: Duration,
    /// In nanoseconds: computed, and waited for turns.
    used: AtomicU64,
    waited: AtomicU64,
}

impl Meter {
    /// Of a run that begins now.
    pub(crate) fn new(timeout: Duration) -> Arc<Self> {
        let started = std::time::Instant::now();
        Arc::new(Meter { started, timeout, used: AtomicU64::new(0), waited: AtomicU64::new(0) })
    }

    /// What the run has computed so far.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    pub(crate) fn add(&self, computed: Duration) {
        self.used.fetch_add(nanos(computed), Ordering::Relaxed);
    }

    fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    fn wait(&self, waited: Duration) {
        self.waited.fetch_add(nanos(waited), Ordering::Relaxed);
    }

    /// When the run has to end.
    pub(crate) fn deadline(&self) -> std::time::Instant {
        self.started + self.timeout + self.waited()
    }

    /// How long the run has taken, without its waiting for turns.
    pub(crate) fn took(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.waited())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);

    /// Computes without end, a little at each poll, as far as its own count says.
    async fn compute(meter: &Meter, total: Duration) {
        while meter.used() < total {
            meter.add(Duration::from_millis(5));
            tokio::task::yield_now().await;
        }
    }

    async fn run(turns: &Turns, check: &str, timeout: Duration, total: Duration, answers: bool) -> Result<(), Cut> {
        let meter = Meter::new(timeout);
        turns.pace(check, &meter, &Arc::default(), compute(&meter, total), |()| answers).await
    }

    #[tokio::test]
    async fn any_number_of_runs_waits_at_once_and_delays_no_other() {
        let turns = Arc::new(Turns::new());
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..1000 {
            let turns = Arc::clone(&turns);
            waiting.spawn(async move {
                let meter = Meter::new(LONG);
                let wait = async {
                    // A computing one, too.
                    compute(&meter, if number % 2 == 0 { FREE * 2 } else { Duration::ZERO }).await;
                    std::future::pending::<()>().await;
                };
                let _ = turns.pace(&format!("w{number}"), &meter, &Arc::default(), wait, |()| true).await;
            });
        }
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(run(&turns, "quick", LONG, FREE / 2, true).await, Ok(()));
        assert_eq!(run(&turns, "computing", LONG, FREE * 20, true).await, Ok(()), "those that wait hold no turns");
    }

    #[tokio::test]
    async fn those_that_come_to_no_answer_keep_only_each_other_waiting() {
        let turns = Turns::new();
        for name in ["a", "b", "c"] {
            assert_eq!(run(&turns, name, LONG, FREE * 2, false).await, Ok(()));
        }
        assert_eq!(run(&turns, "modest", LONG, FREE * 2, true).await, Ok(()));
        let _held = turns.greedy.acquire_many(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
        assert_eq!(run(&turns, "a", SHORT, FREE * 2, false).await, Err(Cut::NoTurn));
        assert_eq!(run(&turns, "modest", LONG, FREE * 2, true).await, Ok(()));
        assert_eq!(run(&turns, "unknown", LONG, FREE * 2, true).await, Ok(()));
        assert_eq!(run(&turns, "quick", LONG, FREE / 2, true).await, Ok(()));
    }

    #[tokio::test]
    async fn a_greedy_one_that_answers_again_is_greedy_no_more() {
        let turns = Turns::new();
        assert_eq!(run(&turns, "a", LONG, FREE * 2, false).await, Ok(()));
        assert_eq!(run(&turns, "a", LONG, FREE * 2, true).await, Ok(()));
        let _held = turns.greedy.acquire_many(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
        assert_eq!(run(&turns, "a", SHORT, FREE * 2, true).await, Ok(()));
    }

    #[tokio::test]
    async fn time_without_a_turn_is_not_the_runs() {
        let turns = Turns::new();
        assert_eq!(run(&turns, "a", LONG, FREE * 2, true).await, Ok(()));
        let held = turns.modest.acquire_many(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
        let waits = run(&turns, "a", LONG, FREE * 2, true);
        let frees = async {
            tokio::time::sleep(SHORT).await;
            drop(held);
        };
        assert_eq!(tokio::join!(waits, frees).0, Ok(()));
        let never = std::future::pending::<()>();
        let meter = Meter::new(SHORT);
        assert_eq!(turns.pace("b", &meter, &Arc::default(), never, |()| true).await, Err(Cut::TimedOut));
    }

    #[tokio::test]
    async fn a_run_is_stopped_while_it_waits_and_while_it_computes() {
        let turns = Turns::new();
        for total in [Duration::ZERO, LONG * 1000] {
            let (meter, bell) = (Meter::new(LONG), Arc::new(Bell::default()));
            let work = async {
                compute(&meter, total).await;
                std::future::pending::<()>().await;
            };
            let stop = async {
                tokio::time::sleep(SHORT).await;
                bell.stop();
            };
            let paced = turns.pace("a", &meter, &bell, work, |()| true);
            assert_eq!(tokio::join!(paced, stop).0, Err(Cut::Stopped), "{total:?}");
        }
    }
}
