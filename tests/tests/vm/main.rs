//! Tests that need a kernel and a systemd of their own. `cargo xtask vm` runs them as root of a virtual machine, some ten times
//! slower than elsewhere: each waits for conditions and has no opinion on how long they take.

mod lossy;
mod parents;
mod service;

use std::time::Duration;

use anyhow::Context;
use vouchd_tests::site::Site;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, system_test};

/// The variable that `cargo xtask vm` sets in the guest.
const GUEST: &str = "VOUCHD_TESTS_VM";

/// Far more than anything takes in the guest.
const WITHIN: Duration = Duration::from_secs(60);

/// The virtual address of these tests.
const ADDRESS: &str = "10.10.0.100";

/// The instance of these tests.
const INSTANCE: &str = "lan";

/// Whether this is the guest. If not, the test is skipped and has to return.
fn is_guest() -> bool {
    let is_guest = std::env::var_os(GUEST).is_some();
    if !is_guest {
        vouchd_skip::skip_even_if_strict("not in the virtual machine", "run `cargo xtask vm`");
    }
    is_guest
}

/// A test on the site of whole-system tests, inside the guest.
fn guest_test(name: &str, body: impl FnOnce(&Site) -> anyhow::Result<()>) {
    if is_guest() {
        system_test(name, &[Need::Vouchd], body);
    }
}

/// Starts vouchd with one instance on an interface of the node; `keys` are further keys of the instance.
fn start(site: &Site, node: Node, interface: &str, keys: &str) -> anyhow::Result<Vouchd> {
    let files = Files::without_builtins(site, node)?;
    let priority = if node == Node::Nginx01 { 100 } else { 80 };
    let config = format!(
        "[instance.{INSTANCE}]\ninterface = \"{interface}\"\nvirtual_router_id = 55\nversion = 3\npriority = {priority}\n\
         addresses = [\"{ADDRESS}/24\"]\n{keys}"
    );
    Vouchd::start_with(site, node, files, &config)
}

/// Waits until the node's router is active and has the address on the interface, and the other's is not and has it not.
fn wait_active(site: &Site, routers: &[Vouchd; 2], node: Node, interface: &str) -> anyhow::Result<()> {
    for (router, other) in routers.iter().zip(Node::ROUTERS) {
        let active = other == node;
        let what = format!("{} to be {}active", other.name(), if active { "" } else { "not " });
        until(&what, WITHIN, || {
            let is_active = router.instance(INSTANCE).is_ok_and(|instance| instance["state"] == "active");
            is_active == active && has_address(site, other, interface).is_ok_and(|has| has == active)
        })
        .with_context(|| format!("{:?}\n{}", router.instance(INSTANCE), router.process.log()))?;
    }
    Ok(())
}

fn has_address(site: &Site, node: Node, interface: &str) -> anyhow::Result<bool> {
    let shown = site.host(node).sh(&format!("ip -4 -o addr show dev {interface}"))?;
    Ok(shown.contains(&format!(" {ADDRESS}/")))
}
