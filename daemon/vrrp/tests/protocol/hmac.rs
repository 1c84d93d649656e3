//! Authentication by HMAC: what each mode accepts, rotation of keys, replayed packets.

use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::wire::hmac::{HmacKey, Sequence};
use vouchd_vrrp::wire::{Advertisement, ChecksumForm, Version};
use vouchd_vrrp::{Authenticity, Config, DiscardReason, Hmac, HmacMode, State};

use crate::bench::{Bench, GROUP, HIGHER, LOWER, config, fit, seconds};

/// A day in 2026.
const NOW: Duration = Duration::from_secs(1_790_000_000);

fn key(id: u8) -> HmacKey {
    HmacKey { id, secret: vec![id; 32] }
}

fn hmac(mode: HmacMode) -> Hmac {
    Hmac { keys: vec![key(1), key(2)], active_key: 1, mode, anti_replay: true, time_window: None }
}

/// A backup at priority 100 with these rules.
fn backup(hmac: Hmac) -> Bench {
    let mut bench = Bench::started(Config { hmac: Some(hmac), ..config(100) });
    bench.router.set_wall_clock(NOW);
    bench
}

fn sealed(bench: &Bench, priority: u8, key: &HmacKey, source: IpAddr, sequence: Sequence) -> Vec<u8> {
    let advertisement: Advertisement = bench.advertisement(priority);
    advertisement.encode_with_hmac(source, GROUP, ChecksumForm::PseudoHeader, key, sequence).expect("it is valid")
}

fn plain(bench: &Bench, priority: u8) -> Vec<u8> {
    bench.advertisement(priority).encode(HIGHER, GROUP, ChecksumForm::PseudoHeader).expect("it is valid")
}

/// Gives the packet to the router. Returns why it was discarded, if it was.
fn hear(bench: &mut Bench, source: IpAddr, payload: &[u8]) -> Option<DiscardReason> {
    let discarded = |bench: &Bench| DiscardReason::ALL.map(|reason| bench.router.counters().discarded(reason));
    let (before, deadline) = (discarded(bench), bench.router.deadline());
    bench.hear_bytes(source, GROUP, 255, payload);
    let after = discarded(bench);
    let reason = DiscardReason::ALL.into_iter().zip(before).zip(after).find(|((_, b), a)| a != b).map(|((r, _), _)| r);
    if reason.is_some() {
        assert_eq!(bench.router.deadline(), deadline, "a discarded packet touches no timer");
        assert_eq!(bench.router.state(), State::Backup);
    }
    reason
}

/// What the newest accepted packet of `source` proves.
fn authenticity(bench: &Bench, source: IpAddr) -> Option<Authenticity> {
    bench.router.sources().iter().find(|heard| heard.address == source)?.authenticity
}

#[test]
fn each_mode_accepts_what_its_step_of_the_roll_out_needs() {
    let forged = HmacKey { id: 1, secret: vec![9; 32] };
    for (mode, without, with_forged) in [
        (HmacMode::ReceiveOnly, None, Some(DiscardReason::HmacTag)),
        (HmacMode::SendOnly, None, None),
        (HmacMode::AcceptEither, None, Some(DiscardReason::HmacTag)),
        (HmacMode::Require, Some(DiscardReason::HmacMissing), Some(DiscardReason::HmacTag)),
    ] {
        let mut bench = backup(hmac(mode));
        let packet = plain(&bench, 200);
        assert_eq!(hear(&mut bench, HIGHER, &packet), without, "{mode:?}, no trailer");
        let packet = sealed(&bench, 200, &forged, HIGHER, Sequence::at(NOW));
        assert_eq!(hear(&mut bench, HIGHER, &packet), with_forged, "{mode:?}, another key");
        let packet = sealed(&bench, 200, &key(1), HIGHER, Sequence::at(NOW));
        assert_eq!(hear(&mut bench, HIGHER, &packet), None, "{mode:?}, the right key");
    }
}

/// A router without keys discards a trailer, so the first step of a roll-out must not send one.
#[test]
fn receive_only_sends_what_a_router_without_keys_accepts() {
    for (mode, accepted) in
        [(HmacMode::ReceiveOnly, 1), (HmacMode::SendOnly, 0), (HmacMode::AcceptEither, 0), (HmacMode::Require, 0)]
    {
        let mut sender = Bench::new(Config { hmac: Some(hmac(mode)), ..config(200) });
        sender.link_up(HIGHER);
        let advertisement = sender.advertisement(200);
        let (_, packet) = sender.router.packets(&advertisement).remove(0);
        let mut without = Bench::started(config(100));
        without.hear_bytes(HIGHER, GROUP, 255, &packet);
        assert_eq!(without.router.counters().received, accepted, "{mode:?}");
    }
}

#[test]
fn newest_accepted_packet_shows_whether_its_sender_authenticates() {
    let forged = HmacKey { id: 1, secret: vec![9; 32] };
    let mut bench = backup(hmac(HmacMode::SendOnly));
    let wrong = |reason| Some(Authenticity::Wrong(reason));
    let packets = [
        (plain(&bench, 200), Some(Authenticity::Missing)),
        (sealed(&bench, 200, &key(2), HIGHER, Sequence::at(NOW)), Some(Authenticity::Key(2))),
        (sealed(&bench, 200, &key(2), HIGHER, Sequence::at(NOW)), wrong(DiscardReason::HmacReplayed)),
        (sealed(&bench, 200, &key(3), HIGHER, Sequence::at(NOW)), wrong(DiscardReason::HmacKey)),
        (sealed(&bench, 200, &forged, HIGHER, Sequence::at(NOW)), wrong(DiscardReason::HmacTag)),
        (plain(&bench, 200), Some(Authenticity::Missing)),
    ];
    for (packet, shown) in packets {
        assert_eq!(hear(&mut bench, HIGHER, &packet), None);
        assert_eq!(authenticity(&bench, HIGHER), shown);
    }
    let mut without = Bench::started(config(100));
    let packet = plain(&without, 200);
    without.hear_bytes(HIGHER, GROUP, 255, &packet);
    assert_eq!(authenticity(&without, HIGHER), None, "a router without keys doesn't judge");
}

#[test]
fn change_of_keys_makes_no_old_packet_valid_again() {
    let mut bench = backup(hmac(HmacMode::Require));
    let packet = sealed(&bench, 200, &key(1), HIGHER, Sequence::at(NOW));
    assert_eq!(hear(&mut bench, HIGHER, &packet), None);
    let reload = |bench: &mut Bench, keys: Vec<HmacKey>| {
        let changed = Hmac { active_key: keys[0].id, keys, ..hmac(HmacMode::Require) };
        let config = Config { hmac: Some(changed), ..config(100) };
        bench.router.reconfigure(bench.now, config, fit(100)).expect("a valid change");
    };
    reload(&mut bench, vec![key(2), key(1)]);
    assert_eq!(hear(&mut bench, HIGHER, &packet), Some(DiscardReason::HmacReplayed));
    // A thief of key 1 has used up every sequence. The new key gives the router a fresh start.
    let last = Sequence { seconds: u32::MAX, fraction: u16::MAX, counter: u16::MAX };
    let stolen = sealed(&bench, 200, &key(1), HIGHER, last);
    assert_eq!(hear(&mut bench, HIGHER, &stolen), None);
    let packet = sealed(&bench, 200, &key(2), HIGHER, Sequence::at(NOW + Duration::from_secs(1)));
    assert_eq!(hear(&mut bench, HIGHER, &packet), Some(DiscardReason::HmacReplayed));
    reload(&mut bench, vec![key(2)]);
    assert_eq!(hear(&mut bench, HIGHER, &packet), None);
    assert_eq!(hear(&mut bench, HIGHER, &stolen), Some(DiscardReason::HmacKey));
}

#[test]
fn senders_beyond_the_bound_are_forgotten_and_not_refused() {
    let mut bench = backup(hmac(HmacMode::Require));
    for n in 1..=200_u8 {
        let source = IpAddr::from([198, 51, 100, n]);
        let packet = sealed(&bench, 200, &key(1), source, Sequence::at(NOW + Duration::from_secs(n.into())));
        assert_eq!(hear(&mut bench, source, &packet), None, "{source}");
    }
}

#[test]
fn row_20_router_without_keys_discards_a_trailer_by_its_length() {
    let mut bench = Bench::started(config(100));
    let packet = sealed(&bench, 200, &key(1), HIGHER, Sequence::at(NOW));
    assert_eq!(hear(&mut bench, HIGHER, &packet), Some(DiscardReason::Length));
}

#[test]
fn packets_with_any_configured_key_are_accepted_so_that_keys_can_rotate() {
    let mut bench = backup(hmac(HmacMode::Require));
    for (id, reason, shown) in [(1, None, 1), (2, None, 2), (3, Some(DiscardReason::HmacKey), 2)] {
        let sequence = Sequence::at(NOW + Duration::from_secs(id.into()));
        let packet = sealed(&bench, 200, &key(id), HIGHER, sequence);
        assert_eq!(hear(&mut bench, HIGHER, &packet), reason, "key {id}");
        assert_eq!(authenticity(&bench, HIGHER), Some(Authenticity::Key(shown)), "key {id}");
    }
}

#[test]
fn packet_is_accepted_once_and_no_older_one_after_it() {
    let mut bench = backup(hmac(HmacMode::Require));
    let at = |seconds| Sequence::at(NOW + Duration::from_secs(seconds));
    let (first, second) = (sealed(&bench, 200, &key(1), HIGHER, at(1)), sealed(&bench, 200, &key(1), HIGHER, at(2)));
    assert_eq!(hear(&mut bench, HIGHER, &second), None);
    for old in [&second, &first] {
        assert_eq!(hear(&mut bench, HIGHER, old), Some(DiscardReason::HmacReplayed));
    }
    // Each sender counts for itself.
    let other = sealed(&bench, 200, &key(1), LOWER, at(1));
    assert_eq!(hear(&mut bench, LOWER, &other), None);
    let copied = hear(&mut bench, LOWER, &second);
    assert_eq!(copied, Some(DiscardReason::Checksum), "a copy from another address has the wrong checksum");
}

#[test]
fn without_anti_replay_a_copy_is_accepted() {
    let mut bench = backup(Hmac { anti_replay: false, ..hmac(HmacMode::Require) });
    let packet = sealed(&bench, 200, &key(1), HIGHER, Sequence::at(NOW));
    assert_eq!([hear(&mut bench, HIGHER, &packet), hear(&mut bench, HIGHER, &packet)], [None, None]);
}

#[test]
fn packet_of_another_time_is_discarded() {
    let window = Some(Duration::from_secs(30));
    let mut bench = backup(Hmac { time_window: window, ..hmac(HmacMode::Require) });
    for (offset, reason) in
        [(-31, Some(DiscardReason::HmacTime)), (-30, None), (30, None), (31, Some(DiscardReason::HmacTime))]
    {
        let time = if offset < 0 {
            NOW - Duration::from_secs(-offset as u64)
        } else {
            NOW + Duration::from_secs(offset as u64)
        };
        let packet = sealed(&bench, 200, &key(1), HIGHER, Sequence::at(time));
        assert_eq!(hear(&mut bench, HIGHER, &packet), reason, "{offset} s");
    }
}

/// Its peers would take its packets for copies.
#[test]
fn sent_sequence_increases_also_when_the_wall_clock_steps_back() {
    let mut sender = Bench::new(Config { hmac: Some(hmac(HmacMode::Require)), ..config(200) });
    sender.link_up(HIGHER);
    let mut receiver = backup(hmac(HmacMode::Require));
    let advertisement = sender.advertisement(200);
    let hour = Duration::from_secs(3_600);
    for since_1970 in [NOW, NOW, NOW - hour, NOW - hour + Duration::from_secs(1), NOW + Duration::from_secs(1)] {
        sender.router.set_wall_clock(since_1970);
        let (_, packet) = sender.router.packets(&advertisement).remove(0);
        assert_eq!(hear(&mut receiver, HIGHER, &packet), None, "{since_1970:?}");
    }
    assert_eq!(receiver.router.counters().received, 5);
}

#[test]
fn change_of_keys_keeps_the_state() {
    let mut bench = Bench::started(Config { hmac: Some(hmac(HmacMode::Require)), ..config(100) });
    bench.run(seconds(4.0));
    let state = bench.router.state();
    let changed = Hmac { active_key: 2, ..hmac(HmacMode::Require) };
    let config = Config { hmac: Some(changed), ..config(100) };
    bench.router.reconfigure(bench.now, config, fit(100)).expect("a valid change");
    assert_eq!(bench.router.state(), state);
    let advertisement = bench.advertisement(100);
    let (_, packet) = bench.router.packets(&advertisement).remove(0);
    assert_eq!(packet[packet.len() - 27], 2, "it sends with the new key");
}

#[test]
fn active_key_that_is_missing_is_rejected() {
    let wrong = Hmac { active_key: 7, ..hmac(HmacMode::Require) };
    assert!(Config { hmac: Some(wrong), ..config(100) }.check().is_err());
}

/// The wall clock only numbers the packets.
#[test]
fn row_74_step_of_the_wall_clock_moves_no_timer() {
    for priority in [100, 255] {
        let mut bench = Bench::started(Config { hmac: Some(hmac(HmacMode::Require)), ..config(priority) });
        let (state, deadline) = (bench.router.state(), bench.router.deadline());
        for since_1970 in [NOW, NOW + Duration::from_secs(3_600), NOW - Duration::from_secs(3_600)] {
            bench.router.set_wall_clock(since_1970);
            assert_eq!((bench.router.state(), bench.router.deadline()), (state, deadline));
        }
    }
}

/// Each of the two has a sequence of its own, in the order in which they are sent.
#[test]
fn row_97_both_versions_are_authenticated() {
    let both = |priority| Config { also_version_2: true, hmac: Some(hmac(HmacMode::Require)), ..config(priority) };
    let mut sender = Bench::new(both(200));
    sender.link_up(HIGHER);
    sender.router.set_wall_clock(NOW);
    let mut receiver = Bench::started(both(100));
    receiver.router.set_wall_clock(NOW);
    for version in [Version::V3, Version::V2, Version::V3, Version::V2] {
        let advertisement = Advertisement { version, ..sender.advertisement(200) };
        let (_, packet) = sender.router.packets(&advertisement).remove(0);
        assert_eq!(hear(&mut receiver, HIGHER, &packet), None, "{version}");
    }
    assert_eq!(authenticity(&receiver, HIGHER), Some(Authenticity::Key(1)));
}
