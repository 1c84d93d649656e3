//! Routes and rules: installed with their instance, kept while it is active, removed with it.

use std::sync::Arc;
use std::time::Duration;

use vouchd_iproute::{Route, Rule};
use vouchd_net::{
    AddressCommand, AddressKeeper, Claim, Lifetime, Receiver, Report, Routing, RoutingState, sweep_routing,
};

use crate::monitor::Monitor;
use crate::namespace::{claim, in_namespace, instance, ip, until, wait_until};

/// The instance's claim with these routes and rules.
fn claim_with(routes: &[&str], rules: &[&str]) -> Claim {
    let routes = routes.iter().map(|text| Route::parse(text).unwrap()).collect();
    let rules = rules.iter().map(|text| Rule::parse(text).unwrap()).collect();
    Claim { routing: Arc::new(Routing { routes, rules }), ..claim() }
}

fn lease(seconds: u64) -> Lifetime {
    Lifetime::Until(vouchd_net::now() + Duration::from_secs(seconds))
}

/// A keeper whose instance is active.
fn start(routes: &[&str], rules: &[&str]) -> (AddressKeeper, Receiver<Report>) {
    ip("link set far up");
    ip("-6 address add 2001:db8:9::1/64 dev near nodad");
    let (keeper, reports) = AddressKeeper::start().unwrap();
    keeper.command(AddressCommand::Configure(vec![claim_with(routes, rules)])).unwrap();
    install(&keeper, lease(30));
    (keeper, reports)
}

fn install(keeper: &AddressKeeper, lifetime: Lifetime) {
    keeper.command(AddressCommand::Install { instance: instance(), lifetime }).unwrap();
}

fn remove(keeper: &AddressKeeper) {
    keeper.command(AddressCommand::Remove { instance: instance() }).unwrap();
}

/// Waits for a report in which the states have this quality, and returns them.
fn wait_states(reports: &Receiver<Report>, wanted: impl Fn(&[RoutingState]) -> bool) -> Vec<RoutingState> {
    let is_it = |report: &Report| matches!(report, Report::Routing { states, .. } if wanted(states));
    let found = wait_until(reports, is_it).into_iter().find(is_it);
    let Some(Report::Routing { states, .. }) = found else { unreachable!("it was found") };
    states
}

fn all_installed(states: &[RoutingState]) -> bool {
    states.iter().all(|state| state.installed && state.error.is_none())
}

/// The routes of all tables with vouchd's mark, without what no text can set.
fn marked_routes() -> Vec<String> {
    let mut all = Vec::new();
    for family in ["-4", "-6"] {
        for line in ip(&format!("{family} route show table all proto 118")).lines() {
            let line = line.trim().trim_end_matches(" \\");
            // A next hop of the route before it.
            match line.strip_prefix("nexthop") {
                Some(hop) => {
                    let last: &mut String = all.last_mut().expect("a route");
                    last.push_str(&format!(" nexthop{hop}"));
                }
                None if family == "-6" => all.push(format!("-6 {line}")),
                None => all.push(line.to_owned()),
            }
        }
    }
    all
}

fn marked_rules() -> Vec<String> {
    let mut all = Vec::new();
    for family in ["-4", "-6"] {
        for line in ip(&format!("{family} rule show")).lines().filter(|line| line.contains(" proto 118")) {
            let (priority, rest) = line.split_once(':').expect("a priority");
            all.push(format!("{family} {} priority {priority}", rest.trim().replace(" proto 118", "")));
        }
    }
    all
}

const ROUTES: [&str; 25] = [
    "10.1.0.0/16 via 192.0.2.254",
    "10.2.0.0/16 via 192.0.2.254 dev near table 100 metric 5",
    "10.3.0.0/16 dev near src 192.0.2.100",
    "10.4.0.0/16 via 203.0.113.1 dev near onlink",
    "10.5.0.0/16 dev near tos 0x10",
    "10.6.0.0/16 dev near mtu lock 1400 advmss 1360 hoplimit 64 quickack 1",
    "10.7.0.0/16 dev near rtt 100ms rttvar 1.5s rto_min 20ms window 1000 cwnd 10 ssthresh 20",
    "10.8.0.0/16 dev near initcwnd 10 initrwnd 20 reordering 5 features ecn congctl lock cubic",
    "10.9.0.0/16 nexthop via 192.0.2.253 dev near weight 2 nexthop via 192.0.2.252 dev near",
    "10.10.0.0/16 via inet6 fe80::1 dev near",
    "default via 192.0.2.254 metric 4000",
    "blackhole 10.11.0.0/16",
    "unreachable 10.12.0.0/16 metric 4278198272",
    "prohibit 10.13.0.0/16 table 4294967295",
    "throw 10.14.0.0/16 table 7",
    "local 203.0.113.0/24 dev lo",
    "broadcast 203.0.114.255 dev near",
    "multicast 239.1.0.0/16 dev near",
    "2001:db8:1::/48 via 2001:db8:9::2",
    "2001:db8:2::/48 dev near metric 7 mtu 1400",
    "2001:db8:3::/48 via fe80::1 dev near pref high",
    "2001:db8:4::/48 nexthop via fe80::1 dev near nexthop via fe80::2 dev near weight 3",
    "blackhole 2001:db8:5::/48",
    "-6 default via fe80::1 dev near table 100",
    "10.15.0.1 dev near scope host table 9",
];

const RULES: [&str; 14] = [
    "from 10.0.0.0/8 lookup 100 priority 10",
    "not from 10.0.0.0/8 to 10.1.0.0/16 lookup main priority 11",
    "fwmark 0x1/0xff lookup 100 priority 12",
    "fwmark 0x1 lookup default priority 13",
    "iif near oif far lookup 100 priority 14",
    "tos 0x10 lookup 100 priority 15",
    "ipproto tcp sport 80 dport 1024-2048 lookup 100 priority 16",
    "uidrange 1000-1999 lookup 4294967295 priority 17",
    "from 10.2.0.0/16 goto 20 priority 18",
    "from 10.3.0.0/16 nop priority 19",
    "from 10.4.0.0/16 prohibit priority 20",
    "lookup main suppress_prefixlength 0 suppress_ifgroup 5 priority 21",
    "from 2001:db8::/32 lookup 100 priority 10",
    "-6 fwmark 0x1 blackhole priority 11",
];

/// For a property of the grammar: the kernel, shown by the program `ip`, is the judge.
#[test]
fn what_ip_shows_of_each_installed_route_and_rule_parses_to_the_same() {
    in_namespace(|| {
        let (_keeper, reports) = start(&ROUTES, &RULES);
        let states =
            wait_states(&reports, |states| states.iter().all(|state| state.installed || state.error.is_some()));
        assert!(all_installed(&states), "{states:#?}");
        let shown = marked_routes();
        assert_eq!(shown.len(), ROUTES.len(), "{shown:#?}");
        let shown: Vec<_> = shown
            .iter()
            .map(|line| {
                // What the kernel adds: the mark, what it found out about the link, and how long an IPv6 route stays.
                let mut words: Vec<&str> = Vec::new();
                let mut rest = line.split_whitespace();
                while let Some(word) = rest.next() {
                    match word {
                        "proto" | "expires" | "error" => drop(rest.next()),
                        "linkdown" | "dead" => {}
                        word => words.push(word),
                    }
                }
                // A route without a next hop has the loopback interface as one in IPv6.
                let text = words.join(" ");
                let text = if text.contains("blackhole 2001") { text.replace(" dev lo", "") } else { text };
                Route::parse(&text).unwrap_or_else(|mistake| panic!("{line} -> {text}: {mistake}"))
            })
            .collect();
        for text in ROUTES {
            let wanted = Route::parse(text).unwrap();
            let found = shown.iter().find(|route| route.id() == wanted.id());
            let mut found = found.unwrap_or_else(|| panic!("{text} among {shown:#?}")).clone();
            // The kernel finds the interface itself, and shows flags of several next hops only there.
            for (found, wanted) in found.next_hops.iter_mut().zip(&wanted.next_hops) {
                if wanted.interface.is_none() {
                    found.interface = None;
                }
            }
            assert_eq!(found, wanted, "{text}");
        }
        let shown: Vec<_> = marked_rules().iter().map(|text| Rule::parse(text).unwrap()).collect();
        assert_eq!(shown.len(), RULES.len(), "{shown:#?}");
        for text in RULES {
            assert!(shown.contains(&Rule::parse(text).unwrap()), "{text} among {shown:#?}");
        }
    });
}

#[test]
fn routes_and_rules_go_with_the_instance() {
    in_namespace(|| {
        let (keeper, reports) = start(&ROUTES, &RULES);
        wait_states(&reports, all_installed);
        remove(&keeper);
        wait_states(&reports, |states| states.iter().all(|state| !state.installed && state.error.is_none()));
        assert_eq!((marked_routes().len(), marked_rules().len()), (0, 0), "{:?}", marked_routes());
        install(&keeper, lease(30));
        wait_states(&reports, all_installed);
        assert!(keeper.finish(Duration::from_secs(10)));
        assert_eq!((marked_routes().len(), marked_rules().len()), (0, 0), "{:?}", marked_routes());
    });
}

#[test]
fn what_somebody_deletes_is_back_at_once() {
    in_namespace(|| {
        let (_keeper, reports) = start(&["10.1.0.0/16 via 192.0.2.254"], &["from 10.0.0.0/8 lookup 100 priority 10"]);
        wait_states(&reports, all_installed);
        ip("route del 10.1.0.0/16");
        until("the route is back", || marked_routes().len() == 1);
        ip("rule del priority 10");
        until("the rule is back", || marked_rules().len() == 1);
    });
}

/// The kernel removes IPv4 routes with their interface without a notification.
#[test]
fn routes_come_back_with_their_interface() {
    in_namespace(|| {
        let routes = ["10.1.0.0/16 dev near", "10.2.0.0/16 via 192.0.2.254", "2001:db8:1::/48 via fe80::2 dev near"];
        let (keeper, reports) = start(&routes, &[]);
        wait_states(&reports, all_installed);
        ip("link set near down");
        let states = wait_states(&reports, |states| states.iter().all(|state| !state.installed));
        assert!(states.iter().all(|state| state.error.is_some()), "{states:?}");
        ip("link set near up");
        // The next advertisement renews the lease; what failed is tried again with it.
        install(&keeper, lease(30));
        wait_states(&reports, all_installed);
        assert_eq!(marked_routes().len(), 3);
        ip("link del near");
        let states = wait_states(&reports, |states| states.iter().all(|state| !state.installed));
        assert!(states[0].error.as_ref().unwrap().to_string().contains("interface near does not exist"), "{states:?}");
        ip("link add near type veth peer name far");
        ip("address add 192.0.2.1/24 dev near");
        ip("link set near up");
        ip("link set far up");
        install(&keeper, lease(30));
        wait_states(&reports, all_installed);
    });
}

#[test]
fn equal_route_of_the_host_stays_and_is_an_error() {
    in_namespace(|| {
        ip("route add 10.1.0.0/16 via 192.0.2.77");
        ip("-6 route add 2001:db8:1::/48 dev near metric 9");
        let (keeper, reports) =
            start(&["10.1.0.0/16 via 192.0.2.254", "2001:db8:1::/48 via fe80::9 dev near metric 9"], &[]);
        let states = wait_states(&reports, |states| states.iter().all(|state| state.error.is_some()));
        assert!(states.iter().all(|state| !state.installed), "{states:?}");
        assert!(states[0].error.as_ref().unwrap().to_string().contains("has an equal one"), "{states:?}");
        remove(&keeper);
        wait_states(&reports, |states| states.iter().all(|state| state.error.is_none()));
        assert!(ip("route show 10.1.0.0/16").contains("via 192.0.2.77"));
        assert_eq!(ip("-6 route show 2001:db8:1::/48").lines().count(), 1);
        // Once the host's own are gone, the next attempt succeeds.
        install(&keeper, lease(30));
        wait_states(&reports, |states| states.iter().all(|state| state.error.is_some()));
        ip("route del 10.1.0.0/16");
        ip("-6 route del 2001:db8:1::/48");
        until("both are installed", || {
            install(&keeper, lease(30));
            marked_routes().len() == 2
        });
    });
}

/// The kernel notifies of the new route alone.
#[test]
fn route_that_somebody_puts_in_the_place_of_ours_is_an_error() {
    in_namespace(|| {
        let routes = ["10.1.0.0/16 via 192.0.2.254", "2001:db8:1::/48 via fe80::9 dev near metric 9"];
        let (_keeper, reports) = start(&routes, &[]);
        wait_states(&reports, all_installed);
        ip("route replace 10.1.0.0/16 via 192.0.2.77");
        ip("-6 route replace 2001:db8:1::/48 dev near metric 9");
        let states = wait_states(&reports, |states| states.iter().all(|state| !state.installed));
        assert!(states.iter().all(|state| state.error.is_some()), "{states:?}");
        assert!(ip("route show 10.1.0.0/16").contains("via 192.0.2.77"), "the host's stays");
    });
}

/// Kernels that compare the protocols of rules keep both; others refuse the second.
#[test]
fn equal_rule_of_the_host_stays() {
    in_namespace(|| {
        ip("rule add from 10.0.0.0/8 lookup 100 priority 10");
        let (keeper, reports) = start(&[], &["from 10.0.0.0/8 lookup 100 priority 10"]);
        wait_states(&reports, |states| states.iter().all(|state| state.installed || state.error.is_some()));
        remove(&keeper);
        wait_states(&reports, |states| states.iter().all(|state| !state.installed && state.error.is_none()));
        assert_eq!(marked_rules(), Vec::<String>::new());
        assert!(ip("rule show").contains("10:\tfrom 10.0.0.0/8 lookup 100"));
    });
}

#[test]
fn reload_adds_changes_and_removes_only_what_differs() {
    in_namespace(|| {
        let stays = "10.1.0.0/16 via 192.0.2.254";
        let (keeper, reports) = start(&[stays, "10.2.0.0/16 via 192.0.2.254", "10.3.0.0/16 via 192.0.2.254"], &[]);
        wait_states(&reports, all_installed);
        let monitor = Monitor::of("route");
        let claim = claim_with(&[stays, "10.2.0.0/16 via 192.0.2.253", "10.4.0.0/16 via 192.0.2.254"], &[]);
        keeper.command(AddressCommand::Configure(vec![Claim { lifetime: Some(lease(30)), ..claim }])).unwrap();
        wait_states(&reports, |states| all_installed(states) && states.len() == 3);
        let shown = marked_routes();
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(shown.iter().any(|line| line.contains("10.2.0.0/16 via 192.0.2.253")), "{shown:?}");
        assert!(shown.iter().any(|line| line.contains("10.4.0.0/16")), "{shown:?}");
        let events = monitor.end().join("\n");
        assert!(!events.contains("10.1.0.0/16"), "untouched: {events}");
        assert!(!events.contains("Deleted 10.2.0.0/16"), "replaced without a gap: {events}");
        assert!(events.contains("Deleted 10.3.0.0/16"), "{events}");
    });
}

#[test]
fn items_go_when_the_lease_ends_even_without_a_command() {
    in_namespace(|| {
        let (keeper, reports) = AddressKeeper::start().unwrap();
        let claim = claim_with(&["blackhole 10.1.0.0/16"], &["from 10.0.0.0/8 lookup 100 priority 10"]);
        keeper.command(AddressCommand::Configure(vec![claim])).unwrap();
        install(&keeper, lease(2));
        wait_states(&reports, all_installed);
        wait_states(&reports, |states| states.iter().all(|state| !state.installed));
        assert_eq!((marked_routes().len(), marked_rules().len()), (0, 0));
    });
}

#[test]
fn ipv6_route_has_the_lifetime_of_the_lease_and_is_renewed() {
    in_namespace(|| {
        let (keeper, reports) = start(&["2001:db8:1::/48 via 2001:db8:9::2"], &[]);
        wait_states(&reports, all_installed);
        let expires = || -> u32 {
            let shown = ip("-6 route show 2001:db8:1::/48");
            let seconds = shown.split("expires ").nth(1).unwrap_or_else(|| panic!("a lifetime: {shown}"));
            seconds.split("sec").next().unwrap().parse().unwrap()
        };
        assert!((25..=30).contains(&expires()), "{}", expires());
        std::thread::sleep(Duration::from_millis(300));
        install(&keeper, lease(300));
        until("the lifetime is renewed", || expires() > 200);
        assert_eq!(marked_routes().len(), 1);
    });
}

#[test]
fn sweep_removes_what_an_earlier_run_left_behind_and_nothing_else() {
    in_namespace(|| {
        ip("route add 10.9.0.0/16 dev near proto static");
        ip("rule add from 10.9.0.0/16 lookup 9 priority 9");
        for route in [
            "10.1.0.0/16 dev near",
            "10.2.0.0/16 via 192.0.2.254 table 100 metric 3 mtu 1400",
            "10.3.0.0/16 nexthop via 192.0.2.253 nexthop via 192.0.2.252",
            "blackhole 10.4.0.0/16",
        ] {
            ip(&format!("route add proto 118 {route}"));
        }
        ip("-6 route add 2001:db8:1::/48 dev near proto 118 metric 9");
        ip("-6 route add blackhole 2001:db8:2::/48 proto 118");
        ip("rule add from 10.1.0.0/16 fwmark 1/3 lookup 100 priority 10 protocol 118");
        ip("-6 rule add iif near lookup 100 priority 10 protocol 118");
        let kept = "10.1.0.0/16 table 254 metric 0";
        let removed = sweep_routing(|text| text == kept).unwrap();
        assert_eq!(removed.len(), 7, "{removed:#?}");
        assert_eq!(marked_routes().len(), 1, "another daemon that lives keeps it: {:?}", marked_routes());
        assert_eq!(marked_rules(), Vec::<String>::new());
        assert_eq!(sweep_routing(|_| false).unwrap(), [format!("route {kept}")]);
        assert!(ip("route show 10.9.0.0/16").contains("proto static"));
        assert!(ip("rule show").contains("from 10.9.0.0/16"));
    });
}

/// A host with a table of the whole internet has a million routes that are not vouchd's.
#[test]
fn thousand_routes_are_installed_and_removed() {
    in_namespace(|| {
        let routes: Vec<String> =
            (0..1000).map(|n| format!("10.{}.{}.0/24 via 192.0.2.254", n / 256, n % 256)).collect();
        let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
        let (keeper, reports) = start(&routes, &[]);
        let begin = std::time::Instant::now();
        wait_states(&reports, all_installed);
        let installed = begin.elapsed();
        assert_eq!(marked_routes().len(), 1000);
        let begin = std::time::Instant::now();
        remove(&keeper);
        wait_states(&reports, |states| states.iter().all(|state| !state.installed));
        println!("1000 routes: installed in {installed:?}, removed in {:?}", begin.elapsed());
        assert_eq!(marked_routes().len(), 0);
    });
}
