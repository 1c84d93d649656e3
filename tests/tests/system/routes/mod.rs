//! Routes and rules that follow the active router.

mod failover;
mod leftovers;

use std::time::Duration;

use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::{Node, Site, VIP};

const PATIENCE: Duration = Duration::from_secs(15);
const INSTANCE: &str = "gateway";

/// The network behind web01, which only the active router has a route to.
const BEHIND: &str = "203.0.113.0/24";
const TARGET: &str = "203.0.113.1";

/// The routes of a gateway: to the network behind web01, and a rule with a table of its own.
fn routing() -> String {
    format!(
        "routes = [\"{BEHIND} via {} src {VIP}\", \"blackhole 198.51.100.0/24 table 100\", \
         \"2001:db8:1::/48 dev ens33 metric 5\"]\nrules = [\"from all to 198.51.100.0/24 lookup 100 priority 100\"]\n",
        Node::Web01.address()
    )
}

fn config(priority: u8, routing: &str) -> String {
    format!(
        "[instance.{INSTANCE}]\ninterface = \"ens33\"\nvirtual_router_id = 55\nversion = 3\nadvert_interval = \"100ms\"\n\
         priority = {priority}\naddresses = [\"{VIP}/24\"]\n{routing}"
    )
}

fn start(site: &Site, node: Node, priority: u8, routing: &str) -> anyhow::Result<Vouchd> {
    Vouchd::start_with(site, node, Files::without_builtins(site, node)?, &config(priority, routing))
}

/// Everything with vouchd's mark on a node: routes of both families and rules, a line each.
fn marked(site: &Site, node: Node) -> anyhow::Result<Vec<String>> {
    let script = "ip -4 route show table all proto 118; ip -6 route show table all proto 118; \
                  { ip -4 rule show; ip -6 rule show; } | { grep 'proto 118' || true; }";
    Ok(site.host(node).sh(script)?.lines().map(|line| line.trim().to_owned()).collect())
}
