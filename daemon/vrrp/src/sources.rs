//! Everyone who sends advertisements for this virtual router or its addresses: what was accepted, what was discarded and why,
//! and who claims to be active beside the active router. For status and log; no decision depends on it.

use std::net::IpAddr;
use std::time::Duration;

use crate::authentication::Authenticity;
use crate::config::Config;
use crate::discard::DiscardReason;
use crate::peek::Unchecked;
use crate::peers::FORGET_AFTER;
use crate::rival::{Rival, RivalReason};
use crate::status::State;
use vouchd_wire::Time;

/// The largest number of sources beside the configured peers. More than any real network has; a flood of forged source
/// addresses must not fill the memory.
const MAX_SOURCES: usize = 64;

/// A router that was not heard for three intervals, and at least this long, is no longer active (RFC 9568 section 6.1).
const MIN_WINDOW: Duration = Duration::from_secs(3);

/// A router whose advertisements are discarded counts as active until it resigns or is silent for this long. It may send
/// rarely: keepalived puts its next advertisement off with every one that it receives and discards.
const DISCARDED_WINDOW: Duration = Duration::from_secs(60);

/// A worse router has at least this long, and two intervals, to hear the better one.
const MIN_PATIENCE: Duration = Duration::from_secs(1);

/// A source of advertisements, under one virtual router id.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it sends from.
    pub address: IpAddr,
    /// The virtual router id in its newest advertisement; `None` while none was readable.
    pub vrid: Option<u8>,
    /// The priority in its newest advertisement; `None` while none was readable.
    pub priority: Option<u8>,
    /// How many of its advertisements passed all checks.
    pub accepted: u64,
    /// What the newest accepted one proves. `None` if this router had no HMAC keys.
    pub authenticity: Option<Authenticity>,
    /// When the newest accepted one arrived.
    pub last_accepted: Option<Time>,
    /// When the newest discarded one arrived, and why it was discarded.
    pub last_discarded: Option<(Time, DiscardReason)>,
    discarded: [u64; DiscardReason::ALL.len()],
    /// An address of this router that it advertises under another VRID.
    shared: Option<IpAddr>,
    claim: Option<Claim>,
}

/// A source's claim to be active: its advertisements since the last gap in which it would have counted as gone.
#[derive(Clone, Copy, Debug)]
struct Claim {
    accepted: bool,
    since: Time,
    last: Time,
    count: u64,
    window: Duration,
    /// The newest one has addresses, and none of ours: it belongs to another virtual router with the same VRID.
    for_other_addresses: bool,
    reported: bool,
}

/// How an advertisement was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// With what its trailer proves, if this router has HMAC keys.
    Accepted(Option<Authenticity>),
    Discarded(DiscardReason),
    /// It has another VRID, and this address of ours.
    Overheard(IpAddr),
}

/// The router that keeps this table, as far as claims are judged by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observer<'a> {
    pub(crate) state: State,
    pub(crate) source: Option<IpAddr>,
    pub(crate) interval: Duration,
    pub(crate) addresses: &'a [IpAddr],
    /// `None`: multicast.
    pub(crate) peers: Option<&'a [IpAddr]>,
    pub(crate) active_peer: Option<IpAddr>,
}

impl<'a> Observer<'a> {
    pub(crate) fn of(config: &'a Config, state: State, source: Option<IpAddr>, active_peer: Option<IpAddr>) -> Self {
        let (interval, peers) = (config.interval.duration(), config.peers.as_deref());
        Observer { state, source, interval, addresses: &config.addresses, peers, active_peer }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sources {
    seen: Vec<Source>,
}

impl Source {
    fn new(address: IpAddr, vrid: Option<u8>) -> Self {
        Source {
            address,
            vrid,
            priority: None,
            accepted: 0,
            authenticity: None,
            last_accepted: None,
            last_discarded: None,
            discarded: [0; DiscardReason::ALL.len()],
            shared: None,
            claim: None,
        }
    }

    /// How many of its advertisements were discarded for `reason`.
    pub fn discarded(&self, reason: DiscardReason) -> u64 {
        self.discarded[reason as usize]
    }

    /// Why its current claim to be active for our addresses is discarded; a single advertisement is enough. `None` without
    /// such a claim.
    pub fn discarded_claim(&self, now: Time) -> Option<DiscardReason> {
        self.claim
            .filter(|claim| !claim.accepted && !claim.for_other_addresses && now.since(claim.last) <= claim.window)?;
        self.last_discarded.map(|(_, reason)| reason)
    }

    fn newest(&self) -> Option<Time> {
        self.last_accepted.max(self.last_discarded.map(|(at, _)| at))
    }

    fn count(&mut self, now: Time, outcome: Outcome) {
        match outcome {
            Outcome::Accepted(authenticity) => {
                self.accepted += 1;
                self.authenticity = authenticity;
                self.last_accepted = Some(now);
            }
            Outcome::Discarded(reason) => {
                self.discarded[reason as usize] += 1;
                self.last_discarded = Some((now, reason));
            }
            Outcome::Overheard(address) => {
                self.discarded[DiscardReason::Vrid as usize] += 1;
                self.last_discarded = Some((now, DiscardReason::Vrid));
                self.shared = Some(address);
            }
        }
    }

    fn update_claim(&mut self, now: Time, unchecked: &Unchecked, accepted: bool, observer: Observer<'_>) {
        self.vrid = Some(unchecked.vrid);
        self.priority = Some(unchecked.priority);
        if unchecked.priority == 0 {
            self.claim = None;
            return;
        }
        let shortest = match (accepted, self.last_discarded) {
            // A router that can be understood falls silent when it hears this one.
            (true, _) | (false, Some((_, DiscardReason::OwnerReceives))) => MIN_WINDOW,
            (false, _) => DISCARDED_WINDOW,
        };
        let window = (observer.interval.max(unchecked.interval) * 3).max(shortest);
        let named = &unchecked.addresses;
        let for_other_addresses =
            !named.is_empty() && named.iter().all(|address| !observer.addresses.contains(address));
        self.claim = Some(match self.claim {
            Some(claim) if claim.accepted == accepted && now.since(claim.last) <= claim.window.max(window) => {
                Claim { last: now, count: claim.count + 1, window, for_other_addresses, ..claim }
            }
            Some(_) | None => {
                Claim { accepted, since: now, last: now, count: 1, window, for_other_addresses, reported: false }
            }
        });
    }

    /// Its claim to be active beside the active router.
    fn rival(&self, now: Time, observer: Observer<'_>, active: Option<Claim>) -> Option<Rival> {
        let claim = self.claim?;
        if observer.state == State::Initialize || now.since(claim.last) > claim.window {
            return None;
        }
        // By then a better or equal router would have answered, and a worse one would have stepped back.
        let patience = (observer.interval * 2).max(MIN_PATIENCE);
        let persists = claim.count >= 3 && claim.last.since(claim.since) >= patience;
        // Both kept advertising after the later of them began.
        let both_persist = |other: Claim| {
            let both = claim.since.max(other.since);
            claim.last.since(both) >= patience && other.last.since(both) >= patience
        };
        let reason = self.last_discarded.map(|(_, reason)| reason);
        let (reason, count) = match (claim.accepted, reason) {
            (true, _) if !persists => return None,
            (true, _) => match observer.state {
                State::Active => {
                    (RivalReason::Unheard { own: observer.source?, unicast: observer.peers.is_some() }, claim.count)
                }
                State::Backup | State::Initialize => match observer.active_peer {
                    Some(peer) if peer != self.address && active.is_some_and(both_persist) => {
                        (RivalReason::TwoActive(peer), claim.count)
                    }
                    Some(_) | None => return None,
                },
            },
            (false, Some(DiscardReason::OwnerReceives)) if !persists => return None,
            // A single packet may be forged, or the last of a router that steps back.
            (false, _) if claim.count < 2 => return None,
            (false, Some(DiscardReason::Vrid)) => (
                RivalReason::OtherVrid { vrid: self.vrid?, address: self.shared? },
                self.discarded(DiscardReason::Vrid),
            ),
            // The addresses of a damaged packet mean nothing, and a CARP packet has none.
            (false, Some(reason @ (DiscardReason::Checksum | DiscardReason::Length | DiscardReason::Carp))) => {
                (RivalReason::Discarded(reason), self.discarded(reason))
            }
            (false, Some(reason)) if claim.for_other_addresses => {
                (RivalReason::OtherAddresses(reason), self.discarded(reason))
            }
            (false, Some(reason)) => (RivalReason::Discarded(reason), self.discarded(reason)),
            (false, None) => return None,
        };
        Some(Rival { peer: self.address, priority: self.priority?, count, ago: now.since(claim.last), reason })
    }
}

impl Sources {
    pub(crate) fn all(&self) -> &[Source] {
        &self.seen
    }

    /// What `source` claims now.
    pub(crate) fn rival(&self, now: Time, observer: Observer<'_>, source: &Source) -> Option<Rival> {
        source.rival(now, observer, self.active_claim(observer))
    }

    /// Every current claim to be active.
    pub(crate) fn rivals(&self, now: Time, observer: Observer<'_>) -> Vec<Rival> {
        self.seen.iter().filter_map(|source| self.rival(now, observer, source)).collect()
    }

    /// Remembers what `address` sent. Returns its claim to be active once, as soon as that is certain.
    pub(crate) fn note(
        &mut self,
        now: Time,
        observer: Observer<'_>,
        address: IpAddr,
        unchecked: Option<&Unchecked>,
        outcome: Outcome,
    ) -> Option<Rival> {
        let source = self.entry(now, observer, address, unchecked.map(|unchecked| unchecked.vrid));
        source.count(now, outcome);
        if let Some(unchecked) = unchecked {
            source.update_claim(now, unchecked, matches!(outcome, Outcome::Accepted(_)), observer);
        }
        if matches!(outcome, Outcome::Accepted(_)) {
            // It is understood now, so what it sent before under another VRID no longer counts.
            let others = self.seen.iter_mut().filter(|source| source.address == address);
            others.for_each(|source| source.claim = source.claim.filter(|claim| claim.accepted));
        }
        let source = self.entry(now, observer, address, unchecked.map(|unchecked| unchecked.vrid));
        if source.claim.is_none_or(|claim| claim.reported) {
            return None;
        }
        let active = self.active_claim(observer);
        let source = self.entry(now, observer, address, unchecked.map(|unchecked| unchecked.vrid));
        let rival = source.rival(now, observer, active)?;
        if let Some(claim) = &mut source.claim {
            claim.reported = true;
        }
        Some(rival)
    }

    /// The claim of the active router, if accepted.
    fn active_claim(&self, observer: Observer<'_>) -> Option<Claim> {
        let active = self.seen.iter().filter(|source| Some(source.address) == observer.active_peer);
        active.filter_map(|source| source.claim).find(|claim| claim.accepted)
    }

    /// This router has just become active: the routers that it accepted have to hear it before their claims count again.
    pub(crate) fn begin_active(&mut self) {
        for source in &mut self.seen {
            source.claim = source.claim.filter(|claim| !claim.accepted);
        }
    }

    /// Finds or creates the entry of a source. When the table is full, it evicts the source that was heard least, silent ones
    /// and those never accepted first. A configured peer and the active router are never evicted.
    fn entry(&mut self, now: Time, observer: Observer<'_>, address: IpAddr, vrid: Option<u8>) -> &mut Source {
        // An unreadable packet has no VRID.
        let is_same = |source: &Source| {
            source.address == address && (source.vrid == vrid || vrid.is_none() || source.vrid.is_none())
        };
        if let Some(at) = self.seen.iter().position(is_same) {
            return &mut self.seen[at];
        }
        let is_peer = |source: &Source| {
            observer.active_peer == Some(source.address)
                || observer.peers.is_some_and(|peers| peers.contains(&source.address))
        };
        let others = self.seen.iter().enumerate().filter(|(_, source)| !is_peer(source));
        if others.clone().count() >= MAX_SOURCES {
            let rank = |source: &Source| {
                let is_silent = source.newest().is_none_or(|at| now.since(at) > FORGET_AFTER);
                let all = source.accepted + source.discarded.iter().sum::<u64>();
                (!is_silent, source.accepted > 0, all, source.newest())
            };
            let least = others.min_by_key(|(_, source)| rank(source)).map(|(at, _)| at);
            least.map(|at| self.seen.swap_remove(at));
        }
        self.seen.push(Source::new(address, vrid));
        let last = self.seen.len() - 1;
        &mut self.seen[last]
    }
}
