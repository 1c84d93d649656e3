//! Instances of a group move together, whichever of them fails.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::nginx::Nginx;
use vouchd_tests::pair::peer;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::web::Web;
use vouchd_tests::{Need, Node, VIP, system_test};

/// The address of the second instance.
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 168, 175, 200);

/// Two instances; nginx counts for the first one alone.
fn config(node: Node, weight: &str) -> String {
    let (own, other) = (node.address(), peer(node).address());
    let priority = if node == Node::Nginx01 { 100 } else { 80 };
    let common = format!(
        "interface = \"ens33\"\npriority = {priority}\nunicast = {{ source = \"{own}\", peers = [\"{other}\"] }}\n"
    );
    format!(
        "[check.nginx]\nplugin = \"process\"\nparams = {{ name = \"nginx\" }}\nallow = {{ process = [\"nginx\"] }}\n\
         rise = 1\nfall = 1\n{weight}\n\
         [instance.first]\nvirtual_router_id = 55\naddresses = [\"{VIP}\"]\nchecks = [\"nginx\"]\n{common}\n\
         [instance.second]\nvirtual_router_id = 56\naddresses = [\"{SECOND}\"]\n{common}\n\
         [group.both]\ninstances = [\"first\", \"second\"]\n"
    )
}

fn moves_together(weight: &'static str, causes: &'static [&'static str]) {
    system_test("two instances in a group", &[Need::Vouchd, Need::Nginx], |site| {
        let _webs = [Web::start(site, Node::Web01)?, Web::start(site, Node::Web02)?];
        let mut proxies = Node::ROUTERS.map(|node| Nginx::start_on(site, node));
        let proxy = proxies[0].as_mut().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let start = |node| Vouchd::start_with(site, node, Files::new(site, node)?, &config(node, weight));
        let first = start(Node::Nginx01)?;
        let _second = start(Node::Nginx02)?;
        let held_by = |node| [VIP, SECOND].into_iter().all(|vip| site.holders().now(vip) == [node]);
        until("nginx01 to hold both addresses", Duration::from_secs(20), || held_by(Node::Nginx01))?;
        let start = Instant::now();
        proxy.kill()?;
        until("nginx02 to hold both addresses", Duration::from_secs(10), || held_by(Node::Nginx02))?;
        let lost = [VIP, SECOND].map(|vip| site.holders().lost(Node::Nginx01, vip, start));
        let [Some(one), Some(two)] = lost else { anyhow::bail!("{lost:?}") };
        let apart = one.max(two) - one.min(two);
        println!("the addresses left {apart:?} apart");
        ensure!(apart <= Duration::from_millis(300), "{apart:?} apart");
        let status = first.instance("second")?;
        ensure!(status["group"]["name"] == "both", "{status}");
        ensure!(causes.iter().any(|cause| status["cause"] == *cause), "{status}");
        holds("both stay there", Duration::from_secs(3), || held_by(Node::Nginx02))?;
        proxy.start()?;
        until("nginx01 to hold both again", Duration::from_secs(20), || held_by(Node::Nginx01))
    });
}

#[test]
fn fault_of_one_instance_moves_all_addresses_of_its_group() {
    moves_together("", &["held"]);
}

#[test]
fn lowered_priority_of_one_instance_moves_all_addresses_of_its_group() {
    // Whichever of the two hears the better router first takes the other one with it.
    moves_together("weight = -40", &["group", "better"]);
}
