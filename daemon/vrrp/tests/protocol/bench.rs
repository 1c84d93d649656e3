//! One router on a test bench: a clock to set, packets to send to it, and short words for its actions.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vouchd_vrrp::wire::{AdvertInterval, Advertisement, Auth, ChecksumForm, Family, GROUP_V4, Priority, Version, Vrid};
use vouchd_vrrp::{
    Action, Announcements, Config, Health, Input, Link, Packet, ProtocolEvent, Router, State, Time, Why,
};

/// The address that the router under test sends from.
pub const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
/// A peer with a lower address.
pub const LOWER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
/// A peer with a higher address.
pub const HIGHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
pub const GROUP: IpAddr = IpAddr::V4(GROUP_V4);
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));

pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Version 3, one second, preempting, leased.
pub fn config(priority: u8) -> Config {
    Config {
        vrid: Vrid::new(51).expect("not 0"),
        version: Version::V3,
        also_version_2: false,
        priority: Priority::new(priority),
        interval: AdvertInterval::ONE_SECOND,
        preempt: true,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        down_timer_adverts: 3,
        pair: false,
        grouped: false,
        multicast_group: None,
        family: Family::V4,
        addresses: vec![VIP],
        auth: Auth::None,
        hmac: None,
        peers: None,
        hop_limits: Default::default(),
        checksum: ChecksumForm::PseudoHeader,
        lease: true,
        announce: Announcements::default(),
    }
}

pub fn v2(priority: u8) -> Config {
    Config { version: Version::V2, ..config(priority) }
}

pub fn interval(centiseconds: u16) -> AdvertInterval {
    AdvertInterval::from_centiseconds(centiseconds).expect("in range")
}

pub fn fit(priority: u8) -> Health {
    Health::Fit { priority: Priority::new(priority), reason: "checks".to_owned() }
}

/// Waiting for a check, with this priority by the other ones.
pub fn waiting(reason: &str, priority: u8) -> Health {
    Health::Waiting { reason: reason.to_owned(), priority: Priority::new(priority) }
}

pub struct Bench {
    pub router: Router,
    pub now: Time,
}

impl Bench {
    /// In Initialize, without link and health.
    pub fn new(config: Config) -> Self {
        let now = Time::from_nanos(1_000_000_000_000);
        Self { router: Router::new(now, config).expect("a good configuration"), now }
    }

    /// Link up and fit: Backup, or Active for an owner.
    pub fn started(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.link_up(OWN);
        bench.fit(bench.router.config().priority.get());
        bench
    }

    /// Active, after a down interval of silence.
    pub fn active(config: Config) -> Self {
        let mut bench = Self::started(config);
        if bench.state() == State::Backup {
            bench.run_to_deadline();
        }
        assert_eq!(bench.state(), State::Active);
        bench
    }

    pub fn state(&self) -> State {
        self.router.state()
    }

    pub fn input(&mut self, input: Input<'_>) -> Vec<Action> {
        self.router.handle(self.now, input)
    }

    /// Brings the link up, with a kernel that is known to accept the addresses.
    pub fn link_up(&mut self, source: IpAddr) -> Vec<Action> {
        let mut actions = self.input(Input::Link(Link::Up { source }));
        actions.extend(self.input(Input::AddressesInstalled));
        actions
    }

    pub fn fit(&mut self, priority: u8) -> Vec<Action> {
        self.input(Input::Health(fit(priority)))
    }

    pub fn fault(&mut self) -> Vec<Action> {
        self.input(Input::Health(Health::Fault { reason: "nginx is gone".to_owned() }))
    }

    pub fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    pub fn timer(&mut self) -> Vec<Action> {
        self.input(Input::Timer)
    }

    pub fn until_deadline(&self) -> Duration {
        self.router.deadline().expect("a deadline").since(self.now)
    }

    /// Goes to the deadline and fires the timer.
    pub fn run_to_deadline(&mut self) -> Vec<Action> {
        self.wait(self.until_deadline());
        self.timer()
    }

    /// Runs for this long, on time at every deadline.
    pub fn run(&mut self, duration: Duration) -> Vec<Action> {
        let end = self.now + duration;
        let mut all = Vec::new();
        while let Some(deadline) = self.router.deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline.max(self.now);
            all.extend(self.timer());
        }
        self.now = end;
        all
    }

    /// The advertisement of a peer with the same configuration, except for the priority.
    pub fn advertisement(&self, priority: u8) -> Advertisement {
        let config = self.router.config();
        Advertisement {
            version: config.version,
            vrid: config.vrid,
            priority: Priority::new(priority),
            interval: config.interval,
            addresses: config.addresses.clone(),
            auth: config.auth,
        }
    }

    pub fn hear(&mut self, source: IpAddr, priority: u8) -> Vec<Action> {
        let advertisement = self.advertisement(priority);
        self.hear_this(source, &advertisement)
    }

    pub fn hear_this(&mut self, source: IpAddr, advertisement: &Advertisement) -> Vec<Action> {
        let payload = advertisement.encode(source, GROUP, ChecksumForm::PseudoHeader).expect("encodes");
        self.hear_bytes(source, GROUP, 255, &payload)
    }

    pub fn hear_bytes(&mut self, source: IpAddr, destination: IpAddr, ttl: u8, payload: &[u8]) -> Vec<Action> {
        self.input(Input::Packet(Packet { source, destination, ttl, payload }))
    }
}

/// The actions except events, in short words.
pub fn done(actions: &[Action]) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::Send(advertisement) => Some(format!("send {}", advertisement.priority)),
        Action::Install { lease: Some(lease) } => Some(format!("install for {}", lease.as_secs())),
        Action::Install { lease: None } => Some("install".to_owned()),
        Action::Remove => Some("remove".to_owned()),
        Action::Withdraw { addresses } => Some(format!("withdraw {addresses:?}")),
        Action::Announce { repeat } => Some(format!("announce {repeat}")),
        Action::Event { .. } => None,
    };
    actions.iter().filter_map(word).collect()
}

pub fn events(actions: &[Action]) -> Vec<&ProtocolEvent> {
    fn event(action: &Action) -> Option<&ProtocolEvent> {
        match action {
            Action::Event { event, .. } => Some(event),
            _ => None,
        }
    }
    actions.iter().filter_map(event).collect()
}

/// The transitions among `actions`.
pub fn transitions(actions: &[Action]) -> Vec<(State, State, Why)> {
    let transition = |event: &ProtocolEvent| match event {
        ProtocolEvent::Transition { from, to, why } => Some((*from, *to, why.clone())),
        _ => None,
    };
    events(actions).into_iter().filter_map(transition).collect()
}
