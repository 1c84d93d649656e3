//! Instances with a virtual MAC.

use vouchd_net::{VirtualMacError, VirtualMacState};

use super::*;

const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 7];

/// Active with a virtual MAC, with the calls since then recorded.
fn with_virtual_mac(extra: &str) -> Engine<Recorder> {
    becoming_active(&web(&format!("virtual_mac = true\n{extra}")), at(3_700))
}

/// The sources of the frames sent since the last call.
fn senders(engine: &mut Engine<Recorder>) -> Vec<Option<[u8; 6]>> {
    let calls = engine.network().take();
    calls.iter().filter_map(|call| if let Call::Send { mac, .. } = call { Some(*mac) } else { None }).collect()
}

#[test]
fn row_3_multicast_advertisement_comes_from_the_virtual_mac() {
    let mut engine = with_virtual_mac("");
    assert_eq!(senders(&mut engine), [Some(MAC)]);
    engine.shutdown(at(3_800));
    assert_eq!(senders(&mut engine), [Some(MAC)], "priority 0 too");
}

#[test]
fn unicast_advertisement_comes_from_the_interfaces_own_mac() {
    let mut engine = with_virtual_mac("unicast = { source = \"192.0.2.1\", peers = [\"192.0.2.2\"] }");
    assert_eq!(senders(&mut engine), [None]);
}

#[test]
fn instance_is_out_while_its_virtual_mac_cannot_be_used() {
    let mut engine = with_virtual_mac("");
    let report = |error| {
        let state = VirtualMacState { exists: false, up: false, error, warning: None };
        Report::VirtualMac { instance: "web".into(), state }
    };
    engine.report(at(3_800), report(Some(VirtualMacError::NotSupported)));
    let (instances, _) = engine.snapshot(at(3_800));
    assert_eq!(instances[0].state, "initialize");
    assert!(instances[0].reason.contains("vrrp4.7: this kernel has no macvlan"), "{}", instances[0].reason);
    engine.report(at(3_900), report(None));
    assert_eq!(engine.snapshot(at(3_900)).0[0].state, "backup");
}

#[test]
fn own_advertisement_that_comes_back_from_the_virtual_mac_is_ignored() {
    let mut engine = with_virtual_mac("");
    let sent = engine.network().take().into_iter().find_map(|call| match call {
        Call::Send { payload, .. } => Some(payload),
        Call::Address(_) => None,
    });
    let payload = sent.expect("an advertisement");
    let received = vouchd_net::Received {
        source: IpAddr::V4(SOURCE),
        destination: IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
        ttl: 255,
        sender: Sender::Ethernet(MAC),
        payload: 0..payload.len(),
    };
    engine.packet(at(3_800), "eth0", &received, &payload);
    let (instances, _) = engine.snapshot(at(3_800));
    assert_eq!(instances[0].advertisements.received, 0);
    assert!(instances[0].advertisements.discarded.is_empty(), "{:?}", instances[0].advertisements.discarded);
}

#[test]
fn row_85_router_stays_out_while_the_interface_itself_has_an_address_even_as_its_owner() {
    for (priority, value) in [("", 100), ("priority = 255\n", 255)] {
        let mut engine = started(&web(&format!("virtual_mac = true\n{priority}")));
        engine.health(at(0), "web", fit(value));
        engine.report(at(0), reported(true, Presence::Ours, None, Vec::new()));
        assert_ne!(state(&engine), "initialize");
        let on_parent =
            HostCopy { at: VirtualAddress { interface: "eth0".into(), address: VIP, prefix: 24 }, own: false };
        engine.report(at(3_800), reported(false, Presence::Absent, None, vec![on_parent]));
        let (instances, _) = engine.snapshot(at(3_800));
        assert_eq!(instances[0].state, "initialize");
        assert!(instances[0].reason.contains("remove it there"), "{}", instances[0].reason);
        // It is gone; then the addresses are installed.
        engine.report(at(3_900), reported(false, Presence::Absent, None, Vec::new()));
        engine.report(at(3_900), reported(true, Presence::Ours, None, Vec::new()));
        assert_ne!(engine.snapshot(at(3_900)).0[0].state, "initialize");
    }
}
