//! One instance with addresses of both families.

use anyhow::{Context, ensure};
use serde_json::Value;
use vouchd_tests::ipv6::{VIP_LINK_LOCAL, VIP6};
use vouchd_tests::site::INTERFACE;
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, VIP, system_test};

use super::{PATIENCE, instance, start};

/// [`instance`] with an IPv4 address too.
fn both(node: Node) -> String {
    instance(node, "version = 3").replace("addresses = [", &format!("addresses = [\"{VIP}\", "))
}

/// The state of each family in a status document.
fn states(status: &Value) -> anyhow::Result<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a string");
    let all = status["instances"].as_array().context("instances")?;
    all.iter().map(|instance| Ok((text(&instance["family"])?, text(&instance["state"])?))).collect()
}

#[test]
fn addresses_of_both_families_are_on_the_same_router() {
    system_test("both families", &[Need::Vouchd], |site| {
        site.with_ipv6()?;
        let worse = start(site, Node::Nginx02, &both(Node::Nginx02))?;
        let better = start(site, Node::Nginx01, &both(Node::Nginx01))?;
        let holds = |node| {
            let shown = site.host(node).sh(&format!("ip -4 -o addr show dev {INTERFACE}")).unwrap_or_default();
            [
                shown.contains(&format!("inet {VIP}/")),
                site.holds_ipv6(node, VIP6),
                site.holds_ipv6(node, VIP_LINK_LOCAL),
            ]
        };
        let on = |node, all: bool| holds(node) == [all; 3];
        until("nginx01 to have all addresses", PATIENCE, || on(Node::Nginx01, true) && on(Node::Nginx02, false))?;
        let expected = |state: &str| ["IPv4", "IPv6"].map(|family| (family.to_owned(), state.to_owned())).to_vec();
        until("the states", PATIENCE, || better.status().is_ok_and(|it| states(&it).ok() == Some(expected("active"))))?;
        until("the states", PATIENCE, || worse.status().is_ok_and(|it| states(&it).ok() == Some(expected("backup"))))?;
        let text = better.command(&["status"])?.stdout;
        ensure!(text.contains("web (IPv4)") && text.contains("web (IPv6)"), "{text}");
        better.stop()?;
        until("nginx02 to have all addresses", PATIENCE, || on(Node::Nginx02, true) && on(Node::Nginx01, false))
    });
}
