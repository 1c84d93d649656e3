//! A reload of a live router: the effective priority is what its checks make of the new configuration, from the first
//! advertisement on, and no reload is an election.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::capture::Capture;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, VIP, system_test};

const NODE: Node = Node::Nginx01;
const VRID: u8 = 55;
const PATIENCE: Duration = Duration::from_secs(15);

/// With a check that fails: there is no such process.
fn config(base: u8, weight: &str, name: &str) -> String {
    format!(
        "[check.service]\nplugin = \"process\"\nparams = {{ name = \"{name}\" }}\nallow = {{ process = [\"{name}\"] }}\n\
         interval = \"200ms\"\n{weight}\n\
         [instance.web]\ninterface = \"ens33\"\nvirtual_router_id = {VRID}\nversion = 3\nadvert_interval = \"200ms\"\n\
         priority = {base}\naddresses = [\"{VIP}\"]\nchecks = [\"service\"]\n"
    )
}

#[test]
fn a_failing_node_stays_where_its_checks_put_it_whatever_is_reloaded() {
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
            // Another check under the same name: it has failed until it says something else.
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
            std::thread::sleep(Duration::from_secs(1));
            let sent = capture.advertisements(NODE, VRID, start);
            let highest = sent.iter().map(|sent| u64::from(sent.priority())).max().unwrap_or(0);
            ensure!(highest <= expected.max(before), "advertised {highest} between {before} and {expected}");
            before = expected;
            ensure!(effective()? == expected, "{}", vouchd.instance("web")?);
        }
        // Those that the failure called go on, ever more rarely.
        let called = elections()? - called;
        ensure!(called < 8, "{called} elections");
        ensure!(site.holders().now(VIP) == [NODE], "a lone router keeps its address");
        Ok(())
    });
}
