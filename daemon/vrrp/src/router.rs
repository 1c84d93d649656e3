//! The state machine of RFC 9568 section 6.4: what every state shares, and the way in and out of Initialize.
//! [`backup`] and [`active`] have the rules of their states.

mod active;
mod backup;
mod trial;

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::{AdvertInterval, Parsed, Priority, Version, group_for};

use self::active::Active;
use self::backup::{Awaiting, Backup};
use crate::action::{Action, Event, Kind};
use crate::config::{Config, ConfigError};
use crate::discard::Discard;
use crate::glimpse::glimpse;
use crate::input::{Health, Input, Link, Packet};
use crate::limit::{Limiter, PerSecond};
use crate::peers::Peers;
use crate::reception;
use crate::rival::Rival;
use crate::sources::{Outcome, Own, Source, Sources};
use crate::status::{Counters, Peer, State, Why};
use crate::time::Instant;
use crate::timers::{down_interval, skew};

/// One virtual router. See the [crate's page](crate) for the model.
#[derive(Debug)]
pub struct Router {
    config: Config,
    phase: Phase,
    why: Why,
    since: Instant,
    /// `None` until the caller knows.
    link: Option<Link>,
    health: Health,
    shut_down: bool,
    /// How often in a row the kernel refused the addresses.
    address_failures: u32,
    /// When they are tried again, and what the kernel said.
    retry: Option<(Instant, String)>,
    /// The kernel took the addresses the last time, and nothing has changed since.
    proven: bool,
    /// It has been asked to take them before this router says that it is active: how long it may take to answer.
    trial: Option<Instant>,
    /// The effective priority.
    priority: Priority,
    /// Active_Adver_Interval, where an active router taught one: version 3 only. Else our own counts.
    learned: Option<AdvertInterval>,
    /// When this router called its last election.
    last_call: Option<Instant>,
    /// The peer that was active last, as far as a router that is not active knows.
    active_peer: Option<IpAddr>,
    peers: Peers,
    sources: Sources,
    counters: Counters,
    events: Limiter<Kind, Event>,
    limits: Limits,
}

/// What other routers can make this one do, whatever the interval. Two routers that meet need one answer; a flood gets no
/// more than these.
#[derive(Debug, Default)]
struct Limits {
    answers: PerSecond<10>,
    announcements: PerSecond<5>,
    /// Of them those because another router was active.
    reclaims: PerSecond<3>,
    reclaimed_at: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    Initialize,
    Backup(Backup),
    Active(Active),
}

impl Phase {
    fn state(&self) -> State {
        match self {
            Self::Initialize => State::Initialize,
            Self::Backup(_) => State::Backup,
            Self::Active(_) => State::Active,
        }
    }
}

impl Router {
    /// A router in Initialize that waits for its link and its health.
    pub fn new(now: Instant, config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            phase: Phase::Initialize,
            why: Why::Starting,
            since: now,
            link: None,
            health: Health::Waiting { reason: "no check has reported yet".to_owned(), priority: config.priority },
            shut_down: false,
            address_failures: 0,
            retry: None,
            proven: false,
            trial: None,
            priority: config.priority,
            learned: None,
            last_call: None,
            active_peer: None,
            peers: Peers::default(),
            sources: Sources::default(),
            counters: Counters::default(),
            events: Limiter::default(),
            limits: Limits::default(),
            config,
        })
    }

    /// Takes in what happened at `now` and returns what to do about it, in order.
    ///
    /// `now` must not go back from call to call.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        // Before the input is looked at: what this router believes about the others may be out of date.
        self.notice_stall(now, &mut out);
        match input {
            Input::Link(link) => self.take_link(now, link, &mut out),
            Input::Health(health) => self.take_health(now, health, &mut out),
            Input::Packet(packet) => self.take_packet(now, &packet, &mut out),
            Input::Timer => self.take_timer(now, &mut out),
            Input::AddressesInstalled => self.take_success(now, &mut out),
            Input::AddressesFailed { reason } => self.take_failure(now, reason, &mut out),
            Input::Shutdown => {
                self.shut_down = true;
                self.reconcile(now, &mut out);
            }
        }
        out
    }

    /// Goes on with another configuration, without leaving the state: an active router keeps its addresses, and its next
    /// advertisement has the new values (conformance row 66).
    ///
    /// `health` is what the checks say under that configuration. The effective priority that it gives calls no election: an
    /// operator's wish, not a failure. VRID, version and family of the addresses can't change.
    pub fn reconfigure(&mut self, now: Instant, config: Config, health: Health) -> Result<Vec<Action>, ConfigError> {
        config.check()?;
        let same_family = config.addresses.first().is_some_and(|first| self.config.is_family_of(*first));
        let changes = [
            (config.vrid == self.config.vrid, "the virtual router id"),
            (config.version == self.config.version, "the version"),
            (same_family, "the family of the addresses"),
        ];
        if let Some((_, what)) = changes.into_iter().find(|(same, _)| !same) {
            return Err(ConfigError::Identity(what));
        }
        let mut out = Vec::new();
        self.notice_stall(now, &mut out);
        let old = (std::mem::replace(&mut self.config, config), self.priority);
        self.peers.compare_again();
        self.rate(now, &health, &mut out);
        self.health = health;
        if self.state() == State::Active || self.trial.is_some() {
            self.withdraw(&old.0, &mut out);
        }
        if old.0.addresses != self.config.addresses {
            // What was refused or granted were others.
            self.proven = false;
            self.end_trial(&mut out);
            self.forget_failures();
        }
        self.reconcile(now, &mut out);
        match self.state() {
            State::Initialize => {}
            State::Backup => self.reconfigure_backup(now, &old.0, &mut out),
            State::Active => self.reconfigure_active(now, &old.0, old.1, &mut out),
        }
        Ok(out)
    }

    /// The newest event of each kind that was left out and may be told by now. To be called about once a second.
    pub fn overdue(&mut self, now: Instant) -> Vec<Action> {
        let overdue = self.events.overdue(now).into_iter();
        overdue.map(|(event, left_out)| Action::Event { event, left_out }).collect()
    }

    fn tell(&mut self, now: Instant, event: Event, out: &mut Vec<Action>) {
        let kind = event.kind();
        if let Kind::Transition(..) = kind {
            // Told late, a state before this one would look like the state now.
            self.events.outdate(|kind| matches!(kind, Kind::Transition(..) | Kind::Held));
        }
        let told = self.events.say(now, kind, event);
        out.extend(told.map(|(event, left_out)| Action::Event { event, left_out }));
    }

    /// When to call [`Router::handle`] with [`Input::Timer`], if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Initialize | Phase::Backup(_) if self.trial.is_some() => self.trial,
            Phase::Initialize => self.retry.as_ref().map(|(at, _)| *at),
            Phase::Backup(backup) => Some(backup.down_at),
            Phase::Active(active) => Some(active.deadline()),
        }
    }

    /// The destinations and bytes (IP payloads) of an advertisement to send: one for the multicast group, or one for
    /// each peer. Empty while the link is down.
    pub fn packets(&self, advertisement: &vouchd_wire::Advertisement) -> Vec<(IpAddr, Vec<u8>)> {
        let Some(source) = self.source() else { return Vec::new() };
        let destinations = self.config.peers.clone().unwrap_or_else(|| vec![group_for(source)]);
        let encode = |destination| {
            // It can't fail: `Config::check` passed, and so did the family of the source.
            let bytes = advertisement.encode(source, destination, self.config.checksum).ok()?;
            Some((destination, bytes))
        };
        destinations.into_iter().filter_map(encode).collect()
    }

    /// The state.
    pub fn state(&self) -> State {
        self.phase.state()
    }

    /// Why it is in its state.
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// Since when it is in its state.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The effective priority, as in the next advertisement.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// The primary address to send from, if the link is up.
    pub fn source(&self) -> Option<IpAddr> {
        match self.link {
            Some(Link::Up { source }) => Some(source),
            Some(Link::Down { .. }) | None => None,
        }
    }

    /// The other router that was active when it was heard last. `None` if this one is active, or nobody was heard.
    pub fn active_peer(&self) -> Option<&Peer> {
        self.active_peer.and_then(|address| self.peers.get(address))
    }

    /// Every router that was heard.
    pub fn peers(&self) -> &[Peer] {
        self.peers.all()
    }

    /// Everybody who sent advertisements for this virtual router, believed or not.
    pub fn sources(&self) -> &[Source] {
        self.sources.all()
    }

    /// Who claims to be active, beside the router that is.
    pub fn rivals(&self, now: Instant) -> Vec<Rival> {
        self.sources.rivals(now, self.own())
    }

    /// What one of the [`Router::sources`] claims.
    pub fn rival(&self, now: Instant, source: &Source) -> Option<Rival> {
        self.sources.rival(now, self.own(), source)
    }

    /// Takes a look at a packet of another virtual router on the same network, which [`Router::handle`] is not to see: one
    /// that has addresses of this router is told and shown. It changes nothing else.
    pub fn overhear(&mut self, now: Instant, packet: &Packet<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        let shared = glimpse(packet.source, packet.payload).and_then(|glimpse| {
            let is_shared = |address: &&IpAddr| self.config.addresses.contains(address);
            glimpse.addresses.iter().find(is_shared).copied()
        });
        match (shared, self.state()) {
            (Some(address), State::Backup | State::Active) => {
                self.note_source(now, packet, Outcome::Overheard(address), &mut out);
            }
            (Some(_), State::Initialize) | (None, _) => {}
        }
        out
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The time that this router waits for a silent active one, at its priority now.
    pub fn down_interval(&self) -> Duration {
        down_interval(self.config.version, self.priority, self.pace())
    }

    /// Active_Adver_Interval.
    fn pace(&self) -> AdvertInterval {
        self.learned.unwrap_or(self.config.interval)
    }

    /// Whether the kernel has been asked to take the addresses before this router says that it is active.
    pub fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// The silence after which the peers of this router, were it active, may have taken over.
    fn own_down_interval(&self) -> Duration {
        down_interval(self.config.version, self.priority, self.config.interval)
    }

    fn skew(&self) -> Duration {
        skew(self.config.version, self.priority, self.pace())
    }

    /// Never act late on stale knowledge: see the crate's page.
    fn notice_stall(&mut self, now: Instant, out: &mut Vec<Action>) {
        let down = self.down_interval();
        match &mut self.phase {
            Phase::Initialize => {}
            Phase::Backup(backup) => {
                let late = now.since(self.trial.unwrap_or(backup.down_at));
                if late > down {
                    *backup = Backup { down_at: now + down, awaiting: Awaiting::Silence };
                    self.counters.stalls += 1;
                    self.end_trial(out);
                    self.tell(now, Event::Stalled { late }, out);
                }
            }
            Phase::Active(active) => {
                let (silent, late) = (now.since(active.advertised_at), now.since(active.advertise_at));
                if silent > self.own_down_interval() {
                    self.counters.stalls += 1;
                    self.tell(now, Event::Stalled { late }, out);
                    out.push(Action::Remove);
                    self.listen(now, Why::Stalled { late }, out);
                }
            }
        }
    }

    fn take_link(&mut self, now: Instant, link: Link, out: &mut Vec<Action>) {
        let link = match link {
            Link::Up { source } if !self.config.is_family_of(source) => {
                Link::Down { reason: format!("{source} is not of the family of the virtual addresses") }
            }
            link @ (Link::Up { .. } | Link::Down { .. }) => link,
        };
        self.link = Some(link);
        // What is on the interface beside our addresses may be what the kernel refused, or will refuse.
        self.proven = false;
        self.retry = None;
        self.reconcile(now, out);
    }

    fn take_health(&mut self, now: Instant, health: Health, out: &mut Vec<Action>) {
        let before = self.priority;
        self.rate(now, &health, out);
        match self.priority.cmp(&before) {
            Ordering::Less => self.fell(now, before, out),
            Ordering::Equal => {}
            Ordering::Greater => self.rose(),
        }
        self.health = health;
        self.reconcile(now, out);
    }

    /// Makes the effective priority what `health` says. An owner's is always 255 (RFC 9568 section 5.2.4).
    fn rate(&mut self, now: Instant, health: &Health, out: &mut Vec<Action>) {
        let (rated, reason) = match health {
            Health::Fit { priority, reason } | Health::Waiting { priority, reason } => (*priority, reason),
            Health::Fault { reason } => (self.priority, reason),
        };
        let from = self.priority;
        let to = match self.config.is_owner() {
            true => Priority::OWNER,
            false => rated.clamp(Priority::LOWEST, Priority::HIGHEST),
        };
        if to != from {
            self.tell(now, Event::Priority { from, to, reason: reason.clone() }, out);
            self.move_priority(now, to);
        }
    }

    /// Sets the effective priority; a running skew moves by what the change makes.
    fn move_priority(&mut self, now: Instant, to: Priority) {
        let (before, after) = {
            let before = self.skew();
            self.priority = to;
            (before, self.skew())
        };
        match &mut self.phase {
            Phase::Initialize => {}
            Phase::Backup(backup) => backup.down_at = moved(now, backup.down_at, before, after),
            Phase::Active(active) => {
                if active.is_electing() {
                    active.advertise_at = moved(now, active.advertise_at, before, after);
                }
            }
        }
    }

    fn take_packet(&mut self, now: Instant, packet: &Packet<'_>, out: &mut Vec<Action>) {
        let checked = reception::check(&self.config, self.source(), packet);
        match (checked, self.state()) {
            (Ok(parsed), State::Initialize) => {
                self.note_source(now, packet, Outcome::Accepted, out);
                self.note_peer(now, packet.source, &parsed, out);
                self.note_active(packet.source, &parsed);
            }
            // It takes no part, so it doesn't judge either.
            (Err(_), State::Initialize) => {}
            (Ok(parsed), state @ (State::Backup | State::Active)) => {
                self.counters.received += 1;
                if parsed.advertisement.priority == Priority::RESIGN {
                    self.counters.priority_zero_received += 1;
                }
                self.note_source(now, packet, Outcome::Accepted, out);
                self.note_peer(now, packet.source, &parsed, out);
                match state {
                    State::Active => self.hear_as_active(now, packet.source, &parsed, out),
                    State::Backup | State::Initialize => self.hear_as_backup(now, packet.source, &parsed, out),
                }
            }
            (Err(rejection), State::Backup | State::Active) => {
                let reason = rejection.reason();
                let total = self.counters.discard(reason);
                if reason == Discard::OwnerReceives {
                    self.note_rival();
                }
                self.note_source(now, packet, Outcome::Discarded(reason), out);
                self.tell(now, Event::Discarded { source: packet.source, rejection, total }, out);
            }
        }
    }

    fn note_source(&mut self, now: Instant, packet: &Packet<'_>, outcome: Outcome, out: &mut Vec<Action>) {
        let glimpse = glimpse(packet.source, packet.payload);
        let own = Own::of(&self.config, self.phase.state(), self.source(), self.active_peer);
        if let Some(rival) = self.sources.note(now, own, packet.source, glimpse.as_ref(), outcome) {
            self.tell(now, Event::Contested(rival), out);
        }
    }

    fn own(&self) -> Own<'_> {
        Own::of(&self.config, self.phase.state(), self.source(), self.active_peer)
    }

    fn note_peer(&mut self, now: Instant, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        for event in self.peers.note(now, &self.config, peer, parsed, self.active_peer) {
            self.tell(now, event, out);
        }
    }

    /// Remembers, for status, whether `peer` is active.
    fn note_active(&mut self, peer: IpAddr, parsed: &Parsed) {
        if parsed.advertisement.priority != Priority::RESIGN {
            self.active_peer = Some(peer);
        } else if self.active_peer == Some(peer) {
            self.active_peer = None;
        }
    }

    fn take_timer(&mut self, now: Instant, out: &mut Vec<Action>) {
        match &self.phase {
            Phase::Initialize | Phase::Backup(_) if self.trial.is_some() => {
                if self.trial.is_some_and(|until| until <= now) {
                    self.take_failure(now, "the kernel does not answer".to_owned(), out);
                }
            }
            Phase::Initialize => {
                if let Some((_, reason)) = self.retry.take_if(|(at, _)| *at <= now) {
                    self.reconcile(now, out);
                    if self.state() == State::Backup {
                        self.why = Why::Refused(reason);
                    }
                }
            }
            Phase::Backup(backup) => {
                if backup.down_at <= now {
                    self.stand_in(now, out);
                }
            }
            Phase::Active(_) => self.active_timer(now, out),
        }
    }

    /// What keeps this router in Initialize, the most fundamental first.
    fn obstacle(&self) -> Option<Why> {
        if self.shut_down {
            return Some(Why::ShutDown);
        }
        match &self.link {
            None => return Some(Why::Starting),
            Some(Link::Down { reason }) => return Some(Why::LinkDown(reason.clone())),
            Some(Link::Up { .. }) => {}
        }
        match &self.health {
            Health::Waiting { reason, .. } => return Some(Why::HealthWaiting(reason.clone())),
            Health::Fault { reason } => return Some(Why::HealthFault(reason.clone())),
            Health::Fit { .. } => {}
        }
        self.retry.as_ref().map(|(_, reason)| Why::AddressesFailed(reason.clone()))
    }

    /// Brings the state in line with link, health and shutdown.
    fn reconcile(&mut self, now: Instant, out: &mut Vec<Action>) {
        match (self.state(), self.obstacle()) {
            (State::Initialize, None) => self.start(now, out),
            (State::Initialize, Some(why)) => {
                self.end_trial(out);
                if why != self.why {
                    self.why = why.clone();
                    self.tell(now, Event::Held { why }, out);
                }
            }
            // A check that was added must not cost a router that takes part the addresses.
            (State::Backup | State::Active, None | Some(Why::HealthWaiting(_))) => {}
            (State::Backup | State::Active, Some(why)) => self.leave(now, why, out),
        }
    }

    /// RFC 9568 section 6.4.1.
    fn start(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.config.is_owner() {
            self.stand_in(now, out);
        } else {
            self.end_trial(out);
            self.listen(now, Why::Ready, out);
        }
    }

    /// To Initialize. An active router says so first (priority 0), then gives the addresses up.
    fn leave(&mut self, now: Instant, why: Why, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Initialize | Phase::Backup(_) => self.end_trial(out),
            Phase::Active(_) => {
                if self.source().is_some() {
                    self.send(now, Priority::RESIGN, out);
                }
                out.push(Action::Remove);
            }
        }
        self.transit(now, Phase::Initialize, why, out);
    }

    /// To Backup, with a full down interval of our own.
    fn listen(&mut self, now: Instant, why: Why, out: &mut Vec<Action>) {
        self.learned = None;
        let down_at = now + self.down_interval();
        self.transit(now, Phase::Backup(Backup { down_at, awaiting: Awaiting::Silence }), why, out);
    }

    fn transit(&mut self, now: Instant, phase: Phase, why: Why, out: &mut Vec<Action>) {
        let (from, to) = (self.state(), phase.state());
        self.phase = phase;
        self.since = now;
        self.why = why.clone();
        self.counters.transitions += 1;
        self.tell(now, Event::Transition { from, to, why }, out);
    }

    fn send(&mut self, now: Instant, priority: Priority, out: &mut Vec<Action>) {
        self.counters.sent += 1;
        if priority == Priority::RESIGN {
            self.counters.priority_zero_sent += 1;
        } else if let Phase::Active(active) = &mut self.phase {
            active.advertised_at = now;
        }
        out.push(Action::Send(self.config.advertisement(priority)));
    }

    /// The interval that a peer's advertisement teaches: version 2 has one for all.
    fn learn(&mut self, parsed: &Parsed) {
        self.learned = match self.config.version {
            Version::V2 => None,
            Version::V3 => Some(parsed.advertisement.interval),
        };
    }
}

/// `deadline` when the skew in it goes from `before` to `after`, not in the past.
fn moved(now: Instant, deadline: Instant, before: Duration, after: Duration) -> Instant {
    if after >= before { deadline + (after - before) } else { deadline.before(before - after).max(now) }
}
