//! What a reload changes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vouchd_net::double::{Call, Recorder};
use vouchd_net::{LinkState, Sources};

use super::{SOURCE, active, at, config, fit, healthy, installed, state, up, web, words};
use crate::engine::Engine;

#[test]
fn reload_gives_one_order_for_the_addresses_of_all_instances() {
    let two = |web: &str, dns: &str| {
        let text = "interface = \"eth0\"\n";
        config(&format!(
            "[instance.web]\n{text}virtual_router_id = 7\naddresses = [{web}]\n\
             [instance.dns]\n{text}virtual_router_id = 8\naddresses = [{dns}]\n"
        ))
    };
    let mut engine = Engine::new(Recorder::default(), Default::default());
    let healthy = || BTreeMap::from(["web", "dns"].map(|name| (name.to_owned(), fit(100))));
    engine.configure(at(0), &two("\"192.0.2.100\", \"192.0.2.101\"", "\"192.0.2.102\"").instances, &[], healthy());
    engine.link(at(0), "eth0", up());
    engine.timers(at(3_700));
    engine.report(at(3_700), installed("web", &[[192, 0, 2, 100], [192, 0, 2, 101]]));
    engine.report(at(3_700), installed("dns", &[[192, 0, 2, 102]]));
    engine.network().take();
    engine.configure(
        at(4_000),
        &two("\"192.0.2.100/24\"", "\"192.0.2.102\", \"192.0.2.101\"").instances,
        &[],
        healthy(),
    );
    let calls = engine.network().take();
    let orders: Vec<_> = calls.into_iter().filter(|call| matches!(call, Call::Address(_))).collect();
    assert_eq!(
        words(&orders),
        [" dns: 192.0.2.102/32 192.0.2.101/32 active web: 192.0.2.100/24 active", "announce 5 times"]
    );
}

#[test]
fn renamed_instance_is_the_same_virtual_router() {
    let mut engine = active(&web(""));
    let renamed =
        config("[instance.site]\ninterface = \"eth0\"\nvirtual_router_id = 7\naddresses = [\"192.0.2.100\"]\n");
    engine.configure(at(4_000), &renamed.instances, &[], BTreeMap::from([("site".to_owned(), fit(100))]));
    assert_eq!(words(&engine.network().take()), [" site: 192.0.2.100/32 active"]);
    assert_eq!(engine.snapshot(at(4_000)).0[0].name, "site");
    assert_eq!(state(&engine), "active");
}

#[test]
fn reload_leaves_unchanged_instances_alone_and_changes_others_in_place_if_it_can() {
    let mut engine = active(&web(""));
    engine.configure(at(4_000), &web("").instances, &[], healthy(100));
    assert_eq!(words(&engine.network().take()), [" web: 192.0.2.100/32 active"]);
    engine.configure(at(4_000), &web("preempt = false\n").instances, &[], healthy(100));
    assert!(words(&engine.network().take()).iter().all(|word| !word.starts_with("priority 0")));
    assert_eq!(state(&engine), "active");
    engine.configure(at(4_000), &web("version = 3\n").instances, &[], healthy(100));
    assert_eq!(words(&engine.network().take()), ["priority 100 to 224.0.0.18", " web: 192.0.2.100/32 active"]);
    let group = web("version = 3\nmulticast = { group = \"224.0.0.200\" }\n");
    engine.configure(at(4_000), &group.instances, &[], healthy(100));
    assert_eq!(words(&engine.network().take()), ["priority 0 to 224.0.0.18", " web: 192.0.2.100/32"]);
    assert_eq!(state(&engine), "backup", "it starts again with the known link and health");
    engine.configure(at(4_000), &[], &[], BTreeMap::new());
    assert!(engine.snapshot(at(4_000)).0.is_empty());
}

#[test]
fn reload_with_another_base_keeps_the_priority_of_a_failing_node() {
    let mut engine = active(&web("priority = 100\n"));
    engine.health(at(4_000), "web", fit(1));
    engine.timers(at(5_000));
    engine.network().take();
    engine.configure(at(5_500), &web("priority = 150\n").instances, &[], healthy(1));
    assert!(
        words(&engine.network().take()).iter().all(|word| word.starts_with("priority 1 ") || word.ends_with(" active"))
    );
    let (instances, _) = engine.snapshot(at(5_500));
    assert_eq!((instances[0].priority.base, instances[0].priority.effective), (150, Some(1)));
    engine.configure(at(5_600), &web("priority = 160\n").instances, &[], healthy(120));
    assert_eq!(
        words(&engine.network().take()),
        ["priority 120 to 224.0.0.18", " web: 192.0.2.100/32 active"],
        "no election"
    );
}

/// Whether the interface has an IPv6 address is not known before it is watched for it.
#[test]
fn second_family_that_a_reload_adds_costs_no_active_router_its_address() {
    let mut engine = active(&web(""));
    let both = config(
        "[instance.web]\ninterface = \"eth0\"\nvirtual_router_id = 7\naddresses = [\"192.0.2.100\", \"fe80::100\"]\n",
    );
    engine.configure(at(4_000), &both.instances, &[], healthy(100));
    assert!(words(&engine.network().take()).iter().all(|word| !word.starts_with("priority 0")));
    let states = |engine: &Engine<Recorder>| {
        engine.snapshot(at(4_000)).0.iter().map(|instance| instance.state.clone()).collect::<Vec<_>>()
    };
    assert_eq!(states(&engine), ["active", "initialize"]);
    let sources = Sources { v4: Some(SOURCE), v6: Some("fe80::1".parse().unwrap()) };
    let addresses = vec![IpAddr::V4(SOURCE), "fe80::1".parse().unwrap()];
    engine.link(at(4_010), "eth0", LinkState::Up { index: 2, mac: None, sources, addresses });
    assert_eq!(states(&engine)[0], "active");
    assert!(words(&engine.network().take()).iter().all(|word| !word.starts_with("priority 0")));
}
