//! The thread that listens for machines that claim one of our addresses, by ARP (RFC 5227 section 2.4) or by neighbour
//! discovery (RFC 4861).
//!
//! It has one packet socket for each interface and family, with a filter in the kernel that accepts only claims to the
//! virtual addresses: other packets cost nothing, however many there are. It ignores what this host sends itself, from
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
use vouchd_wire::Family;
use vouchd_wire::arp::{self, SENDER_ADDRESS};
use vouchd_wire::ndp::{self, offset};

use crate::channel::{Closed, Notifier, Receiver, channel};
use crate::netlink::RequestSocket;
use crate::sockets::filter;
use crate::sockets::packet::{LinkSocket, Sender};

/// The pause between two rounds of receiving, which bounds the rate of reports.
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a packet that are read; no packet with a claim is longer.
const PACKET: usize = 1500;

/// Frames received from an interface in one round. The others wait or are lost; they say the same.
const FRAMES: usize = 1024;

/// Senders told apart in one round, for each address.
const SENDERS: usize = 4;

/// How long the list of this host's MAC addresses is used before it is read again.
const MACS: Duration = Duration::from_secs(1);

/// An interface to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourWatched {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// The virtual addresses on it.
    pub addresses: BTreeSet<IpAddr>,
}

/// Another machine's claim to one of the addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourClaim {
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
pub struct NeighbourWatcher {
    lists: Notifier<Vec<NeighbourWatched>>,
}

impl NeighbourWatcher {
    /// Starts the thread, in the network namespace of the caller. It listens on no interface until [`NeighbourWatcher::watch`].
    ///
    /// # Errors
    /// Out of descriptors or threads.
    pub fn start() -> io::Result<(Self, Receiver<NeighbourClaim>)> {
        let (listener, claims) = channel()?;
        let (lists, new_lists) = channel()?;
        let mut worker = Worker { listener, open: BTreeMap::new(), macs: BTreeSet::new(), macs_until: Instant::now() };
        thread::Builder::new().name("neighbours".into()).spawn(move || worker.run(&new_lists))?;
        Ok((Self { lists }, claims))
    }

    /// Listens on these interfaces for these addresses instead of those before. Never blocks.
    pub fn watch(&self, watched: Vec<NeighbourWatched>) {
        // The thread lives as long as `self`, unless nobody receives its claims any more.
        let _ = self.lists.send(watched);
    }
}

struct Worker {
    listener: Notifier<NeighbourClaim>,
    /// By interface and family.
    open: BTreeMap<(String, Family), Open>,
    /// The MAC addresses of all interfaces of this host.
    macs: BTreeSet<[u8; 6]>,
    macs_until: Instant,
}

struct Open {
    /// With the addresses of one family.
    watched: NeighbourWatched,
    socket: LinkSocket,
}

/// The number of frames by interface, address and sender.
type Frames = BTreeMap<(String, IpAddr), Vec<([u8; 6], u64)>>;

impl Worker {
    /// Works until the handle or the receiver of claims is dropped.
    fn run(&mut self, lists: &Receiver<Vec<NeighbourWatched>>) {
        loop {
            let mut fds = vec![PollFd::new(lists.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.open.values().map(|open| PollFd::new(open.socket.as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => tracing::debug!(%error, "poll failed in the thread that listens for claims"),
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

    fn listen_on(&mut self, list: Vec<NeighbourWatched>) {
        let mut before = std::mem::take(&mut self.open);
        for watched in &list {
            for family in [Family::V4, Family::V6] {
                let addresses: BTreeSet<_> =
                    watched.addresses.iter().copied().filter(|address| Family::of(*address) == family).collect();
                if addresses.is_empty() {
                    continue;
                }
                let key = (watched.interface.clone(), family);
                let watched = NeighbourWatched { addresses, ..watched.clone() };
                match open(before.remove(&key), &watched, family) {
                    Ok(socket) => {
                        self.open.insert(key, Open { watched, socket });
                    }
                    // The interface is gone. The link watcher reports that, and a new list follows.
                    Err(error) => {
                        tracing::debug!(%error, "no socket for claims over {family} on {}", watched.interface)
                    }
                }
            }
        }
    }

    fn receive(&self) -> Frames {
        let mut frames = Frames::new();
        for ((interface, family), Open { watched, socket }) in &self.open {
            let mut buffer = [0; PACKET];
            for _ in 0..FRAMES {
                // The link watcher reports any error other than an empty queue.
                let Ok(Some((length, sender))) = socket.receive(&mut buffer) else { break };
                let claim = buffer.get(..length.min(PACKET)).and_then(|packet| claim(packet, *family, sender));
                let Some((address, mac)) = claim.filter(|(address, _)| watched.addresses.contains(address)) else {
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
                self.listener.send(NeighbourClaim { interface: interface.clone(), address, mac, count })?;
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

/// The address that a packet claims, and the machine that it is claimed for.
fn claim(packet: &[u8], family: Family, sender: Sender) -> Option<(IpAddr, [u8; 6])> {
    match family {
        Family::V4 => arp::sender(packet).map(|sender| (sender.address.into(), sender.mac)),
        Family::V6 => {
            let claim = ndp::claim(packet)?;
            let sender = match sender {
                Sender::Ethernet(mac) => Some(mac),
                Sender::Loopback | Sender::Unknown => None,
            };
            Some((claim.address.into(), claim.mac.or(sender)?))
        }
    }
}

fn open(before: Option<Open>, watched: &NeighbourWatched, family: Family) -> io::Result<LinkSocket> {
    let index = NonZeroU32::new(watched.index).ok_or(Errno::ENODEV)?;
    match before {
        Some(Open { watched: before, socket }) if before.index == watched.index => {
            if before.addresses != watched.addresses {
                filtered(index, watched, family, |filter| socket.set_filter(filter))?;
            }
            Ok(socket)
        }
        Some(_) | None => {
            let ethertype = match family {
                Family::V4 => libc::ETH_P_ARP,
                Family::V6 => libc::ETH_P_IPV6,
            };
            filtered(index, watched, family, |filter| LinkSocket::open(index, ethertype, filter))
        }
    }
}

/// Calls `attach` with the filter for these addresses, or with one for all claims if the kernel has no room for that many
/// (`net.core.optmem_max`).
fn filtered<T>(
    index: NonZeroU32,
    watched: &NeighbourWatched,
    family: Family,
    attach: impl Fn(&[SockFilter]) -> io::Result<T>,
) -> io::Result<T> {
    let program = |wanted: Option<&BTreeSet<IpAddr>>| match family {
        Family::V4 => arp_claims(index, wanted),
        Family::V6 => ndp_claims(index, wanted),
    };
    match attach(&program(Some(&watched.addresses))) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EINVAL)) => attach(&program(None)),
        other => other,
    }
}

/// Accepts ARP whose sender has one of these addresses, or any.
fn arp_claims(index: NonZeroU32, addresses: Option<&BTreeSet<IpAddr>>) -> Vec<SockFilter> {
    let mut program = Vec::from(filter::arrived_on(index));
    program.push(filter::load_word(SENDER_ADDRESS as u32));
    program.extend(one_of(addresses));
    program
}

/// Accepts neighbour advertisements for one of these addresses and solicitations from one of them, or for and from any. It
/// compares the last four bytes, which differ between nearly all addresses of a link.
fn ndp_claims(index: NonZeroU32, addresses: Option<&BTreeSet<IpAddr>>) -> Vec<SockFilter> {
    let mut program = Vec::from(filter::arrived_on(index));
    program.extend([
        filter::load_byte(offset::NEXT_HEADER as u32),
        filter::if_equal(u32::from(ndp::ICMPV6), 1, 0),
        filter::DROP,
        filter::load_byte(offset::ICMPV6_TYPE as u32),
        filter::if_equal(u32::from(ndp::ADVERTISEMENT), 0, 2),
        filter::load_word(offset::TARGET_END as u32),
        filter::skip(3),
        filter::if_equal(u32::from(ndp::SOLICITATION), 1, 0),
        filter::DROP,
        filter::load_word(offset::SOURCE_END as u32),
    ]);
    program.extend(one_of(addresses));
    program
}

/// Accepts if the loaded word is the end of one of these addresses. `None`: always.
fn one_of(addresses: Option<&BTreeSet<IpAddr>>) -> Vec<SockFilter> {
    let Some(addresses) = addresses else { return vec![filter::ACCEPT] };
    let mut program = Vec::new();
    for address in addresses {
        let end = match address {
            IpAddr::V4(v4) => v4.to_bits(),
            // The cut is meant.
            IpAddr::V6(v6) => v6.to_bits() as u32,
        };
        program.extend([filter::if_equal(end, 0, 1), filter::ACCEPT]);
    }
    program.push(filter::DROP);
    program
}
