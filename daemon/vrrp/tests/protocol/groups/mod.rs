//! Routers that are active together or not at all.

mod node;
mod simulation;

use vouchd_vrrp::wire::Priority;
use vouchd_vrrp::{Action, Config, Health, Input, Link, State, Time, Why};

use self::node::{Node, address, done, frame, member};
use crate::bench::{millis, seconds};

const START: Time = Time::from_nanos(1_000_000_000_000);
const DOWN_100: f64 = 3.609_375;

/// A backup group with two members of priority 100.
fn backup(now: Time) -> Node {
    let mut node = Node::new(now, vec![member(0, 100), member(1, 100)]);
    node.start(now, &[address(10, 0), address(10, 1)]);
    assert_eq!(node.states(), [State::Backup; 2]);
    node
}

fn active(now: Time) -> (Node, Time) {
    let mut node = backup(now);
    let now = now + seconds(DOWN_100);
    node.run(now);
    assert!(node.is_active());
    (node, now)
}

/// Both members hear a peer with this priority.
fn hear_both(node: &mut Node, now: Time, priority: u8) {
    for network in 0..2 {
        let payload = frame(node.members[network].config(), address(20, network), priority);
        node.hear(now, network, address(20, network), &payload);
    }
}

fn hear(node: &mut Node, now: Time, network: usize, priority: u8) -> Vec<(usize, Action)> {
    let payload = frame(node.members[network].config(), address(20, network), priority);
    node.hear(now, network, address(20, network), &payload)
}

fn down(reason: &str) -> Input<'static> {
    Input::Link(Link::Down { reason: reason.to_owned() })
}

#[test]
fn group_takes_over_when_the_timers_of_all_members_have_expired() {
    let mut node = backup(START);
    let later = START + seconds(2.0);
    hear(&mut node, later, 1, 200);
    node.run(START + seconds(5.0));
    assert_eq!(node.states(), [State::Backup; 2], "the other network still has an active router");
    let actions = node.run(later + seconds(DOWN_100));
    assert!(node.is_active());
    let words = done(&actions);
    // Both trials come first.
    assert_eq!(words[..2], ["0: install for 3", "1: install for 3"]);
    assert_eq!(words[2..5], ["0: send 100", "0: install for 3", "0: announce 5"]);
}

#[test]
fn cut_between_the_switches_of_one_network_makes_no_second_holder() {
    let mut node = backup(START);
    for second in 0..60 {
        let now = START + seconds(f64::from(second));
        let actions = node.run(now);
        assert_eq!(done(&actions), Vec::<String>::new());
        hear(&mut node, now, 1, 200);
    }
    assert_eq!(node.states(), [State::Backup; 2]);
}

#[test]
fn resignation_on_one_network_is_enough_if_the_others_are_silent_since() {
    for instant in [false, true] {
        let configs = (0..2).map(|network| Config { pair: instant, ..member(network, 100) }).collect();
        let mut node = Node::new(START, configs);
        node.start(START, &[address(10, 0), address(10, 1)]);
        hear_both(&mut node, START + seconds(1.0), 200);
        let resigned = START + seconds(1.5);
        hear(&mut node, resigned, 1, 0);
        assert_eq!(node.is_active(), instant);
        node.run(resigned + seconds(0.609_375));
        assert!(node.is_active());
        let whys: Vec<_> = node.members.iter().map(|router| router.why().name()).collect();
        assert_eq!(whys, ["group", "resigned"]);
    }
}

#[test]
fn resignation_on_one_network_moves_nothing_while_another_one_still_has_the_active_router() {
    let mut node = backup(START);
    hear_both(&mut node, START + seconds(1.0), 200);
    hear(&mut node, START + seconds(1.5), 1, 0);
    for second in 2..30 {
        let now = START + seconds(f64::from(second));
        let actions = node.run(now);
        assert_eq!(done(&actions), Vec::<String>::new());
        hear(&mut node, now, 0, 200);
    }
    assert_eq!(node.states(), [State::Backup; 2]);
}

#[test]
fn fault_of_one_member_resigns_on_every_network_and_its_recovery_releases_all() {
    let (mut node, now) = active(START);
    let fault = Input::Health(Health::Fault { reason: "nginx is gone".to_owned() });
    let actions = node.input(now, 1, fault);
    assert_eq!(done(&actions), ["1: send 0", "1: remove", "0: send 0", "0: remove"]);
    assert_eq!(node.states(), [State::Initialize; 2]);
    let why = node.members[0].why().to_string();
    assert_eq!(why, "held by outside of its group: fault: nginx is gone");
    node.run(now + seconds(60.0));
    assert_eq!(node.states(), [State::Initialize; 2]);
    node.fit(now + seconds(60.0), 1, 100);
    assert_eq!(node.states(), [State::Backup; 2]);
}

#[test]
fn lost_link_resigns_on_the_other_network_only() {
    let (mut node, now) = active(START);
    let actions = node.input(now, 0, down("carrier lost"));
    assert_eq!(done(&actions), ["0: remove", "1: send 0", "1: remove"]);
    assert_eq!(node.members[1].why().name(), "held");
}

#[test]
fn two_members_in_fault_are_both_needed_for_the_release() {
    let (mut node, now) = active(START);
    node.input(now, 0, down("carrier lost"));
    node.input(now, 1, down("carrier lost"));
    node.input(now, 0, Input::Link(Link::Up { source: address(10, 0) }));
    assert_eq!(node.states(), [State::Initialize; 2]);
    node.input(now, 1, Input::Link(Link::Up { source: address(10, 1) }));
    assert_eq!(node.states(), [State::Backup; 2]);
}

#[test]
fn lower_priority_of_a_member_lowers_all_and_calls_the_election_on_every_network_at_once() {
    let (mut node, now) = active(START);
    let actions = node.fit(now + millis(1), 1, 60);
    let sent: Vec<_> = done(&actions).into_iter().filter(|word| word.contains("send")).collect();
    assert_eq!(sent, ["1: send 60", "1: send 0", "0: send 60", "0: send 0"]);
    assert!(node.is_active(), "it keeps the addresses");
    let mut elections = Vec::new();
    let end = now + seconds(120.0);
    while let Some(at) = node.deadline().filter(|at| *at <= end) {
        let zeros = done(&node.timer(at)).iter().filter(|word| word.ends_with("send 0")).count();
        elections.extend((zeros > 0).then_some(zeros));
    }
    assert!(elections.len() > 3 && elections.iter().all(|zeros| *zeros == 2), "{elections:?}");
    node.fit(end, 1, 100);
    let priorities: Vec<_> = node.members.iter().map(|router| router.priority().get()).collect();
    assert_eq!(priorities, [100, 100]);
}

#[test]
fn largest_reduction_counts_and_an_owner_stays_one() {
    let mut node = Node::new(START, vec![member(0, 100), member(1, 200), member(2, 255)]);
    node.start(START, &[address(10, 0), address(10, 1), address(10, 2)]);
    let priorities = |node: &Node| node.members.iter().map(|router| router.priority().get()).collect::<Vec<_>>();
    node.fit(START, 0, 80);
    node.fit(START, 1, 150);
    assert_eq!(priorities(&node), [50, 150, 255]);
    node.fit(START, 1, 195);
    assert_eq!(priorities(&node), [80, 180, 255]);
    node.fit(START, 1, 1);
    assert_eq!(priorities(&node), [1, 1, 255]);
    node.fit(START, 0, 100);
    node.fit(START, 1, 210);
    assert_eq!(priorities(&node), [100, 200, 255], "one member alone does not raise");
}

#[test]
fn owner_is_active_at_once_only_if_all_members_are_owners() {
    let mut node = Node::new(START, vec![member(0, 255), member(1, 255)]);
    node.start(START, &[address(10, 0), address(10, 1)]);
    assert!(node.is_active());
    let mut node = Node::new(START, vec![member(0, 255), member(1, 100)]);
    node.start(START, &[address(10, 0), address(10, 1)]);
    assert_eq!(node.states(), [State::Backup; 2]);
    node.run(START + seconds(DOWN_100));
    assert!(node.is_active());
}

#[test]
fn better_router_on_one_network_makes_all_members_step_back() {
    let (mut node, now) = active(START);
    let actions = hear(&mut node, now + millis(100), 0, 150);
    // No better router was heard outside, so a backup there need not wait for a down interval.
    assert_eq!(done(&actions), ["0: send 100", "0: remove", "1: send 0", "1: remove"]);
    assert_eq!(node.states(), [State::Backup; 2]);
    assert!(node.members[1].why().to_string().starts_with("goes with inside of its group"));
}

#[test]
fn no_member_is_active_before_the_kernel_has_accepted_the_addresses_of_all() {
    let mut node = backup(START);
    node.answers = false;
    let now = START + seconds(DOWN_100);
    assert_eq!(done(&node.run(now)), ["0: install for 3", "1: install for 3"]);
    let now = now + millis(1);
    node.input(now, 1, Input::AddressesInstalled);
    assert_eq!(node.states(), [State::Backup; 2]);
    let actions = node.input(now, 0, Input::AddressesInstalled);
    assert!(node.is_active());
    assert_eq!(done(&actions).iter().filter(|word| word.contains("send 100")).count(), 2);
}

#[test]
fn refused_addresses_of_one_member_end_the_trials_of_all() {
    let mut node = backup(START);
    node.answers = false;
    let now = START + seconds(DOWN_100);
    node.run(now);
    node.input(now, 1, Input::AddressesInstalled);
    let refused = Input::AddressesFailed { reason: "File exists".to_owned() };
    let actions = node.input(now, 0, refused);
    assert_eq!(done(&actions), ["0: remove", "1: remove"]);
    assert_eq!(node.states(), [State::Initialize; 2]);
    assert_eq!(node.members[1].why().name(), "held");
    assert_eq!(node.holds, [false, false]);
}

#[test]
fn router_heard_during_the_trials_ends_them() {
    let mut node = backup(START);
    node.answers = false;
    let now = START + seconds(DOWN_100);
    node.run(now);
    node.input(now, 1, Input::AddressesInstalled);
    let actions = hear(&mut node, now, 0, 200);
    assert_eq!(done(&actions), ["0: remove", "1: remove"]);
    assert_eq!((node.states(), &node.holds[..]), (vec![State::Backup; 2], &[false, false][..]));
}

#[test]
fn member_that_waits_for_its_first_check_costs_an_active_group_nothing() {
    let (mut node, now) = active(START);
    let waiting = Health::Waiting { reason: "a new check".to_owned(), priority: Priority::new(100) };
    assert_eq!(done(&node.input(now, 0, Input::Health(waiting))), Vec::<String>::new());
    assert!(node.is_active());
}

#[test]
fn waiting_member_and_startup_delay_hold_a_group_that_starts() {
    let configs = vec![Config { startup_delay: seconds(30.0), ..member(0, 100) }, member(1, 100)];
    let mut node = Node::new(START, configs);
    node.start(START, &[address(10, 0), address(10, 1)]);
    assert_eq!(node.states(), [State::Initialize; 2]);
    assert_eq!(node.members[1].why().name(), "held");
    node.run(START + seconds(30.0));
    assert_eq!(node.states(), [State::Backup; 2]);
}

#[test]
fn router_that_leaves_its_group_follows_its_own_rules_again() {
    let (mut node, now) = active(START);
    node.fit(now, 1, 60);
    let alone = Config { grouped: false, ..member(0, 100) };
    let fit = crate::bench::fit(100);
    let actions = node.members[0].reconfigure(now, alone, fit).expect("a good configuration");
    assert_eq!(node.members[0].priority().get(), 100, "{actions:?}");
    assert_eq!(node.members[0].state(), State::Active);

    let mut node = backup(START);
    node.input(START, 1, down("carrier lost"));
    assert_eq!(node.members[0].state(), State::Initialize);
    let alone = Config { grouped: false, ..member(0, 100) };
    node.members[0].reconfigure(START, alone, crate::bench::fit(100)).expect("a good configuration");
    assert_eq!(node.members[0].state(), State::Backup);
}

#[test]
fn routers_that_become_a_group_while_active_stay_active() {
    let (node, now) = active(START);
    let mut members = node.members;
    for (network, router) in members.iter_mut().enumerate() {
        for grouped in [false, true] {
            let config = Config { grouped, ..member(network, 100) };
            let actions = router.reconfigure(now, config, crate::bench::fit(100)).expect("a good configuration");
            assert!(crate::bench::transitions(&actions).is_empty());
        }
    }
    let mut node = Node { members, group: Default::default(), holds: vec![true; 2], answers: true };
    let mut all = Vec::new();
    node.settle(now, &mut all);
    assert!(node.is_active());
    assert_eq!(done(&all), Vec::<String>::new());
}

#[test]
fn order_without_a_group_has_no_effect() {
    let mut bench = crate::bench::Bench::active(crate::bench::config(100));
    let reason = vouchd_vrrp::Reason { member: "x".to_owned(), what: "y".to_owned() };
    for order in [vouchd_vrrp::Order::Hold(reason.clone()), vouchd_vrrp::Order::StepBack(reason)] {
        assert!(bench.input(Input::Group(order)).is_empty());
    }
    assert!(!matches!(bench.router.why(), Why::Held(_) | Why::Group(_)));
}
