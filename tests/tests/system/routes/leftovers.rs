//! What a killed router leaves behind, and what happens to it.

use std::time::Duration;

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, VIP, system_test};

use super::{INSTANCE, PATIENCE, marked, routing, start};

const NODE: Node = Node::Nginx01;

#[test]
fn killed_router_loses_what_depends_on_its_addresses_and_the_next_start_removes_the_rest() {
    system_test("SIGKILL of a router with routes and rules", &[Need::Vouchd], |site| {
        site.host(NODE)
            .sh("ip route add 192.0.2.0/24 dev ens33; ip rule add to 192.0.2.0/24 lookup main priority 50")?;
        let mut vouchd = start(site, NODE, 150, &routing())?;
        until("all of them", PATIENCE, || marked(site, NODE).is_ok_and(|all| all.len() == 4))?;
        vouchd.process.signal_all(Signal::SIGKILL);
        vouchd.process.wait(Duration::from_secs(5))?;
        until("the lease to end", PATIENCE, || !site.holders().now(VIP).contains(&NODE))?;
        // The route with the virtual address as its source is gone with it. The IPv6 route has a lifetime of its own; the
        // kernel ignores it from then on and collects it later.
        let left = marked(site, NODE)?;
        ensure!(!left.iter().any(|line| line.contains("203.0.113.0/24 via")), "{left:#?}");
        until("the lifetime of the IPv6 route to end", PATIENCE, || {
            site.host(NODE).sh("ip -6 route get 2001:db8:1::1").map_or(true, |found| !found.contains("metric 5"))
        })?;
        ensure!(left.iter().any(|line| line.starts_with("blackhole")), "{left:#?}");
        ensure!(left.iter().any(|line| line.starts_with("100:")), "{left:#?}");
        // A backup: another router has a higher priority.
        let other = start(site, Node::Nginx02, 200, "")?;
        other.wait_state(INSTANCE, "active", PATIENCE)?;
        let again = start(site, NODE, 150, &routing())?;
        again.wait_state(INSTANCE, "backup", PATIENCE)?;
        let left = marked(site, NODE)?;
        ensure!(left.is_empty(), "the start left {left:#?}");
        let hosts = site.host(NODE).sh("ip route show 192.0.2.0/24; ip rule show")?;
        ensure!(hosts.contains("192.0.2.0/24 dev ens33") && hosts.contains("50:"), "the host's own stay: {hosts}");
        Ok(())
    });
}

#[test]
fn frozen_router_removes_its_routes_when_it_continues() {
    system_test("SIGSTOP of a router with routes, and SIGCONT", &[Need::Vouchd], |site| {
        let vouchd = start(site, NODE, 150, &routing())?;
        until("all of them", PATIENCE, || marked(site, NODE).is_ok_and(|all| all.len() == 4))?;
        let other = start(site, Node::Nginx02, 100, &routing())?;
        other.wait_state(INSTANCE, "backup", PATIENCE)?;
        vouchd.process.signal_all(Signal::SIGSTOP);
        other.wait_state(INSTANCE, "active", PATIENCE)?;
        until("the lease to end", PATIENCE, || !site.holders().now(VIP).contains(&NODE))?;
        // It is the better router: it gives everything up, and takes over again.
        vouchd.process.signal_all(Signal::SIGCONT);
        vouchd.wait_state(INSTANCE, "active", PATIENCE)?;
        until("all of them again", PATIENCE, || marked(site, NODE).is_ok_and(|all| all.len() == 4))?;
        ensure!(vouchd.process.log().contains("removed rule"), "{}", vouchd.process.log());
        Ok(())
    });
}
