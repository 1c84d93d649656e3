//! Shows the main thread that the protocol thread is alive, for systemd's watchdog.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts the turns of the protocol thread.
#[derive(Default)]
pub(crate) struct Heartbeat {
    beats: AtomicU64,
    seen: AtomicU64,
}

impl Heartbeat {
    /// The longest time between two beats.
    pub(crate) const PERIOD: Duration = Duration::from_secs(1);

    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there was a beat since the last call.
    pub(crate) fn is_beating(&self) -> bool {
        let beats = self.beats.load(Ordering::Relaxed);
        self.seen.swap(beats, Ordering::Relaxed) != beats
    }
}
