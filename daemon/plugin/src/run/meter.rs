//! CPU time of a future: what its polls use on the thread they happen on, and an end to it beyond a limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::run::turns::Meter;

/// The future was stopped because it computed for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuExceeded;

/// Runs `inner` and adds the CPU time that it takes to the meter.
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
    async fn waiting_costs_no_cpu_and_computing_does() {
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
