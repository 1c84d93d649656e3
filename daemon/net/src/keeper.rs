//! The thread that does everything for virtual addresses that may wait for the kernel.
//!
//! Commands are carried out in the order of their issue, each only within its time: a process that was stopped and goes
//! on must not install or announce an address that another router holds by now. The kernel's lease starts when the
//! kernel gets to it, so the clock is read again after each step and a step that turned out late is taken back.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use crate::address::{
    AddressCommand, AddressError, CommandKind, CommandRefused, InstanceKey, Late, Lifetime, Report, VirtualAddress,
};
use crate::announce::ArpSocket;
use crate::clock::Time;
use crate::netlink::{HeldAddress, IfPresent, Link, Netlink, OUR_PROTOCOL};
use crate::realtime::real_time;
use crate::wakeup::{Notifier, Receiver, channel};

/// Commands that may wait. At ten instances and ten advertisements a second, that is ten seconds of a kernel that does
/// not answer; by then, all of them are late.
const CAPACITY: usize = 1024;

/// Installs, leases, removes and announces virtual addresses, in a thread of its own.
///
/// Dropping it lets the thread finish what it was told, without waiting for it; [`AddressKeeper::finish`] waits.
#[derive(Debug)]
pub struct AddressKeeper {
    commands: mpsc::SyncSender<AddressCommand>,
    finished: mpsc::Receiver<()>,
}

impl AddressKeeper {
    /// Starts the thread, in the network namespace of the caller. The receiver gives a [`Report`] for every command.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_RAW (for ARP); out of descriptors or threads. A missing CAP_NET_ADMIN shows in reports.
    pub fn start() -> io::Result<(Self, Receiver<Report>)> {
        Self::start_thread(|| {})
    }

    /// As [`AddressKeeper::start`], with the thread at a real-time priority (as [`real_time`]): for a router whose
    /// protocol thread has one, too. A host that is too busy to renew the leases would advertise addresses that it
    /// does not hold any more. Where the priority is not granted, the thread is an ordinary one.
    ///
    /// # Errors
    /// As [`AddressKeeper::start`].
    pub fn start_real_time(priority: u8) -> io::Result<(Self, Receiver<Report>)> {
        Self::start_thread(move || {
            if let Err(refused) = real_time(priority) {
                // The protocol thread asks for the same and has warned.
                tracing::debug!("the thread that keeps the addresses: {refused}");
            }
        })
    }

    fn start_thread(begin: impl FnOnce() + Send + 'static) -> io::Result<(Self, Receiver<Report>)> {
        let (reports, receiver) = channel()?;
        let netlink = Netlink::open()?;
        let mut worker = Worker { netlink, arp: ArpSocket::open()?, reports, owned: BTreeSet::new() };
        let (commands, queue) = mpsc::sync_channel(CAPACITY);
        let (end, finished) = mpsc::sync_channel(0);
        thread::Builder::new().name("addresses".into()).spawn(move || {
            begin();
            for command in queue {
                worker.carry_out(command);
            }
            // Its drop, after the last command, is what `finish` waits for.
            drop(end);
        })?;
        Ok((Self { commands, finished }, receiver))
    }

    /// Queues a command. Never blocks.
    ///
    /// # Errors
    /// The command is not queued and will not be carried out; with leases, the kernel drops what is not renewed.
    pub fn command(&self, command: AddressCommand) -> Result<(), CommandRefused> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => CommandRefused::QueueFull { capacity: CAPACITY },
            mpsc::TrySendError::Disconnected(_) => CommandRefused::Stopped,
        })
    }

    /// Ends the thread after the commands that it was given. Returns whether it got there within `patience`.
    pub fn finish(self, patience: Duration) -> bool {
        let Self { commands, finished } = self;
        drop(commands);
        finished.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

/// Removes what an earlier run left behind: every IPv4 address with our mark, on the given interfaces or on all.
/// Returns what was removed. May wait for the kernel.
///
/// # Errors
/// When addresses can't be read or one can't be removed; those before it are removed.
pub fn sweep(interfaces: Option<&[&str]>) -> io::Result<Vec<VirtualAddress>> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let mut removed = Vec::new();
    for held in netlink.addresses()? {
        let Some(link) = links.iter().find(|link| link.index == held.index) else { continue };
        let wanted = interfaces.is_none_or(|names| names.contains(&link.name.as_str()));
        if held.protocol != OUR_PROTOCOL || !wanted {
            continue;
        }
        match netlink.remove_address(held.index, held.address, held.prefix) {
            Ok(()) => removed.push(VirtualAddress {
                interface: link.name.as_str().into(),
                address: held.address,
                prefix: held.prefix,
            }),
            // Its lease ended while we looked.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

struct Worker {
    netlink: Netlink,
    arp: ArpSocket,
    reports: Notifier<Report>,
    /// What we put there, so that only what somebody else put there is told as taken over.
    owned: BTreeSet<VirtualAddress>,
}

/// How an address came to be installed.
enum Installed {
    New,
    Renewed,
    TakenOver,
}

/// Why it did not.
enum NotInstalled {
    Late(Late),
    Failed(AddressError),
}

impl Worker {
    fn carry_out(&mut self, command: AddressCommand) {
        let report = match command {
            AddressCommand::Install { instance, addresses, lifetime } => {
                self.install_all(instance, &addresses, lifetime)
            }
            AddressCommand::Remove { instance, addresses } => self.remove_all(instance, &addresses),
            AddressCommand::Announce { instance, addresses, repeat, not_after } => {
                match self.announce_all(&instance, &addresses, repeat, not_after) {
                    Ok(frames) => Report::Announced { instance, frames },
                    Err(late) => Report::Late { instance, command: CommandKind::Announce, late },
                }
            }
        };
        self.report(report);
    }

    /// Without anybody who listens, addresses are kept all the same.
    fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }

    fn install_all(&mut self, instance: InstanceKey, addresses: &[VirtualAddress], lifetime: Lifetime) -> Report {
        let (mut new, mut taken_over, mut failed) = (Vec::new(), Vec::new(), 0);
        for (position, address) in addresses.iter().enumerate() {
            match self.install(address, lifetime) {
                Ok(Installed::New) => new.push(address.clone()),
                Ok(Installed::TakenOver) => taken_over.push(address.clone()),
                Ok(Installed::Renewed) => {}
                Err(NotInstalled::Late(late)) => {
                    if !(new.is_empty() && taken_over.is_empty()) {
                        let (instance, failed) = (instance.clone(), failed + addresses.len() - position);
                        self.report(Report::Installed { instance, new, taken_over, failed });
                    }
                    return Report::Late { instance, command: CommandKind::Install, late };
                }
                Err(NotInstalled::Failed(error)) => {
                    failed += 1;
                    let (instance, address) = (instance.clone(), address.clone());
                    self.report(Report::InstallFailed { instance, address, error });
                }
            }
        }
        Report::Installed { instance, new, taken_over, failed }
    }

    fn install(&mut self, address: &VirtualAddress, lifetime: Lifetime) -> Result<Installed, NotInstalled> {
        let mut seconds = lifetime.seconds(Time::now()).map_err(NotInstalled::Late)?;
        let index = index(address).map_err(NotInstalled::Failed)?;
        let installed = self.add(index, address, seconds).map_err(NotInstalled::Failed)?;
        self.owned.insert(address.clone());
        // The kernel may have kept us waiting: then the lease that it just started is too long by as much.
        loop {
            match lifetime.seconds(Time::now()) {
                Ok(left) if left == seconds => return Ok(installed),
                Ok(left) => {
                    seconds = left;
                    self.renew(index, address, seconds).map_err(NotInstalled::Failed)?;
                }
                Err(late) => {
                    self.remove(address).map_err(NotInstalled::Failed)?;
                    return Err(NotInstalled::Late(late));
                }
            }
        }
    }

    /// Asks for a new address first: only so the kernel tells whether it was there.
    fn add(&mut self, index: u32, address: &VirtualAddress, seconds: u32) -> Result<Installed, AddressError> {
        match self.netlink.add_address(index, address.address, address.prefix, seconds, IfPresent::Refuse) {
            Ok(()) => return Ok(Installed::New),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(self.failed(address, error)),
        }
        let installed = if self.owned.contains(address) || self.is_marked(index, address)? {
            Installed::Renewed
        } else {
            Installed::TakenOver
        };
        self.renew(index, address, seconds)?;
        Ok(installed)
    }

    fn renew(&mut self, index: u32, address: &VirtualAddress, seconds: u32) -> Result<(), AddressError> {
        self.netlink
            .add_address(index, address.address, address.prefix, seconds, IfPresent::Replace)
            .map_err(|error| self.failed(address, error))
    }

    fn is_marked(&mut self, index: u32, address: &VirtualAddress) -> Result<bool, AddressError> {
        let held = self.netlink.addresses().map_err(|error| self.failed(address, error))?;
        Ok(held.iter().any(|held| is_held(held, index, address) && held.protocol == OUR_PROTOCOL))
    }

    fn remove_all(&mut self, instance: InstanceKey, addresses: &[VirtualAddress]) -> Report {
        let mut failed = 0;
        for address in addresses {
            if let Err(error) = self.remove(address) {
                failed += 1;
                let (instance, address) = (instance.clone(), address.clone());
                self.report(Report::RemoveFailed { instance, address, error });
            }
        }
        Report::Removed { instance, failed }
    }

    fn remove(&mut self, address: &VirtualAddress) -> Result<(), AddressError> {
        self.owned.remove(address);
        let index = match index(address) {
            Ok(index) => index,
            Err(AddressError::NoInterface(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        match self.netlink.remove_address(index, address.address, address.prefix) {
            Err(error) if !is_gone(&error) => Err(self.failed(address, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn announce_all(
        &mut self,
        instance: &InstanceKey,
        addresses: &[VirtualAddress],
        repeat: u32,
        not_after: Time,
    ) -> Result<u32, Late> {
        Late::check(not_after, Time::now())?;
        let looked = self.netlink.links().and_then(|links| Ok((links, self.netlink.addresses()?)));
        let (links, held) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                let error = Arc::new(self.reopened(error));
                for address in addresses {
                    let error = AddressError::Kernel(io::Error::new(error.kind(), Arc::clone(&error)));
                    self.announce_failed(instance, address, error);
                }
                return Ok(0);
            }
        };
        let mut targets = Vec::new();
        for address in addresses {
            match target(&links, &held, address) {
                Ok((index, Some(mac))) => targets.push((index, mac, address)),
                // No Ethernet, nobody to tell.
                Ok((_, None)) => {}
                Err(error) => self.announce_failed(instance, address, error),
            }
        }
        let mut frames = 0;
        for _ in 0..repeat {
            // Round by round, so that every address is announced once before any is for the second time.
            let mut left = Vec::with_capacity(targets.len());
            for (index, mac, address) in targets {
                Late::check(not_after, Time::now())?;
                match self.arp.announce(index, mac, address.address) {
                    Ok(()) => {
                        frames += 1;
                        left.push((index, mac, address));
                    }
                    Err(error) => self.announce_failed(instance, address, refusal(error, "CAP_NET_RAW")),
                }
            }
            targets = left;
        }
        Ok(frames)
    }

    fn announce_failed(&self, instance: &InstanceKey, address: &VirtualAddress, error: AddressError) {
        let (instance, address) = (instance.clone(), address.clone());
        self.report(Report::AnnounceFailed { instance, address, error });
    }

    fn failed(&mut self, address: &VirtualAddress, error: io::Error) -> AddressError {
        match error.raw_os_error() {
            Some(libc::ENODEV) => AddressError::NoInterface(Arc::clone(&address.interface)),
            _ => refusal(self.reopened(error), "CAP_NET_ADMIN"),
        }
    }

    /// A socket whose answers were lost or late is not in step any more: the next request gets a new one.
    fn reopened(&mut self, error: io::Error) -> io::Error {
        let lost = error.raw_os_error() == Some(libc::ENOBUFS) || error.kind() == io::ErrorKind::WouldBlock;
        if lost && let Ok(netlink) = Netlink::open() {
            self.netlink = netlink;
        }
        error
    }
}

fn index(address: &VirtualAddress) -> Result<u32, AddressError> {
    if_nametoindex(&*address.interface).map_err(|error| match error {
        Errno::ENODEV => AddressError::NoInterface(Arc::clone(&address.interface)),
        error => AddressError::Kernel(error.into()),
    })
}

fn is_held(held: &HeldAddress, index: u32, address: &VirtualAddress) -> bool {
    held.index == index && held.address == address.address && held.prefix == address.prefix
}

/// Where to announce an address from: the interface's index and, if it is an Ethernet, MAC address.
fn target(
    links: &[Link],
    held: &[HeldAddress],
    address: &VirtualAddress,
) -> Result<(u32, Option<[u8; 6]>), AddressError> {
    let link = links
        .iter()
        .find(|link| *link.name == *address.interface)
        .ok_or_else(|| AddressError::NoInterface(Arc::clone(&address.interface)))?;
    if held.iter().any(|held| is_held(held, link.index, address)) {
        Ok((link.index, link.mac))
    } else {
        Err(AddressError::NotInstalled)
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV))
}

fn refusal(error: io::Error, capability: &'static str) -> AddressError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => AddressError::NotPermitted { capability },
        _ => AddressError::Kernel(error),
    }
}
