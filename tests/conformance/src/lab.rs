//! A router on a host of its own, with the tester at the other end of its cable. The tester plays all other routers and hosts.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use vouchd_tests::background::Background;
use vouchd_tests::host::Host;
use vouchd_tests::wait::{eventually, sleep_until};

use crate::hosts::{address, connect, scratch};
use crate::packet::{GROUP_V4, GROUP_V6, Packet, Sum, TESTER};
use crate::plan::{INTERFACE, Plan, Setup, VRID};
use crate::router::{Make, Router};
use crate::seen::{Advertisement, Arp, Ip, NeighbourAdvertisement};
use crate::wire::{Frame, Wire};

/// The router's own addresses.
pub const ROUTER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 100), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100));
/// A peer with higher addresses.
pub const HIGHER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 253), Ipv6Addr::new(0xfe80, 0, 0, 0, 0xffff, 0, 0, 0x253));
/// A peer with lower addresses, which as text would be higher.
pub const LOWER: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(192, 0, 2, 99), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99));
/// A host that asks for addresses.
pub const CLIENT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 10), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10));

/// How much later or earlier than computed a router may act: 5 % and this, for the machine.
const LATENESS: Duration = Duration::from_millis(40);

/// The hosts of one try of a row.
#[derive(Debug)]
pub struct Lab {
    // Fields are dropped in this order.
    router: Mutex<Option<Router>>,
    wire: Wire,
    host: Host,
    cable: Host,
    make: Make,
    setup: Setup,
    dir: PathBuf,
}

impl Lab {
    /// Makes the hosts. The router is not started yet.
    ///
    /// # Errors
    /// If a namespace or a link cannot be made.
    pub fn new(make: &Make, setup: Setup) -> anyhow::Result<Self> {
        let dir = scratch()?;
        let (host, cable) = (Host::boot("router", &dir)?, Host::boot("tester", &dir)?);
        connect(&cable, "p0", &host)?;
        address(&host, 100)?;
        let tester = hex(TESTER);
        for peer in [HIGHER, LOWER, CLIENT] {
            host.sh(&format!(
                "ip neigh replace {} lladdr {tester} dev {INTERFACE}; ip neigh replace {} lladdr {tester} dev {INTERFACE}",
                peer.0, peer.1
            ))?;
        }
        let wire = Wire::start(&cable, &["p0".to_owned()])?;
        Ok(Self { router: Mutex::default(), wire, host, cable, make: make.clone(), setup, dir })
    }

    /// The version and family in which the row is tried.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// The usual plan of the set-up.
    pub fn plan(&self) -> Plan {
        self.setup.plan()
    }

    /// The directory of the router's own files.
    pub fn files(&self) -> PathBuf {
        self.dir.join("files")
    }

    /// The router's host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Starts the router, and returns the time just before.
    ///
    /// # Errors
    /// If it does not start, or cannot be configured so.
    pub fn start(&self, plan: &Plan) -> anyhow::Result<Instant> {
        let at = Instant::now();
        *self.slot() = Some(self.make.start(&self.host, &self.files(), plan)?);
        Ok(at)
    }

    /// Starts the router and waits until it is active: until its first advertisement, which is returned.
    ///
    /// # Errors
    /// If it does not become active in time.
    pub fn start_active(&self, plan: &Plan) -> anyhow::Result<Advertisement> {
        let at = self.start(plan)?;
        self.advertisement(at, plan.down_interval() + Duration::from_secs(10))
    }

    /// Starts the router while a peer of priority 200 is active, which goes on until the returned thread is dropped. The
    /// router has heard it for two intervals.
    ///
    /// # Errors
    /// If the router does not start, or advertises.
    pub fn start_backup(&self, plan: &Plan) -> anyhow::Result<Background> {
        let peer = self.peer_of(plan, 200);
        let beat = self.beat(vec![peer], plan.interval)?;
        let start = self.start(plan)?;
        // FRR's programs take a while to get ready.
        sleep(3 * plan.interval);
        self.must_run()?;
        let silent = self.silent(start, 3 * plan.interval);
        silent.map_err(|error| error.context("as a backup of a router with priority 200"))?;
        Ok(beat)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Router>> {
        self.router.lock().expect("no thread panics with it")
    }

    /// Does something with the running router.
    ///
    /// # Errors
    /// If it is not started, or by `work`.
    pub fn with_router<T>(&self, work: impl FnOnce(&mut Router) -> anyhow::Result<T>) -> anyhow::Result<T> {
        match self.slot().as_mut() {
            Some(router) => work(router),
            None => bail!("no router is started"),
        }
    }

    /// Fails if the router has ended.
    ///
    /// # Errors
    /// If it has.
    pub fn must_run(&self) -> anyhow::Result<()> {
        self.with_router(Router::must_run)
    }

    /// Unplugs the cable, or plugs it in again.
    ///
    /// # Errors
    /// If the link cannot be changed.
    pub fn plug(&self, plugged: bool) -> anyhow::Result<()> {
        self.cable.sh(&format!("ip link set p0 {}", if plugged { "up" } else { "down" })).map(drop)
    }

    /// A valid advertisement of a peer with a higher address, for the usual plan.
    pub fn peer(&self, priority: u8) -> Packet {
        self.peer_of(&self.plan(), priority)
    }

    /// A valid advertisement of a peer with a higher address: what a router with this plan would send.
    pub fn peer_of(&self, plan: &Plan, priority: u8) -> Packet {
        let ipv6 = plan.is_ipv6();
        let trailer = match (&plan.password, plan.version) {
            (Some(password), 2) => {
                let mut bytes = password.as_bytes().to_vec();
                bytes.resize(8, 0);
                bytes
            }
            (None, 2) => vec![0; 8],
            _ => Vec::new(),
        };
        Packet {
            mac: TESTER,
            source: if ipv6 { HIGHER.1.into() } else { HIGHER.0.into() },
            destination: if ipv6 { GROUP_V6.into() } else { GROUP_V4.into() },
            to_mac: TESTER,
            ttl: 255,
            options: Vec::new(),
            padding: 0,
            version: plan.version,
            kind: 1,
            vrid: plan.vrid,
            priority,
            count: None,
            interval: plan.interval_field() | if plan.password.is_some() { 0x100 } else { 0 },
            addresses: plan.addresses.clone(),
            trailer,
            sum: Sum::Usual,
            cut: None,
            flip: None,
        }
    }

    /// Sends an advertisement, and returns when.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn send(&self, packet: &Packet) -> anyhow::Result<Instant> {
        self.send_frame(&packet.frame())
    }

    /// Sends any frame, and returns when.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn send_frame(&self, frame: &[u8]) -> anyhow::Result<Instant> {
        self.wire.port(0).send(frame)
    }

    /// Sends one of the packets at each interval, in turn, until the returned thread is dropped.
    ///
    /// # Errors
    /// If the thread does not start.
    pub fn beat(&self, packets: Vec<Packet>, interval: Duration) -> anyhow::Result<Background> {
        let (port, frames) = (self.wire.port(0), packets.iter().map(Packet::frame).collect::<Vec<_>>());
        Background::start(&self.cable, "the peer", move |running| {
            running.ready();
            let mut next = Instant::now();
            for frame in frames.iter().cycle() {
                while Instant::now() < next {
                    if !running.goes_on() {
                        return;
                    }
                    sleep((next - Instant::now()).min(Duration::from_millis(5)));
                }
                if !running.goes_on() {
                    return;
                }
                // A cable that is unplugged takes no frame.
                let _ = port.send(frame);
                next += interval;
            }
        })
    }

    /// All frames since a time.
    pub fn frames(&self, since: Instant) -> Vec<Frame> {
        self.wire.since(since)
    }

    /// The router's advertisements since a time. What it resigns with (priority 0) is among them.
    pub fn advertisements(&self, since: Instant) -> Vec<Advertisement> {
        self.frames(since).iter().filter_map(Advertisement::read).collect()
    }

    /// Its ARP packets since a time.
    pub fn arp(&self, since: Instant) -> Vec<Arp> {
        self.frames(since).iter().filter_map(Arp::read).collect()
    }

    /// Its neighbour advertisements since a time.
    pub fn neighbour_advertisements(&self, since: Instant) -> Vec<NeighbourAdvertisement> {
        self.frames(since).iter().filter_map(NeighbourAdvertisement::read).collect()
    }

    /// When it announced an address after a time: by gratuitous ARP, or an unsolicited neighbour advertisement.
    pub fn announcements(&self, address: IpAddr, since: Instant) -> Vec<Instant> {
        match address {
            IpAddr::V4(address) => {
                let about = |arp: &&Arp| arp.is_announcement() && arp.sender.1 == address;
                self.arp(since).iter().filter(about).map(|arp| arp.at).collect()
            }
            IpAddr::V6(address) => {
                let found = self.neighbour_advertisements(since);
                found.iter().filter(|found| found.target == address).map(|found| found.at).collect()
            }
        }
    }

    /// Whether a reply to an echo request came since a time.
    pub fn has_echo_reply(&self, since: Instant) -> bool {
        self.frames(since).iter().any(|frame| Ip::read(&frame.bytes).is_some_and(|packet| packet.is_echo_reply()))
    }

    /// Waits for the first advertisement after a time.
    ///
    /// # Errors
    /// If there is none within `within` of now.
    pub fn advertisement(&self, since: Instant, within: Duration) -> anyhow::Result<Advertisement> {
        let found = eventually("an advertisement", within, || {
            self.must_run()
                .map_or_else(|error| Some(Err(error)), |()| self.advertisements(since).into_iter().next().map(Ok))
        });
        found?
    }

    /// Waits for an advertisement at a time, to within 5 % of `after` and a little for the machine.
    ///
    /// # Errors
    /// If the first one after `since` comes earlier or later, or never.
    pub fn advertisement_after(&self, since: Instant, after: Duration) -> anyhow::Result<Advertisement> {
        let rest = (since + after * 2).saturating_duration_since(Instant::now());
        let found = self.advertisement(since, rest + Duration::from_secs(1));
        let found =
            found.map_err(|error| error.context(format!("expected an advertisement after {}", shown(after))))?;
        timely("an advertisement", found.at - since, after)?;
        Ok(found)
    }

    /// Waits, and checks that the router sends no advertisement from `since` until `during` from now.
    ///
    /// # Errors
    /// If it does.
    pub fn silent(&self, since: Instant, during: Duration) -> anyhow::Result<()> {
        sleep(during);
        self.must_run()?;
        if let Some(found) = self.advertisements(since).first() {
            bail!(
                "expected silence, found an advertisement of priority {} after {}",
                found.priority(),
                shown(found.at - since)
            );
        }
        Ok(())
    }

    /// Waits, and checks that the router has advertised at its interval from `since` until `until`, with no gap above and no
    /// count beyond what the interval allows. Priority 0 is a failure.
    ///
    /// # Errors
    /// What was seen instead.
    pub fn cadence(&self, since: Instant, until: Instant, interval: Duration) -> anyhow::Result<()> {
        sleep_until(until + LATENESS);
        self.must_run()?;
        let found: Vec<_> = self.advertisements(since).into_iter().filter(|found| found.at <= until).collect();
        let mut times: Vec<_> = found.iter().map(|found| found.at).collect();
        let resigned = found.iter().any(|found| found.priority() == 0);
        ensure!(!resigned, "the router gave up: it sent priority 0");
        let expected = (until - since).as_secs_f64() / interval.as_secs_f64();
        let (count, found) = (times.len(), times.len() as f64);
        times.insert(0, since);
        times.push(until);
        let gap = times.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max().unwrap_or_default();
        ensure!(
            gap <= interval.mul_f64(1.1) + LATENESS && (found - expected).abs() <= 1.5,
            "expected {expected:.0} ± 1 advertisements in {}, found {count} with a gap of {}",
            shown(until - since),
            shown(gap)
        );
        Ok(())
    }

    /// The router's physical MAC address.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn physical_mac(&self) -> anyhow::Result<[u8; 6]> {
        let text = self.host.sh(&format!("cat /sys/class/net/{INTERFACE}/address"))?;
        let bytes: Vec<_> = text.trim().split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        bytes.try_into().map_err(|bytes| anyhow::anyhow!("no MAC address: {bytes:?}"))
    }

    /// The virtual MAC address of the set-up (RFC 9568 section 7.3).
    pub fn virtual_mac(&self) -> [u8; 6] {
        [0, 0, 0x5e, 0, if self.plan().is_ipv6() { 2 } else { 1 }, VRID]
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::env::var_os("VOUCHD_TESTS_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Fails unless a time is within 5 % of the expected one, and a little for the machine.
///
/// # Errors
/// With both times.
pub fn timely(what: &str, found: Duration, expected: Duration) -> anyhow::Result<()> {
    let tolerance = expected.mul_f64(0.05) + LATENESS;
    ensure!(
        found.abs_diff(expected) <= tolerance,
        "expected {what} after {}, found it after {}",
        shown(expected),
        shown(found)
    );
    Ok(())
}

/// A time for people.
pub fn shown(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// A MAC address for people and for `ip`.
pub fn hex(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
