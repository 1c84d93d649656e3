//! What is special about IPv6: an address is the same with any prefix, and goes when its interface is switched off.

use std::net::Ipv6Addr;

use super::*;

const GLOBAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100));
const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100));
const OF_LINK: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
const OF_HOST: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

fn active() -> World {
    let mut world = World::new(&[(OF_HOST, 64)]);
    world.reconciler.configure(vec![claim("web", &[(LINK_LOCAL, 128), (GLOBAL, 128)], lease(3_000))]);
    assert_eq!(world.settle(at(0)).len(), 2);
    world.reconciler.take_changes();
    world
}

#[test]
fn ipv6_prefix_changes_by_removing_the_address_and_adding_it() {
    let mut world = active();
    world.reconciler.configure(vec![claim("web", &[(LINK_LOCAL, 128), (GLOBAL, 64)], lease(3_000))]);
    assert_eq!(
        world.settle(at(10)),
        [
            Operation::Remove { placement: placement(GLOBAL, 128) },
            Operation::Add { placement: placement(GLOBAL, 64), seconds: 3 },
        ]
    );
    assert!(world.never_off(LINK_LOCAL));
    let returned: Vec<_> = world.reconciler.take_returned().into_iter().map(|(placement, _)| placement).collect();
    assert_eq!(returned, [placement(GLOBAL, 64)], "it is announced");
}

#[test]
fn ipv6_copy_of_the_host_is_used_with_any_prefix() {
    let mut world = World::new(&[(OF_HOST, 64), (GLOBAL, 64)]);
    world.reconciler.configure(vec![claim("web", &[(GLOBAL, 128)], lease(3_000))]);
    assert_eq!(world.settle(at(0)), []);
    let state = &world.reconciler.states(&"web".into())[0];
    assert_eq!((state.presence, &state.error), (Presence::Host, &None));
    world.reconciler.release(&"web".into());
    assert_eq!(world.settle(at(10)), [], "and stays");
}

#[test]
fn adopted_ipv6_copy_with_another_prefix_is_replaced_and_one_with_the_same_is_taken_over() {
    let mut world = World::new(&[(OF_HOST, 64), (OF_LINK, 64), (GLOBAL, 64), (LINK_LOCAL, 128)]);
    let claim = claim("web", &[(LINK_LOCAL, 128), (GLOBAL, 128)], lease(3_000));
    world.reconciler.configure(vec![Claim { adopt: true, ..claim }]);
    assert_eq!(
        world.settle(at(0)),
        [
            Operation::Renew { placement: placement(LINK_LOCAL, 128), seconds: 3 },
            Operation::Remove { placement: placement(GLOBAL, 64) },
            Operation::Add { placement: placement(GLOBAL, 128), seconds: 3 },
        ]
    );
}

#[test]
fn addresses_of_an_interface_that_is_switched_off_come_back_with_it() {
    let mut world = active();
    world.kernel.switch(ETH0, false);
    assert_eq!(world.settle(at(10)), [], "the kernel would not keep them");
    assert!(world.reconciler.take_changes().is_empty(), "nobody deleted them");
    world.kernel.switch(ETH0, true);
    assert_eq!(world.settle(at(20)).len(), 2);
    assert_eq!(world.reconciler.take_returned().len(), 2, "they are announced");
}

#[test]
fn ipv6_addresses_need_no_promotion() {
    let mut world = World::new(&[(OF_HOST, 64)]);
    world.reconciler.configure(vec![claim("web", &[(GLOBAL, 64)], lease(3_000))]);
    let plan = world.reconciler.plan(at(0));
    assert_eq!(plan, [Operation::Add { placement: placement(GLOBAL, 64), seconds: 3 }]);
}
