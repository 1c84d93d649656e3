//! The waker of a run, by which it can also be stopped from outside.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Wakes the task of a run when the run has something to do, or is to be stopped.
#[derive(Default)]
pub(super) struct RunWaker {
    woken: AtomicBool,
    stopped: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl RunWaker {
    /// Ends the run at its next poll.
    pub(super) fn stop(self: &Arc<Self>) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake_by_ref();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Whether the run was woken since [`RunWaker::rest`].
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// Forgets earlier wake-ups: the run is about to be polled.
    pub(super) fn rest(&self) {
        self.woken.store(false, Ordering::SeqCst);
    }

    /// Returns once the run is woken.
    pub(super) async fn woken(&self) {
        poll_fn(|cx| {
            self.register(cx);
            if self.is_woken() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Sets the task that the next wake-up wakes. A wake-up uses the registration up.
    pub(super) fn register(&self, context: &Context<'_>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
    }
}

impl Wake for RunWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        task.into_iter().for_each(Waker::wake);
    }
}
