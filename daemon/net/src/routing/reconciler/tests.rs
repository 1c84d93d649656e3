use vouchd_iproute::{Route, Rule};

use super::*;

const RULE: &str = "from 10.0.0.0/8 lookup 100 priority 10";

fn at(seconds: u64) -> Time {
    Time::from_nanos(0) + Duration::from_secs(1000 + seconds)
}

fn lease(end: u64) -> Option<Lifetime> {
    Some(Lifetime::Until(at(end)))
}

fn route(text: &str) -> RoutingItem {
    RoutingItem::Route(Route::parse(text).unwrap())
}

fn rule(text: &str) -> RoutingItem {
    RoutingItem::Rule(Rule::parse(text).unwrap())
}

fn claim(name: &str, routes: &[&str], rules: &[&str], lifetime: Option<Lifetime>) -> Claimed {
    let routes = routes.iter().map(|text| Route::parse(text).unwrap()).collect();
    let rules = rules.iter().map(|text| Rule::parse(text).unwrap()).collect();
    (name.into(), Arc::new(Routing { routes, rules }), lifetime)
}

type Claimed = (InstanceKey, Arc<Routing>, Option<Lifetime>);

fn reconciler(claims: Vec<Claimed>) -> Reconciler {
    let mut reconciler = Reconciler::default();
    reconciler.configure(claims.into_iter());
    reconciler
}

/// Carries out everything that is planned at `now`, successfully, and returns it.
fn settle(reconciler: &mut Reconciler, now: Time) -> Vec<Step> {
    let mut steps = reconciler.removals(now);
    steps.extend(reconciler.additions(now));
    for step in &steps {
        reconciler.done(step.clone(), now);
    }
    steps
}

fn added(item: RoutingItem) -> Step {
    Step::Add { item, expires: None }
}

#[test]
fn routes_come_before_rules_and_go_after_them() {
    let (first, second) = ("10.1.0.0/16 dev eth0", "10.0.0.0/16 via 10.1.0.1");
    let mut reconciler = reconciler(vec![claim("web", &[first, second], &[RULE], lease(30))]);
    let steps = settle(&mut reconciler, at(0));
    assert_eq!(
        steps,
        [added(route(first)), added(route(second)), added(rule(RULE))],
        "in the order of the configuration"
    );
    reconciler.release(&"web".into());
    let steps = settle(&mut reconciler, at(1));
    assert_eq!(steps[0], Step::Remove { item: rule(RULE) });
    assert_eq!(steps.len(), 3);
    assert!(reconciler.is_idle());
}

#[test]
fn item_that_two_instances_want_stays_until_neither_does() {
    let shared = "10.1.0.0/16 dev eth0";
    let both = || vec![claim("a", &[shared], &[], lease(30)), claim("b", &[shared], &[], lease(30))];
    let mut reconciler = reconciler(both());
    assert_eq!(settle(&mut reconciler, at(0)), [added(route(shared))], "once");
    reconciler.release(&"a".into());
    assert_eq!(settle(&mut reconciler, at(1)), []);
    let states = reconciler.states();
    assert!(!states[&"a".into()][0].installed, "a is not active");
    assert!(states[&"b".into()][0].installed);
    reconciler.release(&"b".into());
    assert_eq!(settle(&mut reconciler, at(2)), [Step::Remove { item: route(shared) }]);
}

#[test]
fn changed_route_replaces_the_old_one_but_never_that_of_another_active_instance() {
    let (old, new) = ("10.1.0.0/16 via 192.0.2.1", "10.1.0.0/16 via 192.0.2.2");
    let mut reconciler = reconciler(vec![claim("a", &[old], &[], lease(30))]);
    settle(&mut reconciler, at(0));
    reconciler.configure(vec![claim("a", &[new], &[], lease(30))].into_iter());
    let replace = Step::Replace { old: route(old), item: route(new), expires: None };
    assert_eq!(settle(&mut reconciler, at(1)), [replace]);
    reconciler.configure(vec![claim("a", &[new], &[], lease(30)), claim("b", &[old], &[], lease(30))].into_iter());
    // The kernel refuses it, so it is an error, and a's stays.
    assert_eq!(reconciler.additions(at(2)), [added(route(old))]);
}

#[test]
fn what_the_kernel_refuses_is_tried_again_once_a_second_and_after_a_change() {
    let wanted = "10.1.0.0/16 via 192.0.2.1";
    let mut reconciler = reconciler(vec![claim("a", &[wanted], &[], lease(30))]);
    let [step] = reconciler.additions(at(0)).try_into().unwrap();
    reconciler.failed(&step, RoutingError::NoWay, at(0));
    assert_eq!(reconciler.additions(at(0)), []);
    assert_eq!(reconciler.additions(at(1)), std::slice::from_ref(&step));
    reconciler.failed(&step, RoutingError::NoWay, at(1));
    let changes = reconciler.take_changes();
    assert_eq!(changes[&"a".into()], [RoutingChange::InstallFailed(route(wanted), RoutingError::NoWay)], "once");
    assert_eq!(reconciler.additions(at(1)), []);
    reconciler.retry();
    assert_eq!(reconciler.additions(at(1)), [step]);
}

#[test]
fn items_end_with_the_lease_and_none_is_added_late() {
    let mut reconciler = reconciler(vec![claim("a", &["blackhole 10.1.0.0/16"], &[RULE], lease(3))]);
    assert_eq!(reconciler.deadline(), None, "nothing is installed");
    settle(&mut reconciler, at(0));
    assert_eq!(reconciler.deadline(), Some(at(3)));
    assert_eq!(reconciler.removals(at(3)), []);
    assert_eq!(reconciler.removals(at(4)).len(), 2);
    assert_eq!(settle(&mut reconciler, at(4)).len(), 2);
    assert_eq!(reconciler.additions(at(4)), []);
}

#[test]
fn lost_item_is_put_back() {
    let wanted = "10.1.0.0/16 dev eth0";
    let mut reconciler = reconciler(vec![claim("a", &[wanted], &[RULE], lease(30))]);
    settle(&mut reconciler, at(0));
    reconciler.take_changes();
    reconciler.saw(&BTreeSet::new(), &[Rule::parse(RULE).unwrap()]);
    assert_eq!(settle(&mut reconciler, at(1)), [added(route(wanted))]);
    assert_eq!(reconciler.take_changes()[&"a".into()], [RoutingChange::PutBack(route(wanted))]);
}

#[test]
fn only_ipv6_routes_with_one_next_hop_have_a_lifetime_and_are_renewed() {
    let wanted = ["2001:db8:1::/48 dev eth0", "2001:db8:2::/48 nexthop via fe80::1 dev a nexthop via fe80::2 dev b"];
    let mut reconciler = reconciler(vec![claim("a", &wanted, &[], lease(10))]);
    let steps = settle(&mut reconciler, at(0));
    assert_eq!(steps[0], Step::Add { item: route(wanted[0]), expires: Some(10) });
    assert_eq!(steps[1], added(route(wanted[1])));
    assert_eq!(settle(&mut reconciler, at(5)), []);
    reconciler.serve(&"a".into(), Lifetime::Until(at(15)));
    assert_eq!(settle(&mut reconciler, at(5)), [Step::Renew { item: route(wanted[0]), expires: 10 }]);
}
