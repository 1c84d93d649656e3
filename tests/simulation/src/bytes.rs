//! Arbitrary bytes as input, for fuzzing: each function panics if what it tries misbehaves. The fuzz targets in `fuzz/` and
//! their twins in this crate's tests call the same functions.

use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::wire::{
    AdvertInterval, Advertisement, Auth, ChecksumForm, GROUP_V4, GROUP_V6, Priority, Version, parse,
};
use vouchd_vrrp::{Action, Health, Input, Link, Order, Packet, Router, State, Time};

use crate::node::{Node, primary_address};
use crate::scenario::Spec;

/// Parses bytes as an advertisement over IPv4 and over IPv6. What parses is encoded again and must parse to the same.
pub fn packet(bytes: &[u8]) {
    let v6 = |last: u16| IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, last]);
    for (source, group) in [(primary_address(10), IpAddr::V4(GROUP_V4)), (v6(10), IpAddr::V6(GROUP_V6))] {
        let Ok(parsed) = parse(bytes, source, group) else { continue };
        let form = parsed.checksum_form.unwrap_or(ChecksumForm::PseudoHeader);
        // An advertisement that nobody may send is accepted in a few cases, such as an address twice.
        let Ok(again) = parsed.advertisement.encode(source, group, form) else { continue };
        let again = parse(&again, source, group).expect("parses again");
        assert_eq!(again.advertisement, parsed.advertisement);
    }
}

/// Bytes that are taken from the front.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

/// Decodes bytes into a configuration and a sequence of inputs, gives them to a router, and checks what it answers.
pub fn machine(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let Some(mut node) = configured(&mut bytes) else { return };
    let mut now = Time::from_nanos(1_000_000_000_000);
    let mut router = Router::new(now, node.config()).expect("a good configuration");
    let mut held = false;
    while let Some(choice) = bytes.next() {
        now = now + pause(bytes.next().unwrap_or(0));
        let before = (router.state(), router.counters().discarded_total());
        let Some(actions) = step(&mut router, &mut node, &mut bytes, now, choice) else { return };
        check(&router, &actions, &mut held);
        let (state, discarded) = (router.state(), router.counters().discarded_total());
        assert!(discarded == before.1 || actions.iter().all(|action| !matches!(action, Action::Install { .. })));
        assert!(state != State::Active || router.deadline().is_some(), "an active router has a deadline");
    }
}

fn configured(bytes: &mut Bytes<'_>) -> Option<Node> {
    let (flags, priority, interval, adverts) = (bytes.next()?, bytes.next()?, bytes.next()?, bytes.next()?);
    let version = if flags & 1 == 0 { Version::V3 } else { Version::V2 };
    let spec = Spec {
        priority: priority.max(1),
        interval: if version == Version::V2 { 100 * u16::from(interval % 4 + 1) } else { u16::from(interval).max(1) },
        preempt: flags & 2 == 0,
        pair: flags & 4 != 0,
        adverts: adverts % 100 + 1,
        preempt_delay: if flags & 8 != 0 { 2_000 } else { 0 },
        startup_delay: if flags & 16 != 0 { 2_000 } else { 0 },
        ..Spec::default()
    };
    Some(Node::new(spec, version))
}

/// Nothing, a moment, or up to a minute.
fn pause(byte: u8) -> Duration {
    match byte {
        0..=99 => Duration::ZERO,
        100..=199 => Duration::from_millis(u64::from(byte - 99) * 7),
        200.. => Duration::from_secs(u64::from(byte - 199)),
    }
}

fn step(router: &mut Router, node: &mut Node, bytes: &mut Bytes<'_>, now: Time, choice: u8) -> Option<Vec<Action>> {
    let reason = || "fuzzed".to_owned();
    Some(match choice % 16 {
        0 => router.handle(now, Input::Link(Link::Up { source: primary_address(bytes.next()? % 3 + 10) })),
        1 => router.handle(now, Input::Link(Link::Down { reason: reason() })),
        2 | 3 => {
            let priority = Priority::new(bytes.next()?);
            router.handle(now, Input::Health(Health::Fit { priority, reason: reason() }))
        }
        4 => router.handle(now, Input::Health(Health::Fault { reason: reason() })),
        5 => {
            let priority = Priority::new(bytes.next()?);
            router.handle(now, Input::Health(Health::Waiting { priority, reason: reason() }))
        }
        6 => router.handle(now, Input::AddressesInstalled),
        7 => router.handle(now, Input::AddressesFailed { reason: reason() }),
        8 | 9 => advertisement(router, bytes, now)?,
        10 => {
            // Anything at all.
            let (ttl, count) = (bytes.next()?, usize::from(bytes.next()?));
            let payload = bytes.take(count);
            let packet = Packet {
                source: primary_address(11),
                destination: IpAddr::V4(GROUP_V4),
                ttl: if ttl & 1 == 0 { 255 } else { ttl },
                payload: &payload,
            };
            let mut actions = router.handle(now, Input::Packet(packet));
            actions.extend(router.overhear(now, &packet));
            actions
        }
        11 => router.handle(now, Input::Group(Order::CallElection)),
        12 => {
            reload(node, bytes.next()?, bytes.next()?);
            router.reconfigure(now, node.config(), node.health()).expect("a good configuration")
        }
        13 if bytes.next()? == 255 => router.handle(now, Input::Shutdown),
        14 => router.overdue(now),
        _ => {
            let due = router.deadline().filter(|due| *due > now).unwrap_or(now);
            router.handle(if choice & 16 == 0 { now } else { due.max(now) }, Input::Timer)
        }
    })
}

fn reload(node: &mut Node, what: u8, value: u8) {
    match what % 5 {
        0 => node.spec.priority = value.max(1),
        1 => node.spec.preempt = value & 1 == 0,
        2 => node.count = value % 3 + 1,
        3 => node.spec.pair = value & 1 == 0,
        _ => node.spec.preempt_delay = u32::from(value) * 20,
    }
}

/// An advertisement that is good but for what the bytes say.
fn advertisement(router: &mut Router, bytes: &mut Bytes<'_>, now: Time) -> Option<Vec<Action>> {
    let (source, priority, interval) = (primary_address(bytes.next()? % 4 + 9), bytes.next()?, bytes.next()?);
    let config = router.config();
    let advertisement = Advertisement {
        version: config.version,
        vrid: config.vrid,
        priority: Priority::new(priority),
        interval: match config.version {
            Version::V2 => config.interval,
            Version::V3 => AdvertInterval::from_centiseconds(u16::from(interval).max(1)).ok()?,
        },
        addresses: config.addresses.clone(),
        auth: Auth::None,
    };
    let destination = IpAddr::V4(GROUP_V4);
    let payload = advertisement.encode(source, destination, ChecksumForm::PseudoHeader).ok()?;
    Some(router.handle(now, Input::Packet(Packet { source, destination, ttl: 255, payload: &payload })))
}

/// What every answer of a router must satisfy.
fn check(router: &Router, actions: &[Action], held: &mut bool) {
    for action in actions {
        match action {
            Action::Send(advertisement) => {
                let priority = advertisement.priority;
                assert!(priority != Priority::OWNER || router.config().is_owner() || router.state() != State::Active);
            }
            Action::Install { .. } => *held = true,
            Action::Remove => *held = false,
            Action::Withdraw { .. } | Action::Announce { .. } | Action::Event { .. } => {}
        }
    }
    let wanted = router.state() == State::Active || router.is_in_trial();
    assert_eq!(*held, wanted, "addresses follow the state {}: {actions:?}", router.state());
}
