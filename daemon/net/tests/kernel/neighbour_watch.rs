//! Other machines' claims to our addresses, received through a real kernel.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vouchd_net::{NeighbourClaim, NeighbourWatched, NeighbourWatcher, Receiver};
use vouchd_wire::{arp, ndp};

use crate::namespace::{PEER, VIRTUAL, Wire, in_namespace, mac, wait_for};

const ETH_P_ARP: u16 = 0x0806;
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn watch(watcher: &NeighbourWatcher, addresses: &[Ipv4Addr]) {
    let index = if_nametoindex("near").unwrap();
    let addresses = addresses.iter().copied().map(IpAddr::V4).collect();
    watcher.watch(vec![NeighbourWatched { interface: "near".into(), index, addresses }]);
}

fn claim(address: Ipv4Addr, mac: [u8; 6], count: u64) -> NeighbourClaim {
    NeighbourClaim { interface: "near".into(), address: address.into(), mac, count }
}

fn is_silent(claims: &Receiver<NeighbourClaim>) -> bool {
    let mut fds = [PollFd::new(claims.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::try_from(Duration::from_millis(200)).unwrap()).unwrap() == 0
}

/// Sends until there is a claim: the thread opens its socket some time after `watch`.
fn until_claimed(wire: &Wire, claims: &Receiver<NeighbourClaim>, frame: &[u8]) -> NeighbourClaim {
    for _ in 0..50 {
        wire.send(frame).unwrap();
        if !is_silent(claims) {
            return wait_for(claims).swap_remove(0);
        }
    }
    panic!("no claim");
}

#[test]
fn claim_of_another_machine_is_reported() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (watcher, claims) = NeighbourWatcher::start().unwrap();
        watch(&watcher, &[VIRTUAL]);
        let found = until_claimed(&wire, &claims, &arp::gratuitous(OTHER, VIRTUAL));
        assert_eq!((found.address, found.mac), (VIRTUAL.into(), OTHER));
        let mut reply = arp::gratuitous(OTHER, VIRTUAL);
        reply[..6].copy_from_slice(&mac("near"));
        reply[21] = 2;
        wire.send(&reply).unwrap();
        assert_eq!(wait_for(&claims), [claim(VIRTUAL, OTHER, 1)], "a reply to us");
        for frame in [arp::gratuitous(OTHER, PEER), arp::gratuitous(OTHER, Ipv4Addr::UNSPECIFIED)] {
            wire.send(&frame).unwrap();
            assert!(is_silent(&claims), "another address, and a probe");
        }
        watch(&watcher, &[PEER]);
        let found = until_claimed(&wire, &claims, &arp::gratuitous(OTHER, PEER));
        assert_eq!(found.address, PEER);
        wire.send(&arp::gratuitous(OTHER, VIRTUAL)).unwrap();
        assert!(is_silent(&claims), "no longer watched");
    });
}

#[test]
fn arp_of_this_host_is_ignored_on_every_interface() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (watcher, claims) = NeighbourWatcher::start().unwrap();
        watch(&watcher, &[VIRTUAL]);
        until_claimed(&wire, &claims, &arp::gratuitous(OTHER, VIRTUAL));
        wire.send(&arp::gratuitous(mac("near"), VIRTUAL)).unwrap();
        assert!(is_silent(&claims), "our own, which the link sent back");
        wire.send(&arp::gratuitous(mac("far"), VIRTUAL)).unwrap();
        assert!(is_silent(&claims), "another interface of this host on the same link");
    });
}

#[test]
fn flood_is_reported_in_few_claims() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (watcher, claims) = NeighbourWatcher::start().unwrap();
        watch(&watcher, &[VIRTUAL]);
        until_claimed(&wire, &claims, &arp::gratuitous(OTHER, VIRTUAL));
        for frame in 0..2_000_u16 {
            let [high, low] = frame.to_be_bytes();
            wire.send(&arp::gratuitous([2, 0, 0, 1, high, low], VIRTUAL)).unwrap();
        }
        let (mut reports, mut frames) = (0, 0);
        while frames < 2_000 {
            let claims = wait_for(&claims);
            reports += claims.len();
            frames += claims.iter().map(|claim| claim.count).sum::<u64>();
        }
        assert_eq!(frames, 2_000, "all are counted");
        assert!(reports <= 400, "{reports} reports");
    });
}

#[test]
fn more_addresses_than_a_filter_can_hold_are_watched_all_the_same() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_ARP);
        let (watcher, claims) = NeighbourWatcher::start().unwrap();
        for count in [255, 5_000, 3] {
            let addresses: Vec<_> = (0..count).map(|number| Ipv4Addr::from(0x0a00_0000 + number)).collect();
            watch(&watcher, &addresses);
            let last = *addresses.last().unwrap();
            assert_eq!(until_claimed(&wire, &claims, &arp::gratuitous(OTHER, last)).address, last, "of {count}");
            // Claims still in the queue belong to the list before.
            while !is_silent(&claims) {
                wait_for(&claims);
            }
            wire.send(&arp::gratuitous(OTHER, VIRTUAL)).unwrap();
            assert!(is_silent(&claims), "none of them");
        }
    });
}

const ETH_P_IPV6: u16 = 0x86dd;
const VIRTUAL6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);

/// A frame of `ndp` from another machine.
fn from_other(mut frame: Vec<u8>) -> Vec<u8> {
    frame[6..12].copy_from_slice(&OTHER);
    frame
}

#[test]
fn claim_of_another_machine_to_an_ipv6_address_is_reported() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IPV6);
        let (watcher, claims) = NeighbourWatcher::start().unwrap();
        let index = if_nametoindex("near").unwrap();
        let addresses = BTreeSet::from([VIRTUAL.into(), VIRTUAL6.into()]);
        watcher.watch(vec![NeighbourWatched { interface: "near".into(), index, addresses }]);
        let found = until_claimed(&wire, &claims, &ndp::unsolicited(OTHER, VIRTUAL6));
        assert_eq!((found.address, found.mac), (VIRTUAL6.into(), OTHER));
        let expected = NeighbourClaim { address: VIRTUAL6.into(), ..claim(VIRTUAL, OTHER, 1) };
        // It resolves another address, from the virtual one.
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
        wire.send(&ndp::solicitation(OTHER, VIRTUAL6, other)).unwrap();
        assert_eq!(wait_for(&claims), [expected]);
        // The same last four bytes, other addresses before them.
        let similar = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100);
        let mut damaged = ndp::unsolicited(OTHER, VIRTUAL6);
        damaged[56] ^= 1;
        for (what, frame) in [
            ("a similar address", ndp::unsolicited(OTHER, similar)),
            ("another address", ndp::unsolicited(OTHER, other)),
            ("a question for it", ndp::solicitation(OTHER, other, VIRTUAL6)),
            ("a probe for it", ndp::solicitation(OTHER, Ipv6Addr::UNSPECIFIED, VIRTUAL6)),
            ("a damaged packet", damaged),
            ("this host's own", ndp::unsolicited(mac("near"), VIRTUAL6)),
        ] {
            wire.send(&from_other(frame)).unwrap();
            assert!(is_silent(&claims), "{what}");
        }
    });
}

#[test]
fn claims_are_reported_with_more_ipv6_addresses_than_a_filter_can_have() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IPV6);
        let (watcher, claims) = NeighbourWatcher::start().unwrap();
        let index = if_nametoindex("near").unwrap();
        let mut addresses: BTreeSet<IpAddr> =
            (0..5000_u32).map(|n| Ipv6Addr::from_bits(0xfd << 120 | u128::from(n)).into()).collect();
        addresses.insert(VIRTUAL6.into());
        watcher.watch(vec![NeighbourWatched { interface: "near".into(), index, addresses }]);
        let found = until_claimed(&wire, &claims, &ndp::unsolicited(OTHER, VIRTUAL6));
        assert_eq!((found.address, found.mac), (VIRTUAL6.into(), OTHER));
    });
}
