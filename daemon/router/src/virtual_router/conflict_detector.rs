//! Detects other machines that answer for the addresses of a virtual router, from ARP packets and advertisements.
//!
//! While this router is active, a claim of another machine is a conflict (RFC 5227 section 2.4). It is counted, reported, and
//! answered with an announcement, but at most once in [`DEFEND_INTERVAL`], so that two machines do not drive each other.
//! While this router is not active, the active router answers for the addresses: its MAC address is learned, and an answer
//! from another one is reported.
//!
//! A hand-over is neither. The new active router announces the addresses at about the time its first advertisement arrives,
//! so a claim is judged only after [`JUDGE_AFTER`], and claims of a router that advertises are left to the protocol.
//! Pure: time comes in, findings go out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::Time;

/// The time that a claim waits for the advertisement that explains it.
const JUDGE_AFTER: Duration = Duration::from_millis(250);

/// Minimum time for which the sender of an advertisement counts as a router.
const KNOWN: Duration = Duration::from_secs(1);

/// Minimum gap between two announcements that answer a conflict (DEFEND_INTERVAL of RFC 5227 section 1.1).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// The delay of the first ARP request after this router became active. By then, addresses that its predecessor held under a
/// lease have expired.
const ASK_AFTER: Duration = Duration::from_secs(2);

/// The interval between ARP requests. Only they reveal a machine that announced an address once and answers for it since.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

/// The interval between ARP requests during a conflict.
const ASK_INTERVAL_CONFLICT: Duration = Duration::from_secs(5);

/// A conflict ends after this time without another claim. Longer than both intervals, so that it does not come and go, and
/// one answer may get lost.
const OVER: Duration = Duration::from_secs(12);

/// Maximum number of known routers, and of claims that wait to be judged. More than any link has; bounds the memory that a
/// flood takes.
const CAPACITY: usize = 32;

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mac(pub(super) [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mac([a, b, c, d, e, g]) = self;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The state of this router that a judgement depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) active: bool,
    /// The silence after which an active router is believed to be gone.
    pub(super) down_interval: Duration,
}

/// A result of the detector: something to report, or something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// This router is active, and another machine answers for the address.
    Conflict { address: IpAddr, mac: Mac },
    /// Announce the addresses again.
    Defend,
    /// Send ARP requests for the addresses.
    Ask,
    /// This router is not active, and a machine that does not advertise answers for the address.
    Moved { address: IpAddr, from: Option<Mac>, to: Mac },
    /// The active router advertises from a new MAC address.
    RouterMoved { router: IpAddr, from: Mac, to: Mac },
}

impl Finding {
    /// The name of the problem and the text of its log line. `None` for [`Defend`](Self::Defend) and [`Ask`](Self::Ask).
    pub(super) fn log_text(&self, interface: &str) -> Option<(&'static str, String)> {
        match self {
            Self::Defend | Self::Ask => None,
            Self::Conflict { address, mac } => Some((
                "arp_conflict",
                format!(
                    "{mac} on {interface} answers for {address} too, which this active router holds: remove the \
                     address from that machine, or, if it is a router, make sure that its advertisements arrive here"
                ),
            )),
            Self::Moved { address, from, to } => {
                let from = from.map_or_else(String::new, |from| format!("; before, {from} answered"));
                let text = format!("{to} on {interface} answers for {address} but sends no advertisements{from}");
                Some(("arp_moved", text))
            }
            Self::RouterMoved { router, from, to } => Some((
                "router_moved",
                format!(
                    "the active router {router} on {interface} now sends from {to} instead of {from}: it has a new network \
                     card, or two machines have its address"
                ),
            )),
        }
    }
}

/// A conflict about one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) mac: Mac,
    /// Claims since the router was started.
    pub(super) count: u64,
    /// When the last claim was received.
    pub(super) last: Time,
    /// When it began; `None` once it is over.
    pub(super) since: Option<Time>,
}

/// What is known of the machines that answer for one virtual router's addresses.
#[derive(Debug, Default)]
pub(super) struct ConflictDetector {
    /// The senders of accepted advertisements, and when the last one was received.
    routers: BTreeMap<Mac, Time>,
    /// The active router, and the MAC address that it advertises from.
    active: Option<(IpAddr, Mac)>,
    /// Claims not judged yet.
    claims: Vec<Claim>,
    /// The machines that answer for the addresses while this router is not active.
    holders: BTreeMap<IpAddr, Mac>,
    conflicts: BTreeMap<IpAddr, Conflict>,
    /// When the addresses were last announced against a conflict.
    defended: Option<Time>,
    /// Whether there was a claim since.
    defend_again: bool,
    /// When to send the next ARP requests; `None` while this router is not active.
    ask_at: Option<Time>,
}

#[derive(Debug)]
struct Claim {
    at: Time,
    address: IpAddr,
    mac: Mac,
    count: u64,
}

impl ConflictDetector {
    /// Records an accepted advertisement of `router` from `mac`. `is_active` says whether that is the active router.
    pub(super) fn record_advertisement(
        &mut self,
        now: Time,
        router: IpAddr,
        mac: Mac,
        is_active: bool,
    ) -> Option<Finding> {
        if self.routers.len() >= CAPACITY && !self.routers.contains_key(&mac) {
            let oldest = self.routers.iter().min_by_key(|(_, at)| **at).map(|(mac, _)| *mac);
            oldest.map(|oldest| self.routers.remove(&oldest));
        }
        self.routers.insert(mac, now);
        if !is_active {
            return None;
        }
        match self.active.replace((router, mac)) {
            Some((before, from)) if before == router && from != mac => {
                Some(Finding::RouterMoved { router, from, to: mac })
            }
            Some(_) | None => None,
        }
    }

    /// Records `count` ARP packets in which another machine claims the address.
    pub(super) fn record_claim(&mut self, now: Time, address: IpAddr, mac: Mac, count: u64) {
        let is_full = self.claims.len() >= CAPACITY;
        let known = |claim: &&mut Claim| claim.address == address && claim.mac == mac;
        match self.claims.iter_mut().find(known) {
            Some(claim) => claim.count += count,
            // In a flood, all further claims count as the last one.
            None if is_full => self.claims.iter_mut().next_back().into_iter().for_each(|claim| claim.count += count),
            None => self.claims.push(Claim { at: now, address, mac, count }),
        }
    }

    /// Starts anew after a transition: from now on another machine is expected to answer.
    pub(super) fn record_transition(&mut self, now: Time, active: bool) {
        self.active = None;
        self.holders.clear();
        self.ask_at = active.then(|| now + ASK_AFTER);
        self.conflicts.values_mut().for_each(|conflict| conflict.since = None);
        self.defend_again = false;
    }

    /// Forgets all other addresses, after a reload.
    pub(super) fn retain(&mut self, addresses: &[IpAddr]) {
        self.claims.retain(|claim| addresses.contains(&claim.address));
        self.holders.retain(|address, _| addresses.contains(address));
        self.conflicts.retain(|address, _| addresses.contains(address));
    }

    /// When to call [`judge`](Self::judge) next.
    pub(super) fn deadline(&self) -> Option<Time> {
        let claim = self.claims.iter().map(|claim| claim.at + JUDGE_AFTER).min();
        let defence = self.defended.filter(|_| self.defend_again).map(|at| at + DEFEND_INTERVAL);
        claim.into_iter().chain(defence).chain(self.ask_at).min()
    }

    /// Judges the claims that have waited long enough.
    pub(super) fn judge(&mut self, now: Time, situation: Situation) -> Vec<Finding> {
        let mut findings = Vec::new();
        let known = situation.down_interval.max(KNOWN);
        let (due, waiting) =
            std::mem::take(&mut self.claims).into_iter().partition(|claim| now >= claim.at + JUDGE_AFTER);
        self.claims = waiting;
        let due: Vec<Claim> = due;
        for Claim { at, address, mac, count } in due {
            // Relative to the claim, not to now: a late judgement must not change the result.
            let advertises = self.routers.get(&mac).is_some_and(|last| at.since(*last) <= known);
            match (situation.active, advertises) {
                (true, true) => {}
                (true, false) => {
                    let before = self.conflict(now, address);
                    let since = before.and_then(|conflict| conflict.since).or(Some(now));
                    let count = before.map_or(0, |conflict| conflict.count) + count;
                    self.conflicts.insert(address, Conflict { mac, count, last: now, since });
                    self.defend_again = true;
                    self.ask_at = self.ask_at.map(|at| at.min(now + ASK_INTERVAL_CONFLICT));
                    findings.push(Finding::Conflict { address, mac });
                }
                (false, advertises) => {
                    let from = self.holders.insert(address, mac);
                    if from != Some(mac) && !advertises {
                        findings.push(Finding::Moved { address, from: from.or(self.active_mac()), to: mac });
                    }
                }
            }
        }
        let may_defend = self.defended.is_none_or(|at| now >= at + DEFEND_INTERVAL);
        if situation.active && self.defend_again && may_defend {
            (self.defended, self.defend_again) = (Some(now), false);
            findings.push(Finding::Defend);
        }
        if self.ask_at.is_some_and(|at| now >= at) {
            let interval = if self.ongoing(now).is_some() { ASK_INTERVAL_CONFLICT } else { ASK_INTERVAL };
            self.ask_at = Some(now + interval);
            findings.push(Finding::Ask);
        }
        findings
    }

    /// The MAC address that the active router advertises from, if known.
    pub(super) fn active_mac(&self) -> Option<Mac> {
        self.active.map(|(_, mac)| mac)
    }

    /// The machine that answers for the address while this router is not active, if heard.
    pub(super) fn holder(&self, address: IpAddr) -> Option<Mac> {
        self.holders.get(&address).copied()
    }

    /// The conflict about the address, if there was one since this router was started.
    pub(super) fn conflict(&self, now: Time, address: IpAddr) -> Option<Conflict> {
        let conflict = *self.conflicts.get(&address)?;
        let since = conflict.since.filter(|_| now.since(conflict.last) <= OVER);
        Some(Conflict { since, ..conflict })
    }

    /// An address in conflict now, and the machine that claims it.
    pub(super) fn ongoing(&self, now: Time) -> Option<(IpAddr, Mac)> {
        let mut conflicts = self.conflicts.keys().filter_map(|address| Some((*address, self.conflict(now, *address)?)));
        conflicts.find(|(_, conflict)| conflict.since.is_some()).map(|(address, conflict)| (address, conflict.mac))
    }
}

#[cfg(test)]
mod tests;
