//! What the interface, its flaps, and the time since the boot do to a virtual router.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vouchd_config::{Config, Instance};
use vouchd_net::LinkState;
use vouchd_net::double::Recorder;

use super::{Engine, SOURCE, Startup, active, at, down, fit, link_with, started, state, up, web, words};

const DELAY: Duration = Duration::from_millis(500);

/// The instance `web` with changed settings.
fn with(change: impl FnOnce(&mut Instance)) -> Config {
    let mut config = web("");
    change(&mut config.instances[0]);
    config
}

fn reason(engine: &Engine<Recorder>) -> String {
    engine.snapshot(at(60_000)).0[0].reason.clone()
}

#[test]
fn flap_that_is_shorter_than_link_delay_costs_nothing() {
    let mut engine = active(&with(|instance| instance.link_delay = DELAY));
    engine.link(at(4_000), "eth0", down());
    engine.timers(at(4_300));
    assert_eq!(state(&engine), "active");
    engine.network().take();
    engine.link(at(4_400), "eth0", up());
    assert_eq!(state(&engine), "active");
    // The switch has learned nothing while the cable was out.
    assert_eq!(words(&engine.network().take()), ["announce 5 times"]);
    engine.timers(at(4_600));
    assert_eq!(state(&engine), "active");
}

#[test]
fn carrier_that_stays_away_counts_after_link_delay_and_back_only_after_it_again() {
    let mut engine = active(&with(|instance| instance.link_delay = DELAY));
    engine.link(at(4_000), "eth0", down());
    assert_eq!(engine.deadline().map(|deadline| deadline.since(at(0))), Some(Duration::from_millis(4_500)));
    engine.timers(at(4_500));
    assert_eq!((state(&engine), reason(&engine)), ("initialize".to_owned(), "link: eth0: no carrier".to_owned()));
    engine.link(at(5_000), "eth0", up());
    assert!(reason(&engine).contains("not yet for its link_delay of 500ms"), "{}", reason(&engine));
    engine.timers(at(5_499));
    assert_eq!(state(&engine), "initialize");
    engine.timers(at(5_500));
    assert_eq!(state(&engine), "backup");
}

#[test]
fn interface_that_goes_counts_at_once_and_one_that_is_up_at_the_start_too() {
    let mut engine = started(&with(|instance| instance.link_delay = DELAY));
    assert_eq!(state(&engine), "backup");
    engine.link(at(100), "eth0", LinkState::Missing);
    assert_eq!(state(&engine), "initialize");
}

#[test]
fn router_without_track_link_goes_on_without_a_carrier_but_not_without_an_interface() {
    let config = with(|instance| instance.track_link = false);
    let mut engine = active(&config);
    engine.link(at(4_000), "eth0", down());
    assert_eq!(state(&engine), "active");
    engine.network().take();
    engine.timers(at(5_000));
    assert!(words(&engine.network().take()).contains(&"priority 100 to 224.0.0.18".to_owned()));
    engine.link(at(5_100), "eth0", up());
    assert!(words(&engine.network().take()).contains(&"announce 5 times".to_owned()));
    engine.link(at(5_200), "eth0", LinkState::Missing);
    assert_eq!(state(&engine), "initialize");

    // The cable was out from the beginning.
    let mut engine = Engine::new(Recorder::default(), Startup::default());
    engine.configure(at(0), &config.instances, &config.groups, Default::default());
    engine.link(at(0), "eth0", down());
    engine.health(at(0), "web", fit(100));
    assert_eq!(state(&engine), "backup");
}

#[test]
fn new_mac_address_is_announced() {
    let mut engine = active(&web(""));
    engine.link(at(4_000), "eth0", link_with(Some([2, 0, 0, 0, 0, 1]), &[SOURCE]));
    assert_eq!(words(&engine.network().take()), ["announce 5 times"]);
    engine.link(at(4_100), "eth0", link_with(Some([2, 0, 0, 0, 0, 1]), &[SOURCE, Ipv4Addr::new(192, 0, 2, 9)]));
    assert!(words(&engine.network().take()).is_empty(), "another address is nothing to announce");
}

#[test]
fn configured_source_that_goes_is_a_fault_and_ends_when_it_comes_back() {
    let source = Ipv4Addr::new(198, 51, 100, 1);
    let config = with(|instance| instance.multicast.sources = vec![IpAddr::V4(source)]);
    let mut engine = started(&config);
    assert_eq!(engine.watched()[0].sources, [IpAddr::V4(source)].into());
    let missing = "link: neither eth0 nor another interface has the address 198.51.100.1";
    assert_eq!((state(&engine), reason(&engine)), ("initialize".to_owned(), missing.to_owned()));
    engine.link(at(100), "eth0", link_with(None, &[SOURCE, source]));
    assert_eq!(state(&engine), "backup");
    engine.link(at(200), "eth0", up());
    assert_eq!(reason(&engine), missing);
}

#[test]
fn instance_waits_for_the_later_of_startup_delay_and_delay_after_boot() {
    // The clock of these tests was started 1,000 s ago.
    for (startup, after_boot, expected) in [(0, 0, 0), (30, 0, 30), (30, 1_010, 30), (30, 1_050, 50), (0, 900, 0)] {
        let config = with(|instance| instance.startup_delay = Duration::from_secs(startup));
        let settings = Startup { daemon: at(0), after_boot: Duration::from_secs(after_boot) };
        let mut engine = Engine::new(Recorder::default(), settings);
        engine.configure(at(0), &config.instances, &config.groups, Default::default());
        engine.link(at(0), "eth0", up());
        engine.health(at(0), "web", fit(100));
        if expected > 0 {
            engine.timers(at(expected * 1_000 - 1));
            assert_eq!(state(&engine), "initialize", "{startup} {after_boot}");
            // A reload makes it no longer.
            engine.configure(at(expected * 1_000 - 1), &config.instances, &[], super::healthy(90));
            engine.timers(at(expected * 1_000));
        }
        assert_eq!(state(&engine), "backup", "{startup} {after_boot}");
    }
}

#[test]
fn instance_of_a_later_reload_does_not_wait_for_the_start_of_the_daemon() {
    let config = with(|instance| instance.startup_delay = Duration::from_secs(30));
    let mut engine = Engine::new(Recorder::default(), Startup { daemon: at(0), after_boot: Duration::ZERO });
    engine.configure(at(60_000), &config.instances, &[], super::healthy(100));
    engine.link(at(60_000), "eth0", up());
    assert_eq!(state(&engine), "backup");
}

/// Two instances with the same VRID on the interface, told apart by these keys.
fn twins(one: &str, other: &str) -> Engine<Recorder> {
    let instance = |name: &str, last: u8, keys: &str| {
        format!(
            "[instance.{name}]\ninterface = \"eth0\"\nvirtual_router_id = 7\nversion = 3\n\
             addresses = [\"192.0.2.{last}\"]\n{keys}\n"
        )
    };
    let config = super::config(&(instance("one", 100, one) + &instance("other", 101, other)));
    let mut engine = Engine::new(Recorder::default(), Startup::default());
    engine.configure(at(0), &config.instances, &[], Default::default());
    engine.link(at(0), "eth0", up());
    for name in ["one", "other"] {
        engine.health(at(0), name, fit(100));
    }
    engine
}

/// Passes an advertisement of these addresses, and returns what both instances have received and discarded.
fn advertised(
    engine: &mut Engine<Recorder>,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    address: u8,
) -> [(u64, usize); 2] {
    let advertisement = vouchd_wire::Advertisement {
        version: vouchd_wire::Version::V3,
        vrid: vouchd_wire::Vrid::new(7).unwrap(),
        priority: vouchd_wire::Priority::new(150),
        interval: vouchd_wire::AdvertInterval::ONE_SECOND,
        addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, address))],
        auth: vouchd_wire::Auth::None,
    };
    let (source, destination) = (IpAddr::V4(source), IpAddr::V4(destination));
    let packet = advertisement.encode(source, destination, vouchd_wire::ChecksumForm::PseudoHeader).unwrap();
    let sender = vouchd_net::Sender::Ethernet([2, 0, 0, 0, 0, 9]);
    let received = vouchd_net::Received { source, destination, ttl: 255, sender, payload: 0..packet.len() };
    engine.packet(at(100), "eth0", &received, &packet);
    let instances = engine.snapshot(at(100)).0;
    [0, 1].map(|n| (instances[n].advertisements.received, instances[n].advertisements.discarded.len()))
}

#[test]
fn of_two_instances_with_one_vrid_each_hears_its_own_group() {
    let groups = ["224.0.0.18", "239.0.0.18"];
    let [one, other] = groups.map(|group| format!("multicast = {{ group = \"{group}\" }}"));
    let mut engine = twins(&one, &other);
    let [one, other] = groups.map(|group| group.parse().unwrap());
    let peer = Ipv4Addr::new(192, 0, 2, 2);
    assert_eq!(advertised(&mut engine, peer, one, 100), [(1, 0), (0, 0)]);
    assert_eq!(advertised(&mut engine, peer, other, 101), [(1, 0), (1, 0)]);
    assert!(
        engine.groups("eth0")
            == [one, other, Ipv4Addr::new(224, 0, 0, 18)]
                .map(IpAddr::V4)
                .into_iter()
                .chain(["ff02::12".parse().unwrap()])
                .collect()
    );
}

#[test]
fn of_two_instances_with_one_vrid_each_hears_its_own_peers() {
    let peers = [2, 3].map(|last| Ipv4Addr::new(192, 0, 2, last));
    let [one, other] = peers.map(|peer| format!("unicast = {{ source = \"192.0.2.1\", peers = [\"{peer}\"] }}"));
    let mut engine = twins(&one, &other);
    assert_eq!(advertised(&mut engine, peers[0], SOURCE, 100), [(1, 0), (0, 0)]);
    assert_eq!(advertised(&mut engine, peers[1], SOURCE, 101), [(1, 0), (1, 0)]);
    // A stranger is no peer of either.
    assert_eq!(advertised(&mut engine, Ipv4Addr::new(192, 0, 2, 4), SOURCE, 100), [(1, 1), (1, 1)]);
}
