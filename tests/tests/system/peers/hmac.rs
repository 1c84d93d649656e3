//! Authentication by HMAC between two daemons: the roll-out, new keys, replayed and forged packets.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vouchd_tests::capture::Capture;
use vouchd_tests::frame::{GROUP, Message, Packet};
use vouchd_tests::injector::Injector;
use vouchd_tests::pair::{Plan, Timing, VRID};
use vouchd_tests::vouchd::{Files, INSTANCE, Vouchd, config};
use vouchd_tests::wait::{eventually, holds, until};
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const NEEDS: [Need; 1] = [Need::Vouchd];
const INTERVAL: Duration = Duration::from_millis(500);
/// Three intervals and the skew of the lowest priority.
const DOWN: Duration = Duration::from_millis(2000);
/// For a reload on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The length of the trailer.
const TRAILER: usize = 28;

fn plan(node: Node) -> Plan {
    let priority = if node == Node::Nginx01 { 120 } else { 80 };
    let timing = Timing::V3 { interval: INTERVAL };
    Plan { priority, check: None, timing, password: None, ..Plan::default() }
}

/// The file of a key in a node's directory.
fn key_file(files: &Files, id: u8) -> PathBuf {
    files.config().with_file_name(format!("key{id}"))
}

/// The configuration with these keys.
fn with_hmac(files: &Files, node: Node, keys: &[u8], rest: &str) -> String {
    let mut list = String::new();
    for &id in keys {
        let _ = write!(list, "{{ id = {id}, file = {:?} }}, ", key_file(files, id));
    }
    format!("{}auth = {{ type = \"hmac\", keys = [{list}]{rest} }}\n", config(node, &plan(node)))
}

fn start(site: &Site, node: Node, keys: &[u8], rest: &str) -> anyhow::Result<Vouchd> {
    let files = Files::without_builtins(site, node)?;
    for id in [1, 2] {
        fs::write(key_file(&files, id), format!("hex:{}\n", format!("0{id}").repeat(32)))?;
    }
    let text = if keys.is_empty() { config(node, &plan(node)) } else { with_hmac(&files, node, keys, rest) };
    Vouchd::start_with(site, node, files, &text)
}

/// Two routers, nginx01 active.
fn pair(site: &Site, keys: &[u8], rest: &str) -> anyhow::Result<[Vouchd; 2]> {
    let active = start(site, Node::Nginx01, keys, rest)?;
    active.wait_state(INSTANCE, "active", PATIENCE)?;
    let backup = start(site, Node::Nginx02, keys, rest)?;
    until("the backup to hear the active router", PATIENCE, || {
        backup.instance(INSTANCE).is_ok_and(|status| status["state"] == "backup" && status["active"]["priority"] == 120)
    })?;
    Ok([active, backup])
}

/// Makes a change that the daemon loads, and waits until it has.
fn reload(vouchd: &Vouchd, change: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let loaded = |vouchd: &Vouchd| vouchd.status().map(|status| status["config"]["loaded_at"].to_string());
    let before = loaded(vouchd)?;
    change()?;
    until("a reload", PATIENCE, || loaded(vouchd).is_ok_and(|at| at != before))
        .with_context(|| format!("{:?}", vouchd.status().map(|status| status["config"].clone())))
}

/// What nginx01's newest advertisement proves to nginx02.
fn proof(backup: &Vouchd) -> anyhow::Result<String> {
    let status = backup.instance(INSTANCE)?;
    let peers = status["peers"].as_array().context("peers")?;
    let peer = peers.iter().find(|peer| peer["address"] == Node::Nginx01.address().to_string());
    Ok(peer.context("nginx01")?["hmac"].as_str().unwrap_or("nothing").to_owned())
}

#[test]
fn roll_out_and_new_keys_move_no_address() {
    system_test("none, receive, accept, require, a new key, a changed key file", &NEEDS, |site| {
        let routers = pair(site, &[], "")?;
        let nodes = [Node::Nginx01, Node::Nginx02];
        let steps: [(&[u8], &str, &str); 7] = [
            (&[1], ", mode = \"receive\"", "missing"),
            (&[1], ", mode = \"accept\"", "key 1"),
            (&[1], ", mode = \"require\"", "key 1"),
            (&[1, 2], "", "key 1"),
            (&[2, 1], ", active_key = 2, time_window = \"60s\"", "key 2"),
            (&[2], ", time_window = \"60s\"", "key 2"),
            (&[2, 1], ", time_window = \"60s\"", "key 2"),
        ];
        for (keys, rest, proven) in steps {
            // The backup first, then the active router: the next step begins after both.
            for (router, node) in routers.iter().zip(nodes).rev() {
                let text = with_hmac(&router.files, node, keys, rest);
                reload(router, || router.files.write_config(node.name(), &text))?;
            }
            until(&format!("{keys:?}{rest} to prove {proven:?}"), PATIENCE, || {
                proof(&routers[1]).is_ok_and(|proof| proof == proven)
            })
            .with_context(|| format!("{:?}", routers[1].instance(INSTANCE)))?;
            holds("nginx01 alone has the address", INTERVAL, || site.holders().now(VIP) == [Node::Nginx01])?;
        }
        // Another key in the file of key 1, which nobody sends with.
        for router in routers.iter().rev() {
            reload(router, || Ok(fs::write(key_file(&router.files, 1), "correct-horse-battery-staple-1234\n")?))?;
        }
        for (router, node) in routers.iter().zip(nodes).rev() {
            let text = with_hmac(&router.files, node, &[1, 2], "");
            reload(router, || router.files.write_config(node.name(), &text))?;
        }
        until("the new key 1", PATIENCE, || proof(&routers[1]).is_ok_and(|proof| proof == "key 1"))?;
        holds("nginx01 alone has the address", DOWN, || site.holders().now(VIP) == [Node::Nginx01])?;

        ensure!(site.holders().tenures(Node::Nginx01, VIP).len() == 1, "the address came back to nginx01");
        ensure!(site.holders().tenures(Node::Nginx02, VIP).is_empty(), "nginx02 had the address");
        for router in &routers {
            let status = router.instance(INSTANCE)?;
            ensure!(status["advertisements"]["discarded"] == serde_json::json!({}), "discarded: {status}");
            let log = router.process.log();
            let shown =
                ["0101010101010101", "0202020202020202", "correct-horse"].into_iter().find(|key| log.contains(key));
            ensure!(shown.is_none(), "the log shows a key: {log}");
        }
        // A failover both ways with the keys: each verifies the other.
        let [active, backup] = routers;
        active.stop()?;
        site.holders().wait_for(Node::Nginx02, VIP, PATIENCE)?;
        let active = start(site, Node::Nginx01, &[2], "")?;
        active.wait_state(INSTANCE, "active", PATIENCE)?;
        backup.wait_state(INSTANCE, "backup", PATIENCE)?;
        site.holders().wait_for(Node::Nginx01, VIP, PATIENCE)
    });
}

#[test]
fn router_without_keys_and_one_that_requires_them_do_not_hear_each_other() {
    system_test("keys on one router only", &NEEDS, |site| {
        let with = start(site, Node::Nginx01, &[1], "")?;
        let without = start(site, Node::Nginx02, &[], "")?;
        for (router, reason, advice) in [
            (&with, "hmac_missing", "it has no HMAC trailer, which this router requires"),
            (&without, "length", "as with an HMAC trailer: set `auth` on this router too"),
        ] {
            let counted =
                || router.instance(INSTANCE).is_ok_and(|it| it["advertisements"]["discarded"][reason].is_u64());
            until(reason, PATIENCE, counted)?;
            until(advice, PATIENCE, || router.process.log().contains(advice))?;
        }
        Ok(())
    });
}

#[test]
fn replayed_and_forged_packets_change_nothing() {
    system_test("an intruder without a key", &NEEDS, |site| {
        let [active, backup] = pair(site, &[1], "")?;
        let (capture, injector) = (Capture::start(site)?, Injector::new(site)?);
        let begin = Instant::now();
        let recorded = eventually("four advertisements", PATIENCE, || {
            let sent = capture.advertisements(Node::Nginx01, VRID, begin);
            (sent.len() >= 4).then_some(sent)
        })?;
        let before = [active.instance(INSTANCE)?, backup.instance(INSTANCE)?];

        // In the name of the active router and of a stranger, better than everyone, or as a resignation.
        let message = recorded[0].message().to_vec();
        let trailer = message[message.len() - TRAILER..].to_vec();
        let other = |change: fn(&mut Vec<u8>)| {
            let mut trailer = trailer.clone();
            change(&mut trailer);
            trailer
        };
        let trailers = [
            ("hmac_missing", Vec::new()),
            ("hmac_tag", trailer.clone()),
            ("hmac_key", other(|trailer| trailer[1] = 9)),
            ("hmac_trailer", other(|trailer| trailer[2] = 1)),
            ("hmac_trailer", other(|trailer| trailer[0] = 2)),
        ];
        let mut wanted = 0_u64;
        for source in [Node::Nginx01.address(), Node::Intruder.address()] {
            for priority in [0, 250, 255] {
                for (_, trailer) in &trailers {
                    let forged = Message { trailer: trailer.clone(), interval: 50, ..Message::v3(VRID, priority, VIP) };
                    injector.send(&Packet::multicast(source, forged.bytes(source, GROUP)))?;
                    wanted += 1;
                }
            }
        }
        for advertisement in &recorded {
            injector.send_raw(&advertisement.packet)?;
            wanted += 1;
        }
        let total = |router: &Vouchd| -> anyhow::Result<u64> {
            let status = router.instance(INSTANCE)?;
            let counts = status["advertisements"]["discarded"].as_object().context("counts")?.clone();
            Ok(counts.values().filter_map(serde_json::Value::as_u64).sum())
        };
        until("every packet to be discarded", PATIENCE, || total(&backup).is_ok_and(|total| total == wanted))
            .with_context(|| format!("{wanted} of {:?}", backup.instance(INSTANCE)))?;
        until("the same by the active router", PATIENCE, || total(&active).is_ok_and(|total| total == wanted))?;
        let status = backup.instance(INSTANCE)?;
        let discarded = &status["advertisements"]["discarded"];
        let count = |reason: &str| trailers.iter().filter(|(name, _)| *name == reason).count() as u64 * 6;
        for reason in ["hmac_missing", "hmac_tag", "hmac_key", "hmac_trailer"] {
            ensure!(discarded[reason] == count(reason), "{reason}: {discarded}");
        }
        ensure!(discarded["hmac_replayed"] == recorded.len() as u64, "{discarded}");
        for (router, before) in [&active, &backup].into_iter().zip(&before) {
            let after = router.instance(INSTANCE)?;
            ensure!(after["transitions"] == before["transitions"], "{before} became {after}");
        }
        ensure!(site.holders().now(VIP) == [Node::Nginx01], "{:?}", site.holders().now(VIP));

        // Recorded advertisements of a dead router keep nobody from taking over.
        let recorded = capture.advertisements(Node::Nginx01, VRID, begin);
        let mut active = active;
        active.process.signal(nix::sys::signal::Signal::SIGKILL);
        active.process.wait(PATIENCE)?;
        let killed = Instant::now();
        let mut frames = recorded.iter().cycle();
        eventually("nginx02 to take over while recorded packets arrive", PATIENCE, || {
            let sent = frames.next().is_some_and(|frame| injector.send_raw(&frame.packet).is_ok());
            (sent && backup.instance(INSTANCE).is_ok_and(|status| status["state"] == "active")).then_some(())
        })?;
        let took = killed.elapsed();
        ensure!(took <= DOWN + Duration::from_secs(2), "the takeover took {took:?}");
        Ok(())
    });
}
