//! The thread that follows interfaces and addresses through rtnetlink notifications.

use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::links::{LinkEvent, LinkTable, Watched};
use crate::netlink::{Netlink, Notifications};
use crate::wakeup::{Closed, Notifier, Receiver, channel};

/// How long to wait before a broken netlink socket is opened again.
const RETRY: Duration = Duration::from_secs(1);

/// Tells the state of the watched interfaces, in a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct LinkWatcher {
    lists: Notifier<Vec<Watched>>,
}

impl LinkWatcher {
    /// Starts the thread, in the network namespace of the caller. Each watched interface is told once at first, then
    /// whenever it changes.
    ///
    /// # Errors
    /// Out of descriptors or threads.
    pub fn start(watched: Vec<Watched>) -> io::Result<(Self, Receiver<LinkEvent>)> {
        let (events, receiver) = channel()?;
        let (lists, new_lists) = channel()?;
        let mut watcher = Watcher { notifications: Notifications::open()?, table: LinkTable::default(), events };
        thread::Builder::new().name("links".into()).spawn(move || watcher.run(watched, &new_lists))?;
        Ok((Self { lists }, receiver))
    }

    /// Watches these interfaces instead of those before. Never blocks. An interface that was watched before is told
    /// again only if its state changes by it.
    pub fn watch(&self, watched: Vec<Watched>) {
        // The thread lives as long as `self`, unless nobody listens to its events any more.
        let _ = self.lists.send(watched);
    }
}

struct Watcher {
    notifications: Notifications,
    table: LinkTable,
    events: Notifier<LinkEvent>,
}

impl Watcher {
    /// Until nobody watches or nobody listens.
    fn run(&mut self, watched: Vec<Watched>, lists: &Receiver<Vec<Watched>>) {
        let mut up_to_date = self.dump().is_ok();
        // After the dump, so that the first thing told is the truth and not "missing".
        if self.tell(|table| table.watch(watched)).is_err() {
            return;
        }
        loop {
            if !up_to_date {
                thread::sleep(RETRY);
                up_to_date = self.start_again().is_ok();
            }
            let timeout = if up_to_date { PollTimeout::NONE } else { PollTimeout::ZERO };
            let mut descriptors = [
                PollFd::new(self.notifications.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(lists.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut descriptors, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    tracing::warn!(%error, "waiting for news about links");
                    up_to_date = false;
                }
            }
            let Ok(new_lists) = lists.drain() else { return };
            for list in new_lists {
                if self.tell(|table| table.watch(list)).is_err() {
                    return;
                }
            }
            match self.read() {
                Ok(Ok(())) => {}
                Ok(Err(Closed)) => return,
                Err(error) => {
                    tracing::warn!(%error, "news about links were lost; all links are read again");
                    up_to_date = error.raw_os_error() == Some(libc::ENOBUFS) && self.dump().is_ok();
                }
            }
        }
    }

    fn tell(&mut self, change: impl FnOnce(&mut LinkTable) -> Vec<LinkEvent>) -> Result<(), Closed> {
        change(&mut self.table).into_iter().try_for_each(|event| self.events.send(event))
    }

    /// Takes in what is queued.
    fn read(&mut self) -> io::Result<Result<(), Closed>> {
        while let Some(changes) = self.notifications.next()? {
            for change in changes {
                if self.tell(|table| table.apply(change)).is_err() {
                    return Ok(Err(Closed));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Reads everything anew. Notifications that were queued before it are applied after it and do no harm: the last
    /// of them says what the dump said.
    fn dump(&mut self) -> io::Result<()> {
        let mut netlink = Netlink::open()?;
        let links = netlink.links()?;
        let addresses = netlink.addresses()?;
        // If nobody listens, the next event tells.
        let _ = self.tell(|table| table.replace(links, addresses));
        Ok(())
    }

    fn start_again(&mut self) -> io::Result<()> {
        self.notifications = Notifications::open()?;
        self.dump()
    }
}
