//! Instances with one state, and the two families of one instance.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use vouchd_net::double::Recorder;
use vouchd_net::{AddressState, InstanceKey, LinkState, Presence, Report, Sources};
use vouchd_vrrp::Health;
use vouchd_wire::Family;

use super::{Engine, SOURCE, Startup, at, config, down, fit, up, words};

const FIREWALL: &str = "
[instance.inside]
interface = \"eth0\"
virtual_router_id = 7
addresses = [\"192.0.2.100\"]
[instance.outside]
interface = \"eth1\"
virtual_router_id = 8
addresses = [\"198.51.100.100\"]
";

const GROUP: &str = "[group.firewall]\ninstances = [\"inside\", \"outside\"]\n";

fn states(engine: &Engine<Recorder>) -> Vec<(String, String)> {
    engine.snapshot(at(60_000)).0.into_iter().map(|instance| (instance.state, instance.cause)).collect()
}

fn both(state: &str, causes: [&str; 2]) -> Vec<(String, String)> {
    causes.map(|cause| (state.to_owned(), cause.to_owned())).to_vec()
}

/// The keeper has carried out the order of each instance.
fn installed(engine: &mut Engine<Recorder>, time: u64, keys: &[InstanceKey]) {
    for key in keys {
        let claim = engine.routers[key].claim();
        let state = |address: &vouchd_net::VirtualAddress| AddressState {
            address: address.clone(),
            presence: Presence::Ours,
            error: None,
            copies: Vec::new(),
        };
        let states = claim.addresses.iter().map(state).collect();
        let report =
            Report::Addresses { instance: key.clone(), active: claim.lifetime.is_some(), states, changes: Vec::new() };
        engine.report(at(time), report);
    }
}

/// Both instances are active since 3.7 s.
fn active(text: &str) -> Engine<Recorder> {
    let config = config(text);
    let mut engine = Engine::new(Recorder::default(), Startup::default());
    engine.configure(at(0), &config.instances, &config.groups, BTreeMap::new());
    engine.link(at(0), "eth0", up());
    engine.link(at(0), "eth1", up());
    engine.health(at(0), "inside", fit(100));
    assert_eq!(states(&engine)[0].0, if config.groups.is_empty() { "backup" } else { "initialize" });
    engine.health(at(0), "outside", fit(100));
    engine.timers(at(3_700));
    installed(&mut engine, 3_701, &["inside".into(), "outside".into()]);
    assert_eq!(states(&engine), both("active", ["silence", "silence"]));
    engine.network().take();
    engine
}

#[test]
fn fault_and_link_of_one_instance_move_the_whole_group() {
    let mut engine = active(&format!("{FIREWALL}{GROUP}"));
    engine.health(at(4_000), "inside", Health::Fault { reason: "nginx is gone".to_owned() });
    assert_eq!(
        words(&engine.network().take()),
        ["priority 0 to 224.0.0.18", "remove inside", "priority 0 to 224.0.0.18", "remove outside"]
    );
    assert_eq!(states(&engine), both("initialize", ["health_fault", "held"]));
    engine.health(at(5_000), "inside", fit(100));
    assert_eq!(states(&engine), both("backup", ["ready", "ready"]));
    engine.link(at(5_100), "eth1", down());
    assert_eq!(states(&engine), both("initialize", ["held", "link_down"]));
}

#[test]
fn instances_without_a_group_move_alone() {
    let mut engine = active(FIREWALL);
    engine.health(at(4_000), "inside", Health::Fault { reason: "nginx is gone".to_owned() });
    assert_eq!(words(&engine.network().take()), ["priority 0 to 224.0.0.18", "remove inside"]);
    assert_eq!(engine.snapshot(at(4_000)).0[0].group, None);
}

#[test]
fn lower_priority_of_one_instance_lowers_the_group_and_status_says_why() {
    let mut engine = active(&format!("{FIREWALL}{GROUP}"));
    engine.health(
        at(4_000),
        "outside",
        Health::Fit { priority: super::Priority::new(60), reason: "uplink".to_owned() },
    );
    let elections = words(&engine.network().take()).into_iter().filter(|word| word.starts_with("priority 0"));
    assert_eq!(elections.count(), 2);
    let (instances, _) = engine.snapshot(at(4_000));
    assert_eq!(instances.iter().map(|it| it.priority.effective).collect::<Vec<_>>(), [Some(60), Some(60)]);
    let group = instances[0].group.clone().expect("in a group");
    assert_eq!(
        (group.name.as_str(), &group.members[..]),
        ("firewall", &["inside".to_owned(), "outside".to_owned()][..])
    );
    let lowered = group.lowers.expect("lowered");
    assert_eq!((lowered.by, lowered.member.as_str(), lowered.reason.as_str()), (40, "outside", "uplink"));
    assert_eq!(instances[1].group.as_ref().and_then(|group| group.lowers.clone()), None);
}

#[test]
fn reload_that_makes_or_ends_a_group_moves_nothing() {
    let mut engine = active(FIREWALL);
    let health = || BTreeMap::from([("inside".to_owned(), fit(100)), ("outside".to_owned(), fit(100))]);
    for text in [format!("{FIREWALL}{GROUP}"), FIREWALL.to_owned()] {
        let config = config(&text);
        engine.configure(at(4_000), &config.instances, &config.groups, health());
        assert!(!words(&engine.network().take()).iter().any(|word| word.starts_with("priority")));
        assert_eq!(states(&engine), both("active", ["silence", "silence"]));
    }
}

#[test]
fn both_families_of_an_instance_have_one_state() {
    let text = "[instance.web]\ninterface = \"eth0\"\nvirtual_router_id = 7\n\
                addresses = [\"192.0.2.100\", \"fe80::1\", \"2001:db8::1\"]\n";
    let config = config(text);
    let mut engine = Engine::new(Recorder::default(), Startup::default());
    engine.configure(at(0), &config.instances, &config.groups, BTreeMap::new());
    let own: Ipv6Addr = "fe80::2".parse().unwrap();
    let link = |sources: Sources| {
        let addresses = [sources.v4.map(IpAddr::V4), sources.v6.map(IpAddr::V6)].into_iter().flatten().collect();
        LinkState::Up { index: 2, mac: None, sources, addresses }
    };
    engine.health(at(0), "web", fit(100));
    engine.link(at(0), "eth0", link(Sources { v4: Some(SOURCE), v6: None }));
    assert_eq!(states(&engine), both("initialize", ["held", "link_down"]), "no IPv6 address yet");
    engine.link(at(100), "eth0", link(Sources { v4: Some(SOURCE), v6: Some(own) }));
    assert_eq!(states(&engine), both("backup", ["ready", "ready"]));
    engine.timers(at(3_800));
    installed(&mut engine, 3_801, &[InstanceKey::new("web", Family::V4), InstanceKey::new("web", Family::V6)]);
    assert_eq!(states(&engine), both("active", ["silence", "silence"]));
    let sent = words(&engine.network().take());
    assert!(sent.contains(&"priority 100 to 224.0.0.18".to_owned()), "{sent:?}");
    assert!(sent.contains(&"priority 100 to ff02::12".to_owned()), "{sent:?}");
    let reason = engine.snapshot(at(4_000)).0[0].group.clone().map(|group| group.members);
    assert_eq!(reason, Some(vec!["web (IPv4)".to_owned(), "web (IPv6)".to_owned()]));
}
