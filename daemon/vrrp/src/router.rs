//! The state machine of RFC 9568 section 6.4: its data, its way in and its way out.
//!
//! The rules are grouped by state ([`initialize`], [`backup`], [`active`]) and by concern ([`announce`], [`election`],
//! [`grouped`], [`health`], [`receive`], [`stall`], [`trial`]). [`stage`] and [`view`] only read.

mod active;
mod announce;
mod backup;
mod election;
mod grouped;
mod health;
mod initialize;
mod receive;
mod stage;
mod stall;
mod trial;
mod view;

use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::{AdvertInterval, Advertisement, Priority, Version};

use self::active::Active;
use self::announce::AnnounceLimits;
use self::backup::Backup;
use self::grouped::Imposed;
pub use self::stage::Stage;
use crate::action::{Action, EventKind, ProtocolEvent};
use crate::authentication::{Hmac, Sequences};
use crate::config::{Config, ConfigError};
use crate::input::{Health, Input, Link};
use crate::limit::{Limiter, PerSecond};
use crate::pair::Pair;
use crate::peers::Peers;
use crate::sources::Sources;
use crate::status::{Counters, State, Why};
use crate::versions::Versions;
use vouchd_wire::Time;

/// One virtual router. See the [crate's page](crate) for the model.
#[derive(Debug)]
pub struct Router {
    config: Config,
    phase: Phase,
    why: Why,
    since: Time,
    /// `None` until the first [`Input::Link`].
    link: Option<Link>,
    health: Health,
    shut_down: bool,
    /// How many times in a row the kernel refused the addresses.
    address_failures: u32,
    /// When `startup_delay` is over. `None` afterwards.
    startup: Option<(Time, Duration)>,
    /// When to try the refused addresses again, and why the kernel refused them.
    retry: Option<(Time, String)>,
    /// The kernel accepted the addresses the last time, and nothing has changed since.
    addresses_proven: bool,
    /// Set while the kernel installs the addresses before this router says that it is active: the time by which it has to
    /// answer.
    trial_until: Option<Time>,
    /// The base priority less the one that this router's own checks ask for.
    own_reduction: i16,
    imposed: Imposed,
    /// The effective priority.
    priority: Priority,
    /// Active_Adver_Interval as learned from an active router (version 3 only). `None`: this router's own interval.
    learned_interval: Option<AdvertInterval>,
    /// When this router last called an election.
    last_election: Option<Time>,
    /// The peer that was active when it was last heard. Always `None` in Active.
    active_peer: Option<IpAddr>,
    pair: Pair,
    versions: Versions,
    peers: Peers,
    sequences: Sequences,
    sources: Sources,
    counters: Counters,
    events: Limiter<EventKind, ProtocolEvent>,
    /// Immediate answers to other routers. Two routers that meet need one answer; a flood gets no more than this.
    answers: PerSecond<10>,
    /// The last advertisements of this router when it steps back. They don't share the limit of the answers: the better router
    /// has to learn that this one was active, or it does not announce the addresses again.
    farewells: PerSecond<10>,
    announce_limits: AnnounceLimits,
}

/// The state, with the data that exists in that state only.
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
    /// Makes a router in Initialize, which waits for its link and its health.
    ///
    /// # Errors
    /// The configuration fails [`Config::check`].
    pub fn new(now: Time, config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            phase: Phase::Initialize,
            why: Why::Starting,
            since: now,
            link: None,
            health: Health::Waiting { reason: "no check has reported yet".to_owned(), priority: config.priority },
            shut_down: false,
            address_failures: 0,
            startup: startup(now, &config),
            retry: None,
            addresses_proven: false,
            trial_until: None,
            own_reduction: 0,
            imposed: Imposed::default(),
            priority: config.priority,
            learned_interval: None,
            last_election: None,
            active_peer: None,
            pair: Pair::default(),
            versions: Versions::default(),
            peers: Peers::default(),
            sequences: Sequences::default(),
            sources: Sources::default(),
            counters: Counters::default(),
            events: Limiter::default(),
            answers: PerSecond::default(),
            farewells: PerSecond::default(),
            announce_limits: AnnounceLimits::default(),
            config,
        })
    }

    /// Handles what happened at `now` and returns the actions to carry out, in order.
    ///
    /// `now` must never be earlier than in the call before.
    pub fn handle(&mut self, now: Time, input: Input<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        // Before the input: what this router believes about the others may be out of date.
        self.detect_stall(now, &mut out);
        match input {
            Input::Link(link) => self.handle_link(now, link, &mut out),
            Input::Health(health) => self.handle_health(now, health, &mut out),
            Input::Packet(packet) => self.handle_packet(now, &packet, &mut out),
            Input::Timer => self.handle_timer(now, &mut out),
            Input::AddressesInstalled => self.handle_installed(now, &mut out),
            Input::AddressesFailed { reason } => self.handle_refused(now, reason, &mut out),
            Input::Group(order) if self.config.grouped => self.handle_order(now, order, &mut out),
            Input::Group(_) => {}
            Input::Shutdown => {
                self.shut_down = true;
                self.reconcile(now, &mut out);
            }
        }
        out
    }

    /// Reports the time of the wall clock since 1970. A router with [`Hmac`] needs it before each call of [`Router::handle`],
    /// [`Router::reconfigure`] and [`Router::packets`]; nothing else reads it. The clock may step: what is sent is in order.
    pub fn set_wall_clock(&mut self, since_1970: Duration) {
        self.sequences.set_wall_clock(since_1970);
    }

    /// Switches to another configuration without leaving the state: an active router keeps its addresses, and its next
    /// advertisement has the new values (conformance row 66).
    ///
    /// `health` is what the checks say under the new configuration. An effective priority that falls with it calls no
    /// election: the operator asked for it, nothing failed.
    ///
    /// # Errors
    /// The configuration fails [`Config::check`], or changes the VRID or the address family. The router goes
    /// on with the old one.
    pub fn reconfigure(&mut self, now: Time, config: Config, health: Health) -> Result<Vec<Action>, ConfigError> {
        config.check()?;
        let same_family = config.family() == self.config.family();
        let changes =
            [(config.vrid == self.config.vrid, "the virtual router id"), (same_family, "the family of the addresses")];
        if let Some((_, what)) = changes.into_iter().find(|(same, _)| !same) {
            return Err(ConfigError::Identity(what));
        }
        let mut out = Vec::new();
        self.detect_stall(now, &mut out);
        let (old, old_priority) = (std::mem::replace(&mut self.config, config), self.priority);
        self.peers.compare_again();
        self.sequences.forget_old_keys(old.hmac.as_ref(), self.config.hmac.as_ref());
        if old.version != self.config.version {
            // Only version 3 learns an interval.
            self.learned_interval = None;
        }
        if old.peers != self.config.peers {
            self.pair = Pair::default();
        }
        if !self.config.grouped {
            self.leave_group(&mut out);
        }
        if old.startup_delay != self.config.startup_delay {
            let made = self.startup.map(|(at, delay)| at.before(delay));
            self.startup = made.and_then(|made| startup(made, &self.config));
        }
        self.apply_health(now, &health, &mut out);
        self.health = health;
        if self.state() == State::Active || self.is_in_trial() {
            self.withdraw_dropped(&old, &mut out);
        }
        if old.addresses != self.config.addresses {
            // The kernel accepted or refused other addresses.
            self.addresses_proven = false;
            self.end_trial(&mut out);
            self.forget_failures();
        }
        self.reconcile(now, &mut out);
        match self.state() {
            State::Initialize => {}
            State::Backup => self.reconfigure_backup(now, &old, &mut out),
            State::Active => self.reconfigure_active(now, &old, old_priority, &mut out),
        }
        Ok(out)
    }

    /// Returns the newest suppressed event of each kind whose second is over. Call it about once a second.
    pub fn overdue(&mut self, now: Time) -> Vec<Action> {
        let overdue = self.events.overdue(now).into_iter();
        overdue.map(|(event, left_out)| Action::Event { event, left_out }).collect()
    }

    /// When to call [`Router::handle`] with [`Input::Timer`] if nothing else happens before. `None`: not at all.
    pub fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Initialize | Phase::Backup(_) if self.is_in_trial() => self.trial_until,
            Phase::Initialize => {
                let (startup, retry) = (self.startup.map(|(at, _)| at), self.retry.as_ref().map(|(at, _)| *at));
                startup.into_iter().chain(retry).min()
            }
            Phase::Backup(backup) => backup.deadline(),
            Phase::Active(active) => Some(active.deadline()),
        }
    }

    /// Encodes an advertisement for each destination: the multicast group, or every peer. The bytes are IP payloads.
    /// Empty while the link is down.
    pub fn packets(&mut self, advertisement: &Advertisement) -> Vec<(IpAddr, Vec<u8>)> {
        let Some(source) = self.source() else { return Vec::new() };
        let destinations = self.config.peers.clone().unwrap_or_else(|| vec![self.config.group(source)]);
        let key = self.config.hmac.as_ref().and_then(Hmac::sending_key);
        let sealed = key.map(|key| (key, self.sequences.next()));
        let encode = |destination| {
            let form = self.config.checksum;
            let bytes = match sealed {
                Some((key, sequence)) => advertisement.encode_with_hmac(source, destination, form, key, sequence),
                None => advertisement.encode(source, destination, form),
            };
            // It can't fail: `Config::check` passed, and the source is of the addresses' family.
            Some((destination, bytes.ok()?))
        };
        destinations.into_iter().filter_map(encode).collect()
    }

    fn handle_timer(&mut self, now: Time, out: &mut Vec<Action>) {
        match &self.phase {
            Phase::Initialize | Phase::Backup(_) if self.is_in_trial() => {
                if self.trial_until.is_some_and(|until| until <= now) {
                    self.handle_refused(now, "the kernel does not answer".to_owned(), out);
                }
            }
            Phase::Initialize => self.end_pauses(now, out),
            Phase::Backup(_) => self.backup_timer(now, out),
            Phase::Active(_) => self.active_timer(now, out),
        }
    }

    fn transition(&mut self, now: Time, phase: Phase, why: Why, out: &mut Vec<Action>) {
        let (from, to) = (self.state(), phase.state());
        self.phase = phase;
        self.since = now;
        self.why = why.clone();
        self.counters.transitions += 1;
        self.report(now, ProtocolEvent::Transition { from, to, why }, out);
    }

    fn report(&mut self, now: Time, event: ProtocolEvent, out: &mut Vec<Action>) {
        let kind = event.kind();
        if let EventKind::Transition(..) = kind {
            // Reported late, an earlier state would look like the current one.
            self.events.drop_pending(|kind| matches!(kind, EventKind::Transition(..) | EventKind::Held));
        }
        let admitted = self.events.admit(now, kind, event);
        out.extend(admitted.map(|(event, left_out)| Action::Event { event, left_out }));
    }

    fn send(&mut self, now: Time, priority: Priority, out: &mut Vec<Action>) {
        let advertisement = self.config.advertisement(priority);
        let version_2 =
            self.config.also_version_2.then(|| Advertisement { version: Version::V2, ..advertisement.clone() });
        let count = 1 + u64::from(version_2.is_some());
        self.counters.sent += count;
        if priority == Priority::RESIGN {
            self.counters.priority_zero_sent += count;
        } else if let Phase::Active(active) = &mut self.phase {
            active.advertised_at = now;
        }
        out.extend([Some(advertisement), version_2].into_iter().flatten().map(Action::Send));
    }
}

/// When `startup_delay` is over, for a router made at `made`.
fn startup(made: Time, config: &Config) -> Option<(Time, Duration)> {
    let delay = config.startup_delay;
    (delay != Duration::ZERO).then(|| (made + delay, delay))
}
