//! A plain VRRP router, written from the RFC's tables and keepalived's behaviour. It shares only the packet codec with ours,
//! and is the foreign peer of the simulation.

use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::wire::{AdvertInterval, Priority, Version};
use vouchd_vrrp::{Config, Time};

#[derive(Clone, Copy, PartialEq)]
enum State {
    Fault,
    Backup,
    Active,
}

pub struct RfcRouter {
    address: IpAddr,
    version: Version,
    interval: AdvertInterval,
    learned: AdvertInterval,
    preempt: bool,
    priority: u8,
    state: State,
    timer: Time,
}

impl RfcRouter {
    pub fn new(now: Time, address: IpAddr, config: &Config) -> Self {
        let mut router = Self {
            address,
            version: config.version,
            interval: config.interval,
            learned: config.interval,
            preempt: config.preempt || config.is_owner(),
            priority: config.priority.get(),
            state: State::Fault,
            timer: now,
        };
        router.recover(now);
        router
    }

    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    pub fn priority(&self) -> u8 {
        self.priority
    }

    pub fn deadline(&self) -> Option<Time> {
        (self.state != State::Fault).then_some(self.timer)
    }

    fn skew(&self) -> Duration {
        let base = if self.version == Version::V2 { Duration::from_secs(1) } else { self.learned.duration() };
        base * (256 - u32::from(self.priority)) / 256
    }

    fn down(&self) -> Duration {
        self.learned.duration() * 3 + self.skew()
    }

    pub fn recover(&mut self, now: Time) {
        self.learned = self.interval;
        self.state = State::Backup;
        self.timer = now + if self.priority == 255 { Duration::from_micros(1) } else { self.down() };
    }

    /// Returns the priorities to advertise.
    pub fn fault(&mut self) -> Vec<u8> {
        let was = std::mem::replace(&mut self.state, State::Fault);
        if was == State::Active { vec![0] } else { vec![] }
    }

    /// Takes effect with the next advertisement; nothing is sent at once.
    pub fn set_priority(&mut self, now: Time, priority: u8) {
        let before = self.skew();
        self.priority = priority;
        if self.state == State::Backup {
            self.timer = (self.timer + self.skew()).before(before).max(now);
        }
    }

    pub fn timer(&mut self, now: Time) -> Vec<u8> {
        if self.state == State::Fault || now < self.timer {
            return vec![];
        }
        self.state = State::Active;
        self.learned = self.interval;
        self.timer = now + self.interval.duration();
        vec![self.priority]
    }

    pub fn hear(&mut self, now: Time, source: IpAddr, priority: Priority, interval: AdvertInterval) -> Vec<u8> {
        let priority = priority.get();
        match self.state {
            State::Fault => vec![],
            State::Backup if priority == 0 => {
                self.timer = now + self.skew();
                vec![]
            }
            State::Backup => {
                if priority >= self.priority || !self.preempt {
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
            State::Active => vec![self.priority],
        }
    }
}
