//! Interfaces: tracked ones, those that come and go, sources on others, and many instances on one.

mod lifecycle;
mod many;
mod sources;
mod track;

use std::time::Duration;

use anyhow::Context;
use vouchd_tests::host::Host;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::until;
use vouchd_tests::{Node, Site};

const NODE: Node = Node::Nginx01;
const INSTANCE: &str = "web";
const PATIENCE: Duration = Duration::from_secs(10);

/// The configuration of an instance at 100 ms. `keys` are further keys of the instance.
fn instance(interface: &str, keys: &str) -> String {
    format!(
        "[instance.{INSTANCE}]\ninterface = \"{interface}\"\nvirtual_router_id = 55\nversion = 3\n\
         advert_interval = \"100ms\"\npriority = 100\naddresses = [\"192.168.175.100/24\"]\n{keys}\n"
    )
}

fn start(site: &Site, node: Node, config: &str) -> anyhow::Result<Vouchd> {
    Vouchd::start_with(site, node, Files::without_builtins(site, node)?, config)
}

/// Makes a pair of interfaces on the host; the second is the cable of the first.
fn add_link(host: &Host, interface: &str, cable: &str) -> anyhow::Result<()> {
    let script = format!(
        "ip link add {interface} type veth peer name {cable} && ip link set {interface} up && ip link set {cable} up"
    );
    host.sh(&script).map(drop)
}

/// Waits until the instance is in the state for a reason that contains `reason`.
fn wait_for(vouchd: &Vouchd, state: &str, reason: &str) -> anyhow::Result<()> {
    until(&format!("{state}: {reason}"), PATIENCE, || {
        vouchd.instance(INSTANCE).is_ok_and(|instance| {
            instance["state"] == state && instance["reason"].as_str().is_some_and(|text| text.contains(reason))
        })
    })
    .with_context(|| format!("{:?}\n{}", vouchd.instance(INSTANCE), vouchd.process.log()))
}
