//! The handle of the thread that keeps virtual addresses: commands go in, reports come out, and nothing here blocks.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::addresses::command::{AddressCommand, CommandRefused};
use crate::addresses::report::Report;
use crate::addresses::worker::Worker;
use crate::channel::{Closed, Notifier, Receiver, channel};
use crate::realtime::real_time;

/// Commands that may wait. At ten instances and ten advertisements a second, the queue holds ten seconds of a kernel that
/// does not answer; by then, all commands in it are late.
const CAPACITY: usize = 1024;

/// Installs, leases, removes and announces virtual addresses, in a thread of its own.
///
/// When this is dropped, the thread carries out the commands that are queued and removes all addresses that it still
/// holds. Dropping does not wait for that; [`AddressKeeper::finish`] does.
#[derive(Debug)]
pub struct AddressKeeper {
    commands: Notifier<AddressCommand>,
    /// Commands that the thread has not taken yet.
    waiting: Arc<AtomicUsize>,
    finished: mpsc::Receiver<()>,
}

impl AddressKeeper {
    /// Starts the thread, in the network namespace of the caller. Every command gives at least one [`Report`], except
    /// those that say otherwise.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_RAW (for ARP); out of descriptors or threads. A missing CAP_NET_ADMIN shows in reports.
    pub fn start() -> io::Result<(Self, Receiver<Report>)> {
        Self::start_thread(|| {})
    }

    /// As [`AddressKeeper::start`], with the thread at a real-time priority (see [`real_time`]), for a router whose
    /// protocol thread has one, too: on a host too busy to renew leases, it would advertise addresses that it does not
    /// hold any more. Without the privilege for it, the thread is an ordinary one.
    ///
    /// # Errors
    /// As [`AddressKeeper::start`].
    pub fn start_real_time(priority: u8) -> io::Result<(Self, Receiver<Report>)> {
        Self::start_thread(move || {
            if let Err(refused) = real_time(priority) {
                // The protocol thread asks for the same and has warned.
                tracing::debug!("the thread that keeps the addresses: {refused}");
            }
        })
    }

    fn start_thread(begin: impl FnOnce() + Send + 'static) -> io::Result<(Self, Receiver<Report>)> {
        let (reports, receiver) = channel()?;
        let (commands, queue) = channel()?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut worker = Worker::new(reports)?;
        let (end, finished) = mpsc::sync_channel(0);
        let left = Arc::clone(&waiting);
        thread::Builder::new().name("addresses".into()).spawn(move || {
            begin();
            worker.run(&queue, &left);
            // `finish` waits for this drop.
            drop(end);
        })?;
        Ok((Self { commands, waiting, finished }, receiver))
    }

    /// Queues a command. Never blocks.
    ///
    /// # Errors
    /// The command is not queued and will not be carried out. The kernel removes addresses whose lease is not renewed.
    pub fn command(&self, command: AddressCommand) -> Result<(), CommandRefused> {
        if self.waiting.load(Ordering::Relaxed) >= CAPACITY && !command.is_essential() {
            return Err(CommandRefused::QueueFull { capacity: CAPACITY });
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.commands.send(command).map_err(|Closed| CommandRefused::Stopped)
    }

    /// Lets the thread carry out the queued commands and remove the addresses that are left, and waits for it. Returns
    /// whether it ended within `patience`.
    pub fn finish(self, patience: Duration) -> bool {
        let Self { commands, waiting: _, finished } = self;
        drop(commands);
        finished.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}
