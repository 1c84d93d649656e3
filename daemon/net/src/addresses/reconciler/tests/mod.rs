//! The model against a small kernel: what it plans, and that it never touches the host's addresses.

mod ipv6;
mod kernel;
mod random;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::*;
use crate::addresses::report::Presence;
use kernel::Kernel;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 101));
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The port of the keeper's requests.
const US: u32 = 1;
const ETH0: u32 = 5;

fn at(milliseconds: u64) -> Time {
    Time::from_nanos((1_000_000 + milliseconds) * 1_000_000)
}

/// The model with its kernel, connected as in the keeper.
struct World {
    kernel: Kernel,
    reconciler: Reconciler,
    /// The addresses of all interfaces after each operation of the last `settle`.
    steps: Vec<BTreeSet<(u32, IpAddr, u8)>>,
}

impl World {
    fn new(host: &[(IpAddr, u8)]) -> Self {
        let mut kernel = Kernel::default().with_link(ETH0, "eth0");
        for (address, prefix) in host {
            kernel.host_adds(*address, *prefix);
        }
        let mut world = Self { kernel, reconciler: Reconciler::default(), steps: Vec::new() };
        world.follow();
        world
    }

    fn follow(&mut self) {
        for (change, port) in std::mem::take(&mut self.kernel.news) {
            self.reconciler.apply(change, port == US);
        }
    }

    /// Carries out plans until there are none, and returns their operations except promotions.
    fn settle(&mut self, now: Time) -> Vec<Operation> {
        self.follow();
        self.reconciler.begin();
        self.steps = vec![self.kernel.placements()];
        let mut all = Vec::new();
        for round in 0.. {
            assert!(round < 8, "no end after 8 rounds: {all:?}");
            let operations = self.reconciler.plan(now);
            if operations.is_empty() {
                break;
            }
            for operation in operations {
                self.carry_out(now, operation);
                self.steps.push(self.kernel.placements());
                if !matches!(operation, Operation::Promote { .. }) {
                    all.push(operation);
                }
            }
            self.follow();
        }
        self.reconciler.settled();
        all
    }

    fn carry_out(&mut self, now: Time, operation: Operation) {
        let placement = operation.placement();
        let result = match operation {
            Operation::Promote { .. } => {
                let changed = !std::mem::replace(&mut self.kernel.promotes, true);
                return self.reconciler.promotes(placement, changed);
            }
            Operation::Add { seconds, .. } => self.kernel.add(placement, OUR_PROTOCOL, seconds == u32::MAX, false, US),
            Operation::Renew { seconds, .. } => self.kernel.add(placement, OUR_PROTOCOL, seconds == u32::MAX, true, US),
            Operation::Remove { .. } => self.kernel.remove(placement, US),
        };
        match result {
            Ok(()) => self.reconciler.done(now, operation),
            Err(code) => {
                let error = std::io::Error::from_raw_os_error(code);
                self.reconciler.failed(operation, AddressError::Kernel(Arc::new(error)));
            }
        }
    }

    /// Whether the address was on the interface at each step.
    fn never_off(&self, address: IpAddr) -> bool {
        self.steps.iter().all(|placements| placements.iter().any(|(_, held, _)| *held == address))
    }
}

fn claim(name: &str, addresses: &[(IpAddr, u8)], lifetime: Option<Lifetime>) -> Claim {
    let virtual_address =
        |&(address, prefix): &(IpAddr, u8)| VirtualAddress { interface: "eth0".into(), address, prefix };
    Claim {
        instance: name.into(),
        addresses: addresses.iter().map(virtual_address).collect(),
        owner: false,
        adopt: false,
        attributes: Default::default(),
        routing: Default::default(),
        virtual_mac: None,
        accept: true,
        lifetime,
    }
}

fn lease(end: u64) -> Option<Lifetime> {
    Some(Lifetime::Until(at(end)))
}

fn placement(address: IpAddr, prefix: u8) -> Placement {
    Placement { index: ETH0, address, prefix }
}

fn active() -> World {
    let mut world = World::new(&[(HOST, 24)]);
    world.reconciler.configure(vec![claim("web", &[(VIP, 32), (OTHER, 32)], lease(3_000))]);
    assert_eq!(world.settle(at(0)).len(), 2);
    world.reconciler.take_changes();
    world
}

#[test]
fn address_that_a_reload_removes_goes_alone() {
    let mut world = active();
    world.reconciler.configure(vec![claim("web", &[(VIP, 32)], lease(3_000))]);
    assert_eq!(world.settle(at(10)), [Operation::Remove { placement: placement(OTHER, 32) }]);
    let states = world.reconciler.states(&"web".into());
    assert_eq!((states.len(), states[0].presence), (1, Presence::Ours));
    let name = VirtualAddress { interface: "eth0".into(), address: OTHER, prefix: 32 };
    let changes = world.reconciler.take_changes().remove(&InstanceKey::from("web"));
    assert_eq!(changes, Some(vec![AddressChange::Removed(name)]));
}

#[test]
fn new_prefix_is_there_before_the_old_one_goes() {
    let mut world = active();
    world.reconciler.configure(vec![claim("web", &[(VIP, 24), (OTHER, 32)], lease(3_000))]);
    assert_eq!(
        world.settle(at(10)),
        [
            Operation::Add { placement: placement(VIP, 24), seconds: 3 },
            Operation::Remove { placement: placement(VIP, 32) }
        ]
    );
    assert!(world.never_off(VIP));
}

#[test]
fn old_prefix_stays_while_the_new_one_is_refused() {
    let mut world = active();
    world.kernel.refuses.insert((VIP, 24));
    world.reconciler.configure(vec![claim("web", &[(VIP, 24)], lease(3_000))]);
    world.settle(at(10));
    assert!(world.never_off(VIP));
    assert!(world.reconciler.states(&"web".into())[0].error.is_some());
    world.kernel.refuses.clear();
    world.settle(at(20));
    assert_eq!(world.reconciler.states(&"web".into())[0].error, None, "it healed");
    assert!(!world.kernel.placements().contains(&(ETH0, VIP, 32)));
}

#[test]
fn address_that_moves_to_another_instance_is_not_touched() {
    let mut world = active();
    let claims = vec![claim("web", &[(VIP, 32)], lease(3_000)), claim("dns", &[(OTHER, 32)], lease(3_000))];
    world.reconciler.configure(claims);
    assert_eq!(world.settle(at(10)), []);
    world.reconciler.release(&"web".into());
    assert_eq!(world.settle(at(20)), [Operation::Remove { placement: placement(VIP, 32) }]);
}

#[test]
fn deleted_address_comes_back_and_is_announced_until_the_lease_ends() {
    for now in [10, 700, 2_900] {
        let mut world = active();
        world.kernel.host_removes(VIP, 32);
        assert!(matches!(world.settle(at(now))[..], [Operation::Add { seconds: 1..=3, .. }]));
        let returned: Vec<_> = world.reconciler.take_returned().into_iter().map(|(placement, _)| placement).collect();
        assert_eq!(returned, [placement(VIP, 32)], "after {now} ms");
        let changes = world.reconciler.take_changes().remove(&InstanceKey::from("web")).unwrap();
        assert!(matches!(changes[..], [AddressChange::Lost(_), AddressChange::PutBack(_)]), "{changes:?}");
    }
    let mut world = active();
    world.kernel.host_removes(VIP, 32);
    assert_eq!(world.settle(at(3_001)), [], "its lease is over: somebody else may hold it");
}

#[test]
fn lease_is_renewed_at_most_four_times_a_second_and_never_beyond_its_end() {
    let mut world = active();
    let mut renewals = 0;
    let mut last = 0;
    for now in (10..=2_000).step_by(10) {
        // The shortest interval: each advertisement renews a lease of a second.
        world.reconciler.serve(&"web".into(), Lifetime::Until(at(now + 1_000)));
        let operations = world.settle(at(now));
        assert!(operations.len() == 2 || operations.is_empty(), "one batch for both: {operations:?}");
        if !operations.is_empty() {
            assert!(operations.iter().all(|it| matches!(it, Operation::Renew { seconds: 1, .. })), "{operations:?}");
            assert!(last == 0 || now - last >= 250, "at {last} and {now}");
            (renewals, last) = (renewals + 1, now);
        }
    }
    assert!((8..=9).contains(&renewals), "{renewals}");
}

#[test]
fn shorter_lease_counts_at_once() {
    let mut world = active();
    world.reconciler.serve(&"web".into(), Lifetime::Until(at(1_110)));
    let operations = world.settle(at(100));
    assert!(operations.iter().all(|it| matches!(it, Operation::Renew { seconds: 1, .. })), "{operations:?}");
    assert_eq!(operations.len(), 2);
}

#[test]
fn address_that_the_kernel_added_too_late_is_removed_again() {
    let mut world = World::new(&[(HOST, 24)]);
    world.reconciler.configure(vec![claim("web", &[(VIP, 32)], lease(3_000))]);
    let add = Operation::Add { placement: placement(VIP, 32), seconds: 3 };
    assert_eq!(world.reconciler.plan(at(0)), [add]);
    world.carry_out(at(1_500), add);
    world.follow();
    assert_eq!(world.reconciler.plan(at(1_500)), [Operation::Renew { placement: placement(VIP, 32), seconds: 1 }]);
    assert_eq!(world.reconciler.plan(at(3_500)), [Operation::Remove { placement: placement(VIP, 32) }]);
}

#[test]
fn owner_adds_only_addresses_that_the_host_lacks() {
    let mut world = World::new(&[(VIP, 24)]);
    world.reconciler.configure(vec![Claim { owner: true, ..claim("web", &[(VIP, 32), (OTHER, 32)], lease(3_000)) }]);
    assert_eq!(world.settle(at(0)), [Operation::Add { placement: placement(OTHER, 32), seconds: 3 }]);
    world.reconciler.release(&"web".into());
    world.settle(at(10));
    assert_eq!(world.kernel.placements(), BTreeSet::from([(ETH0, VIP, 24)]));
}

#[test]
fn hosts_own_address_is_neither_leased_nor_removed() {
    for adopt in [false, true] {
        let mut world = World::new(&[(VIP, 24)]);
        world.reconciler.configure(vec![Claim { adopt, ..claim("web", &[(VIP, 24)], lease(3_000)) }]);
        assert_eq!(world.settle(at(0)), [], "adopt: {adopt}");
        let state = &world.reconciler.states(&"web".into())[0];
        assert!(matches!(state.error, Some(AddressError::OwnAddress(_))), "{state:?}");
        assert!(state.copies[0].own);
    }
}

#[test]
fn dump_makes_up_for_lost_notifications() {
    let mut world = active();
    world.kernel.host_removes(VIP, 32);
    world.kernel.host_adds(VIP, 32);
    world.kernel.news.clear();
    world.reconciler.replace(world.kernel.links.clone(), world.kernel.addresses.clone());
    world.settle(at(10));
    assert_eq!(world.reconciler.states(&"web".into())[0].presence, Presence::Host, "without our mark it is not ours");
    world.reconciler.release(&"web".into());
    world.settle(at(20));
    assert_eq!(world.kernel.placements(), BTreeSet::from([(ETH0, HOST, 24), (ETH0, VIP, 32)]));
}

#[test]
fn address_stays_ours_on_a_kernel_without_marks_until_it_goes() {
    for lifetime in [lease(3_000), Some(Lifetime::Forever { start_before: at(3_000) })] {
        let mut world = World::new(&[(HOST, 24)]);
        world.kernel.forgets_marks = true;
        // It was there before us, so it is not ours.
        world.kernel.host_adds(OTHER, 32);
        world.reconciler.configure(vec![claim("web", &[(VIP, 24), (OTHER, 32)], lifetime)]);
        assert_eq!(world.settle(at(0)).len(), 1);
        let presences = |world: &World| -> Vec<_> {
            world.reconciler.states(&"web".into()).into_iter().map(|state| state.presence).collect()
        };
        assert_eq!(presences(&world), [Presence::Ours, Presence::Host]);
        // A netmask change makes ours the primary address.
        world.kernel.host_removes(HOST, 24);
        world.kernel.host_adds(HOST, 24);
        world.settle(at(10));
        assert_eq!(presences(&world), [Presence::Ours, Presence::Host]);
        // Somebody replaces it: on such a kernel, deletes ours first.
        world.kernel.host_removes(VIP, 24);
        world.kernel.host_adds(VIP, 24);
        assert_eq!(world.settle(at(20)), []);
        assert_eq!(presences(&world), [Presence::Host, Presence::Host]);
        world.reconciler.release(&"web".into());
        world.settle(at(30));
        assert_eq!(world.kernel.placements(), BTreeSet::from([(ETH0, HOST, 24), (ETH0, OTHER, 32), (ETH0, VIP, 24)]));
    }
}

#[test]
fn promotion_on_an_interface_that_has_just_gone_is_not_a_failure() {
    let mut world = active();
    let refusals =
        [AddressError::NoInterface("eth0".into()), AddressError::NotPermitted { capability: "CAP_NET_ADMIN" }];
    for (error, is_failure) in refusals.into_iter().zip([false, true]) {
        world.reconciler.does_not_promote(placement(VIP, 32), error);
        assert_eq!(!world.reconciler.take_changes().is_empty(), is_failure);
        assert_eq!(world.reconciler.states(&"web".into())[0].error.is_some(), is_failure);
    }
}
