//! Authentication by HMAC: what each mode accepts, rotation of keys, replayed packets.

use std::net::IpAddr;
use std::time::Duration;

use vouchd_vrrp::wire::hmac::{HmacKey, Sequence};
use vouchd_vrrp::wire::{Advertisement, ChecksumForm};
use vouchd_vrrp::{Config, DiscardReason, Hmac, HmacMode, Input, State};

use crate::bench::{Bench, GROUP, HIGHER, LOWER, OWN, config, fit, seconds};

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
    bench.input(Input::WallClock { since_1970: NOW });
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

#[test]
fn each_mode_accepts_what_its_step_of_the_roll_out_needs() {
    let forged = HmacKey { id: 1, secret: vec![9; 32] };
    for (mode, without, with_forged) in [
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

#[test]
fn row_20_router_without_keys_discards_a_trailer_by_its_length() {
    let mut bench = Bench::started(config(100));
    let packet = sealed(&bench, 200, &key(1), HIGHER, Sequence::at(NOW));
    assert_eq!(hear(&mut bench, HIGHER, &packet), Some(DiscardReason::Length));
}

#[test]
fn packets_with_any_configured_key_are_accepted_so_that_keys_can_rotate() {
    let mut bench = backup(hmac(HmacMode::Require));
    for (id, reason, shown) in [(1, None, Some(1)), (2, None, Some(2)), (3, Some(DiscardReason::HmacKey), Some(2))] {
        let sequence = Sequence::at(NOW + Duration::from_secs(id.into()));
        let packet = sealed(&bench, 200, &key(id), HIGHER, sequence);
        assert_eq!(hear(&mut bench, HIGHER, &packet), reason, "key {id}");
        assert_eq!(bench.router.hmac_key_of(HIGHER), shown, "key {id}");
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
    let mut sender = Bench::started(Config { hmac: Some(hmac(HmacMode::Require)), ..config(200) });
    let mut receiver = backup(hmac(HmacMode::Require));
    let advertisement = sender.advertisement(200);
    for since_1970 in [NOW, NOW, NOW - Duration::from_secs(3_600), NOW + Duration::from_secs(1)] {
        sender.input(Input::WallClock { since_1970 });
        let [(destination, packet)] = sender.router.packets(&advertisement).try_into().expect("multicast");
        assert_eq!(destination, GROUP);
        receiver.hear_bytes(OWN, GROUP, 255, &packet);
    }
    // The bench's routers have the same address.
    assert_eq!(receiver.router.counters().discarded(DiscardReason::OwnAddress), 4);
    let mut last = None;
    for since_1970 in [NOW, NOW - Duration::from_secs(3_600)] {
        sender.input(Input::WallClock { since_1970 });
        let (_, packet) = sender.router.packets(&advertisement).remove(0);
        let sequence = packet[packet.len() - 24..][..8].to_vec();
        assert!(last.as_ref().is_none_or(|last| sequence > *last));
        last = Some(sequence);
    }
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
            assert_eq!(bench.input(Input::WallClock { since_1970 }), []);
            assert_eq!((bench.router.state(), bench.router.deadline()), (state, deadline));
        }
    }
}
