//! What a run takes: wall-clock time, and CPU time as the polls of its future use it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// The clocks of one run.
#[derive(Debug)]
pub(crate) struct Meter {
    started: Instant,
    timeout: Duration,
    /// CPU time, in nanoseconds.
    used: AtomicU64,
    /// Time spent waiting for turns, in nanoseconds.
    waited: AtomicU64,
}

impl Meter {
    /// Starts the clocks of a run that may take `timeout`.
    pub(crate) fn new(timeout: Duration) -> Arc<Self> {
        let started = Instant::now();
        Arc::new(Meter { started, timeout, used: AtomicU64::new(0), waited: AtomicU64::new(0) })
    }

    /// The CPU time of the run so far.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, cpu: Duration) {
        self.used.fetch_add(nanos(cpu), Ordering::Relaxed);
    }

    fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    /// What is left of the timeout for waiting for turns.
    pub(super) fn patience(&self) -> Duration {
        self.timeout.saturating_sub(self.waited())
    }

    /// Adds time that the run waited for a turn, which does not count as its own.
    pub(super) fn add_waited(&self, waited: Duration) {
        self.waited.fetch_add(nanos(waited), Ordering::Relaxed);
    }

    /// When the run times out, which waiting for turns postpones.
    pub(crate) fn deadline(&self) -> Instant {
        self.started + self.timeout + self.waited()
    }

    /// The wall-clock time of the run so far, without waiting for turns.
    pub(crate) fn took(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.waited())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The run used more CPU time than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuExceeded;

/// Runs `inner`, adds its CPU time to a [`Meter`], and ends it beyond a limit.
pub(crate) struct Metered<'a, F> {
    inner: Pin<&'a mut F>,
    meter: Arc<Meter>,
    limit: Duration,
}

impl<'a, F: Future> Metered<'a, F> {
    pub(crate) fn new(inner: Pin<&'a mut F>, meter: &Arc<Meter>, limit: Duration) -> Self {
        Metered { inner, meter: Arc::clone(meter), limit }
    }
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = Result<F::Output, CpuExceeded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let before = thread_time();
        let polled = self.inner.as_mut().poll(cx);
        self.meter.add(thread_time().saturating_sub(before));
        match polled {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if self.meter.used() > self.limit => Poll::Ready(Err(CpuExceeded)),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[tokio::test]
    async fn computing_uses_cpu_time_and_waiting_does_not() {
        let meter = Meter::new(Duration::from_secs(9));
        let wait = pin!(tokio::time::sleep(Duration::from_millis(60)));
        assert_eq!(Metered::new(wait, &meter, Duration::from_secs(1)).await, Ok(()));
        assert!(meter.used() < Duration::from_millis(30), "{meter:?}");

        let meter = Meter::new(Duration::from_secs(9));
        let spin = pin!(async {
            loop {
                std::hint::black_box((0..10_000u64).sum::<u64>());
                tokio::task::yield_now().await;
            }
        });
        let limit = Duration::from_millis(20);
        let ended: Result<(), CpuExceeded> = Metered::new(spin, &meter, limit).await;
        assert_eq!(ended, Err(CpuExceeded));
        assert!(meter.used() > limit, "{meter:?}");
    }
}
