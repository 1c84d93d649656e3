//! `track`, `link_delay` and `track_link`.

use std::time::Duration;

use anyhow::ensure;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, system_test};

use super::{INSTANCE, NODE, PATIENCE, add_link, instance, start, wait_for};

#[test]
fn tracked_interface_that_fails_goes_and_comes_is_a_fault_and_its_end() {
    system_test("track", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        add_link(host, "wan0", "wan1")?;
        let vouchd = start(site, NODE, &instance(INTERFACE, "track = [\"wan0\"]"))?;
        wait_for(&vouchd, "active", "")?;
        host.sh("ip link set wan1 down")?;
        wait_for(&vouchd, "initialize", "interface wan0: no carrier")?;
        host.sh("ip link set wan1 up")?;
        wait_for(&vouchd, "active", "")?;
        host.sh("ip link del wan0")?;
        wait_for(&vouchd, "initialize", "interface wan0: does not exist")?;
        add_link(host, "wan0", "wan1")?;
        wait_for(&vouchd, "active", "")?;
        host.sh("ip link set wan0 down")?;
        wait_for(&vouchd, "initialize", "interface wan0: switched off")
    });
}

#[test]
fn tracked_pattern_with_a_weight_is_a_term_of_the_priority() {
    system_test("track with a weight", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        add_link(host, "wan0", "cable0")?;
        let keys = "track = [{ interface = \"wan*\", weight = -30 }]";
        let vouchd = start(site, NODE, &instance(INTERFACE, keys))?;
        wait_for(&vouchd, "active", "")?;
        let priority = |wanted: u64| {
            until(&format!("priority {wanted}"), PATIENCE, || {
                vouchd.instance(INSTANCE).is_ok_and(|instance| instance["priority"]["effective"] == wanted)
            })
        };
        priority(100)?;
        host.sh("ip link set cable0 down")?;
        priority(70)?;
        let explained = vouchd.command(&["explain", INSTANCE])?.page();
        ensure!(explained.contains("interface wan* -30 (wan0 no carrier)"), "{explained}");
        // Another interface that matches is enough.
        add_link(host, "wan5", "cable5")?;
        priority(100)?;
        host.sh("ip link set wan5 name lan5")?;
        priority(70)?;
        let term = &vouchd.instance(INSTANCE)?["priority"]["terms"][0];
        ensure!(term["kind"] == "interface" && term["name"] == "wan*" && term["value"] == -30, "{term}");
        Ok(())
    });
}

#[test]
fn own_link_without_a_carrier_counts_after_link_delay_and_not_at_all_without_track_link() {
    system_test("track_link, link_delay", &[Need::Vouchd], |site| {
        let vouchd = start(site, NODE, &instance(INTERFACE, "track_link = false"))?;
        wait_for(&vouchd, "active", "")?;
        site.cable(NODE, false)?;
        let active = || vouchd.instance(INSTANCE).is_ok_and(|instance| instance["state"] == "active");
        holds("it stays active without a cable", Duration::from_secs(1), active)?;
        site.cable(NODE, true)?;
        vouchd.stop()?;

        let vouchd = start(site, NODE, &instance(INTERFACE, "link_delay = \"150ms\""))?;
        wait_for(&vouchd, "active", "")?;
        site.cable(NODE, false)?;
        wait_for(&vouchd, "initialize", "no carrier")?;
        site.cable(NODE, true)?;
        wait_for(&vouchd, "active", "")
    });
}
