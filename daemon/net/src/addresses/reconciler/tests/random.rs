//! Random sequences of commands and of changes by the host.

use super::*;

/// splitmix64, seeded: a failure names its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn address(&mut self) -> (IpAddr, u8) {
        let last = 100 + u8::try_from(self.roll(5)).unwrap();
        let prefix = usize::try_from(self.roll(3)).unwrap();
        match self.roll(3) {
            0 => (IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last)]), [64, 10, 128][prefix]),
            _ => (IpAddr::from([192, 0, 2, last]), [24, 25, 32][prefix]),
        }
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
fn host_keeps_its_addresses_and_an_address_that_stays_is_never_off() {
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
                    // A netmask change: the host's address goes and comes back, and whichever is there first is primary.
                    world.kernel.host_removes(HOST, 24);
                    world.settle(at(now));
                    world.kernel.host_adds(HOST, 24);
                }
                _ => {
                    let claims = dice.claims(now);
                    world.reconciler.configure(claims);
                }
            }
            let adopted: BTreeSet<_> = world
                .reconciler
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
            for (_, address, prefix) in before {
                let is_same = |held: &IpAddr, other| held == address && (address.is_ipv4() || other == *prefix);
                let stays = after.iter().any(|(_, held, other)| is_same(held, *other));
                assert!(!stays || world.never_off(*address), "{what}: {address} was off: {:?}", world.steps);
            }
            world.agrees(at(now), &what);
        }
        world.reconciler.release_all();
        world.settle(at(now));
        assert_eq!(world.kernel.placements(), world.kernel.of_host(), "seed {seed}");
    }
}

impl World {
    /// Asserts that the kernel has exactly the addresses that are wanted and those of the host.
    fn agrees(&self, now: Time, what: &str) {
        let marked: BTreeSet<_> = self
            .kernel
            .addresses
            .iter()
            .filter(|held| held.protocol == OUR_PROTOCOL)
            .map(|held| (held.address, held.prefix))
            .collect();
        let ours: BTreeSet<_> =
            self.reconciler.ours.keys().map(|placement| (placement.address, placement.prefix)).collect();
        assert_eq!(marked, ours, "{what}: the model does not know what is there");
        let is_there = self.kernel.links[0].name == "eth0";
        let mut wanted = BTreeSet::new();
        for instance in self.reconciler.instances() {
            let claim = self.reconciler.claim(&instance).unwrap();
            for state in self.reconciler.states(&instance) {
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
                    Presence::Absent => {
                        let is_over = claim.lifetime.is_some_and(|lifetime| lifetime.seconds_left(now).is_err());
                        assert!(state.error.is_some() || is_over, "{what}: {state:?}");
                    }
                }
            }
        }
        assert_eq!(ours, wanted, "{what}");
    }
}
