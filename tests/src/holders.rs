//! Who holds which address: every change on the routers with its time, from the kernel's notifications.

use std::collections::HashSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::background::Background;
use crate::host::Host;
use crate::notices::follow;
use crate::site::Node;
use crate::wait::until;

/// An address was added (or renewed), or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    at: Instant,
    node: Node,
    address: Ipv4Addr,
    present: bool,
}

/// The history of the routers' addresses.
pub struct Holders {
    start: Instant,
    changes: Arc<Mutex<Vec<Change>>>,
    _watches: Vec<Background>,
}

/// From when to when a node had an address; no end if it still has it.
pub type Tenure = (Instant, Option<Instant>);

impl Holders {
    /// Watches hosts that have no virtual address yet.
    pub(crate) fn watch<const N: usize>(hosts: [(Node, &Host); N]) -> anyhow::Result<Self> {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let watch = |(node, host)| {
            let changes = Arc::clone(&changes);
            follow(host, move |at, notice| {
                let change = Change { at, node, address: notice.address, present: notice.present };
                changes.lock().expect("no thread panics with it").push(change);
            })
        };
        let watches = hosts.into_iter().map(watch).collect::<anyhow::Result<_>>()?;
        Ok(Self { start: Instant::now(), changes, _watches: watches })
    }

    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().expect("no thread panics with it")
    }

    /// The routers that hold the address now.
    pub fn now(&self, address: Ipv4Addr) -> Vec<Node> {
        Node::ROUTERS
            .into_iter()
            .filter(|&node| self.tenures(node, address).last().is_some_and(|(_, end)| end.is_none()))
            .collect()
    }

    /// When the node held the address, in order.
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

    /// When the node first lost the address after `since`.
    pub fn lost(&self, node: Node, address: Ipv4Addr, since: Instant) -> Option<Instant> {
        self.tenures(node, address).into_iter().filter_map(|(_, end)| end).find(|&end| end >= since)
    }

    /// The longest time for which both routers held the address after `since`.
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

    /// Waits until this node alone holds the address.
    ///
    /// # Errors
    /// If that takes longer than `within`.
    pub fn wait_for(&self, node: Node, address: Ipv4Addr, within: Duration) -> anyhow::Result<()> {
        until(&format!("{address} on {} alone", node.name()), within, || self.now(address) == [node])
    }
}

impl fmt::Debug for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = f.debug_list();
        let mut held = HashSet::new();
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
