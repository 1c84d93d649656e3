//! Accept mode off: packets to the addresses are dropped, and everything else works.

use anyhow::ensure;
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, system_test};

use super::{LINK_LOCAL, MAC_V4, MAC_V6, PATIENCE, V4, V6, connect, entry, instance, start, wait_all, with_ipv6};

#[test]
fn rows_64_and_65_router_that_does_not_accept_forwards_and_answers_arp_and_nd() {
    system_test("accept mode off", &[Need::Vouchd], |site| {
        with_ipv6(site)?;
        let (router, client, server) = (site.host(Node::Nginx01), site.host(Node::Client), site.host(Node::Web01));
        // A network behind the router, which the server has. Its answers take the direct way.
        server.sh("ip address add 198.51.100.21/32 dev lo && ip -6 address add 2001:db8:1::21/128 dev lo nodad")?;
        server.sh("ip -6 address add 2001:db8::21/64 dev ens33 nodad")?;
        router.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
        router.sh("ip route add 198.51.100.0/24 via 192.168.175.121")?;
        router.sh("ip -6 route add 2001:db8:1::/64 via 2001:db8::21")?;
        client.sh(&format!("ip route add 198.51.100.0/24 via {V4}"))?;
        client.sh(&format!("ip -6 route add 2001:db8:1::/64 via {LINK_LOCAL} dev ens33"))?;
        let vouchd = start(site, Node::Nginx01, &instance(100, &[V4, LINK_LOCAL, V6], ""))?;
        wait_all(&vouchd, "active")?;
        ensure!(vouchd.instance("gw")?["accept"] == false);
        for (address, mac) in [(V4, MAC_V4), (V6, MAC_V6), (LINK_LOCAL, MAC_V6)] {
            ensure!(connect(client, address) == "no answer", "{address}");
            ensure!(entry(client, address).as_deref() == Some(mac), "{address}: {:?}", entry(client, address));
        }
        for address in ["198.51.100.21", "2001:db8:1::21"] {
            until(&format!("{address} behind the router to answer"), PATIENCE, || {
                connect(client, address) == "refused"
            })?;
        }
        // The router's own addresses are open, and the router itself reaches the virtual ones.
        ensure!(connect(client, "192.168.175.101") == "refused");
        let local = router.sh(&format!("curl -s -m 1 http://{V4}:9/; echo $?"))?;
        ensure!(local.trim() == "7", "{local}");
        // A reload opens them.
        vouchd.files.write_config("nginx01", &instance(100, &[V4, LINK_LOCAL, V6], "accept = true"))?;
        vouchd.process.signal(nix::sys::signal::Signal::SIGHUP);
        for address in [V4, V6, LINK_LOCAL] {
            until(&format!("{address} to answer"), PATIENCE, || connect(client, address) == "refused")?;
        }
        Ok(())
    });
}

#[test]
fn rows_45_and_46_backup_takes_no_frames_to_the_virtual_mac() {
    system_test("a backup and the virtual MAC", &[Need::Vouchd], |site| {
        let (router, client, server) = (site.host(Node::Nginx02), site.host(Node::Client), site.host(Node::Web01));
        server.sh("ip address add 198.51.100.21/32 dev lo")?;
        router.sh("sysctl -qw net.ipv4.ip_forward=1 && ip route add 198.51.100.0/24 via 192.168.175.121")?;
        let active = start(site, Node::Nginx01, &instance(100, &[V4], "accept = true"))?;
        wait_all(&active, "active")?;
        let backup = start(site, Node::Nginx02, &instance(90, &[V4], "accept = true"))?;
        wait_all(&backup, "backup")?;
        ensure!(backup.instance("gw")?["virtual_mac"]["state"] == "down");
        // The switch floods frames to the virtual MAC: it does not know the port of the active router any more.
        site.cable(Node::Nginx01, false)?;
        site.switch().sh("bridge fdb show dev p-nginx01 dynamic | while read mac rest; do bridge fdb del $mac dev p-nginx01 master; done")?;
        site.multicast(Node::Nginx02, true)?;
        client.sh(&format!("ip neigh replace {V4} lladdr {MAC_V4} dev ens33"))?;
        client.sh(&format!("ip route add 198.51.100.0/24 via {V4}"))?;
        // Until it takes over, which it does after three intervals of silence: so it is stopped.
        backup.process.signal(nix::sys::signal::Signal::SIGSTOP);
        ensure!(connect(client, V4) == "no answer");
        ensure!(connect(client, "198.51.100.21") == "no answer");
        backup.process.signal(nix::sys::signal::Signal::SIGCONT);
        wait_all(&backup, "active")?;
        until("the new active router to forward", PATIENCE, || connect(client, "198.51.100.21") == "refused")?;
        Ok(())
    });
}
