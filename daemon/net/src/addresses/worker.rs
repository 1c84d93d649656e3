//! The thread that does everything for virtual addresses that may wait for the kernel.
//!
//! It keeps the [`Reconciler`]: commands change what is wanted, the kernel's notifications what is there, and after each of
//! them the thread carries out the difference. So an address that somebody deletes is back within milliseconds, and
//! announced.
//!
//! Commands are carried out in the order of their issue, each only within its time: a process that was stopped and resumes
//! must not install or announce an address that another router holds by now. The kernel's lease starts when the kernel
//! gets to it, so the clock is read again after each step, and a step that turned out late is undone.

mod announcements;
mod virtual_macs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use vouchd_wire::Time;

use crate::addresses::attributes::AddressAttributes;
use crate::addresses::command::{AddressCommand, CommandKind, InstanceKey};
use crate::addresses::reconciler::{Operation, Placement, Reconciler};
use crate::addresses::report::{AddressError, AddressState, Report};
use crate::channel::{Notifier, Receiver};
use crate::clock;
use crate::netfilter::AcceptFilter;
use crate::netlink::{AddressRequest, Change, News, Notifications, RequestSocket};
use crate::routing::RoutingKeeper;
use crate::sockets::NeighbourSocket;
use crate::virtual_mac::{VirtualMacKeeper, VirtualMacState};

/// Steps from any state to what is wanted: new placements, old ones, what somebody changed in the meantime.
const ROUNDS: usize = 8;

/// The longest time for which renewals look at their own instance only. The kernel does not notify of every setting that
/// matters, `promote_secondaries` and `arp_ignore` among them.
const RECHECK: Duration = Duration::from_secs(1);

/// How long to wait before a broken netlink socket is used again.
const RETRY: Duration = Duration::from_millis(100);

pub(super) struct Worker {
    requests: RequestSocket,
    notifications: Notifications,
    neighbours: NeighbourSocket,
    reconciler: Reconciler,
    routing: RoutingKeeper,
    reports: Notifier<Report>,
    /// When an address that came back was announced last; kept for a moment.
    announced: BTreeMap<Placement, Time>,
    virtual_macs: VirtualMacKeeper,
    accept: AcceptFilter,
    /// The states reported last, by instance.
    reported: BTreeMap<InstanceKey, Vec<AddressState>>,
    reported_macs: BTreeMap<InstanceKey, VirtualMacState>,
    /// Whether the kernel may differ from what is wanted.
    unsettled: bool,
    /// When everything was looked at last.
    settled_at: Time,
    /// The instances that wait for a report about their addresses.
    answers: BTreeSet<InstanceKey>,
}

impl Worker {
    /// Opens all sockets and reads all links and addresses.
    pub(super) fn new(reports: Notifier<Report>) -> io::Result<Self> {
        let mut worker = Self {
            notifications: Notifications::open()?,
            requests: RequestSocket::open()?,
            neighbours: NeighbourSocket::open()?,
            reconciler: Reconciler::default(),
            routing: RoutingKeeper::default(),
            reports,
            announced: BTreeMap::new(),
            virtual_macs: VirtualMacKeeper::default(),
            accept: AcceptFilter::default(),
            reported: BTreeMap::new(),
            reported_macs: BTreeMap::new(),
            unsettled: false,
            settled_at: Time::from_nanos(0),
            answers: BTreeSet::new(),
        };
        worker.read_all()?;
        Ok(worker)
    }

    /// Works until the handle is dropped; then removes what is left.
    pub(super) fn run(&mut self, queue: &Receiver<AddressCommand>, waiting: &AtomicUsize) {
        while let Ok(commands) = queue.drain() {
            let mut commands = VecDeque::from(commands);
            while let Some(command) = commands.pop_front() {
                waiting.fetch_sub(1, Ordering::Relaxed);
                if let Some(instance) = command.speaks_for() {
                    // The kernel may have been busy for long. An instance that has resigned since must not be heard after the
                    // one that is active now.
                    self.unsettled |= self.follow();
                    self.settle();
                    commands.extend(queue.drain().unwrap_or_default());
                    if commands.iter().any(|later| later.ends(instance)) {
                        continue;
                    }
                }
                self.carry_out(command);
            }
            self.settle();
            self.wait(queue);
            self.unsettled |= self.follow() | self.routing.follow();
            self.settle();
        }
        self.reconciler.release_all();
        self.routing.release_all();
        self.virtual_macs.suspect();
        self.unsettled = true;
        self.settle();
    }

    fn wait(&self, queue: &Receiver<AddressCommand>) {
        let mut descriptors = vec![
            PollFd::new(queue.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.notifications.as_fd(), PollFlags::POLLIN),
        ];
        descriptors.extend(self.routing.descriptor().map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)));
        // Routes and rules have no lifetime in the kernel: this thread removes them when the lease has ended.
        let timeout = match self.routing.deadline() {
            Some(deadline) => {
                let left = deadline.since(clock::now()).as_millis().saturating_add(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        // `poll` would fail again at once. The caller looks at the queue in any case.
        if poll(&mut descriptors, timeout).is_err_and(|error| error != Errno::EINTR) {
            thread::sleep(RETRY);
        }
    }

    fn carry_out(&mut self, command: AddressCommand) {
        // What the kernel has reported in the meantime counts already.
        self.unsettled |= self.follow();
        match command {
            AddressCommand::Configure(claims) => {
                self.settle();
                self.reported.clear();
                let routing = claims.iter().map(|it| (it.instance.clone(), Arc::clone(&it.routing), it.lifetime));
                self.routing.configure(routing);
                self.reported_macs.clear();
                self.reconciler.configure(claims);
                self.virtual_macs.suspect();
                // Before any address is added.
                self.filter();
                self.unsettled = true;
                self.settle();
            }
            AddressCommand::Install { instance, lifetime } => match lifetime.seconds(clock::now()) {
                Ok(_) => {
                    self.routing.serve(&instance, lifetime);
                    let begins = self.reconciler.serve(&instance, lifetime) == Some(true);
                    self.unsettled |= begins || !self.renew(&instance);
                    if begins {
                        self.virtual_macs.suspect();
                        self.answers.insert(instance);
                    }
                }
                Err(late) => self.report(Report::Late { instance, command: CommandKind::Install, late }),
            },
            AddressCommand::Remove { instance } => {
                self.routing.release(&instance);
                self.reconciler.release(&instance);
                self.virtual_macs.suspect();
                self.unsettled = true;
                self.answers.insert(instance);
            }
            AddressCommand::Announce { instance, repeat, not_after } => {
                self.settle();
                match self.announce_all(&instance, repeat, not_after) {
                    Ok(frames) => self.report(Report::Announced { instance, frames }),
                    Err(late) => self.report(Report::Late { instance, command: CommandKind::Announce, late }),
                }
            }
            AddressCommand::Ask { instance, sender, not_after } => {
                self.settle();
                self.ask_all(&instance, sender, not_after);
            }
        }
    }

    /// Addresses are kept even if nobody receives the reports.
    fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }

    /// Takes in the queued notifications. Returns whether any of them may change what is to be done.
    fn follow(&mut self) -> bool {
        let mut matters = false;
        loop {
            match self.notifications.next() {
                Ok(Some(news)) => {
                    for News { change, port } in news {
                        if concerns_routing(&change) {
                            self.routing.suspect();
                        }
                        if self.reconciler.apply(change, port == self.requests.port()) {
                            matters = true;
                            self.virtual_macs.suspect();
                        }
                    }
                }
                Ok(None) => return matters,
                Err(error) => {
                    tracing::debug!(%error, "lost address notifications; re-reading all addresses");
                    self.virtual_macs.suspect();
                    self.read_again();
                    return true;
                }
            }
        }
    }

    /// Reads everything again, after notifications were lost.
    fn read_again(&mut self) {
        if let Err(error) = self.read_all() {
            tracing::warn!(%error, "could not read the addresses");
            thread::sleep(RETRY);
            if let (Ok(requests), Ok(notifications)) = (RequestSocket::open(), Notifications::open()) {
                (self.requests, self.notifications) = (requests, notifications);
                if let Err(error) = self.read_all() {
                    tracing::error!(%error, "could not read the addresses");
                }
            }
        }
    }

    fn read_all(&mut self) -> io::Result<()> {
        // Notifications queued so far are older than the dump; those queued from now on are complete.
        self.notifications.discard()?;
        let links = self.requests.links()?;
        let addresses = self.requests.addresses()?;
        self.reconciler.replace(links, addresses);
        Ok(())
    }

    /// Renews the lease of an instance. That is what most commands are for, and with hundreds of instances there is no time
    /// to look at all of them for each. Returns false if more is to be done.
    fn renew(&mut self, instance: &InstanceKey) -> bool {
        let now = clock::now();
        if self.unsettled || now.since(self.settled_at) >= RECHECK || !self.routing.is_settled() {
            return false;
        }
        let Some(operations) = self.reconciler.renewals(now, instance) else { return false };
        self.change(&operations);
        // What the kernel refused, or reports of other changes.
        !self.reconciler.has_changes()
    }

    /// Brings the kernel in line with what is wanted, if it may differ, and reports what changed, and the state of the instances
    /// that wait for an answer in any case.
    ///
    /// Commands that begin or end the lease of an instance come in bursts. They are carried out in one go.
    fn settle(&mut self) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        let answers = std::mem::take(&mut self.answers);
        self.settled_at = clock::now();
        self.routing.retire();
        self.reconciler.begin();
        self.raise_virtual_macs();
        for _ in 0..ROUNDS {
            let operations = self.reconciler.plan(clock::now());
            if operations.is_empty() {
                break;
            }
            self.change(&operations);
            self.follow();
        }
        self.lower_virtual_macs();
        self.announce_returned();
        self.reconciler.settled();
        let reconciler = &self.reconciler;
        self.routing.settle(&|name| reconciler.index_of(name));
        for report in self.routing.take_reports() {
            self.report(report);
        }
        self.report_virtual_macs();
        self.report_states(&answers);
    }

    fn change(&mut self, operations: &[Operation]) {
        let (promotions, changes): (Vec<Operation>, Vec<Operation>) =
            operations.iter().partition(|operation| matches!(operation, Operation::Promote { .. }));
        for operation in promotions {
            self.promote(operation.placement());
        }
        let mut broken = None;
        for operation in changes {
            let Some(request) = request(&operation) else { continue };
            let attributes = self.attributes(&operation);
            if let Some(error) = &broken {
                self.reconciler.failed(operation, AddressError::Kernel(Arc::clone(error)));
                continue;
            }
            match self.requests.change_address(request, &attributes) {
                Ok(()) => self.reconciler.done(clock::now(), operation),
                Err(error) if RequestSocket::is_broken_by(&error) => {
                    self.reopen(&error);
                    let error = broken.insert(Arc::new(error));
                    self.reconciler.failed(operation, AddressError::Kernel(Arc::clone(error)));
                }
                Err(error) => self.refused(operation, error),
            }
        }
        // The request without an answer may have been carried out.
        if broken.is_some() {
            self.read_again();
            self.unsettled = true;
        }
    }

    fn attributes(&self, operation: &Operation) -> Arc<AddressAttributes> {
        match *operation {
            Operation::Add { placement, .. } | Operation::Renew { placement, .. } => {
                self.reconciler.attributes(placement)
            }
            Operation::Promote { placement } | Operation::Remove { placement } => {
                Arc::new(AddressAttributes { peer: self.reconciler.peer(placement), ..Default::default() })
            }
        }
    }

    fn refused(&mut self, operation: Operation, error: io::Error) {
        match operation {
            Operation::Remove { .. } if is_gone(&error) => return self.reconciler.done(clock::now(), operation),
            // Somebody else added it first: the notification says whose it is, and the next round goes on from there.
            Operation::Add { placement, .. } if error.raw_os_error() == Some(libc::EEXIST) => {
                self.follow();
                if !self.reconciler.is_there(placement) {
                    self.read_again();
                }
                return;
            }
            Operation::Add { .. } | Operation::Renew { .. } | Operation::Remove { .. } | Operation::Promote { .. } => {}
        }
        let error = self.error(operation.placement(), error);
        self.reconciler.failed(operation, error);
    }

    fn error(&self, placement: Placement, error: io::Error) -> AddressError {
        match error.raw_os_error() {
            Some(libc::ENODEV) => AddressError::NoInterface(self.reconciler.name(placement).interface),
            // A missing capability is EPERM.
            Some(libc::EACCES) if placement.address.is_ipv6() => {
                AddressError::NoIpv6(self.reconciler.name(placement).interface)
            }
            _ => refusal(error, "CAP_NET_ADMIN"),
        }
    }

    /// Makes sure that the kernel removes none of the host's addresses together with one of ours.
    fn promote(&mut self, placement: Placement) {
        let set = self.requests.link(placement.index).and_then(|link| {
            if link.promotes {
                return Ok(false);
            }
            self.requests.promote_secondaries(placement.index).map(|()| true)
        });
        match set {
            Ok(changed) => self.reconciler.promotes(placement, changed),
            Err(error) => {
                self.reopen(&error);
                let error = self.error(placement, error);
                self.reconciler.does_not_promote(placement, error);
            }
        }
    }

    fn report_states(&mut self, answers: &BTreeSet<InstanceKey>) {
        let mut changes = self.reconciler.take_changes();
        for instance in self.reconciler.instances() {
            let mut states = self.reconciler.states(&instance);
            let virtual_mac = self.reconciler.claim(&instance).and_then(|claim| claim.virtual_mac.as_ref());
            let parent = virtual_mac.map(|virtual_mac| &*virtual_mac.parent);
            states.iter_mut().for_each(|state| leave_out_ignored_copies(state, parent));
            let changes = changes.remove(&instance).unwrap_or_default();
            if changes.is_empty() && self.reported.get(&instance) == Some(&states) && !answers.contains(&instance) {
                continue;
            }
            let active = self.reconciler.claim(&instance).is_some_and(|claim| claim.lifetime.is_some());
            self.reported.insert(instance.clone(), states.clone());
            self.report(Report::Addresses { instance, active, states, changes });
        }
        // Changes of instances that a reload has removed.
        for (instance, changes) in changes {
            self.report(Report::Addresses { instance, active: false, states: Vec::new(), changes });
        }
    }

    /// Opens another socket if the error broke this one.
    fn reopen(&mut self, error: &io::Error) {
        if RequestSocket::is_broken_by(error)
            && let Ok(requests) = RequestSocket::open()
        {
            self.requests = requests;
        }
    }
}

/// Whether a change may have removed routes, or may let the kernel accept others.
fn concerns_routing(change: &Change) -> bool {
    match change {
        Change::Link(_) | Change::LinkGone { .. } | Change::AddressGone(_) => true,
        // A renewed lease, nearly always.
        Change::Address(_) => false,
    }
}

/// Leaves out copies on other interfaces where `arp_ignore` is set. They do no harm there: the servers of a load balancer
/// have such copies. A copy on the `parent` of a virtual MAC's interface is in the same network.
fn leave_out_ignored_copies(state: &mut AddressState, parent: Option<&str>) {
    let interface = Arc::clone(&state.address.interface);
    if state.copies.iter().any(|copy| copy.at.interface != interface) && ignores_others(&interface) {
        state.copies.retain(|copy| copy.at.interface == interface || Some(&*copy.at.interface) == parent);
    }
}

/// Whether an interface answers ARP for its own addresses only.
pub(super) fn ignores_others(interface: &str) -> bool {
    ["all", interface].into_iter().any(|name| {
        let setting = std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore"));
        setting.is_ok_and(|setting| setting.trim() != "0")
    })
}

fn request(operation: &Operation) -> Option<AddressRequest> {
    let Placement { index, address, prefix } = operation.placement();
    match *operation {
        Operation::Promote { .. } => None,
        Operation::Add { seconds, .. } => Some(AddressRequest::Add { index, address, prefix, seconds }),
        Operation::Renew { seconds, .. } => Some(AddressRequest::Renew { index, address, prefix, seconds }),
        Operation::Remove { .. } => Some(AddressRequest::Remove { index, address, prefix }),
    }
}

/// Whether a removal failed because there was nothing to remove.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV))
}

fn refusal(error: io::Error, capability: &'static str) -> AddressError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => AddressError::NotPermitted { capability },
        _ => AddressError::Kernel(Arc::new(error)),
    }
}
