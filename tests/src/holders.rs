//! Who holds which address, from the kernel's own notices: every change with its time, none missed between two looks.

use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::host::Host;
use crate::site::Node;
use crate::wait::until;

const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFA_LOCAL: u16 = 2;

/// An address came (or was renewed), or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    at: Instant,
    node: Node,
    address: Ipv4Addr,
    present: bool,
}

/// The record of the routers' addresses.
pub struct Holders {
    start: Instant,
    changes: Arc<Mutex<Vec<Change>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// From when to when a node had an address; without an end it still has it.
pub type Tenure = (Instant, Option<Instant>);

impl Holders {
    /// Watches hosts that have no virtual address yet.
    pub(crate) fn watch<const N: usize>(hosts: [(Node, &Host); N]) -> anyhow::Result<Self> {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (node, host) in hosts {
            let (changes, stop) = (Arc::clone(&changes), Arc::clone(&stop));
            let (ready, is_ready) = std::sync::mpsc::channel();
            threads.push(host.in_network(move || {
                let joined = follow(node, &changes, &stop, || ready.send(()).unwrap_or_default());
                joined.expect("the kernel's notices of addresses");
            })?);
            is_ready.recv().context("the address watch did not start")?;
        }
        Ok(Self { start: Instant::now(), changes, stop, threads })
    }

    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().expect("no thread panics with it")
    }

    /// Who holds the address now.
    pub fn now(&self, address: Ipv4Addr) -> Vec<Node> {
        Node::ROUTERS
            .into_iter()
            .filter(|&node| self.tenures(node, address).last().is_some_and(|(_, end)| end.is_none()))
            .collect()
    }

    /// When the node held the address.
    pub fn tenures(&self, node: Node, address: Ipv4Addr) -> Vec<Tenure> {
        let mut tenures: Vec<Tenure> = Vec::new();
        for change in self.changes().iter().filter(|c| c.node == node && c.address == address) {
            match (tenures.last_mut(), change.present) {
                (Some((_, end @ None)), false) => *end = Some(change.at),
                // A renewed lease is no change.
                (Some((_, None)), true) | (None | Some((_, Some(_))), false) => {}
                (None | Some((_, Some(_))), true) => tenures.push((change.at, None)),
            }
        }
        tenures
    }

    /// When the node last got the address.
    pub fn gained(&self, node: Node, address: Ipv4Addr) -> Option<Instant> {
        self.tenures(node, address).last().map(|&(start, _)| start)
    }

    /// When the node first lost the address, counted from `since`.
    pub fn lost(&self, node: Node, address: Ipv4Addr, since: Instant) -> Option<Instant> {
        self.tenures(node, address).into_iter().filter_map(|(_, end)| end).find(|&end| end >= since)
    }

    /// The longest time for which both routers held the address since `since`.
    pub fn longest_overlap(&self, address: Ipv4Addr, since: Instant) -> Duration {
        let now = Instant::now();
        let [first, second] = Node::ROUTERS.map(|node| self.tenures(node, address));
        let mut longest = Duration::ZERO;
        for (start, end) in &first {
            for (other_start, other_end) in &second {
                let from = (*start).max(*other_start).max(since);
                let to = end.unwrap_or(now).min(other_end.unwrap_or(now));
                longest = longest.max(to.saturating_duration_since(from));
            }
        }
        longest
    }

    /// Waits until the node, and only it, holds the address.
    ///
    /// # Errors
    /// When it does not `within` the time.
    pub fn wait_for(&self, node: Node, address: Ipv4Addr, within: Duration) -> anyhow::Result<()> {
        until(&format!("{address} on {} alone", node.name()), within, || self.now(address) == [node])
    }
}

impl fmt::Debug for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = f.debug_list();
        let mut held = std::collections::HashSet::new();
        for change in self.changes().iter() {
            let key = (change.node, change.address);
            if change.present && !held.insert(key) {
                continue;
            }
            if !change.present {
                held.remove(&key);
            }
            lines.entry(&format_args!(
                "{:8.3} s {} {} {}",
                change.at.duration_since(self.start).as_secs_f64(),
                change.node.name(),
                if change.present { "gets" } else { "loses" },
                change.address
            ));
        }
        lines.finish()
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn follow(node: Node, changes: &Mutex<Vec<Change>>, stop: &AtomicBool, ready: impl FnOnce()) -> nix::Result<()> {
    let socket = listen()?;
    ready();
    let mut buffer = [0; 8192];
    while !stop.load(Ordering::Relaxed) {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => {
                let at = Instant::now();
                for Notice { present, address, .. } in notices(&buffer[..length]) {
                    changes.lock().expect("no thread panics with it").push(Change { at, node, address, present });
                }
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A socket for the kernel's notices about IPv4 addresses, in the network of the caller. Receiving gives up now and then.
pub(crate) fn listen() -> nix::Result<OwnedFd> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000))?;
    setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20))?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_IPV4_IFADDR))?;
    Ok(socket)
}

/// An address came (or was renewed), or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notice {
    pub present: bool,
    /// The interface.
    pub index: u32,
    pub address: Ipv4Addr,
    pub prefix: u8,
}

/// The addresses that a datagram of netlink messages tells of.
pub(crate) fn notices(mut datagram: &[u8]) -> Vec<Notice> {
    const HEADER: usize = 16;
    const IFADDRMSG: usize = 8;
    let mut found = Vec::new();
    while datagram.len() >= HEADER + IFADDRMSG {
        let length = u32::from_ne_bytes([datagram[0], datagram[1], datagram[2], datagram[3]]) as usize;
        if length < HEADER + IFADDRMSG || length > datagram.len() {
            break;
        }
        let (message, rest) = datagram.split_at(length.next_multiple_of(4).min(datagram.len()));
        datagram = rest;
        let present = match u16::from_ne_bytes([message[4], message[5]]) {
            RTM_NEWADDR => true,
            RTM_DELADDR => false,
            _ => continue,
        };
        let prefix = message[HEADER + 1];
        let index =
            u32::from_ne_bytes([message[HEADER + 4], message[HEADER + 5], message[HEADER + 6], message[HEADER + 7]]);
        let mut attributes = &message[HEADER + IFADDRMSG..length];
        while attributes.len() >= 8 {
            let size = u16::from_ne_bytes([attributes[0], attributes[1]]) as usize;
            let kind = u16::from_ne_bytes([attributes[2], attributes[3]]);
            if kind == IFA_LOCAL && size == 8 {
                let octets = [attributes[4], attributes[5], attributes[6], attributes[7]];
                found.push(Notice { present, index, address: Ipv4Addr::from(octets), prefix });
            }
            let step = size.max(4).next_multiple_of(4);
            attributes = attributes.get(step..).unwrap_or_default();
        }
    }
    found
}
