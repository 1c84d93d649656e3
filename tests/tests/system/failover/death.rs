//! A daemon that is killed or frozen, or loses its checker.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::pair::{Pair, PairPlan, VRID};
use vouchd_tests::vouchd::{CHECK, INSTANCE};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, VIP, system_test};

const NEEDS: [Need; 2] = [Need::Vouchd, Need::Nginx];
const OVERLAP: Duration = Duration::from_millis(300);

/// Waits until nginx02 takes over, after nginx01 has lost the address.
fn taken_over_after_the_loss(pair: &Pair, since: Instant) -> anyhow::Result<()> {
    let holders = pair.site.holders();
    pair.wait_holder(Node::Nginx02, Duration::from_secs(6))?;
    let lost = holders.lost(Node::Nginx01, VIP, since);
    let gained = holders.gained(Node::Nginx02, VIP);
    let (Some(lost), Some(gained)) = (lost, gained) else {
        anyhow::bail!("the address did not move: {holders:?}");
    };
    println!(
        "address gone after {:.3} s, taken over after {:.3} s",
        (lost - since).as_secs_f64(),
        (gained - since).as_secs_f64()
    );
    ensure!(lost <= gained, "taken over {:?} before it was gone", lost - gained);
    Ok(())
}

#[test]
fn killed_router_keeps_no_address() {
    system_test("SIGKILL of every vouchd process", &NEEDS, |site| {
        let pair = Pair::start(site, PairPlan::default())?;
        let start = Instant::now();
        pair.router(Node::Nginx01)?.process().signal_all(Signal::SIGKILL);
        taken_over_after_the_loss(&pair, start)?;
        pair.alternates()
    });
}

#[test]
fn frozen_router_keeps_no_address_and_does_no_harm_when_it_continues() {
    system_test("SIGSTOP for 10 s, SIGCONT", &NEEDS, |site| {
        let pair = Pair::start(site, PairPlan::default())?;
        let start = Instant::now();
        pair.router(Node::Nginx01)?.process().signal_all(Signal::SIGSTOP);
        taken_over_after_the_loss(&pair, start)?;
        let rest = Duration::from_secs(10).saturating_sub(start.elapsed());
        holds("nginx02 alone has the address", rest, || site.holders().now(VIP) == [Node::Nginx02])?;
        pair.router(Node::Nginx01)?.process().signal_all(Signal::SIGCONT);
        let awake = Instant::now();
        // Longer than the down interval, so that nginx01 preempts in this time.
        holds("one holder, from 1 s after SIGCONT on", Duration::from_secs(6), || {
            awake.elapsed() < Duration::from_secs(1) || !site.holders().now(VIP).is_empty()
        })?;
        let overlap = site.holders().longest_overlap(VIP, start);
        ensure!(overlap <= OVERLAP, "two holders for {overlap:?}");
        pair.wait_holder(Node::Nginx01, Duration::from_secs(5))?;
        pair.alternates()
    });
}

#[test]
fn frozen_backup_reads_queued_advertisements_before_its_timer() {
    system_test("SIGSTOP of a backup for 5 s", &NEEDS, |site| {
        let pair = Pair::start(site, PairPlan::default())?;
        let backup = pair.router(Node::Nginx02)?.process();
        backup.signal_all(Signal::SIGSTOP);
        holds("the address stays", Duration::from_secs(5), || site.holders().now(VIP) == [Node::Nginx01])?;
        backup.signal_all(Signal::SIGCONT);
        // The advertisements of those 5 s are queued in its socket. If it acted on its timer first, it would become active.
        holds("the address stays", Duration::from_secs(5), || site.holders().now(VIP) == [Node::Nginx01])
    });
}

#[test]
fn killed_checker_is_replaced_within_a_second() {
    system_test("SIGKILL of the checker, ten times", &NEEDS, |site| {
        let pair = Pair::start(site, PairPlan::default())?;
        let vouchd = pair.vouchd(Node::Nginx01)?;
        let before = vouchd.instance(INSTANCE)?;
        let capture = Capture::start(site)?;
        let start = Instant::now();
        for round in 1..=10 {
            let checker = vouchd.checker()?;
            let runs = vouchd.check(CHECK)?["runs"].as_u64();
            kill(Pid::from_raw(checker), Signal::SIGKILL)?;
            let killed = Instant::now();
            until(&format!("a new verdict after kill {round}"), Duration::from_secs(1), || {
                vouchd.check(CHECK).is_ok_and(|check| check["runs"].as_u64() > runs)
                    && vouchd.checker().is_ok_and(|now| now != checker)
            })?;
            println!("kill {round}: verdict back after {:.3} s", killed.elapsed().as_secs_f64());
        }
        let end = Instant::now();
        let sent = capture.advertisements(Node::Nginx01, VRID, start);
        let gap = longest_gap(sent.iter().map(|advertisement| advertisement.at), start, end);
        println!("longest gap between advertisements: {:.3} s", gap.as_secs_f64());
        ensure!(gap <= Duration::from_millis(1100), "a gap of {gap:?}");
        ensure!(sent.iter().all(|a| a.priority() == 100), "the priority changed: {sent:?}");
        let after = vouchd.instance(INSTANCE)?;
        for unchanged in ["state", "transitions", "since", "priority"] {
            ensure!(before[unchanged] == after[unchanged], "{before} became {after}");
        }
        Ok(())
    });
}

#[test]
fn hung_checker_is_replaced() {
    system_test("SIGSTOP of the checker", &NEEDS, |site| {
        let pair = Pair::start(site, PairPlan::default())?;
        let vouchd = pair.vouchd(Node::Nginx01)?;
        let checker = vouchd.checker()?;
        let capture = Capture::start(site)?;
        let start = Instant::now();
        kill(Pid::from_raw(checker), Signal::SIGSTOP)?;
        let runs = vouchd.check(CHECK)?["runs"].as_u64();
        until("a verdict of a new checker", Duration::from_secs(5), || {
            vouchd.checker().is_ok_and(|now| now != checker)
                && vouchd.check(CHECK).is_ok_and(|check| check["runs"].as_u64() > runs)
        })?;
        println!("verdict back after {:.3} s", start.elapsed().as_secs_f64());
        holds("the address stays", Duration::from_secs(5), || site.holders().now(VIP) == [Node::Nginx01])?;
        let sent = capture.advertisements(Node::Nginx01, VRID, start);
        let gap = longest_gap(sent.iter().map(|a| a.at), start, Instant::now());
        ensure!(gap <= Duration::from_millis(1100), "a gap of {gap:?}");
        Ok(())
    });
}
