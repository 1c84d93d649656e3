//! Whoever sends advertisements for this virtual router or its addresses, believed or not: what came of it, and who claims to
//! be active beside the active one. For status and log; nothing here decides anything.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Config;
use crate::discard::Discard;
use crate::glimpse::Glimpse;
use crate::rival::{Contested, Rival};
use crate::status::State;
use crate::time::Instant;

/// More than any real network has; a flood of made-up sources must not fill the memory.
const CAPACITY: usize = 64;

/// Who has said nothing for so long makes place for anybody.
const SILENCE: Duration = Duration::from_secs(600);

/// A router that is not heard for three intervals, at least for so long, is not active any more (RFC 9568 section 6.1).
const SHORTEST_WINDOW: Duration = Duration::from_secs(3);

/// A router whose advertisements are discarded is active until it says otherwise, or is silent for so long. It may send
/// seldom: keepalived puts its next advertisement off with every one that it receives and discards.
const UNHEEDED: Duration = Duration::from_secs(60);

/// A worse router gets so long to hear the better one, and at least two intervals.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);

/// A source of advertisements, under one virtual router id.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it sends from.
    pub address: IpAddr,
    /// The virtual router id in its newest advertisement; `None` while nothing could be read.
    pub vrid: Option<u8>,
    /// The priority in its newest advertisement.
    pub priority: Option<u8>,
    /// Advertisements that passed all checks.
    pub accepted: u64,
    /// When the newest of them came.
    pub last_accepted: Option<Instant>,
    /// When the newest one came that did not, and why it was discarded.
    pub last_discarded: Option<(Instant, Discard)>,
    discarded: [u64; Discard::ALL.len()],
    /// An address that it shares with this router, under another id.
    shared: Option<IpAddr>,
    run: Option<Run>,
}

/// Advertisements of an active router, without a gap in which it would count as gone.
#[derive(Clone, Copy, Debug)]
struct Run {
    accepted: bool,
    since: Instant,
    last: Instant,
    count: u64,
    window: Duration,
    /// The newest one names addresses, and none of ours: another virtual router with the same id.
    elsewhere: bool,
    /// The claim has been told.
    told: bool,
}

/// What became of an advertisement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Accepted,
    Discarded(Discard),
    /// It has another virtual router id, and this address of ours.
    Overheard(IpAddr),
}

/// What is known about the router that keeps the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own<'a> {
    pub(crate) state: State,
    pub(crate) source: Option<IpAddr>,
    pub(crate) interval: Duration,
    pub(crate) addresses: &'a [IpAddr],
    /// By unicast.
    pub(crate) peers: Option<&'a [IpAddr]>,
    pub(crate) active_peer: Option<IpAddr>,
}

impl<'a> Own<'a> {
    pub(crate) fn of(config: &'a Config, state: State, source: Option<IpAddr>, active_peer: Option<IpAddr>) -> Self {
        let (interval, peers) = (config.interval.duration(), config.peers.as_deref());
        Own { state, source, interval, addresses: &config.addresses, peers, active_peer }
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
            last_accepted: None,
            last_discarded: None,
            discarded: [0; Discard::ALL.len()],
            shared: None,
            run: None,
        }
    }

    /// Advertisements of it that were discarded for `reason`.
    pub fn discarded(&self, reason: Discard) -> u64 {
        self.discarded[reason as usize]
    }

    /// Why what it said last as an active router for our addresses was discarded, be it a single advertisement.
    pub fn unheeded(&self, now: Instant) -> Option<Discard> {
        self.run.filter(|run| !run.accepted && !run.elsewhere && now.since(run.last) <= run.window)?;
        self.last_discarded.map(|(_, reason)| reason)
    }

    fn newest(&self) -> Option<Instant> {
        self.last_accepted.max(self.last_discarded.map(|(at, _)| at))
    }

    fn count(&mut self, now: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Accepted => {
                self.accepted += 1;
                self.last_accepted = Some(now);
            }
            Outcome::Discarded(reason) => {
                self.discarded[reason as usize] += 1;
                self.last_discarded = Some((now, reason));
            }
            Outcome::Overheard(address) => {
                self.discarded[Discard::Vrid as usize] += 1;
                self.last_discarded = Some((now, Discard::Vrid));
                self.shared = Some(address);
            }
        }
    }

    fn read(&mut self, now: Instant, glimpse: &Glimpse, accepted: bool, own: Own<'_>) {
        self.vrid = Some(glimpse.vrid);
        self.priority = Some(glimpse.priority);
        if glimpse.priority == 0 {
            self.run = None;
            return;
        }
        let shortest = match (accepted, self.last_discarded) {
            // One that is understood falls silent when it hears this router.
            (true, _) | (false, Some((_, Discard::OwnerReceives))) => SHORTEST_WINDOW,
            (false, _) => UNHEEDED,
        };
        let window = (own.interval.max(glimpse.interval) * 3).max(shortest);
        let named = &glimpse.addresses;
        let elsewhere = !named.is_empty() && named.iter().all(|address| !own.addresses.contains(address));
        self.run = Some(match self.run {
            Some(run) if run.accepted == accepted && now.since(run.last) <= run.window.max(window) => {
                Run { last: now, count: run.count + 1, window, elsewhere, ..run }
            }
            Some(_) | None => Run { accepted, since: now, last: now, count: 1, window, elsewhere, told: false },
        });
    }

    /// What it claims beside the active router, if it does.
    fn rival(&self, now: Instant, own: Own<'_>, active: Option<Run>) -> Option<Rival> {
        let run = self.run?;
        if own.state == State::Initialize || now.since(run.last) > run.window {
            return None;
        }
        // A better or equal router that is heard would have answered by now, and a worse one would have stepped back.
        let patience = (own.interval * 2).max(SHORTEST_PATIENCE);
        let insists = run.count >= 3 && run.last.since(run.since) >= patience;
        // Both went on after the later of them began.
        let go_on = |other: Run| {
            let both = run.since.max(other.since);
            run.last.since(both) >= patience && other.last.since(both) >= patience
        };
        let reason = self.last_discarded.map(|(_, reason)| reason);
        let (why, count) = match (run.accepted, reason) {
            (true, _) if !insists => return None,
            (true, _) => match own.state {
                State::Active => (Contested::Unheard { own: own.source?, unicast: own.peers.is_some() }, run.count),
                State::Backup | State::Initialize => match own.active_peer {
                    Some(peer) if peer != self.address && active.is_some_and(go_on) => {
                        (Contested::Beside(peer), run.count)
                    }
                    Some(_) | None => return None,
                },
            },
            (false, Some(Discard::OwnerReceives)) if !insists => return None,
            // One packet is easily made up, or a router's last word.
            (false, _) if run.count < 2 => return None,
            (false, Some(Discard::Vrid)) => {
                (Contested::OtherVrid { vrid: self.vrid?, address: self.shared? }, self.discarded(Discard::Vrid))
            }
            // What the damage has left of the addresses says nothing, and CARP has none in its packets.
            (false, Some(reason @ (Discard::Checksum | Discard::Length | Discard::Carp))) => {
                (Contested::Discarded(reason), self.discarded(reason))
            }
            (false, Some(reason)) if run.elsewhere => (Contested::OtherAddresses(reason), self.discarded(reason)),
            (false, Some(reason)) => (Contested::Discarded(reason), self.discarded(reason)),
            (false, None) => return None,
        };
        Some(Rival { peer: self.address, priority: self.priority?, count, ago: now.since(run.last), why })
    }
}

impl Sources {
    pub(crate) fn all(&self) -> &[Source] {
        &self.seen
    }

    /// What `source` claims now, if it does.
    pub(crate) fn rival(&self, now: Instant, own: Own<'_>, source: &Source) -> Option<Rival> {
        source.rival(now, own, self.active_run(own))
    }

    /// Who claims to be active now.
    pub(crate) fn rivals(&self, now: Instant, own: Own<'_>) -> Vec<Rival> {
        self.seen.iter().filter_map(|source| self.rival(now, own, source)).collect()
    }

    /// Remembers what `address` sent, and returns what it claims, once, when that has become clear.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        own: Own<'_>,
        address: IpAddr,
        glimpse: Option<&Glimpse>,
        outcome: Outcome,
    ) -> Option<Rival> {
        let source = self.entry(now, own, address, glimpse.map(|glimpse| glimpse.vrid));
        source.count(now, outcome);
        if let Some(glimpse) = glimpse {
            source.read(now, glimpse, matches!(outcome, Outcome::Accepted), own);
        }
        if matches!(outcome, Outcome::Accepted) {
            // Whatever it sent before, under another id perhaps, it has been understood now.
            let others = self.seen.iter_mut().filter(|source| source.address == address);
            others.for_each(|source| source.run = source.run.filter(|run| run.accepted));
        }
        let source = self.entry(now, own, address, glimpse.map(|glimpse| glimpse.vrid));
        if source.run.is_none_or(|run| run.told) {
            return None;
        }
        let active = self.active_run(own);
        let source = self.entry(now, own, address, glimpse.map(|glimpse| glimpse.vrid));
        let rival = source.rival(now, own, active)?;
        if let Some(run) = &mut source.run {
            run.told = true;
        }
        Some(rival)
    }

    /// That of the active router that was accepted.
    fn active_run(&self, own: Own<'_>) -> Option<Run> {
        let active = self.seen.iter().filter(|source| Some(source.address) == own.active_peer);
        active.filter_map(|source| source.run).find(|run| run.accepted)
    }

    /// This router has just become active: whoever it was that it heard gets the time to hear it.
    pub(crate) fn begin_active(&mut self) {
        for source in &mut self.seen {
            source.run = source.run.filter(|run| !run.accepted);
        }
    }

    /// The entry of a source, made if need be. Where there are too many, the one that was heard least makes place, those
    /// that were never believed first; a configured peer and the active router never do.
    fn entry(&mut self, now: Instant, own: Own<'_>, address: IpAddr, vrid: Option<u8>) -> &mut Source {
        // What can't be read names no id.
        let is_same = |source: &Source| {
            source.address == address && (source.vrid == vrid || vrid.is_none() || source.vrid.is_none())
        };
        if let Some(at) = self.seen.iter().position(is_same) {
            return &mut self.seen[at];
        }
        let is_peer = |source: &Source| {
            own.active_peer == Some(source.address) || own.peers.is_some_and(|peers| peers.contains(&source.address))
        };
        let others = self.seen.iter().enumerate().filter(|(_, source)| !is_peer(source));
        if others.clone().count() >= CAPACITY {
            let standing = |source: &Source| {
                let is_silent = source.newest().is_none_or(|at| now.since(at) > SILENCE);
                let all = source.accepted + source.discarded.iter().sum::<u64>();
                (!is_silent, source.accepted > 0, all, source.newest())
            };
            let least = others.min_by_key(|(_, source)| standing(source)).map(|(at, _)| at);
            least.map(|at| self.seen.swap_remove(at));
        }
        self.seen.push(Source::new(address, vrid));
        let last = self.seen.len() - 1;
        &mut self.seen[last]
    }
}
