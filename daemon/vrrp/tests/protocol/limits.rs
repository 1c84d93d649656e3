//! The limits per second on reports, answers and announcements, whatever others send and however short the interval is.

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::net::IpAddr;

use vouchd_vrrp::wire::{Advertisement, ChecksumForm};
use vouchd_vrrp::{Action, Config, ProtocolEvent, State};

use crate::bench::*;

/// 192.0.2.20 and the addresses after it.
fn source(number: u8) -> IpAddr {
    [192, 0, 2, 20 + number].into()
}

/// 10 ms, which version 3 allows.
fn fast(priority: u8) -> Config {
    Config { interval: interval(1), ..config(priority) }
}

/// Calls `flood` once a millisecond for ten seconds, with the timers in between, and returns all actions.
fn flood(bench: &mut Bench, mut flood: impl FnMut(&mut Bench, u32) -> Vec<Action>) -> Vec<Action> {
    let mut all = Vec::new();
    for millisecond in 0..10_000 {
        all.extend(flood(bench, millisecond));
        all.extend(bench.run(millis(1)));
        if millisecond % 1_000 == 500 {
            all.extend(bench.router.overdue(bench.now));
        }
    }
    all
}

/// The greatest number of events of one kind.
fn most_events(actions: &[Action]) -> usize {
    let mut counts = BTreeMap::new();
    for event in events(actions) {
        let states = match event {
            ProtocolEvent::Transition { from, to, .. } => format!("{from} to {to}"),
            _ => String::new(),
        };
        *counts.entry(format!("{:?} {states}", discriminant(event))).or_insert(0) += 1;
    }
    counts.into_values().max().unwrap_or_default()
}

fn count(actions: &[Action], word: &str) -> usize {
    done(actions).iter().filter(|done| done.starts_with(word)).count()
}

#[test]
fn flipping_differences_and_changing_sources_are_reported_once_a_second_with_a_count() {
    let other = |last: u8| IpAddr::from([192, 0, 2, 200 + last]);
    type Make = fn(&Bench, u32) -> (IpAddr, Advertisement, ChecksumForm);
    let floods: [Make; 3] = [
        |bench, turn| {
            let interval = interval(50 + (turn % 2) as u16);
            (HIGHER, Advertisement { interval, ..bench.advertisement(200) }, ChecksumForm::PseudoHeader)
        },
        |bench, turn| {
            let form = [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly][turn as usize % 2];
            (HIGHER, bench.advertisement(200), form)
        },
        |bench, turn| (source((turn % 60) as u8), bench.advertisement(200), ChecksumForm::PseudoHeader),
    ];
    for (number, make) in floods.into_iter().enumerate() {
        let mut bench = Bench::started(config(100));
        let all = flood(&mut bench, |bench, turn| {
            let (source, mut advertisement, form) = make(bench, turn);
            if number == 2 {
                advertisement.addresses = vec![VIP, other((turn % 50) as u8)];
            }
            let payload = advertisement.encode(source, GROUP, form).expect("encodes");
            bench.hear_bytes(source, GROUP, 255, &payload)
        });
        let reported = most_events(&all);
        assert!((9..=11).contains(&reported), "flood {number}: {reported} messages in 10 s");
        let counted = all.iter().filter_map(|action| match action {
            Action::Event { left_out, .. } => Some(left_out.count),
            _ => None,
        });
        assert!(counted.sum::<u64>() > 4_000, "flood {number}: suppressed messages are counted");
    }
}

#[test]
fn answers_and_announcements_are_limited_per_second_at_every_interval() {
    for (config, priority) in [(fast(100), 50), (fast(100), 0), (config(100), 50), (config(100), 0)] {
        let mut bench = Bench::active(config.clone());
        let quiet = {
            let mut quiet = Bench::active(config.clone());
            count(&quiet.run(seconds(10.0)), "send")
        };
        let all = flood(&mut bench, |bench, _| bench.hear(HIGHER, priority));
        let sent = count(&all, "send");
        let what = format!("{} against {priority}", config.interval);
        assert!(sent <= quiet + 110, "{what}: {sent} advertisements instead of {quiet}");
        let announced = count(&all, "announce");
        assert!(announced <= 3 * 11 + 1, "{what}: {announced} announcements");
        assert!(most_events(&all) <= 11, "{what}: {} events of one kind", most_events(&all));
        assert_eq!(bench.state(), State::Active);
    }
}

#[test]
fn forced_transitions_announce_and_report_a_bounded_number_of_times() {
    let mut bench = Bench::active(fast(100));
    let all = flood(&mut bench, |bench, turn| match turn % 10 {
        0 => bench.hear(HIGHER, 200),
        1 => bench.hear(HIGHER, 0),
        _ => Vec::new(),
    });
    assert!(bench.router.counters().transitions > 500, "{}", bench.router.counters().transitions);
    let announced = count(&all, "announce");
    assert!(announced <= 5 * 11, "{announced} announcements in 10 s");
    assert!(most_events(&all) <= 11, "{} transitions of one kind in 10 s", most_events(&all));
}

#[test]
fn last_reported_transition_leads_to_the_current_state() {
    for turns in 4..30 {
        let mut bench = Bench::active(fast(100));
        let mut all = Vec::new();
        for turn in 0..turns {
            all.extend(if bench.state() == State::Active { bench.hear(HIGHER, 200) } else { bench.hear(HIGHER, 0) });
            all.extend(bench.run(millis(7 + turn * 13)));
            all.extend(bench.router.overdue(bench.now));
        }
        for _ in 0..3 {
            all.extend(bench.hear(HIGHER, 200));
            bench.wait(millis(20));
            all.extend(bench.hear(HIGHER, 200));
            bench.wait(seconds(1.0));
            all.extend(bench.router.overdue(bench.now));
        }
        let last = transitions(&all).last().map(|(_, to, _)| *to);
        assert_eq!(last, Some(bench.state()), "{turns} turns");
    }
}

#[test]
fn deferred_announcement_comes_when_its_second_is_over() {
    let mut bench = Bench::active(config(100));
    bench.wait(millis(100));
    assert_eq!(count(&bench.hear(LOWER, 50), "announce"), 1);
    bench.wait(millis(500));
    // It took over once more, after the announcement.
    assert_eq!(count(&bench.hear(LOWER, 50), "announce"), 0);
    assert_eq!(count(&bench.run(millis(499)), "announce"), 0);
    assert_eq!(count(&bench.run(millis(2)), "announce"), 1);
    assert_eq!(count(&bench.run(seconds(3.0)), "announce"), 0);
}

#[test]
fn flood_of_sources_evicts_no_peer() {
    let mut bench = Bench::started(config(100));
    for _ in 0..2 {
        bench.hear(HIGHER, 90);
        bench.hear(LOWER, 200);
    }
    for turn in 0..60_000u32 {
        let [_, high, middle, low] = turn.to_be_bytes();
        if turn % 10_000 == 0 {
            bench.hear(HIGHER, 90);
            bench.hear(LOWER, 200);
        }
        bench.hear([10, high, middle, low].into(), 90);
    }
    let known = |address| bench.router.peers().iter().any(|peer| peer.address == address);
    assert!(known(LOWER) && known(HIGHER), "{:?}", bench.router.peers().len());
    assert_eq!(bench.router.peers().len(), 32);
    assert_eq!(bench.router.active_peer().map(|peer| peer.address), Some(LOWER));
}
