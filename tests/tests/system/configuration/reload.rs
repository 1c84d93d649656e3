//! Reloads of an active router: from the first advertisement on, the priority is that of the new configuration and its
//! checks. A reload is no election.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::capture::Capture;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{eventually, until};
use vouchd_tests::{Need, Node, VIP, system_test};

const NODE: Node = Node::Nginx01;
const VRID: u8 = 55;
const PATIENCE: Duration = Duration::from_secs(15);

/// A check that fails, since there is no such process, and an instance that depends on it.
fn config(base: u8, weight: &str, name: &str) -> String {
    format!(
        "[check.service]\nplugin = \"process\"\nparams = {{ name = \"{name}\" }}\nallow = {{ process = [\"{name}\"] }}\n\
         interval = \"200ms\"\n{weight}\n\
         [instance.web]\ninterface = \"ens33\"\nvirtual_router_id = {VRID}\nversion = 3\nadvert_interval = \"200ms\"\n\
         priority = {base}\naddresses = [\"{VIP}\"]\nchecks = [\"service\"]\n"
    )
}

#[test]
fn failing_node_keeps_its_reduced_priority_across_reloads() {
    system_test("reloads while a check fails", &[Need::Vouchd], |site| {
        let first = config(100, "weight = -200", "no-such-service");
        let vouchd = Vouchd::start_with(site, NODE, Files::new(site, NODE)?, &first)?;
        let effective = || vouchd.instance("web").map(|it| it["priority"]["effective"].as_u64().unwrap_or(0));
        vouchd.wait_state("web", "active", PATIENCE)?;
        until("the check to fail", PATIENCE, || effective().is_ok_and(|priority| priority == 1))?;
        let capture = Capture::start(site)?;
        let elections = || vouchd.instance("web").map(|it| it["elections_called"].as_u64().unwrap_or(0));
        let (called, mut before) = (elections()?, 1);
        for (config, base, expected) in [
            (config(150, "weight = -200", "no-such-service"), 150, 1),
            (config(150, "weight = -40", "no-such-service"), 150, 110),
            // Another check under the same name: it counts as failed until its first result.
            (config(150, "weight = -40", "nor-this-one"), 150, 110),
            (config(120, "weight = -20", "nor-this-one"), 120, 100),
        ] {
            let start = Instant::now();
            vouchd.files.write_config(NODE.name(), &config)?;
            vouchd.process.signal(Signal::SIGHUP);
            until("the reload", PATIENCE, || {
                vouchd.instance("web").is_ok_and(|it| it["priority"]["base"] == base)
                    && effective().is_ok_and(|priority| priority == expected)
            })?;
            let sent = eventually("five advertisements", PATIENCE, || {
                Some(capture.advertisements(NODE, VRID, start)).filter(|sent| sent.len() >= 5)
            })?;
            let highest = sent.iter().map(|sent| u64::from(sent.priority())).max().unwrap_or(0);
            ensure!(highest <= expected.max(before), "advertised {highest} between {before} and {expected}");
            before = expected;
            ensure!(effective()? == expected, "{}", vouchd.instance("web")?);
        }
        // The elections that the failure calls go on, at growing intervals.
        let called = elections()? - called;
        ensure!(called < 8, "{called} elections");
        ensure!(site.holders().now(VIP) == [NODE], "a lone router lost its address");
        Ok(())
    });
}
