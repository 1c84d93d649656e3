//! Tells the router that the checker is alive.
//!
//! From a thread of its own: a checker whose runs keep all processors busy is late, not dead. One that does not get on at
//! all says so by its silence, and is started again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::channel::Channel;
use vouchd_ipc::pipe::HEARTBEAT;

/// Where no task had a turn for so long, something hangs.
const HUNG: Duration = Duration::from_secs(10);

/// Shared by the thread and the task that shows that tasks have turns.
struct Pulse {
    started: Instant,
    /// When the task had its last turn, in milliseconds since the start.
    last: AtomicU64,
    ended: AtomicBool,
}

/// The thread runs for as long as this lives.
pub struct Heartbeat {
    pulse: Arc<Pulse>,
    thread: Thread,
}

impl Heartbeat {
    /// # Errors
    /// When there are no more threads to be had.
    pub fn start(channel: Arc<Channel>) -> io::Result<Self> {
        Self::start_with(HUNG, move || channel.beat())
    }

    fn start_with(hung: Duration, beat: impl Fn() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let pulse = Arc::new(Pulse { started: Instant::now(), last: AtomicU64::new(0), ended: AtomicBool::new(false) });
        let shared = Arc::clone(&pulse);
        let work = move || {
            while !shared.ended.load(Ordering::Relaxed) {
                let last = Duration::from_millis(shared.last.load(Ordering::Relaxed));
                // Without the router there is nobody to tell, and the checker is about to end.
                if shared.started.elapsed().saturating_sub(last) < hung && beat().is_err() {
                    return;
                }
                thread::park_timeout(HEARTBEAT);
            }
        };
        let handle = thread::Builder::new().name("heartbeat".to_owned()).spawn(work)?;
        Ok(Heartbeat { pulse, thread: handle.thread().clone() })
    }

    /// A task that is to have a turn at each beat.
    pub fn pulse(&self) -> impl Future<Output = anyhow::Result<()>> + Send + use<> {
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
    fn a_checker_in_which_nothing_gets_on_falls_silent() {
        let (sender, beats) = mpsc::channel();
        let heartbeat = Heartbeat::start_with(HEARTBEAT * 2, move || sender.send(()).map_err(io::Error::other));
        let heartbeat = heartbeat.unwrap();
        let long = HEARTBEAT * 20;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let _ = tokio::time::timeout(HEARTBEAT * 6, heartbeat.pulse()).await;
        });
        assert!(beats.try_iter().count() >= 4, "it beats while tasks have turns");
        // None has one from here on.
        while beats.recv_timeout(long).is_ok() {}
        drop(heartbeat);
        assert!(matches!(beats.recv_timeout(long), Err(mpsc::RecvTimeoutError::Disconnected)), "the thread ends");
    }
}
