//! What is going to happen to the nodes of a simulation, in order of time. The order of creation decides between events of
//! the same time, so that a seed always gives the same run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use vouchd_vrrp::Time;

pub struct Schedule<T> {
    /// By time, then by order of creation; with the node that each event happens to.
    queue: BinaryHeap<Reverse<(Time, u64, usize, T)>>,
    created: u64,
    /// When the last frame from one node to another arrives.
    last_arrival: BTreeMap<(usize, usize), Time>,
}

/// The next step of a simulation.
pub enum Step<T> {
    Event { at: Time, node: usize, event: T },
    Timer { at: Time, node: usize },
}

impl<T: Ord> Schedule<T> {
    pub fn new() -> Self {
        Self { queue: BinaryHeap::new(), created: 0, last_arrival: BTreeMap::new() }
    }

    pub fn push(&mut self, at: Time, node: usize, event: T) {
        self.created += 1;
        self.queue.push(Reverse((at, self.created, node, event)));
    }

    /// A frame that would arrive at `at`: a segment delays frames, but keeps their order.
    pub fn push_frame(&mut self, at: Time, from: usize, to: usize, event: T) {
        self.push_frame_to(at, from, to, to, event);
    }

    /// The same for `node`, which has several links: `from` and `to` are the ends of one.
    pub fn push_frame_to(&mut self, at: Time, from: usize, to: usize, node: usize, event: T) {
        let last = self.last_arrival.entry((from, to)).or_default();
        let arrival = at.max(*last);
        *last = arrival;
        self.push(arrival, node, event);
    }

    /// Removes and returns the next step up to `end`; `timer` is the node with the next deadline. An event comes before a
    /// timer of the same time, as packets come before timers. `frozen_until` says until when an event has to wait in the
    /// sockets of a frozen node.
    pub fn next(
        &mut self,
        end: Time,
        timer: Option<(Time, usize)>,
        frozen_until: impl Fn(usize, &T) -> Option<Time>,
    ) -> Option<Step<T>> {
        self.postpone(frozen_until);
        let arrival = self.queue.peek().map(|Reverse((at, ..))| *at);
        match (arrival, timer) {
            (Some(at), timer) if at <= end && timer.is_none_or(|(due, _)| at <= due) => {
                let Reverse((at, _, node, event)) = self.queue.pop()?;
                Some(Step::Event { at, node, event })
            }
            (_, Some((at, node))) if at <= end => Some(Step::Timer { at, node }),
            _ => None,
        }
    }

    /// Moves what is due at a frozen node to the time at which it runs again, in the same order.
    fn postpone(&mut self, frozen_until: impl Fn(usize, &T) -> Option<Time>) {
        while let Some(Reverse((at, _, node, event))) = self.queue.peek() {
            let Some(thaw) = frozen_until(*node, event).filter(|thaw| at < thaw) else { return };
            let Some(Reverse((_, created, node, event))) = self.queue.pop() else { return };
            self.queue.push(Reverse((thaw, created, node, event)));
        }
    }
}
