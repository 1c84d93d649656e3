//! What a killed daemon leaves behind, and what is somebody else's.

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::host::Host;
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, system_test};

use super::{LINK_LOCAL, PATIENCE, V4, V6, connect, has_link, instance, start, wait_all, with_ipv6};

/// `arp_ignore` and `arp_announce` of the hosts' interface.
fn settings(host: &Host) -> anyhow::Result<String> {
    host.sh("cat /proc/sys/net/ipv4/conf/ens33/arp_ignore /proc/sys/net/ipv4/conf/ens33/arp_announce")
}

#[test]
fn killed_router_loses_its_addresses_and_forwarding_and_the_next_start_removes_the_rest() {
    system_test("SIGKILL with a virtual MAC", &[Need::Vouchd], |site| {
        with_ipv6(site)?;
        let (router, client, server) = (site.host(Node::Nginx01), site.host(Node::Client), site.host(Node::Web01));
        server.sh("ip address add 198.51.100.21/32 dev lo")?;
        router.sh("sysctl -qw net.ipv4.ip_forward=1 && ip route add 198.51.100.0/24 via 192.168.175.121")?;
        client.sh(&format!("ip route add 198.51.100.0/24 via {V4}"))?;
        router.sh("ip link add link ens33 name foreign address 00:00:5e:00:01:38 type macvlan mode bridge")?;
        let before = settings(router)?;
        let text = instance(100, &[V4, LINK_LOCAL, V6], "");
        let mut vouchd = start(site, Node::Nginx01, &text)?;
        wait_all(&vouchd, "active")?;
        until("forwarding", PATIENCE, || connect(client, "198.51.100.21") == "refused")?;
        ensure!(settings(router)? != before);
        vouchd.process.signal_all(Signal::SIGKILL);
        vouchd.process.wait(PATIENCE)?;
        until("the leases to end", PATIENCE, || {
            router
                .sh("ip -o address show")
                .is_ok_and(|shown| ![V4, LINK_LOCAL, V6].iter().any(|it| shown.contains(&format!("{it}/"))))
        })?;
        // The interface is still on, but without an address it takes nothing.
        client.sh(&format!("ip neigh replace {V4} lladdr {} dev ens33", super::MAC_V4))?;
        ensure!(connect(client, "198.51.100.21") == "no answer");
        // Nothing of the table is left: it belonged to the process.
        let rules = router.sh("nft list ruleset 2>/dev/null || true")?;
        ensure!(rules.trim().is_empty(), "{rules}");
        let vouchd = start(site, Node::Nginx01, "")?;
        until("the interfaces to be removed", PATIENCE, || {
            !has_link(router, "vrrp4.55") && !has_link(router, "vrrp6.55")
        })?;
        ensure!(has_link(router, "foreign"));
        ensure!(settings(router)? == before, "{}", settings(router)?);
        ensure!(vouchd.stop()?.success());
        Ok(())
    });
}

#[test]
fn stop_and_reload_leave_nothing_of_a_virtual_mac() {
    system_test("stop and reload with a virtual MAC", &[Need::Vouchd], |site| {
        let router = site.host(Node::Nginx01);
        let before = (settings(router)?, router.sh("ip -o link show | sort")?);
        let vouchd = start(site, Node::Nginx01, &instance(100, &[V4], ""))?;
        wait_all(&vouchd, "active")?;
        ensure!(has_link(router, "vrrp4.55"));
        // Another name, at once.
        let renamed = instance(100, &[V4], "").replace("virtual_mac = true", "virtual_mac = { name = \"gateway\" }");
        vouchd.files.write_config("nginx01", &renamed)?;
        vouchd.process.signal(Signal::SIGHUP);
        until("the new interface", PATIENCE, || {
            let there = router.sh("ip -o address show dev gateway").is_ok_and(|shown| shown.contains(V4));
            there && !has_link(router, "vrrp4.55")
        })?;
        // Without a virtual MAC, the address is on the interface itself.
        vouchd.files.write_config("nginx01", &instance(100, &[V4], "").replace("virtual_mac = true\n", ""))?;
        vouchd.process.signal(Signal::SIGHUP);
        until("the address on the interface itself", PATIENCE, || {
            let there = router.sh("ip -o address show dev ens33").is_ok_and(|shown| shown.contains(V4));
            there && !has_link(router, "gateway") && settings(router).is_ok_and(|now| now == before.0)
        })?;
        vouchd.files.write_config("nginx01", &instance(100, &[V4], ""))?;
        vouchd.process.signal(Signal::SIGHUP);
        until("the virtual MAC again", PATIENCE, || {
            vouchd.instance("gw").is_ok_and(|instance| instance["virtual_mac"]["state"] == "up")
        })?;
        ensure!(vouchd.stop()?.success());
        ensure!((settings(router)?, router.sh("ip -o link show | sort")?) == before);
        Ok(())
    });
}

#[test]
fn interface_of_somebody_else_under_that_name_keeps_the_instance_out_and_is_never_touched() {
    system_test("a taken name", &[Need::Vouchd], |site| {
        let router = site.host(Node::Nginx01);
        router.sh("ip link add link ens33 name vrrp4.55 type macvlan mode bridge")?;
        let vouchd = start(site, Node::Nginx01, &instance(100, &[V4], ""))?;
        until("the reason", PATIENCE, || {
            vouchd.instance("gw").is_ok_and(|instance| {
                instance["state"] == "initialize"
                    && instance["reason"].to_string().contains("vrrp4.55 exists already and is not vouchd's")
                    && instance["virtual_mac"]["error"].is_string()
            })
        })?;
        router.sh("ip link del vrrp4.55")?;
        wait_all(&vouchd, "active")?;
        ensure!(vouchd.stop()?.success());
        Ok(())
    });
}
