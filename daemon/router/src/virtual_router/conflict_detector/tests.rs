//! Conflicts, hand-overs, and how often the addresses are defended.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vouchd_vrrp::Time;

use super::{ConflictDetector, Finding, Mac, Situation};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 66]);

const ACTIVE: Situation = Situation { active: true, down_interval: Duration::from_secs(3) };
const BACKUP: Situation = Situation { active: false, down_interval: Duration::from_secs(3) };

fn at(milliseconds: u64) -> Time {
    Time::from_nanos((1_000_000 + milliseconds) * 1_000_000)
}

fn conflict() -> Finding {
    Finding::Conflict { address: VIP, mac: STRANGER }
}

/// Judges at each deadline until then and returns all findings.
fn judged(detector: &mut ConflictDetector, situation: Situation, until: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    while let Some(deadline) = detector.deadline().filter(|deadline| *deadline <= at(until)) {
        findings.extend(detector.judge(deadline, situation));
    }
    findings
}

#[test]
fn claim_against_an_active_router_is_a_conflict_and_answered() {
    let mut detector = ConflictDetector::default();
    detector.record_claim(at(0), VIP, STRANGER, 3);
    assert_eq!(detector.judge(at(100), ACTIVE), [], "too early to judge");
    assert_eq!(judged(&mut detector, ACTIVE, 1_000), [conflict(), Finding::Defend]);
    let found = detector.conflict(at(1_000), VIP).unwrap();
    assert_eq!((found.mac, found.count), (STRANGER, 3));
    assert_eq!(detector.deadline(), None);
}

#[test]
fn repeated_claim_is_answered_once_in_ten_seconds() {
    let mut detector = ConflictDetector::default();
    let mut defences = Vec::new();
    for millisecond in (0..35_000).step_by(50) {
        detector.record_claim(at(millisecond), VIP, STRANGER, 1);
        if detector.deadline().is_some_and(|deadline| deadline <= at(millisecond)) {
            let findings = detector.judge(at(millisecond), ACTIVE);
            defences.extend(findings.contains(&Finding::Defend).then_some(millisecond));
        }
    }
    assert_eq!(defences, [250, 10_250, 20_250, 30_250]);
    assert_eq!(detector.conflict(at(1_000), VIP).unwrap().count, 700 - 4, "all but those that wait to be judged");
}

#[test]
fn claim_within_ten_seconds_of_an_answer_is_answered_after_them() {
    let mut detector = ConflictDetector::default();
    detector.record_claim(at(0), VIP, STRANGER, 1);
    judged(&mut detector, ACTIVE, 1_000);
    detector.record_claim(at(3_000), VIP, STRANGER, 1);
    assert_eq!(judged(&mut detector, ACTIVE, 10_000), [conflict()]);
    assert_eq!(judged(&mut detector, ACTIVE, 11_000), [Finding::Defend]);
}

#[test]
fn active_router_asks_and_a_conflict_lasts_from_one_answer_to_the_next() {
    let mut detector = ConflictDetector::default();
    detector.record_transition(at(0), true);
    assert_eq!(judged(&mut detector, ACTIVE, 1_999), []);
    let mut findings = Vec::new();
    for (ask, seconds) in [(2_000, 3..7), (7_250, 7..12), (12_250, 13..24)] {
        findings.extend(judged(&mut detector, ACTIVE, ask));
        detector.record_claim(at(ask), VIP, STRANGER, 1);
        findings.extend(judged(&mut detector, ACTIVE, ask + 500));
        for second in seconds {
            let found = detector.conflict(at(second * 1_000), VIP).unwrap();
            assert_eq!(found.since, Some(at(2_250)), "{second}");
            assert_eq!(detector.ongoing(at(second * 1_000)), Some((VIP, STRANGER)));
        }
    }
    assert_eq!(findings.iter().filter(|finding| **finding == Finding::Ask).count(), 3, "{findings:?}");
    assert_eq!(detector.conflict(at(50_000), VIP).unwrap().since, None, "not heard for long");
    assert_eq!(detector.ongoing(at(50_000)), None);
    detector.record_transition(at(13_000), false);
    assert_eq!(detector.ongoing(at(13_000)), None);
    assert_eq!(detector.deadline(), None);
}

#[test]
fn hand_over_is_no_conflict_whichever_frame_comes_first() {
    // The other takes over: its announcement, its advertisement, and this router is a backup.
    let mut detector = ConflictDetector::default();
    detector.record_claim(at(0), VIP, PEER, 1);
    detector.record_advertisement(at(5), ROUTER, PEER, false);
    detector.record_transition(at(6), false);
    assert_eq!(judged(&mut detector, BACKUP, 1_000), []);
    assert_eq!(detector.holder(VIP), Some(PEER));
    // This router takes over just after the other has announced again.
    detector.record_advertisement(at(2_000), ROUTER, PEER, true);
    detector.record_claim(at(2_010), VIP, PEER, 1);
    detector.record_transition(at(2_020), true);
    assert_eq!(judged(&mut detector, ACTIVE, 3_000), []);
}

#[test]
fn claim_of_a_router_that_no_longer_advertises_is_a_conflict() {
    let mut detector = ConflictDetector::default();
    detector.record_advertisement(at(0), ROUTER, STRANGER, false);
    detector.record_claim(at(3_001), VIP, STRANGER, 1);
    assert_eq!(judged(&mut detector, ACTIVE, 4_000), [conflict(), Finding::Defend]);
}

#[test]
fn backup_learns_who_answers_and_reports_another_machine_once() {
    let mut detector = ConflictDetector::default();
    detector.record_advertisement(at(0), ROUTER, PEER, true);
    detector.record_claim(at(10), VIP, PEER, 1);
    assert_eq!(judged(&mut detector, BACKUP, 1_000), []);
    assert_eq!((detector.holder(VIP), detector.active_mac()), (Some(PEER), Some(PEER)));
    let moved = Finding::Moved { address: VIP, from: Some(PEER), to: STRANGER };
    for (start, expected) in [(1_000, vec![moved]), (2_000, vec![])] {
        detector.record_claim(at(start), VIP, STRANGER, 1);
        assert_eq!(judged(&mut detector, BACKUP, start + 500), expected);
    }
    assert_eq!(detector.conflict(at(1_000), VIP), None, "not a conflict of this router");
}

#[test]
fn new_mac_address_of_the_active_router_is_reported_unless_it_was_replaced() {
    let mut detector = ConflictDetector::default();
    assert_eq!(detector.record_advertisement(at(0), ROUTER, PEER, true), None);
    let moved = Finding::RouterMoved { router: ROUTER, from: PEER, to: STRANGER };
    assert_eq!(detector.record_advertisement(at(1_000), ROUTER, STRANGER, true), Some(moved));
    let other = IpAddr::from([192, 0, 2, 3]);
    assert_eq!(detector.record_advertisement(at(2_000), other, PEER, true), None, "another router");
    detector.record_transition(at(2_500), false);
    assert_eq!(detector.record_advertisement(at(3_000), other, STRANGER, true), None, "after a transition");
}

#[test]
fn flood_of_senders_takes_bounded_memory() {
    let mut detector = ConflictDetector::default();
    for sender in 0..10_000_u16 {
        let [high, low] = sender.to_be_bytes();
        detector.record_claim(at(0), VIP, Mac([2, 0, 0, 1, high, low]), 1);
        detector.record_advertisement(at(0), ROUTER, Mac([2, 0, 0, 2, high, low]), false);
    }
    assert!(detector.claims.len() <= super::CAPACITY && detector.routers.len() <= super::CAPACITY);
}
