//! The protocol thread: waits for packets, commands, reports and deadlines, and passes them to the [`Engine`].
//!
//! It waits in one place only, `ppoll`, and for no file, lock or answer. Sockets are drained before timers fire, so that after
//! a stall the packets received meanwhile count first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tracing::{error, info};
use vouchd_config::{Config, Group, Instance};
use vouchd_net::{
    AddressKeeper, CarrierEvent, Groups, Kernel, LinkEvent, LinkEvents, LinkState, LinkWatcher, MAX_PACKET,
    NeighbourClaim, NeighbourWatched, NeighbourWatcher, Notifier, Receiver, Report, Sources, SweptMac, sweep,
    sweep_routing, sweep_virtual_macs,
};
use vouchd_vrrp::{Health, Time};
use vouchd_wire::Family;

use crate::engine::{Engine, Startup};
use crate::heartbeat::Heartbeat;
use crate::holdings::OtherDaemons;
use crate::log::{Line, Log, Subject};
use vouchd_ipc::status;

/// A command to the protocol thread.
pub(crate) enum Command {
    Health {
        instance: String,
        health: Health,
    },
    Configure {
        instances: Vec<Instance>,
        groups: Vec<Group>,
        /// The health of each instance under this configuration.
        health: BTreeMap<String, Health>,
    },
    Snapshot(Notifier<Snapshot>),
    /// Resign, remove the addresses, end the thread.
    Shutdown,
}

/// Its part of the status.
pub(crate) struct Snapshot {
    pub(crate) instances: Vec<status::Instance>,
    pub(crate) interfaces: Vec<status::Interface>,
}

/// Its priority under SCHED_RR: above all ordinary threads, below those of the kernel.
pub(crate) const PRIORITY: u8 = 10;

/// Packets taken from one socket before the timers run again; far more than a queue holds without a flood.
const DRAIN: usize = 4096;

/// The time that the kernel has to remove the addresses at a stop.
const FINISH: Duration = Duration::from_secs(2);

/// The protocol thread's state.
pub(crate) struct Protocol {
    engine: Engine<Kernel>,
    commands: Receiver<Command>,
    reports: Receiver<Report>,
    links: Receiver<LinkEvent>,
    watcher: LinkWatcher,
    neighbours: NeighbourWatcher,
    claims: Receiver<NeighbourClaim>,
    /// The sockets by interface and family, and the index of the interface when each was opened.
    opened: BTreeMap<(String, Family), (u32, Groups)>,
    heartbeat: Arc<Heartbeat>,
    buffer: Vec<u8>,
    log: Log,
}

impl Protocol {
    /// Removes the addresses, routes and rules that an earlier run left behind and no other daemon holds, and starts the threads
    /// that serve the protocol. Returns also whether each interface of the host can carry packets, for the health thread.
    pub(crate) fn new(
        config: &Config,
        others: &OtherDaemons,
        commands: Receiver<Command>,
        heartbeat: Arc<Heartbeat>,
    ) -> anyhow::Result<(Self, Receiver<Vec<CarrierEvent>>)> {
        for item in sweep_routing(|text| others.hold_routing(text))? {
            info!("removed {item}, which an earlier run left behind");
        }
        // Before the addresses, which go with them.
        let is_kept =
            |found: &SweptMac| found.parent.as_ref().is_none_or(|parent| others.hold_router(parent, found.vrid));
        for SweptMac { name, .. } in sweep_virtual_macs(is_kept)? {
            info!("removed {name}, which an earlier run left behind");
        }
        let of_addresses = |instance: &'_ Instance| {
            let all = instance.addresses.iter().chain(&instance.extra_addresses);
            all.filter_map(|address| address.interface.clone()).collect::<Vec<_>>()
        };
        let interfaces: BTreeSet<String> = config
            .instances
            .iter()
            .flat_map(|instance| of_addresses(instance).into_iter().chain([instance.interface.clone()]))
            .collect();
        let interfaces: Vec<_> = interfaces.iter().map(String::as_str).collect();
        for address in sweep(Some(&interfaces), |found| others.hold(&found.interface, found.address))? {
            info!("removed {address}, which an earlier run left behind");
        }
        // In real time like the protocol thread, since an address whose lease is not renewed in time is lost.
        let (keeper, reports) =
            if config.daemon.realtime { AddressKeeper::start_real_time(PRIORITY)? } else { AddressKeeper::start()? };
        let now = vouchd_net::now();
        let startup = Startup { daemon: now, after_boot: config.daemon.delay_after_boot };
        let mut engine = Engine::new(Kernel::new(keeper), startup);
        engine.configure(now, &config.instances, &config.groups, BTreeMap::new());
        let (watcher, LinkEvents { states: links, carriers }) = LinkWatcher::start(engine.watched())?;
        let (neighbours, claims) = NeighbourWatcher::start()?;
        let protocol = Protocol {
            engine,
            commands,
            reports,
            links,
            watcher,
            neighbours,
            claims,
            opened: Default::default(),
            heartbeat,
            buffer: vec![0; MAX_PACKET],
            log: Log::default(),
        };
        Ok((protocol, carriers))
    }

    /// Runs until the command to shut down.
    pub(crate) fn run(mut self) {
        // The health sent before the start counts before the first link does.
        while self.take_commands() {
            let now = vouchd_net::now();
            self.engine.timers(now);
            self.log.write_overdue(now);
            self.heartbeat.beat();
            self.wait();
            self.take_links();
            self.take_packets();
            self.take_claims();
            self.take_reports();
        }
        self.engine.shutdown(vouchd_net::now());
        if !self.engine.into_network().finish(FINISH) {
            error!("the kernel did not remove the addresses within {FINISH:?}; they are removed when their leases end");
        }
    }

    fn wait(&mut self) {
        let now = vouchd_net::now();
        let timeout = self.engine.deadline().map_or(Heartbeat::PERIOD, |deadline| deadline.since(now));
        let timeout = TimeSpec::from(timeout.min(Heartbeat::PERIOD));
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
        // A watcher that has ended has logged why. The known states remain.
        let events = self.links.drain().unwrap_or_default();
        let changed = !events.is_empty();
        for LinkEvent { interface, state } in events {
            let kind = match &state {
                LinkState::Up { sources, .. } if *sources == Sources::default() => "no address",
                LinkState::Up { .. } => "up",
                LinkState::Down { .. } => "down",
                LinkState::Missing => "missing",
            };
            let subject = Subject::interface(&interface);
            self.log.state(vouchd_net::now(), "state", kind, Line::info(&subject, state.to_string()));
            let failed = self.open_sockets(&interface, &state);
            self.engine.link(vouchd_net::now(), &interface, state);
            for (family, error) in failed {
                self.log.event(vouchd_net::now(), "socket", Line::error(&subject, no_socket(family, &error)));
                let reason = format!("{interface}: {}", no_socket(family, &error));
                self.engine.link_unusable(vouchd_net::now(), &interface, family, &reason);
            }
        }
        if changed {
            self.watch_neighbours();
        }
    }

    /// Listens on the interfaces, as they are now, for other machines that claim the addresses.
    fn watch_neighbours(&self) {
        let watched = self.engine.watched();
        let on = |(interface, state): (String, LinkState)| {
            let index = match state {
                LinkState::Up { index, .. } | LinkState::Down { index, .. } => index,
                LinkState::Missing => return None,
            };
            let addresses = watched.iter().find(|watched| watched.interface == interface)?.addresses.clone();
            Some(NeighbourWatched { interface, index, addresses })
        };
        self.neighbours.watch(self.engine.known_links().into_iter().filter_map(on).collect());
    }

    /// Called after the packets: an advertisement can explain an announcement that came with it.
    fn take_claims(&mut self) {
        for claim in self.claims.drain().unwrap_or_default() {
            self.engine.claimed(vouchd_net::now(), &claim);
        }
    }

    /// Opens and closes the interface's sockets, one for each family in use. Returns the errors.
    fn open_sockets(&mut self, interface: &str, state: &LinkState) -> Vec<(Family, std::io::Error)> {
        let used = self.engine.families(interface);
        let mut errors = Vec::new();
        for family in [Family::V4, Family::V6] {
            if let Err(error) = self.open_socket(interface, family, state, used.contains(&family)) {
                errors.push((family, error));
            }
        }
        errors
    }

    /// Opens or closes one socket. A socket belongs to an index: a new index is a new interface. An IPv6 socket loses its
    /// group when the kernel ends IPv6 on the interface, so without an IPv6 address there is none.
    fn open_socket(
        &mut self,
        interface: &str,
        family: Family,
        state: &LinkState,
        is_used: bool,
    ) -> std::io::Result<()> {
        let key = (interface.to_owned(), family);
        let index = match state {
            LinkState::Up { index, addresses, .. } => {
                let is_on = family == Family::V4 || addresses.iter().any(IpAddr::is_ipv6);
                Some(*index).filter(|_| is_used && is_on)
            }
            LinkState::Down { index, .. } => Some(*index).filter(|_| is_used && family == Family::V4),
            LinkState::Missing => None,
        };
        let Some(index) = index else {
            self.opened.remove(&key);
            self.engine.network().close(interface, family);
            return Ok(());
        };
        let wanted = (index, self.engine.groups(interface));
        if self.opened.get(&key) == Some(&wanted) {
            return Ok(());
        }
        self.opened.remove(&key);
        self.engine.network().open(interface, family, wanted.1.clone())?;
        self.opened.insert(key, wanted);
        Ok(())
    }

    fn take_packets(&mut self) {
        for key in self.opened.keys() {
            let (interface, _) = key;
            for _ in 0..DRAIN {
                let Some(socket) = self.engine.network_ref().socket(key) else { break };
                match socket.receive(&mut self.buffer) {
                    Ok(Some(received)) => self.engine.packet(vouchd_net::now(), interface, &received, &self.buffer),
                    Ok(None) => break,
                    Err(error) => {
                        let line = Line::warn(&Subject::interface(interface), format!("could not receive: {error}"));
                        self.log.event(vouchd_net::now(), "receive", line);
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

    /// Runs the commands sent so far. Returns false to shut down.
    fn take_commands(&mut self) -> bool {
        // All other threads have ended, so the daemon ends.
        let Ok(commands) = self.commands.drain() else { return false };
        for command in commands {
            let now = vouchd_net::now();
            match command {
                Command::Health { instance, health } => self.engine.health(now, &instance, health),
                Command::Configure { instances, groups, health } => self.configure(now, &instances, &groups, health),
                Command::Snapshot(reply) => {
                    let (instances, interfaces) = self.engine.snapshot(now);
                    // The thread that asked may have given up.
                    let _ = reply.send(Snapshot { instances, interfaces });
                }
                Command::Shutdown => return false,
            }
        }
        true
    }

    fn configure(&mut self, now: Time, instances: &[Instance], groups: &[Group], health: BTreeMap<String, Health>) {
        self.engine.configure(now, instances, groups, health);
        let watched = self.engine.watched();
        self.opened.retain(|(name, family), _| {
            let used = watched.iter().any(|watched| watched.interface == *name);
            if !used {
                self.engine.network().close(name, *family);
            }
            used
        });
        // The watcher does not report the state of a known interface again, so its sockets are opened here.
        for (interface, state) in self.engine.known_links() {
            for (family, error) in self.open_sockets(&interface, &state) {
                let line = Line::error(&Subject::interface(&interface), no_socket(family, &error));
                self.log.event(vouchd_net::now(), "socket", line);
            }
        }
        self.watcher.watch(watched);
        self.watch_neighbours();
    }
}

fn no_socket(family: Family, error: &std::io::Error) -> String {
    format!("could not open a socket for {family}: {error}")
}
