//! Recorded packets of keepalived and FRR, and the frames that disturbed them, played to a vouchd on the wire at their
//! recorded times. `daemon/vrrp` replays the same recordings into the protocol core.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use vouchd_conformance::lab::{LOWER, Lab};
use vouchd_conformance::plan::{Plan, Setup};
use vouchd_conformance::router::Make;
use vouchd_conformance::seen::Advertisement;
use vouchd_conformance::wire::Frame;
use vouchd_tests::wait::{eventually, sleep_until};
use vouchd_tests::{Need, requirements};

/// The VRRP frames of a recording (pcap, little endian, microseconds), with their times from its start.
fn recorded(name: &str) -> Vec<(Duration, Advertisement)> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../captures");
    let file = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    let mut found: Vec<(Duration, Advertisement)> = Vec::new();
    let (mut at, now) = (24, Instant::now());
    while at + 16 <= file.len() {
        let time = Duration::new(number(at).into(), number(at + 4) * 1000);
        let length = number(at + 8) as usize;
        let bytes = file[at + 16..at + 16 + length].to_vec();
        found.extend(Advertisement::read(&Frame { at: now, port: 0, bytes }).map(|frame| (time, frame)));
        at += 16 + length;
    }
    let start = found.first().map_or(Duration::ZERO, |(time, _)| *time);
    found.into_iter().map(|(time, frame)| (time - start, frame)).collect()
}

/// A backup of the lowest priority in the virtual router of an advertisement.
fn backup_of(first: &Advertisement) -> Plan {
    let password = (first.version() == 2 && first.interval() >> 8 == 1)
        .then(|| String::from_utf8_lossy(first.trailer()).trim_end_matches('\0').to_owned());
    let unit = if first.version() == 2 { 1000 } else { 10 };
    let field = if first.version() == 2 { first.interval() & 0xff } else { first.interval() & 0xfff };
    Plan {
        vrid: first.vrid(),
        version: first.version(),
        priority: 1,
        interval: Duration::from_millis(u64::from(field) * unit),
        addresses: first.addresses(),
        password,
        ..Setup::V3.plan()
    }
}

fn status(lab: &Lab) -> anyhow::Result<Value> {
    let control = lab.files().join("control.sock");
    let output =
        Command::new(vouchd_tests::vouchd::binary()).args(["status", "--json", "--control"]).arg(control).output()?;
    serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn started(plan: &Plan) -> anyhow::Result<Lab> {
    let setup = if plan.is_ipv6() { Setup::V6 } else { Setup::V3 };
    let lab = Lab::new(&Make::vouchd(), setup)?;
    lab.start(plan)?;
    eventually("vouchd to listen", Duration::from_secs(10), || {
        status(&lab).ok().filter(|status| status["instances"][0]["state"] == "backup")
    })?;
    Ok(lab)
}

fn play(lab: &Lab, frames: &[(Duration, Advertisement)]) -> anyhow::Result<()> {
    let start = Instant::now();
    for (at, frame) in frames {
        sleep_until(start + *at);
        lab.send_frame(&frame.frame)?;
    }
    Ok(())
}

/// Runs each case on a thread of its own, and fails with all that failed.
fn all<C: Sync>(cases: &[C], run: impl Fn(&C) -> anyhow::Result<()> + Sync) {
    let failures: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = cases.iter().map(|case| scope.spawn(|| run(case))).collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("no panic").err()).collect()
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn recorded_handovers_make_no_backup_active() {
    if !requirements::met(&[Need::Vouchd]) {
        return;
    }
    // Those in which a third router hears everything: the unicast recording does not go to it.
    let recordings = [
        "keepalived-2.2.7-v2-ipv4-auth-pass.pcap",
        "keepalived-2.2.7-v2-ipv4.pcap",
        "keepalived-2.2.7-v3-ipv4-pseudohdr.pcap",
        "keepalived-2.2.7-v3-ipv4-subsecond.pcap",
        "keepalived-2.2.7-v3-ipv4-vmac.pcap",
        "keepalived-2.2.7-v3-ipv6-vmac.pcap",
        "keepalived-2.2.7-v3-ipv6.pcap",
        "frr-8.4.4-v3-dualstack.pcap",
    ];
    all(&recordings, |name| {
        let mut frames = recorded(name);
        // FRR over IPv6 advertises a global address first, which row 27 discards.
        frames.retain(|(_, frame)| !name.starts_with("frr") || frame.ip.0.is_ipv4());
        let lab = started(&backup_of(&frames[0].1))?;
        let since = Instant::now();
        play(&lab, &frames).with_context(|| (*name).to_owned())?;
        let sent = lab.advertisements(since).len();
        ensure!(sent == 0, "{name}: the backup sent {sent} advertisements");
        let status = status(&lab)?;
        let counters = &status["instances"][0]["advertisements"];
        ensure!(counters["received"] == frames.len() as u64, "{name}: {counters}, of {} frames", frames.len());
        Ok(())
    });
}

/// The injected frames of each recording, and the one reason for which vouchd discards them.
const DISCARDED: [(&str, u8, &str); 22] = [
    ("probe-rejected-other-vrid.pcap", 3, "vrid"),
    ("probe-v3-other-vrid.pcap", 3, "vrid"),
    ("probe-rejected-badck.pcap", 3, "checksum"),
    ("probe-rejected-ttl64.pcap", 3, "ttl"),
    ("probe-rejected-v2-on-v3.pcap", 3, "version"),
    ("probe-v2-addrlist-mismatch.pcap", 2, "addresses"),
    ("probe-v2-adver2-mismatch.pcap", 2, "interval"),
    ("probe-v2-auth1-vs-none.pcap", 2, "auth_type"),
    ("probe-v3-addrlist-mismatch.pcap", 3, "addresses"),
    ("probe-v3-adver0.pcap", 3, "zero_interval"),
    ("probe-v3-badck-prio200.pcap", 3, "checksum"),
    ("probe-v3-count0.pcap", 3, "no_addresses"),
    ("probe-v3-gets-v2.pcap", 3, "version"),
    ("probe-v3-ttl64.pcap", 3, "ttl"),
    ("probe-v3-type2.pcap", 3, "type"),
    ("probe-v3-v2-trailer.pcap", 3, "length"),
    ("frrprobe-adver0.pcap", 3, "zero_interval"),
    ("frrprobe-badck-12s.pcap", 3, "checksum"),
    ("frrprobe-count0.pcap", 3, "no_addresses"),
    ("frrprobe-trailer.pcap", 3, "length"),
    ("frrprobe-ttl64.pcap", 3, "ttl"),
    ("frrprobe-v2-adver2.pcap", 2, "interval"),
];

/// While the frames come, a backup stays one as long as its active router advertises; afterwards it takes over on time.
#[test]
fn recorded_malformed_frames_are_one_named_discard_each_and_touch_no_timer() {
    if !requirements::met(&[Need::Vouchd]) {
        return;
    }
    all(&DISCARDED, |&(name, version, reason)| {
        let mut frames = recorded(name);
        frames.retain(|(_, frame)| frame.ip.0.to_string() == "192.0.2.253");
        let plan = Plan { vrid: 10, version, priority: 1, ..if version == 2 { Setup::V2 } else { Setup::V3 }.plan() };
        let lab = started(&plan)?;
        let peer = lab.peer_of(&plan, 200).with(|packet| packet.source = LOWER.0.into());
        let since = lab.send(&peer)?;
        let beat = lab.beat(vec![peer.clone()], plan.interval)?;
        play(&lab, &frames).with_context(|| name.to_owned())?;
        drop(beat);
        ensure!(lab.advertisements(since).is_empty(), "{name}: the backup became active");
        let last = lab.send(&peer)?;
        // All of them once more while the timer runs.
        for (_, frame) in &frames {
            lab.send_frame(&frame.frame)?;
        }
        lab.advertisement_after(last, plan.down_interval()).with_context(|| name.to_owned())?;
        let status = status(&lab)?;
        let discarded = &status["instances"][0]["advertisements"]["discarded"];
        let all: u64 = discarded.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        let expected = 2 * frames.len() as u64;
        // Another virtual router is none of this instance's business, and counted for the interface.
        let others = status["interfaces"][0]["other_virtual_routers"].as_u64().unwrap_or_default();
        let found = if reason == "vrid" { others } else { discarded[reason].as_u64().unwrap_or_default() };
        ensure!(found == expected && all + others == expected, "{name}: {discarded}, expected {expected} {reason}");
        Ok(())
    });
}
