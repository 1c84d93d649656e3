//! What is going to happen, in order of time. The order of creation decides between events of the same time, so that a
//! scenario always gives the same run.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

pub(crate) struct Schedule<T> {
    queue: BinaryHeap<Reverse<Entry<T>>>,
    created: u64,
    /// When the last frame from one node to another arrives.
    last_arrival: BTreeMap<(usize, usize), Duration>,
}

struct Entry<T> {
    at: Duration,
    created: u64,
    node: usize,
    event: T,
}

impl<T> Schedule<T> {
    pub(crate) fn new() -> Self {
        Self { queue: BinaryHeap::new(), created: 0, last_arrival: BTreeMap::new() }
    }

    pub(crate) fn push(&mut self, at: Duration, node: usize, event: T) {
        self.created += 1;
        self.queue.push(Reverse(Entry { at, created: self.created, node, event }));
    }

    /// A frame that would arrive at `at`. A segment delays frames, and keeps their order unless it is `reordered`.
    pub(crate) fn push_frame(&mut self, at: Duration, (from, to): (usize, usize), reordered: bool, event: T) {
        let last = self.last_arrival.entry((from, to)).or_default();
        let arrival = if reordered { at } else { at.max(*last) };
        *last = arrival.max(*last);
        self.push(arrival, to, event);
    }

    /// When the next event happens.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.queue.peek().map(|Reverse(entry)| entry.at)
    }

    /// Moves what is due at a node that is `frozen_until` later to that time, in the same order.
    pub(crate) fn postpone(&mut self, frozen_until: impl Fn(usize, &T) -> Option<Duration>) {
        while let Some(Reverse(entry)) = self.queue.peek() {
            let Some(thaw) = frozen_until(entry.node, &entry.event).filter(|thaw| entry.at < *thaw) else { return };
            let Some(Reverse(entry)) = self.queue.pop() else { return };
            self.queue.push(Reverse(Entry { at: thaw, ..entry }));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(Duration, usize, T)> {
        self.queue.pop().map(|Reverse(entry)| (entry.at, entry.node, entry.event))
    }

    /// Whether anything is due, now or later, that `wanted` selects.
    pub(crate) fn any(&self, wanted: impl Fn(usize, &T) -> bool) -> bool {
        self.queue.iter().any(|Reverse(entry)| wanted(entry.node, &entry.event))
    }

    /// Drops the events of which `lost` holds.
    pub(crate) fn discard(&mut self, lost: impl Fn(usize, &T) -> bool) {
        self.queue.retain(|Reverse(entry)| !lost(entry.node, &entry.event));
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.created).cmp(&(other.at, other.created))
    }
}
