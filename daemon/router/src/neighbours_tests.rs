//! What is a conflict, what is a hand-over, and how often the addresses are defended.

use std::net::Ipv4Addr;
use std::time::Duration;

use vouchd_vrrp::Time;

use super::{Finding, Mac, Neighbours, Situation};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
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

/// Judges at each deadline until then, and says what was found when.
fn judged(neighbours: &mut Neighbours, situation: Situation, until: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    while let Some(deadline) = neighbours.deadline().filter(|deadline| *deadline <= at(until)) {
        findings.extend(neighbours.judge(deadline, situation));
    }
    findings
}

#[test]
fn a_stranger_is_a_conflict_for_an_active_router_and_the_addresses_are_announced_again() {
    let mut neighbours = Neighbours::default();
    neighbours.claimed(at(0), VIP, STRANGER, 3);
    assert_eq!(neighbours.judge(at(100), ACTIVE), [], "not before a moment has passed");
    assert_eq!(judged(&mut neighbours, ACTIVE, 1_000), [conflict(), Finding::Defend]);
    let found = neighbours.conflict(at(1_000), VIP).unwrap();
    assert_eq!((found.mac, found.count), (STRANGER, 3));
    assert_eq!(neighbours.deadline(), None);
}

#[test]
fn an_endless_claim_is_answered_once_in_ten_seconds() {
    let mut neighbours = Neighbours::default();
    let mut defences = Vec::new();
    for millisecond in (0..35_000).step_by(50) {
        neighbours.claimed(at(millisecond), VIP, STRANGER, 1);
        if neighbours.deadline().is_some_and(|deadline| deadline <= at(millisecond)) {
            let findings = neighbours.judge(at(millisecond), ACTIVE);
            defences.extend(findings.contains(&Finding::Defend).then_some(millisecond));
        }
    }
    assert_eq!(defences, [250, 10_250, 20_250, 30_250]);
    assert_eq!(neighbours.conflict(at(1_000), VIP).unwrap().count, 700 - 4, "but for those that wait to be judged");
}

#[test]
fn the_last_word_is_ours_also_after_a_conflict_that_came_too_soon_for_an_answer() {
    let mut neighbours = Neighbours::default();
    neighbours.claimed(at(0), VIP, STRANGER, 1);
    judged(&mut neighbours, ACTIVE, 1_000);
    neighbours.claimed(at(3_000), VIP, STRANGER, 1);
    assert_eq!(judged(&mut neighbours, ACTIVE, 10_000), [conflict()]);
    assert_eq!(judged(&mut neighbours, ACTIVE, 11_000), [Finding::Defend]);
}

#[test]
fn an_active_router_asks_and_a_conflict_lasts_from_one_answer_to_the_next() {
    let mut neighbours = Neighbours::default();
    neighbours.changed(at(0), true);
    assert_eq!(judged(&mut neighbours, ACTIVE, 1_999), []);
    let mut findings = Vec::new();
    for (ask, seconds) in [(2_000, 3..7), (7_250, 7..12), (12_250, 13..24)] {
        findings.extend(judged(&mut neighbours, ACTIVE, ask));
        neighbours.claimed(at(ask), VIP, STRANGER, 1);
        findings.extend(judged(&mut neighbours, ACTIVE, ask + 500));
        for second in seconds {
            let found = neighbours.conflict(at(second * 1_000), VIP).unwrap();
            assert_eq!(found.since, Some(at(2_250)), "{second}");
            assert_eq!(neighbours.contested(at(second * 1_000)), Some((VIP, STRANGER)));
        }
    }
    assert_eq!(findings.iter().filter(|finding| **finding == Finding::Ask).count(), 3, "{findings:?}");
    assert_eq!(neighbours.conflict(at(50_000), VIP).unwrap().since, None, "not heard for long");
    assert_eq!(neighbours.contested(at(50_000)), None);
    neighbours.changed(at(13_000), false);
    assert_eq!(neighbours.contested(at(13_000)), None);
    assert_eq!(neighbours.deadline(), None);
}

#[test]
fn a_hand_over_is_no_conflict_whichever_frame_comes_first() {
    // The other takes over: its announcement, its advertisement, and we are a backup.
    let mut neighbours = Neighbours::default();
    neighbours.claimed(at(0), VIP, PEER, 1);
    neighbours.advertised(at(5), ROUTER, PEER, false);
    neighbours.changed(at(6), false);
    assert_eq!(judged(&mut neighbours, BACKUP, 1_000), []);
    assert_eq!(neighbours.holder(VIP), Some(PEER));
    // We take over, and the other had just announced again.
    neighbours.advertised(at(2_000), ROUTER, PEER, true);
    neighbours.claimed(at(2_010), VIP, PEER, 1);
    neighbours.changed(at(2_020), true);
    assert_eq!(judged(&mut neighbours, ACTIVE, 3_000), []);
}

#[test]
fn a_machine_that_does_not_advertise_any_more_is_a_stranger_again() {
    let mut neighbours = Neighbours::default();
    neighbours.advertised(at(0), ROUTER, STRANGER, false);
    neighbours.claimed(at(3_001), VIP, STRANGER, 1);
    assert_eq!(judged(&mut neighbours, ACTIVE, 4_000), [conflict(), Finding::Defend]);
}

#[test]
fn a_backup_learns_who_answers_and_reports_another_once() {
    let mut neighbours = Neighbours::default();
    neighbours.advertised(at(0), ROUTER, PEER, true);
    neighbours.claimed(at(10), VIP, PEER, 1);
    assert_eq!(judged(&mut neighbours, BACKUP, 1_000), []);
    assert_eq!((neighbours.holder(VIP), neighbours.active_mac()), (Some(PEER), Some(PEER)));
    let moved = Finding::Moved { address: VIP, from: Some(PEER), to: STRANGER };
    for (start, expected) in [(1_000, vec![moved]), (2_000, vec![])] {
        neighbours.claimed(at(start), VIP, STRANGER, 1);
        assert_eq!(judged(&mut neighbours, BACKUP, start + 500), expected);
    }
    assert_eq!(neighbours.conflict(at(1_000), VIP), None, "no conflict of ours");
}

#[test]
fn an_active_router_that_advertises_from_elsewhere_is_reported_unless_it_was_replaced() {
    let mut neighbours = Neighbours::default();
    assert_eq!(neighbours.advertised(at(0), ROUTER, PEER, true), None);
    let moved = Finding::RouterMoved { router: ROUTER, from: PEER, to: STRANGER };
    assert_eq!(neighbours.advertised(at(1_000), ROUTER, STRANGER, true), Some(moved));
    let other = Ipv4Addr::new(192, 0, 2, 3);
    assert_eq!(neighbours.advertised(at(2_000), other, PEER, true), None, "another router");
    neighbours.changed(at(2_500), false);
    assert_eq!(neighbours.advertised(at(3_000), other, STRANGER, true), None, "after a transition");
}

#[test]
fn a_flood_of_senders_costs_no_memory() {
    let mut neighbours = Neighbours::default();
    for sender in 0..10_000_u16 {
        let [high, low] = sender.to_be_bytes();
        neighbours.claimed(at(0), VIP, Mac([2, 0, 0, 1, high, low]), 1);
        neighbours.advertised(at(0), ROUTER, Mac([2, 0, 0, 2, high, low]), false);
    }
    assert!(neighbours.claims.len() <= super::CAPACITY && neighbours.routers.len() <= super::CAPACITY);
}
