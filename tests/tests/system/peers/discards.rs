//! Isolation (RFC 9568 sections 5 and 7.1): a discarded packet changes nothing, neither the timers of an Active router nor
//! those of a Backup.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::frame::Message;
use vouchd_tests::injector::Injector;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{sleep_until, until};
use vouchd_tests::{Need, Node, Site, system_test};

use super::frames::{DISCARDED, ODD, PASSWORD, SOURCE, Target, multicast};

const FRAMES: usize = 24;
const PERIOD: Duration = Duration::from_millis(500);

fn target(index: usize, frame: usize) -> Target {
    let number = u8::try_from(index).unwrap_or(0);
    Target {
        vrid: 60 + number,
        address: Ipv4Addr::new(192, 168, 175, 200 + number),
        priority: if frame.is_multiple_of(2) { 200 } else { 0 },
    }
}

fn instance(index: usize) -> String {
    format!("kind{index:02}")
}

/// Starts a router with one instance for each kind, so that all kinds are tested at the same time.
fn start(site: &Site, node: Node, priority: u8, versions: impl IntoIterator<Item = u8>) -> anyhow::Result<Vouchd> {
    let mut config = String::new();
    for (index, version) in versions.into_iter().enumerate() {
        let Target { vrid, address, .. } = target(index, 0);
        let _ = write!(
            config,
            "[instance.{}]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {vrid}\npriority = {priority}\n\
             version = {version}\nadvert_interval = \"1s\"\naddresses = [\"{address}\"]\n",
            instance(index),
        );
        if version == 2 {
            let _ = writeln!(config, "auth = {{ type = \"pass\", password = \"{PASSWORD}\" }}");
        }
    }
    Vouchd::start_with(site, node, Files::new(site, node)?, &config)
}

fn wait_all(vouchd: &Vouchd, state: &str) -> anyhow::Result<()> {
    until(&format!("all instances to be {state}"), Duration::from_secs(10), || {
        vouchd.status().is_ok_and(|status| {
            let instances = status["instances"].as_array().cloned().unwrap_or_default();
            !instances.is_empty() && instances.iter().all(|instance| instance["state"] == state)
        })
    })
}

#[test]
fn discarded_packets_touch_no_timer() {
    system_test("24 frames of each kind at 0.5 s", &[Need::Vouchd], |site| {
        let active = start(site, Node::Nginx01, 100, DISCARDED.map(|kind| kind.version))?;
        wait_all(&active, "active")?;
        let backup = start(site, Node::Nginx02, 80, DISCARDED.map(|kind| kind.version))?;
        wait_all(&backup, "backup")?;
        let before = backup.status()?;

        let injector = Injector::new(site)?;
        let capture = Capture::start(site)?;
        let start = Instant::now();
        for frame in 0..FRAMES {
            for (index, kind) in DISCARDED.iter().enumerate() {
                injector.send(&(kind.packet)(target(index, frame), frame))?;
            }
            // The rate is part of the rule: faster than the instances' own timers.
            sleep_until(start + PERIOD * (u32::try_from(frame)? + 1));
        }
        let end = Instant::now();

        // An advertisement a second; the first and the last second may be cut.
        let due = usize::try_from((end - start).as_secs())?;
        let mut wrong = Vec::new();
        for (index, kind) in DISCARDED.iter().enumerate() {
            let vrid = target(index, 0).vrid;
            let sent = capture.advertisements(Node::Nginx01, vrid, start);
            let times: Vec<_> = sent.iter().map(|a| a.at).filter(|&at| at <= end).collect();
            let gap = longest_gap(times.iter().copied(), start, end);
            if times.len().abs_diff(due) > 1 || gap > Duration::from_millis(1100) {
                wrong.push(format!("{}: {} advertisements, {due} due, gap {gap:?}", kind.name, times.len()));
            }
            let promoted = capture.advertisements(Node::Nginx02, vrid, start).len();
            if promoted > 0 {
                wrong.push(format!("{}: the backup sent {promoted} advertisements", kind.name));
            }
            for vouchd in [&active, &backup] {
                let status = vouchd.instance(&instance(index))?;
                let reasons = status["advertisements"]["discarded"].as_object().cloned().unwrap_or_default();
                let counted: u64 = reasons.values().filter_map(serde_json::Value::as_u64).sum();
                if counted < kind.counted {
                    wrong.push(format!(
                        "{}: {} counted {counted} of {} discards: {reasons:?}",
                        kind.name, status["state"], kind.counted
                    ));
                }
            }
            let name = instance(index);
            let state = |status: &serde_json::Value| {
                let instances = status["instances"].as_array().cloned().unwrap_or_default();
                instances
                    .into_iter()
                    .find(|i| i["name"] == name.as_str())
                    .map(|i| (i["state"].clone(), i["transitions"].clone()))
            };
            let after = backup.status()?;
            if state(&before) != state(&after) {
                wrong.push(format!("{}: the backup changed state", kind.name));
            }
        }
        ensure!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    });
}

#[test]
fn odd_but_valid_advertisements_keep_a_backup_where_it_is() {
    system_test("odd advertisements", &[Need::Vouchd], |site| {
        let injector = Injector::new(site)?;
        let capture = Capture::start(site)?;
        let backup = start(site, Node::Nginx02, 80, ODD.map(|kind| kind.version))?;
        wait_all(&backup, "backup")?;
        let start = Instant::now();
        // For twice the down interval.
        for frame in 1..=16 {
            for (index, kind) in ODD.iter().enumerate() {
                injector.send(&(kind.packet)(target(index, 0), 0))?;
            }
            sleep_until(start + PERIOD * frame);
        }
        let mut wrong = Vec::new();
        for (index, kind) in ODD.iter().enumerate() {
            let status = backup.instance(&instance(index))?;
            let promoted = capture.advertisements(Node::Nginx02, target(index, 0).vrid, start).len();
            let is_heard = status["active"]["address"] == SOURCE.to_string() && status["active"]["priority"] == 200;
            if promoted > 0 || status["state"] != "backup" || !is_heard {
                wrong.push(format!("{}: {promoted} advertisements, {status}", kind.name));
            }
        }
        ensure!(wrong.is_empty(), "{wrong:#?}");
        wait_all(&backup, "active")
    });
}

#[test]
fn flood_of_lower_priority_advertisements_changes_no_interval() {
    system_test("10000 advertisements a second", &[Need::Vouchd], |site| {
        const SECONDS: u32 = 5;
        let active = start(site, Node::Nginx01, 100, [3])?;
        wait_all(&active, "active")?;
        let injector = Injector::new(site)?;
        let capture = Capture::start(site)?;
        let lower = multicast(&Message::v3(target(0, 0).vrid, 50, target(0, 0).address)).bytes();
        let start = Instant::now();
        for burst in 1..=SECONDS * 100 {
            for _ in 0..100 {
                injector.send_raw(&lower)?;
            }
            sleep_until(start + Duration::from_millis(10) * burst);
        }
        let end = Instant::now();
        let sent = capture.advertisements(Node::Nginx01, target(0, 0).vrid, start);
        let gap = longest_gap(sent.iter().map(|a| a.at), start, end);
        println!("{} advertisements in {:?}, longest gap {gap:?}", sent.len(), end - start);
        ensure!(gap <= Duration::from_millis(1100), "a gap of {gap:?}");
        // RFC 9568 section 6.4.3 answers each of them at once. A flood must not be answered by a flood.
        ensure!(sent.len() <= 50 * usize::try_from(SECONDS)?, "{} replies", sent.len());
        ensure!(sent.iter().all(|a| a.priority() == 100));
        ensure!(site.holders().now(target(0, 0).address) == [Node::Nginx01]);
        Ok(())
    });
}
