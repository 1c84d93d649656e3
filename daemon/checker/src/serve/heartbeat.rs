//! Sends the router heartbeats while the checker makes progress.
//!
//! They come from a separate thread: a checker whose runs keep all processors busy is late, not dead. When no task makes
//! progress any more, the heartbeats stop, and the router restarts the checker.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::channel::Channel;
use vouchd_ipc::pipe::HEARTBEAT;

/// When no task has run for this long, the checker hangs.
const HUNG: Duration = Duration::from_secs(10);

/// Shared by the thread and the task whose turns show that tasks run.
struct Pulse {
    started: Instant,
    /// When the task last ran, in milliseconds since `started`.
    last: AtomicU64,
    ended: AtomicBool,
}

/// Ends the thread when dropped.
pub(crate) struct Heartbeat {
    pulse: Arc<Pulse>,
    thread: Thread,
}

impl Heartbeat {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(channel: Arc<Channel>) -> io::Result<Self> {
        Self::start_with(HUNG, move || channel.beat())
    }

    fn start_with(hung: Duration, beat: impl Fn() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let pulse = Arc::new(Pulse { started: Instant::now(), last: AtomicU64::new(0), ended: AtomicBool::new(false) });
        let shared = Arc::clone(&pulse);
        let work = move || {
            while !shared.ended.load(Ordering::Relaxed) {
                let last = Duration::from_millis(shared.last.load(Ordering::Relaxed));
                // Sending fails when the router is gone; the checker then ends too.
                if shared.started.elapsed().saturating_sub(last) < hung && beat().is_err() {
                    return;
                }
                thread::park_timeout(HEARTBEAT);
            }
        };
        let handle = thread::Builder::new().name("heartbeat".to_owned()).spawn(work)?;
        Ok(Heartbeat { pulse, thread: handle.thread().clone() })
    }

    /// A task that runs once per heartbeat and records that it did.
    pub(crate) fn pulse(&self) -> impl Future<Output = anyhow::Result<()>> + Send + use<> {
        let pulse = Arc::clone(&self.pulse);
        async move {
            let mut timer = tokio::time::interval(HEARTBEAT);
            loop {
                timer.tick().await;
                let now = u64::try_from(pulse.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                pulse.last.store(now, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.pulse.ended.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn heartbeats_stop_when_no_task_runs() {
        let (sender, beats) = mpsc::channel();
        let heartbeat = Heartbeat::start_with(HEARTBEAT * 2, move || sender.send(()).map_err(io::Error::other));
        let heartbeat = heartbeat.unwrap();
        let long = HEARTBEAT * 20;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let _ = tokio::time::timeout(HEARTBEAT * 6, heartbeat.pulse()).await;
        });
        assert!(beats.try_iter().count() >= 4, "heartbeats while the task runs");
        // The task does not run from here on.
        while beats.recv_timeout(long).is_ok() {}
        drop(heartbeat);
        assert!(matches!(beats.recv_timeout(long), Err(mpsc::RecvTimeoutError::Disconnected)), "the thread ends");
    }
}
