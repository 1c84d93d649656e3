//! Threads that work in a host's network for as long as a test needs them.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use anyhow::Context;

use crate::host::Host;

/// A thread whose sockets are in a host's network. Dropping this ends it.
///
/// If the thread has panicked, the drop panics too: a capture or a server that died must not let a test pass.
#[derive(Debug)]
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The thread's side of a [`Background`].
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    ready: Sender<()>,
}

impl Background {
    /// Starts `work` and waits until it reports that it is [ready](Running::ready). `what` names it in errors.
    ///
    /// # Errors
    /// If the thread cannot be started, or ends before it is ready.
    pub fn start(host: &Host, what: &str, work: impl FnOnce(&Running) + Send + 'static) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = mpsc::channel();
        let running = Running { stop: Arc::clone(&stop), ready };
        let thread = host.in_network(move || work(&running))?;
        let background = Self { stop, thread: Some(thread) };
        is_ready.recv().with_context(|| format!("{what} did not start"))?;
        Ok(background)
    }
}

impl Running {
    /// Reports that everything is set up: [`Background::start`] returns.
    pub fn ready(&self) {
        // After the first time nobody waits for it.
        let _ = self.ready.send(());
    }

    /// Whether the owner still needs the work. Look at it at least every 100 ms.
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}
