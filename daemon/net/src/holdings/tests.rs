//! The model against a small kernel: what is planned, and that nothing of the host's is ever touched.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Of the requests that the keeper makes.
const US: u32 = 1;
const ETH0: u32 = 5;

fn at(milliseconds: u64) -> Time {
    Time::from_nanos((1_000_000 + milliseconds) * 1_000_000)
}

/// As much of rtnetlink as matters.
#[derive(Default)]
struct Kernel {
    links: Vec<Link>,
    addresses: Vec<HeldAddress>,
    news: Vec<(Change, u32)>,
    promotes: bool,
    /// It is older than 5.18.
    forgets_marks: bool,
    /// Forms that it refuses.
    refuses: BTreeSet<(Ipv4Addr, u8)>,
}

impl Kernel {
    fn with_link(mut self, index: u32, name: &str) -> Self {
        let mac = Some([2, 0, 0, 0, 0, 1]);
        let link = Link { index, name: name.into(), enabled: true, running: true, mac, promotes: false };
        self.links.push(link.clone());
        self.news.push((Change::Link(link), 0));
        self
    }

    fn rename(&mut self, index: u32, name: &str) {
        let link = self.links.iter_mut().find(|link| link.index == index).unwrap();
        link.name = name.into();
        self.news.push((Change::Link(link.clone()), 0));
    }

    fn add(&mut self, form: Form, protocol: u8, permanent: bool, replace: bool, port: u32) -> Result<(), i32> {
        let protocol = if self.forgets_marks { 0 } else { protocol };
        if self.refuses.contains(&(form.address, form.prefix)) {
            return Err(libc::EPERM);
        }
        let held = match self.addresses.iter_mut().find(|held| Form::of(held) == Some(form)) {
            Some(_) if !replace => return Err(libc::EEXIST),
            Some(held) => {
                (held.protocol, held.permanent) = (protocol, permanent);
                held.clone()
            }
            None => {
                let secondary = self.addresses.iter().any(|held| same_subnet(held, form) && !held.secondary);
                let held = HeldAddress {
                    index: form.index,
                    address: form.address,
                    prefix: form.prefix,
                    peer: None,
                    scope: 0,
                    secondary,
                    permanent,
                    protocol,
                };
                self.addresses.push(held.clone());
                held
            }
        };
        self.news.push((Change::Address(held), port));
        Ok(())
    }

    fn remove(&mut self, form: Form, port: u32) -> Result<(), i32> {
        let position = self.addresses.iter().position(|held| Form::of(held) == Some(form));
        let gone = self.addresses.remove(position.ok_or(libc::EADDRNOTAVAIL)?);
        let was_primary = !gone.secondary;
        self.news.push((Change::AddressGone(gone), port));
        if was_primary {
            let others: Vec<_> = self.addresses.iter().filter(|held| same_subnet(held, form)).cloned().collect();
            if self.promotes {
                if let Some(first) = others.first() {
                    let held = self.addresses.iter_mut().find(|held| held.is_same(first)).unwrap();
                    held.secondary = false;
                    self.news.push((Change::Address(held.clone()), port));
                }
            } else {
                self.addresses.retain(|held| !same_subnet(held, form));
                self.news.extend(others.into_iter().map(|held| (Change::AddressGone(held), port)));
            }
        }
        Ok(())
    }

    /// By somebody else.
    fn host_adds(&mut self, address: Ipv4Addr, prefix: u8) {
        let _ = self.add(Form { index: ETH0, address, prefix }, 0, true, false, 77);
    }

    fn host_removes(&mut self, address: Ipv4Addr, prefix: u8) {
        let _ = self.remove(Form { index: ETH0, address, prefix }, 77);
    }

    fn forms(&self) -> BTreeSet<(u32, Ipv4Addr, u8)> {
        self.addresses.iter().map(|held| (held.index, held.address, held.prefix)).collect()
    }

    fn of_host(&self) -> BTreeSet<(u32, Ipv4Addr, u8)> {
        let hosts = self.addresses.iter().filter(|held| held.protocol != OUR_PROTOCOL);
        hosts.map(|held| (held.index, held.address, held.prefix)).collect()
    }
}

fn same_subnet(held: &HeldAddress, form: Form) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(form.prefix)).unwrap_or(0);
    held.index == form.index
        && held.prefix == form.prefix
        && u32::from(held.address) & mask == u32::from(form.address) & mask
}

/// The model with its kernel, as the keeper joins them.
struct World {
    kernel: Kernel,
    holdings: Holdings,
    /// Addresses that were off an interface in between, though they were there before and after.
    steps: Vec<BTreeSet<(u32, Ipv4Addr, u8)>>,
}

impl World {
    fn new(host: &[(Ipv4Addr, u8)]) -> Self {
        let mut kernel = Kernel::default().with_link(ETH0, "eth0");
        for (address, prefix) in host {
            kernel.host_adds(*address, *prefix);
        }
        let mut world = Self { kernel, holdings: Holdings::default(), steps: Vec::new() };
        world.follow();
        world
    }

    fn follow(&mut self) {
        for (change, port) in std::mem::take(&mut self.kernel.news) {
            self.holdings.apply(change, port == US);
        }
    }

    /// Returns the operations that it took, without those that make sure of promotion.
    fn settle(&mut self, now: Time) -> Vec<Operation> {
        self.follow();
        self.holdings.begin();
        self.steps = vec![self.kernel.forms()];
        let mut all = Vec::new();
        for round in 0.. {
            assert!(round < 8, "it does not come to an end: {all:?}");
            let operations = self.holdings.plan(now);
            if operations.is_empty() {
                break;
            }
            for operation in operations {
                self.carry_out(now, operation);
                self.steps.push(self.kernel.forms());
                if !matches!(operation, Operation::Promote { .. }) {
                    all.push(operation);
                }
            }
            self.follow();
        }
        self.holdings.settled();
        all
    }

    fn carry_out(&mut self, now: Time, operation: Operation) {
        let form = operation.form();
        let result = match operation {
            Operation::Promote { .. } => {
                let changed = !std::mem::replace(&mut self.kernel.promotes, true);
                return self.holdings.promotes(form, changed);
            }
            Operation::Add { seconds, .. } => self.kernel.add(form, OUR_PROTOCOL, seconds == u32::MAX, false, US),
            Operation::Renew { seconds, .. } => self.kernel.add(form, OUR_PROTOCOL, seconds == u32::MAX, true, US),
            Operation::Remove { .. } => self.kernel.remove(form, US),
        };
        match result {
            Ok(()) => self.holdings.done(now, operation),
            Err(code) => {
                let error = std::io::Error::from_raw_os_error(code);
                self.holdings.failed(operation, AddressError::Kernel(Arc::new(error)));
            }
        }
    }

    /// Whether the address was on the interface at each step.
    fn never_off(&self, address: Ipv4Addr) -> bool {
        self.steps.iter().all(|forms| forms.iter().any(|(_, held, _)| *held == address))
    }
}

fn claim(name: &str, addresses: &[(Ipv4Addr, u8)], lifetime: Option<Lifetime>) -> Claim {
    let virtual_address =
        |&(address, prefix): &(Ipv4Addr, u8)| VirtualAddress { interface: "eth0".into(), address, prefix };
    Claim {
        instance: name.into(),
        addresses: addresses.iter().map(virtual_address).collect(),
        owner: false,
        adopt: false,
        lifetime,
    }
}

fn lease(end: u64) -> Option<Lifetime> {
    Some(Lifetime::Until(at(end)))
}

fn form(address: Ipv4Addr, prefix: u8) -> Form {
    Form { index: ETH0, address, prefix }
}

fn active() -> World {
    let mut world = World::new(&[(HOST, 24)]);
    world.holdings.configure(vec![claim("web", &[(VIP, 32), (OTHER, 32)], lease(3_000))]);
    assert_eq!(world.settle(at(0)).len(), 2);
    world.holdings.take_changes();
    world
}

#[test]
fn an_address_that_a_reload_removes_goes_alone() {
    let mut world = active();
    world.holdings.configure(vec![claim("web", &[(VIP, 32)], lease(3_000))]);
    assert_eq!(world.settle(at(10)), [Operation::Remove { form: form(OTHER, 32) }]);
    let states = world.holdings.states(&"web".into());
    assert_eq!((states.len(), states[0].presence), (1, Presence::Ours));
    let name = VirtualAddress { interface: "eth0".into(), address: OTHER, prefix: 32 };
    let changes = world.holdings.take_changes().remove(&InstanceKey::from("web"));
    assert_eq!(changes, Some(vec![AddressChange::Removed(name)]));
}

#[test]
fn another_prefix_is_there_before_the_old_one_goes() {
    let mut world = active();
    world.holdings.configure(vec![claim("web", &[(VIP, 24), (OTHER, 32)], lease(3_000))]);
    assert_eq!(
        world.settle(at(10)),
        [Operation::Add { form: form(VIP, 24), seconds: 3 }, Operation::Remove { form: form(VIP, 32) }]
    );
    assert!(world.never_off(VIP));
}

#[test]
fn the_old_prefix_stays_while_the_new_one_is_refused() {
    let mut world = active();
    world.kernel.refuses.insert((VIP, 24));
    world.holdings.configure(vec![claim("web", &[(VIP, 24)], lease(3_000))]);
    world.settle(at(10));
    assert!(world.never_off(VIP));
    assert!(world.holdings.states(&"web".into())[0].error.is_some());
    world.kernel.refuses.clear();
    world.settle(at(20));
    assert_eq!(world.holdings.states(&"web".into())[0].error, None, "it healed");
    assert!(!world.kernel.forms().contains(&(ETH0, VIP, 32)));
}

#[test]
fn what_moves_to_another_instance_on_the_interface_is_not_touched() {
    let mut world = active();
    let claims = vec![claim("web", &[(VIP, 32)], lease(3_000)), claim("dns", &[(OTHER, 32)], lease(3_000))];
    world.holdings.configure(claims);
    assert_eq!(world.settle(at(10)), []);
    world.holdings.release(&"web".into());
    assert_eq!(world.settle(at(20)), [Operation::Remove { form: form(VIP, 32) }]);
}

#[test]
fn what_somebody_removed_comes_back_and_is_announced_at_any_time_of_the_lease() {
    for now in [10, 700, 2_900] {
        let mut world = active();
        world.kernel.host_removes(VIP, 32);
        assert!(matches!(world.settle(at(now))[..], [Operation::Add { seconds: 1..=3, .. }]));
        let returned: Vec<_> = world.holdings.take_returned().into_iter().map(|(form, _)| form).collect();
        assert_eq!(returned, [form(VIP, 32)], "after {now} ms");
        let changes = world.holdings.take_changes().remove(&InstanceKey::from("web")).unwrap();
        assert!(matches!(changes[..], [AddressChange::Lost(_), AddressChange::PutBack(_)]), "{changes:?}");
    }
    let mut world = active();
    world.kernel.host_removes(VIP, 32);
    assert_eq!(world.settle(at(3_001)), [], "its lease is over: somebody else may hold it");
}

#[test]
fn a_lease_is_renewed_four_times_a_second_at_most_and_never_beyond_its_end() {
    let mut world = active();
    let mut renewals = 0;
    let mut last = 0;
    for now in (10..=2_000).step_by(10) {
        // The shortest interval: each advertisement renews a lease of a second.
        world.holdings.serve(&"web".into(), Lifetime::Until(at(now + 1_000)));
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
fn a_shorter_lease_counts_at_once() {
    let mut world = active();
    world.holdings.serve(&"web".into(), Lifetime::Until(at(1_110)));
    let operations = world.settle(at(100));
    assert!(operations.iter().all(|it| matches!(it, Operation::Renew { seconds: 1, .. })), "{operations:?}");
    assert_eq!(operations.len(), 2);
}

#[test]
fn an_address_that_the_kernel_took_its_time_for_is_taken_back() {
    let mut world = World::new(&[(HOST, 24)]);
    world.holdings.configure(vec![claim("web", &[(VIP, 32)], lease(3_000))]);
    let add = Operation::Add { form: form(VIP, 32), seconds: 3 };
    assert_eq!(world.holdings.plan(at(0)), [add]);
    world.carry_out(at(1_500), add);
    world.follow();
    assert_eq!(world.holdings.plan(at(1_500)), [Operation::Renew { form: form(VIP, 32), seconds: 1 }]);
    assert_eq!(world.holdings.plan(at(3_500)), [Operation::Remove { form: form(VIP, 32) }]);
}

#[test]
fn an_owner_leaves_what_the_host_has_and_adds_what_it_has_not() {
    let mut world = World::new(&[(VIP, 24)]);
    world.holdings.configure(vec![Claim { owner: true, ..claim("web", &[(VIP, 32), (OTHER, 32)], lease(3_000)) }]);
    assert_eq!(world.settle(at(0)), [Operation::Add { form: form(OTHER, 32), seconds: 3 }]);
    world.holdings.release(&"web".into());
    world.settle(at(10));
    assert_eq!(world.kernel.forms(), BTreeSet::from([(ETH0, VIP, 24)]));
}

#[test]
fn the_hosts_own_address_is_neither_leased_nor_removed() {
    for adopt in [false, true] {
        let mut world = World::new(&[(VIP, 24)]);
        world.holdings.configure(vec![Claim { adopt, ..claim("web", &[(VIP, 24)], lease(3_000)) }]);
        assert_eq!(world.settle(at(0)), [], "adopt: {adopt}");
        let state = &world.holdings.states(&"web".into())[0];
        assert!(matches!(state.error, Some(AddressError::OwnAddress(_))), "{state:?}");
        assert!(state.copies[0].own);
    }
}

#[test]
fn lost_news_are_made_good_by_a_dump() {
    let mut world = active();
    world.kernel.host_removes(VIP, 32);
    world.kernel.host_adds(VIP, 32);
    world.kernel.news.clear();
    world.holdings.replace(world.kernel.links.clone(), world.kernel.addresses.clone());
    world.settle(at(10));
    assert_eq!(world.holdings.states(&"web".into())[0].presence, Presence::Host, "without our mark it is not ours");
    world.holdings.release(&"web".into());
    world.settle(at(20));
    assert_eq!(world.kernel.forms(), BTreeSet::from([(ETH0, HOST, 24), (ETH0, VIP, 32)]));
}

#[test]
fn without_marks_what_was_added_and_has_not_gone_since_is_ours() {
    for lifetime in [lease(3_000), Some(Lifetime::Forever { start_before: at(3_000) })] {
        let mut world = World::new(&[(HOST, 24)]);
        world.kernel.forgets_marks = true;
        // There before: not ours.
        world.kernel.host_adds(OTHER, 32);
        world.holdings.configure(vec![claim("web", &[(VIP, 24), (OTHER, 32)], lifetime)]);
        assert_eq!(world.settle(at(0)).len(), 1);
        let presences = |world: &World| -> Vec<_> {
            world.holdings.states(&"web".into()).into_iter().map(|state| state.presence).collect()
        };
        assert_eq!(presences(&world), [Presence::Ours, Presence::Host]);
        // A netmask change makes ours the primary address.
        world.kernel.host_removes(HOST, 24);
        world.kernel.host_adds(HOST, 24);
        world.settle(at(10));
        assert_eq!(presences(&world), [Presence::Ours, Presence::Host]);
        // Somebody replaces it by his own: he deletes ours first, on such a kernel.
        world.kernel.host_removes(VIP, 24);
        world.kernel.host_adds(VIP, 24);
        assert_eq!(world.settle(at(20)), []);
        assert_eq!(presences(&world), [Presence::Host, Presence::Host]);
        world.holdings.release(&"web".into());
        world.settle(at(30));
        assert_eq!(world.kernel.forms(), BTreeSet::from([(ETH0, HOST, 24), (ETH0, OTHER, 32), (ETH0, VIP, 24)]));
    }
}

#[test]
fn promotion_on_an_interface_that_has_just_gone_is_no_failure() {
    let mut world = active();
    let refusals =
        [AddressError::NoInterface("eth0".into()), AddressError::NotPermitted { capability: "CAP_NET_ADMIN" }];
    for (error, is_failure) in refusals.into_iter().zip([false, true]) {
        world.holdings.does_not_promote(form(VIP, 32), error);
        assert_eq!(!world.holdings.take_changes().is_empty(), is_failure);
        assert_eq!(world.holdings.states(&"web".into())[0].error.is_some(), is_failure);
    }
}

/// splitmix64
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn address(&mut self) -> (Ipv4Addr, u8) {
        let last = 100 + u8::try_from(self.roll(5)).unwrap();
        (Ipv4Addr::new(192, 0, 2, last), [24, 25, 32][usize::try_from(self.roll(3)).unwrap()])
    }

    fn claims(&mut self, now: u64) -> Vec<Claim> {
        let mut used = BTreeSet::new();
        let mut claims = Vec::new();
        for name in &["a", "b", "c", "d"][..=usize::try_from(self.roll(4)).unwrap()] {
            let mut addresses: Vec<_> = (0..self.roll(6)).map(|_| self.address()).collect();
            addresses.retain(|(address, _)| used.insert(*address));
            let lifetime = match self.roll(4) {
                0 => None,
                1 => Some(Lifetime::Forever { start_before: at(now + 3_000) }),
                _ => lease(now + 3_000),
            };
            let (owner, adopt) = (self.roll(6) == 0, self.roll(6) == 0);
            claims.push(Claim { owner, adopt: adopt && !owner, ..claim(name, &addresses, lifetime) });
        }
        claims
    }
}

#[test]
fn whatever_happens_the_host_keeps_its_addresses_and_what_stays_is_never_off() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut world = World::new(&[(HOST, 24)]);
        let mut now = 0;
        for step in 0..30 {
            now += dice.roll(400);
            match dice.roll(6) {
                0 => {
                    let (address, prefix) = dice.address();
                    world.kernel.host_adds(address, prefix);
                }
                1 => {
                    let (address, prefix) = dice.address();
                    world.kernel.host_removes(address, prefix);
                }
                2 => {
                    let name = if world.kernel.links[0].name == "eth0" { "lan" } else { "eth0" };
                    world.kernel.rename(ETH0, name);
                }
                3 => {
                    // A netmask change: whatever comes after it is primary.
                    world.kernel.host_removes(HOST, 24);
                    world.settle(at(now));
                    world.kernel.host_adds(HOST, 24);
                }
                _ => {
                    let claims = dice.claims(now);
                    world.holdings.configure(claims);
                }
            }
            let adopted: BTreeSet<_> = world
                .holdings
                .claims
                .values()
                .filter(|claimed| claimed.claim.adopt)
                .flat_map(|claimed| claimed.claim.addresses.iter().map(|it| it.address))
                .collect();
            let hosts: BTreeSet<_> =
                world.kernel.of_host().into_iter().filter(|(_, address, _)| !adopted.contains(address)).collect();
            world.settle(at(now));
            let what = format!("seed {seed}, step {step}");
            assert!(hosts.is_subset(&world.kernel.of_host()), "{what}: {hosts:?}, now {:?}", world.kernel.of_host());
            let (before, after) = (&world.steps[0], &world.steps[world.steps.len() - 1]);
            for (_, address, _) in before {
                let stays = after.iter().any(|(_, held, _)| held == address);
                assert!(!stays || world.never_off(*address), "{what}: {address} was off: {:?}", world.steps);
            }
            world.agrees(&what);
        }
        world.holdings.release_all();
        world.settle(at(now));
        assert_eq!(world.kernel.forms(), world.kernel.of_host(), "seed {seed}");
    }
}

impl World {
    /// The kernel has exactly what is wanted, beside what is the host's.
    fn agrees(&self, what: &str) {
        let marked: BTreeSet<_> = self
            .kernel
            .addresses
            .iter()
            .filter(|held| held.protocol == OUR_PROTOCOL)
            .map(|held| (held.address, held.prefix))
            .collect();
        let ours: BTreeSet<_> = self.holdings.ours.keys().map(|form| (form.address, form.prefix)).collect();
        assert_eq!(marked, ours, "{what}: the model does not know what is there");
        let is_there = self.kernel.links[0].name == "eth0";
        let mut wanted = BTreeSet::new();
        for instance in self.holdings.instances() {
            let claim = self.holdings.claim(&instance).unwrap();
            for state in self.holdings.states(&instance) {
                let (address, prefix) = (state.address.address, state.address.prefix);
                if claim.lifetime.is_none() || !is_there {
                    assert_ne!(state.presence, Presence::Ours, "{what}: {state:?}");
                    continue;
                }
                match state.presence {
                    Presence::Ours => {
                        wanted.insert((address, prefix));
                    }
                    Presence::Host => assert!(!state.copies.is_empty(), "{what}: {state:?}"),
                    Presence::Absent => assert!(state.error.is_some(), "{what}: {state:?}"),
                }
            }
        }
        assert_eq!(ours, wanted, "{what}");
    }
}
