//! The counters of `vouchd status`.

use std::net::{IpAddr, Ipv4Addr};

use vouchd_net::{Received, Sender};
use vouchd_wire::{AdvertInterval, Advertisement, Auth, ChecksumForm, GROUP_V4, Priority, Version, Vrid};

use super::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

fn payload(priority: u8) -> Vec<u8> {
    let advertisement = Advertisement {
        version: Version::V2,
        vrid: Vrid::new(7).expect("not 0"),
        priority: Priority::new(priority),
        interval: AdvertInterval::ONE_SECOND,
        addresses: vec![VIP],
        auth: Auth::None,
    };
    advertisement.encode(PEER, IpAddr::V4(GROUP_V4), ChecksumForm::PseudoHeader).expect("it is valid")
}

fn hear(engine: &mut Engine<Recorder>, now: Time, ttl: u8, payload: &[u8]) {
    let received = Received {
        source: PEER,
        destination: IpAddr::V4(GROUP_V4),
        ttl,
        sender: Sender::Unknown,
        payload: 0..payload.len(),
    };
    engine.packet(now, "eth0", &received, payload);
}

#[test]
fn row_101_status_counts_what_was_sent_received_and_discarded_by_reason() {
    let mut engine = active(&web(""));
    let damaged = {
        let mut damaged = payload(50);
        damaged[6] ^= 1;
        damaged
    };
    hear(&mut engine, at(3_800), 255, &payload(0));
    hear(&mut engine, at(3_810), 255, &payload(50));
    for (ttl, packet) in [(254, payload(200)), (64, payload(200)), (255, damaged)] {
        hear(&mut engine, at(3_820), ttl, &packet);
    }
    hear(&mut engine, at(3_830), 255, &payload(200));

    let (instances, _) = engine.snapshot(at(4_000));
    let counters = &instances[0].advertisements;
    assert_eq!((counters.received, counters.received_priority_zero), (3, 1));
    assert_eq!(counters.discarded.get("ttl"), Some(&2));
    assert_eq!(counters.discarded.get("checksum"), Some(&1));
    assert_eq!(counters.discarded.len(), 2, "no reason without a packet: {:?}", counters.discarded);
    // On becoming active, an answer to each of the two worse ones, and a last one before stepping back.
    assert_eq!((counters.sent, counters.sent_priority_zero), (4, 0));
    assert_eq!((instances[0].transitions, instances[0].cause.as_str()), (3, "better"));
    let peer = &instances[0].peers[0];
    assert_eq!((peer.accepted, peer.last_discard.as_deref()), (3, Some("checksum")));

    engine.health(at(4_100), "web", Health::Fault { reason: "down".to_owned() });
    let (instances, _) = engine.snapshot(at(4_200));
    assert_eq!((instances[0].transitions, instances[0].cause.as_str()), (4, "health_fault"));
}
