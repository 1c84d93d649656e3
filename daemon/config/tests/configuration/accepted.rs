//! Valid configurations, and the values that they give.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use vouchd_config::{
    Daemon, ExitCodes, Garp, Group, Instance, Limits, Multicast, Peer, ProcessGrant, Track, VirtualAddress, VirtualMac,
    resolve,
};
use vouchd_health::{Influence, OnError, Thresholds, Weight};
use vouchd_wire::{AdvertInterval, Auth, ChecksumForm, Family, Priority, Version, Vrid};

use crate::config;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn weight(weight: i16) -> Option<Weight> {
    Weight::try_from(weight).ok()
}

/// The example of the manual's first page.
const EXAMPLE: &str = r#"
[daemon]
name = "nginx01"
plugin_dir = "/etc/vouchd/plugins"      # besides the built-ins in /usr/lib/vouchd/plugins
control = "/run/vouchd/control.sock"

[check.nginx]
plugin = "process"
params = { name = "nginx" }
interval = "1s"
timeout = "500ms"
rise = 2
fall = 2
weight = -40                            # leave out: hard fault
allow = { process = ["nginx"] }

[check.site]
plugin = "http"
params = { url = "http://127.0.0.1/", status = 200 }
allow = { http = ["http://127.0.0.1/"] }

[instance.web_server_group]
interface = "ens33"
virtual_router_id = 55
priority = 100
version = 2
advert_interval = "1s"
auth = { type = "pass", password = "1234" }
preempt = true
addresses = ["192.168.175.100"]
unicast = { source = "192.168.175.101", peers = ["192.168.175.102"] }   # leave out: multicast
checks = ["nginx", { name = "site", weight = -20 }]
"#;

#[test]
fn documented_example_gives_its_values() {
    let config = config(EXAMPLE);
    assert_eq!(config.daemon.name.as_deref(), Some("nginx01"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);

    let [nginx, site] = config.checks.as_slice() else { panic!("two checks") };
    assert_eq!((nginx.name.as_str(), nginx.plugin.as_str()), ("nginx", "process"));
    assert_eq!(nginx.timeout, Duration::from_millis(500));
    assert_eq!(nginx.thresholds, Thresholds { rise: 2, fall: 2 });
    assert_eq!(nginx.influence, Influence { weight: weight(-40), ..Influence::default() });
    assert_eq!(nginx.grants.process, ProcessGrant::Names(vec!["nginx".into()]));
    assert_eq!(
        site.params,
        [("url".to_owned(), "http://127.0.0.1/".to_owned()), ("status".to_owned(), "200".to_owned())]
    );

    let [instance] = config.instances.as_slice() else { panic!("one instance") };
    assert_eq!(Ok(instance.vrid), Vrid::new(55));
    assert_eq!(instance.auth, Auth::simple(b"1234"));
    assert_eq!(instance.addresses, [VirtualAddress::new(ip("192.168.175.100"), 32)]);
    let unicast = instance.unicast.as_ref().expect("unicast");
    assert_eq!(unicast.sources, [ip("192.168.175.101")]);
    assert_eq!(unicast.peers, [Peer { address: ip("192.168.175.102"), hop_limit: 255 }]);
    let uses: Vec<_> = instance.checks.iter().map(|u| (u.check.as_str(), u.influence.weight)).collect();
    assert_eq!(uses, [("nginx", weight(-40)), ("site", weight(-20))]);
    assert_eq!(site.influence.weight, None, "an override is the instance's own");
}

#[test]
fn omitted_keys_have_documented_defaults() {
    let config = config(
        "[check.c]\nplugin = \"p\"\n[instance.a]\ninterface = \"e\"\nvirtual_router_id = 1\n\
         addresses = [\"192.0.2.1\"]\nchecks = [\"c\"]\n",
    );
    assert_eq!(config.daemon, Daemon::default());
    assert_eq!(config.daemon.control, PathBuf::from("/run/vouchd/control.sock"));

    let check = &config.checks[0];
    assert_eq!(check.interval, Duration::from_secs(1));
    assert_eq!(check.timeout, Duration::from_secs(1));
    assert_eq!(check.fast_interval, Duration::from_millis(100));
    assert_eq!(check.thresholds, Thresholds { rise: 1, fall: 1 });
    assert_eq!(check.influence, Influence::default());
    assert_eq!(check.influence.on_error, OnError::LastResort);
    assert_eq!(check.grants.process, ProcessGrant::None);
    assert_eq!(check.limits, Limits::default());
    assert_eq!((check.exit_codes, check.sha256.as_deref()), (ExitCodes::Plain, None));
    assert_eq!(check.limits.memory, 16 * 1024 * 1024);

    let instance = &config.instances[0];
    assert_eq!(instance.priority, Priority::DEFAULT);
    assert_eq!(instance.version, Version::V2);
    assert_eq!(instance.advert_interval, AdvertInterval::ONE_SECOND);
    assert_eq!(instance.auth, Auth::None);
    assert_eq!(instance.checksum, ChecksumForm::PseudoHeader);
    assert_eq!(instance.garp, Garp::default());
    assert!(instance.preempt && instance.lease && !instance.adopt && instance.unicast.is_none());
}

#[test]
fn copies_are_adopted_only_if_configured() {
    for (line, expected) in [("", false), ("adopt = false", false), ("adopt = true", true)] {
        let text =
            format!("[instance.a]\ninterface = \"e\"\nvirtual_router_id = 1\naddresses = [\"192.0.2.1\"]\n{line}\n");
        assert_eq!(config(&text).instances[0].adopt, expected, "{line}");
    }
}

#[test]
fn every_key_is_read() {
    let config = config(
        r#"
        [daemon]
        builtin_plugin_dir = "/opt/plugins"
        cache_dir = "off"
        user = "checks"
        plugin_keys = ["RWQPWdDO1o3mzp6LbizY/vhj9fzPOp/BqDEKcuwKkfD/1zfLFMiKqLLv"]
        error_grace = "500ms"
        realtime = false

        [check.c]
        plugin = "p"
        warn_weight = -5
        adjust = [-50, 10]
        on_error = "hold"
        exit_codes = "nagios"
        sha256 = "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"
        allow = { process = true, tcp = ["db.local:*"] }

        [check.c.limits]
        memory = "32MiB"
        cpu = "1s"
        table_elements = 500
        output = "1KiB"
        log_lines = 0
        connections = 1
        probes = 2
        probe_bytes = "4KiB"

        [instance.a]
        interface = "e"
        virtual_router_id = 255
        priority = 255
        version = 3
        advert_interval = "40950ms"
        preempt = false
        addresses = ["192.0.2.1/24", "192.0.2.2"]
        unicast = { source = "192.0.2.1", peers = ["192.0.2.3"] }   # owns it
        checks = [{ name = "c", warn_weight = -6, adjust = [0, 0], on_error = "fail" }]
        lease = "off"
        checksum = "message-only"
        garp = { repeat = 1, delay = "0s", refresh = "1m", refresh_repeat = 2 }
        "#,
    );
    let daemon = &config.daemon;
    assert_eq!((daemon.cache_dir.as_ref(), daemon.user.as_deref()), (None, Some("checks")));
    assert_eq!((daemon.error_grace, daemon.realtime), (Duration::from_millis(500), false));
    assert_eq!(daemon.plugin_keys, ["RWQPWdDO1o3mzp6LbizY/vhj9fzPOp/BqDEKcuwKkfD/1zfLFMiKqLLv"]);
    assert_eq!(daemon.builtin_plugin_dir, PathBuf::from("/opt/plugins"));

    let check = &config.checks[0];
    let sha256 = "0123456789abcdef".repeat(4);
    assert_eq!((check.exit_codes, check.sha256.as_ref()), (ExitCodes::Nagios, Some(&sha256)));
    let influence = Influence { weight: None, warn_weight: -5, adjust: Some((-50, 10)), on_error: OnError::Hold };
    assert_eq!(check.influence, influence);
    assert_eq!(check.grants.process, ProcessGrant::All);
    assert!(check.grants.permits_tcp("db.local", 5432).is_ok());
    let limits = Limits {
        memory: 32 << 20,
        cpu: Duration::from_secs(1),
        table_elements: 500,
        output: 1024,
        log_lines: 0,
        connections: 1,
        probes: 2,
        probe_bytes: 4096,
    };
    assert_eq!(check.limits, limits);

    let instance = &config.instances[0];
    assert_eq!(instance.priority, Priority::OWNER);
    assert_eq!(instance.advert_interval.centiseconds(), 4095);
    assert_eq!(instance.addresses[0], VirtualAddress::new(ip("192.0.2.1"), 24));
    let influence = Influence { weight: None, warn_weight: -6, adjust: Some((0, 0)), on_error: OnError::Fail };
    assert_eq!(instance.checks[0].influence, influence);
    assert_eq!(instance.checksum, ChecksumForm::MessageOnly);
    assert!(!instance.lease && !instance.preempt);
    let garp = Garp { repeat: 1, delay: Duration::ZERO, refresh: Duration::from_secs(60), refresh_repeat: 2 };
    assert_eq!(instance.garp, garp);
}

#[test]
fn default_times_of_a_check_follow_its_interval() {
    for (line, timeout, fast) in [
        ("interval = \"10ms\"", 100, 10),
        ("interval = \"200ms\"", 200, 50),
        ("interval = \"1m\"", 1000, 6000),
        ("interval = \"10s\"\ntimeout = \"20s\"\nfast_interval = \"10ms\"", 20_000, 10),
    ] {
        let config = config(&format!("[check.c]\nplugin = \"p\"\n{line}\n"));
        let check = &config.checks[0];
        assert_eq!(check.timeout, Duration::from_millis(timeout), "{line}");
        assert_eq!(check.fast_interval, Duration::from_millis(fast), "{line}");
    }
}

#[test]
fn parameters_are_flattened_in_file_order() {
    let config = config(
        "[check.c]\nplugin = \"p\"\n[check.c.params]\nz = \"last first\"\nstatus = [200, 0xff]\n\
         tls = { verify = false, \"a.b\" = 1.5 }\nheader = [{ name = \"A\", value = \"1\" }, { name = \"B\", value = \"2\" }]\n\
         day = 1979-05-27\nempty = []\n",
    );
    let params: Vec<(&str, &str)> = config.checks[0].params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        params,
        [
            ("z", "last first"),
            ("status", "200"),
            ("status", "255"),
            ("tls.verify", "false"),
            ("tls.a.b", "1.5"),
            ("header.name", "A"),
            ("header.value", "1"),
            ("header.name", "B"),
            ("header.value", "2"),
            ("day", "1979-05-27"),
        ]
    );
}

/// Every file that an editing mistake may leave gives a result, and errors that point into the file.
#[test]
fn damaged_file_never_panics() {
    let mut damaged: Vec<String> = EXAMPLE.char_indices().map(|(at, _)| EXAMPLE[..at].to_owned()).collect();
    for (at, c) in EXAMPLE.char_indices() {
        for insert in ["", "\"", "=", "[", "0", "é", "\n", "\u{0}"] {
            damaged.push(format!("{}{insert}{}", &EXAMPLE[..at], &EXAMPLE[at + c.len_utf8()..]));
        }
    }
    let mut refused = 0;
    for text in damaged {
        let lines = text.lines().count();
        let Err(errors) = resolve(vec![(PathBuf::from("v.toml"), text)]) else { continue };
        refused += 1;
        assert!(!errors.to_string().is_empty());
        for problem in errors.problems() {
            let place = problem.place.as_ref().expect("a place in the file");
            assert!((1..=lines + 1).contains(&place.line()), "{problem}");
            assert_eq!(problem.headline().lines().count(), 1, "{problem}");
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn empty_configuration_is_valid() {
    let config = config("");
    assert!(config.checks.is_empty() && config.instances.is_empty());
}

#[test]
fn check_survives_serialization() {
    for check in config(EXAMPLE).checks {
        let text = toml::to_string(&check).expect("serializes");
        assert_eq!(toml::from_str::<vouchd_config::Check>(&text).expect("deserializes"), check);
    }
}

/// An instance with these lines.
fn instance(lines: &str) -> Instance {
    let text = format!("[instance.web]\ninterface = \"eth0\"\nvirtual_router_id = 55\n{lines}\n");
    config(&text).instances.remove(0)
}

fn ips(addresses: &[VirtualAddress]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.ip).collect()
}

#[test]
fn instance_with_both_families_is_one_virtual_router_of_each() {
    let both = instance(
        "addresses = [\"192.0.2.1\", \"2001:db8::1/64\", \"fe80::1\"]\n\
         unicast = { source = [\"192.0.2.11\", \"fe80::11\"], peers = [\"192.0.2.12\", \"fe80::12\"] }",
    );
    assert_eq!(both.families, [Family::V4, Family::V6]);
    let (v4, v6) = (both.of_family(Family::V4), both.of_family(Family::V6));
    assert_eq!((v4.version, v6.version), (Version::V2, Version::V3));
    assert_eq!(ips(&v4.addresses), [ip("192.0.2.1")]);
    assert_eq!(ips(&v6.addresses), [ip("fe80::1"), ip("2001:db8::1")], "a link-local address comes first");
    assert!(v6.addresses[0].flags.deprecated && !v6.addresses[1].flags.deprecated, "only a /128");
    let unicast = v6.unicast.expect("unicast");
    assert_eq!(unicast.sources, [ip("fe80::11")]);
    assert_eq!(unicast.peers, [Peer { address: ip("fe80::12"), hop_limit: 255 }]);
}

#[test]
fn row_9_missing_link_local_address_is_added_with_a_warning() {
    let text =
        "[instance.web]\ninterface = \"eth0\"\nvirtual_router_id = 10\naddresses = [\"2001:db8::1\"]\nchecks = []\n";
    let config = config(text);
    assert_eq!(ips(&config.instances[0].addresses), [ip("fe80::200:5eff:fe00:20a"), ip("2001:db8::1")]);
    assert!(config.warnings.iter().any(|warning| warning.message.contains("fe80::200:5eff:fe00:20a")));
}

#[test]
fn keys_of_every_set_up_are_read() {
    let web = instance(
        "addresses = []\nextra_addresses = [\"198.51.100.1\", \"2001:db8::2/64\"]\nversion = [2, 3]\nrouters = 2\n\
         virtual_mac = { name = \"vrrp55\" }\ntrack = [\"eth1\", { interface = \"ppp*\", weight = -20 }]\n\
         track_link = false\nlink_delay = \"500ms\"\npreempt_delay = \"10s\"\nstartup_delay = \"5s\"\n\
         down_timer_adverts = 5\nmulticast = { group = \"224.0.0.200\", source = \"192.0.2.5\" }",
    );
    assert_eq!((web.version, web.also_version_2), (Version::V3, true));
    assert_eq!((web.addresses.len(), web.extra_addresses.len(), web.routers), (0, 2, Some(2)));
    assert_eq!(web.virtual_mac, Some(VirtualMac { name: Some("vrrp55".to_owned()) }));
    assert!(!web.accept, "the default with a virtual MAC (RFC 9568 section 6.1)");
    let track = |interface: &str, weight| Track { interface: interface.to_owned(), weight };
    assert_eq!(web.track, [track("eth1", None), track("ppp*", Some(-20))]);
    assert!(!web.track_link);
    assert_eq!(web.link_delay, Duration::from_millis(500));
    assert_eq!((web.preempt_delay, web.startup_delay), (Duration::from_secs(10), Duration::from_secs(5)));
    assert_eq!(web.down_timer_adverts, 5);
    assert_eq!(web.multicast, Multicast { groups: vec![ip("224.0.0.200")], sources: vec![ip("192.0.2.5")] });
    assert_eq!(web.families, [Family::V4]);
}

#[test]
fn address_has_the_attributes_of_its_table() {
    let web = instance(
        "addresses = [{ address = \"192.0.2.1/24\", interface = \"eth1\", label = \"eth1:vip\", scope = \"link\", \
         broadcast = true, no_prefix_route = true }]",
    );
    let [address] = web.addresses.as_slice() else { panic!("one address") };
    assert_eq!(address.interface.as_deref(), Some("eth1"));
    assert_eq!(address.label.as_deref(), Some("eth1:vip"));
    assert_eq!((address.scope, address.broadcast), (253, Some(Ipv4Addr::new(192, 0, 2, 255))));
    assert!(address.flags.no_prefix_route && !address.flags.deprecated);
}

#[test]
fn group_gives_its_checks_and_tracked_interfaces_to_its_instances() {
    let instance = |name: &str, vrid: u8| {
        format!(
            "[instance.{name}]\ninterface = \"eth0\"\nvirtual_router_id = {vrid}\naddresses = [\"192.0.2.{vrid}\"]\n"
        )
    };
    let text = format!(
        "[check.c]\nplugin = \"p\"\n{}{}[group.g]\ninstances = [\"a\", \"b\"]\nchecks = [\"c\"]\ntrack = [\"uplink\"]\n",
        instance("a", 1),
        instance("b", 2)
    );
    let config = config(&text);
    assert_eq!(config.groups, [Group { name: "g".to_owned(), instances: vec!["a".to_owned(), "b".to_owned()] }]);
    for instance in &config.instances {
        assert_eq!((instance.checks.len(), instance.track.len()), (1, 1), "{}", instance.name);
    }
}

#[test]
fn same_virtual_router_id_is_allowed_where_routers_never_meet() {
    let instance =
        |name: &str, lines: &str| format!("[instance.{name}]\ninterface = \"eth0\"\nvirtual_router_id = 7\n{lines}\n");
    let unicast = |address: &str, peer: &str| {
        format!("addresses = [\"{address}\"]\nunicast = {{ source = \"192.0.2.11\", peers = [\"{peer}\"] }}")
    };
    let group =
        |address: &str, group: &str| format!("addresses = [\"{address}\"]\nmulticast = {{ group = \"{group}\" }}");
    for (first, second) in [
        ("addresses = [\"192.0.2.1\"]".to_owned(), "addresses = [\"fe80::1\"]".to_owned()),
        (unicast("192.0.2.1", "192.0.2.12"), unicast("192.0.2.2", "192.0.2.13")),
        (group("192.0.2.1", "224.0.0.200"), group("192.0.2.2", "224.0.0.201")),
    ] {
        config(&format!("{}{}", instance("a", &first), instance("b", &second)));
    }
}
