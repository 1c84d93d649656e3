//! Virtual routers over IPv6.

mod failover;
mod families;
mod interop;
mod wire;

use std::time::Duration;

use vouchd_tests::ipv6::{VIP_LINK_LOCAL, VIP6};
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::{Node, Site};

const VRID: u8 = 57;
const PATIENCE: Duration = Duration::from_secs(10);

/// The priority of a node's router: nginx01 is the better one.
fn priority(node: Node) -> u8 {
    if node == Node::Nginx01 { 120 } else { 100 }
}

/// An instance over IPv6, with an advertisement every 100 ms.
fn instance(node: Node, extra: &str) -> String {
    format!(
        "[instance.web]\ninterface = \"ens33\"\nvirtual_router_id = {VRID}\npriority = {}\nadvert_interval = \"100ms\"\n\
         addresses = [\"{VIP_LINK_LOCAL}\", \"{VIP6}\"]\n{extra}\n",
        priority(node)
    )
}

fn start(site: &Site, node: Node, config: &str) -> anyhow::Result<Vouchd> {
    Vouchd::start_with(site, node, Files::without_builtins(site, node)?, config)
}
