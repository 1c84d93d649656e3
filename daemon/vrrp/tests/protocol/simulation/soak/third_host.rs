//! The third host on the segment: it learns from announcements, and asks now and then who has an address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::Why;

use super::world::{Cut, World};
use crate::bench::millis;

impl World {
    /// Asks everyone or, more often, only the node that it knows: then nothing changes, even if that one no longer answers. A
    /// host needs many seconds to find that out, and its packets are lost meanwhile.
    pub(super) fn ask(&mut self) {
        let everything: BTreeSet<IpAddr> = self.nodes.iter().flat_map(|node| node.kernel.keys().copied()).collect();
        for address in everything {
            if self.neighbours.contains_key(&address) && self.random.percent(80) {
                continue;
            }
            let answers = |node: usize| self.reaches_host(node) && self.nodes[node].kernel.contains_key(&address);
            let mut heard: Vec<usize> = (0..self.nodes.len()).filter(|node| answers(*node)).collect();
            if self.random.percent(50) {
                heard.reverse();
            }
            // The last answer counts.
            if let Some(node) = heard.pop() {
                self.neighbours.insert(address, node);
            }
        }
    }

    pub(super) fn hear_announcement(&mut self, node: usize, address: IpAddr) {
        if self.reaches_host(node) && !self.nodes[node].stopped_unheard {
            self.neighbours.insert(address, node);
            if self.random.percent(10) {
                self.asks_at = self.now + self.random.duration(Duration::ZERO, millis(5));
            }
        }
    }

    /// A router that stops being active unheard leaves the third host to find out by itself. So does one that stalled, for
    /// which its kernel answered meanwhile: it must not send anything.
    pub(super) fn forget_if_unheard(&mut self, node: usize) {
        let stalled = matches!(self.nodes[node].router.why(), Why::Stalled { .. });
        if stalled
            || !self.reaches(node)
            || !self.nodes[1 - node].cable
            || !self.nodes[node].cable
            || self.loss_percent > 0
        {
            self.nodes[node].stopped_unheard = true;
            self.neighbours.retain(|_, known| *known != node);
        }
    }

    fn reaches_host(&self, node: usize) -> bool {
        let cut = match self.cut {
            Cut::None | Cut::OneWay { .. } => false,
            Cut::Split { host_with } => node != host_with,
        };
        !cut && self.nodes[node].cable
    }
}
