//! The thread that listens for machines that claim one of our addresses (RFC 5227 section 2.4).
//!
//! It has one packet socket for each interface, with a filter in the kernel that accepts only ARP whose sender has one of
//! the virtual addresses: other ARP costs nothing, however much there is. It ignores what this host sends itself, from
//! whichever of its interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockFilter;
use vouchd_wire::arp::{self, SENDER_ADDRESS};

use crate::channel::{Closed, Notifier, Receiver, channel};
use crate::netlink::RequestSocket;
use crate::sockets::filter;
use crate::sockets::packet::LinkSocket;

/// The pause between two rounds of receiving, which bounds the rate of reports.
const PAUSE: Duration = Duration::from_millis(20);

/// Frames received from an interface in one round. The others wait or are lost; they say the same.
const FRAMES: usize = 1024;

/// Senders told apart in one round, for each address.
const SENDERS: usize = 4;

/// How long the list of this host's MAC addresses is used before it is read again.
const MACS: Duration = Duration::from_secs(1);

/// An interface to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArpWatched {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// The virtual addresses on it.
    pub addresses: BTreeSet<IpAddr>,
}

/// Another machine's claim to one of the addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArpClaim {
    /// The interface on which it was received.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// The other machine's MAC address.
    pub mac: [u8; 6],
    /// The number of frames that claimed it since the last report.
    pub count: u64,
}

/// Listens in a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct ArpWatcher {
    lists: Notifier<Vec<ArpWatched>>,
}

impl ArpWatcher {
    /// Starts the thread, in the network namespace of the caller. It listens on no interface until [`ArpWatcher::watch`].
    ///
    /// # Errors
    /// Out of descriptors or threads.
    pub fn start() -> io::Result<(Self, Receiver<ArpClaim>)> {
        let (listener, claims) = channel()?;
        let (lists, new_lists) = channel()?;
        let mut worker = Worker { listener, open: BTreeMap::new(), macs: BTreeSet::new(), macs_until: Instant::now() };
        thread::Builder::new().name("arp".into()).spawn(move || worker.run(&new_lists))?;
        Ok((Self { lists }, claims))
    }

    /// Listens on these interfaces for these addresses instead of those before. Never blocks.
    pub fn watch(&self, watched: Vec<ArpWatched>) {
        // The thread lives as long as `self`, unless nobody receives its claims any more.
        let _ = self.lists.send(watched);
    }
}

struct Worker {
    listener: Notifier<ArpClaim>,
    open: BTreeMap<String, Open>,
    /// The MAC addresses of all interfaces of this host.
    macs: BTreeSet<[u8; 6]>,
    macs_until: Instant,
}

struct Open {
    watched: ArpWatched,
    socket: LinkSocket,
}

/// The number of frames by interface, address and sender.
type Frames = BTreeMap<(String, IpAddr), Vec<([u8; 6], u64)>>;

impl Worker {
    /// Works until the handle or the receiver of claims is dropped.
    fn run(&mut self, lists: &Receiver<Vec<ArpWatched>>) {
        loop {
            let mut fds = vec![PollFd::new(lists.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.open.values().map(|open| PollFd::new(open.socket.as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => tracing::debug!(%error, "poll failed in the thread that listens for ARP"),
            }
            let Ok(lists) = lists.drain() else { return };
            if let Some(list) = lists.into_iter().next_back() {
                self.listen_on(list);
            }
            let frames = self.receive();
            if frames.is_empty() {
                continue;
            }
            if self.report(frames).is_err() {
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    fn listen_on(&mut self, list: Vec<ArpWatched>) {
        let mut before = std::mem::take(&mut self.open);
        for watched in list {
            match open(before.remove(&watched.interface), &watched) {
                Ok(socket) => {
                    self.open.insert(watched.interface.clone(), Open { watched, socket });
                }
                // The interface is gone. The link watcher reports that, and a new list follows.
                Err(error) => tracing::debug!(%error, "no ARP socket on {}", watched.interface),
            }
        }
    }

    fn receive(&self) -> Frames {
        let mut frames = Frames::new();
        for (interface, Open { watched, socket }) in &self.open {
            let mut buffer = [0; 64];
            for _ in 0..FRAMES {
                // The link watcher reports any error other than an empty queue.
                let Ok(Some((length, _))) = socket.receive(&mut buffer) else { break };
                let sender = buffer
                    .get(..length.min(buffer.len()))
                    .and_then(arp::sender)
                    .map(|sender| (IpAddr::V4(sender.address), sender.mac));
                let Some((address, mac)) = sender.filter(|(address, _)| watched.addresses.contains(address)) else {
                    continue;
                };
                let senders = frames.entry((interface.clone(), address)).or_default();
                // Frames of senders beyond the limit count for the last one.
                let known = senders.iter().position(|(known, _)| *known == mac);
                match known.or(senders.len().checked_sub(1).filter(|_| senders.len() >= SENDERS)) {
                    Some(at) => senders[at].1 += 1,
                    None => senders.push((mac, 1)),
                }
            }
        }
        frames
    }

    fn report(&mut self, frames: Frames) -> Result<(), Closed> {
        self.refresh_macs();
        for ((interface, address), senders) in frames {
            for (mac, count) in senders.into_iter().filter(|(mac, _)| !self.macs.contains(mac)) {
                self.listener.send(ArpClaim { interface: interface.clone(), address, mac, count })?;
            }
        }
        Ok(())
    }

    /// Reads this host's MAC addresses if the list is too old. May wait for the kernel.
    fn refresh_macs(&mut self) {
        let now = Instant::now();
        if now < self.macs_until {
            return;
        }
        match RequestSocket::open().and_then(|mut requests| requests.links()) {
            Ok(links) => {
                self.macs = links.into_iter().filter_map(|link| link.mac).collect();
                self.macs_until = now + MACS;
            }
            // The old list stays.
            Err(error) => tracing::debug!(%error, "could not read the links"),
        }
    }
}

fn open(before: Option<Open>, watched: &ArpWatched) -> io::Result<LinkSocket> {
    let index = NonZeroU32::new(watched.index).ok_or(Errno::ENODEV)?;
    match before {
        Some(Open { watched: before, socket }) if before.index == watched.index => {
            if before.addresses != watched.addresses {
                filtered(index, watched, |filter| socket.set_filter(filter))?;
            }
            Ok(socket)
        }
        Some(_) | None => filtered(index, watched, |filter| LinkSocket::open(index, libc::ETH_P_ARP, filter)),
    }
}

/// Calls `attach` with the filter for these addresses, or with one for all ARP if the kernel has no room for that many
/// (`net.core.optmem_max`).
fn filtered<T>(
    index: NonZeroU32,
    watched: &ArpWatched,
    attach: impl Fn(&[SockFilter]) -> io::Result<T>,
) -> io::Result<T> {
    match attach(&senders(index, &watched.addresses)) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EINVAL)) => attach(&everybody(index)),
        other => other,
    }
}

/// Accepts ARP whose sender has one of these addresses.
fn senders(index: NonZeroU32, addresses: &BTreeSet<IpAddr>) -> Vec<SockFilter> {
    let mut program = Vec::from(filter::arrived_on(index));
    program.push(filter::load_word(SENDER_ADDRESS as u32));
    for address in addresses {
        if let IpAddr::V4(v4) = address {
            program.extend([filter::if_equal(u32::from(*v4), 0, 1), filter::ACCEPT]);
        }
    }
    program.push(filter::DROP);
    program
}

/// Accepts all ARP.
fn everybody(index: NonZeroU32) -> Vec<SockFilter> {
    let mut program = Vec::from(filter::arrived_on(index));
    program.push(filter::ACCEPT);
    program
}
