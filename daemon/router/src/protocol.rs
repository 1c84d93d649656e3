//! The protocol thread: waits for packets, news and deadlines, and hands them to the [`Engine`].
//!
//! It waits in one place only (`ppoll`) and never for anybody: no file, no lock, no answer. Sockets are drained before
//! timers fire, so that after a stall what the others said meanwhile is known first.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tracing::{error, info};
use vouchd_config::{Config, Instance};
use vouchd_net::{
    AddressKeeper, ArpClaim, ArpWatched, ArpWatcher, Groups, Kernel, LinkEvent, LinkState, LinkWatcher, MAX_PACKET,
    Notifier, Receiver, Report, sweep,
};
use vouchd_vrrp::{Health, Time};

use super::engine::Engine;
use super::kept::Others;
use super::log::{Line, Log, Subject};
use vouchd_ipc::status;

/// What the protocol thread can be told.
pub enum Command {
    Health {
        instance: String,
        health: Health,
    },
    Configure {
        instances: Vec<Instance>,
        /// What the checks say of each under this configuration.
        health: BTreeMap<String, Health>,
    },
    Snapshot(Notifier<Snapshot>),
    /// Priority 0, addresses gone, end of the thread.
    Shutdown,
}

/// Its part of `status`.
pub struct Snapshot {
    pub instances: Vec<status::Instance>,
    pub interfaces: Vec<status::Interface>,
}

/// Tells the main thread that the protocol thread is alive.
#[derive(Default)]
pub struct Pulse {
    beats: AtomicU64,
    seen: AtomicU64,
}

impl Pulse {
    /// The longest time between two beats.
    const PERIOD: Duration = Duration::from_secs(1);

    fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there was a beat since the last call.
    pub fn is_beating(&self) -> bool {
        let beats = self.beats.load(Ordering::Relaxed);
        self.seen.swap(beats, Ordering::Relaxed) != beats
    }
}

/// Of SCHED_RR: before everything ordinary, behind the kernel's own threads.
pub const PRIORITY: u8 = 10;

/// Packets taken from one socket before timers are looked at again; far more than a queue holds without a flood.
const DRAIN: usize = 4096;

/// How long the addresses may take to go when stopping.
const FINISH: Duration = Duration::from_secs(2);

pub struct Protocol {
    engine: Engine<Kernel>,
    commands: Receiver<Command>,
    reports: Receiver<Report>,
    links: Receiver<LinkEvent>,
    watcher: LinkWatcher,
    arp: ArpWatcher,
    claims: Receiver<ArpClaim>,
    /// By interface: the index with which its socket was opened.
    opened: BTreeMap<String, u32>,
    pulse: Arc<Pulse>,
    buffer: Vec<u8>,
    log: Log,
}

impl Protocol {
    /// Removes what an earlier run left on the interfaces, as far as no other daemon keeps it, and starts the threads
    /// that serve the protocol.
    pub fn new(
        config: &Config,
        others: &Others,
        commands: Receiver<Command>,
        pulse: Arc<Pulse>,
    ) -> anyhow::Result<Self> {
        let interfaces: Vec<_> = config.instances.iter().map(|instance| instance.interface.as_str()).collect();
        for address in sweep(Some(&interfaces), |found| others.keep(&found.interface, found.address))? {
            info!("removed {address}, which an earlier run left behind");
        }
        // As much in time as the protocol thread: an address whose lease is not renewed is gone.
        let (keeper, reports) =
            if config.daemon.realtime { AddressKeeper::start_real_time(PRIORITY)? } else { AddressKeeper::start()? };
        let mut engine = Engine::new(Kernel::new(keeper));
        engine.configure(vouchd_net::now(), &config.instances, BTreeMap::new());
        let (watcher, links) = LinkWatcher::start(engine.watched())?;
        let (arp, claims) = ArpWatcher::start()?;
        Ok(Protocol {
            engine,
            commands,
            reports,
            links,
            watcher,
            arp,
            claims,
            opened: Default::default(),
            pulse,
            buffer: vec![0; MAX_PACKET],
            log: Log::default(),
        })
    }

    /// Until told to shut down.
    pub fn run(mut self) {
        // What the health thread has said already comes before the first link.
        while self.obey() {
            let now = vouchd_net::now();
            self.engine.timers(now);
            self.log.overdue(now);
            self.pulse.beat();
            self.wait();
            self.take_links();
            self.take_packets();
            self.take_claims();
            self.take_reports();
        }
        self.engine.shutdown(vouchd_net::now());
        if !self.engine.into_network().finish(FINISH) {
            error!("the kernel did not remove the addresses within {FINISH:?}; their leases end them");
        }
    }

    fn wait(&mut self) {
        let now = vouchd_net::now();
        let timeout = self.engine.deadline().map_or(Pulse::PERIOD, |deadline| deadline.since(now));
        let timeout = TimeSpec::from(timeout.min(Pulse::PERIOD));
        let mut fds = vec![
            PollFd::new(self.commands.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.reports.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.links.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.claims.as_fd(), PollFlags::POLLIN),
        ];
        let sockets = self.engine.network_ref().sockets();
        let descriptors = sockets.flat_map(|(_, socket)| socket.descriptors());
        fds.extend(descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)));
        match ppoll(&mut fds, Some(timeout), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("ppoll of the protocol thread: {error}"),
        }
    }

    fn take_links(&mut self) {
        // A watcher that is gone has said why; what is known of the links stands.
        let events = self.links.drain().unwrap_or_default();
        let changed = !events.is_empty();
        for LinkEvent { interface, state } in events {
            let kind = match &state {
                LinkState::Up { .. } => "up",
                LinkState::NoAddress { .. } => "no address",
                LinkState::Down { .. } => "down",
                LinkState::Missing => "missing",
            };
            let line = Line::info(Subject::Interface(interface.clone()), format!("interface {interface}: {state}"));
            self.log.say_state(vouchd_net::now(), "state", kind, line);
            let opened = self.open_socket(&interface, &state);
            self.engine.link(vouchd_net::now(), &interface, state);
            if let Err(error) = opened {
                let reason = format!("no socket on {interface}: {error}");
                let line = Line::error(Subject::Interface(interface.clone()), reason.clone());
                self.log.say(vouchd_net::now(), "socket", line);
                self.engine.link_unusable(vouchd_net::now(), &interface, &reason);
            }
        }
        if changed {
            self.watch_arp();
        }
    }

    /// Listens for others who have our addresses, on the interfaces as they are now.
    fn watch_arp(&self) {
        let watched = self.engine.watched();
        let on = |(interface, state): (String, LinkState)| {
            let index = match state {
                LinkState::Up { index, .. } | LinkState::NoAddress { index, .. } | LinkState::Down { index, .. } => {
                    index
                }
                LinkState::Missing => return None,
            };
            let addresses = watched.iter().find(|watched| watched.interface == interface)?.addresses.clone();
            Some(ArpWatched { interface, index, addresses })
        };
        self.arp.watch(self.engine.known_links().into_iter().filter_map(on).collect());
    }

    /// After the packets: an advertisement says more than an announcement that came with it.
    fn take_claims(&mut self) {
        for claim in self.claims.drain().unwrap_or_default() {
            self.engine.claimed(vouchd_net::now(), &claim);
        }
    }

    /// A socket lives as long as its interface: another index is another interface.
    fn open_socket(&mut self, interface: &str, state: &LinkState) -> std::io::Result<()> {
        match state {
            LinkState::Up { index, .. } | LinkState::NoAddress { index, .. } | LinkState::Down { index, .. } => {
                if self.opened.get(interface) == Some(index) {
                    return Ok(());
                }
                self.opened.remove(interface);
                // A router that uses unicast listens to the group too: another one that speaks to it for the same addresses
                // is worth knowing.
                self.engine.network().open(interface, Groups::Vrrp)?;
                self.opened.insert(interface.to_owned(), *index);
            }
            LinkState::Missing => {
                self.opened.remove(interface);
                self.engine.network().close(interface);
            }
        }
        Ok(())
    }

    fn take_packets(&mut self) {
        for interface in self.opened.keys() {
            for _ in 0..DRAIN {
                let Some(socket) = self.engine.network_ref().socket(interface) else { break };
                match socket.receive(&mut self.buffer) {
                    Ok(Some(received)) => self.engine.packet(vouchd_net::now(), interface, &received, &self.buffer),
                    Ok(None) => break,
                    // Told by the link watcher too, in better words.
                    Err(error) => {
                        let subject = Subject::Interface(interface.clone());
                        let line = Line::warn(subject, format!("receiving on {interface}: {error}"));
                        self.log.say(vouchd_net::now(), "receive", line);
                        break;
                    }
                }
            }
        }
    }

    fn take_reports(&mut self) {
        for report in self.reports.drain().unwrap_or_default() {
            self.engine.report(vouchd_net::now(), report);
        }
    }

    /// False: shut down.
    fn obey(&mut self) -> bool {
        // When everybody else is gone, so is the daemon.
        let Ok(commands) = self.commands.drain() else { return false };
        for command in commands {
            let now = vouchd_net::now();
            match command {
                Command::Health { instance, health } => self.engine.health(now, &instance, health),
                Command::Configure { instances, health } => self.configure(now, &instances, health),
                Command::Snapshot(reply) => {
                    let (instances, interfaces) = self.engine.snapshot(now);
                    // Whoever asked may have given up.
                    let _ = reply.send(Snapshot { instances, interfaces });
                }
                Command::Shutdown => return false,
            }
        }
        true
    }

    fn configure(&mut self, now: Time, instances: &[Instance], health: BTreeMap<String, Health>) {
        self.engine.configure(now, instances, health);
        let watched = self.engine.watched();
        self.opened.retain(|name, _| {
            let used = watched.iter().any(|watched| watched.interface == *name);
            if !used {
                self.engine.network().close(name);
            }
            used
        });
        // An interface that is watched already is not told again, so its socket is opened anew here.
        for (interface, state) in self.engine.known_links() {
            if let Err(error) = self.open_socket(&interface, &state) {
                let subject = Subject::Interface(interface.clone());
                let line = Line::error(subject, format!("no socket on {interface}: {error}"));
                self.log.say(vouchd_net::now(), "socket", line);
            }
        }
        self.watcher.watch(watched);
        self.watch_arp();
    }
}
