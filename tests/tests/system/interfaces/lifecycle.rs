//! Interfaces that do not exist yet, are renamed, deleted, and created again.

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::wait::until;
use vouchd_tests::{Need, system_test};

use super::{NODE, PATIENCE, add_link, instance, start, wait_for};

#[test]
fn interface_that_appears_is_renamed_and_is_created_again_is_used_whenever_it_is_there() {
    system_test("interface that comes and goes", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        let vouchd = start(site, NODE, &instance("late0", ""))?;
        wait_for(&vouchd, "initialize", "late0: does not exist")?;
        let appear = || {
            add_link(host, "late0", "late1")?;
            host.sh("ip address add 192.168.175.9/24 dev late0").map(drop)
        };
        appear()?;
        wait_for(&vouchd, "active", "")?;
        let has_it = |interface: &str| {
            let shown = host.sh(&format!("ip -4 -o address show dev {interface}")).unwrap_or_default();
            shown.contains("192.168.175.100/24")
        };
        until("the address on late0", PATIENCE, || has_it("late0"))?;

        // Under another name it is another interface, and vouchd leaves nothing on it.
        host.sh("ip link set late0 name away0")?;
        wait_for(&vouchd, "initialize", "late0: does not exist")?;
        until("no address on away0", PATIENCE, || !has_it("away0"))?;
        host.sh("ip link set away0 name late0")?;
        wait_for(&vouchd, "active", "")?;
        until("the address on late0 again", PATIENCE, || has_it("late0"))?;

        let index = host.sh("cat /sys/class/net/late0/ifindex")?;
        host.sh("ip link del late0")?;
        wait_for(&vouchd, "initialize", "late0: does not exist")?;
        appear()?;
        ensure!(host.sh("cat /sys/class/net/late0/ifindex")? != index, "it has the same index");
        wait_for(&vouchd, "active", "")?;
        until("the address on the new late0", PATIENCE, || has_it("late0"))
    });
}

#[test]
fn interface_that_is_missing_at_a_reload_is_waited_for() {
    system_test("reload to a missing interface", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        let vouchd = start(site, NODE, &instance(INTERFACE, ""))?;
        wait_for(&vouchd, "active", "")?;
        vouchd.files.write_config(NODE.name(), &instance("late0", ""))?;
        vouchd.process.signal(Signal::SIGHUP);
        wait_for(&vouchd, "initialize", "late0: does not exist")?;
        add_link(host, "late0", "late1")?;
        wait_for(&vouchd, "initialize", "without an IPv4 address of its own")?;
        host.sh("ip address add 192.168.175.9/24 dev late0")?;
        wait_for(&vouchd, "active", "")
    });
}

#[test]
fn flood_of_notifications_moves_nothing() {
    system_test("lost notifications", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        let vouchd = start(site, NODE, &instance(INTERFACE, "track = [\"lo\"]"))?;
        wait_for(&vouchd, "active", "")?;
        let transitions = |vouchd: &vouchd_tests::vouchd::Vouchd| -> anyhow::Result<_> {
            Ok(vouchd.instance(super::INSTANCE)?["transitions"].clone())
        };
        let before = transitions(&vouchd)?;
        // 20,000 addresses come and go, in two batches.
        let batch =
            "for i in $(seq 1 40); do for j in $(seq 1 250); do echo \"address $0 10.9.$i.$j/32 dev lo\"; done; done";
        host.sh(&format!("sh -c '{batch}' add > /run/batch && ip -batch /run/batch"))?;
        host.sh(&format!("sh -c '{batch}' del > /run/batch && ip -batch /run/batch"))?;
        ensure!(transitions(&vouchd)? == before, "it changed its state:\n{}", vouchd.process.log());
        // It still follows.
        host.sh("ip link set lo down")?;
        wait_for(&vouchd, "initialize", "interface lo: switched off")
    });
}
