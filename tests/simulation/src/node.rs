//! A simulated machine: a router, its clock, its checks and its kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::wire::{AdvertInterval, Auth, ChecksumForm, Family, Priority, Version, Vrid};
use vouchd_vrrp::{Announcements, Config, Health, Router, Stage, State, Time, Why};

use crate::coverage::Kind as InputKind;
use crate::foreign::Foreign;
use crate::scenario::Spec;

/// The virtual router's id.
pub(crate) const VRID: u8 = 51;

/// The addresses of a router that has `count` of them. All routers share the first.
pub(crate) fn virtual_addresses(count: u8) -> Vec<IpAddr> {
    (0..count.max(1)).map(|index| IpAddr::from([192, 0, 2, 200 + index])).collect()
}

pub(crate) fn primary_address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

pub(crate) enum Device {
    Vouchd(Box<Router>),
    Foreign(Box<Foreign>),
    /// The process does not run.
    Down,
}

/// What the checks say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Well,
    Priority(u8),
    Fault,
    Waiting,
}

pub(crate) struct Node {
    /// With what reloads have changed.
    pub(crate) spec: Spec,
    pub(crate) version: Version,
    /// How many addresses it has.
    pub(crate) count: u8,
    pub(crate) device: Device,
    pub(crate) link: bool,
    pub(crate) verdict: Verdict,
    pub(crate) frozen_until: Duration,
    pub(crate) kernel: Kernel,
    /// The highest priority since it became active, as far as its own checks are to blame for a lower one.
    pub(crate) peak: u8,
    /// By its orders so far, its kernel has the addresses.
    pub(crate) intends: bool,
    /// It stopped being active, and the third host could not learn that.
    pub(crate) stopped_unheard: bool,
    /// Its kernel was too busy for its newest announcement.
    pub(crate) announced_late: bool,
    /// When it announced the addresses within the last second, and reported each kind of change.
    pub(crate) announced: Vec<Duration>,
    pub(crate) changed: BTreeMap<(State, State), Duration>,
    pub(crate) overdue_at: Duration,
    /// The router is about to hear of its link and its checks, one after the other.
    pub(crate) reporting: bool,
    /// What it gets as soon as it is in a stage.
    pub(crate) armed: Vec<(Stage, InputKind)>,
}

/// The kernel of a machine, as vouchd's address keeper uses it.
#[derive(Default)]
pub(crate) struct Kernel {
    /// The addresses, and when their leases end.
    pub(crate) addresses: BTreeMap<IpAddr, Duration>,
    pub(crate) refuses: bool,
    pub(crate) busy_until: Duration,
    /// The keeper has reported the result of the first order since the addresses were removed.
    pub(crate) reported: bool,
}

impl Node {
    pub(crate) fn new(spec: Spec, version: Version) -> Self {
        Self {
            spec,
            version,
            count: 1,
            device: Device::Down,
            link: true,
            verdict: Verdict::Well,
            frozen_until: Duration::ZERO,
            kernel: Kernel::default(),
            peak: 0,
            intends: false,
            stopped_unheard: false,
            announced_late: false,
            announced: Vec::new(),
            changed: BTreeMap::new(),
            overdue_at: Duration::ZERO,
            reporting: false,
            armed: Vec::new(),
        }
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            vrid: Vrid::new(VRID).expect("not 0"),
            version: self.version,
            also_version_2: false,
            priority: Priority::new(self.spec.priority),
            interval: self.interval(),
            preempt: self.spec.preempt,
            preempt_delay: Duration::from_millis(self.spec.preempt_delay.into()),
            startup_delay: Duration::from_millis(self.spec.startup_delay.into()),
            down_timer_adverts: self.spec.adverts,
            pair: self.spec.pair,
            grouped: false,
            family: Family::V4,
            addresses: virtual_addresses(self.count),
            auth: Auth::None,
            hmac: None,
            hop_limits: BTreeMap::new(),
            multicast_group: None,
            peers: None,
            checksum: ChecksumForm::PseudoHeader,
            lease: true,
            announce: Announcements::default(),
        }
    }

    pub(crate) fn interval(&self) -> AdvertInterval {
        AdvertInterval::from_centiseconds(self.spec.interval).expect("an interval of a generated or written scenario")
    }

    /// What its kernel needs for an order.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_millis(self.spec.kernel.into()).max(Duration::from_micros(500))
    }

    /// What its checks report.
    pub(crate) fn health(&self) -> Health {
        let reason = "simulated".to_owned();
        match self.verdict {
            Verdict::Well => Health::Fit { priority: Priority::new(self.spec.priority), reason },
            Verdict::Priority(priority) => Health::Fit { priority: Priority::new(priority), reason },
            Verdict::Fault => Health::Fault { reason },
            Verdict::Waiting => Health::Waiting { priority: Priority::new(self.priority()), reason },
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        match &self.device {
            Device::Vouchd(router) => router.state() == State::Active,
            Device::Foreign(foreign) => foreign.is_active(),
            Device::Down => false,
        }
    }

    pub(crate) fn priority(&self) -> u8 {
        match &self.device {
            Device::Vouchd(router) => router.priority().get(),
            Device::Foreign(foreign) => foreign.priority(),
            Device::Down => 0,
        }
    }

    pub(crate) fn preempts(&self) -> bool {
        self.spec.preempt || self.priority() == 255
    }

    pub(crate) fn address(&self) -> IpAddr {
        primary_address(self.spec.address)
    }

    /// Whether nothing keeps it from being active.
    pub(crate) fn is_able(&self) -> bool {
        let fit = matches!(self.verdict, Verdict::Well | Verdict::Priority(_));
        match &self.device {
            Device::Vouchd(router) => {
                let why = router.why();
                let waits = matches!(
                    why,
                    Why::Starting | Why::HealthWaiting(_) | Why::StartupDelay(_) | Why::AddressesFailed(_)
                );
                fit && self.link && !self.kernel.refuses && !waits
            }
            Device::Foreign(foreign) => foreign.takes_part(),
            Device::Down => false,
        }
    }

    /// Whether its kernel refused the addresses, and it waits before it takes part again.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(&self.device, Device::Vouchd(router) if matches!(router.why(), Why::AddressesFailed(_)))
    }

    /// Whether it calls elections because its checks lowered its priority while it was active.
    pub(crate) fn yields(&self) -> bool {
        matches!(self.device, Device::Vouchd(_)) && self.is_active() && self.priority() < self.peak
    }

    /// The time on its clock when `now` nanoseconds have passed.
    pub(crate) fn local(&self, now: Duration) -> Time {
        let nanos = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
        let drifted = nanos + nanos * i128::from(self.spec.drift) / 1_000_000;
        Time::from_nanos(START + u64::try_from(drifted).unwrap_or(0))
    }

    /// When its clock shows `local`, or a little later.
    fn global(&self, local: Time) -> Duration {
        let drifted = i128::from(local.as_nanos().saturating_sub(START));
        let nanos = drifted * 1_000_000 / (1_000_000 + i128::from(self.spec.drift));
        let mut at = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        while self.local(at) < local {
            at += Duration::from_nanos(1);
        }
        at
    }

    /// When its timer has to be called. A frozen process is called when it runs again.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let deadline = match &self.device {
            Device::Vouchd(router) => router.deadline(),
            Device::Foreign(foreign) => foreign.deadline(),
            Device::Down => None,
        };
        deadline.map(|deadline| self.global(deadline).max(self.frozen_until))
    }

    /// One line about it, for failures and replays.
    pub(crate) fn describe(&self) -> String {
        let state = match &self.device {
            Device::Vouchd(router) => format!("{} ({}), {}", router.state(), router.why(), router.stage().name()),
            Device::Foreign(foreign) => format!("{foreign:?}"),
            Device::Down => "not running".to_owned(),
        };
        let preempt = if self.preempts() { "preempts" } else { "patient" };
        format!("priority {}, {preempt}, {:?}: {state}", self.priority(), self.verdict)
    }
}

/// What every clock shows when a simulation starts.
const START: u64 = 1_000_000_000_000;
