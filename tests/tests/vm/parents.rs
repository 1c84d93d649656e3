//! Interfaces that are made of others, as parents of a virtual router: they elect, hold the address, and fail over when the
//! cable of the interface below is cut.

use anyhow::ensure;
use vouchd_tests::Node;
use vouchd_tests::site::{INTERFACE, Site};

use super::{ADDRESS, guest_test, start, wait_active};

/// Runs the script on both routers (`$ADDRESS` is the host's own one) and goes through an election and two failovers.
fn fails_over(site: &Site, interface: &str, script: &str, keys: [&str; 2]) -> anyhow::Result<()> {
    for (node, last) in [(Node::Nginx01, 1), (Node::Nginx02, 2), (Node::Client, 10)] {
        site.host(node).sh(&format!("set -e; ADDRESS=10.10.0.{last}/24; {script}"))?;
    }
    let routers = [start(site, Node::Nginx01, interface, keys[0])?, start(site, Node::Nginx02, interface, keys[1])?];
    wait_active(site, &routers, Node::Nginx01, interface)?;
    answers(site)?;
    site.cable(Node::Nginx01, false)?;
    wait_active(site, &routers, Node::Nginx02, interface)?;
    answers(site)?;
    site.cable(Node::Nginx01, true)?;
    wait_active(site, &routers, Node::Nginx01, interface)?;
    answers(site)
}

/// The client gets an answer from the virtual address: no server listens there, so the connection is refused.
fn answers(site: &Site) -> anyhow::Result<()> {
    let attempt = format!("timeout 20 bash -c '</dev/tcp/{ADDRESS}/9' 2>&1 || true");
    let answer = site.host(Node::Client).sh(&attempt)?;
    ensure!(answer.contains("refused"), "no answer from {ADDRESS}: {answer}");
    Ok(())
}

#[test]
fn vlan_carries_a_virtual_router() {
    guest_test("VLAN", |site| {
        let script = format!(
            "ip link add link {INTERFACE} name lan0 type vlan id 10; ip addr add $ADDRESS dev lan0; ip link set lan0 up"
        );
        fails_over(site, "lan0", &script, [""; 2])
    });
}

#[test]
fn bond_carries_a_virtual_router() {
    guest_test("bond", |site| {
        let script = format!(
            "ip link add lan0 type bond mode active-backup miimon 100; ip link set {INTERFACE} down; \
             ip link set {INTERFACE} master lan0; ip addr add $ADDRESS dev lan0; ip link set lan0 up"
        );
        fails_over(site, "lan0", &script, [""; 2])
    });
}

#[test]
fn bridge_carries_a_virtual_router() {
    guest_test("bridge", |site| {
        let script = format!(
            "ip link add lan0 type bridge stp_state 0 forward_delay 0; ip link set {INTERFACE} master lan0; \
             ip addr add $ADDRESS dev lan0; ip link set lan0 up"
        );
        fails_over(site, "lan0", &script, [""; 2])
    });
}

/// By unicast too: the peers can be reached only through the routing table of the VRF.
#[test]
fn interface_of_a_vrf_carries_a_virtual_router() {
    guest_test("VRF", |site| {
        let script = format!(
            "if [ $ADDRESS != 10.10.0.10/24 ]; then \
             ip link add blue type vrf table 10; ip link set blue up; ip link set {INTERFACE} master blue; \
             ip addr flush dev {INTERFACE}; fi; ip addr add $ADDRESS dev {INTERFACE}"
        );
        let unicast = |own, peer| format!("unicast = {{ source = \"10.10.0.{own}\", peers = [\"10.10.0.{peer}\"] }}\n");
        let keys = [unicast(1, 2), unicast(2, 1)];
        fails_over(site, INTERFACE, &script, [&keys[0], &keys[1]])?;
        let routes = site.host(Node::Nginx01).sh("ip route show table 10")?;
        ensure!(routes.contains("10.10.0.0/24"), "the address is not in the table of the VRF: {routes}");
        Ok(())
    });
}
