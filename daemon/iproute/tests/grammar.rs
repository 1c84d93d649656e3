//! What the grammar accepts and refuses.

use proptest::collection::vec;
use proptest::prelude::*;
use vouchd_iproute::{Metric, Route, RouteKind, Rule, RuleAction, TABLE_LOCAL, TABLE_MAIN};

fn route(text: &str) -> Route {
    Route::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}"))
}

fn rule(text: &str) -> Rule {
    Rule::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}"))
}

const ROUTES: [&str; 36] = [
    "10.0.0.0/8 via 192.0.2.254 dev eth0 table 100 metric 5",
    "default via 192.0.2.254",
    "0.0.0.0/0 via 192.0.2.254 dev eth0 onlink",
    "default via 2001:db8::1 dev eth0",
    "-6 default dev eth0",
    "::/0 via fe80::1 dev eth0 pref high",
    "to 10.0.0.0/8 dev eth0",
    "unicast 10.0.0.0/8 dev eth0 scope link src 192.0.2.1",
    "10.0.0.0/8 dev eth0 scope global",
    "192.0.2.7 dev eth0",
    "blackhole 10.0.0.0/8",
    "blackhole default",
    "-6 blackhole default",
    "unreachable 10.0.0.0/8 metric 4278198272",
    "prohibit 2001:db8::/32",
    "throw 10.0.0.0/8 table 7",
    "local 203.0.113.0/24 dev lo",
    "local 203.0.113.0/24 dev lo table main",
    "broadcast 203.0.113.255 dev eth0",
    "multicast 239.0.0.0/8 dev eth0",
    "anycast 203.0.113.9 dev eth0",
    "10.0.0.0/8 via inet6 fe80::1 dev eth0",
    "default via inet6 fe80::1 dev eth0",
    "10.0.0.0/8 via inet 192.0.2.254",
    "10.0.0.0/8 dev eth0 tos 0x10",
    "10.0.0.0/8 dev eth0 mtu lock 1400 advmss 1360 hoplimit 64 quickack 1",
    "10.0.0.0/8 dev eth0 rtt 100ms rttvar 1.5s rto_min 20ms window 1000 cwnd 10 ssthresh 20",
    "10.0.0.0/8 dev eth0 initcwnd 10 initrwnd 20 reordering 5 features ecn congctl lock cubic fastopen_no_cookie 1",
    "10.0.0.0/8 nexthop via 192.0.2.1 dev eth0 weight 2 nexthop via 192.0.2.2 nexthop dev eth1 onlink",
    "2001:db8::/32 nexthop via fe80::1 dev eth0 nexthop via fe80::2 dev eth1 weight 256",
    "10.0.0.0/8 nexthop via 192.0.2.1 dev eth0",
    "2001:db8::/32 from 2001:db8:1::/48 dev eth0",
    "10.0.0.0/8 via 192.0.2.254 preference 9",
    "10.0.0.0/8 via 192.0.2.254 priority 9 table local",
    "10.0.0.0/8 dev eth0 scope 77",
    "2001:db8::1 dev eth0 table 4294967295 metric 1",
];

const RULES: [&str; 20] = [
    "from 10.0.0.0/8 lookup 100 priority 10",
    "from all to 10.0.0.0/8 table main pref 10",
    "not from 10.0.0.0/8 lookup local order 10",
    "fwmark 0x1 lookup 100 priority 10",
    "fwmark 1/0xff lookup 100 priority 10",
    "-6 fwmark 1 lookup 100 priority 10",
    "from 2001:db8::/32 to 2001:db8:1::/48 lookup default priority 4294967295",
    "iif eth0 oif eth1 lookup 100 priority 10",
    "dev lo lookup 100 priority 10",
    "tos 0x10 lookup 100 priority 10",
    "dsfield 16 lookup 100 priority 10",
    "ipproto tcp sport 80 dport 1024-2048 lookup 100 priority 10",
    "ipproto 200 lookup 100 priority 10",
    "ipproto icmpv6 lookup 100 priority 10",
    "uidrange 1000-1999 lookup 100 priority 10",
    "from 10.0.0.0/8 goto 20 priority 10",
    "from 10.0.0.0/8 nop priority 10",
    "from 10.0.0.0/8 blackhole priority 10",
    "lookup main suppress_prefixlength 0 suppress_ifgroup 5 priority 10",
    "-6 l3mdev priority 1000",
];

#[test]
fn every_route_has_a_text_that_parses_to_the_same() {
    for text in ROUTES {
        let parsed = route(text);
        assert_eq!(route(&parsed.to_string()), parsed, "{text} -> {parsed}");
    }
}

#[test]
fn every_rule_has_a_text_that_parses_to_the_same() {
    for text in RULES {
        let parsed = rule(text);
        assert_eq!(rule(&parsed.to_string()), parsed, "{text} -> {parsed}");
    }
}

#[test]
fn defaults_are_those_of_the_program_ip() {
    for (text, table, scope, metric) in [
        ("10.0.0.0/8 via 192.0.2.1", TABLE_MAIN, 0, 0),
        ("10.0.0.0/8 dev eth0", TABLE_MAIN, 253, 0),
        ("blackhole 10.0.0.0/8", TABLE_MAIN, 0, 0),
        ("local 203.0.113.9 dev lo", TABLE_LOCAL, 254, 0),
        ("broadcast 203.0.113.255 dev eth0", TABLE_LOCAL, 253, 0),
        ("2001:db8::/32 dev eth0", TABLE_MAIN, 0, 1024),
        ("2001:db8::/32 dev eth0 metric 0", TABLE_MAIN, 0, 1024),
    ] {
        let route = route(text);
        assert_eq!((route.table, route.scope, route.metric), (table, scope, metric), "{text}");
    }
    let route = route("10.0.0.0/8 dev eth0 rtt 100ms rttvar 100ms mtu lock 1400");
    assert_eq!(route.metrics.values(), [(Metric::Mtu, 1400), (Metric::Rtt, 800), (Metric::RttVar, 400)]);
    assert_eq!(route.metrics.lock(), 1 << 2);
    assert_eq!(rule("fwmark 1 lookup 100 priority 10").fwmark.unwrap().mask, u32::MAX);
    assert_eq!(rule("l3mdev priority 10").action, RuleAction::L3Mdev);
    assert_eq!(Route::parse("throw 10.0.0.0/8").unwrap().kind, RouteKind::Throw);
}

/// Each text, the wrong part of it, and what the message says.
#[test]
fn mistake_in_a_route_names_its_place_and_what_to_do() {
    for (text, wrong, says) in [
        ("", "", "expected a destination"),
        ("via 192.0.2.1", "via", "a destination before `via`"),
        ("10.0.0.0/8", "", "`via` an address, `dev` an interface"),
        ("10/8 dev eth0", "10/8", "write 10.0.0.0/8"),
        ("10.0.0.1/8 dev eth0", "10.0.0.1/8", "write 10.0.0.0/8"),
        ("10.0.0.0/33 dev eth0", "10.0.0.0/33", "from 0 to 32"),
        ("10.0.0.0/8 via", "", "an address after `via`"),
        ("10.0.0.0/8 via 192.0.2.1/24", "192.0.2.1/24", "write 192.0.2.1, without"),
        ("10.0.0.0/8 via 192.0.2.1 via 192.0.2.2", "via", "written twice"),
        ("10.0.0.0/8 via inet6 192.0.2.1", "192.0.2.1", "of the family before it"),
        ("2001:db8::/32 via 192.0.2.1", "192.0.2.1", "no IPv4 next hop"),
        ("10.0.0.0/8 dve eth0", "dve", "did you mean `dev`"),
        ("10.0.0.0/8 metrc 5", "metrc", "did you mean `metric`"),
        ("10.0.0.0/8 dev eth0 tabel 7", "tabel", "did you mean `table`"),
        ("10.0.0.0/8 dev an-interface-too-long", "an-interface-too-long", "1 to 15 characters"),
        ("10.0.0.0/8 dev eth0 table uplink", "uplink", "write the number"),
        ("10.0.0.0/8 dev eth0 table 0", "0", "from 1 to 4294967295"),
        ("10.0.0.0/8 dev eth0 metric high", "high", "a number from 0"),
        ("10.0.0.0/8 dev eth0 scope near", "near", "global, site, link"),
        ("2001:db8::/32 dev eth0 scope link", "scope", "only IPv4"),
        ("2001:db8::/32 dev eth0 tos 16", "tos", "only IPv4"),
        ("10.0.0.0/8 dev eth0 pref high", "pref", "only IPv6"),
        ("10.0.0.0/8 from 10.1.0.0/16 dev eth0", "from", "write a rule"),
        ("10.0.0.0/8 dev eth0 src 2001:db8::1", "2001:db8::1", "expected an IPv4 address"),
        ("blackhole 10.0.0.0/8 via 192.0.2.1", "via", "has no next hop"),
        ("10.0.0.0/8 dev eth0 proto static", "proto", "vouchd's mark"),
        ("10.0.0.0/8 gw 192.0.2.1", "gw", "write `via`"),
        ("10.0.0.0/8 via 192.0.2.1 or 192.0.2.2", "or", "write `nexthop"),
        ("10.0.0.0/8 nhid 7", "nhid", "write the next hop itself"),
        ("10.0.0.0/8 encap mpls 100 dev eth0", "encap", "not supported"),
        ("2001:db8::/32 dev eth0 expires 60", "expires", "leave `expires` out"),
        ("10.0.0.0/8 via 192.0.2.1 weight 5", "weight", "after `nexthop`"),
        ("10.0.0.0/8 nexthop weight 5", "nexthop", "expected `via` or `dev`"),
        ("10.0.0.0/8 via 192.0.2.1 nexthop via 192.0.2.2", "via", "expected `via` after `nexthop`"),
        ("10.0.0.0/8 dev eth0 mtu 70000", "70000", "from 0 to 65535"),
        ("10.0.0.0/8 dev eth0 rtt soon", "soon", "a time like 100ms"),
        ("10.0.0.0/8 onlink", "onlink", "besides `onlink`"),
        ("-6 10.0.0.0/8 dev eth0", "10.0.0.0/8", "IPv6 destination"),
    ] {
        let mistake = Route::parse(text).expect_err(text);
        assert_eq!(&text[mistake.span.clone()], wrong, "{text}: {mistake}");
        assert!(mistake.message.contains(says), "{text}: {mistake}");
    }
}

#[test]
fn mistake_in_a_rule_names_its_place_and_what_to_do() {
    for (text, wrong, says) in [
        ("", "", "expected what to do"),
        ("from 10.0.0.0/8 priority 10", "", "expected what to do"),
        ("from 10.0.0.0/8 lookup 100", "", "`priority` is missing"),
        ("from 10.0.0.0/8 lookup 100 priority 0", "0", "from 1 to"),
        ("from 10.0.0.0/8 lookup uplink priority 10", "uplink", "write the number"),
        ("from 10.0.0.0/8 to 2001:db8::/32 lookup 100 priority 10", "to", "one family"),
        ("-6 from 10.0.0.0/8 lookup 100 priority 10", "from", "one family"),
        ("from 10.0.0.0/8 lookup 100 blackhole priority 10", "blackhole", "one action"),
        ("form 10.0.0.0/8 lookup 100 priority 10", "form", "did you mean `from`"),
        ("from 10.0.0.0/8 lokup 100 priority 10", "lokup", "did you mean `lookup`"),
        ("fwmark 0x100/0xff lookup 100 priority 10", "0x100/0xff", "no packet matches"),
        ("dport 2000-1000 lookup 100 priority 10", "2000-1000", "the lower one first"),
        ("ipproto quic lookup 100 priority 10", "quic", "one of: icmp"),
        ("goto 5 priority 10", "goto", "above 10"),
        ("blackhole suppress_prefixlength 0 priority 10", "suppress_prefixlength", "only a rule with `lookup`"),
        ("lookup 100 priority 10 protocol static", "protocol", "vouchd's mark"),
        ("lookup 100 priority 10 realms 5", "realms", "not supported"),
    ] {
        let mistake = Rule::parse(text).expect_err(text);
        assert_eq!(&text[mistake.span.clone()], wrong, "{text}: {mistake}");
        assert!(mistake.message.contains(says), "{text}: {mistake}");
    }
}

/// Words in any order. Most texts are wrong; what parses must survive being printed.
fn pieces() -> impl Strategy<Value = String> {
    let words: Vec<&str> = ROUTES.iter().chain(&RULES).flat_map(|text| text.split(' ')).collect();
    let lines: Vec<&str> = ROUTES.iter().chain(&RULES).copied().collect();
    let line = prop::sample::select(lines);
    (line, vec((any::<prop::sample::Index>(), prop::sample::select(words), any::<bool>()), 0..4)).prop_map(
        |(line, edits)| {
            let mut line: Vec<&str> = line.split(' ').collect();
            for (at, word, replace) in edits {
                let at = at.index(line.len());
                if replace { line[at] = word } else { line.insert(at, word) }
            }
            line.join(" ")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn whatever_parses_is_printed_as_text_that_parses_to_the_same(text in pieces()) {
        if let Ok(parsed) = Route::parse(&text) {
            prop_assert_eq!(Route::parse(&parsed.to_string()), Ok(parsed));
        }
        if let Ok(parsed) = Rule::parse(&text) {
            prop_assert_eq!(Rule::parse(&parsed.to_string()), Ok(parsed));
        }
    }

    #[test]
    fn no_text_panics_and_every_mistake_is_inside_of_it(text in "\\PC{0,60}") {
        for span in [Route::parse(&text).err(), Rule::parse(&text).err()].into_iter().flatten().map(|mistake| mistake.span) {
            prop_assert!(text.get(span).is_some());
        }
    }
}
