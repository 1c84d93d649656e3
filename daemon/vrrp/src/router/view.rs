//! What status, metrics and the caller may read of a router. Nothing here changes it.

use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::{AdvertInterval, Priority};

use super::{Phase, Router};
use crate::config::Config;
use crate::input::Link;
use crate::pair::HandOver;
use crate::rival::Rival;
use crate::sources::{Observer, Source};
use crate::status::{Counters, Peer, State, Why};
use crate::timers::{DOWN_TIMER_ADVERTS, down_interval, skew};
use vouchd_wire::Time;

impl Router {
    /// The state.
    pub fn state(&self) -> State {
        self.phase.state()
    }

    /// Why the router is in its state.
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// When the router entered its state.
    pub fn since(&self) -> Time {
        self.since
    }

    /// The configuration that is in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The effective priority, as in the next advertisement.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// The primary address to send from. `None` while the link is down.
    pub fn source(&self) -> Option<IpAddr> {
        match self.link {
            Some(Link::Up { source }) => Some(source),
            Some(Link::Down { .. }) | None => None,
        }
    }

    /// The other router that was active when it was last heard. `None` if this one is active, or no active one was heard.
    pub fn active_peer(&self) -> Option<&Peer> {
        self.active_peer.and_then(|address| self.peers.get(address))
    }

    /// The routers whose advertisements passed all checks, at most 32.
    pub fn peers(&self) -> &[Peer] {
        self.peers.all()
    }

    /// Everyone who sent advertisements for this virtual router, accepted or discarded: the configured peers, and at most 64
    /// others.
    pub fn sources(&self) -> &[Source] {
        self.sources.all()
    }

    /// The routers that claim to be active beside the one that is.
    pub fn rivals(&self, now: Time) -> Vec<Rival> {
        self.sources.rivals(now, self.observer())
    }

    /// What one of [`Router::sources`] claims. `None` if it does not claim to be active.
    pub fn rival(&self, now: Time, source: &Source) -> Option<Rival> {
        self.sources.rival(now, self.observer(), source)
    }

    /// The counters since the router was made.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How long this router, at its current priority, waits for a silent active router (Active_Down_Interval).
    pub fn down_interval(&self) -> Duration {
        let adverts = self.config.down_timer_adverts;
        down_interval(self.config.version, self.priority, self.active_adver_interval(), adverts)
    }

    /// Whether the kernel is installing the addresses before this router says that it is active.
    pub fn is_in_trial(&self) -> bool {
        self.trial_until.is_some()
    }

    /// Whether hand-over is instant. `None` unless the router is configured as one of a pair.
    pub fn hand_over(&self, now: Time) -> Option<HandOver> {
        self.config.pair.then(|| self.pair.hand_over(now, self.down_interval()))
    }

    /// When this router takes over from a worse active router, once `preempt_delay` is over. `None` while it does not wait for
    /// that.
    pub fn preempt_at(&self) -> Option<Time> {
        match &self.phase {
            Phase::Backup(backup) => backup.delayed.map(|delayed| delayed.at),
            Phase::Initialize | Phase::Active(_) => None,
        }
    }

    /// When `startup_delay` is over. `None` afterwards.
    pub fn starts_at(&self) -> Option<Time> {
        self.startup.map(|(at, _)| at)
    }

    /// Active_Adver_Interval.
    pub(super) fn active_adver_interval(&self) -> AdvertInterval {
        self.learned_interval.unwrap_or(self.config.interval)
    }

    /// The silence after which the peers of this router, were it active, may have taken over. They may count three intervals
    /// where this router counts more.
    pub(super) fn own_down_interval(&self) -> Duration {
        let adverts = self.config.down_timer_adverts.min(DOWN_TIMER_ADVERTS);
        down_interval(self.config.version, self.priority, self.config.interval, adverts)
    }

    pub(super) fn skew(&self) -> Duration {
        skew(self.config.version, self.priority, self.active_adver_interval())
    }

    pub(super) fn observer(&self) -> Observer<'_> {
        Observer::of(&self.config, self.phase.state(), self.source(), self.active_peer)
    }
}
