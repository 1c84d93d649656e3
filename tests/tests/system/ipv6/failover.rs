//! Two vouchd over IPv6: who holds the addresses, and what a client sees of it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use serde_json::Value;
use vouchd_tests::ipv6::{Greeter, VIP6};
use vouchd_tests::site::INTERFACE;
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, system_test};

use super::{PATIENCE, instance, start};

fn fails_over(site: &Site, extra: impl Fn(Node) -> anyhow::Result<String>) -> anyhow::Result<()> {
    site.with_ipv6()?;
    let _greeters = [Greeter::start(site, Node::Nginx01)?, Greeter::start(site, Node::Nginx02)?];
    let start_on = |node| start(site, node, &instance(node, &extra(node)?));
    let _worse = start_on(Node::Nginx02)?;
    let better = start_on(Node::Nginx01)?;
    site.wait_ipv6_holder(Node::Nginx01, PATIENCE)?;
    ensure!(site.greeted_by(PATIENCE)? == "nginx01");
    better.stop()?;
    site.wait_ipv6_holder(Node::Nginx02, PATIENCE)?;
    ensure!(site.greeted_by(PATIENCE)? == "nginx02");
    let better = start_on(Node::Nginx01)?;
    site.wait_ipv6_holder(Node::Nginx01, PATIENCE)?;
    ensure!(site.greeted_by(PATIENCE)? == "nginx01", "preemption");
    site.cable(Node::Nginx01, false)?;
    better.wait_state("web", "initialize", PATIENCE)?;
    site.wait_ipv6_holder(Node::Nginx02, PATIENCE)?;
    ensure!(site.greeted_by(PATIENCE)? == "nginx02");
    site.cable(Node::Nginx01, true)?;
    site.wait_ipv6_holder(Node::Nginx01, PATIENCE)?;
    ensure!(site.greeted_by(PATIENCE)? == "nginx01");
    Ok(())
}

#[test]
fn ipv6_addresses_fail_over_by_multicast() {
    system_test("IPv6, multicast", &[Need::Vouchd], |site| fails_over(site, |_| Ok(String::new())));
}

#[test]
fn ipv6_addresses_fail_over_by_unicast_between_link_local_addresses() {
    system_test("IPv6, unicast, link-local", &[Need::Vouchd], |site| {
        fails_over(site, |node| {
            let peer = vouchd_tests::pair::peer(node);
            let (own, peer) = (site.link_local(node)?, site.link_local(peer)?);
            Ok(format!("unicast = {{ source = \"{own}\", peers = [\"{peer}\"] }}"))
        })
    });
}

#[test]
fn ipv6_addresses_fail_over_by_unicast_between_global_addresses() {
    system_test("IPv6, unicast, global", &[Need::Vouchd], |site| {
        fails_over(site, |node| {
            let peer = vouchd_tests::pair::peer(node).global();
            Ok(format!("unicast = {{ source = \"{}\", peers = [\"{peer}\"] }}", node.global()))
        })
    });
}

/// Over IPv6 the checksum covers the trailer, with the address of each destination.
#[test]
fn ipv6_addresses_fail_over_with_hmac_by_multicast_and_by_unicast() {
    system_test("IPv6, HMAC", &[Need::Vouchd], |site| {
        let auth = format!("auth = {{ type = \"hmac\", keys = [{{ id = 1, hex = \"{}\" }}] }}\n", "5a".repeat(32));
        fails_over(site, |_| Ok(auth.clone()))?;
        let unicast = |node: Node| {
            let peer = vouchd_tests::pair::peer(node).global();
            format!("{auth}unicast = {{ source = \"{}\", peers = [\"{peer}\"] }}", node.global())
        };
        let worse = start(site, Node::Nginx02, &instance(Node::Nginx02, &unicast(Node::Nginx02)))?;
        let better = start(site, Node::Nginx01, &instance(Node::Nginx01, &unicast(Node::Nginx01)))?;
        site.wait_ipv6_holder(Node::Nginx01, PATIENCE)?;
        until("nginx02 to verify what it hears", PATIENCE, || {
            let peers = worse.instance("web").map(|status| status["peers"].clone()).unwrap_or_default();
            peers.as_array().is_some_and(|peers| peers.iter().any(|peer| peer["hmac"] == "key 1"))
        })?;
        better.stop()?;
        site.wait_ipv6_holder(Node::Nginx02, PATIENCE)
    });
}

#[test]
fn ipv6_addresses_of_a_killed_router_go_with_the_lease() {
    system_test("IPv6, SIGKILL", &[Need::Vouchd], |site| {
        site.with_ipv6()?;
        let _greeters = [Greeter::start(site, Node::Nginx01)?, Greeter::start(site, Node::Nginx02)?];
        let _worse = start(site, Node::Nginx02, &instance(Node::Nginx02, ""))?;
        let mut better = start(site, Node::Nginx01, &instance(Node::Nginx01, ""))?;
        site.wait_ipv6_holder(Node::Nginx01, PATIENCE)?;
        ensure!(site.greeted_by(PATIENCE)? == "nginx01");
        let killed = Instant::now();
        better.process.signal(Signal::SIGKILL);
        better.process.wait(PATIENCE)?;
        site.wait_ipv6_holder(Node::Nginx02, PATIENCE)?;
        let took = killed.elapsed();
        println!("the addresses of the killed router were gone after {took:?}");
        // The shortest lease is a second, and the kernel looks at it up to a second late.
        ensure!(took < Duration::from_secs(4), "{took:?}");
        ensure!(site.greeted_by(PATIENCE)? == "nginx02");
        Ok(())
    });
}

#[test]
fn another_machine_that_answers_for_an_ipv6_address_is_a_conflict_while_it_does() {
    system_test("IPv6, another holder", &[Need::Vouchd], |site| {
        site.with_ipv6()?;
        let vouchd = start(site, Node::Nginx01, &instance(Node::Nginx01, ""))?;
        site.wait_ipv6_holder(Node::Nginx01, PATIENCE)?;
        let intruder = site.host(Node::Intruder);
        // It announces nothing: only a solicitation finds it.
        intruder.sh(&format!("ip -6 addr add {VIP6}/128 dev {INTERFACE} nodad"))?;
        let conflict = || -> anyhow::Result<Value> {
            let status = vouchd.instance("web")?;
            let addresses = status["addresses"].as_array().cloned().unwrap_or_default();
            let found = addresses.iter().find(|address| address["address"] == VIP6.to_string());
            Ok(found.map(|address| address["conflict"].clone()).unwrap_or_default())
        };
        let mac = site.mac(Node::Intruder)?;
        until("a conflict", Duration::from_secs(15), || {
            conflict().is_ok_and(|conflict| conflict["mac"] == mac.as_str() && !conflict["since"].is_null())
        })?;
        ensure!(vouchd.process.log().contains(&format!("{mac} on {INTERFACE} answers for {VIP6} too")));
        intruder.sh(&format!("ip -6 addr del {VIP6}/128 dev {INTERFACE}"))?;
        until("its end", Duration::from_secs(30), || conflict().is_ok_and(|conflict| conflict["since"].is_null()))
    });
}

#[test]
fn next_start_removes_ipv6_addresses_that_a_killed_router_without_leases_left_behind() {
    system_test("IPv6, SIGKILL without leases", &[Need::Vouchd], |site| {
        site.with_ipv6()?;
        let node = Node::Nginx01;
        let mut first = start(site, node, &instance(node, "lease = \"off\""))?;
        site.wait_ipv6_holder(node, PATIENCE)?;
        first.process.signal(Signal::SIGKILL);
        first.process.wait(PATIENCE)?;
        ensure!(site.holds_ipv6(node, VIP6), "nobody removes it");
        let second = start(site, node, &instance(node, "").replace("priority = 120", "priority = 100"))?;
        ensure!(second.process.log().contains(&format!("removed {VIP6}/128 on ens33")), "{}", second.process.log());
        ensure!(site.holds_ipv6(node, node.global()), "the host's own");
        Ok(())
    });
}
