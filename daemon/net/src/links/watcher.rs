//! The thread that follows interfaces and addresses by rtnetlink notifications.

use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::channel::{Closed, Notifier, Receiver, channel};
use crate::links::table::LinkTable;
use crate::links::{CarrierEvent, LinkEvent, Watched};
use crate::netlink::{Notifications, RequestSocket};

/// How long to wait before a broken netlink socket is opened again.
const RETRY: Duration = Duration::from_secs(1);

/// Reports the state of the watched interfaces, in a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct LinkWatcher {
    lists: Notifier<Vec<Watched>>,
}

/// What a [`LinkWatcher`] reports.
#[derive(Debug)]
pub struct LinkEvents {
    /// The states of the watched interfaces.
    pub states: Receiver<LinkEvent>,
    /// Whether each interface of the host can carry packets. It may be dropped.
    pub carriers: Receiver<Vec<CarrierEvent>>,
}

impl LinkWatcher {
    /// Starts the thread, in the network namespace of the caller. It reports each interface once at first, then whenever its
    /// state changes.
    ///
    /// # Errors
    /// Out of descriptors or threads.
    pub fn start(watched: Vec<Watched>) -> io::Result<(Self, LinkEvents)> {
        let (listener, states) = channel()?;
        let (carrier_listener, carriers) = channel()?;
        let (lists, new_lists) = channel()?;
        let notifications = Notifications::open()?;
        let mut watcher = Watcher { notifications, table: LinkTable::default(), listener, carrier_listener };
        thread::Builder::new().name("links".into()).spawn(move || watcher.run(watched, &new_lists))?;
        Ok((Self { lists }, LinkEvents { states, carriers }))
    }

    /// Watches these interfaces instead of those before. Never blocks. An interface that was watched before is reported
    /// again only if its state changes.
    pub fn watch(&self, watched: Vec<Watched>) {
        // The thread lives as long as `self`, unless nobody receives its events any more.
        let _ = self.lists.send(watched);
    }
}

struct Watcher {
    notifications: Notifications,
    table: LinkTable,
    listener: Notifier<LinkEvent>,
    carrier_listener: Notifier<Vec<CarrierEvent>>,
}

impl Watcher {
    /// Works until the handle or the receiver of events is dropped.
    fn run(&mut self, watched: Vec<Watched>, lists: &Receiver<Vec<Watched>>) {
        // The dump first, so that no interface is reported as missing before it was looked for.
        let mut up_to_date = self.dump();
        self.table.watch(watched);
        while self.report().is_ok() {
            match up_to_date {
                Ok(()) => up_to_date = self.wait(lists),
                Err(error) => {
                    tracing::warn!(%error, "lost link notifications; re-reading all links");
                    thread::sleep(RETRY);
                    up_to_date = self.start_again();
                }
            }
            let Ok(new_lists) = lists.drain() else { return };
            if let Some(list) = new_lists.into_iter().next_back() {
                self.table.watch(list);
            }
        }
    }

    /// Waits for notifications or a new list, and takes the notifications in.
    fn wait(&mut self, lists: &Receiver<Vec<Watched>>) -> io::Result<()> {
        let mut descriptors =
            [PollFd::new(self.notifications.as_fd(), PollFlags::POLLIN), PollFd::new(lists.as_fd(), PollFlags::POLLIN)];
        match poll(&mut descriptors, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        match self.read() {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.dump(),
            other => other,
        }
    }

    fn report(&mut self) -> Result<(), Closed> {
        let (states, carriers) = self.table.news();
        if !carriers.is_empty() {
            // Not everybody listens to these.
            let _ = self.carrier_listener.send(carriers);
        }
        states.into_iter().try_for_each(|event| self.listener.send(event))
    }

    /// Takes in the queued notifications.
    fn read(&mut self) -> io::Result<()> {
        while let Some(changes) = self.notifications.next()? {
            for news in changes {
                self.table.apply(news.change);
            }
        }
        Ok(())
    }

    /// Reads everything again, after notifications were lost.
    fn dump(&mut self) -> io::Result<()> {
        // The lost notifications are the newest. Those still queued are older and must not be applied after the dump. Those
        // queued from now on are complete, so the last of them agrees with the dump or is newer.
        self.notifications.discard()?;
        let mut requests = RequestSocket::open()?;
        let links = requests.links()?;
        let addresses = requests.addresses()?;
        self.table.replace(links, addresses);
        self.read()
    }

    fn start_again(&mut self) -> io::Result<()> {
        self.notifications = Notifications::open()?;
        self.dump()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};
    use socket2::SockRef;

    use super::*;
    use crate::links::LinkState;

    fn ip(arguments: &str) {
        assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
    }

    #[test]
    fn lost_notifications_are_made_up_for_and_older_ones_are_discarded() {
        let test = || {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                return vouchd_skip::skip(&format!("no network namespace: {error}"), "run the tests as root");
            }
            let notifications = Notifications::open().unwrap();
            SockRef::from(&notifications.as_fd()).set_recv_buffer_size(8192).unwrap();
            let (listener, events) = channel().unwrap();
            let (carrier_listener, _carriers) = channel().unwrap();
            let mut watcher = Watcher { notifications, table: LinkTable::default(), listener, carrier_listener };
            watcher.table.watch(vec![Watched {
                sources: Default::default(),
                interface: "lo".into(),
                families: [vouchd_wire::Family::V4].into(),
                addresses: Default::default(),
            }]);
            ip("link set lo up");
            // The queue has room for the notification that the address went, not for the one that it came back.
            ip("address del 127.0.0.1/8 dev lo");
            for last in 2..40 {
                ip(&format!("address add 127.0.0.{last}/32 dev lo"));
            }
            ip("address add 127.0.0.1/8 dev lo");
            let lost = watcher.notifications.next().unwrap_err();
            assert_eq!(lost.raw_os_error(), Some(libc::ENOBUFS));
            watcher.dump().unwrap();
            watcher.report().unwrap();
            let reported = events.drain().unwrap();
            let [LinkEvent { state: LinkState::Up { addresses, .. }, .. }] = reported.as_slice() else {
                panic!("{reported:?}")
            };
            assert_eq!(addresses.len(), 39, "{addresses:?}");
        };
        // Its own thread, since a test's thread may be used for the next test.
        thread::spawn(test).join().unwrap();
    }
}
