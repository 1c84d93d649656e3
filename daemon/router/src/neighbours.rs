//! Who else answers for the addresses of a virtual router, judged by what was heard of ARP and of advertisements.
//!
//! While this router is active, nobody else may: another machine that says so is a conflict (RFC 5227 section 2.4). It is
//! counted, reported, and the addresses are announced again, but never so often that two machines drive each other. While
//! it is not active, the active router answers for them, and its MAC address is learned; another one is worth a word.
//!
//! A hand-over is neither. The new active router announces the addresses about when its first advertisement arrives, so
//! nothing is judged before a moment has passed, and what a router says that advertises is settled by the protocol.
//! Pure: time comes in, findings go out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use vouchd_vrrp::Time;

/// How long to wait for the advertisement that explains an announcement.
const JUDGE_AFTER: Duration = Duration::from_millis(250);

/// The shortest time for which a router that has advertised is known as one.
const KNOWN: Duration = Duration::from_secs(1);

/// Between two announcements against others (DEFEND_INTERVAL of RFC 5227 section 1.1).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// How long after it became active this router asks who else has the addresses: what the one before it holds under a lease
/// has gone by then.
const ASK_AFTER: Duration = Duration::from_secs(2);

/// Between two requests. Whoever announces an address once, and answers for it from then on, is heard by them alone.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

/// The same while somebody else does.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A conflict of which nothing was heard for so long is over. Longer than both pauses, so that it does not come and go, and
/// one answer may get lost.
const OVER: Duration = Duration::from_secs(12);

/// Routers that are known at the same time, and claims that wait to be judged: more than any link has, and no more than
/// a flood may cost.
const CAPACITY: usize = 32;

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mac([a, b, c, d, e, g]) = self;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What the judgement depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    pub active: bool,
    /// The silence after which an active router is believed to be gone.
    pub down_interval: Duration,
}

/// What is worth a word, or an announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// This router is active, and another machine answers for the address.
    Conflict { address: Ipv4Addr, mac: Mac },
    /// The addresses are to be announced again.
    Defend,
    /// It is time to ask who else answers for the addresses.
    Ask,
    /// This router is not active, and another machine answers for the address than the active router, or than before.
    Moved { address: Ipv4Addr, from: Option<Mac>, to: Mac },
    /// The active router advertises from another MAC address than before.
    RouterMoved { router: Ipv4Addr, from: Mac, to: Mac },
}

impl Finding {
    /// Its name in the log, and what it says. `None` for what is only to be done.
    pub fn words(&self, interface: &str) -> Option<(&'static str, String)> {
        match self {
            Self::Defend | Self::Ask => None,
            Self::Conflict { address, mac } => Some((
                "arp_conflict",
                format!(
                    "{mac} on {interface} answers for {address} too, which this active router holds: take the address \
                     from that machine, or, if it is a router, let this one hear its advertisements"
                ),
            )),
            Self::Moved { address, from, to } => {
                let from = from.map_or_else(String::new, |from| format!(", before it was {from}"));
                let text = format!("{to} on {interface} answers for {address}{from}; it sends no advertisements");
                Some(("arp_moved", text))
            }
            Self::RouterMoved { router, from, to } => Some((
                "router_moved",
                format!(
                    "the active router {router} on {interface} sends from {to}, before from {from}: another network \
                     card, or two machines with that address"
                ),
            )),
        }
    }
}

/// A conflict, for status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    pub mac: Mac,
    pub count: u64,
    pub last: Time,
    /// When it began; `None` when it is over.
    pub since: Option<Time>,
}

#[derive(Debug, Default)]
pub struct Neighbours {
    /// Senders of advertisements that counted, and when the last one came.
    routers: BTreeMap<Mac, Time>,
    /// The active router, and from where it advertises.
    active: Option<(Ipv4Addr, Mac)>,
    /// Heard, and not judged yet.
    claims: Vec<Claim>,
    /// Who answers for them while this router is not active.
    holders: BTreeMap<Ipv4Addr, Mac>,
    conflicts: BTreeMap<Ipv4Addr, Conflict>,
    defended: Option<Time>,
    /// There was a conflict since.
    defend_again: bool,
    /// When to ask next; `None` while this router is not active.
    ask_at: Option<Time>,
}

#[derive(Debug)]
struct Claim {
    at: Time,
    address: Ipv4Addr,
    mac: Mac,
    count: u64,
}

impl Neighbours {
    /// An advertisement that counted came from `router` through `mac`; `followed`: it is the active router.
    pub fn advertised(&mut self, now: Time, router: Ipv4Addr, mac: Mac, followed: bool) -> Option<Finding> {
        if self.routers.len() >= CAPACITY && !self.routers.contains_key(&mac) {
            let oldest = self.routers.iter().min_by_key(|(_, at)| **at).map(|(mac, _)| *mac);
            oldest.map(|oldest| self.routers.remove(&oldest));
        }
        self.routers.insert(mac, now);
        if !followed {
            return None;
        }
        match self.active.replace((router, mac)) {
            Some((before, from)) if before == router && from != mac => {
                Some(Finding::RouterMoved { router, from, to: mac })
            }
            Some(_) | None => None,
        }
    }

    /// Another machine says that it has an address.
    pub fn claimed(&mut self, now: Time, address: Ipv4Addr, mac: Mac, count: u64) {
        let is_full = self.claims.len() >= CAPACITY;
        let known = |claim: &&mut Claim| claim.address == address && claim.mac == mac;
        match self.claims.iter_mut().find(known) {
            Some(claim) => claim.count += count,
            // It is one of very many, which are counted as one.
            None if is_full => self.claims.iter_mut().next_back().into_iter().for_each(|claim| claim.count += count),
            None => self.claims.push(Claim { at: now, address, mac, count }),
        }
    }

    /// This router became active, or is it no longer: another machine answers from now on.
    pub fn changed(&mut self, now: Time, active: bool) {
        self.active = None;
        self.holders.clear();
        self.ask_at = active.then(|| now + ASK_AFTER);
        self.conflicts.values_mut().for_each(|conflict| conflict.since = None);
        self.defend_again = false;
    }

    /// After a reload.
    pub fn keep(&mut self, addresses: &[Ipv4Addr]) {
        self.claims.retain(|claim| addresses.contains(&claim.address));
        self.holders.retain(|address, _| addresses.contains(address));
        self.conflicts.retain(|address, _| addresses.contains(address));
    }

    /// When to call [`Neighbours::judge`].
    pub fn deadline(&self) -> Option<Time> {
        let claim = self.claims.iter().map(|claim| claim.at + JUDGE_AFTER).min();
        let defence = self.defended.filter(|_| self.defend_again).map(|at| at + DEFEND_INTERVAL);
        claim.into_iter().chain(defence).chain(self.ask_at).min()
    }

    /// Judges what has waited long enough.
    pub fn judge(&mut self, now: Time, situation: Situation) -> Vec<Finding> {
        let mut findings = Vec::new();
        let known = situation.down_interval.max(KNOWN);
        // From a moment before the claim on: who was a router then is one, however late this is looked at.
        let (due, waiting) =
            std::mem::take(&mut self.claims).into_iter().partition(|claim| now >= claim.at + JUDGE_AFTER);
        self.claims = waiting;
        let due: Vec<Claim> = due;
        for Claim { at, address, mac, count } in due {
            let advertises = self.routers.get(&mac).is_some_and(|last| at.since(*last) <= known);
            match (situation.active, advertises) {
                (true, true) => {}
                (true, false) => {
                    let before = self.conflict(now, address);
                    let since = before.and_then(|conflict| conflict.since).or(Some(now));
                    let count = before.map_or(0, |conflict| conflict.count) + count;
                    self.conflicts.insert(address, Conflict { mac, count, last: now, since });
                    self.defend_again = true;
                    self.ask_at = self.ask_at.map(|at| at.min(now + ASK_AGAIN));
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
            let interval = if self.contested(now).is_some() { ASK_AGAIN } else { ASK_INTERVAL };
            self.ask_at = Some(now + interval);
            findings.push(Finding::Ask);
        }
        findings
    }

    /// From where the active router advertises, as far as known.
    pub fn active_mac(&self) -> Option<Mac> {
        self.active.map(|(_, mac)| mac)
    }

    /// Who answers for the address while this router is not active, as far as heard.
    pub fn holder(&self, address: Ipv4Addr) -> Option<Mac> {
        self.holders.get(&address).copied()
    }

    /// The conflicts about the address since this router was started.
    pub fn conflict(&self, now: Time, address: Ipv4Addr) -> Option<Conflict> {
        let conflict = *self.conflicts.get(&address)?;
        let since = conflict.since.filter(|_| now.since(conflict.last) <= OVER);
        Some(Conflict { since, ..conflict })
    }

    /// A conflict that goes on.
    pub fn contested(&self, now: Time) -> Option<(Ipv4Addr, Mac)> {
        let mut conflicts = self.conflicts.keys().filter_map(|address| Some((*address, self.conflict(now, *address)?)));
        conflicts.find(|(_, conflict)| conflict.since.is_some()).map(|(address, conflict)| (address, conflict.mac))
    }
}

#[cfg(test)]
#[path = "neighbours_tests.rs"]
mod tests;
