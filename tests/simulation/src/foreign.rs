//! Models of other implementations, written from the RFCs' tables and from what keepalived was seen to do. They share only
//! the packet codec with vouchd.

use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::Time;
use vouchd_vrrp::wire::{AdvertInterval, Version};

use crate::scenario::Kind;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Fault,
    Backup,
    Active,
}

/// One virtual router of another program.
#[derive(Debug)]
pub(crate) struct Foreign {
    kind: Kind,
    version: Version,
    pub(crate) address: IpAddr,
    pub(crate) interval: AdvertInterval,
    pub(crate) preempt: bool,
    priority: u8,
    /// Active_Adver_Interval.
    learned: AdvertInterval,
    state: State,
    timer: Time,
    /// keepalived: how many advertisements of a second owner arrived since this one advertised with 255.
    rogues: u32,
}

/// An advertisement as far as the models look at it.
pub(crate) struct Heard {
    pub(crate) source: IpAddr,
    pub(crate) priority: u8,
    pub(crate) interval: AdvertInterval,
}

impl Foreign {
    pub(crate) fn new(now: Time, kind: Kind, version: Version, address: IpAddr, interval: AdvertInterval) -> Self {
        let (state, learned) = (State::Fault, interval);
        Self { kind, version, address, interval, preempt: true, priority: 100, learned, state, timer: now, rogues: 0 }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.state == State::Active
    }

    pub(crate) fn takes_part(&self) -> bool {
        self.state != State::Fault
    }

    pub(crate) fn priority(&self) -> u8 {
        self.priority
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.takes_part().then_some(self.timer)
    }

    fn skew(&self) -> Duration {
        let base = if self.version == Version::V2 { Duration::from_secs(1) } else { self.learned.duration() };
        base * (256 - u32::from(self.priority)) / 256
    }

    fn down(&self) -> Duration {
        self.learned.duration() * 3 + self.skew()
    }

    /// Leaves Fault, unless it takes part already.
    pub(crate) fn recover(&mut self, now: Time) {
        if self.state == State::Fault {
            self.learned = self.interval;
            self.state = State::Backup;
            self.timer = now + if self.priority == 255 { Duration::from_micros(1) } else { self.down() };
        }
    }

    /// Returns the priorities to advertise.
    pub(crate) fn fault(&mut self) -> Vec<u8> {
        let was_active = std::mem::replace(&mut self.state, State::Fault) == State::Active;
        match (was_active, self.kind) {
            (false, _) => vec![],
            // It sends two.
            (true, Kind::Keepalived) => vec![0, 0],
            (true, _) => vec![0],
        }
    }

    /// Takes effect with the next advertisement; nothing is sent at once.
    pub(crate) fn set_priority(&mut self, now: Time, priority: u8) {
        let before = self.skew();
        self.priority = priority;
        if self.state == State::Backup {
            self.timer = (self.timer + self.skew()).before(before).max(now);
        }
    }

    pub(crate) fn timer(&mut self, now: Time) -> Vec<u8> {
        if self.state == State::Fault || now < self.timer {
            return vec![];
        }
        self.state = State::Active;
        self.learned = self.interval;
        self.timer = now + self.interval.duration();
        vec![self.priority]
    }

    /// A packet that it discards. keepalived sets its timer anew all the same.
    pub(crate) fn discard(&mut self, now: Time) {
        match (self.kind, self.state) {
            (Kind::Keepalived, State::Backup) => self.timer = now + self.down(),
            (Kind::Keepalived, State::Active) => self.timer = now + self.interval.duration(),
            _ => {}
        }
    }

    pub(crate) fn hear(&mut self, now: Time, heard: &Heard) -> Vec<u8> {
        let Heard { source, priority, interval } = *heard;
        if self.kind != Kind::Keepalived && self.version == Version::V2 && self.priority == 255 {
            // RFC 3768 section 7.1.
            return vec![];
        }
        match self.state {
            State::Fault => vec![],
            State::Backup if priority == 0 => {
                self.timer = now + self.skew();
                vec![]
            }
            State::Backup => {
                if priority >= self.priority || !(self.preempt || self.priority == 255) {
                    self.learned = interval;
                    self.timer = now + self.down();
                }
                vec![]
            }
            State::Active if priority == 0 => {
                self.timer = now + self.interval.duration();
                vec![self.priority]
            }
            State::Active if priority > self.priority || (priority == self.priority && source > self.address) => {
                self.learned = interval;
                self.state = State::Backup;
                self.timer = now + self.down();
                vec![]
            }
            // A second owner: keepalived gives way to it with 254.
            State::Active if self.kind == Kind::Keepalived && priority == 255 => {
                self.rogues += 1;
                if self.rogues > 2 {
                    (self.rogues, self.priority) = (0, 254);
                }
                vec![]
            }
            State::Active if self.kind == Kind::Rfc5798 => vec![],
            State::Active => vec![self.priority],
        }
    }
}
