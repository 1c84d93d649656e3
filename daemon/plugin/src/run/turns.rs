//! Which runs may compute at a time.
//!
//! A run that waits, for the network or a file, takes nothing but memory. One that computes yields at each tick; but if many
//! compute together, each of them takes long. So only a few compute at a time, and the others wait for their turn. A run that
//! computes very little needs no turn: it is done before anyone would notice.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::meter::Meter;
use super::waker::RunWaker;

/// CPU time that a run may use without a turn.
const FREE: Duration = Duration::from_millis(10);

/// CPU time after which a turn ends and the run waits for the next.
const TURN: Duration = Duration::from_millis(500);

/// Turns at the same time, for each [`Kind`] of check.
const AT_ONCE: usize = 2;

/// Checks whose kind is remembered. Beyond, all are forgotten, and are known again after their next run.
const MAX_KNOWN: usize = 10_000;

/// The turns of all checks. Checks that compute without coming to an answer have turns of their own, so that the others
/// don't wait for them.
pub(super) struct Turns {
    modest: Semaphore,
    greedy: Semaphore,
    /// Checks that needed turns in their last run.
    known: Mutex<HashMap<String, Kind>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its last run came to an answer.
    Modest,
    /// Its last run did not.
    Greedy,
}

/// Why a run was ended before it came to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interruption {
    /// It reached its timeout, not counting the time that it waited for turns.
    TimedOut,
    /// It waited for turns for the length of its timeout.
    NoTurn,
    /// It was stopped by [`RunWaker::stop`].
    Stopped,
}

/// What to do after polling a run.
enum Step<T> {
    Done(T),
    /// It has more to compute, and needs its first turn or has used its turn up.
    NextTurn,
    /// It waits for something.
    Waits,
}

impl Turns {
    pub(super) fn new() -> Self {
        Turns { modest: Semaphore::new(AT_ONCE), greedy: Semaphore::new(AT_ONCE), known: Mutex::default() }
    }

    /// Runs `run` of a check to its end. `run` adds its CPU time to `meter`. Waiting for turns says nothing about the
    /// service, so it does not count towards the run's timeout, but takes at most as long again.
    pub(super) async fn pace<T>(
        &self,
        check: &str,
        meter: &Meter,
        waker: &Arc<RunWaker>,
        run: impl Future<Output = T>,
        is_answer: impl FnOnce(&T) -> bool,
    ) -> Result<T, Interruption> {
        let kind = self.known().get(check).copied();
        let ended = self.in_turns(kind, meter, waker, run).await;
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        match &ended {
            // Says nothing about the check: its kind stays.
            Err(Interruption::NoTurn) => {}
            _ if meter.used() <= FREE => {
                known.remove(check);
            }
            Ok(answer) if is_answer(answer) => {
                known.insert(check.to_owned(), Kind::Modest);
            }
            Ok(_) | Err(Interruption::TimedOut | Interruption::Stopped) => {
                known.insert(check.to_owned(), Kind::Greedy);
            }
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
        waker: &Arc<RunWaker>,
        run: impl Future<Output = T>,
    ) -> Result<T, Interruption> {
        let mut run = pin!(run);
        let turns = if kind == Some(Kind::Greedy) { &self.greedy } else { &self.modest };
        let mut takes_turns = kind.is_some();
        let mut turn: Option<Turn<'_>> = None;
        loop {
            if takes_turns && turn.is_none() {
                let asked = Instant::now();
                let permit = tokio::time::timeout(meter.patience(), turns.acquire()).await;
                meter.add_waited(asked.elapsed());
                let Ok(Ok(permit)) = permit else { return Err(Interruption::NoTurn) };
                turn = Some(Turn { _permit: permit, began: meter.used() });
            }
            let deadline = Instant::from_std(meter.deadline());
            let began = turn.as_ref().map(|turn| turn.began);
            let step = poll_fn(|cx| step(run.as_mut(), waker, began, meter, cx));
            match tokio::time::timeout_at(deadline, step).await {
                Err(_) => return Err(Interruption::TimedOut),
                Ok(None) => return Err(Interruption::Stopped),
                Ok(Some(Step::Done(done))) => return Ok(done),
                Ok(Some(Step::NextTurn)) => (takes_turns, turn) = (true, None),
                Ok(Some(Step::Waits)) => {
                    turn = None;
                    if tokio::time::timeout_at(deadline, waker.woken()).await.is_err() {
                        return Err(Interruption::TimedOut);
                    }
                }
            }
        }
    }
}

/// The permission to compute.
struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    /// The run's CPU time when the turn began.
    began: Duration,
}

/// Polls a run once. `None` if it was stopped.
fn step<T>(
    run: Pin<&mut impl Future<Output = T>>,
    waker: &Arc<RunWaker>,
    turn_began: Option<Duration>,
    meter: &Meter,
    cx: &Context<'_>,
) -> Poll<Option<Step<T>>> {
    waker.register(cx);
    if waker.is_stopped() {
        return Poll::Ready(None);
    }
    waker.rest();
    let task = Waker::from(Arc::clone(waker));
    if let Poll::Ready(done) = run.poll(&mut Context::from_waker(&task)) {
        return Poll::Ready(Some(Step::Done(done)));
    }
    // A wake-up during the poll has used the registration up.
    waker.register(cx);
    let has_more = waker.is_woken();
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

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);

    /// Adds 5 ms of CPU time to the meter at each poll, up to `total`.
    async fn compute(meter: &Meter, total: Duration) {
        while meter.used() < total {
            meter.add(Duration::from_millis(5));
            tokio::task::yield_now().await;
        }
    }

    async fn run(
        turns: &Turns,
        check: &str,
        timeout: Duration,
        total: Duration,
        answers: bool,
    ) -> Result<(), Interruption> {
        let meter = Meter::new(timeout);
        turns.pace(check, &meter, &Arc::default(), compute(&meter, total), |()| answers).await
    }

    #[tokio::test]
    async fn waiting_runs_delay_no_other() {
        let turns = Arc::new(Turns::new());
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..1000 {
            let turns = Arc::clone(&turns);
            waiting.spawn(async move {
                let meter = Meter::new(LONG);
                let wait = async {
                    // Every second one computes first.
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
        assert_eq!(run(&turns, "computing", LONG, FREE * 20, true).await, Ok(()), "waiting runs hold no turns");
    }

    #[tokio::test]
    async fn checks_without_an_answer_delay_only_each_other() {
        let turns = Turns::new();
        for name in ["a", "b", "c"] {
            assert_eq!(run(&turns, name, LONG, FREE * 2, false).await, Ok(()));
        }
        assert_eq!(run(&turns, "modest", LONG, FREE * 2, true).await, Ok(()));
        let _held = turns.greedy.acquire_many(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
        assert_eq!(run(&turns, "a", SHORT, FREE * 2, false).await, Err(Interruption::NoTurn));
        assert_eq!(run(&turns, "modest", LONG, FREE * 2, true).await, Ok(()));
        assert_eq!(run(&turns, "unknown", LONG, FREE * 2, true).await, Ok(()));
        assert_eq!(run(&turns, "quick", LONG, FREE / 2, true).await, Ok(()));
    }

    #[tokio::test]
    async fn greedy_check_that_answers_again_is_modest() {
        let turns = Turns::new();
        assert_eq!(run(&turns, "a", LONG, FREE * 2, false).await, Ok(()));
        assert_eq!(run(&turns, "a", LONG, FREE * 2, true).await, Ok(()));
        let _held = turns.greedy.acquire_many(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
        assert_eq!(run(&turns, "a", SHORT, FREE * 2, true).await, Ok(()));
    }

    #[tokio::test]
    async fn waiting_for_a_turn_does_not_count_towards_the_timeout() {
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
        assert_eq!(turns.pace("b", &meter, &Arc::default(), never, |()| true).await, Err(Interruption::TimedOut));
    }

    #[tokio::test]
    async fn run_can_be_stopped_while_it_waits_and_while_it_computes() {
        let turns = Turns::new();
        for total in [Duration::ZERO, LONG * 1000] {
            let (meter, waker) = (Meter::new(LONG), Arc::new(RunWaker::default()));
            let work = async {
                compute(&meter, total).await;
                std::future::pending::<()>().await;
            };
            let stop = async {
                tokio::time::sleep(SHORT).await;
                waker.stop();
            };
            let paced = turns.pace("a", &meter, &waker, work, |()| true);
            assert_eq!(tokio::join!(paced, stop).0, Err(Interruption::Stopped), "{total:?}");
        }
    }
}
