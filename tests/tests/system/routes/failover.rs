//! The routes move with the addresses, and a client behind them notices only the failover.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::wait::until;
use vouchd_tests::web::Web;
use vouchd_tests::{Need, Node, Site, VIP, system_test};

use super::{BEHIND, INSTANCE, PATIENCE, TARGET, config, marked, routing, start};

const NODES: [Node; 2] = Node::ROUTERS;

/// Makes the proxies routers, web01 the host behind them, and the virtual address the client's gateway.
fn network_behind(site: &Site) -> anyhow::Result<()> {
    for node in NODES {
        // All are on one segment: the kernel would redirect the client straight to web01.
        site.host(node).sh(
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects; \
             echo 0 > /proc/sys/net/ipv4/conf/ens33/send_redirects; echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; \
             echo 0 > /proc/sys/net/ipv4/conf/ens33/rp_filter",
        )?;
    }
    site.host(Node::Web01).sh(&format!("ip address add {TARGET}/32 dev lo"))?;
    site.host(Node::Client).sh(&format!("ip route add {BEHIND} via {VIP}"))?;
    Ok(())
}

fn reaches(site: &Site) -> bool {
    let target = SocketAddr::new(TARGET.parse().expect("an address"), 80);
    let connect = move || TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_ok();
    site.host(Node::Client).in_network(connect).is_ok_and(|thread| thread.join().unwrap_or(false))
}

#[test]
fn client_reaches_through_the_route_of_whichever_router_is_active() {
    system_test("a gateway with virtual routes fails over and back", &[Need::Vouchd], |site| {
        network_behind(site)?;
        let _web = Web::start(site, Node::Web01)?;
        let first = start(site, Node::Nginx01, 150, &routing())?;
        let second = start(site, Node::Nginx02, 100, &routing())?;
        first.wait_state(INSTANCE, "active", PATIENCE)?;
        until("the client to reach the host behind the first", PATIENCE, || reaches(site))?;
        let installed = |vouchd: &vouchd_tests::vouchd::Vouchd| {
            vouchd.instance(INSTANCE).is_ok_and(|it| {
                let all = [&it["routes"], &it["rules"]].into_iter().filter_map(|list| list.as_array()).flatten();
                let all: Vec<_> = all.collect();
                all.len() == 4 && all.iter().all(|it| it["installed"] == true && it["error"].is_null())
            })
        };
        until("the status to show all of them", PATIENCE, || installed(&first))?;
        let on_first = marked(site, Node::Nginx01)?;
        ensure!(on_first.len() == 4, "{on_first:#?}");
        let on_second = marked(site, Node::Nginx02)?;
        ensure!(on_second.is_empty(), "a backup has {on_second:#?}");

        let status = first.stop()?;
        ensure!(status.success(), "{status}");
        let left = marked(site, Node::Nginx01)?;
        ensure!(left.is_empty(), "stopped, and left {left:#?}");
        second.wait_state(INSTANCE, "active", PATIENCE)?;
        until("the client to reach the host behind the second", PATIENCE, || reaches(site))?;
        until("the status of the second", PATIENCE, || installed(&second))?;
        let on_second = marked(site, Node::Nginx02)?;
        ensure!(on_second.len() == 4, "{on_second:#?}");

        let first = start(site, Node::Nginx01, 150, &routing())?;
        first.wait_state(INSTANCE, "active", PATIENCE)?;
        until("the second to give everything up", PATIENCE, || {
            marked(site, Node::Nginx02).is_ok_and(|left| left.is_empty())
        })?;
        until("the client to reach it through the first again", PATIENCE, || reaches(site))
    });
}

#[test]
fn reload_changes_routes_of_an_active_router_without_a_failover() {
    system_test("a reload adds, changes and removes routes", &[Need::Vouchd], |site| {
        let vouchd = start(site, Node::Nginx01, 150, &routing())?;
        vouchd.wait_state(INSTANCE, "active", PATIENCE)?;
        until("all routes", PATIENCE, || marked(site, Node::Nginx01).is_ok_and(|all| all.len() == 4))?;
        let since = vouchd.instance(INSTANCE)?["since"].clone();
        let changed = "routes = [\"blackhole 198.51.100.0/24 table 100\", \"203.0.113.0/24 via 192.168.175.122\"]\n";
        vouchd.files.write_config(Node::Nginx01.name(), &config(150, changed))?;
        vouchd.process.signal(Signal::SIGHUP);
        until("the new routes", PATIENCE, || {
            marked(site, Node::Nginx01)
                .is_ok_and(|all| all.len() == 2 && all.iter().any(|line| line.contains("via 192.168.175.122")))
        })?;
        ensure!(vouchd.instance(INSTANCE)?["since"] == since, "it stayed active");
        let holders = site.holders().now(VIP);
        ensure!(holders == [Node::Nginx01], "{holders:?}");
        Ok(())
    });
}

#[test]
fn route_that_fails_is_reported_and_the_router_stays_active() {
    system_test("a route that the kernel refuses", &[Need::Vouchd], |site| {
        site.host(Node::Nginx01).sh("ip route add 203.0.113.0/24 via 192.168.175.122")?;
        let routing = "routes = [\"203.0.113.0/24 via 192.168.175.121\", \"198.51.100.0/24 dev nowhere\"]\n";
        let vouchd = start(site, Node::Nginx01, 150, routing)?;
        vouchd.wait_state(INSTANCE, "active", PATIENCE)?;
        until("both errors", PATIENCE, || {
            vouchd.instance(INSTANCE).is_ok_and(|it| {
                let errors: Vec<_> =
                    (0..2).map(|n| it["routes"][n]["error"].as_str().unwrap_or("").to_owned()).collect();
                errors[0].contains("has an equal one") && errors[1].contains("interface nowhere does not exist")
            })
        })?;
        let shown = vouchd.command(&["status"])?;
        ensure!(shown.code == Some(1), "{}", shown.page());
        ensure!(shown.text().contains("203.0.113.0/24"), "{}", shown.page());
        ensure!(vouchd.instance(INSTANCE)?["state"] == "active", "the instance stays active");
        let hosts = site.host(Node::Nginx01).sh("ip route show 203.0.113.0/24")?;
        ensure!(hosts.contains("via 192.168.175.122") && !hosts.contains("118"), "the host's own stays: {hosts}");
        site.host(Node::Nginx01)
            .sh("ip link add nowhere type veth peer name else; ip link set else up; ip link set nowhere up")?;
        until("the route over the new interface", PATIENCE, || {
            vouchd.instance(INSTANCE).is_ok_and(|it| it["routes"][1]["installed"] == true)
        })?;
        vouchd.stop()?;
        let hosts = site.host(Node::Nginx01).sh("ip route show 203.0.113.0/24")?;
        ensure!(hosts.contains("via 192.168.175.122"), "{hosts}");
        Ok(())
    });
}

#[test]
fn routes_are_back_after_the_interface_was_down() {
    system_test("the interface of a router with routes goes down and up", &[Need::Vouchd], |site| {
        let vouchd = start(site, Node::Nginx01, 150, &routing())?;
        until("all routes", PATIENCE, || marked(site, Node::Nginx01).is_ok_and(|all| all.len() == 4))?;
        site.host(Node::Nginx01).sh("ip link set ens33 down")?;
        vouchd.wait_state(INSTANCE, "initialize", PATIENCE)?;
        until("no route left", PATIENCE, || marked(site, Node::Nginx01).is_ok_and(|all| all.is_empty()))?;
        site.host(Node::Nginx01).sh("ip link set ens33 up")?;
        vouchd.wait_state(INSTANCE, "active", PATIENCE + Duration::from_secs(5))?;
        until("all routes again", PATIENCE, || marked(site, Node::Nginx01).is_ok_and(|all| all.len() == 4))
    });
}
