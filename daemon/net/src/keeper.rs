//! The thread that does everything for virtual addresses that may wait for the kernel.
//!
//! It keeps the [`Holdings`], the model of what we put where: commands say what is wanted, the kernel's notifications what
//! is there, and after each of them the difference is carried out. So an address that somebody deletes is back in
//! milliseconds, and announced.
//!
//! Commands are carried out in the order of their issue, each only within its time: a process that was stopped and goes
//! on must not install or announce an address that another router holds by now. The kernel's lease starts when the
//! kernel gets to it, so the clock is read again after each step and a step that turned out late is taken back.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::address::{
    AddressCommand, AddressError, AddressState, CommandKind, CommandRefused, InstanceKey, Late, Report, VirtualAddress,
};
use crate::announce::ArpSocket;
use crate::clock::Time;
use crate::holdings::{Form, Holdings, Operation};
use crate::netlink::{AddressRequest, Netlink, News, Notifications, OUR_PROTOCOL};
use crate::realtime::real_time;
use crate::wakeup::{Closed, Notifier, Receiver, channel};

/// Commands that may wait. At ten instances and ten advertisements a second, that is ten seconds of a kernel that does
/// not answer; by then, all of them are late.
const CAPACITY: usize = 1024;

/// Steps from any state to what is wanted: new forms, old forms, what somebody changed meanwhile.
const ROUNDS: usize = 8;

/// An address that somebody deletes again and again is announced no more often than this.
const ANNOUNCEMENT_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait before a broken netlink socket is used again.
const RETRY: Duration = Duration::from_millis(100);

/// Installs, leases, removes and announces virtual addresses, in a thread of its own.
///
/// Dropping it lets the thread finish what it was told, and remove what it still holds, without waiting for it;
/// [`AddressKeeper::finish`] waits.
#[derive(Debug)]
pub struct AddressKeeper {
    commands: Notifier<AddressCommand>,
    /// Commands that the thread has not taken yet.
    waiting: Arc<AtomicUsize>,
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
        let (commands, queue) = channel()?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut worker = Worker::new(reports)?;
        let (end, finished) = mpsc::sync_channel(0);
        let left = Arc::clone(&waiting);
        thread::Builder::new().name("addresses".into()).spawn(move || {
            begin();
            worker.run(&queue, &left);
            // Its drop, after the last command, is what `finish` waits for.
            drop(end);
        })?;
        Ok((Self { commands, waiting, finished }, receiver))
    }

    /// Queues a command. Never blocks.
    ///
    /// # Errors
    /// The command is not queued and will not be carried out; with leases, the kernel drops what is not renewed.
    pub fn command(&self, command: AddressCommand) -> Result<(), CommandRefused> {
        if self.waiting.load(Ordering::Relaxed) >= CAPACITY && !command.is_essential() {
            return Err(CommandRefused::QueueFull { capacity: CAPACITY });
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.commands.send(command).map_err(|Closed| CommandRefused::Stopped)
    }

    /// Ends the thread after the commands that it was given, and after what is left of our addresses. Returns whether it got there within `patience`.
    pub fn finish(self, patience: Duration) -> bool {
        let Self { commands, waiting: _, finished } = self;
        drop(commands);
        finished.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

/// Removes what an earlier run left behind: every IPv4 address with our mark, on the given interfaces or on all, but
/// those of which `is_kept` says that another daemon that lives keeps them. Returns what was removed. May wait for the
/// kernel.
///
/// # Errors
/// When addresses can't be read or one can't be removed; those before it are removed.
pub fn sweep(
    interfaces: Option<&[&str]>,
    is_kept: impl Fn(&VirtualAddress) -> bool,
) -> io::Result<Vec<VirtualAddress>> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let mut removed = Vec::new();
    for held in netlink.addresses()? {
        let Some(link) = links.iter().find(|link| link.index == held.index) else { continue };
        let wanted = interfaces.is_none_or(|names| names.contains(&link.name.as_str()));
        let found = VirtualAddress { interface: link.name.as_str().into(), address: held.address, prefix: held.prefix };
        if held.protocol != OUR_PROTOCOL || !wanted || is_kept(&found) {
            continue;
        }
        // What the host has of the same subnet stays.
        if held.prefix < 32 && !link.promotes {
            netlink.promote_secondaries(held.index)?;
        }
        match netlink.remove_address(held.index, held.address, held.prefix) {
            Ok(()) => removed.push(found),
            // Its lease ended while we looked.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

struct Worker {
    netlink: Netlink,
    notifications: Notifications,
    arp: ArpSocket,
    holdings: Holdings,
    reports: Notifier<Report>,
    /// When what came back was announced last, for a while.
    announced: BTreeMap<Form, Time>,
    /// What was reported last of each instance.
    reported: BTreeMap<InstanceKey, Vec<AddressState>>,
}

impl Worker {
    fn new(reports: Notifier<Report>) -> io::Result<Self> {
        let mut worker = Self {
            notifications: Notifications::open()?,
            netlink: Netlink::open()?,
            arp: ArpSocket::open()?,
            holdings: Holdings::default(),
            reports,
            announced: BTreeMap::new(),
            reported: BTreeMap::new(),
        };
        worker.read_all()?;
        Ok(worker)
    }

    /// Until nobody can give commands any more.
    fn run(&mut self, queue: &Receiver<AddressCommand>, waiting: &AtomicUsize) {
        while let Ok(commands) = queue.drain() {
            for command in commands {
                waiting.fetch_sub(1, Ordering::Relaxed);
                self.carry_out(command);
            }
            self.wait(queue);
            if self.follow() {
                self.settle(None);
            }
        }
        self.holdings.release_all();
        self.settle(None);
    }

    fn wait(&self, queue: &Receiver<AddressCommand>) {
        let mut descriptors = [
            PollFd::new(queue.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.notifications.socket.as_fd(), PollFlags::POLLIN),
        ];
        // A failure would come at once again; commands are looked at in any case.
        if poll(&mut descriptors, PollTimeout::NONE).is_err_and(|error| error != Errno::EINTR) {
            thread::sleep(RETRY);
        }
    }

    fn carry_out(&mut self, command: AddressCommand) {
        // What the kernel has said meanwhile counts already.
        self.follow();
        match command {
            AddressCommand::Configure(claims) => {
                self.reported.clear();
                self.holdings.configure(claims);
                self.settle(None);
            }
            AddressCommand::Install { instance, lifetime } => match lifetime.seconds(Time::now()) {
                Ok(_) => {
                    let begins = self.holdings.serve(&instance, lifetime) == Some(true);
                    self.settle(Some(&instance).filter(|_| begins));
                }
                Err(late) => self.report(Report::Late { instance, command: CommandKind::Install, late }),
            },
            AddressCommand::Remove { instance } => {
                self.holdings.release(&instance);
                self.settle(Some(&instance));
            }
            AddressCommand::Announce { instance, repeat, not_after } => {
                match self.announce_all(&instance, repeat, not_after) {
                    Ok(frames) => self.report(Report::Announced { instance, frames }),
                    Err(late) => self.report(Report::Late { instance, command: CommandKind::Announce, late }),
                }
            }
            AddressCommand::Ask { instance, sender, not_after } => self.ask_all(&instance, sender, not_after),
        }
    }

    /// Without anybody who listens, addresses are kept all the same.
    fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }

    /// Takes in the kernel's news. Whether there were any that are not about our own requests.
    fn follow(&mut self) -> bool {
        let mut matters = false;
        loop {
            match self.notifications.next() {
                Ok(Some(news)) => {
                    for News { change, port } in news {
                        matters |= self.holdings.apply(change, port == self.netlink.port());
                    }
                }
                Ok(None) => return matters,
                Err(error) => {
                    tracing::debug!(%error, "news about addresses were lost; all are read again");
                    self.read_again();
                    return true;
                }
            }
        }
    }

    /// Reads everything anew, after notifications were lost.
    fn read_again(&mut self) {
        if let Err(error) = self.read_all() {
            tracing::warn!(%error, "the addresses can't be read");
            thread::sleep(RETRY);
            if let (Ok(netlink), Ok(notifications)) = (Netlink::open(), Notifications::open()) {
                (self.netlink, self.notifications) = (netlink, notifications);
                if let Err(error) = self.read_all() {
                    tracing::error!(%error, "the addresses can't be read");
                }
            }
        }
    }

    fn read_all(&mut self) -> io::Result<()> {
        // What is queued is older than the dump; what is queued from now on is complete.
        self.notifications.discard()?;
        let links = self.netlink.links()?;
        let addresses = self.netlink.addresses()?;
        self.holdings.replace(links, addresses);
        Ok(())
    }

    /// Brings the kernel in line with what is wanted, and reports what that changed; `answer`: this instance's state in
    /// any case.
    fn settle(&mut self, answer: Option<&InstanceKey>) {
        self.holdings.begin();
        for _ in 0..ROUNDS {
            let operations = self.holdings.plan(Time::now());
            if operations.is_empty() {
                break;
            }
            self.change(&operations);
            self.follow();
        }
        self.announce_returned();
        self.holdings.settled();
        self.tell(answer);
    }

    fn change(&mut self, operations: &[Operation]) {
        let (promotions, changes): (Vec<Operation>, Vec<Operation>) =
            operations.iter().partition(|operation| matches!(operation, Operation::Promote { .. }));
        for operation in promotions {
            self.promote(operation.form());
        }
        let requests: Vec<_> = changes.iter().filter_map(request).collect();
        if requests.is_empty() {
            return;
        }
        match self.netlink.change_addresses(&requests) {
            Ok(results) => {
                let now = Time::now();
                for (operation, result) in changes.into_iter().zip(results) {
                    match result {
                        Ok(()) => self.holdings.done(now, operation),
                        Err(error) => self.refused(now, operation, error),
                    }
                }
            }
            Err(error) => {
                let error = Arc::new(self.reopened(error));
                for operation in changes {
                    self.holdings.failed(operation, AddressError::Kernel(Arc::clone(&error)));
                }
                self.read_again();
            }
        }
    }

    fn refused(&mut self, now: Time, operation: Operation, error: io::Error) {
        match operation {
            Operation::Remove { .. } if is_gone(&error) => return self.holdings.done(now, operation),
            // Somebody was quicker: whose it is, the news say, and the next round takes it from there.
            Operation::Add { form, .. } if error.raw_os_error() == Some(libc::EEXIST) => {
                self.follow();
                if !self.holdings.is_there(form) {
                    self.read_again();
                }
                return;
            }
            Operation::Add { .. } | Operation::Renew { .. } | Operation::Remove { .. } | Operation::Promote { .. } => {}
        }
        let error = self.error(operation.form(), error);
        self.holdings.failed(operation, error);
    }

    fn error(&self, form: Form, error: io::Error) -> AddressError {
        match error.raw_os_error() {
            Some(libc::ENODEV) => AddressError::NoInterface(self.holdings.name(form).interface),
            _ => refusal(error, "CAP_NET_ADMIN"),
        }
    }

    /// Nothing that the host has may go with an address of ours.
    fn promote(&mut self, form: Form) {
        let set = self.netlink.link(form.index).and_then(|link| {
            if link.promotes {
                return Ok(false);
            }
            self.netlink.promote_secondaries(form.index).map(|()| true)
        });
        match set {
            Ok(changed) => self.holdings.promotes(form, changed),
            Err(error) => {
                let error = self.reopened(error);
                let error = self.error(form, error);
                self.holdings.does_not_promote(form, error);
            }
        }
    }

    fn announce_returned(&mut self) {
        let now = Time::now();
        self.announced.retain(|_, at| now.saturating_since(*at) < ANNOUNCEMENT_PAUSE);
        for (form, mac) in self.holdings.take_returned() {
            // Nobody has had the time to learn another place of it.
            if self.announced.contains_key(&form) {
                continue;
            }
            self.announced.insert(form, now);
            if let Err(error) = self.arp.announce(form.index, mac, form.address) {
                tracing::warn!("{} could not be announced: {error}", form.address);
            }
        }
    }

    fn tell(&mut self, answer: Option<&InstanceKey>) {
        let mut changes = self.holdings.take_changes();
        for instance in self.holdings.instances() {
            let mut states = self.holdings.states(&instance);
            states.iter_mut().for_each(forget_what_is_not_answered_for);
            let changes = changes.remove(&instance).unwrap_or_default();
            if changes.is_empty() && self.reported.get(&instance) == Some(&states) && answer != Some(&instance) {
                continue;
            }
            let active = self.holdings.claim(&instance).is_some_and(|claim| claim.lifetime.is_some());
            self.reported.insert(instance.clone(), states.clone());
            self.report(Report::Addresses { instance, active, states, changes });
        }
        // Of instances that a reload has removed.
        for (instance, changes) in changes {
            self.report(Report::Addresses { instance, active: false, states: Vec::new(), changes });
        }
    }

    fn announce_all(&mut self, instance: &InstanceKey, repeat: u32, not_after: Time) -> Result<u32, Late> {
        Late::check(not_after, Time::now())?;
        let Some(claim) = self.holdings.claim(instance) else { return Ok(0) };
        let (addresses, is_active) = (Arc::clone(&claim.addresses), claim.lifetime.is_some());
        let mut targets = Vec::new();
        for address in addresses.iter() {
            let target = if is_active { self.holdings.target(address) } else { Err(AddressError::NotInstalled) };
            match target {
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

    /// What can't be sent is made good by the next request.
    fn ask_all(&self, instance: &InstanceKey, sender: Ipv4Addr, not_after: Time) {
        let claim = self.holdings.claim(instance).filter(|claim| claim.lifetime.is_some());
        for address in claim.into_iter().flat_map(|claim| claim.addresses.iter()) {
            if Late::check(not_after, Time::now()).is_err() {
                return;
            }
            if let Ok((index, Some(mac))) = self.holdings.target(address)
                && let Err(error) = self.arp.ask(index, mac, sender, address.address)
            {
                tracing::debug!(%error, "asking who else has {}", address.address);
            }
        }
    }

    fn announce_failed(&self, instance: &InstanceKey, address: &VirtualAddress, error: AddressError) {
        let (instance, address) = (instance.clone(), address.clone());
        self.report(Report::AnnounceFailed { instance, address, error });
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

/// Where `arp_ignore` is set, copies on other interfaces do no harm: that is how load balancers' servers have them.
fn forget_what_is_not_answered_for(state: &mut AddressState) {
    let interface = Arc::clone(&state.address.interface);
    if state.copies.iter().any(|copy| copy.at.interface != interface) && ignores_others(&interface) {
        state.copies.retain(|copy| copy.at.interface == interface);
    }
}

/// Whether an interface answers ARP for its own addresses only.
pub(crate) fn ignores_others(interface: &str) -> bool {
    ["all", interface].into_iter().any(|name| {
        let setting = std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore"));
        setting.is_ok_and(|setting| setting.trim() != "0")
    })
}

fn request(operation: &Operation) -> Option<AddressRequest> {
    let Form { index, address, prefix } = operation.form();
    match *operation {
        Operation::Promote { .. } => None,
        Operation::Add { seconds, .. } => Some(AddressRequest::Add { index, address, prefix, seconds }),
        Operation::Renew { seconds, .. } => Some(AddressRequest::Renew { index, address, prefix, seconds }),
        Operation::Remove { .. } => Some(AddressRequest::Remove { index, address, prefix }),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV))
}

fn refusal(error: io::Error, capability: &'static str) -> AddressError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => AddressError::NotPermitted { capability },
        _ => AddressError::Kernel(Arc::new(error)),
    }
}
