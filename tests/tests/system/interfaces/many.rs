//! Many instances on one interface.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::Vouchd;
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, system_test};

use super::start;

const COUNT: usize = 120;

fn config(priority: u8) -> String {
    (1..=COUNT)
        .map(|vrid| {
            format!(
                "[instance.i{vrid}]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {vrid}\nversion = 3\n\
                 priority = {priority}\naddresses = [\"10.20.0.{vrid}/32\"]\n"
            )
        })
        .collect()
}

/// How many instances are in the state.
fn count(vouchd: &Vouchd, state: &str) -> usize {
    let status = vouchd.status().unwrap_or_default();
    status["instances"].as_array().into_iter().flatten().filter(|instance| instance["state"] == state).count()
}

#[test]
fn every_one_of_many_instances_elects_fails_over_and_advertises_on_time() {
    system_test("120 instances", &[Need::Vouchd], |site| {
        let within = Duration::from_secs(20);
        let better = start(site, Node::Nginx01, &config(150))?;
        until("all instances to be active", within, || count(&better, "active") == COUNT)?;
        let held =
            || site.host(Node::Nginx01).sh("ip -4 -o address show | grep -c ' 10\\.20\\.' || true").unwrap_or_default();
        until("all addresses", within, || held().trim() == COUNT.to_string())?;
        let worse = start(site, Node::Nginx02, &config(100))?;
        until("all others to be backup", within, || count(&worse, "backup") == COUNT)?;

        let capture = vouchd_tests::capture::Capture::start(site)?;
        let start = Instant::now();
        let first = u8::try_from(COUNT)?;
        until("three advertisements of the last instance", within, || {
            capture.advertisements(Node::Nginx01, first, start).len() >= 3
        })?;
        for vrid in 1..=first {
            let sent = capture.advertisements(Node::Nginx01, vrid, start);
            for pair in sent.windows(2) {
                let interval = pair[1].at.duration_since(pair[0].at);
                // Two of them, so that a busy machine does not matter; a router that falls behind is far later.
                ensure!(
                    interval < Duration::from_secs(2),
                    "virtual router {vrid}: {interval:?} between advertisements"
                );
            }
        }
        ensure!(count(&worse, "backup") == COUNT, "an instance took over from a router that advertises");

        // Every address goes within the time that a stop has, and every instance is taken over at once.
        let code = better.stop()?.code().context("killed")?;
        ensure!(code == 0, "ended with {code}");
        ensure!(held().trim() == "0", "left behind: {}", held());
        until("all instances of the other to be active", within, || count(&worse, "active") == COUNT)
    });
}
